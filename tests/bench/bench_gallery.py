#!/usr/bin/env python3
# ruff: noqa: E402
"""A gallery of a million: how long it takes to enrol them, to read them, and to say exactly who it is.

One JSON line: seconds to read everybody from rows, pack and prepare them (from_rows_s, once), and by who opens the file
then (read_s); milliseconds of one identification (median of --rounds), and of the same product and search by the
plainest numpy, the peer; whether both find the same; of changes by this process and by another, milliseconds that they
take, and those of the identification that follows.
"""

import argparse
import json
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import timbre
from tests.runtime.made_voices import Encoding, made_voice
from tests.runtime.tables import DIM
from timbre.people.gallery import Gallery
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
                (one + 1, vectors[place, take].tobytes(), 3.0, 3.0, 1.1, 20.0, 1.0, -3.0,
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
    parser.add_argument("--pack", help="whose back-end compares them, instead")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", help="where the file is made, which has 2 kB a person")
    args = parser.parse_args()
    voice = made_voice(args.backend) if args.dim == DIM else wide_voice(args.dim)
    if args.pack:
        voice = timbre.load(args.pack)
        args.dim = voice.scorer.dim
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "people.db"
        report = {"bench": "gallery", "people": args.people, "recordings": args.recordings, "dim": args.dim}
        report |= {
            "sqlite": sqlite3.sqlite_version,
            "write_s": fill(path, args.people, args.recordings, voice.network, args.dim),
        }
        random = np.random.default_rng(1)
        measures = {"logdur": 1.1, "snr": 20.0, "magnitude": 1.0, "band": -3.0}
        probes = random.normal(size=(args.rounds + 1, args.dim)).astype(np.float32)
        asked = [Encoding(probe, 3.0, 3.0, measures, (), 0, "probe") for probe in probes]
        with voice.gallery(path) as people:
            report["from_rows_s"] = timed(lambda: people.identify_encoding(asked[0]))[0]
        report["megabytes"] = round(path.stat().st_size / 1e6)
        with voice.gallery(path) as people, voice.gallery(path) as other:
            report["read_s"] = timed(lambda: people.identify_encoding(asked[0]))[0]
            times, plain, same = [], [], []
            known = people._all()
            lefts = [part.ready.left for part in known.parts.values()]
            for one in asked[1:]:
                took, found = timed(lambda: people.identify_encoding(one))  # noqa: B023
                times.append(took)
                begun = time.perf_counter()
                right = voice.scorer.latent(one.vector[None], np.ones(1, np.int64))[0]
                best = int(np.concatenate([left @ right for left in lefts]).argmax())
                plain.append(time.perf_counter() - begun)
                if voice.scorer.plda is None and voice.scorer.cohort is None:
                    same.append(known.names[best] == found.matches[0][0])
            for name, writer in (("own", people), ("another's", other)):
                for what, change in (
                    ("enrolment", lambda: enrol(writer, f"new {name}", asked[1])),  # noqa: B023
                    ("renaming", lambda: writer.rename(f"new {name}", f"p {name}")),  # noqa: B023
                    ("removal", lambda: writer.remove("p0000007" if name == "own" else "p0000008")),  # noqa: B023
                ):
                    took = timed(change)[0]
                    after = timed(lambda: people.identify_encoding(asked[0]))[0]
                    report[f"{name} {what}_ms"] = [round(1e3 * took, 1), round(1e3 * after, 1)]
    report |= {
        "identify_ms": round(1e3 * statistics.median(times), 1), "slowest_ms": round(1e3 * max(times), 1),
        "argmax_ms": round(1e3 * statistics.median(plain), 1), "same": all(same) if same else None,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }  # fmt: skip
    print(json.dumps({key: round(value, 2) if isinstance(value, float) else value for key, value in report.items()}))


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that CALL took, and what it gave."""
    begun = time.perf_counter()
    found = call()
    return time.perf_counter() - begun, found


def enrol(people: Gallery, name: str, encoding: Encoding) -> None:
    """ENCODING under NAME, as if it were of a recording."""
    voice = people._with
    people._with = SimpleNamespace(scorer=voice.scorer, network=voice.network, hear=lambda _: (None, encoding))
    people.enroll(name, "made")
    people._with = voice


def wide_voice(dim: int) -> "object":
    """A voice of cosine alone, of dimension DIM."""
    from dataclasses import replace

    voice = made_voice("cosine")
    step = replace(voice.scorer.steps[0], mean=None, transform=None)
    return replace(voice, scorer=replace(voice.scorer, dim=dim, steps=[step], cohort=None))


if __name__ == "__main__":
    main()
