#!/usr/bin/env python3
"""Homework 4 of NTU's machine-learning course 2023 (a part of VoxCeleb2): log mel features of 600 speakers, no audio.

Layout: metadata.json {"n_mels": 40, "speakers": {"id00464": [{"feature_path": "uttr-....pt", "mel_len": 435}]}},
mapping.json {"speaker2id": {...}, "id2speaker": {...}} (also spelt speakers2id and id2speakers), testdata.json
{"utterances": [{"feature_path": "uttr-....pt"}]}, and uttr-*.pt, each a FloatTensor (num_frames, n_mels).
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus
from timbre.corpora.utt_set import UttSet
from timbre.datadir.ark import ArkWriter
from timbre.utils.cli import run_step
from timbre.utils.documents import read_json
from timbre.utils.errors import DataError

N_MELS = 40
PUBLISHED = {"train": (600, 56666), "test": (None, 8000)}  # speakers, utterances


def prepare_hw4(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/train and OUT_DIR/eval_hw4: feats.scp, and the ark it points into, utt2spk and utt2num_frames.

    The speakers of eval_hw4 are not known: every utterance is one of its own. OUT_DIR/eval_hw4/utt2row has the number
    of its row in testdata.json, from 1, and its file, for the submission.

    Args:
        corpus_dir: holds the lists and the features
        out_dir: where the data directories go
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    speakers = read(corpus, "metadata.json", "speakers", dict)
    mapping = read_mapping(corpus)
    if strangers := sorted(speakers.keys() - mapping):
        raise DataError(f"speaker '{strangers[0]}' of metadata.json is not in it", corpus.path / "mapping.json")
    if odd := [spk for spk, entries in speakers.items() if not isinstance(entries, list)]:
        raise DataError(f"speaker '{odd[0]}' has no list of utterances", corpus.path / "metadata.json")
    train = [(spk, file_of(corpus, entry, "metadata.json")) for spk, entries in speakers.items() for entry in entries]
    test = [
        ("", file_of(corpus, entry, "testdata.json")) for entry in read(corpus, "testdata.json", "utterances", list)
    ]
    check_once(corpus, [file for _, file in train], "metadata.json")
    check_once(corpus, [file for _, file in test], "testdata.json")
    there = set(corpus.audio("", ".pt"))
    sets: dict[str, UttSet] = {}
    files: dict[str, dict[str, Path]] = {}
    for name, part, listed in (("train", "train", train), ("eval_hw4", "test", test)):
        utts, files[name] = UttSet(), {}
        for row, (spk, file) in enumerate(listed, 1):
            if file in there:
                stem = file.removesuffix(".pt")
                utt = f"{spk}-{stem}" if spk else stem
                utts.add(utt, spk or stem, file, {} if spk else {"row": f"{row} {file}"})
                files[name][utt] = corpus.path / file
        corpus.check_set(part, utts, *PUBLISHED[part])
        del utts.tables["wav.scp"]
        sets[name] = utts
    corpus.check_whole()
    for name, utts in sets.items():
        if utts.utt2spk:
            utts.tables |= write_features(files[name], out_dir / name, N_MELS)
    corpus.write(out_dir, sets)


def read(corpus: Corpus, name: str, key: str, kind: type) -> Any:
    """What the JSON file NAME has under KEY, of this KIND and not empty."""
    path = corpus.need(name)
    try:
        found = read_json(path)[key]
    except (KeyError, TypeError) as error:
        raise DataError(f"not JSON with '{key}': {error}", path) from None
    if not isinstance(found, kind):
        raise DataError(f"'{key}' is not {'a list' if kind is list else 'of names'}", path)
    if not found:
        raise DataError(f"'{key}' is empty", path)
    return found


def read_mapping(corpus: Corpus) -> set[str]:
    """The speakers that mapping.json knows, under either name of the key."""
    try:
        return set(read(corpus, "mapping.json", "speaker2id", dict))
    except DataError:
        return set(read(corpus, "mapping.json", "speakers2id", dict))


def check_once(corpus: Corpus, files: list[str], name: str) -> None:
    """Raises DataError if FILES, which NAME lists, has one twice."""
    twice = [file for file, number in Counter(files).items() if number > 1]
    if twice:
        raise DataError(f"lists {twice[0]} twice ({len(twice)} such files)", corpus.path / name)


def file_of(corpus: Corpus, entry: Any, name: str) -> str:
    try:
        return str(entry["feature_path"])
    except (KeyError, TypeError):
        raise DataError(f"an entry has no feature_path: {entry}", corpus.path / name) from None


def write_features(files: dict[str, Path], folder: Path, dim: int) -> dict[str, dict[str, str]]:
    """Writes FOLDER/data/feats.ark, of DIM mels; the tables feats.scp and utt2num_frames of it."""
    import torch  # slow to import: not for --help

    frames = {}
    with ArkWriter(folder.resolve() / "data" / "feats.ark") as writer:
        for utt, path in sorted(files.items()):
            try:
                features = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # whatever a damaged file leads to
                raise DataError(f"not a tensor saved by PyTorch: {str(error).splitlines()[0]}", path) from None
            if (
                not isinstance(features, torch.Tensor)
                or features.ndim != 2
                or not len(features)
                or features.is_complex()
            ):
                raise DataError("not a tensor (num_frames, n_mels)", path)
            if features.shape[1] != dim:
                raise DataError(f"{features.shape[1]} dimensions, and {dim} are wanted", path)
            if not torch.isfinite(features).all():
                raise DataError("holds numbers that are not finite", path)
            writer.write(utt, features.float().numpy())
            frames[utt] = str(len(features))
    return {"feats.scp": writer.scp, "utt2num_frames": frames}


if __name__ == "__main__":
    run_step(prepare_hw4)
