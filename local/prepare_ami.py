#!/usr/bin/env python3
"""AMI: meetings, by the headset of every speaker.

As published at https://groups.inf.ed.ac.uk/ami (audio "individual headsets", manual annotations 1.6.2):
amicorpus/ES2002a/ audio/ES2002a.Headset-0.wav, and corpusResources/meetings.xml (who is on which channel),
segments/ES2002a.A.segments.xml; this is from recipes that read it, not from a copy. The division is the page's "full
corpus" one.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus
from timbre.corpora.utt_set import UttSet
from timbre.datadir.datadir import Segment
from timbre.datadir.rttm import Turn, rttm_line
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float

DEV = ["ES2003", "ES2011", "IS1008", "TS3004", "TS3006", "IB4001", "IB4002", "IB4003", "IB4004", "IB4010", "IB4011"]
TEST = ["ES2004", "ES2014", "IS1009", "TS3003", "TS3007", "EN2002"]


class Speech(NamedTuple):
    """A segment of a meeting, in seconds; CHANNEL is that of the speaker's headset."""

    meeting: str
    channel: str
    spk: str
    start: float
    end: float


def prepare_ami(corpus_dir: Path, out_dir: Path, min_seconds: float = 1.0, partial: bool = False) -> None:
    """Write OUT_DIR/train, OUT_DIR/dev and OUT_DIR/eval_ami: segments of the headsets, and rttm of the meetings.

    Trials are drawn, of one sex; utt2session is the meeting. Speakers who evaluate are left out of train and dev. The
    rttm has all segments, short ones too.

    Args:
        corpus_dir: holds amicorpus (or wav_db) and ami_public_manual_1.6.2, or the folders of the latter
        out_dir: where the data directories go
        min_seconds: shorter segments are no utterances
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    notes = corpus.need(
        "ami_public_manual_1.6.2/corpusResources", "annotations/corpusResources", "corpusResources"
    ).parent
    audio = corpus.need("amicorpus", "wav_db", "audio")
    there = {path.rpartition("/")[2]: f"{audio}/{path}" for path in corpus.audio(audio, ".wav")}
    sets = {name: UttSet() for name in ("train", "dev", "eval_ami")}
    rttm: dict[str, list[str]] = {name: [] for name in sets}
    absent = set()
    for speech in sorted(read_speech(corpus, notes)):
        meeting, channel, spk, start, end = speech
        name = "eval_ami" if meeting[:6] in TEST else "dev" if meeting[:6] in DEV else "train"
        rttm[name].append(rttm_line(meeting, Turn(start, end, spk)))
        recording = f"{meeting}.Headset-{channel}"
        utt = f"{spk}-{meeting}-{round(100 * start):07d}-{round(100 * end):07d}"
        if f"{recording}.wav" not in there:
            absent.add(f"{recording}.wav")
        elif end - start >= min_seconds and utt not in sets[name].utt2spk:
            place = there[f"{recording}.wav"]
            sets[name].add(utt, spk, place, {"session": meeting, "lang": "en"}, Segment(recording, start, end))
    if absent:
        corpus.lacks(f"{len(absent)} recordings, such as {min(absent)}")
    evaluating = set(sets["eval_ami"].utt2spk.values())
    sets = {name: utts if name == "eval_ami" else utts.without(evaluating) for name, utts in sets.items()}
    for name, utts in sets.items():
        utts.describe(gender={spk: spk[0].lower() for spk in set(utts.utt2spk.values()) if spk[0] in "MF"})
        utts.verbatim["rttm"] = "".join(rttm[name]).encode()
    sets["eval_ami"].draw_trials()
    corpus.write(out_dir, sets)


def read_speech(corpus: Corpus, notes: Path) -> Iterator[Speech]:
    """The segments of all meetings whose speakers meetings.xml knows."""
    who: dict[str, tuple[str, str]] = {}
    for meeting in parse(notes / "corpusResources" / "meetings.xml"):
        for speaker in meeting:
            agent = f"{meeting.get('observation')}.{speaker.get('nxt_agent')}"
            who[agent] = speaker.get("channel", ""), speaker.get("global_name", "")
    for agent, (channel, spk) in sorted(who.items()):
        path = notes / "segments" / f"{agent}.segments.xml"
        if not path.exists():
            corpus.lacks(f"segments/{path.name}")
            continue
        for number, segment in enumerate(parse(path).iter("segment"), start=1):
            try:
                start, end = (to_float(segment.attrib[f"transcriber_{side}"]) for side in ("start", "end"))
            except (KeyError, ValueError):
                raise DataError(f"segment {number} has no transcriber_start and transcriber_end", path) from None
            if re.fullmatch(r"[MF]\w+", spk) and 0 <= start < end:
                yield Speech(agent.partition(".")[0], channel, spk, start, end)


def parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise DataError("no such file", path) from None
    except ElementTree.ParseError as error:
        raise DataError(f"not XML: {error}", path) from None


if __name__ == "__main__":
    run_step(prepare_ami)
