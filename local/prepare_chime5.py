#!/usr/bin/env python3
"""CHiME-5: dinner parties, by the microphones that the speakers wore.

As published at https://www.chimechallenge.org/datasets/chime5 (and OpenSLR 150):
CHiME5/audio/{train,dev,eval}/S03_P09.wav, stereo, and CHiME5/transcriptions/{train,dev,eval}/S03.json, a list of
{"speaker": "P09", "start_time": {"original": "0:01:17.03", "P09": ..., ...}, "end_time": ..., "words": ...}; CHiME-6
has one time instead of one a device, and is read too; the layout is from recipes that read it, not from a copy.
Sessions: the overview paper, Barker et al., Interspeech 2018.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus
from timbre.corpora.utt_set import UttSet
from timbre.datadir.datadir import Segment
from timbre.utils.cli import run_step
from timbre.utils.documents import read_json
from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float

SESSIONS = {
    "train": "S03 S04 S05 S06 S07 S08 S12 S13 S16 S17 S18 S19 S20 S22 S23 S24",
    "dev": "S02 S09",
    "eval": "S01 S21",
}


def prepare_chime5(corpus_dir: Path, out_dir: Path, min_seconds: float = 1.0, partial: bool = False) -> None:
    """Write OUT_DIR/train, OUT_DIR/dev and OUT_DIR/eval_chime5, with segments and trials, which are drawn.

    The recordings are binaural: set `channel: 0` in the options of the features. utt2session is the party.

    Args:
        corpus_dir: holds CHiME5 (or CHiME6), or is it
        out_dir: where the data directories go
        min_seconds: shorter segments are left out
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    root = corpus.need("CHiME5/audio", "CHiME6/audio", "audio").parent
    sets = {}
    for part, sessions in SESSIONS.items():
        utts = sets["eval_chime5" if part == "eval" else part] = UttSet()
        for session in sessions.split():
            if path := corpus.find(f"{root.relative_to(corpus.path)}/transcriptions/{part}/{session}.json"):
                take_session(corpus, utts, root / "audio" / part, path, min_seconds)
    for utts in sets.values():
        utts.label(lang="en")
    sets["eval_chime5"].draw_trials()
    corpus.write(out_dir, sets)


def take_session(corpus: Corpus, utts: UttSet, folder: Path, path: Path, min_seconds: float) -> None:
    """Adds the segments that PATH lists, of the recordings in FOLDER."""
    session = path.stem
    there = set(corpus.audio(folder, ".wav"))
    absent = set()
    for spk, start, end in read_segments(path):
        recording = f"{session}_{spk}"
        if f"{recording}.wav" not in there:
            absent.add(f"{recording}.wav")
        elif end - start >= min_seconds:
            utt = f"{spk}-{session}-{round(100 * start):07d}-{round(100 * end):07d}"
            if utt not in utts.utt2spk:
                place = f"{folder}/{recording}.wav"
                utts.add(utt, spk, place, {"session": session}, Segment(recording, round(start, 3), round(end, 3)))
    corpus.missing += sorted(absent)


def read_segments(path: Path) -> Iterator[tuple[str, float, float]]:
    """(speaker, start, end) of the segments that have a speaker and last."""
    entries = read_json(path)
    for number, entry in enumerate(entries, start=1):
        if spk := entry.get("speaker"):
            try:
                start, end = seconds(entry["start_time"], spk), seconds(entry["end_time"], spk)
            except (KeyError, ValueError, TypeError, AttributeError):
                raise DataError(f"entry {number} has no start_time and end_time 'h:mm:ss.ss'", path) from None
            if start < end:
                yield spk, start, end


def seconds(time: Any, spk: str) -> float:
    """Seconds of "h:mm:ss.ss", or of the one of several that is by SPK's own microphone."""
    text = str(time.get(spk, time.get("original")) if isinstance(time, dict) else time)
    hours, minutes, rest = text.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + to_float(rest)


if __name__ == "__main__":
    run_step(prepare_chime5)
