"""Packs that run without torch: graphs of features and network in ONNX, what they lose, their card, the file."""
