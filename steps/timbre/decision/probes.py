"""Identification of the probes of a list: gallery, search, matches. Called by identify_probes.py."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from timbre.backend.backends import read_backend
from timbre.backend.score_norm import read_cohort
from timbre.backend.vectors import Embeddings, Ints, Side
from timbre.datadir.tables import read_lists
from timbre.decision.faiss_search import faiss_search, has_faiss
from timbre.decision.gallery_search import UNKNOWN, Matches, search
from timbre.decision.pack import Scorer
from timbre.evaluation.identification_rates import IdentificationRates, measure
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

log = logging.getLogger(__name__)

LARGE = 1_000_000  # entries, from which on the search is approximate where nobody asks for another


@dataclass(frozen=True)
class Gallery:
    """Enrolled speakers: their averages, and the utterances these are of."""

    side: Side
    utts: frozenset[str]
    path: Path

    @classmethod
    def read(cls, enroll_spk2utt: Path, embeddings: Path) -> "Gallery":
        """Of the lists in ENROLL_SPK2UTT and the EMBEDDINGS of their utterances.

        Raises:
            DataError: nobody is listed, or an utterance has no vector
        """
        lists = read_lists(enroll_spk2utt)
        if not lists:
            raise DataError("nobody is in it", enroll_spk2utt)
        side = Embeddings.read(embeddings).average(lists, str(enroll_spk2utt))
        return cls(side, frozenset(utt for utts in lists.values() for utt in utts), enroll_spk2utt)


@dataclass(frozen=True)
class Identified:
    """What was found for PROBES, utterances of the SPEAKERS, in GALLERY."""

    gallery: Gallery
    probes: Sequence[str]
    speakers: Sequence[str]
    matches: Matches

    def measure(self, num_draws: int = 1000, seed: int = 0) -> IdentificationRates:
        """Rates with intervals over draws of speakers.

        Raises:
            DataError: no probe is of somebody in the gallery
        """
        if not self.matches.rank.any():
            raise DataError("no probe is of anybody in the gallery", self.gallery.path)
        numbers = np.unique(self.speakers, return_inverse=True)[1]
        best = self.matches.scores[:, 0]
        return measure(self.matches.rank, best, numbers, len(self.gallery.side.ids), num_draws=num_draws, seed=seed)

    def write_matches(self, path: Path) -> None:
        """Writes PATH, "probe entry score" a line, those of a probe together and the best first."""
        ids = self.gallery.side.ids
        with atomic_write(path) as file:
            for probe, rows, scores in zip(self.probes, self.matches.rows, self.matches.scores, strict=True):
                file.writelines(f"{probe} {ids[row]} {score:.9g}\n" for row, score in zip(rows, scores, strict=True))


def identify(
    gallery: Gallery,
    probe_utt2spk: Mapping[str, str],
    probe_scp: Path,
    probe_path: Path,
    backend_dir: Path,
    cohort: tuple[Path | None, Path | None, int],
    top_k: int,
    how: Literal["auto", "exact", "faiss"],
    nj: int,
) -> Identified:
    """Searches GALLERY for every probe; see identify_probes.py.

    Raises:
        DataError: a probe has no vector or is an utterance of the gallery, or what is asked for does not go together
    """
    probes = sorted(probe_utt2spk)
    if shared := [utt for utt in probes if utt in gallery.utts]:
        raise DataError(f"'{shared[0]}' is in the gallery too ({len(shared)} of {len(probes)} probes)", probe_path)
    if not probes:
        raise DataError("no probes in it", probe_path)
    side = Embeddings.read(probe_scp).take(probes, str(probe_path))
    speakers = [probe_utt2spk[utt] for utt in probes]
    members = None
    if cohort[0] is not None:
        members = read_cohort(cohort[0], cohort[1], {*speakers, *gallery.side.ids}, {*probes, *gallery.utts})
    scorer = Scorer(read_backend(backend_dir), members, cohort[2])
    place = {name: row for row, name in enumerate(gallery.side.ids)}
    truth: Ints = np.array([place.get(speaker, UNKNOWN) for speaker in speakers], np.int64)
    size = len(gallery.side.ids)
    if how == "faiss" or (how == "auto" and size > LARGE and members is None and has_faiss()):
        return Identified(gallery, probes, speakers, faiss_search(scorer, gallery.side, side, top_k, truth, nj))
    log.info("exact search of %d probes among %d", len(probes), size)
    return Identified(gallery, probes, speakers, search(scorer, gallery.side, side, top_k, truth, nj))
