"""Embeddings of windows, whose features are cut out of those of whole recordings. Called by extract_windows.py."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.ark import read_mat, split_rx
from timbre.datadir.datadir import DataDir, Segment
from timbre.diarization.recordings import frame_shift
from timbre.diarization.windows import by_recording
from timbre.embedding.vector_parts import Target, dump_vectors
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.utils.errors import DataError
from timbre.utils.missing import Allowed

if TYPE_CHECKING:
    from timbre.embedding.extract import ExtractOptions

Cmn = Literal["recording", "window"]
Feats = NDArray[np.float32]


_VERSION = 1  # of what is computed: another makes everything anew


@dataclass(frozen=True)
class Window:
    """Frames START to END of a recording, and where its features and VAD decision lie; None: nowhere, or not needed."""

    name: str
    recording: str
    start: int
    end: int
    feats: str | None
    vad: str | None
    normalization: NormalizeOptions

    @property
    def sources(self) -> list[str]:
        """The arks that it lies in."""
        return [split_rx(place)[0] for place in (self.feats, self.vad) if place]


def dump_windows(
    model_dir: Path,
    data: DataDir,
    segments: Mapping[str, Segment],
    out_stem: Path,
    options: "ExtractOptions",
    device: str,
    cmn: Cmn = "recording",
    voiced_only: bool = False,
    allow_missing: Allowed = 0,
) -> None:
    """Writes OUT_STEM.ark and OUT_STEM.scp, a vector for each of SEGMENTS; see extract_windows.py.

    Raises:
        DataError: more than ALLOW_MISSING windows have none: OUT_STEM.missing lists them
    """
    list_items = partial(_list_windows, data, segments, voiced_only)
    read = partial(_read_windows, cmn=cmn, voiced_only=voiced_only)
    targets = {"": Target(out_stem, f"windows {_VERSION} {cmn} {voiced_only}")}
    dump_vectors(model_dir, list_items, read, targets, options, device, allow_missing, kind="windows")


def _list_windows(
    data: DataDir, segments: Mapping[str, Segment], voiced_only: bool, normalization: NormalizeOptions
) -> list[Window]:
    """The windows of one recording after those of another; the means of NORMALIZATION are taken around each frame."""
    options = replace(normalization, vad=False)
    shift = frame_shift(data)
    places = data.table("feats.scp")
    decisions = data.table("vad.scp") if voiced_only else {}
    windows = []
    for recording, names in by_recording(segments).items():
        feats, vad = places.get(recording), decisions.get(recording)
        for name in names:
            frames = round(segments[name].start / shift), round(segments[name].end / shift)
            windows.append(Window(name, recording, *frames, feats, vad, options))
    return windows


def _read_windows(
    windows: Sequence[Window], _: Sequence[str], cmn: Cmn, voiced_only: bool
) -> Iterator[tuple[str, str, Feats | DataError]]:
    """("", window, its normalised features (num_frames, dim) or what is wrong); each recording is read once."""
    for recording, group in groupby(windows, key=lambda window: window.recording):
        some = list(group)
        options = some[0].normalization
        try:
            whole = _read(recording, some[0].feats)
            voiced = _voiced(recording, some[0].vad, len(whole)) if voiced_only else np.ones(len(whole), bool)
        except DataError as error:
            yield from (("", window.name, error) for window in some)
            continue
        if cmn == "recording":
            whole = normalize(whole, None, options)
        for window in some:
            feats, chosen = whole[window.start : window.end], voiced[window.start : window.end]
            if not len(feats):
                text = f"window '{window.name}' is beyond the features of its recording, {len(whole)} frames"
                yield "", window.name, DataError(text)
                continue
            if chosen.any():
                feats = feats[chosen]  # of a window without any voiced frame, all
            yield "", window.name, normalize(feats, None, options) if cmn == "window" else feats


def _read(recording: str, place: str | None) -> Feats:
    if place is None:
        raise DataError(f"recording '{recording}' is not in feats.scp")
    feats = read_mat(place, recording)
    if feats.ndim != 2 or not np.isfinite(feats).all():
        raise DataError(f"features of '{recording}' are not a matrix of finite numbers", place)
    return feats


def _voiced(recording: str, place: str | None, num_frames: int) -> NDArray[np.bool_]:
    if place is None:
        raise DataError(f"recording '{recording}' is not in vad.scp")
    voiced: NDArray[np.bool_] = read_mat(place, recording) != 0
    if len(voiced) != num_frames:
        raise DataError(f"{num_frames} frames of features, but {len(voiced)} of vad.scp", place)
    return voiced
