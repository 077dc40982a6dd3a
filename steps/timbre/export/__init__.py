"""Packs that run without this repository: graphs of front and network for onnxruntime, tables of the decision."""
