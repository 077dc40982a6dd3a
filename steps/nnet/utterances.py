"""Normalised features of the utterances of a data directory, as the extraction steps read them; without torch."""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steps.datadir.ark import read_mat
from steps.datadir.datadir import DataDir
from steps.feats.normalize import NormalizeOptions, normalize
from steps.utils.errors import DataError


@dataclass(frozen=True)
class Utterance:
    """Where the features and the VAD decision of an utterance lie; None where the data directory has none."""

    utt: str
    feats: str | None
    vad: str | None
    normalization: NormalizeOptions

    def read(self) -> NDArray[np.float32]:
        """Normalised features (num_frames, feat_dim).

        Raises:
            DataError: there are none, or they cannot be read
        """
        if self.feats is None:
            raise DataError("not in feats.scp")
        if self.normalization.vad and self.vad is None:
            raise DataError("not in vad.scp")
        feats = read_mat(self.feats)
        if feats.ndim != 2:
            raise DataError("features must be a matrix, one row a frame", self.feats)
        voiced = read_mat(self.vad) != 0 if self.vad is not None and self.normalization.vad else None
        normalized = normalize(feats, voiced, self.normalization)
        if len(normalized) == 0:
            raise DataError("no frames", self.feats)
        return normalized


def list_utterances(data: DataDir, normalization: NormalizeOptions) -> list[Utterance]:
    """All utterances of DATA, in the order of their ids.

    Raises:
        DataError: no feats.scp, or no vad.scp where NORMALIZATION selects voiced frames
    """
    feats = data.table("feats.scp")
    vads = data.table("vad.scp") if normalization.vad else {}
    return [Utterance(utt, feats.get(utt), vads.get(utt), normalization) for utt in data.utts]


def read_utterances(utterances: list[Utterance], nj: int) -> Iterator[tuple[str, NDArray[np.float32] | DataError]]:
    """(utterance id, its features or what is wrong with it), in order; NJ threads read, not far ahead."""
    with ThreadPoolExecutor(nj) as pool:
        for start in range(0, len(utterances), 2 * nj):
            yield from pool.map(_read, utterances[start : start + 2 * nj])


def _read(utterance: Utterance) -> tuple[str, NDArray[np.float32] | DataError]:
    try:
        return utterance.utt, utterance.read()
    except DataError as error:
        return utterance.utt, error


def check_failures(failures: Mapping[str, str], allowed: int, num_utts: int, what: str) -> None:
    """Lists the utterances that failed, by name and reason.

    Raises:
        DataError: more than ALLOWED of them, or all NUM_UTTS
    """
    for utt, reason in sorted(failures.items()):
        logging.warning("%s: no %s: %s", utt, what, reason)
    if len(failures) > allowed or len(failures) == num_utts:
        allow = f"; --allow-missing {len(failures)} goes on without" if len(failures) < num_utts else ""
        raise DataError(f"{len(failures)} of {num_utts} utterances have no {what}, as listed above{allow}")
