"""A gallery enrolled from audio files, and who of it speaks in another: enroll_gallery.py and identify.py.

Its folder holds xvector.ark, spk2utt, a table of each measure, and the hash of the network that made it.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp

from timbre.backend.vectors import Embeddings, Side
from timbre.datadir.ark import write_vectors
from timbre.datadir.tables import check_id, read_lists, read_numbers, read_table, write_lists, write_table
from timbre.decision.gallery_search import search
from timbre.decision.pack import DecisionPack
from timbre.embedding.embedder import Embedded
from timbre.evaluation.metrics import Floats
from timbre.runtime.answers import UNKNOWN, match_text
from timbre.runtime.llr import MEASURES
from timbre.runtime.sound import Unusable
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_folder, check_folder

log = logging.getLogger(__name__)

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".webm", ".aiff", ".aif", ".sph")
_KIND, _SIGN = "gallery", "made_by"


def find_recordings(folder: Path) -> dict[str, list[Path]]:
    """Speaker -> files: each folder in FOLDER is a speaker with the audio below it, each audio file in it another.

    Raises:
        DataError: there is none, or a name that cannot be an id, or twice
    """
    if not folder.is_dir():
        raise DataError("no such folder", folder)
    found: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        files = sorted(path for path in entry.rglob("*") if is_audio(path)) if entry.is_dir() else [entry]
        files = [path for path in files if is_audio(path)]
        if not files:
            continue
        name = entry.name if entry.is_dir() else entry.stem
        check_id(name, entry)
        if name in found or name == UNKNOWN:
            raise DataError(f"the name '{name}' is taken", entry)
        found[name] = files
    if not found:
        raise DataError(f"no audio in it: <speaker>/<file> or <speaker>.<suffix> ({', '.join(SUFFIXES)})", folder)
    return found


def is_audio(path: Path) -> bool:
    """Whether PATH is called as audio is."""
    return path.suffix.lower() in SUFFIXES


def check_gallery(folder: Path, audio_dir: Path, pack: Path) -> None:
    """DataError where a gallery of AUDIO_DIR by PACK cannot be written to FOLDER without loss."""
    check_folder(folder, _KIND, (audio_dir, pack), _SIGN)


def enrolment_warnings(speakers: Mapping[str, Sequence[Embedded]]) -> list[str]:
    """What may spoil the enrolment of SPEAKERS: by recording, and recordings that are there more than once."""
    told = [f"{item.path}: {text}" for items in speakers.values() for item in items for text in item.warnings]
    seen: dict[int, Embedded] = {}
    for item in (item for items in speakers.values() for item in items if item.content):
        first = seen.setdefault(item.content, item)
        if first is not item:
            told.append(f"{item.path}: the same recording as {first.path}, sample by sample")
    return told


def check_enrolment(speakers: Mapping[str, Sequence[Embedded]], unusable: Sequence[Unusable], allowed: int) -> None:
    """Lists what is UNUSABLE of the recordings of SPEAKERS.

    Raises:
        Unusable: more than ALLOWED, or all recordings of a speaker
    """
    for error in unusable:
        log.warning("left out: %s", error)
    if empty := [name for name, items in speakers.items() if not items]:
        raise Unusable(f"'{empty[0]}' has no recording that can be used, as listed above ({len(empty)} such speakers)")
    if len(unusable) > allowed:
        text = f"{len(unusable)} recordings cannot be used, as listed above"
        raise Unusable(f"{text}; --allow-missing {len(unusable)} goes on without")


def write_gallery(folder: Path, speakers: Mapping[str, Sequence[Embedded]], pack: DecisionPack) -> None:
    """Writes FOLDER, the gallery of SPEAKERS, as a whole."""
    items = {f"{name}-{number:04d}": item for name, part in speakers.items() for number, item in enumerate(part)}
    lists = {name: [f"{name}-{number:04d}" for number in range(len(part))] for name, part in speakers.items()}
    files = [Path(item.path) for item in items.values()]
    with atomic_folder(folder, _KIND, (*files, pack.path), _SIGN) as path:
        write_vectors(path / "xvector", list(items), np.stack([item.vector for item in items.values()]))
        (path / "xvector.scp").unlink()  # it names this place, the gallery may go to another
        write_lists(path / "spk2utt", lists)
        write_table(path / "wav.scp", {utt: item.path for utt, item in items.items()})
        for name in _measures_of(items.values()):
            write_table(path / f"utt2{name}", {utt: f"{item.measures[name]:.9g}" for utt, item in items.items()})
        write_table(path / "utt2content", {utt: str(item.content) for utt, item in items.items()})
        write_table(path / "made_by", {"network": network_hash(pack)})


def _measures_of(items: Iterable[Embedded]) -> list[str]:
    """What is measured of all of ITEMS: the band is not, of features that do not go so high."""
    return [name for name in MEASURES if all(name in item.measures for item in items)]


def network_hash(pack: DecisionPack) -> str:
    """Which network PACK has."""
    return hashlib.sha256((pack.path / "model" / "final.pt").read_bytes()).hexdigest()


@dataclass(frozen=True)
class AudioGallery:
    """Enrolled speakers: averages, and the mean measures of each."""

    side: Side
    measures: Sequence[Mapping[str, float]]
    contents: Collection[str] = ()  # hashes of the samples

    @classmethod
    def read(cls, folder: Path, pack: DecisionPack) -> "AudioGallery":
        """Reads FOLDER, which was enrolled with PACK.

        Raises:
            DataError: it is not a gallery, or of another network
        """
        if not (folder / "made_by").is_file():
            raise DataError("not a gallery: enroll_gallery.py makes one", folder)
        if read_table(folder / "made_by").get("network") != network_hash(pack):
            raise DataError(f"enrolled with another network than that of {pack.path}: enroll again", folder)
        lists = read_lists(folder / "spk2utt")
        side = Embeddings.read(folder / "xvector.ark").average(lists, str(folder / "spk2utt"))
        there = [name for name in MEASURES if (folder / f"utt2{name}").is_file()]
        if lacking := sorted({*pack.measures} - {*there}):
            raise DataError(f"enrolled without '{lacking[0]}', which {pack.path} asks for: enroll again", folder)
        tables = {name: read_numbers(folder / f"utt2{name}") for name in there}
        measures = [
            {name: float(np.mean([table[utt] for utt in utts])) for name, table in tables.items()}
            for utts in lists.values()
        ]
        contents = folder / "utt2content"  # galleries of earlier versions have none
        return cls(side, measures, set(read_table(contents).values()) if contents.exists() else ())


@dataclass(frozen=True)
class Answer:
    """Who speaks in TEST: names, llrs, posteriors (N,), the most probable first; unknown: probability of nobody of
    them; prior: probability, before listening, that it is one of them."""

    test: Embedded
    names: Sequence[str]
    llrs: Floats
    posteriors: Floats
    unknown: float
    prior: float
    warnings: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The most probable speaker, or UNKNOWN."""
        return self.names[0] if self.posteriors[0] >= self.unknown else UNKNOWN

    def text(self, top: int) -> str:
        """For a person, with the TOP most probable."""
        name = None if self.name == UNKNOWN else self.name
        matches = list(zip(self.names[:top], self.llrs.tolist(), self.posteriors.tolist(), strict=False))
        return match_text(name, matches, self.unknown)

    def as_json(self, top: int) -> str:
        """The same for programs."""
        matches = [
            {"name": name, "llr": float(llr), "probability": float(posterior)}
            for name, llr, posterior in zip(self.names[:top], self.llrs, self.posteriors, strict=False)
        ]
        content: dict[str, Any] = {
            "name": None if self.name == UNKNOWN else self.name,
            "unknown": self.unknown,
            "prior": self.prior,
            "matches": matches,
            "test": {"path": self.test.path, "seconds": self.test.seconds, "speech": self.test.speech},
            "warnings": list(self.warnings),
        }
        return json.dumps(content, indent=2, ensure_ascii=False)


