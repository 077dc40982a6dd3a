"""How frames of two or more speakers lie to each other, phoneme class by phoneme class. Called by plot_phonemes.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.ark import read_mat
from timbre.datadir.datadir import DataDir
from timbre.datadir.phones import PHONES, Phone, Phones, read_phones
from timbre.datadir.tables import read_table
from timbre.explain.phoneme_classes import CLASSES, SILENCE, phone_class
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

Floats = NDArray[np.floating[Any]]
Strings = NDArray[np.str_]

_LEVEL = 0.95


@dataclass(frozen=True)
class LabelledFrames:
    """Frames with a phone: vectors (N, D); and utterance, speaker, phone, class, time in seconds of each (N,)."""

    vectors: Floats
    utts: Strings
    speakers: Strings
    phones: Strings
    classes: Strings
    seconds: Floats

    def __len__(self) -> int:
        return len(self.vectors)

    def sample(self, count: int, seed: int) -> "LabelledFrames":
        """COUNT of them, drawn, if there are more."""
        if len(self) <= count:
            return self
        rows = np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False))
        return LabelledFrames(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Shares:
    """Of each frame, what share of its nearest ones has its label, and what share of all that it was held against.

    rows: the frames (M,); near, chance: (M,) from 0 to 1
    """

    rows: NDArray[np.int64]
    near: Floats
    chance: Floats


def read_labelled_frames(frames: Path, data: DataDir, utts: Sequence[str]) -> LabelledFrames:
    """The frames of UTTS in FRAMES, an scp that extract_frames.py wrote, but for silence and what has no phone.

    The phone of a frame is the one that has most of the time from its start to its end.

    Raises:
        DataError: FRAMES, its times or the phones lack an utterance, or are unreadable; nothing is left
    """
    phones: Phones = read_phones(data.path / PHONES)
    vectors, times = read_table(frames), read_table(frames.with_name(f"{frames.stem}_times.scp"))
    found: list[tuple[str, str, str, str, float]] = []
    kept: list[Floats] = []
    for utt in utts:
        for path, table in ((frames, vectors), (data.path / PHONES, phones)):
            if utt not in table:
                raise DataError(f"nothing of utterance '{utt}'", path)
        matrix, seconds = read_mat(vectors[utt], utt), read_mat(times[utt], utt)
        if len(matrix) != len(seconds):
            raise DataError(f"{len(matrix)} frames of '{utt}', but {len(seconds)} times", frames)
        for row, name in enumerate(phones_at(seconds[:, 1], seconds[:, 2], phones[utt])):
            if name is not None and (kind := phone_class(name)) != SILENCE:
                found.append((utt, data.utt2spk[utt], name, kind, float(seconds[row, 0])))
                kept.append(matrix[row])
    if not found:
        raise DataError("no frame of it has a phone", frames)
    columns = [np.array(column) for column in zip(*found, strict=True)]
    return LabelledFrames(np.stack(kept), *columns)


def phones_at(starts: Floats, ends: Floats, phones: Sequence[Phone]) -> list[str | None]:
    """The phone that has most of the time from each of STARTS to ENDS, (T,) seconds; None where there is none."""
    begin, end = np.array([phone.start for phone in phones]), np.array([phone.end for phone in phones])
    shared = np.minimum(ends[:, None], end) - np.maximum(starts[:, None], begin)
    best = shared.argmax(1)
    return [phones[place].name if shared[row, place] > 0 else None for row, place in enumerate(best)]


def neighbours(frames: LabelledFrames, labels: Strings, within: Strings | None, count: int) -> Shares:
    """Of each frame, the COUNT nearest by cosine in other utterances, and of those WITHIN (N,) of its own kind alone.

    Frames of one utterance overlap in what they see, and share channel and session: they are never held against each
    other. Frames that are held against fewer than COUNT, or against one label alone, are left out.
    """
    unit = frames.vectors / np.maximum(np.linalg.norm(frames.vectors, axis=1, keepdims=True), 1e-12)
    rows, near, chance = [], [], []
    for row, vector in enumerate(unit):
        others = frames.utts != frames.utts[row]
        if within is not None:
            others &= within == within[row]
        places = np.flatnonzero(others)
        same = labels[places] == labels[row]
        if len(places) < count or same.all() or not same.any():
            continue
        nearest = np.argpartition(-(unit[places] @ vector), count - 1)[:count]
        rows.append(row)
        near.append(same[nearest].mean())
        chance.append(same.mean())
    return Shares(np.array(rows, np.int64), np.array(near), np.array(chance))


def purities(frames: LabelledFrames, count: int) -> dict[str, Shares]:
    """Of "speaker": speakers among the COUNT nearest of a phoneme class; by class; of "phoneme class": among all."""
    speakers = neighbours(frames, frames.speakers, frames.classes, count)
    found = {"speaker": speakers}
    for kind in CLASSES:
        chosen = frames.classes[speakers.rows] == kind
        if chosen.any():
            parts = (getattr(speakers, name)[chosen] for name in ("rows", "near", "chance"))
            found[f"speaker, {kind}"] = Shares(*parts)
    found["phoneme class"] = neighbours(frames, frames.classes, None, count)
    return found


def intervals(
    systems: Mapping[str, LabelledFrames], shares: Mapping[str, Mapping[str, Shares]], draws: int, seed: int
) -> list[dict[str, Any]]:
    """A row for each system and measure, and for the difference of each later system from the first one.

    Intervals (95 %) are bootstrapped over utterances, drawn anew within each speaker, the same draws for all systems;
    the neighbours of a frame stay what they are.
    """
    first = next(iter(systems.values()))
    owner = {str(utt): str(spk) for utt, spk in zip(first.utts, first.speakers, strict=True)}
    utts = sorted(owner)
    place = {utt: number for number, utt in enumerate(utts)}
    rng = np.random.default_rng(seed)
    weights = np.zeros((draws, len(utts)))
    for speaker in sorted(set(owner.values())):
        mine = [place[utt] for utt in utts if owner[utt] == speaker]
        weights[:, mine] = rng.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), draws)
    rows: list[dict[str, Any]] = []
    base: dict[str, tuple[float, Floats]] = {}
    for number, (system, frames) in enumerate(systems.items()):
        for measure, found in shares[system].items():
            if not len(found.rows):
                continue
            at = np.array([place[str(utt)] for utt in frames.utts[found.rows]])
            total, size = np.bincount(at, found.near, len(utts)), np.bincount(at, minlength=len(utts))
            with np.errstate(invalid="ignore"):
                drawn = (weights @ total) / (weights @ size)
            point = float(found.near.mean())
            row = {
                "system": system,
                "measure": measure,
                "frames": len(found.rows),
                "chance": float(found.chance.mean()),
            }
            rows.append(row | _interval(point, drawn))
            if number == 0:
                base[measure] = point, drawn
            elif measure in base:
                name = f"{system} - {next(iter(systems))}"
                less = _interval(point - base[measure][0], drawn - base[measure][1])
                rows.append({"system": name, "measure": measure, "frames": len(found.rows), "chance": None} | less)
    return rows


def _interval(value: float, drawn: Floats) -> dict[str, float]:
    low, high = np.nanquantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return {"value": value, "low": float(low), "high": float(high)}


def said(row: Mapping[str, Any]) -> str:
    """A row of `intervals`, in words."""
    value, low, high = (f"{100 * row[name]:.1f}" for name in ("value", "low", "high"))
    if row["chance"] is None:
        return f"{value} points [{low}, {high}]"
    by_chance = f"{100 * row['chance']:.1f} % by chance"
    return f"{value} % [{low}, {high}] of the nearest alike, {by_chance} ({row['frames']:,} frames)"


def write_places(path: Path, maps: Mapping[str, tuple[LabelledFrames, Floats]]) -> None:
    """Writes the frames of each system, and their places (N, 2) on its map, as a table with tabs."""
    with atomic_write(path) as file:
        file.write("system\tutt\tspeaker\tphone\tclass\tseconds\tx\ty\n")
        for name, (frames, places) in maps.items():
            columns = (frames.utts, frames.speakers, frames.phones, frames.classes, frames.seconds, places)
            for utt, spk, phone, kind, seconds, (x, y) in zip(*columns, strict=True):
                file.write(f"{name}\t{utt}\t{spk}\t{phone}\t{kind}\t{seconds:.3f}\t{x:.5g}\t{y:.5g}\n")
