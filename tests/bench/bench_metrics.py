#!/usr/bin/env python3
"""EER, minDCF and minCllr of 10 million scores, half of them targets, beside scikit-learn's functions in the same run.

Prints one JSON line; the goal is under 3 s. roc_curve has the points from which the same error rates
could be read; its isotonic regression gives the probabilities that minCllr is made of.
"""

import json
import time

import numpy as np
from sklearn.isotonic import isotonic_regression
from sklearn.metrics import roc_curve

from timbre.evaluation.metrics import PRIORS, roc, split

SCORES = 10_000_000


def main() -> None:
    rng = np.random.default_rng(0)
    target = rng.random(SCORES) < 0.5
    scores = rng.standard_normal(SCORES) + 2.0 * target

    start = time.perf_counter()
    curve = roc(*split(scores, target))
    eer, costs = curve.eer(), [curve.min_dcf(prior) for prior in PRIORS]
    ours = time.perf_counter() - start

    start = time.perf_counter()
    rocch = curve.rocch_eer()
    hull = time.perf_counter() - start

    start = time.perf_counter()
    min_cllr = curve.min_cllr()
    pav = time.perf_counter() - start

    start = time.perf_counter()
    isotonic_regression(target[np.argsort(scores)].astype(float))
    peer_pav = time.perf_counter() - start

    start = time.perf_counter()
    false_alarms, hits, _ = roc_curve(target, scores)
    theirs = time.perf_counter() - start
    crossing = np.argmin(np.abs(1 - hits - false_alarms))

    result = {"bench": "metrics", "scores": SCORES, "seconds": round(ours, 2), "goal_s": 3, "rocch_s": round(hull, 2)}
    result |= {"min_cllr_s": round(pav, 2), "peer_isotonic_s": round(peer_pav, 2), "min_cllr": round(min_cllr, 6)}
    result |= {"peer_sklearn_s": round(theirs, 2), "ratio": round(theirs / ours, 1), "eer": round(eer, 6)}
    result |= {"peer_eer": round(float(false_alarms[crossing]), 6), "rocch_eer": round(rocch, 6)}
    result["min_dcf"] = [round(cost, 5) for cost in costs]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
