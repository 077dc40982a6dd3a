"""Mel spectrograms: the numbers of torchaudio and librosa, what is done to whole signals, and raw energies."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor
from torch.nn import functional
from torchaudio.transforms import MelSpectrogram

from timbre.feats.extractor import FeatureExtractor
from timbre.feats.mel import melspec_filters
from timbre.feats.options import FbankOptions, MelspecOptions, options_from
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.training.front_end import normalize_batch

Floats = NDArray[np.float32]
LIBROSA = MelspecOptions(
    num_mel_bins=40, round_to_power_of_two=False, window_type="hanning", filters="slaney", edges="zeros", log="none"
)
SIZES = (1, 2, 159, 160, 399, 400, 401, 4321, 32240)


def wave(size: int, seed: int = 0) -> Floats:
    return (0.1 * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


def error(found: Tensor, wanted: Tensor | NDArray[np.generic]) -> float:
    wanted = torch.as_tensor(wanted)
    assert found.shape == wanted.shape
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("preemphasis", [0.0, 0.97])
@pytest.mark.parametrize("shift", [10.0, 15.0])
def test_equal_to_those_of_torchaudio(preemphasis: float, shift: float) -> None:
    """With the pre-emphasis of voxceleb_trainer, which reflects the signal at its start."""
    options = MelspecOptions(
        num_mel_bins=64, preemphasis_coefficient=preemphasis, frame_shift=shift, low_freq=20, high_freq=7600
    )
    theirs = MelSpectrogram(
        16000, 512, 400, int(16 * shift), 20, 7600, n_mels=64, window_fn=torch.hamming_window, pad_mode="reflect"
    )
    signal = torch.from_numpy(wave(32240))
    before = functional.pad(signal[None], (1, 0), mode="reflect")[0, :-1]
    wanted = torch.log(theirs(signal - preemphasis * before) + 1e-6).T
    found = FeatureExtractor(options)([signal])[0]
    assert error(found, wanted) < 1e-5


def test_as_many_frames_as_voxceleb_trainer_has() -> None:
    assert MelspecOptions(num_mel_bins=64).num_frames(32240) == 202


@pytest.mark.parametrize("size", SIZES)
def test_equal_to_those_of_librosa(size: int) -> None:
    signal = wave(size)
    wanted = librosa.feature.melspectrogram(
        y=signal, sr=16000, n_fft=400, hop_length=160, n_mels=40, pad_mode="constant"
    )
    assert error(FeatureExtractor(LIBROSA)([signal])[0], wanted.T) < 1e-5


@pytest.mark.parametrize("size", [400, 4321, 16000])
def test_the_front_of_dacon_is_that_of_librosa(size: int, root: Path) -> None:
    """Its MFCC, none of whose 128 filters is empty, and their z-scores over time, as scipy has them."""
    options = MelspecOptions(**yaml.safe_load((root / "conf" / "feats" / "dacon_mfcc.yaml").read_text()))
    assert melspec_filters(options).any(axis=0).all()
    signal = wave(size)
    signal[size // 2 :] *= 1e-6  # more than 80 dB down
    arguments = {"sr": 16000, "n_mfcc": 128, "n_fft": 400, "hop_length": 100, "pad_mode": "reflect"}
    wanted = librosa.feature.mfcc(y=signal, **arguments).T
    found = FeatureExtractor(options)([signal])[0]
    assert found.shape == (1 + size // 100, 128) and error(found, wanted) < 1e-5
    normalization = NormalizeOptions(**yaml.safe_load((root / "conf" / "normalize" / "z_score.yaml").read_text()))
    scores = stats.zscore(wanted.astype(np.float64), axis=0)
    assert np.abs(normalize(found.numpy(), None, normalization) - scores).max() < 2e-3
    in_batches = normalize_batch(found[None], normalization)[0]
    assert np.abs(in_batches.numpy() - scores).max() < 2e-3


def test_trailing_frames_are_those_of_the_signal_and_silence() -> None:
    signal = wave(4321)
    padded = np.concatenate([signal, np.zeros(2 * 160, np.float32)])
    options = options_from(LIBROSA.to_dict() | {"init_args": {**LIBROSA.to_dict()["init_args"], "trailing_frames": 2}})
    assert FeatureExtractor(options)([signal])[0].equal(FeatureExtractor(LIBROSA)([padded])[0])


def test_quiet_signals_are_raised_to_the_level_and_loud_ones_left() -> None:
    arguments = LIBROSA.to_dict()["init_args"]
    raised = FeatureExtractor(MelspecOptions(**{**arguments, "level": -20}))
    plain = FeatureExtractor(LIBROSA)
    quiet, loud = wave(8000) / 1000, 5 * wave(8000)
    assert raised([loud])[0].equal(plain([loud])[0])
    gain = 0.1 / np.sqrt(np.mean(quiet.astype(np.float64) ** 2))
    assert error(raised([quiet])[0], plain([quiet])[0] * gain**2) < 1e-5


def test_a_signal_is_brought_to_mean_0_and_variance_1_before_all_else() -> None:
    arguments = {"num_mel_bins": 30, "preemphasis_coefficient": 0.97}
    signal = 0.02 * wave(16000) + 0.1
    standard = ((signal - signal.mean()) / (signal.std() + 1e-6)).astype(np.float32)
    found = FeatureExtractor(MelspecOptions(**arguments, standardize=True))([signal, np.zeros(800, np.float32)])
    assert error(found[0], FeatureExtractor(MelspecOptions(**arguments))([standard])[0]) < 1e-5
    assert found[1].isfinite().all()  # silence has no variance


def test_decibels_go_no_further_down_than_the_range() -> None:
    arguments = {"num_mel_bins": 20, "log": "decibel", "log_floor": 1e-10, "edges": "zeros"}
    signal = np.concatenate([wave(8000), 1e-6 * wave(8000)])
    whole = FeatureExtractor(MelspecOptions(**arguments))([signal, wave(800, 1)])
    cut = FeatureExtractor(MelspecOptions(**arguments, range_db=40))([signal, wave(800, 1)])
    assert whole[0].max() - whole[0].min() > 60
    for part, wanted in zip(cut, whole, strict=True):
        assert part.equal(wanted.clamp(min=float(wanted.max()) - 40))


@pytest.mark.parametrize(("filters", "num_ceps"), [("htk", 0), ("slaney", 0), ("even", 0), ("slaney", 13)])
def test_a_signal_has_the_same_features_in_any_company(filters: str, num_ceps: int) -> None:
    arguments = {"level": -30, "preemphasis_coefficient": 0.9, "num_mel_bins": 23, "num_ceps": num_ceps}
    options = MelspecOptions(filters=filters, **arguments)  # type: ignore[arg-type]
    extractor = FeatureExtractor(options)
    signals = [wave(size, size) for size in SIZES]
    for signal, found in zip(signals, extractor(signals), strict=True):
        assert found.equal(extractor([signal])[0]) and found.isfinite().all()
    same = [np.round(32768 * wave(4321, seed)).astype(np.int16) for seed in range(3)]
    batch = extractor.batch(torch.from_numpy(np.stack(same)))
    for number, signal in enumerate(same):
        assert (batch[number] - extractor([(signal / 32768).astype(np.float32)])[0]).abs().max() < 1e-4


def test_raw_energies_are_of_the_samples_at_the_scale_of_int16() -> None:
    """So that the energy VAD decides alike, whatever the level and the pre-emphasis of the features."""
    signal = wave(32000)
    options = MelspecOptions(level=-3, preemphasis_coefficient=0.97)
    ours = FeatureExtractor(options).with_energy([signal])[1][0]
    centred = np.pad(signal, 200, mode="reflect") * 32768
    frames = np.lib.stride_tricks.sliding_window_view(centred.astype(np.float64), 400)[::160]
    assert np.abs(ours.numpy() - np.log((frames**2).sum(1))).max() < 1e-4


def test_kaldis_features_of_samples_below_one() -> None:
    """Log energies are lower by the scale, but for those at the floor; raw energies are not."""
    signal = wave(16000)
    ours, energies = FeatureExtractor(FbankOptions()).with_energy([signal])
    unit, same = FeatureExtractor(FbankOptions(unit_scale=True)).with_energy([signal])
    assert (ours[0] - 2 * np.log(32768) - unit[0]).abs().max() < 1e-4
    assert (energies[0] - same[0]).abs().max() < 0.02  # these are of frames with their offset
