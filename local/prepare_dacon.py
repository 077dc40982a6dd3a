#!/usr/bin/env python3
"""The corpus of the Dacon speaker-verification competition of 2021: a list of files with speakers, one of pairs.

Layout: a list with the header file_name,speaker (train_info), and one with file_name,file_name_ (test_data), which may
have a third column, label; files by their paths from the list's folder or from an audio folder. From the competition's
public code; the corpus itself is not published, so that there are no counts.
"""

import logging
import sys
from pathlib import Path
from typing import Literal

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.audio.reading import AUDIO_SUFFIXES
from timbre.corpora.corpus import Corpus
from timbre.corpora.utt_set import UttSet
from timbre.datadir.pair_tables import csv_bytes, draw_pairs
from timbre.datadir.trials import Trials
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

TEST_COLUMNS = ("file_name", "file_name_")
ROW_COLUMNS = (*TEST_COLUMNS, "enroll", "test", "same", "different")

logger = logging.getLogger(__name__)


def prepare_dacon(
    corpus_dir: Path,
    out_dir: Path,
    train_list: str = "train_info",
    test_list: str = "test_data",
    audio: str = ".",
    same_label: Literal[0, 1] = 0,
    label_column: str = "",
    pairs: int | None = None,
    seed: int = 42,
    partial: bool = False,
) -> None:
    """Write OUT_DIR/train and OUT_DIR/eval_dacon: with trials where the pairs have labels, else with `pairs`.

    In eval_dacon, where speakers are not known, every file is a speaker of its own; pair_rows.csv has the rows of the
    list, for the submission. train/pairs.csv has labelled pairs of the training files: idx,left,right,label and the ids
    of both.

    Args:
        corpus_dir: holds the lists
        out_dir: where the data directories go
        train_list: the list of training files, in CORPUS_DIR, with .csv after it or not
        test_list: the list of pairs, likewise
        audio: the folder in CORPUS_DIR that the files' paths start at
        same_label: the label that means one speaker: 0 as in the competition's description, 1 as in its code
        label_column: of the list of pairs; by default `label`, where it has that, and any column more is refused
        pairs: number of training pairs, even: exactly half of one speaker; 0: none; by default as many as files
        seed: of the training pairs
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    there = set(corpus.audio(audio, *AUDIO_SUFFIXES))
    root = corpus.path / audio
    train, test = UttSet(), UttSet()
    absent, names = set(), {}
    for _, row in corpus.records(corpus.need(train_list, f"{train_list}.csv"), ",", ("file_name", "speaker")):
        name, spk = row["file_name"], row["speaker"].replace(" ", "_")
        if name in there:
            train.add(f"{spk}-{flat(name)}", spk, f"{root}/{name}")
            names[f"{spk}-{flat(name)}"] = name
        else:
            absent.add(name)
    if pairs != 0:
        add_training_pairs(train, names, same_label, pairs, seed)
    if path := corpus.find(test_list, f"{test_list}.csv"):
        absent |= add_test_pairs(test, corpus, path, label_column, same_label, there, root)
    if absent:
        corpus.lacks(f"{len(absent):,} files of the lists, such as {min(absent)}")
    corpus.check_whole()
    for stale in ("eval_dacon/pairs", "eval_dacon/trials", "train/pairs.csv"):
        (out_dir / stale).unlink(missing_ok=True)
    corpus.write(out_dir, {"train": train, "eval_dacon": test})


def add_training_pairs(train: UttSet, names: dict[str, str], same_label: int, number: int | None, seed: int) -> None:
    """Gives TRAIN its pairs.csv; without it, with a warning, where NUMBER is open and no pairs can be drawn."""
    try:
        drawn = draw_pairs(train.utt2spk, number, seed)
    except DataError as error:
        if number is not None:
            raise
        logger.warning("no train/pairs.csv: %s", error)
        return
    sides = zip(drawn.enroll.tolist(), drawn.test.tolist(), drawn.target.tolist(), strict=True)
    rows = ((drawn.enroll_ids[one], drawn.test_ids[other], same) for one, other, same in sides)
    labels = {True: same_label, False: 1 - same_label}
    table = ((idx, names[a], names[b], labels[same], a, b) for idx, (a, b, same) in enumerate(rows))
    train.verbatim["pairs.csv"] = csv_bytes(("idx", "left", "right", "label", "left_utt", "right_utt"), table)


def add_test_pairs(
    test: UttSet, corpus: Corpus, path: Path, label_column: str, same_label: int, there: set[str], root: Path
) -> set[str]:
    """Gives TEST the utterances, the trials or `pairs`, and the rows of the list PATH; the files that are not THERE."""
    column = label_column or "label"
    absent: set[str] = set()
    wanted = (*TEST_COLUMNS, label_column) if label_column else TEST_COLUMNS
    pairs, labels, rows = [], [], []
    labelled: dict[frozenset[str], str] = {}
    words = str(same_label), str(1 - same_label)
    for number, row in corpus.records(path, ",", wanted):
        names = row["file_name"], row["file_name_"]
        if not label_column and (other := next((name for name in row if name not in (*TEST_COLUMNS, "label")), None)):
            raise DataError(f"what is the column '{other}'? --label-column NAME tells which has the labels", path, 1)
        if (label := row.get(column)) not in (None, "0", "1"):
            raise DataError(f"label '{label}' is not 0 or 1", path, number)
        if label is not None and labelled.setdefault(frozenset(names), label) != label:
            raise DataError(f"'{names[0]},{names[1]}' has both labels", path, number)
        absent.update(name for name in names if name not in there)
        if absent.isdisjoint(names):
            pairs.append((flat(names[0]), flat(names[1])))
            labels.append(label == words[0])
            for name in names:
                if flat(name) not in test.utt2spk:
                    test.add(flat(name), flat(name), f"{root}/{name}")
            rows.append((*names, *pairs[-1], *words))
        else:
            rows.append((*names, "", "", *words))
    if pairs and labelled:
        enroll, tests = zip(*pairs, strict=True)
        test.trials["trials"] = Trials.of(enroll, tests, labels)
    elif pairs:
        test.verbatim["pairs"] = "".join(f"{enroll} {other}\n" for enroll, other in pairs).encode()
    test.verbatim["pair_rows.csv"] = csv_bytes(ROW_COLUMNS, iter(rows))
    return absent


def flat(name: str) -> str:
    """a-b of a/b.wav"""
    return name.rpartition(".")[0].replace("/", "-").replace(" ", "_")


if __name__ == "__main__":
    run_step(prepare_dacon)
