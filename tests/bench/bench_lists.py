#!/usr/bin/env python3
"""What a corpus as long as VoxCeleb2's costs beside its audio: lists of 1,092,009 utterances through the stages.

    tests/bench/bench_lists.py [--utts 1092009] [--parts copy,fingerprint,...] [--folder DIR]

Prints one JSON line a part, each a process of its own: seconds, CPU seconds, peak memory. What would read or compute
audio, features, VAD or embeddings is replaced by a function that makes something of the right size (arks are sparse
files, every audio file a link to one); all that is done about them is real. `again` is a second run, of which nothing
is to be made. `count` is of a tenth of the utterances, with real VAD decisions. Goals: 300 s and 3 GB each. Preparation
has bench_prepare.py. Needs 4 GB of disk in DIR.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

GOAL_S, GOAL_GB = 300, 3
SPEAKERS, FRAMES, DIM, EMBEDDING = 5994, 800, 80, 256
Result = dict[str, Any]


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return round(time.perf_counter() - start, 1)


def make_data(folder: Path, utts: int) -> Path:
    """A data directory of UTTS utterances, with a file each."""
    from timbre.datadir.datadir import DataDir

    audio = folder / "audio"
    wavs, utt2spk = {}, {}
    for number in range(utts):
        spk = f"id{number * SPEAKERS // utts:05d}"
        utt = f"{spk}-{number // 7:011d}-{number % 7:05d}"
        path = audio / spk / f"{utt}.wav"
        if number % 5000 == 0 or not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            source = path.with_name("source")
            if not source.exists():
                source.write_bytes(b"RIFF")
        os.link(source, path)
        wavs[utt], utt2spk[utt] = str(path), spk
    DataDir(folder, wavs, utt2spk).write(folder / "data")
    return folder / "data"


def sparse_ark(path: Path, count: int, size: int) -> list[int]:
    """An empty ark of COUNT objects of SIZE bytes; their places."""
    with path.open("wb") as file:
        file.truncate(count * size)
    return [number * size for number in range(count)]


def copy(folder: Path) -> Result:
    from timbre.datadir.contents import Contents

    return {"work": "copy_data_dir", "seconds": seconds(lambda: Contents.read(folder / "data").write(folder / "copy"))}


def features(folder: Path) -> Result:
    from timbre.datadir.datadir import DataDir
    from timbre.feats import dump_feats
    from timbre.feats.options import FbankOptions

    def compute(items: Sequence[Any], part: Path, **_: object) -> Result:
        places = sparse_ark(part / "feats.ark", len(items), FRAMES * DIM * 4)
        energies = sparse_ark(part / "energy.ark", len(items), FRAMES * 4)
        names = [item.name for item in items]
        num_frames, duration = (dict.fromkeys(names, text) for text in (f"{FRAMES}", "8.02"))
        tables = {"feats": dict(zip(names, places, strict=True)), "energy": dict(zip(names, energies, strict=True))}
        return {"failures": {}, "num_frames": num_frames, "duration": duration, **tables}

    def once() -> None:
        dump_feats.dump_features(DataDir.read(folder / "data"), FbankOptions(num_mel_bins=DIM), nj=1)

    with mock.patch.object(dump_feats, "_compute", compute):
        return {"work": "make_fbank", "seconds": seconds(once), "again": seconds(once)}


def vad(folder: Path) -> Result:
    from timbre.datadir.datadir import DataDir
    from timbre.feats import dump_vad
    from timbre.feats.vad import VadOptions

    def compute(items: Sequence[Any], part: Path, **_: object) -> Result:
        places = sparse_ark(part / "vad.ark", len(items), FRAMES * 4)
        offsets = {item.name: place for item, place in zip(items, places, strict=True)}
        return {"failures": {}, "unvoiced": [], "num_voiced": 1, "num_frames": 1, "vad": offsets}

    def once() -> None:
        dump_vad.dump_vad(DataDir.read(folder / "data"), VadOptions(), nj=1)

    with mock.patch.object(dump_vad, "_compute", compute):
        return {"work": "compute_vad", "seconds": seconds(once), "again": seconds(once)}


def fingerprint(folder: Path) -> Result:
    from timbre.utils.fingerprint import record, why_run

    inputs = [str(folder / "data" / name) for name in ("wav.scp", "utt2spk", "feats.scp", "vad.scp")]
    stamp, outputs = folder / "stamp", [str(folder / "data" / "utt2num_frames")]

    def once() -> None:
        why_run(stamp, inputs, outputs, ["some"], keeps=True)
        record(stamp, inputs, outputs, ["some"])

    def again() -> None:
        assert why_run(stamp, inputs, outputs, ["some"]) is None

    return {"work": "a stage's stamp", "seconds": seconds(once), "again": seconds(again)}


def count(folder: Path) -> Result:
    from timbre.datadir.ark import ArkWriter
    from timbre.datadir.datadir import DataDir
    from timbre.feats.utterances import Utterance, count_frames, list_utterances
    from timbre.runtime.normalize import NormalizeOptions

    utterances = list_utterances(DataDir.read(folder / "data"), NormalizeOptions())[::10]
    with ArkWriter(folder / "vad.ark") as writer:
        for one in utterances:
            writer.write(one.utt, np.ones(FRAMES, np.float32))
    some = [Utterance(one.utt, one.feats, writer.scp[one.utt], one.normalization) for one in utterances]
    return {"work": "frames of a tenth counted", "seconds": seconds(lambda: count_frames(some, 1))}


def egs(folder: Path) -> Result:
    from timbre.datadir.datadir import DataDir
    from timbre.egs import egs_writer
    from timbre.egs.egs_format import EgsArk, record_dtype
    from timbre.egs.options import EgsOptions
    from timbre.feats.utterances import Utterance
    from timbre.runtime.normalize import NormalizeOptions

    def fill(job: Any) -> EgsArk:
        plan = job.plan
        keys = egs_writer._keys([job.utterances[utt].utt for utt in plan.utt], plan.start)
        labels = b"".join(key + b" %d\n" % job.labels[utt] for key, utt in zip(keys, plan.utt, strict=True))
        job.path.with_suffix(".spk").write_bytes(labels)
        size = record_dtype(len(keys[0]), plan.frames, job.dim, job.encoding).itemsize
        sparse_ark(job.path, len(keys), size)
        return EgsArk(job.path.stem, len(keys), plan.frames, len(keys[0]), size * len(keys), "", "")

    def frames(utterances: Sequence[Any], nj: int) -> np.ndarray:
        return np.maximum(np.random.default_rng(0).gamma(4, FRAMES / 4, len(utterances)), 400).astype(np.int64)

    def once() -> None:
        data, options = DataDir.read(folder / "data"), EgsOptions()
        egs_writer.write_egs(data, folder / "egs", options, NormalizeOptions(), nj=1, seed=0)

    with (
        mock.patch.object(egs_writer, "_fill", fill),
        mock.patch.object(egs_writer, "count_frames", frames),
        mock.patch.object(Utterance, "dim", lambda self: DIM),
        mock.patch.object(Utterance, "read", lambda self: np.zeros((FRAMES, DIM), np.float32)),
    ):
        return {"work": "get_egs", "seconds": seconds(once)}


def batches(folder: Path, kind: str) -> Result:
    from timbre.egs.egs_format import Manifest
    from timbre.egs.egs_reader import EgsReader
    from timbre.egs.options import BatchOptions

    start = time.perf_counter()
    manifest = Manifest.read(folder / "egs")
    reader = EgsReader(folder / "egs", manifest, 256, 0, batches=BatchOptions(kind))
    opened = round(time.perf_counter() - start, 1)
    plan = reader._plan
    sizes = {"examples": manifest.num_examples, "arks": len(manifest.train), "left_out": plan.left_out}
    first, epoch = (seconds(lambda number=number: next(plan.epoch(number))) for number in (0, 1))
    all_s = seconds(lambda: [reader._files.lengths(examples).min() for examples in plan.epoch(2)])
    result = {"work": f"batches, {kind}", "seconds": round(opened + first, 1), "opened": opened, "epoch_begins": epoch}
    return result | {"all_of_an_epoch": all_s} | sizes


def embeddings(folder: Path) -> Result:
    import torch

    from timbre.datadir.ark import read_vectors
    from timbre.datadir.datadir import DataDir
    from timbre.embedding import extract, vector_parts
    from timbre.feats.protocols import Protocol
    from timbre.nnet import model
    from timbre.runtime.normalize import NormalizeOptions

    current: list[Sequence[Any]] = []

    def read_pieces(items: Sequence[Any], *_: object) -> Sequence[Any]:
        return items

    def extract_parts(network: object, readers: Iterator[Any], *_: object) -> Iterator[dict[str, extract.Extraction]]:
        rng = np.random.default_rng(0)
        for items in readers:
            rows = rng.standard_normal((len(items), EMBEDDING), np.float32)
            vectors = {item.utt: row for item, row in zip(items, rows, strict=True)}
            yield {"full": extract.Extraction(vectors)}

    def once() -> None:
        data, options = DataDir.read(folder / "data"), extract.ExtractOptions()
        stem = folder / "xvector"
        vector_parts.dump_embeddings(folder / "model", data, {Protocol(): stem}, options, "cpu", 1)

    (folder / "model").mkdir()
    for name in ("config.yaml", "final.pt"):
        (folder / "model" / name).write_text("x")
    network = mock.Mock(min_frames=1)
    assert torch and not current
    with (
        mock.patch.object(model, "load_model", lambda *_: (network, NormalizeOptions())),
        mock.patch.object(vector_parts, "read_pieces", read_pieces),
        mock.patch.object(extract, "extract_parts", extract_parts),
    ):
        result = {"work": "extract_embeddings", "dim": EMBEDDING, "seconds": seconds(once), "again": seconds(once)}
    result["rss_gb"] = peak_rss()
    return result | {"read": seconds(lambda: read_vectors(folder / "xvector.scp"))}


def peak_rss() -> float:
    """Of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


PARTS: dict[str, Callable[[Path], Result]] = {
    "copy": copy,
    "features": features,
    "vad": vad,
    "fingerprint": fingerprint,
    "count": count,
    "egs": egs,
    "shuffled": lambda folder: batches(folder, "shuffled"),
    "speakers": lambda folder: batches(folder, "speakers"),
    "embeddings": embeddings,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utts", type=int, default=1_092_009)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        result = PARTS[given.one[0]](Path(given.one[1]))
        usage = resource.getrusage(resource.RUSAGE_SELF)
        result = {"rss_gb": peak_rss(), "cpu_s": round(usage.ru_utime + usage.ru_stime, 1)} | result
        result["ok"] = result["seconds"] < GOAL_S and result["rss_gb"] < GOAL_GB
        print(json.dumps({"bench": "lists", "part": given.one[0]} | result), flush=True)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        made = seconds(lambda: make_data(Path(name), given.utts))
        print(json.dumps({"bench": "lists", "utts": given.utts, "made": made}), flush=True)
        for part in given.parts.split(","):
            subprocess.run([sys.executable, __file__, "--one", part, name], check=True)


if __name__ == "__main__":
    main()
