"""Kaldi data directories, tables, archives and trial lists: the files that every step reads and writes."""
