"""Features as Kaldi computes them, energy VAD, CMVN, and what of an utterance a network sees."""
