"""The encoder does before its network what the recipe does, for all kinds of features and lengths."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.runtime.tiny_pack import DIM, FEATS, KINDS, RATE, mean_network, tiny_members, voice, write_tiny
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import FrameOptions
from timbre.feats.vad import VadOptions, energy_vad
from timbre.runtime.encoder import Encoder
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.runtime.pack_file import PackError, PackFile
from timbre.runtime.sound import Sound, Unusable, read_sound
from timbre.utils.errors import DataError


def expected(wave: np.ndarray, options: FrameOptions, norm: NormalizeOptions) -> tuple[np.ndarray, np.ndarray]:
    """The embedding that the recipe's parts give, and the VAD decision."""
    feats, energies = FeatureExtractor(options).with_energy([wave])
    energy = feats[0][:, 0] if options.energy_first else energies[0]
    voiced = energy_vad(energy.numpy(), VadOptions())
    rows = normalize(feats[0].numpy(), voiced, norm)
    if len(rows) < 5:
        rows = np.resize(rows, (5, rows.shape[1]))
    weights = mean_network(options.dim).graph.initializer
    matrix = next(np.frombuffer(one.raw_data, np.float32) for one in weights if len(one.dims) == 2)
    return np.square(rows.astype(np.float64)).mean(0) @ matrix.reshape(options.dim, DIM), voiced


def encoder(tmp_path: Path, *arguments: object, **named: object) -> Encoder:
    return Encoder(PackFile.open(write_tiny(tmp_path / "tiny.timbre", *tiny_members(*arguments, **named))))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_those_of_the_recipe(kind: str, tmp_path: Path) -> None:
    options = KINDS[kind]
    norm = NormalizeOptions(window=50)
    made = encoder(tmp_path, options, norm)
    for seconds in (0.06, 0.3, 1.0, 5.0):
        wave = voice(seconds)
        vector, voiced = expected(wave, options, norm)
        found = made(Sound(wave, RATE, "it"), 0.0)
        scale = np.linalg.norm(vector)
        assert np.linalg.norm(found.vector - vector) <= 1e-4 * scale, seconds
        assert found.speech == pytest.approx(np.count_nonzero(voiced) * options.frame_shift / 1000)


@pytest.mark.parametrize(
    "norm",
    [
        NormalizeOptions(cmn="utterance", norm_vars=True),
        NormalizeOptions(window=31, norm_vars=True, voiced_first=True),
        NormalizeOptions(cmn="utterance", voiced_first=True),
        NormalizeOptions(vad=False, window=31),
        NormalizeOptions(cmn="none"),
    ],
)
def test_all_ways_to_normalise(norm: NormalizeOptions, tmp_path: Path) -> None:
    wave = voice(3.0)
    vector, _ = expected(wave, FEATS, norm)
    found = encoder(tmp_path, FEATS, norm)(Sound(wave, RATE, "it"))
    assert np.linalg.norm(found.vector - vector) <= 1e-4 * np.linalg.norm(vector)


