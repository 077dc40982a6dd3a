"""Training examples on disk: planned, written, read again as batches, augmented on the way."""
