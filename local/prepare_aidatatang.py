#!/usr/bin/env python3
"""aidatatang_200zh: Mandarin of 600 speakers, read into mobile telephones.

As published at https://www.openslr.org/62: aidatatang_200zh/corpus/{train,dev,test}/G0013/T0055G0013S0001.wav, once
the archives of the speakers in these folders are unpacked. Counts: the page, and recipes that count the lists.
"""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, in_speaker_folder
from timbre.corpora.utt_set import UttSet
from timbre.utils.cli import run_step

PARTS = {  # part: name of the set, speakers, utterances
    "train": ("train", 420, 164905),
    "dev": ("dev", 60, 24216),
    "test": ("eval_aidatatang", 120, 48144),
}


def prepare_aidatatang(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/train, OUT_DIR/dev and OUT_DIR/eval_aidatatang, whose trials are drawn: there are no official ones.

    Args:
        corpus_dir: holds aidatatang_200zh, or is it
        out_dir: where the data directories go
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    root = corpus.need("aidatatang_200zh/corpus", "corpus")
    sets = {}
    for part, (name, speakers, utterances) in PARTS.items():
        utts = sets[name] = UttSet()
        corpus.take(utts, root / part, ".wav", in_speaker_folder)
        corpus.check_set(part, utts, speakers, utterances)
        utts.label(lang="zh")
    sets["eval_aidatatang"].draw_trials()
    corpus.write(out_dir, sets)


if __name__ == "__main__":
    run_step(prepare_aidatatang)