def test_long_recordings_are_averaged_over_windows(tmp_path: Path) -> None:
    """As ExtractOptions.max_frames of the recipe: here 200 frames, so that windows and blocks are many."""
    norm = NormalizeOptions(window=50)
    made = encoder(tmp_path, FEATS, norm, max_frames=200)
    wave = np.concatenate([voice(10.0, seed) for seed in range(4)])
    feats, energies = FeatureExtractor(FEATS).with_energy([wave])
    rows = normalize(feats[0].numpy(), energy_vad(energies[0].numpy(), VadOptions()), norm)
    parts = np.array_split(rows, -(-len(rows) // 200))
    weights = mean_network(20).graph.initializer
    matrix = next(np.frombuffer(one.raw_data, np.float32) for one in weights if len(one.dims) == 2).reshape(20, DIM)
    vector = sum(len(part) * (np.square(part.astype(np.float64)).mean(0) @ matrix) for part in parts) / len(rows)
    found = made(Sound(wave, RATE, "it"))
    assert len(parts) > 10 and np.linalg.norm(found.vector - vector) <= 1e-4 * np.linalg.norm(vector)


def test_windows_are_as_if_they_were_alone(tmp_path: Path) -> None:
    norm = NormalizeOptions(vad=False, cmn="utterance")
    made = encoder(tmp_path, FEATS, norm)
    wave = voice(4.0)
    spans = [(0, 8000), (4000, 12000), (100, 900), (24000, 32000)]
    found = made.windows(wave, spans)
    for row, (start, end) in zip(found, spans, strict=True):
        vector, _ = expected(wave[start:end], FEATS, norm)
        assert np.linalg.norm(row - vector) <= 1e-4 * np.linalg.norm(vector)
    for span, told in (((0, 40000), "samples 0 to 40000 of 32000"), ((10, 20), "less than one frame")):
        with pytest.raises(DataError, match=told):
            made.windows(wave, [span])


@pytest.mark.parametrize("kind", ["fbank", "librosa"])
def test_frames_of_speech_are_10_ms(kind: str, tmp_path: Path) -> None:
    made = encoder(tmp_path, KINDS[kind])
    wave = np.concatenate([0.001 * voice(1.0), voice(0.8), 0.001 * voice(1.0)])
    voiced = made.voiced(wave)
    assert len(voiced) == 280 and not voiced[:90].any() and not voiced[195:].any() and voiced[105:140].mean() > 0.9
    assert len(made.voiced(wave[:50])) == 0


def test_other_rates_are_resampled_as_the_recipe_does(tmp_path: Path) -> None:
    from timbre.runtime.kaldi_resampling import kaldi_resample
    from timbre.runtime.sound import resample

    wave = voice(2.0)
    high = resample(wave, RATE, 22050)
    assert np.array_equal(encoder(tmp_path).at_rate(Sound(high, 22050, "it")), resample(high, 22050, RATE))
    by_kaldi = encoder(tmp_path, replace(FEATS, allow_downsample=True))
    assert np.array_equal(by_kaldi.at_rate(Sound(high, 22050, "it")), kaldi_resample(high, 22050, RATE))


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    made = encoder(tmp_path)
    wave = voice(2.0)
    for samples, told in (
        (np.zeros(8000, np.float32), "all of its samples are the same"),
        (np.where(np.arange(8000) % 9 < 4, 1, wave[:8000]).astype(np.float32), "of the samples are clipped"),
        (wave[:30], "less than one frame"),
        (wave[:1500], "only .* s of speech is found in it, and 0.2 s are needed"),
    ):
        with pytest.raises(Unusable, match=told):
            made(Sound(samples, RATE, "it"))
    assert made(Sound(wave[:1500], RATE, "it"), 0.05).speech < 0.2
    loud = np.where(np.arange(len(wave)) % 2000 < 40, 1, wave).astype(np.float32)
    assert "% of the samples are clipped" in " ".join(made(Sound(loud, RATE, "it")).warnings)


def test_names_reach_messages(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(8000), RATE)
    with pytest.raises(Unusable, match=r"quiet\.wav: all of its samples"):
        encoder(tmp_path)(read_sound(tmp_path / "quiet.wav"))


def test_packs_that_do_not_fit_together(tmp_path: Path) -> None:
    settings, members = tiny_members()
    with pytest.raises(PackError, match="no variant 'int4', only fp32"):
        Encoder(PackFile.open(write_tiny(tmp_path / "a.timbre", settings, members)), variant="int4")
    for change in (
        {"framing": {}},
        {"framing": {**settings["front"]["framing"], "shift": 0}},
        {"vad": None},
        {"max_frames": 0},
    ):
        front = {**settings["front"], **change}
        path = write_tiny(tmp_path / "b.timbre", {**settings, "front": front}, members)
        with pytest.raises(PackError, match="does not fit together") as told:
            Encoder(PackFile.open(path))
        assert "\n" not in str(told.value)
    path = write_tiny(tmp_path / "c.timbre", settings, {**members, "front.onnx": b"\x08\x0a"})
    with pytest.raises(PackError, match=r"does not fit together.*cannot be run"):
        Encoder(PackFile.open(path))
    path = write_tiny(tmp_path / "d.timbre", settings, {**members, "front.onnx": members["model_feats.onnx"]})
    with pytest.raises(PackError, match="a graph from feats to embedding"):
        Encoder(PackFile.open(path))
    with pytest.raises(PackError, match="have not 13 dimensions"):
        Encoder(PackFile.open(write_tiny(tmp_path / "e.timbre", {**settings, "dim": 13}, members)))
