#!/usr/bin/env python3
"""TIMIT (LDC93S1): ten English sentences each by 630 speakers of eight American dialects.

As published: TIMIT/{TRAIN,TEST}/DR1/FCJF0/SA1.WAV, SPHERE files in spite of their suffix; copies in small letters are
read too. The phones of .PHN files beside them go to phones.ctm. Counts: the documentation of the release.
"""

import logging
import re
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, Named
from timbre.corpora.utt_set import UttSet
from timbre.datadir.phones import Phone
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

log = logging.getLogger(__name__)

PARTS = {"train": ("train", 462, 4620), "test": ("eval_timit", 168, 1680)}  # name of the set, speakers, utterances
RATE = 16000  # Hz, of the samples that .PHN files count in
_PLACE = re.compile(r"(DR\d)/([FM][A-Z]{3}\d)/(S[AIX]\d+)\.WAV", re.IGNORECASE)


def prepare_timit(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/train and OUT_DIR/eval_timit with trials, which are drawn, of one sex: there are no official ones.

    phones.ctm has the phones of every utterance whose .PHN file is there, by their names of 1 to 4 letters.
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
        read_phones(corpus, utts)
        corpus.check_set(part, utts, speakers, utterances)
        dialects = {spk: utts.tables["utt2dialect"][utt] for utt, spk in utts.utt2spk.items()}
        utts.describe(gender={spk: spk[0] for spk in dialects}, dialect=dialects)
        utts.tables.pop("utt2dialect", None)
    sets["eval_timit"].draw_trials()
    corpus.write(out_dir, sets)


def read_phones(corpus: Corpus, utts: UttSet) -> None:
    """The phones of UTTS, out of the .PHN file beside the audio of each: "first-sample end-sample phone" a line.

    Raises:
        DataError: a line that is not so, or ends where it begins or before
    """
    lacking = []
    for utt, wav in utts.tables["wav.scp"].items():
        names = (Path(wav).with_suffix(suffix) for suffix in (".PHN", ".phn"))
        if (path := next(filter(Path.exists, names), None)) is None:
            lacking.append(utt)
            continue
        phones, last = [], 0
        for number, (*samples, phone) in corpus.numbered(path, columns=3):
            if not all(sample.isdecimal() for sample in samples) or int(samples[0]) >= int(samples[1]):
                text = f"'first-sample end-sample phone' is wanted, not '{' '.join((*samples, phone))}'"
                raise DataError(text, path, number)
            start, end = max(int(samples[0]), last), int(samples[1])
            if end > start:  # the rest of a phone, where it begins within the one before it
                phones.append(Phone(start / RATE, (end - start) / RATE, phone))
                last = end
        if phones:
            utts.phones[utt] = phones
    if lacking:
        log.warning("%s: %d files have no .PHN beside them, such as %s", corpus.path, len(lacking), lacking[0])


def of(path: str) -> Named | None:
    """fcjf0-sa1 of DR1/FCJF0/SA1.WAV."""
    place = _PLACE.fullmatch(path)
    if not place:
        return None
    dialect, spk, sentence = (field.lower() for field in place.groups())
    return Named(f"{spk}-{sentence}", spk, {"dialect": dialect, "sentence_type": sentence[:2], "lang": "en"})


if __name__ == "__main__":
    run_step(prepare_timit)
