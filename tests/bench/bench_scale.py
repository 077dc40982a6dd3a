#!/usr/bin/env python3
"""Scoring and evaluation as they grow: 10^6, 10^7 and 10^8 trials, beside what peers do in the same process.

    tests/bench/bench_scale.py [--max 1e8] [--parts cosine,text,...]

Prints one JSON line for each part and size; every one is a process of its own, whose peak memory is `rss_gb` (pages of
mapped files count, too). `cpu_s` is the processor time of all threads: on a busy machine it says more than `seconds`.
Peers (`peer_*_per_s`, in the unit of `per_s`) do what they can bear of the same work, on the same data: SpeechBrain's
functions, the CSV engines of polars and pyarrow, if they can be imported, scikit-learn's, and plain numpy or Python.
Needs 8 GB of disk in TMPDIR for 10^8.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from timbre.backend.backends import Backend, CosineBackend, PldaBackend
from timbre.backend.plda import Plda
from timbre.backend.score_list import write_list_scores, write_matrix
from timbre.backend.score_norm import cohort_stats, normalize_trials
from timbre.backend.scoring import matrix_blocks
from timbre.backend.vectors import Projection, Side
from timbre.datadir.trials import Trials, read_scores, read_trials, write_scores, write_trials
from timbre.evaluation.bootstrap import bootstrap
from timbre.evaluation.metrics import PRIORS, act_dcf, cllr, roc, split
from timbre.runtime.factors import Factors

UTTS, DIM, COHORT, TOP, SPEAKERS = 1_000_000, 256, 6_000, 300, 1_250
THREADS = len(os.sched_getaffinity(0))
Result = dict[str, Any]


class Clock:
    """Wall and processor seconds of a `with` block."""

    def __enter__(self) -> "Clock":
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self._start[0], time.process_time() - self._start[1]

    def rate(self, count: int) -> Result:
        """What a part reports of COUNT units of work."""
        return {
            "per_s": round(count / self.wall),
            "per_cpu_s": round(count / self.cpu),
            "seconds": round(self.wall, 2),
            "cpu_s": round(self.cpu, 2),
        }


def per_s(count: int, function: Callable[[], object]) -> int:
    """COUNT units of work a second, done once."""
    with Clock() as clock:
        function()
    return round(count / clock.wall)


def vectors(count: int, seed: int = 0) -> np.ndarray:
    """Unit vectors, in blocks so that no double precision copy is made."""
    rng = np.random.default_rng(seed)
    result = rng.standard_normal((count, DIM), dtype=np.float32)
    for begin in range(0, count, 10_000):
        block = result[begin : begin + 10_000]
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    return result


def random_trials(count: int, utts: int = UTTS, targets: float = 0.1) -> Trials:
    ids = [f"id{number % SPEAKERS:05d}-{number:07d}" for number in range(utts)]
    rng = np.random.default_rng(1)
    sides = (rng.integers(0, utts, count, dtype=np.int32) for _ in range(2))
    return Trials(ids, ids, *sides, rng.random(count, dtype=np.float32) < targets)


def make_scores(target: np.ndarray, separation: float = 3.5) -> np.ndarray:
    """Float32 scores with an EER of 4 %."""
    scores = np.random.default_rng(2).standard_normal(len(target), dtype=np.float32)
    scores += np.float32(separation) * target
    return scores


def copy_bandwidth() -> float:
    """Gigabytes a second, read and written, of a copy on all threads."""
    buffers = [(np.zeros(1 << 27, np.uint8), np.ones(1 << 27, np.uint8)) for _ in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        rates = [per_s(THREADS << 28, lambda: list(pool.map(lambda pair: np.copyto(*pair), buffers))) for _ in range(5)]
    return round(max(rates) / 1e9, 1)


def make_backends() -> dict[str, Backend]:
    plda = Plda(np.zeros(DIM), np.eye(DIM) * 16, np.linspace(1.5, 0.2, DIM))
    return {"cosine": CosineBackend(Projection(None, None, "unit")), "plda": PldaBackend(Projection(), plda)}


def listed(count: int, folder: Path, name: str) -> Result:
    """Listed trials of 10^6 utterances, scores streamed to disk in binary."""
    write_trials(folder / "trials.npz", random_trials(count))
    trials = read_trials(folder / "trials.npz")
    result: Result = {"copy_gb_per_s": copy_bandwidth()}
    with Clock() as clock:
        side = Side.single(trials.enroll_ids, vectors(UTTS))
        factors = make_backends()[name].factors(side, side)
        del side
    result["prepare_s"] = round(clock.wall, 1)
    with Clock() as clock:
        write_list_scores(folder / "scores.npy", trials, factors, THREADS)
    result |= clock.rate(count)
    result["share_of_copy"] = round(result["per_s"] * 2 * DIM * 4 / 1e9 / result["copy_gb_per_s"], 2)
    some = slice(0, 200_000)
    enroll, test = trials.enroll[some], trials.test[some]
    left, right = factors.left, factors.right
    result["peer_numpy_per_s"] = per_s(200_000, lambda: np.einsum("nd,nd->n", left[enroll], right[test]))
    result["peer_take_per_s"] = per_s(len(test), lambda: take_rows(right, test))
    if name == "cosine":
        result |= listed_peers(left, right, enroll[:2000], test[:2000])
    return result


def take_rows(matrix: np.ndarray, rows: np.ndarray) -> None:
    """Rows of MATRIX copied into a cache, on one thread: what every listed trial does with one of its vectors."""
    place = np.empty((256, matrix.shape[1]), matrix.dtype)
    for begin in range(0, len(rows) // 256 * 256, 256):
        matrix.take(rows[begin : begin + 256], axis=0, out=place, mode="clip")


def listed_peers(left: np.ndarray, right: np.ndarray, enroll: np.ndarray, test: np.ndarray) -> Result:
    import torch
    from sklearn.metrics.pairwise import cosine_similarity

    torch.set_num_threads(1)
    pairs = list(zip(enroll.tolist(), test.tolist(), strict=True))
    similarity = torch.nn.CosineSimilarity(dim=-1)  # as SpeechBrain's verification recipe compares a pair
    tensors = [(torch.from_numpy(left[e : e + 1]), torch.from_numpy(right[t : t + 1])) for e, t in pairs]
    return {
        "peer_sklearn_per_s": per_s(
            len(pairs), lambda: [cosine_similarity(left[e : e + 1], right[t : t + 1]) for e, t in pairs]
        ),
        "peer_speechbrain_per_s": per_s(len(pairs), lambda: [float(similarity(a, b)[0]) for a, b in tensors]),
    }


def matrix(count: int, folder: Path) -> Result:
    """All pairs: in memory, and to disk."""
    rows, columns = max(50, count // 40_000), min(40_000, count // 50)
    factors = Factors.dot(vectors(rows), vectors(columns, 1))
    with Clock() as clock:
        for _ in matrix_blocks(factors, THREADS):
            pass
    result = clock.rate(rows * columns)
    sides = (Side.single([f"u{row}" for row in range(number)], np.empty((number, 0))) for number in (rows, columns))
    result["to_disk_per_s"] = per_s(rows * columns, lambda: write_matrix(folder / "all.npy", *sides, factors, THREADS))
    some = factors.left[: min(rows, 1000)]
    from sklearn.metrics.pairwise import cosine_similarity

    result["peer_sklearn_per_s"] = per_s(len(some) * columns, lambda: cosine_similarity(some, factors.right))
    return result | matrix_speechbrain()


def matrix_speechbrain(size: int = 2000) -> Result:
    """Its PLDA, which scores every pair."""
    try:
        from speechbrain.processing.PLDA_LDA import Ndx, StatObject_SB, fast_PLDA_scoring
    except ImportError:
        return {}
    names = np.array([f"u{row}" for row in range(size)], object)
    nothing = np.array([None] * size)
    sides = [
        StatObject_SB(names, names, nothing, nothing, np.ones((size, 1)), vectors(size, seed).astype(float))
        for seed in (3, 4)
    ]
    ndx = Ndx(models=names, testsegs=names)
    model = np.zeros(DIM), np.eye(DIM), np.eye(DIM)
    return {
        "peer_speechbrain_plda_per_s": per_s(
            size * size, lambda: fast_PLDA_scoring(*sides, ndx, *model, check_missing=False)
        )
    }


def asnorm(count: int, folder: Path) -> Result:
    """Mean and deviation of the 300 highest of 6,000 cohort scores, for COUNT / 100 utterances; rates are of those."""
    utts = count // 100
    factors = Factors.dot(vectors(utts), vectors(COHORT, 1))
    with Clock() as clock:
        cohort_stats(factors, TOP, THREADS)
    some = factors.left[:200]

    def sort() -> None:  # as WeSpeaker: all cohort scores of an utterance sorted
        scores = -np.sort(-(some @ factors.right.T), axis=1)[:, :TOP]
        scores.mean(axis=1), scores.std(axis=1)

    import torch

    cohort = torch.from_numpy(factors.right)
    similarity = torch.nn.CosineSimilarity(dim=-1)

    def topk() -> None:  # as SpeechBrain's recipe, which does it for both sides of each trial
        for row in some:
            best = torch.topk(similarity(torch.from_numpy(row).repeat(COHORT, 1), cohort), k=TOP)[0]
            best.mean(), best.std()

    result = {"utterances": utts} | clock.rate(utts)
    return result | {"peer_sort_per_s": per_s(200, sort), "peer_speechbrain_per_s": per_s(200, topk)}


def normalized(count: int, folder: Path) -> Result:
    """AS-norm of COUNT trials of 10^6 utterances, top 300 of 6,000, scores from and to disk in binary; limit 4 GB."""
    trials = random_trials(count)
    write_trials(folder / "trials.npz", trials)
    trials = read_trials(folder / "trials.npz")
    write_scores(folder / "raw.npy", trials, make_scores(trials.target))
    side = Side.single(trials.enroll_ids, vectors(UTTS))
    cohort = Side.single([f"c{row}" for row in range(COHORT)], vectors(COHORT, 1))
    with Clock() as clock:
        raw = read_scores(folder / "raw.npy", trials)
        pairs = trials.enroll, trials.test
        scores = normalize_trials(raw, *pairs, make_backends()["cosine"], (side, side), cohort, "as-norm", TOP, THREADS)
        write_scores(folder / "normalized.npy", trials, scores)
    return clock.rate(count) | {"goal_rss_gb": 4}


def metrics(count: int, folder: Path) -> Result:
    """EER, minDCF and actDCF at three priors, Cllr; a tenth are targets."""
    target = np.random.default_rng(1).random(count, dtype=np.float32) < 0.1
    scores = make_scores(target)
    with Clock() as clock:
        targets, nontargets = split(scores, target)
        curve = roc(targets, nontargets)
        rates = [curve.eer(), *map(curve.min_dcf, PRIORS)]
        rates += [*(act_dcf(targets, nontargets, prior) for prior in PRIORS), cllr(targets, nontargets)]
    result = clock.rate(count) | {"corners": len(curve.thresholds), "eer": rates[0]}
    result["rss_gb"] = peak_rss()
    if count <= 10_000_000:
        from sklearn.metrics import roc_curve

        result["peer_sklearn_roc_per_s"] = per_s(count, lambda: roc_curve(target, scores))
    try:
        import torch
        from speechbrain.utils.metric_stats import EER
    except ImportError:
        return result
    few = [torch.from_numpy(part[:2000]) for part in (targets, nontargets)]
    return result | {"peer_speechbrain_eer_of_4000_per_s": per_s(4000, lambda: EER(*few))}


def draws(count: int, folder: Path) -> Result:
    """1,000 draws of 1,250 speakers, on 4 % of COUNT trials; rates are of trials times draws."""
    count //= 25
    rng = np.random.default_rng(1)
    target = rng.random(count) < 0.1
    enroll = rng.integers(0, SPEAKERS, count)
    test = np.where(target, enroll, (enroll + rng.integers(1, SPEAKERS, count)) % SPEAKERS)
    scores = make_scores(target)
    with Clock() as clock:
        bootstrap(scores, target, enroll, test, num_draws=1000, nj=THREADS)
    order = np.argsort(scores)
    counts = np.bincount(rng.integers(0, SPEAKERS, SPEAKERS), minlength=SPEAKERS)

    def plainly() -> None:
        weights = (counts[enroll] * np.where(target, 1, counts[test]))[order]
        sorted_target = target[order]
        np.cumsum(weights * sorted_target), np.cumsum(weights * ~sorted_target)

    return {"trials": count} | clock.rate(count * 1000) | {"peer_numpy_per_s": per_s(count, plainly)}


def text(count: int, folder: Path) -> Result:
    """Lines of trial lists and score files, of 10^5 utterances in an order without any locality."""
    trials = random_trials(count, UTTS // 10)
    result: Result = {}

    def timed(name: str, function: Callable[[], Any]) -> Any:
        with Clock() as clock:
            value = function()
        result[f"{name}_per_s"], result[f"{name}_per_cpu_s"] = round(count / clock.wall), round(count / clock.cpu)
        return value

    scores = make_scores(trials.target)
    timed("write_trials", lambda: write_trials(folder / "trials", trials))
    timed("write_scores", lambda: write_scores(folder / "scores", trials, scores))
    trials = timed("read_trials", lambda: read_trials(folder / "trials"))
    timed("read_scores", lambda: read_scores(folder / "scores", trials))
    for name, function in text_peers(folder).items():
        timed(f"peer_{name}", function)
    timed("write_binary_trials", lambda: write_trials(folder / "trials.npz", trials))
    timed("write_binary_scores", lambda: write_scores(folder / "scores.npy", trials, scores))
    binary = timed("read_binary_trials", lambda: read_trials(folder / "trials.npz"))
    timed("read_binary_scores", lambda: read_scores(folder / "scores.npy", binary))
    result["rss_gb"] = peak_rss()
    if count <= 1_000_000:

        def plainly() -> dict[tuple[str, str], float]:
            with (folder / "scores").open() as lines:
                return {(line.split()[0], line.split()[1]): float(line.split()[2]) for line in lines}

        result["peer_python_read_scores_per_s"] = per_s(count, plainly)
    return result


def text_peers(folder: Path) -> dict[str, Callable[[], Any]]:
    """CSV engines that are installed, on what `text` has written: ids as dictionaries, then the same out again."""
    peers: dict[str, Callable[[], Any]] = {}
    columns = ["enroll", "test", "score"]
    try:
        import polars

        kinds = dict.fromkeys(columns, polars.Categorical)
        form = {"has_header": False, "separator": " ", "quote_char": None}
        table = polars.read_csv(folder / "scores", schema=kinds | {"score": polars.Float64}, **form)
        peers["polars_read_trials"] = lambda: polars.read_csv(folder / "trials", schema=kinds, **form)
        peers["polars_read_scores"] = lambda: polars.read_csv(
            folder / "scores", schema=kinds | {"score": polars.Float64}, **form
        )
        peers["polars_write_scores"] = lambda: table.write_csv(folder / "peer", include_header=False, separator=" ")
    except ImportError:
        pass
    try:
        import pyarrow
        from pyarrow import csv

        names = csv.ReadOptions(column_names=columns, block_size=1 << 22)
        blanks = csv.ParseOptions(delimiter=" ", quote_char=False)
        ids = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
        for name, third in (("trials", ids), ("scores", pyarrow.float64())):
            types = csv.ConvertOptions(column_types=dict.fromkeys(columns, ids) | {"score": third})
            peers[f"pyarrow_read_{name}"] = partial(csv.read_csv, folder / name, names, blanks, types)
    except ImportError:
        pass
    return peers


def binary(count: int, folder: Path) -> Result:
    """The binary forms alone, of 10^6 utterances: writing and reading both, trials and scores."""
    trials = random_trials(count)
    scores = make_scores(trials.target)
    with Clock() as clock:
        write_trials(folder / "trials.npz", trials)
        write_scores(folder / "scores.npy", trials, scores)
        del trials, scores
        trials = read_trials(folder / "trials.npz")
        read_scores(folder / "scores.npy", trials)
    return clock.rate(count)


PARTS: dict[str, Callable[..., Result]] = {
    "cosine": lambda count, folder: listed(count, folder, "cosine"),
    "plda": lambda count, folder: listed(count, folder, "plda"),
    "matrix": matrix,
    "asnorm": asnorm,
    "normalized": normalized,
    "metrics": metrics,
    "bootstrap": draws,
    "text": text,
    "binary": binary,
}
LARGEST = {"text": 10_000_000}  # 10^8 lines would be 5 GB of text, and tell no more


def peak_rss() -> float:
    """Of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max", type=float, default=1e8)
    parser.add_argument("--min", type=float, default=1e6)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        name, count = given.one[0], int(given.one[1])
        with tempfile.TemporaryDirectory() as folder:
            result = PARTS[name](count, Path(folder))
        head = {"bench": "scale", "part": name, "count": count, "threads": THREADS, "rss_gb": peak_rss()}
        print(json.dumps(head | result), flush=True)
        return
    for name in given.parts.split(","):
        for count in (10**6, 10**7, 10**8):
            if given.min <= count <= min(given.max, LARGEST.get(name, count)):
                subprocess.run([sys.executable, __file__, "--one", name, str(count)], check=True)


if __name__ == "__main__":
    main()
