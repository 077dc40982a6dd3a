#!/usr/bin/env python3
# ruff: noqa: E402
"""Names in a stream: DER at each latency beside offline diarization of the same audio, how late names are, memory.

Prints one JSON line. Conversations are simulated (diarization/conversations.py) of the speakers of --data, half of whom
are enrolled in a gallery with recordings that are not in the conversations; without --pack, people who hum
(tests/runtime/made_people.py) stand in for speech and a network. `der`: collar 0, overlap scored, of names that were
said last; `named`: share of the speech of enrolled people that has their name; `late`: seconds from the beginning of a
turn of the truth until the name that stays was said (median, 95 %), where there was a pause or somebody
else before; `corrected`: share of the turns whose name was another at first; `changes`: of names, for a turn;
`as_heard`: DER of the names that were said first, which is what somebody who watches sees; `rtf`: seconds of CPU for
one of audio.
`interval`: 95 % of the DER, over conversations. --speakers: only these talk; --enroll 0: nobody is enrolled; --folder
keeps the conversations, a data directory for the recipe's own diarization. --hours adds a stream of so many hours:
resident memory at its quarters.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.runtime.made_people import RATE, HumEncoder, HumGallery, HumScorer, conversation
from timbre.datadir.datadir import DataDir
from timbre.datadir.rttm import Turn as Spoken
from timbre.datadir.rttm import read_rttm
from timbre.datadir.tables import read_ids
from timbre.diarization.conversations import ConversationOptions, simulate
from timbre.diarization.der import DerOptions, measure, pool
from timbre.feats.vad import VadOptions
from timbre.people.diarize import diarize
from timbre.people.stream import Stream, last_said
from timbre.people.stream_options import StreamOptions
from timbre.runtime.silero import SileroVad, package_model
from timbre.runtime.turns import Turn

BLOCK = 0.1  # seconds


class Told:
    """What was said of a stream, and when."""

    def __init__(self, stream: Stream, wave: Any, rate: int) -> None:
        began = time.process_time()
        size, self.said = round(BLOCK * rate), list[tuple[float, Turn]]()
        for start in range(0, len(wave), size):
            now = min(start + size, len(wave)) / rate
            self.said += [(now, turn) for turn in stream.push(wave[start : start + size])]
        self.said += [(len(wave) / rate, turn) for turn in stream.finish()]
        self.cpu = time.process_time() - began
        self.turns = last_said(turn for _, turn in self.said)

    def lateness(self, truth: Sequence[Spoken]) -> list[float]:
        """From the beginning of each turn that somebody else's or a pause comes before, to its name that stayed."""
        late = []
        for before, turn in zip([None, *truth], truth, strict=False):
            if before is not None and before.speaker == turn.speaker and turn.start - before.end < 0.5:
                continue
            middle = min(turn.start + 1.0, (turn.start + turn.end) / 2)
            final = next((one for one in self.turns if one.start <= middle < one.end), None)
            if final and abs(final.start - turn.start) < 0.75:
                late.append(
                    next(t for t, one in self.said if (one.number, one.name) == (final.number, final.name)) - turn.start
                )
        return late

    def names(self) -> dict[int, list[str]]:
        """Those of each turn, one after the other."""
        found: dict[int, list[str]] = {}
        for _, one in self.said:
            names = found.setdefault(one.number, [])
            if not names or names[-1] != one.name:
                names.append(one.name)
        return found

    def as_heard(self) -> list[Turn]:
        """The turns by the names that they had first."""
        names = self.names()
        return [replace(one, name=names[one.number][0]) for one in self.turns]


class Enrolled:
    """People by their recordings."""

    def __init__(self, voice: Any, recordings: dict[str, list[str]]) -> None:
        items = [[voice.encoder(voice.read(path), 0.25) for path in paths] for paths in recordings.values()]
        means = np.stack([np.mean([one.vector for one in some], axis=0) for some in items]).astype(np.float32)
        measures = [
            {name: np.mean([one.measures[name] for one in some]) for name in some[0].measures} for some in items
        ]
        self._entries = list(recordings), means, np.array([len(some) for some in items]), measures

    def entries(self) -> Any:
        return self._entries


