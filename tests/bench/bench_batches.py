#!/usr/bin/env python3
"""Batches of many arks: the share of the examples that an epoch uses, and how fast 1, 4 and 8 ranks read them.

    tests/bench/bench_batches.py [--folder DIR] [--arks 32]

Prints JSON lines. `used` and `frames` are of egs as conf/egs/default.yaml and waveform.yaml make them of 20,000
utterances of 8 s: the share of the examples in an epoch of batches of 128 to 2,048, and of their frames (a batch is cut
to its shortest example). `read` is of arks of 64 MB in FOLDER, of 200 to 400 x 80: examples a second of N processes
that read their parts of batches of 256 at the same time, out of the page cache (warm) and after the files were dropped
from it (cold); `one_rank_reads` is the share of the bytes that one of the ranks, alone on a machine, has from the disk.
The peer reads the same files one after the other by plain read(), cold.
"""

import argparse
import dataclasses
import itertools
import json
import multiprocessing
import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np

from timbre.egs.batch_plan import make_plan
from timbre.egs.egs_files import EgsFiles
from timbre.egs.egs_format import EgsArk, Manifest, empty_records, record_dtype
from timbre.egs.egs_plan import plan_arks
from timbre.egs.egs_reader import EgsReader
from timbre.egs.options import BatchOptions, EgsOptions
from timbre.feats.options import FbankOptions
from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.configure import read_config
from timbre.utils.errors import DataError

SIZES = (128, 256, 512, 768, 1024, 2048)
UTTS, SPEAKERS, SECONDS, DIM, BATCH = 20_000, 400, 8, 80, 256
ROOT = Path(__file__).resolve().parents[2]


def make_manifest(options: EgsOptions, arks: list[EgsArk]) -> Manifest:
    numbers = dict.fromkeys(
        ("num_examples", "num_frames", "num_utterances", "num_too_short", "num_unused", "num_valid_speaker_utts"), 0
    )
    waveform = FbankOptions(num_mel_bins=DIM) if options.kind == "waveform" else None
    settings = {"options": options, "normalize": NormalizeOptions(), "feat_dim": DIM, "num_speakers": SPEAKERS}
    lists = {"valid_utts": [], "valid_speakers": [], "train": arks, "valid": [], "waveform": waveform}
    manifest = Manifest(version=1, data_dir="", seed=0, **settings, **numbers, **lists)
    return dataclasses.replace(manifest, num_examples=sum(ark.examples for ark in arks))


def write_arks(folder: Path, options: EgsOptions, plans: list[tuple[int, int]], filled: bool) -> Manifest:
    """Arks of (examples, frames) of each of PLANS: labels, and, if FILLED, matrices."""
    arks, rng = [], np.random.default_rng(0)
    manifest = make_manifest(options, [])
    for number, (examples, frames) in enumerate(plans):
        keys = [b"s%03d-%05d-%06d" % (one % SPEAKERS, number, one) for one in range(examples)]
        dtype = record_dtype(len(keys[0]), frames, manifest.train_dim, manifest.train_encoding)
        path = folder / f"egs.{number}.ark"
        labels = b"".join(b"%s %d\n" % (key, one % SPEAKERS) for one, key in enumerate(keys))
        path.with_suffix(".spk").write_bytes(labels)
        if filled:
            records = empty_records(keys, dtype, manifest.train_encoding)
            records["data"] = rng.random(records["data"].shape, np.float32)
            with path.open("wb") as file:
                file.write(records.data)
                os.fsync(file.fileno())
        arks.append(EgsArk(path.stem, examples, frames, len(keys[0]), examples * dtype.itemsize, "", ""))
    return make_manifest(options, arks)


def report_shares(folder: Path, name: str) -> None:
    config = read_config(ROOT / f"conf/egs/{name}.yaml")
    options = EgsOptions(**config)
    rng = np.random.default_rng(0)
    frames = np.maximum(rng.gamma(4, SECONDS * 100 / 4, UTTS).astype(np.int64), 400)
    speakers = np.arange(UTTS) % SPEAKERS
    dim = 160 if options.kind == "waveform" else DIM
    arks = plan_arks(np.arange(UTTS), frames, speakers, dim, options, rng)
    manifest = write_arks(folder, options, [(len(ark.utt), ark.frames) for ark in arks], filled=False)
    total = sum(ark.examples * ark.frames for ark in manifest.train)
    files = EgsFiles(folder, manifest)
    for size in SIZES:
        line = {"bench": "batches", "egs": name, "examples": manifest.num_examples, "arks": len(arks), "batch": size}
        try:
            plan = make_plan(BatchOptions(), size, 0, files)
        except DataError as error:
            print(json.dumps(line | {"used": 0, "error": error.message}), flush=True)
            continue
        kept = size * sum(int(files.lengths(examples).min()) for examples in plan.epoch(0))
        used = 1 - plan.left_out / manifest.num_examples
        print(json.dumps(line | {"used": round(used, 4), "frames": round(kept / total, 4)}), flush=True)


def drop(folder: Path) -> None:
    """The arks out of the page cache."""
    for path in folder.glob("egs.*.ark"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_part(folder: Path, manifest: Manifest, rank: int, ranks: int) -> None:
    reader = EgsReader(folder, manifest, BATCH, 0, rank=rank, world_size=ranks)
    for _ in itertools.islice(reader, reader.batches_per_epoch):
        pass


def disk_share(folder: Path, manifest: Manifest, ranks: int) -> float:
    """Of the bytes of all arks, what one of RANKS had from the disk."""

    def from_disk() -> int:
        return int(re.search(r"read_bytes: (\d+)", Path("/proc/self/io").read_text())[1])

    drop(folder)
    before = from_disk()
    read_part(folder, manifest, ranks // 2, ranks)
    return (from_disk() - before) / sum(ark.num_bytes for ark in manifest.train)


def rate(folder: Path, manifest: Manifest, ranks: int) -> int:
    """Examples a second of RANKS processes at once."""
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=read_part, args=(folder, manifest, rank, ranks)) for rank in range(ranks)]
    start = time.perf_counter()
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    return round(manifest.num_examples / (time.perf_counter() - start))


def report_rates(folder: Path, num_arks: int) -> None:
    options = EgsOptions(**read_config(ROOT / "conf/egs/default.yaml"))
    lengths = np.linspace(200, 400, num_arks).astype(int).tolist()
    manifest = write_arks(folder, options, [(2**26 // (length * DIM * 4), length) for length in lengths], filled=True)
    head = {"bench": "batches", "arks": num_arks, "examples": manifest.num_examples, "batch": BATCH}
    drop(folder)
    start = time.perf_counter()
    for path in sorted(folder.glob("egs.*.ark")):
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
    print(json.dumps(head | {"peer_read_cold": round(manifest.num_examples / (time.perf_counter() - start))}))
    for ranks in (1, 4, 8):
        cold = []
        for _ in range(3):
            drop(folder)
            cold.append(rate(folder, manifest, ranks))
        result = {"ranks": ranks, "cold": max(cold), "warm": max(rate(folder, manifest, ranks) for _ in range(3))}
        print(json.dumps(head | result | {"one_rank_reads": round(disk_share(folder, manifest, ranks), 3)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    parser.add_argument("--arks", type=int, default=32)
    given = parser.parse_args()
    for name in ("default", "waveform"):
        with tempfile.TemporaryDirectory() as folder:
            report_shares(Path(folder), name)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        report_rates(Path(folder), given.arks)


if __name__ == "__main__":
    main()
