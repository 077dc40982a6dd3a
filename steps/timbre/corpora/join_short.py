"""Short utterances of a training set joined to longer ones, as by combine_short_segments.sh of Kaldi's CN-Celeb recipe,
or all those of a session to one, as in Hyperion's VoxCeleb recipes.

For fronts of corpora with many utterances that are too short to train on. The joined audio is written; what is joined
depends on the utterances and the wanted length alone, so that an interrupted run goes on where it stopped.
"""

import math
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile

from timbre.audio.reading import read_audio
from timbre.corpora.utt_set import UttSet
from timbre.datadir.datadir import invert
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write
from timbre.utils.jobs import run_jobs


@dataclass(frozen=True)
class _Job:
    """The utterances of a speaker, (id, kind, path), in C order; only those of one kind are joined."""

    utts: list[tuple[str, str, str]]
    folder: Path
    seconds: float


def join_all(utts: UttSet, folder: Path, nj: int, kind: str) -> UttSet:
    """UTTS with all utterances of a speaker that are of one KIND joined; else as `join_short`."""
    return join_short(utts, folder, math.inf, nj, kind)


def join_short(utts: UttSet, folder: Path, seconds: float, nj: int, kind: str = "utt2genre") -> UttSet:
    """UTTS with the utterances shorter than SECONDS joined, one after another, to files in FOLDER.

    A joined utterance has the id of its first one with "-and-<how many more>", and the columns of its first one. A rest
    that is too short joins the ones before it.

    Args:
        utts: utterances with a file each
        folder: where the joined audio (flac, 16 bit) goes
        seconds: the length wanted
        nj: number of jobs
        kind: the table that says of what kind an utterance is

    Raises:
        DataError: audio cannot be read, or its sample rates differ
    """
    kinds, wavs = utts.tables.get(kind, {}), utts.tables["wav.scp"]
    jobs = [
        _Job([(utt, kinds.get(utt, ""), wavs[utt]) for utt in of_spk], folder.resolve() / spk, seconds)
        for spk, of_spk in invert(utts.utt2spk).items()
    ]
    places = [place for part in run_jobs(_join, jobs, nj, "joining", unit="speaker") for place in part]
    joined = UttSet()
    for name, table in utts.tables.items():
        joined.tables[name] = (
            {new: table[old] for old, new, _ in places if old in table} if name[:3] == "utt" else table
        )
    joined.tables["wav.scp"] = {new: path for _, new, path in places}
    return joined


def _join(job: _Job) -> list[tuple[str, str, str]]:
    """(id of the first utterance, new id, path) of every utterance of a speaker."""
    places = []
    for _, of_kind in groupby(sorted(job.utts, key=lambda utt: (utt[1], utt[0])), key=lambda utt: utt[1]):
        group: list[tuple[str, str]] = []
        groups, total = [group], 0.0
        for utt, _, path in of_kind:
            duration = _duration(path) if math.isfinite(job.seconds) else 0.0
            if duration >= job.seconds:
                places.append((utt, utt, path))
                continue
            group.append((utt, path))
            total += duration
            if total >= job.seconds:
                group, total = [], 0.0
                groups.append(group)
        if len(groups) > 1:  # the rest is too short to stand alone
            groups[-2].extend(groups.pop())
        places += [_write(group, job.folder) for group in groups if group]
    return places


def _duration(path: str) -> float:
    try:
        return float(soundfile.info(path).duration)
    except soundfile.LibsndfileError as error:
        raise DataError(f"cannot read: {error.error_string}", path) from error


def _write(group: list[tuple[str, str]], folder: Path) -> tuple[str, str, str]:
    first, path = group[0]
    if len(group) == 1:
        return first, first, path
    name = f"{first}-and-{len(group) - 1}"
    target = folder / f"{name}.flac"
    if not target.exists():
        parts = [read_audio(path) for _, path in group]
        rates = {rate for _, rate in parts}
        if len(rates) > 1:
            raise DataError(f"the sample rates of what is joined differ: {sorted(rates)}", target)
        encoded = BytesIO()
        samples = np.concatenate([samples for samples, _ in parts])
        soundfile.write(encoded, samples, rates.pop(), format="FLAC", subtype="PCM_16")
        with atomic_write(target, "wb") as file:
            file.write(encoded.getvalue())
    return first, name, str(target)
