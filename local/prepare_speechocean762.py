#!/usr/bin/env python3
"""speechocean762: 250 speakers of Mandarin, half of them children, who read English.

As published at https://www.openslr.org/101: speechocean762/{train,test}/{wav.scp,utt2spk,spk2gender,spk2age} and
speechocean762/WAVE/SPEAKER0001/000010011.WAV. Counts: Zhang et al., "speechocean762", Interspeech 2021.
"""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, gender_of
from timbre.corpora.utt_set import UttSet
from timbre.utils.cli import run_step

PARTS = {"train": ("train", 125, 2500), "test": ("eval_speechocean762", 125, 2500)}


def prepare_speechocean762(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/train and OUT_DIR/eval_speechocean762, with trials, which are drawn, of one sex.

    Args:
        corpus_dir: holds speechocean762, or is it
        out_dir: where the data directories go
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    root = corpus.need("speechocean762/WAVE", "WAVE").parent
    there = {f"WAVE/{path}" for path in corpus.audio(root / "WAVE", ".wav")}
    sets = {}
    for part, (name, speakers, utterances) in PARTS.items():
        utts = sets[name] = UttSet()
        tables = {file: dict(corpus.rows(root / part / file, 2)) for file in ("utt2spk", "spk2gender", "spk2age")}
        for utt, place in corpus.rows(root / part / "wav.scp", 2):
            spk = tables["utt2spk"].get(utt)
            if spk and place in there:
                utts.add(f"{spk}-{utt}", spk, f"{root}/{place}", {"lang": "en"})
        corpus.check_set(part, utts, speakers, utterances)
        genders = {spk: gender for spk, word in tables["spk2gender"].items() if (gender := gender_of(word))}
        utts.describe(gender=genders, age=tables["spk2age"])
    sets["eval_speechocean762"].draw_trials()
    corpus.write(out_dir, sets)


if __name__ == "__main__":
    run_step(prepare_speechocean762)
