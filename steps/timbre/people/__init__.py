"""Who it is, by a pack: verdicts, galleries, streams, diarization, own recordings, and the command `timbre`.

Like the room runtime it takes nothing that is of training alone (tests/runtime/test_nothing_of_training.py).
"""
