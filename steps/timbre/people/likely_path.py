"""Who speaks in each of some windows: the likeliest path through the people (Viterbi, 1967). Called by stream.py."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def advance(before: Floats, llr: Floats, prior: Floats, change: float) -> tuple[Floats, Ints]:
    """Log probability (K,) of the best path that ends with each of K people in a window, and whom it comes from.

    Args:
        before: (K,) the same for the window before
        llr: (K,) of the window
        prior: (K,) log probability that a person goes on when the speaker changes
        change: probability that this happens
    """
    other = int(before.argmax())
    switched = before[other] + np.log(change) + prior
    stayed = before + np.log(1 - change)
    return np.maximum(switched, stayed) + llr, np.where(switched > stayed, other, np.arange(len(before)))


def likely_path(first: Floats, llr: Floats, prior: Floats, changes: Floats) -> Ints:
    """The person (T,) in each window; FIRST: log probabilities (K,) before it; LLR (T, K); CHANGES (T,)."""
    best, sources = first, np.empty(llr.shape, np.int64)
    for place, row in enumerate(llr):
        best, sources[place] = advance(best, row, prior, float(changes[place]))
    path = np.empty(len(llr), np.int64)
    state = int(best.argmax())
    for place in range(len(llr) - 1, -1, -1):
        path[place] = state
        state = int(sources[place, state])
    return path


def tempered(llr: Floats, worth: float, spoilt: float) -> Floats:
    """LLR as evidence of a window of which only the share WORTH is new, and which with the probability SPOILT says
    nothing, for two speak in it or somebody coughs: there is a least that it can say."""
    evidence: Floats = worth * np.logaddexp(np.log(spoilt), llr + np.log(1 - spoilt))
    return evidence
