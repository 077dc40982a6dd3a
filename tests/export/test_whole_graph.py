"""model.onnx gives what the encoder gives, which tests/runtime/test_encoder.py compares with the recipe."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.runtime.tiny_pack import DIM, FEATS, KINDS, RATE, mean_network, tiny_members, voice, write_tiny
from timbre.export.whole_graph import whole_model
from timbre.feats.options import FrameOptions
from timbre.feats.vad import VadOptions
from timbre.runtime.encoder import Encoder
from timbre.runtime.normalize import NormalizeOptions
from timbre.runtime.pack_file import PackFile
from timbre.runtime.sound import Sound

NORMS = {
    "sliding": NormalizeOptions(window=50),
    "whole": NormalizeOptions(cmn="utterance", norm_vars=True),
    "voiced_first": NormalizeOptions(window=31, norm_vars=True, voiced_first=True),
    "no_vad": NormalizeOptions(vad=False, window=31),
    "none": NormalizeOptions(cmn="none"),
}


def session(
    options: FrameOptions, norm: NormalizeOptions, vad: VadOptions = VadOptions(), max_frames: int = 12000
) -> onnxruntime.InferenceSession:
    model = whole_model(mean_network(options.dim), options, vad, norm, 5, max_frames, DIM)
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), quiet)


def encoder(folder: Path, *arguments: Any, **named: Any) -> Encoder:
    return Encoder(PackFile.open(write_tiny(folder / "tiny.timbre", *tiny_members(*arguments, **named))))


def check(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_all_features(kind: str, tmp_path: Path) -> None:
    options = KINDS[kind]
    made, whole = encoder(tmp_path, options), session(options, NORMS["sliding"])
    for seconds in (0.06, 0.3, 1.0, 5.0):
        wave = voice(seconds)
        check(whole.run(None, {"samples": wave[None]})[0][0], made(Sound(wave, RATE, "it"), 0.0).vector)


@pytest.mark.parametrize("norm", NORMS)
def test_all_ways_to_normalise(norm: str, tmp_path: Path) -> None:
    wave = voice(3.0)
    made, whole = encoder(tmp_path, FEATS, NORMS[norm]), session(FEATS, NORMS[norm])
    check(whole.run(None, {"samples": wave[None]})[0][0], made(Sound(wave, RATE, "it")).vector)


def test_batches_of_16_bits_and_of_floats() -> None:
    """Each of a batch gets what it gets alone, whatever share of it is speech."""
    whole = session(FEATS, NORMS["sliding"])
    waves = np.stack([voice(2.0, 1), 0.2 * voice(2.0, 2), np.where(np.arange(16000) < 9000, 1e-3, 1) * voice(2.0, 3)])
    pcm = np.rint(waves * 32768).astype(np.int16)
    waves = pcm / np.float32(32768)
    alone = np.concatenate([whole.run(None, {"samples": one[None]})[0] for one in waves])
    assert np.array_equal(whole.run(None, {"samples": waves})[0], alone)
    assert np.array_equal(whole.run(None, {"pcm": pcm})[0], alone)


def test_without_speech_there_is_no_number() -> None:
    whole = session(FEATS, NORMS["sliding"], VadOptions(vad_energy_threshold=50))
    for size in (0, 1, 16000):
        assert np.isnan(whole.run(None, {"samples": np.full((1, size), 1e-5, np.float32)})[0]).all()


def test_long_recordings(tmp_path: Path) -> None:
    """Windows of equal length, averaged."""
    wave = np.concatenate([voice(10.0, seed) for seed in range(3)])
    made = encoder(tmp_path, FEATS, NORMS["sliding"], max_frames=200)
    check(
        session(FEATS, NORMS["sliding"], max_frames=200).run(None, {"samples": wave[None]})[0][0],
        made(Sound(wave, RATE, "it")).vector,
    )


def test_a_network_that_finds_speech_stays_outside() -> None:
    """Its decision is an input."""
    wave = voice(1.0)
    whole = session(FEATS, NORMS["none"], VadOptions(method="silero"))
    voiced = np.arange(100) % 3 == 0
    found = whole.run(None, {"samples": wave[None], "voiced": voiced[None]})[0]
    same = session(FEATS, NORMS["none"], VadOptions(vad_energy_threshold=-50, vad_energy_mean_scale=0))
    assert np.isfinite(found).all() and not np.allclose(found, same.run(None, {"samples": wave[None]})[0])
    everything = whole.run(None, {"samples": wave[None], "voiced": np.ones((1, 100), bool)})[0]
    assert np.array_equal(everything, same.run(None, {"samples": wave[None]})[0])
