"""Augmented copies of a data directory, offline: data directories of their own, and all of them together.

Called by augment_data_dir.py. Kaldi's steps/data/{augment,reverberate}_data_dir.py and utils/data/perturb_*.sh.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from timbre.audio.audio_files import AudioFormat, Dumped, Item, dump_audio
from timbre.audio.effects import Chain, Sources, build_chain
from timbre.audio.preprocess import OF_OLD_AUDIO
from timbre.datadir.combine import combine
from timbre.datadir.contents import MODELS, ORIGINALS, Contents, kind_of
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import check_id
from timbre.utils.configure import check, read_config
from timbre.utils.errors import DataError
from timbre.utils.missing import Allowed, count_allowed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copy:
    """One copy of every utterance.

    Args:
        effects: what happens to each: a list of class_path and init_args
        new_speakers: whether it sounds like other people (speed): speaker and utterance ids then get the copy's name as
            a prefix, "sp0.9-"; else utterance ids get it as a suffix, "-noise", and speakers stay
    """

    effects: list[dict[str, Any]] = field(default_factory=list)
    new_speakers: bool = False


def read_copies(path: Path) -> dict[str, Copy]:
    """Name -> copy, of a file as conf/augment/offline.yaml.

    Raises:
        DataError: no such file, no copies in it, an unknown or ill-typed setting
    """
    config = read_config(path)
    copies = config.get("copies")
    if set(config) != {"copies"} or not isinstance(copies, Mapping) or not copies:
        raise DataError("must hold `copies:` and under it `name: {effects: [...]}`", path)
    read = {}
    for name, settings in copies.items():
        check_id(str(name), path)
        if "/" in str(name):
            raise DataError(f"copy '{name}': a name cannot have a slash", path)
        try:
            checked = check(Copy, settings or {}, set())
        except DataError as error:
            raise DataError(f"copy '{name}': {error.message}", path) from error
        read[str(name)] = checked()
    return read


def read_drawn(path: Path) -> dict[str, Copy]:
    """As `read_copies`; or, of a file of effects as conf/condition/*.yaml, one copy by the name of the file.

    What such a file says of segments and trials (cut, across) is not for copies, each of which is a recording.

    Raises:
        DataError: as `read_copies`, or the file resamples (rate), or a copy would be of new speakers
    """
    config = read_config(path)
    if "effects" not in config:
        copies = read_copies(path)
        for name, copy in copies.items():
            if copy.new_speakers:
                raise DataError(f"copy '{name}' is of new speakers (new_speakers), and must be of its original's", path)
        return copies
    if unknown := sorted(set(config) - {"effects", "cut", "across"}):
        raise DataError(f"'{unknown[0]}' is not for copies, which have effects alone", path)
    check_id(path.stem, path)
    try:
        return {path.stem: check(Copy, {"effects": config["effects"]}, set())()}
    except DataError as error:
        raise DataError(error.message, path) from error


def draw_copies(utts: Sequence[str], names: Sequence[str], number: int, seed: int) -> dict[str, list[str]]:
    """Name of a copy -> those of UTTS that it is made of: NUMBER in all, evenly over UTTS, each time another of NAMES.

    Raises:
        DataError: there are not so many
    """
    if not 1 <= number <= len(utts) * len(names):
        text = f"{len(utts)} utterances and {len(names)} copies of each"
        raise DataError(f"{number} copies are asked for, of {text}; 1 to {len(utts) * len(names)} can be drawn")
    rng = np.random.default_rng(seed)
    ranked = np.array([rng.permutation(len(names)) for _ in utts])  # (num_utts, num_names)
    drawn: dict[str, list[str]] = {name: [] for name in names}
    for column in range(len(names)):
        rows = np.sort(rng.permutation(len(utts))[: max(0, number - column * len(utts))])
        for row in rows.tolist():
            drawn[names[ranked[row, column]]].append(utts[row])
    return drawn


def augment(
    data: DataDir,
    out_dir: Path,
    copies: Mapping[str, Copy],
    sources: Sources,
    nj: int,
    seed: int = 0,
    audio_format: AudioFormat = "flac",
    allow_missing: Allowed = 0,
    draw: Allowed | None = None,
) -> None:
    """Writes OUT_DIR/<copy>/ with audio for every one of COPIES, and OUT_DIR: DATA and the copies together.

    An utterance that is a segment becomes a recording. Features are left out, to be made for OUT_DIR; vad.scp stays
    where every copy has the length of its original, as in Kaldi. utt2uniq tells of what utterance each is a copy.

    Args:
        data: the data directory; it must have wav.scp
        out_dir: the new one
        copies: name -> what to do
        sources: of noise, music, speech and impulse responses
        nj: number of jobs; it does not change what is written
        seed: of all that is random
        audio_format: of the new files
        allow_missing: number or share of the utterances of a copy that may fail; they are left out of it
        draw: number, or share of the utterances, of copies that are drawn (`draw_copies`), and OUT_DIR has these alone

    Raises:
        DataError: a source is not given, more failed (OUT_DIR/<copy>/audio.missing lists them), new ids are not new;
            OUT_DIR gets no table
    """
    if not data.wavs:
        raise DataError("there is no wav.scp", data.path)
    if out_dir.resolve() == data.path.resolve():
        raise DataError("the new data directory must not be the old one", out_dir)
    chains = {name: _chain(name, copy, sources) for name, copy in copies.items()}
    original = Contents.read(data.path).drop([name for name in OF_OLD_AUDIO if name != "vad.scp"])
    parts = {str(data.path): original} if draw is None else {}
    chosen = dict.fromkeys(copies, data.utts)
    if draw is not None:
        chosen = draw_copies(data.utts, list(copies), count_allowed(draw, len(data.utts), "draw"), seed)
    for name, copy in copies.items():
        if not chosen[name]:
            continue
        rename = _prefixed(name) if copy.new_speakers else _suffixed(name)
        items = [Item(rename.utt(utt), *data.recording_of(utt), data.utt2spk[utt]) for utt in chosen[name]]
        with dump_audio(
            items, out_dir / name, chains[name], nj, seed=seed, audio_format=audio_format, allow_missing=allow_missing
        ) as dumped:
            parts[name] = _contents(original, rename, dumped)
            parts[name].write(out_dir / name)
        num, hours = len(dumped.places), sum(dumped.seconds.values()) / 3600
        log.info("%s: %d utterances, %.2f h", out_dir / name, num, hours)
    combine(parts).write(out_dir)


def _chain(name: str, copy: Copy, sources: Sources) -> Chain:
    try:
        return build_chain(copy.effects, sources)
    except DataError as error:
        raise DataError(f"copy '{name}': {error}") from error


class _Rename(NamedTuple):
    utt: Callable[[str], str]
    spk: Callable[[str], str]


def _suffixed(name: str) -> _Rename:
    return _Rename(lambda utt: f"{utt}-{name}", lambda spk: spk)


def _prefixed(name: str) -> _Rename:
    return _Rename(lambda utt: f"{name}-{utt}", lambda spk: f"{name}-{spk}")


def _contents(original: Contents, rename: _Rename, dumped: Dumped) -> Contents:
    """What the data directory of a copy of ORIGINAL holds."""
    of_recordings = [name for name in original.tables if kind_of(name) == "recording"]
    kept = original.drop(
        [*of_recordings, "segments", MODELS, *original.trials, *(["vad.scp"] if dumped.changed else [])]
    )
    uniq = {utt: utt for utt in original.utt2spk} | original.tables.get(ORIGINALS, {})
    renamed = replace(kept, tables=kept.tables | {ORIGINALS: uniq}).rename(*rename)
    tables = renamed.tables | {"wav.scp": dumped.places}
    if "utt2dur" in tables:
        tables["utt2dur"] = {utt: f"{seconds:.6g}" for utt, seconds in dumped.seconds.items()}
    copy = replace(renamed, tables=tables)
    return copy if len(dumped.places) == len(copy.utt2spk) else copy.select(dumped.places.keys())
