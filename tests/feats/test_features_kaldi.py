"""Every feature file that Kaldi made is made again from its command line and compared."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from kaldi_wavs import read_wav_ark
from numpy.typing import NDArray

from timbre.audio.reading import read_audio
from timbre.datadir.ark import read_ark
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import FbankOptions, FrameOptions, MfccOptions, SpectrogramOptions
from timbre.runtime.kaldi_resampling import kaldi_resample

TOLERANCE = {"fbank": (5e-3, 1e-4), "mfcc": (5e-3, 3e-4), "spectrogram": (5e-2, 5e-4)}  # max, rms
OPTIONS = {"fbank": FbankOptions, "mfcc": MfccOptions, "spectrogram": SpectrogramOptions}


def commands(root: Path) -> Iterator[tuple[FrameOptions, str, str]]:
    """(options, input, output) of each command that makes features we make too."""
    for line in (root / "COMMANDS_feats.txt").read_text().splitlines():
        words = shlex.split(line)
        kind = words[0].removeprefix("compute-").removesuffix("-feats") if words else ""
        if kind in OPTIONS and "|" not in words:
            named = [word[2:].split("=", 1) for word in words[1:] if word.startswith("--")]
            values: dict[str, Any] = {name.replace("-", "_"): yaml.safe_load(value) for name, value in named}
            source, target = [word for word in words[1:] if not word.startswith("--")]
            yield OPTIONS[kind](**values), source, target.partition(":")[2].partition(",")[0]


def read_input(root: Path, source: str) -> dict[str, tuple[NDArray[np.float32], int]]:
    kind, _, name = source.partition(":")
    if kind == "ark":
        return read_wav_ark(root / name)
    lines = (root / name).read_text().splitlines()
    return {line.split()[0]: read_audio(str(root / line.split()[1])) for line in lines}


def read_output(root: Path, name: str) -> dict[str, NDArray[np.float32]]:
    path = root / name
    if path.parent.name == "variants":
        return {"utt1v": np.load(path.parent / "all_variants.npz")[path.stem]}
    return dict(read_ark(path)) if path.exists() else {}


def test_every_feature_file_of_kaldi(reference: Path) -> None:
    compared = 0
    for options, source, target in commands(reference):
        expected = read_output(reference, target)
        if not expected:
            continue
        inputs = read_input(reference, source)
        rate = int(options.sample_frequency)
        waves = [wave if found == rate else kaldi_resample(wave, found, rate) for wave, found in inputs.values()]
        results = dict(zip(inputs, FeatureExtractor(options)(waves), strict=True))
        errors = []
        for utt, matrix in expected.items():
            if matrix.size == 0:  # Kaldi's empty matrix has no columns
                assert results[utt].shape == (0, options.dim), target
                continue
            assert results[utt].shape == matrix.shape, target
            error = np.abs(results[utt].numpy().astype(np.float64) - matrix)
            # energies that are not logarithms are compared relative to the largest one
            errors.append(error if getattr(options, "use_log_fbank", True) else error / matrix.max())
        if errors:
            flat = np.concatenate(errors)
            largest, rms = TOLERANCE[options.kind]
            assert flat.max() < largest, target
            assert np.sqrt(np.mean(flat**2)) < rms, target
        compared += len(expected)
    assert compared >= 34, "the reference data are there"


def test_the_log_energy_beside_the_features_is_kaldis(reference: Path) -> None:
    # column 0 of Kaldi's MFCC with --use-energy is the raw log energy, which we also give beside any other features
    options = FbankOptions(snip_edges=False)
    for utt, matrix in read_output(reference, "feats/mfcc30_16k_snip_false.ark").items():
        wave, _ = read_audio(str(reference / "wav" / f"{utt}.wav"))
        _, energies = FeatureExtractor(options).with_energy([wave])
        np.testing.assert_allclose(energies[0].numpy(), matrix[:, 0], atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same(kaldi: Path) -> None:
    wave, _ = read_audio(str(kaldi / "wav" / "utt1.wav"))
    for options in (FbankOptions(num_mel_bins=80), MfccOptions(), SpectrogramOptions(snip_edges=False)):
        on_gpu = FeatureExtractor(options, "cuda")([wave, wave[:5000]])
        on_cpu = FeatureExtractor(options, "cpu")([wave, wave[:5000]])
        for one, other in zip(on_gpu, on_cpu, strict=True):
            error = (one.cpu() - other).abs()
            assert error.max() < 3e-2
            assert error.square().mean().sqrt() < 2e-4
