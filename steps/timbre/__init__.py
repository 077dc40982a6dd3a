"""Timbre: a recipe for speaker recognition. The commands are steps/*.py, one stage after another steps/stages/*.sh.

The rooms of this package, lowest first; a room may import those before it, never those after it (tests/test_house.py):

    utils runtime people serve datadir audio corpora feats egs nnet evaluation training embedding backend decision
    diarization audit export explain report recipe
"""

from typing import TYPE_CHECKING, Any

from timbre.utils.outset import begin

if TYPE_CHECKING:
    from timbre.people.voice import load as load

begin()


def __getattr__(name: str) -> Any:
    """`timbre.load`, with what it needs, once it is asked for."""
    if name != "load":
        raise AttributeError(f"module 'timbre' has no attribute '{name}'")
    from timbre.people.voice import load

    return load
