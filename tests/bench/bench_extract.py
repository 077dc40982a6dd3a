#!/usr/bin/env python3
"""Extraction in padded batches against one utterance at a time, on the CPU: one JSON line, utterances a second.

    OMP_NUM_THREADS=2 tests/bench/bench_extract.py

Utterances are 1 to 8 seconds of 80 random features. Both ways take turns, and the best of each counts.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch

from timbre.embedding.extract import ExtractOptions, extract_embeddings
from timbre.nnet.network import build_network

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = ("xvector", "xvector_small", "ecapa512", "ecapa128", "resnet34_small")


def main(num_utts: int = 96, rounds: int = 3) -> None:
    """Prints the line; fails where batches are slower than single utterances."""
    generator = np.random.default_rng(0)
    utterances = [
        (f"{number:04}", generator.standard_normal((generator.integers(100, 800), 80), np.float32))
        for number in range(num_utts)
    ]
    figures: dict[str, object] = {"bench": "extract", "threads": torch.get_num_threads(), "utts": num_utts}
    for name in NETWORKS:
        network = build_network(ROOT / "conf" / "network" / f"{name}.yaml", 80).eval()
        best = {"single": 0.0, "batched": 0.0}
        for _ in range(rounds):
            for way, options in (("single", ExtractOptions(batch_frames=1)), ("batched", ExtractOptions())):
                start = time.perf_counter()
                extract_embeddings(network, utterances, options)
                best[way] = max(best[way], num_utts / (time.perf_counter() - start))
        figures[name] = {way: round(rate, 1) for way, rate in best.items()}
        figures[name] |= {"ratio": round(best["batched"] / best["single"], 2)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
