"""Mean and variance normalisation: equal to Kaldi's, and to its definition."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from timbre.runtime.cmvn import apply_cmvn, cmvn_stats, sliding_cmn
from timbre.utils.errors import DataError

Read = Callable[[Path], dict[str, NDArray[np.float32]]]

SLIDING = {
    "sliding_w300_center": {"window": 300},
    "sliding_w300_center_vars": {"window": 300, "norm_vars": True},
    "sliding_w300_left": {"window": 300, "center": False},
    "sliding_w300_left_vars": {"window": 300, "center": False, "norm_vars": True},
    "sliding_w51_center_vars_utt1": {"window": 51, "min_window": 20, "norm_vars": True},
    "sliding_w50_min20_left_utt1": {"window": 50, "min_window": 20, "center": False},
    "sliding_w1000_center_utt1": {"window": 1000},
}


def test_sliding_windows_equal_kaldis(reference: Path, read: Read) -> None:
    feats = read(reference / "feats" / "mfcc30_16k_snip_false.ark")
    compared = 0
    for name, options in SLIDING.items():
        path = reference / "cmvn" / f"{name}.ark"
        for utt, expected in read(path).items() if path.exists() else ():
            np.testing.assert_allclose(sliding_cmn(feats[utt], **options), expected, rtol=0, atol=2e-6, err_msg=name)
            compared += 1
    assert compared >= 4


def test_statistics_equal_kaldis(reference: Path, read: Read) -> None:
    feats = read(reference / "feats" / "mfcc30_16k_snip_false.ark")
    vad = np.load(reference / "vad" / "all_vad.npz")
    for utt, expected in read(reference / "cmvn" / "cmvn_stats_utt.ark").items():
        np.testing.assert_allclose(cmvn_stats(feats[utt]), expected, rtol=1e-12)
    for utt, expected in read(reference / "cmvn" / "cmvn_stats_utt_vadweighted.ark").items():
        weights = vad[f"sre16_mfcc30_16k_snip_false__{utt}"]
        np.testing.assert_allclose(cmvn_stats(feats[utt], weights), expected, rtol=1e-12)


def test_applying_statistics_equals_kaldis(reference: Path, read: Read) -> None:
    feats = read(reference / "feats" / "mfcc30_16k_snip_false.ark")
    speakers = {"utt1": "spk1", "utt2": "spk1", "utt3": "spk2", "utt4": "spk2"}
    compared = 0
    for kind in ("utt", "spk"):
        for norm_vars in (False, True):
            path = reference / "cmvn" / f"cmvn_{kind}_{'vars' if norm_vars else 'means'}.ark"
            for utt, expected in read(path).items() if path.exists() else ():
                stats = read(reference / "cmvn" / f"cmvn_stats_{kind}.ark")[utt if kind == "utt" else speakers[utt]]
                result = apply_cmvn(feats[utt], stats, norm_vars)
                np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5)
                compared += 1
    assert compared >= 1


@pytest.mark.parametrize("num_frames", [1, 2, 9, 10, 11, 40])
@pytest.mark.parametrize("window", [1, 2, 9, 10])
def test_centred_window_equals_its_definition(num_frames: int, window: int) -> None:
    feats = np.random.default_rng(num_frames).normal(5, 2, (num_frames, 3)).astype(np.float32)
    size = min(window, num_frames)
    for frame, row in enumerate(sliding_cmn(feats, window)):
        start = min(max(frame - window // 2, 0), num_frames - size)  # shifted to stay whole
        np.testing.assert_allclose(row, feats[frame] - feats[start : start + size].mean(0), atol=1e-6)


def test_long_utterances_lose_no_precision() -> None:
    # cumulative sums of an hour of frames around -1000: float32 sums would be off by far more than this
    feats = np.full((360_000, 1), -1000.1, np.float32)
    feats[::2] += 1
    assert np.abs(sliding_cmn(feats, 300)).max() == pytest.approx(0.5, abs=1e-3)


def test_utterances_shorter_than_the_window_have_zero_mean_and_unit_variance() -> None:
    feats = np.random.default_rng(0).normal(3, 7, (120, 5)).astype(np.float32)
    result = sliding_cmn(feats, 300, norm_vars=True)
    np.testing.assert_allclose(result.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(result.var(0), 1, atol=1e-5)


def test_one_frame_has_no_variance() -> None:
    assert sliding_cmn(np.full((1, 4), 3, np.float32), norm_vars=True).tolist() == [[0, 0, 0, 0]]


def test_statistics_add_up() -> None:
    feats = np.random.default_rng(0).normal(3, 7, (120, 5)).astype(np.float32)
    np.testing.assert_allclose(cmvn_stats(feats[:50]) + cmvn_stats(feats[50:]), cmvn_stats(feats))


def test_statistics_that_do_not_fit_are_refused() -> None:
    feats = np.zeros((10, 5), np.float32)
    with pytest.raises(DataError, match="dimension 5"):
        apply_cmvn(feats, cmvn_stats(np.zeros((10, 4), np.float32)))
    with pytest.raises(DataError, match="no frame"):
        apply_cmvn(feats, cmvn_stats(np.zeros((0, 5), np.float32)))
    with pytest.raises(DataError, match="window is 0"):
        sliding_cmn(feats, 0)
