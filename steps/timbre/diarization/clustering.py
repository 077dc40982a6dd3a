"""From embeddings of windows to speakers, recording by recording, in jobs.

Called by cluster_windows.py, resegment_vbx.py and tuning.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from timbre.backend.backends import PldaBackend
from timbre.backend.vectors import Embeddings, Ints, Projection, Side
from timbre.datadir.datadir import DataDir, Segment
from timbre.datadir.rttm import write_rttm
from timbre.datadir.tables import read_table, write_table
from timbre.diarization import spectral
from timbre.diarization.spectral import SpectralOptions
from timbre.diarization.vbx import VbxOptions, from_labels, vbx
from timbre.diarization.window_scores import CosineScorer, PldaScorer, dense_scores, symmetrize
from timbre.diarization.windows import by_recording, turns_of
from timbre.runtime import ahc
from timbre.runtime.ahc import AhcOptions
from timbre.runtime.factors import Factors
from timbre.utils.errors import DataError
from timbre.utils.jobs import run_jobs

Labels = dict[str, str]  # window -> speaker
Scoring = Literal["cosine", "plda"]


@dataclass(frozen=True)
class Recording:
    """The windows of one recording by time, and the number of its speakers where that is known."""

    name: str
    windows: Side
    num_speakers: int | None = None


@dataclass(frozen=True)
class Clusterer:
    """Scores, then clusters; OPTIONS say which way."""

    scorer: CosineScorer | PldaScorer
    options: AhcOptions | SpectralOptions

    def labels(self, recording: Recording) -> Ints:
        """Cluster of each window, from 1."""
        factors = self.scorer.factors(recording.windows)
        if isinstance(self.options, SpectralOptions):
            is_llr = isinstance(self.scorer, PldaScorer)
            return spectral.cluster(factors, is_llr, self.options, recording.num_speakers)
        costs = dense_scores(factors)
        symmetrize(costs)
        np.negative(costs, out=costs)
        if recording.num_speakers is not None:
            return ahc.cluster(costs, self.options, min(recording.num_speakers, len(costs)))
        return without_small(ahc.cluster(costs, self.options), factors, self.options.min_windows)


def without_small(labels: Ints, factors: Factors, min_windows: int) -> Ints:
    """LABELS (N,), from 1, without clusters of fewer than MIN_WINDOWS windows, but where all are so small.

    Each of their windows goes to the cluster that has the highest average score with it.
    """
    sizes = np.bincount(labels)
    large = np.flatnonzero(sizes >= min_windows)
    lost = np.flatnonzero(sizes[labels] < min_windows)
    if not len(large) or not len(lost):
        return labels
    member = labels[:, None] == large  # (N, K)
    means = (member.T @ factors.left.astype(np.float64)) / sizes[large, None]
    biases = member.T @ factors.left_bias / sizes[large]
    result = labels.copy()
    result[lost] = large[(factors.right[lost] @ means.T + biases).argmax(axis=1)]
    numbers: Ints = 1 + np.unique(result, return_inverse=True)[1]
    return numbers


@dataclass(frozen=True)
class Resegmenter:
    """VBx in the space of BACKEND, from labels on."""

    backend: PldaBackend
    options: VbxOptions

    def labels(self, recording: Recording, first: Ints) -> Ints:
        """Speaker of each window, from 1, when FIRST (N,) was thought before."""
        plda = self.backend.plda
        vectors = self.backend.projection.apply(recording.windows)
        latent = plda.latent(vectors, recording.windows.num_utts, normalize_length=False).astype(np.float64)
        dim = self.options.dim or plda.dim
        gamma = from_labels(first, self.options.smoothing)
        return vbx(latent[:, :dim], plda.psi[:dim], gamma, self.options).labels()


def read_scorer(scoring: Scoring, backend_dir: Path | None, target_energy: float) -> CosineScorer | PldaScorer:
    """What compares windows: the cosine after subtracting mean.vec, or the PLDA model, of BACKEND_DIR.

    Raises:
        DataError: a file that is needed is not there
    """
    if scoring == "plda":
        if backend_dir is None:
            raise DataError("PLDA needs --backend-dir, which train_backend.py writes")
        backend = PldaBackend.read(backend_dir)
        return PldaScorer(backend.projection, backend.plda, target_energy)
    mean = None if backend_dir is None else backend_dir / "mean.vec"
    return CosineScorer(Projection.read(mean, None, "unit"))


def read_recordings(windows: DataDir, xvectors: Path, reco2num_spk: Path | None = None) -> list[Recording]:
    """All recordings of the data directory of WINDOWS, with their embeddings.

    Raises:
        DataError: no segments, a window without embedding, a number of speakers that is none or is missing
    """
    if not windows.segments:
        raise DataError("no segments in it: it is not what steps/make_windows.py writes", windows.path)
    embeddings = Embeddings.read(xvectors)
    numbers = {} if reco2num_spk is None else read_numbers(reco2num_spk)
    recordings = []
    for name, ids in by_recording(windows.segments).items():
        if reco2num_spk is not None and name not in numbers:
            raise DataError(f"no number of speakers for recording '{name}'", reco2num_spk)
        recordings.append(Recording(name, embeddings.take(ids, str(windows.path)), numbers.get(name)))
    return recordings


def read_numbers(path: Path) -> dict[str, int]:
    """The table "recording number-of-speakers"; DataError at a number that is none."""
    numbers = {}
    for line, (name, text) in enumerate(read_table(path).items(), start=1):
        if not text.isdecimal() or int(text) < 1:
            raise DataError(f"the number of speakers of '{name}' is '{text}'", path, line)
        numbers[name] = int(text)
    return numbers


def cluster_all(recordings: Sequence[Recording], clusterer: Clusterer, nj: int) -> Labels:
    """The speaker of every window, by number within its recording."""
    found = run_jobs(clusterer.labels, recordings, nj, "clustering", "recording")
    return _named(recordings, found)


def resegment_all(recordings: Sequence[Recording], labels: Labels, resegmenter: Resegmenter, nj: int) -> Labels:
    """The speaker of every window, when LABELS was thought before."""
    jobs = [(one, np.array([int(labels[name]) for name in one.windows.ids])) for one in recordings]
    return _named(recordings, run_jobs(partial(_resegment, resegmenter), jobs, nj, "VBx", "recording"))


def read_labels(path: Path, segments: Mapping[str, Segment]) -> Labels:
    """The table "window speaker", with speakers by number.

    Raises:
        DataError: a speaker that is not a number, a window that is missing
    """
    labels = read_table(path)
    for number, (name, speaker) in enumerate(labels.items(), start=1):
        if not speaker.isdecimal():
            raise DataError(f"the speaker of '{name}' is '{speaker}', not a number", path, number)
    missing = [name for name in segments if name not in labels]
    if missing:
        raise DataError(f"no speaker for window '{missing[0]}' ({len(missing)} of {len(segments)})", path)
    return labels


def write_diarization(out_dir: Path, segments: Mapping[str, Segment], labels: Labels) -> None:
    """Writes OUT_DIR/labels, "window speaker", and OUT_DIR/rttm."""
    write_table(out_dir / "labels", labels)
    write_rttm(out_dir / "rttm", turns_of(segments, labels))


def _resegment(resegmenter: Resegmenter, job: tuple[Recording, Ints]) -> Ints:
    return resegmenter.labels(*job)


def _named(recordings: Sequence[Recording], found: Sequence[Ints]) -> Labels:
    return {
        name: str(label)
        for recording, labels in zip(recordings, found, strict=True)
        for name, label in zip(recording.windows.ids, labels.tolist(), strict=True)
    }
