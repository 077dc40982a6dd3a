"""What runs without torch, of a pack that export/ made: numpy, onnxruntime, soundfile and soxr alone."""
