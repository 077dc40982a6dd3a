"""The engine of local/: lists of published corpora, archives, data directories in the making, synthetic voices."""
