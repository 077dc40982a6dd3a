"""Normalisation as the networks see it: Kaldi's chain of sliding CMN and frame selection."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.utils.errors import DataError

FEATS = np.random.default_rng(0).normal(8, 3, (50, 4)).astype(np.float32)


def test_equal_to_kaldis_chain(reference: Path, read: Callable[[Path], dict[str, NDArray[np.float32]]]) -> None:
    feats = read(reference / "feats" / "mfcc30_16k_snip_false.ark")
    vad = np.load(reference / "vad" / "all_vad.npz")
    for utt, expected in read(reference / "cmvn" / "sliding_w300_center_voiced.ark").items():
        voiced = vad[f"sre16_mfcc30_16k_snip_false__{utt}"].astype(bool)
        result = normalize(feats[utt], voiced, NormalizeOptions())
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, rtol=0, atol=2e-6)


def test_the_mean_is_that_of_all_frames_not_of_the_voiced_ones() -> None:
    voiced = np.arange(50) % 5 == 0
    result = normalize(FEATS, voiced, NormalizeOptions(cmn="utterance"))
    np.testing.assert_allclose(result, (FEATS - FEATS.mean(0))[voiced], atol=1e-5)


def test_none_leaves_the_values_alone() -> None:
    np.testing.assert_array_equal(normalize(FEATS, None, NormalizeOptions(cmn="none", vad=False)), FEATS)


def test_variances() -> None:
    options = NormalizeOptions(cmn="utterance", norm_vars=True, vad=False)
    np.testing.assert_allclose(normalize(FEATS, None, options).var(0), 1, atol=1e-5)


def test_no_frames_stay_no_frames() -> None:
    for cmn in ("sliding", "utterance", "none"):
        options = NormalizeOptions(cmn=cmn, norm_vars=True)  # type: ignore[arg-type]
        assert normalize(FEATS[:0], np.zeros(0, bool), options).shape == (0, 4)


def test_a_decision_of_another_length_is_refused() -> None:
    with pytest.raises(DataError, match="50 frames of features, but a VAD decision for 49"):
        normalize(FEATS, np.ones(49, bool), NormalizeOptions())
    with pytest.raises(DataError, match=r"compute_vad\.py"):
        normalize(FEATS, None, NormalizeOptions())
    with pytest.raises(DataError, match="window is 0"):
        NormalizeOptions(window=0)


def test_the_mean_may_be_of_voiced_frames_alone() -> None:
    feats = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    voiced = np.arange(50) % 5 > 1
    feats[~voiced] -= 20
    first = normalize(feats, voiced, NormalizeOptions(voiced_first=True))
    assert np.array_equal(first, normalize(feats[voiced], None, NormalizeOptions(vad=False)))
    assert np.abs(first.mean(0)).max() < 1e-5
    assert normalize(feats, voiced, NormalizeOptions()).mean() > 7
