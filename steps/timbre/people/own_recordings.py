"""Recordings of one's own, by speaker: heard, and looked through for what is wrong. For `timbre calibrate`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from timbre.runtime.factors import Floats, Ints, Vectors
from timbre.utils.errors import DataError

NARROW = -35.0  # dB of `band`: below it there is nothing above 4 kHz, as on a telephone
_STRANGE = 2.0  # by so much a recording is more like another speaker than like its own to be told of


@dataclass(frozen=True)
class Heard:
    """A recording that can be used: whose, where, its encoding, and its kind, such as "FLAC 16000 Hz"."""

    person: str
    path: str
    encoding: Any
    kind: str


@dataclass
class Recordings:
    """heard: those that can be used, speaker by speaker; left_out, doubts: (path, why) of the others, and of some of
    these."""

    heard: list[Heard] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    doubts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def people(self) -> list[str]:
        """In their order."""
        return list(dict.fromkeys(one.person for one in self.heard))

    @property
    def numbers(self) -> Ints:
        """Of the speaker of each, (N,)."""
        place = {name: number for number, name in enumerate(self.people)}
        return np.array([place[one.person] for one in self.heard], np.int64)

    @property
    def vectors(self) -> Vectors:
        """(N, D)."""
        return np.stack([one.encoding.vector for one in self.heard])


def listen(
    voice: Any,
    folders: Mapping[str, Sequence[Path]],
    min_speech: float | None = None,
    along: Callable[[Iterable[tuple[str, Path]], int], Iterable[tuple[str, Path]]] = lambda items, total: items,
) -> Recordings:
    """What VOICE makes of the recordings in FOLDERS, by speaker; ALONG shows how far it is. MIN_SPEECH: seconds, by
    default what the pack asks for.

    Left out are those that cannot be read or used, copies (by the hash of the samples) of one of the same speaker, all
    that lie under two speakers, since nobody knows whose they are, and speakers with a single one.
    """
    result, found = Recordings(), list[Heard]()
    items = [(name, path) for name, files in folders.items() for path in files]
    for name, path in along(items, len(items)):
        try:
            sound = voice.read(path)
            encoding = voice.encoder(sound, min_speech)
        except DataError as error:
            result.left_out.append((str(path), error.message))
            continue
        found.append(Heard(name, str(path), encoding, _kind(path, sound.rate, encoding.measures)))
        result.doubts += [(str(path), text) for text in encoding.warnings]
    owners: dict[int, set[str]] = {}
    for one in found:
        owners.setdefault(one.encoding.content, set()).add(one.person)
    seen: dict[int, str] = {}
    for one in found:
        content = one.encoding.content
        if len(owners[content]) > 1:
            result.left_out.append((one.path, f"the same recording under {' and '.join(sorted(owners[content]))}"))
        elif content in seen:
            result.left_out.append((one.path, f"the same recording as {seen[content]}"))
        else:
            seen[content] = one.path
            result.heard.append(one)
    counts = {name: sum(one.person == name for one in result.heard) for name in folders}
    for name, count in counts.items():
        if count < 2:
            result.left_out.append((name, f"{count} recordings of this speaker can be used; two are needed"))
    result.heard = [one for one in result.heard if counts[one.person] > 1]
    _odd_kinds(result)
    return result


def _kind(path: Path, rate: int, measures: Mapping[str, float]) -> str:
    narrow = rate <= 8000 or measures.get("band", 0.0) < NARROW
    return f"{path.suffix.lstrip('.').upper()} {'narrow' if narrow else 'wide'} band"


def _odd_kinds(result: Recordings) -> None:
    """Tells of speakers whose recordings alone are of a kind: by it they are known, not by their voices."""
    people = result.people
    kinds = {name: {one.kind for one in result.heard if one.person == name} for name in people}
    if len(set().union(*kinds.values())) > 1:
        for name, own in kinds.items():
            if not any(own & kinds[other] for other in people if other != name):
                text = "no other speaker has recordings of this kind: they differ by more than the voice"
                result.doubts.append((name, f"{', '.join(sorted(own))}: {text}"))


def find_strangers(recordings: Recordings, llrs: Floats) -> list[tuple[str, str]]:
    """(path, text) of recordings that are far more like those of another speaker: perhaps under the wrong name.

    LLRS: (N, N), of all pairs.
    """
    numbers, people = recordings.numbers, recordings.people
    members = np.eye(len(people))[numbers]  # (N, S)
    means = llrs @ members / members.sum(axis=0)
    found = []
    for row, one in enumerate(recordings.heard):
        own = (numbers == numbers[row]) & (np.arange(len(numbers)) != row)
        mine = float(llrs[row, own].max())  # of several that are mixed up, some have a fellow
        others = np.where(np.arange(len(people)) == numbers[row], -np.inf, means[row])
        best = int(others.argmax())
        if mine < 0 and others[best] > mine + _STRANGE:
            more = f", it is more like {people[best]}: {others[best]:.1f}" if others[best] > 0 else ""
            text = f"unlike all others of {one.person} (log-likelihood ratio {mine:.1f} at most{more})"
            found.append((one.path, f"{text}: perhaps under the wrong name"))
    return found
