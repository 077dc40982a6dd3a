"""Properties of the features that hold for any signal: independence of company, frame counts, reflection, dither."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import FbankOptions, FrameOptions, MfccOptions, SpectrogramOptions

Noise = Callable[..., NDArray[np.float32]]

ALL = [
    FbankOptions(num_mel_bins=80, high_freq=7600, snip_edges=False),
    FbankOptions(num_mel_bins=23, sample_frequency=8000, use_energy=True),
    FbankOptions(frame_length=20, round_to_power_of_two=False, use_energy=True, htk_compat=True),
    MfccOptions(num_mel_bins=30, num_ceps=30, snip_edges=False),
    MfccOptions(),
    SpectrogramOptions(snip_edges=False, raw_energy=False),
    SpectrogramOptions(window_type="hamming", subtract_mean=True),
    FbankOptions(num_mel_bins=10, frame_length=10, frame_shift=25, snip_edges=False),
]


@pytest.mark.parametrize("options", ALL, ids=repr)
def test_a_signal_has_the_same_features_alone_and_in_any_company(options: FrameOptions, noise: Noise) -> None:
    lengths = [399, 400, 401, 720, 5000, 16000, 31231, 7, 82000, 82160, 82320, 200000, 560]
    waves = [noise(length, seed) for seed, length in enumerate(lengths)]
    extractor = FeatureExtractor(options)
    together = extractor(waves)
    backwards = extractor(waves[::-1])[::-1]
    for wave, one, other in zip(waves, together, backwards, strict=True):
        assert torch.equal(extractor([wave])[0], one), f"bit for bit, {len(wave)} samples"
        assert torch.equal(one, other)


@pytest.mark.parametrize("options", ALL, ids=repr)
def test_shapes_and_counts(options: FrameOptions, noise: Noise) -> None:
    for length in (0, 1, 79, 80, 399, 400, 559, 560, 1000):
        feats, energy = (parts[0] for parts in FeatureExtractor(options).with_energy([noise(length)]))
        assert feats.shape == (options.num_frames(length), options.dim)
        assert energy.shape == (options.num_frames(length),)
        assert feats.dtype == torch.float32


def test_without_snipping_frames_are_those_of_the_reflected_signal(noise: Noise) -> None:
    wave = noise(1003)
    frames = FbankOptions(snip_edges=False).num_frames(len(wave))
    assert frames == 6  # (1003 + 80) // 160
    reflected = np.concatenate([wave[:120][::-1], wave, wave[-400:][::-1]])  # the first frame begins at 80 - 200
    expected = FeatureExtractor(FbankOptions())([reflected])[0][:frames]
    torch.testing.assert_close(FeatureExtractor(FbankOptions(snip_edges=False))([wave])[0], expected, rtol=0, atol=0)


def test_a_signal_much_shorter_than_a_frame_is_reflected_again_and_again(noise: Noise) -> None:
    wave = noise(90)
    feats = FeatureExtractor(FbankOptions(snip_edges=False))([wave])[0]
    period = np.concatenate([wave, wave[::-1]])
    signal = np.tile(period, 6)[2 * len(period) - 120 :][:400]
    torch.testing.assert_close(feats, FeatureExtractor(FbankOptions())([signal])[0], rtol=0, atol=0)


def test_a_pure_tone_is_loudest_in_its_own_bin() -> None:
    time = np.arange(16000) / 16000
    for bin_ in (10, 40, 200):
        wave = (0.3 * np.sin(2 * np.pi * bin_ * 16000 / 512 * time)).astype(np.float32)
        spectrum = FeatureExtractor(SpectrogramOptions())([wave])[0]
        assert (spectrum[:, 1:].argmax(1) + 1 == bin_).all()


def test_twice_the_amplitude_adds_log_4(noise: Noise) -> None:
    wave = noise(8000)
    for options in (FbankOptions(num_mel_bins=40), SpectrogramOptions()):
        quiet, loud = FeatureExtractor(options)([wave, 2 * wave])
        torch.testing.assert_close(loud - quiet, torch.full_like(quiet, float(np.log(4))), rtol=0, atol=1e-4)


def test_silence_is_the_log_of_the_smallest_float() -> None:
    feats = FeatureExtractor(FbankOptions())([np.zeros(1600, np.float32)])[0]
    assert torch.unique(feats).tolist() == [pytest.approx(np.log(np.finfo(np.float32).eps))]


def test_dither_depends_on_its_seed_alone(noise: Noise) -> None:
    waves = [noise(3000, 1), noise(4000, 2)]
    extractor = FeatureExtractor(FbankOptions(dither=1.0))
    first, second = extractor(waves, seeds=[7, 8])
    assert torch.equal(extractor([waves[1]], seeds=[8])[0], second), "not on the company"
    assert not torch.equal(extractor([waves[0]], seeds=[9])[0], first)


def test_dither_is_noise_of_the_deviation_asked_for() -> None:
    options = SpectrogramOptions(dither=3.0, remove_dc_offset=False)
    _, energies = FeatureExtractor(options).with_energy([np.zeros(160000, np.float32)], seeds=[1])
    assert energies[0].exp().mean().item() == pytest.approx(400 * 3.0**2, rel=0.02)


def test_tensors_and_arrays_are_the_same(noise: Noise) -> None:
    wave = noise(2000)
    extractor = FeatureExtractor(MfccOptions())
    assert torch.equal(extractor([wave])[0], extractor([torch.from_numpy(wave)])[0])


def test_nothing_in_nothing_out() -> None:
    assert FeatureExtractor(FbankOptions())([]) == []
