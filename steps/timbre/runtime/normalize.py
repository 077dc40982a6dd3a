"""From features to what a network sees: CMN, then the voiced frames. Egs, extraction and encoder.py go through here."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from timbre.runtime.cmvn import apply_cmvn, cmvn_stats, sliding_cmn
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class NormalizeOptions:
    """How features are normalised; a trained model carries these along.

    Args:
        cmn: mean over a sliding window (Kaldi's x-vector recipes), over the whole utterance, or none
        window: frames in the sliding window
        norm_vars: normalise the variance as well as the mean
        vad: keep the voiced frames only, after the normalisation
        voiced_first: keep them before it, so that the mean is of voiced frames alone. Egs of waveforms set this: what
            they hold is voiced, and a network must be given at extraction what it was trained on
    """

    cmn: Literal["sliding", "utterance", "none"] = "sliding"
    window: int = 300
    norm_vars: bool = False
    vad: bool = True
    voiced_first: bool = False

    def __post_init__(self) -> None:
        if self.window < 1:
            raise DataError(f"window is {self.window}; it must be at least 1")


def normalize(
    feats: NDArray[np.float32], voiced: NDArray[np.bool_] | None, options: NormalizeOptions
) -> NDArray[np.float32]:
    """CMN over all frames, then the voiced ones: (num_voiced, dim) float32, the order of Kaldi's x-vector recipes.

    With `voiced_first` it is the other way round.

    Args:
        feats: (num_frames, dim)
        voiced: (num_frames,) VAD decision, needed where options.vad is set
        options: what to do

    Raises:
        DataError: the VAD decision is missing or of another length than the features
    """
    return Normalized(feats, voiced, options).rows()


class Normalized:
    """The rows that `normalize` gives, and its errors; some at a time, where all would be more than the memory holds.

    Attributes:
        number: how many there are
    """

    def __init__(self, feats: NDArray[np.float32], voiced: NDArray[np.bool_] | None, options: NormalizeOptions) -> None:
        self._options, self._chosen = options, None
        if options.vad:
            if voiced is None:
                raise DataError(
                    "voiced frames are wanted, but there is no VAD decision: run steps/compute_vad.py first"
                )
            if len(voiced) != len(feats):
                text = f"{len(feats)} frames of features, but a VAD decision for {len(voiced)}: "
                raise DataError(f"{text}run steps/compute_vad.py again")
            chosen = np.asarray(voiced, dtype=bool)
            if options.voiced_first:
                feats = feats[chosen]
            else:
                self._chosen = np.flatnonzero(chosen)
        self._feats, self.number = feats, len(feats) if self._chosen is None else len(self._chosen)
        self._stats = cmvn_stats(feats) if options.cmn == "utterance" and len(feats) else None

    def rows(self, start: int = 0, end: int | None = None) -> NDArray[np.float32]:
        """Rows START to before END, (END - START, dim) float32."""
        options, wanted = self._options, slice(start, self.number if end is None else end)
        span, chosen = wanted, None
        if self._chosen is not None:
            chosen = self._chosen[wanted]
            whole = start == 0 and wanted.stop >= self.number
            span = slice(0, len(self._feats)) if whole or not len(chosen) else slice(chosen[0], chosen[-1] + 1)
            chosen = chosen - span.start
        feats = self._feats[span]
        if options.cmn == "sliding":
            feats = sliding_cmn(self._feats, options.window, norm_vars=options.norm_vars, rows=span)
        elif self._stats is not None:
            feats = apply_cmvn(feats, self._stats, options.norm_vars)
        return np.asarray(feats if chosen is None else feats[chosen], dtype=np.float32)