def named(truth: Sequence[Spoken], turns: Sequence[Any], people: set[str]) -> tuple[float, float]:
    """Seconds of speech of PEOPLE that have their name, and all of it."""
    right = sum(
        max(0.0, min(one.end, turn.end) - max(one.start, turn.start))
        for one in truth
        for turn in turns
        if one.speaker == turn.name
    )
    return right, sum(one.end - one.start for one in truth if one.speaker in people)


def hum_conversations(number: int, seconds: float) -> Iterator[tuple[str, Any, int, list[Spoken]]]:
    """Of people who hum, 0 and 1 of whom are enrolled."""
    for place in range(number):
        rng = np.random.default_rng(place)
        order, spent, before = [], 0.0, -1
        while spent < seconds:
            person = int(rng.choice([one for one in range(4) if one != before]))
            order.append((person, float(rng.uniform(2, 8))))
            spent, before = spent + order[-1][1] + 0.4, person
        wave, truth = conversation(order)
        yield f"hum{place}", wave, RATE, [Spoken(*turn[:2], f"p{turn[2]}") for turn in truth]


def speech_conversations(
    data: DataDir, enrolled: dict[str, list[str]], speakers: Sequence[str], args: argparse.Namespace
) -> Iterator[tuple[str, Any, int, list[Spoken]]]:
    """Of the utterances of SPEAKERS of DATA that are not ENROLLED."""
    kept = {utt for utts in enrolled.values() for utt in utts}
    left = {utt: spk for utt, spk in data.utt2spk.items() if utt not in kept and spk in speakers}
    with tempfile.TemporaryDirectory() as folder:
        out = args.folder or Path(folder) / "conversations"
        rest = DataDir(data.path, data.wavs, left, data.segments)
        options = ConversationOptions(args.conversations, seconds=args.seconds, min_speakers=2, max_speakers=4)
        simulate(rest, out, options, VadOptions(), args.noise_dir, args.rir_dir, 0, 1)
        for name, turns in read_rttm(out / "rttm").items():
            wave, rate = soundfile.read(out / "audio" / f"{name}.flac", dtype="float32")
            yield name, wave, rate, turns


def evaluate(
    found: dict[str, list[Spoken]], truth: dict[str, list[Spoken]], people: set[str], turns: dict[str, Any]
) -> dict[str, Any]:
    """DER, its parts, and the share of enrolled speech that is named."""
    errors = pool(measure(truth, found, None, DerOptions()))
    right, spoken = np.sum([named(truth[name], turns[name], people) for name in truth], axis=0)
    parts = {name: round(100 * getattr(errors, name), 1) for name in ("der", "miss", "false_alarm", "confusion")}
    parts["interval"] = [round(100 * rate, 1) for rate in errors.der_interval or ()]
    return {**parts, "named": round(100 * float(right / spoken), 1) if spoken else None}


