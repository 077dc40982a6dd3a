#!/usr/bin/env python3
"""TIMIT (LDC93S1): ten English sentences each by 630 speakers of eight American dialects.

As published: TIMIT/{TRAIN,TEST}/DR1/FCJF0/SA1.WAV, SPHERE files in spite of their suffix; copies in small letters are
read too. Counts: the documentation of the release.
"""

import re
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, Named
from timbre.corpora.utt_set import UttSet
from timbre.utils.cli import run_step

PARTS = {"train": ("train", 462, 4620), "test": ("eval_timit", 168, 1680)}  # name of the set, speakers, utterances
_PLACE = re.compile(r"(DR\d)/([FM][A-Z]{3}\d)/(S[AIX]\d+)\.WAV", re.IGNORECASE)


def prepare_timit(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/train and OUT_DIR/eval_timit with trials, which are drawn, of one sex: there are no official ones.

    utt2sentence_type is sa (the same two sentences for all), si or sx; spk2dialect is dr1 to dr8.

    Args:
        corpus_dir: holds TIMIT, or is it
        out_dir: where the data directories go
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    sets = {}
    for part, (name, speakers, utterances) in PARTS.items():
        utts = sets[name] = UttSet()
        places = [f"{top}{form}" for top in ("TIMIT/", "timit/", "data/", "") for form in (part.upper(), part)]
        if folder := corpus.find(*places):
            corpus.take(utts, folder, ".wav", of)
        corpus.check_set(part, utts, speakers, utterances)
        dialects = {spk: utts.tables["utt2dialect"][utt] for utt, spk in utts.utt2spk.items()}
        utts.describe(gender={spk: spk[0] for spk in dialects}, dialect=dialects)
        utts.tables.pop("utt2dialect", None)
    sets["eval_timit"].draw_trials()
    corpus.write(out_dir, sets)


def of(path: str) -> Named | None:
    """fcjf0-sa1 of DR1/FCJF0/SA1.WAV."""
    place = _PLACE.fullmatch(path)
    if not place:
        return None
    dialect, spk, sentence = (field.lower() for field in place.groups())
    return Named(f"{spk}-{sentence}", spk, {"dialect": dialect, "sentence_type": sentence[:2], "lang": "en"})


if __name__ == "__main__":
    run_step(prepare_timit)
