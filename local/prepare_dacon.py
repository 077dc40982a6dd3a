#!/usr/bin/env python3
"""The corpus of the Dacon speaker-verification competition of 2021: a list of files with speakers, one of pairs.

Layout: a list with the header file_name,speaker (train_info), and one with file_name,file_name_ (test_data), which may
have a third column, label; files by their paths from the list's folder or from an audio folder. From the competition's
public code; the corpus itself is not published, so that there are no counts.
"""

import sys
from pathlib import Path
from typing import Literal

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.audio.reading import AUDIO_SUFFIXES
from timbre.corpora.corpus import Corpus
from timbre.corpora.utt_set import UttSet
from timbre.datadir.trials import Trials
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def prepare_dacon(
    corpus_dir: Path,
    out_dir: Path,
    train_list: str = "train_info",
    test_list: str = "test_data",
    audio: str = ".",
    same_label: Literal[0, 1] = 0,
    partial: bool = False,
) -> None:
    """Write OUT_DIR/train and OUT_DIR/eval_dacon: with trials where the pairs have labels, else with `pairs`.

    In eval_dacon, where speakers are not known, every file is a speaker of its own.

    Args:
        corpus_dir: holds the lists
        out_dir: where the data directories go
        train_list: the list of training files, in CORPUS_DIR, with .csv after it or not
        test_list: the list of pairs, likewise
        audio: the folder in CORPUS_DIR that the files' paths start at
        same_label: the label that means one speaker: 0 as in the competition's description, 1 as in its code
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    there = set(corpus.audio(audio, *AUDIO_SUFFIXES))
    root = corpus.path / audio
    train, test = UttSet(), UttSet()
    absent = set()
    for _, row in corpus.records(corpus.need(train_list, f"{train_list}.csv"), ",", ("file_name", "speaker")):
        name, spk = row["file_name"], row["speaker"].replace(" ", "_")
        if name in there:
            train.add(f"{spk}-{flat(name)}", spk, f"{root}/{name}")
        else:
            absent.add(name)
    pairs, labels = [], []
    if path := corpus.find(test_list, f"{test_list}.csv"):
        for number, row in corpus.records(path, ",", ("file_name", "file_name_")):
            names = row["file_name"], row["file_name_"]
            if row.get("label") not in (None, "0", "1"):
                raise DataError(f"label '{row['label']}' is not 0 or 1", path, number)
            absent.update(name for name in names if name not in there)
            if absent.isdisjoint(names):
                pairs.append((flat(names[0]), flat(names[1])))
                labels.append(row["label"] == str(same_label) if "label" in row else None)
                for name in names:
                    if flat(name) not in test.utt2spk:
                        test.add(flat(name), flat(name), f"{root}/{name}")
    if absent:
        corpus.lacks(f"{len(absent):,} files of the lists, such as {min(absent)}")
    if pairs and None not in labels:
        enroll, tests = zip(*pairs, strict=True)
        test.trials["trials"] = Trials.of(enroll, tests, [bool(label) for label in labels])
    elif pairs:
        test.verbatim["pairs"] = "".join(f"{enroll} {other}\n" for enroll, other in pairs).encode()
    corpus.write(out_dir, {"train": train, "eval_dacon": test})


def flat(name: str) -> str:
    """a-b of a/b.wav"""
    return name.rpartition(".")[0].replace("/", "-").replace(" ", "_")


if __name__ == "__main__":
    run_step(prepare_dacon)
