"""Features of windows, cut out of those of whole recordings. Called by extract_windows.py."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.ark import read_mat
from timbre.datadir.datadir import DataDir, Segment
from timbre.diarization.windows import by_recording
from timbre.feats.normalize import NormalizeOptions, normalize
from timbre.utils.errors import DataError

Cmn = Literal["recording", "window"]
Feats = NDArray[np.float32]


def read_windows(
    data: DataDir,
    segments: Mapping[str, Segment],
    normalization: NormalizeOptions,
    shift: float,
    cmn: Cmn = "recording",
    voiced_only: bool = False,
) -> Iterator[tuple[str, Feats | DataError]]:
    """(window, its normalised features (num_frames, dim) or what is wrong with them), one recording after the other.

    Args:
        data: recordings, with feats.scp (and vad.scp for VOICED_ONLY)
        segments: windows of them
        normalization: of the model; its means are taken around each frame of the recording, or of the window alone
        shift: seconds between frames
        cmn: which of the two
        voiced_only: leave out the frames of a window that vad.scp calls unvoiced, unless that leaves none
    """
    options = replace(normalization, vad=False)
    places = data.table("feats.scp")
    decisions = data.table("vad.scp") if voiced_only else {}
    for recording, names in by_recording(segments).items():
        try:
            whole = _read(places, recording)
            voiced = _voiced(decisions, recording, len(whole)) if voiced_only else np.ones(len(whole), bool)
        except DataError as error:
            yield from ((name, error) for name in names)
            continue
        if cmn == "recording":
            whole = normalize(whole, None, options)
        for name in names:
            frames = slice(round(segments[name].start / shift), round(segments[name].end / shift))
            feats, chosen = whole[frames], voiced[frames]
            if not len(feats):
                yield name, DataError(f"window '{name}' is beyond the features of its recording, {len(whole)} frames")
                continue
            if chosen.any():
                feats = feats[chosen]
            yield name, normalize(feats, None, options) if cmn == "window" else feats


def _read(places: Mapping[str, str], recording: str) -> Feats:
    if recording not in places:
        raise DataError(f"recording '{recording}' is not in feats.scp")
    feats = read_mat(places[recording], recording)
    if feats.ndim != 2 or not np.isfinite(feats).all():
        raise DataError(f"features of '{recording}' are not a matrix of finite numbers", places[recording])
    return feats


def _voiced(decisions: Mapping[str, str], recording: str, num_frames: int) -> NDArray[np.bool_]:
    if recording not in decisions:
        raise DataError(f"recording '{recording}' is not in vad.scp")
    voiced: NDArray[np.bool_] = read_mat(decisions[recording], recording) != 0
    if len(voiced) != num_frames:
        raise DataError(f"{num_frames} frames of features, but {len(voiced)} of vad.scp", decisions[recording])
    return voiced
