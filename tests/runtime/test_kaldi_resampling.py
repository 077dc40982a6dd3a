"""Kaldi's resampler: tones and lengths. That it equals Kaldi's is tested on the features made from it."""

import numpy as np
import pytest

from timbre.runtime.kaldi_resampling import kaldi_resample


@pytest.mark.parametrize(
    ("rate", "new_rate"), [(16000, 8000), (8000, 16000), (44100, 16000), (22050, 8000), (48000, 16000)]
)
def test_a_tone_stays_the_same_tone(rate: int, new_rate: int) -> None:
    def tone(at: int) -> np.ndarray:
        return np.sin(2 * np.pi * 440 * np.arange(at) / at).astype(np.float32)

    resampled = kaldi_resample(tone(rate), rate, new_rate)
    assert resampled.dtype == np.float32
    assert len(resampled) == new_rate
    np.testing.assert_allclose(resampled[100:-100], tone(new_rate)[100:-100], atol=0.01)


def test_what_does_not_fit_is_removed() -> None:
    tone = np.sin(2 * np.pi * 6000 * np.arange(16000) / 16000).astype(np.float32)
    assert np.abs(kaldi_resample(tone, 16000, 8000)[100:-100]).max() < 0.01


@pytest.mark.parametrize("length", [0, 1, 2, 3, 160, 161])
def test_lengths_are_rounded_up(length: int) -> None:
    assert len(kaldi_resample(np.ones(length, np.float32), 16000, 8000)) == -(-length // 2)
    assert len(kaldi_resample(np.ones(length, np.float32), 8000, 16000)) == 2 * length
