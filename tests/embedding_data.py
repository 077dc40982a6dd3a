"""The sizes of the utterances that tests of embeddings share (tests/embedding/conftest.py)."""

FEAT_DIM = 12
NUM_FRAMES = [60, 25, 300, 41, 9, 77, 120, 61]
