"""Who of many is it, or is it nobody of them? Bayes' rule on log-likelihood ratios, for any size of gallery.

As audio_gallery.py of the recipe; called by gallery.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from timbre.runtime.answers import Identified
from timbre.runtime.factors import Floats, Ints
from timbre.runtime.scorer import Scorer

SAME_SAMPLES = "a recording of the gallery, sample by sample: the answer says nothing of the speaker"


@dataclass(frozen=True)
class Ranked:
    """The most probable of N people, the first first: rows, llrs, posteriors (K,); unknown: probability of nobody;
    possible: whether any log-likelihood ratio that the pack supports could name somebody of so many."""

    rows: Ints
    llrs: Floats
    posteriors: Floats
    unknown: float
    possible: bool

    def answer(self, names: Sequence[str], top: int, prior: float, warnings: Sequence[str]) -> Identified:
        """With NAMES (N,) and the TOP most probable of them."""
        listed = [names[row] for row in self.rows.tolist()]
        matches = tuple(zip(listed, self.llrs.tolist(), self.posteriors.tolist(), strict=True))
        _, llr, probability = matches[0]
        reason = None
        if not self.possible:
            reason = f"{len(names):,} people are more than the list that the pack was calibrated on can tell apart"
        margin = float(self.llrs[0] - self.llrs[1]) if len(matches) > 1 else None
        name = listed[0] if self.posteriors[0] >= self.unknown else None
        told = tuple(warnings)
        return Identified(name, llr, probability, margin, matches[:top], reason, told, self.unknown, prior)


def rank(scorer: Scorer, scores: Floats, found: Floats, prior: float, count: int) -> Ranked:
    """The COUNT most probable of N people, all alike before listening, PRIOR together.

    Args:
        scorer: of the pack
        scores: (N,) of a recording
        found: (N,) log-likelihood ratios of the same, however far from 0
        prior: above 0 and at most 1
        count: how many
    """
    number = len(scores)
    llrs = scorer.supported(found)
    share = np.log(prior / number)
    nobody = np.log1p(-prior) if prior < 1 else -np.inf
    highest = max(float(llrs.max()) + share, nobody)
    total = highest + np.log(np.exp(llrs + share - highest).sum() + np.exp(nobody - highest))
    best = np.arange(number)
    if number > count:
        best = np.flatnonzero(llrs >= np.partition(llrs, number - count)[number - count])
    best = best[np.lexsort((best, -scores[best], -llrs[best]))][:count]
    most = float(scorer.supported(np.array([np.inf]))[0])
    posteriors: Floats = np.exp(llrs[best] + share - total)
    return Ranked(best, llrs[best], posteriors, float(np.exp(nobody - total)), bool(most + share >= nobody))
