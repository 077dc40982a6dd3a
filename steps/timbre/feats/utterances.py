"""Utterances with features, as egs are cut from them and embeddings extracted; without torch."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.ark import read_mat, read_shape, split_rx
from timbre.datadir.datadir import DataDir
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.utils.errors import DataError
from timbre.utils.jobs import run_jobs, split_jobs


@dataclass(frozen=True)
class Utterance:
    """Where the features and the VAD decision of an utterance lie; None where the data directory has none."""

    utt: str
    feats: str | None
    vad: str | None
    normalization: NormalizeOptions

    @property
    def name(self) -> str:
        """The utterance."""
        return self.utt

    @property
    def sources(self) -> list[str]:
        """The arks that it lies in."""
        return [split_rx(place)[0] for place in (self.feats, self.vad) if place]

    def dim(self) -> int:
        """Columns of the features; without reading them.

        Raises:
            DataError: as `read`
        """
        return read_shape(self._sources()[0])[1]

    def count(self) -> int:
        """How many frames `read` gives; without reading the features.

        Raises:
            DataError: as `read`
        """
        feats, vad = self._sources()
        return read_shape(feats)[0] if vad is None else int(np.count_nonzero(read_mat(vad, self.utt)))

    def read(self) -> NDArray[np.float32]:
        """Normalised features (num_frames, feat_dim), voiced frames only if the normalisation says so.

        Raises:
            DataError: there are none, they cannot be read, are not finite, or do not fit the VAD decision
        """
        return self.normalized(*self.load())

    def normalized(self, feats: NDArray[np.float32], voiced: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """What `read` makes of FEATS and VOICED, which `load` gave."""
        try:
            normalized = normalize(feats, voiced, self.normalization)
        except DataError as error:
            raise DataError(f"utterance {self.utt}: {error}") from error
        if len(normalized) == 0:
            raise DataError(f"utterance {self.utt}: no frames", self.feats)
        return normalized

    def load(self) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Features (num_frames, feat_dim) as they are on disk, and the VAD decision (num_frames,) if it is needed.

        Raises:
            DataError: as `read`
        """
        feats_at, vad_at = self._sources()
        feats = read_mat(feats_at, self.utt)
        if feats.ndim != 2:
            raise DataError(f"utterance {self.utt}: features must be a matrix, one row a frame", feats_at)
        if not np.isfinite(feats).all():
            raise DataError(f"utterance {self.utt}: features are not finite (NaN or infinite)", feats_at)
        return feats, None if vad_at is None else read_mat(vad_at, self.utt) != 0

    def _sources(self) -> tuple[str, str | None]:
        if self.feats is None:
            raise DataError(f"utterance {self.utt} is not in feats.scp")
        if not self.normalization.vad:
            return self.feats, None
        if self.vad is None:
            raise DataError(f"utterance {self.utt} is not in vad.scp")
        return self.feats, self.vad


def list_utterances(data: DataDir, normalization: NormalizeOptions) -> list[Utterance]:
    """All utterances of DATA, in the order of their ids.

    Raises:
        DataError: no feats.scp, or no vad.scp where NORMALIZATION selects voiced frames
    """
    feats = data.table("feats.scp")
    vads = data.table("vad.scp") if normalization.vad else {}
    return [Utterance(utt, feats.get(utt), vads.get(utt), normalization) for utt in data.utts]


def count_frames(utterances: Sequence[Utterance], nj: int) -> NDArray[np.int64]:
    """(U,) frames of each utterance after normalisation.

    Raises:
        DataError: an utterance has no features, or no VAD decision that is needed
    """
    return np.concatenate(run_jobs(_count, split_jobs(utterances, nj * 4), nj, "voiced frames", unit="part"))


def _count(utterances: Sequence[Utterance]) -> NDArray[np.int64]:
    return np.array([utterance.count() for utterance in utterances], np.int64)


def read_utterances(utterances: Sequence[Utterance], nj: int) -> Iterator[tuple[str, NDArray[np.float32] | DataError]]:
    """(utterance id, its features or what is wrong with it), in order; NJ threads read, not far ahead."""
    with ThreadPoolExecutor(nj) as pool:
        for start in range(0, len(utterances), 2 * nj):
            yield from pool.map(_read, utterances[start : start + 2 * nj])


def _read(utterance: Utterance) -> tuple[str, NDArray[np.float32] | DataError]:
    try:
        return utterance.utt, utterance.read()
    except DataError as error:
        return utterance.utt, error
