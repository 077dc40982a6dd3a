#!/usr/bin/env python3
"""Scoring at the size of VoxCeleb1-E: 580,000 trials over 145,000 utterances of dim 256, a cohort of 6,000 speakers.

Prints one JSON line. `scripts_s` is the wall time of the whole back-end as run.sh calls it, text in and out: cosine,
PLDA, AS-norm of both, metrics with 1,000 draws of speakers for all four. The rest is one computation in this process:
listed trials, with the share of the copy bandwidth (bytes read and written by a copy on as many threads, in the same
run; a listed trial reads two vectors), a full matrix, and what peers do, `peer_*`, on the same vectors.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from sklearn.metrics.pairwise import cosine_similarity

from timbre.backend.backends import Backend, CosineBackend, PldaBackend
from timbre.backend.plda import Plda
from timbre.backend.scoring import map_products, score_pairs
from timbre.backend.vectors import Projection, Side
from timbre.datadir.ark import write_vectors
from timbre.datadir.trials import Trials, write_trials
from timbre.runtime.factors import Factors

ROOT = Path(__file__).resolve().parent.parent.parent
UTTS, SPEAKERS, DIM, TRIALS, COHORT, COHORT_UTTS = 145_000, 1_250, 256, 580_000, 6_000, 5
THREADS = len(os.sched_getaffinity(0))
GOALS = {"scripts_s": 60, "peak_rss_gb": 2, "cosine_listed_per_s": 2e6, "plda_listed_per_s": 2e6, "matrix_per_s": 250e6}


def best(function: Callable[[], object], rounds: int = 3) -> float:
    """Least wall time of ROUNDS."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def make_vectors(speakers: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((speakers.max() + 1, DIM), dtype=np.float32)
    vectors = rng.standard_normal((len(speakers), DIM), dtype=np.float32)
    return 1.6 * vectors + centers[speakers]


def make_files(folder: Path) -> tuple[np.ndarray, Trials]:
    """Embeddings, cohort, trials (half of them targets) and utt2spk, as run.sh lays them out."""
    rng = np.random.default_rng(0)
    speakers = np.arange(UTTS) % SPEAKERS
    ids = [f"id{spk:05d}-{utt:06d}" for utt, spk in enumerate(speakers)]
    vectors = make_vectors(speakers, 1)
    write_vectors(folder / "eval", ids, vectors)
    cohort_speakers = np.arange(COHORT * COHORT_UTTS) % COHORT
    cohort_ids = [f"co{spk:05d}-{utt:06d}" for utt, spk in enumerate(cohort_speakers)]
    write_vectors(folder / "cohort", cohort_ids, make_vectors(cohort_speakers, 2))
    for name, keys in (("utt2spk", ids), ("cohort_utt2spk", cohort_ids)):
        (folder / name).write_text("".join(f"{key} {key[:7]}\n" for key in sorted(keys)))
    enroll, test = rng.integers(0, UTTS, (2, TRIALS))
    half = TRIALS // 2
    test[:half] = (enroll[:half] + SPEAKERS * rng.integers(1, UTTS // SPEAKERS, half)) % UTTS
    order = rng.permutation(TRIALS)
    enroll, test = enroll[order].astype(np.int32), test[order].astype(np.int32)
    trials = Trials(ids, ids, enroll, test, speakers[enroll] == speakers[test])
    write_trials(folder / "trials", trials)
    return vectors, trials


def run_scripts(folder: Path) -> dict[str, float]:
    """Seconds of each script."""

    def step(name: str, *words: object) -> float:
        command = [sys.executable, str(ROOT / "steps" / f"{name}.py"), *map(str, words), "--nj", str(THREADS)]
        start = time.perf_counter()
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - start

    def file(name: str) -> Path:
        return folder / name

    sides = [file("eval.scp"), file("eval.scp")]
    cohort = [file("cohort.scp")]
    norm = ["--cohort-utt2spk", file("cohort_utt2spk"), "--top-n", 300]
    plda = ["--backend-dir", file("plda")]
    trials = file("trials")
    seconds = {
        "cosine": step("score_trials", trials, *sides, file("eval.cosine")),
        "plda": step("score_trials", trials, *sides, file("eval.plda"), *plda),
        "cosine_asnorm": step(
            "normalize_scores", trials, file("eval.cosine"), *sides, *cohort, file("eval.cosine_asnorm"), *norm
        ),
        "plda_asnorm": step(
            "normalize_scores", trials, file("eval.plda"), *sides, *cohort, file("eval.plda_asnorm"), *norm, *plda
        ),
    }
    for backend in list(seconds):
        seconds[f"metrics_{backend}"] = step("compute_metrics", trials, file(f"eval.{backend}"))
    return seconds


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of a copy on all threads."""
    size = 128 << 20
    buffers = [(np.zeros(size, np.uint8), np.ones(size, np.uint8)) for _ in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        seconds = best(lambda: list(pool.map(lambda pair: np.copyto(*pair), buffers)), 5)
    return 2 * THREADS * size / seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vectors, trials = make_files(folder)
        plda = Plda(np.zeros(DIM), np.eye(DIM) / 1.6, np.linspace(0.8, 0.2, DIM))
        backend = PldaBackend(Projection(np.zeros(DIM), None, "sqrt_dim"), plda)
        backend.write(folder / "plda")
        seconds = run_scripts(folder)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20

    bandwidth = copy_bandwidth()
    side = Side.single(trials.enroll_ids, vectors)
    result: dict[str, object] = {"bench": "scoring", "threads": THREADS, "scripts_s": round(sum(seconds.values()), 1)}
    result |= {"peak_rss_gb": round(peak, 2), "steps_s": {key: round(value, 2) for key, value in seconds.items()}}
    result["copy_gb_per_s"] = round(bandwidth / 1e9, 1)
    backends: dict[str, Backend] = {"cosine": CosineBackend(Projection(np.zeros(DIM), None, "unit")), "plda": backend}
    for key, scorer in backends.items():
        factors = scorer.factors(side, side)
        rate = TRIALS / best(lambda: score_pairs(factors, trials.enroll, trials.test, THREADS))  # noqa: B023
        result[f"{key}_listed_per_s"] = round(rate)
        result[f"{key}_share_of_copy"] = round(rate * 2 * DIM * 4 / bandwidth, 2)
    corner = Factors.dot(vectors[:20_000], vectors[20_000:60_000])
    result["matrix_per_s"] = round(20_000 * 40_000 / best(lambda: map_products(corner, lambda *_: None, THREADS)))

    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    some = 2_000
    pairs = list(zip(trials.enroll[:some].tolist(), trials.test[:some].tolist(), strict=True))
    sklearn_s = best(lambda: [cosine_similarity(unit[e : e + 1], unit[t : t + 1]) for e, t in pairs], 1)
    einsum_s = best(lambda: np.einsum("nd,nd->n", unit[trials.enroll], unit[trials.test]))
    result |= {"peer_sklearn_per_s": round(some / sklearn_s), "peer_einsum_per_s": round(TRIALS / einsum_s)}
    listed = float(str(result["cosine_listed_per_s"]))
    result |= {"ratio_sklearn": round(listed * sklearn_s / some), "ratio_einsum": round(listed * einsum_s / TRIALS, 1)}
    result["goals"] = GOALS
    print(json.dumps(result))


if __name__ == "__main__":
    main()
