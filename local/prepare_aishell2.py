#!/usr/bin/env python3
"""AISHELL-2: Mandarin read into iOS telephones by 1,991 speakers; development and test also by Android and microphone.

As published at https://www.aishelltech.com/aishell_2: iOS/data/{wav.scp,trans.txt,spk_info.txt} and
iOS/data/wav/C0001/ IC0001W0001.wav; AISHELL-DEV-TEST-SET/{iOS,Android,Mic}/{dev,test}/wav/T0011/IT0011W0001.wav, once
the archives are unpacked. spk_info.txt has speaker, age, sex (男, 女) and region, with tabs between; this is from
recipes that read it, not from a copy. Counts: Du et al., "AISHELL-2", 2018.
"""

import sys
from functools import partial as bind
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, Named, gender_of, in_speaker_folder
from timbre.corpora.utt_set import UttSet
from timbre.utils.cli import run_step

PUBLISHED = {"train": (1991, 1009223), "dev": (5, 2500), "test": (10, 5000)}  # speakers, utterances (of one channel)


def prepare_aishell2(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/train, OUT_DIR/dev and OUT_DIR/eval_aishell2; utt2channel tells iOS, Android and Mic apart.

    There are no official trials: eval_aishell2/trials are drawn, eval_aishell2/trials_cross_session across channels.

    Args:
        corpus_dir: holds iOS (or AISHELL-2/iOS), and AISHELL-DEV-TEST-SET there or beside
        out_dir: where the data directories go
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    data = corpus.need("iOS/data", "AISHELL-2/iOS/data")
    train, dev, test = UttSet(), UttSet(), UttSet()
    corpus.take(train, data / "wav", ".wav", in_speaker_folder)
    corpus.check_set("train", train, *PUBLISHED["train"])
    if path := corpus.find(f"{data.relative_to(corpus.path)}/spk_info.txt"):
        genders = {spk: [*filter(None, map(gender_of, fields))] for spk, *fields in corpus.rows(path, separator="\t")}
        train.describe(gender={spk: found[0] for spk, found in genders.items() if found})
    if root := corpus.find("AISHELL-DEV-TEST-SET", "AISHELL-2/AISHELL-DEV-TEST-SET", "iOS/AISHELL-DEV-TEST-SET"):
        for part, whole in (("dev", dev), ("test", test)):
            for channel in ("iOS", "Android", "Mic"):
                utts = UttSet()
                corpus.take(utts, root / channel / part / "wav", ".wav", bind(of, channel))
                corpus.check_set(f"{channel} {part}", utts, *PUBLISHED[part])
                whole.update(utts)
    test.draw_trials()
    for utts in (train, dev, test):
        utts.label(lang="zh")
    corpus.write(out_dir, {"train": train, "dev": dev, "eval_aishell2": test})


def of(channel: str, path: str) -> Named | None:
    """T0011-Mic-IT0011W0001, of session Mic: the same sentences are there through every channel."""
    named = in_speaker_folder(path)
    if named is None:
        return None
    utt = f"{named.spk}-{channel}{named.utt.removeprefix(named.spk)}"
    return Named(utt, named.spk, {"channel": channel, "session": channel})


if __name__ == "__main__":
    run_step(prepare_aishell2)
