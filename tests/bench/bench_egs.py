#!/usr/bin/env python3
"""Writing egs by one job of get_egs, and reading them by one thread, beside kaldiio.load_ark on the same arks.

Prints one JSON line. Examples of 200 x 80, from utterances of 600 frames with sliding CMN and VAD; the files are in the
page cache. `ratio` is our reader in training order (random examples out of the arks, stacked in batches of 64) over
kaldiio in file order, one matrix after the other; the two run in turn, so that what else the machine does meets both.
`speakers`, `pairs` and `cut` (to 150 to 200 frames) are the same with other batches. `plan` is the order of an epoch of
five million examples of 7,000 speakers: seconds, and megabytes at the most.
"""

import itertools
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import kaldiio
import numpy as np
import torch

from timbre.datadir.ark import ArkWriter
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.egs.batch_plan import PairsPlan, SpeakerGroups, SpeakersPlan
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import EgsReader
from timbre.egs.egs_writer import write_egs
from timbre.egs.options import BatchOptions, EgsOptions
from timbre.runtime.normalize import NormalizeOptions

KINDS = {
    "read": BatchOptions(),
    "speakers": BatchOptions("speakers"),
    "pairs": BatchOptions("pairs"),
    "cut": BatchOptions(min_frames=150, max_frames=200),
}
PLANNED, PLANNED_SPEAKERS, PLANNED_UTTS = 5_000_000, 7000, 150
UTTS, SPEAKERS, FRAMES, LENGTH, DIM, BATCH, ROUNDS = 400, 40, 600, 200, 80, 64, 5
GOAL = 1.0


def write_features(path: Path) -> DataDir:
    """UTTS utterances of FRAMES frames, nine tenths of them voiced."""
    rng = np.random.default_rng(0)
    path.mkdir()
    names = [f"spk{utt % SPEAKERS:02d}-utt{utt:03d}" for utt in range(UTTS)]
    with ArkWriter(path / "feats.ark") as feats, ArkWriter(path / "vad.ark") as vad:
        for name in names:
            feats.write(name, rng.standard_normal((FRAMES, DIM), np.float32))
            vad.write(name, (rng.random(FRAMES) < 0.9).astype(np.float32))
    write_table(path / "feats.scp", feats.scp)
    write_table(path / "vad.scp", vad.scp)
    write_table(path / "utt2spk", {name: name[:5] for name in names})
    return DataDir.read(path)


def seconds(function: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def read_epoch(egs: Path, manifest: Manifest, batches: BatchOptions) -> None:
    reader = EgsReader(egs, manifest, BATCH, 0, batches=batches)
    for _ in itertools.islice(reader, reader.batches_per_epoch):
        pass


def load_all(egs: Path, manifest: Manifest) -> None:
    for ark in manifest.train:
        for _ in kaldiio.load_ark(str(egs / f"{ark.name}.ark")):
            pass


def plan_epochs() -> dict[str, float]:
    """Seconds for the first batch of speakers and of pairs, and for that of a later epoch; megabytes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(PLANNED_SPEAKERS, 4))
    speakers = rng.choice(PLANNED_SPEAKERS, PLANNED, p=shares).astype(np.int32)
    utts = rng.integers(0, PLANNED_UTTS, PLANNED).astype(np.uint64)
    result = {}
    for kind, plan in (("speakers", SpeakersPlan), ("pairs", PairsPlan)):
        start = time.perf_counter()
        planned = plan(SpeakerGroups(speakers, utts, 2), 256, 0)
        result[f"plan_{kind}_first_s"] = round(time.perf_counter() - start + seconds(next, planned.epoch(0)), 1)
        result[f"plan_{kind}_s"] = round(seconds(next, planned.epoch(1)), 1)
    return result | {"plan_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000)}


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    result: dict[str, float | str] = {"bench": "egs", "example": f"{LENGTH}x{DIM}", **plan_epochs()}
    with tempfile.TemporaryDirectory() as folder:
        data = write_features(Path(folder) / "data")
        for compression in ("none", "CM2", "CM3"):
            egs = Path(folder) / compression
            options = EgsOptions(LENGTH, LENGTH, num_repeats=4, num_valid_speakers=0, compression=compression)
            settings = (data, egs, options, NormalizeOptions(), 1, 0)
            write = min(seconds(write_egs, *settings) for _ in range(2))
            manifest = Manifest.read(egs)
            times = [
                (
                    seconds(load_all, egs, manifest),
                    *(seconds(read_epoch, egs, manifest, kind) for kind in KINDS.values()),
                )
                for _ in range(ROUNDS)
            ]
            kaldi, *read = (min(column) for column in zip(*times, strict=True))
            ours = read[0]
            rates = {
                f"{compression}_{name}_examples_per_s": round(manifest.num_examples / best)
                for name, best in zip(KINDS, read, strict=True)
            }
            result |= {
                f"{compression}_written_examples_per_s": round(manifest.num_examples / write),
                f"{compression}_written_mb_per_s": round(sum(ark.num_bytes for ark in manifest.train) / write / 1e6),
                **rates,
                f"{compression}_read_mb_per_s_of_float32": round(manifest.num_frames * DIM * 4 / ours / 1e6),
                f"{compression}_kaldiio_examples_per_s": round(manifest.num_examples / kaldi),
                f"{compression}_ratio": round(kaldi / ours, 1),
            }
    print(json.dumps(result | {"goal_ratio": GOAL}))


if __name__ == "__main__":
    main()
