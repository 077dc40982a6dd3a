#!/usr/bin/env python3
"""AISHELL-1: Mandarin read at home by 400 speakers, one high-fidelity microphone each.

As published at https://www.openslr.org/33 (data_aishell.tgz, resource_aishell.tgz): data_aishell/wav/{train,dev,test}/
S0002/BAC009S0002W0122.wav, once the archives of the speakers in wav/ are unpacked, and resource_aishell/speaker.info,
lines "0002 F". Counts: Bu et al., "AISHELL-1", O-COCOSDA 2017.
"""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, gender_of, in_speaker_folder
from timbre.corpora.utt_set import UttSet
from timbre.utils.cli import run_step

PARTS = {  # part: name of the set, speakers, utterances
    "train": ("train", 340, 120098),
    "dev": ("dev", 40, 14326),
    "test": ("eval_aishell1", 20, 7176),
}


def prepare_aishell1(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/train, OUT_DIR/dev and OUT_DIR/eval_aishell1, the official division, whose speakers are distinct.

    There are no official trials: those of eval_aishell1 are drawn, of one sex.

    Args:
        corpus_dir: holds data_aishell and resource_aishell
        out_dir: where the data directories go
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    spk2gender = {}
    for spk, word in corpus.rows(corpus.need("resource_aishell/speaker.info"), 2):
        if gender := gender_of(word):
            spk2gender[f"S{spk.removeprefix('S')}"] = gender
    sets = {}
    for part, (name, speakers, utterances) in PARTS.items():
        utts = sets[name] = UttSet()
        corpus.take(utts, f"data_aishell/wav/{part}", ".wav", in_speaker_folder)
        corpus.check_set(part, utts, speakers, utterances)
        utts.describe(gender=spk2gender)
        utts.label(lang="zh")
    sets["eval_aishell1"].draw_trials()
    corpus.write(out_dir, sets)


if __name__ == "__main__":
    run_step(prepare_aishell1)