def quality(args: argparse.Namespace) -> dict[str, Any]:
    """The table."""
    vad = None
    if args.pack is None:
        encoder: Any = HumEncoder()
        scorer: Any = HumScorer()
        gallery: Any = HumGallery({"p0": 0, "p1": 1})
        people, made = {"p0", "p1"}, list(hum_conversations(args.conversations, args.seconds))
    else:
        from timbre.people.voice import load

        voice = load(args.pack)
        encoder, scorer = voice.encoder, voice.scorer
        data = DataDir.read(args.data)
        speakers = read_ids(args.speakers) if args.speakers else sorted(data.spk2utt())
        others = sorted(set(data.spk2utt()) - set(speakers))
        enrolled = {spk: data.spk2utt()[spk][: args.enroll] for spk in (*speakers[::2], *others[::2]) if args.enroll}
        recordings = {spk: [data.wavs[utt] for utt in utts] for spk, utts in enrolled.items()}
        gallery = Enrolled(voice, recordings) if recordings else None
        people, made = set(enrolled), list(speech_conversations(data, enrolled, speakers, args))
        if args.vad == "silero":
            vad = SileroVad(package_model())
    truth = {name: turns for name, _, _, turns in made}
    seconds = sum(len(wave) / rate for _, wave, rate, _ in made)
    report: dict[str, Any] = {
        "conversations": len(made),
        "seconds": round(seconds),
        "vad": args.vad if args.pack else "pack",
    }
    began = time.process_time()
    offline = {name: diarize(wave, rate, encoder, scorer, gallery, vad) for name, wave, rate, _ in made}
    cpu = time.process_time() - began
    report["offline"] = evaluate(spoken(offline), truth, people, offline) | {"rtf": round(cpu / seconds, 4)}
    for latency in args.latency:
        options = StreamOptions(latency=latency)
        told = {
            name: Told(Stream(encoder, scorer, rate, gallery, vad, options), wave, rate) for name, wave, rate, _ in made
        }
        turns = {name: one.turns for name, one in told.items()}
        names = [some for one in told.values() for some in one.names().values()]
        heard = {name: one.as_heard() for name, one in told.items()}
        late = [value for name, one in told.items() for value in one.lateness(truth[name])] or [float("nan")]
        report[f"{latency:g} s"] = evaluate(spoken(turns), truth, people, turns) | {
            "late": [round(float(value), 2) for value in np.percentile(late, [50, 95])],
            "corrected": round(100 * float(np.mean([some[0] != some[-1] for some in names])), 1),
            "changes": round(float(np.mean([len(some) - 1 for some in names])), 2),
            "as_heard": evaluate(spoken(heard), truth, people, heard)["der"],
            "rtf": round(sum(one.cpu for one in told.values()) / seconds, 4),
        }
    return report


def spoken(found: dict[str, list[Turn]]) -> dict[str, list[Spoken]]:
    """As the error rate takes them."""
    return {
        name: [Spoken(one.start, one.end, one.name) for one in turns if one.end > one.start]
        for name, turns in found.items()
    }


def resident() -> float:
    """MB of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc").is_dir() else 0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def long_stream(hours: float) -> dict[str, Any]:
    """Memory of a stream in which there is always somebody new."""
    stream = Stream(HumEncoder(), HumScorer(), RATE, HumGallery({"p0": 0, "p1": 1}))
    rng, memory, count, began = np.random.default_rng(0), [], 0, time.process_time()
    marks = [hours * quarter / 4 for quarter in (1, 2, 3, 4)]
    while marks:
        order = [(int(rng.integers(0, 3)) or int(rng.integers(2, 4000)), float(rng.uniform(2, 8))) for _ in range(12)]
        wave, _ = conversation(order)
        size = round(BLOCK * RATE)
        for start in range(0, len(wave), size):
            count += sum(not turn.going_on for turn in stream.push(wave[start : start + size]))
        while marks and stream.seconds >= 3600 * marks[0]:
            memory.append(round(resident(), 1))
            marks.pop(0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "hours": hours,
        "turns": count,
        "strangers": stream.heard.num_strangers,
        "remembered": len(stream.heard.strangers),
        "memory_mb": memory,
        "peak_mb": round(peak, 1),
        "rtf": round((time.process_time() - began) / stream.seconds, 4),
    }


def main() -> None:
    """Prints the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pack", help="a .timbre file; without it people who hum")
    parser.add_argument("--data", type=Path, help="data directory of utterances, speakers of whom are enrolled")
    parser.add_argument("--vad", choices=("energy", "silero"), default="energy")
    parser.add_argument("--enroll", type=int, default=3, help="utterances of each enrolled speaker")
    parser.add_argument("--speakers", type=Path, help="file with those who talk; half of the others are enrolled too")
    parser.add_argument("--noise-dir", type=Path, nargs="*", default=[])
    parser.add_argument("--rir-dir", type=Path, nargs="*", default=[], help="rooms")
    parser.add_argument("--folder", type=Path, help="where to leave the conversations")
    parser.add_argument("--conversations", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=120.0, help="of each conversation")
    parser.add_argument("--latency", type=float, nargs="+", default=[1.0, 2.0, 3.0])
    parser.add_argument("--hours", type=float, default=0.0, help="of a stream whose memory is measured")
    args = parser.parse_args()
    report = quality(args) if args.conversations else {}
    if args.hours:
        report["long"] = long_stream(args.hours)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
