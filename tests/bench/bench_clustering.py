#!/usr/bin/env python3
"""Clustering of the windows of long recordings: agglomerative (as Kaldi's, ties included) and spectral, on one thread.

Windows of 10 speakers, 128 dimensions, a twentieth of them odd ones, as overlap and noise make. Prints one JSON line:
seconds, those of them with a processor, and peak memory of each size, in a process each; the goal is 20,000 windows
(four hours) in 120 s and 4 GB. scipy's average linkage of the smallest size is beside them: it must find the same.
"""

import json
import resource
import subprocess
import sys
import time

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score

from timbre.diarization import spectral
from timbre.diarization.window_scores import dense_scores
from timbre.runtime import ahc
from timbre.runtime.factors import Factors

SIZES = (5_000, 10_000, 20_000)
THRESHOLD = 0.2


def windows(count: int) -> tuple[Factors, np.ndarray]:
    """Cosines of COUNT windows, and their speakers."""
    rng = np.random.default_rng(0)
    speakers = rng.integers(0, 10, count)
    vectors = rng.standard_normal((10, 128))[speakers] + rng.standard_normal((count, 128))
    odd = rng.random(count) < 0.05
    vectors[odd] = rng.standard_normal((odd.sum(), 128))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Factors.dot(unit, unit), np.where(odd, -1, speakers)


def measure(method: str, count: int) -> dict[str, float]:
    """Seconds, scores included, those that it had a processor, and memory of this process."""
    factors, speakers = windows(count)
    start, used = time.perf_counter(), time.process_time()
    if method == "ahc":
        costs = dense_scores(factors)
        np.negative(costs, out=costs)
        labels = ahc.cluster(costs, ahc.AhcOptions(THRESHOLD))
    else:
        labels = spectral.cluster(factors, False)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    clear = speakers >= 0
    agreement = adjusted_rand_score(speakers[clear], labels[clear])
    return {"seconds": round(seconds, 1), "cpu_s": round(used, 1), "gb": round(memory, 2), "rand": round(agreement, 4)}


def peer(count: int) -> dict[str, object]:
    """Processor seconds of scipy and ours, and whether the clusters are the same."""
    factors, _ = windows(count)
    costs = -dense_scores(factors)
    costs = np.maximum(costs, costs.T)
    np.fill_diagonal(costs, 0)
    start = time.process_time()
    ours = ahc.cluster(costs.copy(), ahc.AhcOptions(THRESHOLD))
    middle = time.process_time()
    theirs = fcluster(
        linkage(squareform(costs + 1 - np.eye(count), checks=False), "average"), 1 - THRESHOLD, "distance"
    )
    end = time.process_time()
    same = adjusted_rand_score(ours, theirs)
    return {"peer_scipy_cpu_s": round(end - middle, 1), "ours_cpu_s": round(middle - start, 1), "rand": round(same, 6)}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
        return
    result: dict[str, object] = {"bench": "clustering", "goal": "20,000 windows in 120 s and 4 GB"}
    for method in ("ahc", "spectral"):
        for count in SIZES:
            done = subprocess.run(
                [sys.executable, __file__, method, str(count)], capture_output=True, text=True, check=True
            )
            result[f"{method}_{count}"] = json.loads(done.stdout)
    result[f"scipy_{SIZES[0]}"] = peer(SIZES[0])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