def identify_recording(pack: DecisionPack, gallery: AudioGallery, test: Embedded, prior: float) -> Answer:
    """Posterior of every entry of GALLERY by Bayes' rule, all alike before listening, PRIOR together.

    Raises:
        DataError: a prior that makes no sense
    """
    if not 0 < prior <= 1:
        raise DataError(f"a prior of {prior:g}; it must be above 0 and at most 1")
    number = len(gallery.side.ids)
    found = search(pack.scorer, gallery.side, Side.single([test.path], test.vector[None]), number)
    rows = found.rows[0]
    llrs = pack.llr(found.scores[0], [gallery.measures[row] for row in rows.tolist()], [test.measures] * number)
    llrs = np.array([pack.supported(llr) for llr in llrs.tolist()])
    joint = llrs + np.log(prior / number)
    nobody = np.log(1 - prior) if prior < 1 else -np.inf
    total = logsumexp(np.append(joint, nobody))
    warnings = list(test.warnings)
    if test.content and str(test.content) in gallery.contents:
        warnings.append("a recording of the gallery, sample by sample: the answer says nothing of the speaker")
    order = np.argsort(-llrs, kind="stable")
    names = [gallery.side.ids[row] for row in rows[order].tolist()]
    return Answer(
        test, names, llrs[order], np.exp(joint - total)[order], float(np.exp(nobody - total)), prior, warnings
    )


def no_answer(path: str, error: Unusable, prior: float, as_json: bool) -> str:
    """What is said of the recording PATH, which cannot be used."""
    if not as_json:
        return f"NO DECISION: {error}."
    content: dict[str, Any] = {
        "name": None,
        "reason": str(error),
        "unknown": None,
        "prior": prior,
        "matches": [],
        "test": {"path": path},
    }
    return json.dumps(content, indent=2, ensure_ascii=False)
