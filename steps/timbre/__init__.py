"""Timbre: a recipe for speaker recognition. The commands are steps/*.py, one stage after another steps/stages/*.sh.

The rooms of this package, lowest first; a room may import those before it, never those after it (tests/test_house.py):

    utils runtime datadir audio corpora feats egs nnet evaluation training embedding backend decision diarization audit
    explain report recipe
"""

from timbre.utils.outset import begin

begin()
