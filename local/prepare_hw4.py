#!/usr/bin/env python3
"""Homework 4 of NTU's machine-learning course 2023 (a part of VoxCeleb2): log mel features of 600 speakers, no audio.

Layout: metadata.json {"n_mels": 40, "speakers": {"id00464": [{"feature_path": "uttr-....pt", "mel_len": 435}]}},
mapping.json {"speaker2id": {...}, "id2speaker": {...}} (also spelt speakers2id and id2speakers), testdata.json
{"utterances": [{"feature_path": "uttr-....pt"}]}, and uttr-*.pt, each a FloatTensor (num_frames, n_mels).
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus
from timbre.corpora.utt_set import UttSet
from timbre.datadir.ark import ArkWriter
from timbre.utils.cli import run_step
from timbre.utils.documents import read_json
from timbre.utils.errors import DataError

PUBLISHED = {"train": (600, 56666), "test": (None, 8000)}  # speakers, utterances


def prepare_hw4(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/train and OUT_DIR/eval_hw4: feats.scp, and the ark it points into, utt2spk and utt2num_frames.

    The speakers of eval_hw4 are not known: every utterance is one of its own.

    Args:
        corpus_dir: holds the lists and the features
        out_dir: where the data directories go
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    speakers = read(corpus, "metadata.json", "speakers")
    mapping = read_mapping(corpus)
    if strangers := sorted(speakers.keys() - mapping):
        raise DataError(f"speaker '{strangers[0]}' of metadata.json is not in it", corpus.path / "mapping.json")
    train = [(spk, file_of(corpus, entry, "metadata.json")) for spk, entries in speakers.items() for entry in entries]
    test = [("", file_of(corpus, entry, "testdata.json")) for entry in read(corpus, "testdata.json", "utterances")]
    there = set(corpus.audio("", ".pt"))
    sets: dict[str, UttSet] = {}
    files: dict[str, dict[str, Path]] = {}
    for name, part, listed in (("train", "train", train), ("eval_hw4", "test", test)):
        utts, files[name] = UttSet(), {}
        for spk, file in listed:
            if file in there:
                stem = file.removesuffix(".pt")
                utt = f"{spk}-{stem}" if spk else stem
                utts.add(utt, spk or stem, file)
                files[name][utt] = corpus.path / file
        corpus.check_set(part, utts, *PUBLISHED[part])
        del utts.tables["wav.scp"]
        sets[name] = utts
    corpus.check_whole()
    for name, utts in sets.items():
        if utts.utt2spk:
            utts.tables |= write_features(files[name], out_dir / name)
    corpus.write(out_dir, sets)


def read(corpus: Corpus, name: str, key: str) -> Any:
    """What the JSON file NAME has under KEY."""
    path = corpus.need(name)
    try:
        return read_json(path)[key]
    except (KeyError, TypeError) as error:
        raise DataError(f"not JSON with '{key}': {error}", path) from None


def read_mapping(corpus: Corpus) -> set[str]:
    """The speakers that mapping.json knows, under either name of the key."""
    try:
        return set(read(corpus, "mapping.json", "speaker2id"))
    except DataError:
        return set(read(corpus, "mapping.json", "speakers2id"))


def file_of(corpus: Corpus, entry: Any, name: str) -> str:
    try:
        return str(entry["feature_path"])
    except (KeyError, TypeError):
        raise DataError(f"an entry has no feature_path: {entry}", corpus.path / name) from None


def write_features(files: dict[str, Path], folder: Path) -> dict[str, dict[str, str]]:
    """Writes FOLDER/data/feats.ark; the tables feats.scp and utt2num_frames of it."""
    import torch  # slow to import: not for --help

    frames = {}
    with ArkWriter(folder.resolve() / "data" / "feats.ark") as writer:
        for utt, path in sorted(files.items()):
            try:
                features = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # whatever a damaged file leads to
                raise DataError(f"not a tensor saved by PyTorch: {str(error).splitlines()[0]}", path) from None
            if not isinstance(features, torch.Tensor) or features.ndim != 2 or not len(features):
                raise DataError("not a tensor (num_frames, n_mels)", path)
            writer.write(utt, features.float().numpy())
            frames[utt] = str(len(features))
    return {"feats.scp": writer.scp, "utt2num_frames": frames}


if __name__ == "__main__":
    run_step(prepare_hw4)
