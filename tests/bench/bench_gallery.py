#!/usr/bin/env python3
"""A gallery of a million: how long it takes to enrol them, to read them, and to say exactly who it is.

One JSON line: seconds to read and prepare everybody once, milliseconds of one identification (median of --rounds), and
of the same product and search by the plainest numpy, the peer; and whether both find the same.
"""

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.runtime.made_voices import Encoding, made_voice
from tests.runtime.tables import DIM
from timbre.people.gallery_store import Store


def fill(path: Path, people: int, recordings: int, network: str, dim: int) -> float:
    """Writes PATH, a gallery of drawn embeddings, in one transaction; seconds that it took."""
    begun = time.perf_counter()
    store = Store(path)
    random = np.random.default_rng(0)
    with store.transaction() as database:
        database.executemany("INSERT INTO about VALUES (?, ?)", [("network", network), ("dim", str(dim))])
        for first in range(0, people, 1 << 14):
            ids = range(first, min(first + (1 << 14), people))
            database.executemany(
                "INSERT INTO people VALUES (?, ?, ?)", [(one + 1, f"p{one:07d}", f"p{one:07d}") for one in ids]
            )
            vectors = random.normal(size=(len(ids), recordings, dim)).astype("<f4")
            rows = [
                (one + 1, vectors[place, take].tobytes(), 3.0, 3.0, 1.1, 20.0, 1.0, None,
                 f"{one * recordings + take + 1:016x}", "drawn", None, None, "2026-01-01")
                for place, one in enumerate(ids) for take in range(recordings)
            ]  # fmt: skip
            database.executemany(f"INSERT INTO recordings VALUES (NULL, {', '.join('?' * 13)})", rows)
    store.close()
    return time.perf_counter() - begun


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--recordings", type=int, default=1, help="of each")
    parser.add_argument("--dim", type=int, default=192)
    parser.add_argument("--backend", default="cosine-mean", help="a chain of tests/runtime/tables.py, for DIM 16 alone")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    voice = made_voice(args.backend) if args.dim == DIM else wide_voice(args.dim)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.db"
        written = fill(path, args.people, args.recordings, voice.network, args.dim)
        size = path.stat().st_size
        with voice.gallery(path) as people:
            random = np.random.default_rng(1)
            measures = {"logdur": 1.1, "snr": 20.0, "magnitude": 1.0}
            probes = random.normal(size=(args.rounds + 1, args.dim)).astype(np.float32)
            asked = [Encoding(probe, 3.0, 3.0, measures, (), 0, "probe") for probe in probes]
            begun = time.perf_counter()
            people.identify_encoding(asked[0])
            read = time.perf_counter() - begun
            times, plain, same = [], [], []
            ready = people._all().ready
            for one in asked[1:]:
                begun = time.perf_counter()
                found = people.identify_encoding(one)
                times.append(time.perf_counter() - begun)
                begun = time.perf_counter()
                right = voice.scorer.latent(one.vector[None], np.ones(1, np.int64))[0]
                scores = ready.left @ right + ready.bias
                best = int(scores.argmax())
                plain.append(time.perf_counter() - begun)
                if voice.scorer.plda is None and voice.scorer.cohort is None:
                    same.append(people._all().names[best] == found.matches[0][0])
    print(json.dumps({
        "bench": "gallery", "people": args.people, "recordings": args.recordings, "dim": args.dim,
        "megabytes": round(size / 1e6), "sqlite": sqlite3.sqlite_version, "write_s": round(written, 1),
        "read_s": round(read, 2), "identify_ms": round(1e3 * statistics.median(times), 1),
        "slowest_ms": round(1e3 * max(times), 1), "argmax_ms": round(1e3 * statistics.median(plain), 1),
        "same": all(same) if same else None,
    }))  # fmt: skip


def wide_voice(dim: int) -> "object":
    """A voice of cosine alone, of dimension DIM."""
    from dataclasses import replace

    voice = made_voice("cosine")
    step = replace(voice.scorer.steps[0], mean=None, transform=None)
    return replace(voice, scorer=replace(voice.scorer, dim=dim, steps=[step], cohort=None))


if __name__ == "__main__":
    main()
