"""From features on disk to what a network sees: CMN, then the voiced frames. Egs and extraction go through here."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from timbre.feats.cmvn import apply_cmvn, cmvn_stats, sliding_cmn
from timbre.feats.options import require
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
        require(self.window >= 1, f"window is {self.window}; it must be at least 1")


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
    if not options.vad:
        return _centered(feats, options)
    if voiced is None:
        raise DataError("voiced frames are wanted, but there is no VAD decision: run steps/compute_vad.py first")
    text = f"{len(feats)} frames of features, but a VAD decision for {len(voiced)}: run steps/compute_vad.py again"
    require(len(voiced) == len(feats), text)
    chosen = np.asarray(voiced, dtype=bool)
    return _centered(feats[chosen], options) if options.voiced_first else _centered(feats, options)[chosen]


def _centered(feats: NDArray[np.float32], options: NormalizeOptions) -> NDArray[np.float32]:
    """CMN over all of FEATS."""
    if options.cmn == "sliding":
        feats = sliding_cmn(feats, options.window, norm_vars=options.norm_vars)
    elif options.cmn == "utterance" and len(feats):
        feats = apply_cmvn(feats, cmvn_stats(feats), options.norm_vars)
    return np.asarray(feats, dtype=np.float32)
