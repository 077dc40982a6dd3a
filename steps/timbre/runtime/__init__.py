"""What runs without torch: a pack, its encoder and scores, galleries, verdicts, the command `timbre`.

Imports the standard library, numpy, onnxruntime, soundfile and soxr only, the heavy ones when they are asked for;
nothing that one operating system alone has (tests/runtime/test_nothing_of_training.py).
"""
