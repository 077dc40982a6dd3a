#!/usr/bin/env python3
"""MAGICDATA Mandarin Chinese Read Speech: 1,080 speakers, read into mobile telephones.

As published at https://www.openslr.org/68: {train,dev,test}/{TRANS.txt,14_3466/14_3466_20170826171117.wav}, and
metadata/SPKINFO.txt (or SPKINFO.txt) of metadata.tar.gz. TRANS.txt has UtteranceID, SpeakerID and Transcription, and
SPKINFO.txt SPKID, Age, Gender and Dialect, with tabs between. The utterances are counted against TRANS.txt.
"""

import re
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, Named, gender_of, in_speaker_folder
from timbre.corpora.utt_set import UttSet
from timbre.utils.cli import run_step

PARTS = {"train": "train", "dev": "dev", "test": "eval_magicdata"}
SPEAKERS = 1080
_DATE = re.compile(r"_(\d{8})\d*$")


def prepare_magicdata(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/train, OUT_DIR/dev and OUT_DIR/eval_magicdata, whose trials are drawn: there are no official ones.

    utt2session is the date in the file's name. Files that TRANS.txt does not name are left out.

    Args:
        corpus_dir: holds train, dev, test
        out_dir: where the data directories go
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    info = corpus.find("metadata/SPKINFO.txt", "SPKINFO.txt")
    rows = [row for _, row in corpus.records(info, "\t", ("SPKID", "Gender"))] if info else []
    genders = {row["SPKID"]: gender for row in rows if (gender := gender_of(row["Gender"]))}
    sets, speakers = {}, set()
    for part, name in PARTS.items():
        listed = set()
        if path := corpus.find(f"{part}/TRANS.txt"):
            for _, row in corpus.records(path, "\t", ("UtteranceID", "SpeakerID")):
                listed.add(f"{row['SpeakerID']}-{row['UtteranceID'].removesuffix('.wav')}")
        utts = UttSet()
        corpus.take(utts, part, ".wav", of)
        sets[name] = utts = utts.select(listed)
        if lacking := listed - utts.utt2spk.keys():
            corpus.lacks(f"{len(lacking):,} files of {part}/TRANS.txt, such as {min(lacking)}")
        utts.describe(gender=genders)
        utts.label(lang="zh")
        speakers |= set(utts.utt2spk.values())
    corpus.check("speakers", len(speakers), SPEAKERS)
    sets["eval_magicdata"].draw_trials()
    corpus.write(out_dir, sets)


def of(path: str) -> Named | None:
    """14_3466-14_3466_20170826171117, of session 14_3466-20170826."""
    named = in_speaker_folder(path)
    date = _DATE.search(named.utt) if named else None
    return Named(named.utt, named.spk, {"session": f"{named.spk}-{date[1]}"}) if named and date else named


if __name__ == "__main__":
    run_step(prepare_magicdata)
