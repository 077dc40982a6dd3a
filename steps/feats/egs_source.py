"""The utterances that egs are cut from: how many frames each has, and its normalised features. Used by egs.py."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steps.datadir.ark import read_mat, read_shape
from steps.datadir.datadir import DataDir
from steps.feats.normalize import NormalizeOptions, normalize
from steps.utils.errors import DataError
from steps.utils.jobs import run_jobs, split_jobs


@dataclass(frozen=True)
class Utterance:
    """Where the features of an utterance and, if it matters, its VAD decision lie."""

    utt: str
    feats: str
    vad: str | None
    normalization: NormalizeOptions

    def count(self) -> int:
        """How many frames `read` gives; without reading the features."""
        return read_shape(self.feats)[0] if self.vad is None else int(np.count_nonzero(read_mat(self.vad)))

    def read(self) -> npt.NDArray[np.float32]:
        """Normalised features (num_frames, dim), voiced frames only if the normalisation says so.

        Raises:
            DataError: they cannot be read, are not finite, or the VAD decision is of another length
        """
        feats = read_mat(self.feats)
        if not np.isfinite(feats).all():
            raise DataError(f"features of utterance {self.utt} are NaN or infinite")
        try:
            return normalize(feats, None if self.vad is None else read_mat(self.vad) != 0, self.normalization)
        except DataError as error:
            raise DataError(f"utterance {self.utt}: {error}") from error


def list_utterances(data: DataDir, normalization: NormalizeOptions) -> list[Utterance]:
    """The utterances of DATA, sorted.

    Raises:
        DataError: feats.scp or, if it is needed, vad.scp lacks one of them
    """
    feats = data.table("feats.scp")
    vads = data.table("vad.scp") if normalization.vad else {}
    for name, table in (("feats.scp", feats), ("vad.scp", vads if normalization.vad else feats)):
        missing = [utt for utt in data.utts if utt not in table]
        if missing:
            text = f"no entry for {missing[0]} ({len(missing)} utterances); steps/fix_data_dir.py leaves them out"
            raise DataError(text, data.path / name)
    return [Utterance(utt, feats[utt], vads.get(utt), normalization) for utt in data.utts]


def count_frames(utterances: list[Utterance], nj: int) -> npt.NDArray[np.int64]:
    """(U,) frames of each utterance after normalisation."""
    return np.concatenate(run_jobs(_count, split_jobs(utterances, nj * 4), nj, "voiced frames", unit="part"))


def _count(utterances: Sequence[Utterance]) -> npt.NDArray[np.int64]:
    return np.array([utterance.count() for utterance in utterances], np.int64)
