#!/usr/bin/env python3
"""VOiCES: LibriSpeech of 300 speakers, played in four rooms and recorded from afar, with and without distractors.

As published at https://iqtlabs.github.io/voices (VOiCES_devkit or VOiCES_release): references/{train,test}_index.csv,
whose columns speaker, gender, room, distractor, mic, chapter, segment, query_name and filename (such as
distant-16k/speech/train/rm1/babb/sp0032/Lab41-SRI-VOiCES-rm1-babb-sp0032-ch004137-sg0007-mc01-stu-clo-dg150.wav) are
read. The two parts have no speaker in common. Written from the README of the release.
"""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, gender_of
from timbre.corpora.utt_set import UttSet
from timbre.utils.cli import run_step

PARTS = {"train": "train", "test": "eval_voices"}
COLUMNS = ("speaker", "gender", "room", "distractor", "mic", "chapter", "segment", "query_name", "filename")


def prepare_voices(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/train and OUT_DIR/eval_voices, with utt2room, utt2distractor, utt2channel (the microphone).

    Trials are drawn, of one sex; utt2session is the sentence that was played, so that no target trial compares a
    recording with another one of the same sentence.

    Args:
        corpus_dir: holds VOiCES_devkit or VOiCES_release, or is it
        out_dir: where the data directories go
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    root = corpus.need("references", "VOiCES_devkit/references", "VOiCES_release/references").parent
    there = {f"distant-16k/speech/{path}" for path in corpus.audio(root / "distant-16k" / "speech", ".wav")}
    sets = {name: UttSet() for name in PARTS.values()}
    for part, name in PARTS.items():
        if path := corpus.find(f"{root.relative_to(corpus.path)}/references/{part}_index.csv"):
            absent, genders = [], {}
            for _, row in corpus.records(path, ",", COLUMNS):
                spk = f"sp{row['speaker'].zfill(4)}"
                genders[spk] = gender_of(row["gender"]) or ""
                if row["filename"] in there:
                    columns = {"session": f"{spk}-{row['chapter']}-{row['segment']}", "channel": f"mc{row['mic']}"}
                    columns |= {"room": row["room"], "distractor": row["distractor"], "lang": "en"}
                    sets[name].add(f"{spk}-{row['query_name']}", spk, f"{root}/{row['filename']}", columns)
                else:
                    absent.append(row["filename"])
            if absent:
                corpus.lacks(f"{len(absent):,} files of {path.name}, such as {min(absent)}")
            sets[name].describe(gender={spk: gender for spk, gender in genders.items() if gender})
    sets["eval_voices"].draw_trials(across_only=True)
    corpus.write(out_dir, sets)


if __name__ == "__main__":
    run_step(prepare_voices)
