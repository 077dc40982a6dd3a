"""The silero VAD: probabilities and stretches of its own package; cuts, copies, other sample rates, bad input."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from timbre.datadir.ark import read_mat
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table, write_table
from timbre.feats.dump_feats import dump_features
from timbre.feats.dump_vad import dump_vad
from timbre.feats.network_vad import speech_frames, vad
from timbre.feats.options import FbankOptions
from timbre.feats.recorded import list_recorded
from timbre.feats.vad import VadOptions
from timbre.runtime import silero
from timbre.runtime.silero import speech_stretches
from timbre.runtime.sound import resample
from timbre.utils.errors import DataError

WAV = Path(__file__).parents[1] / "data" / "kaldi" / "wav" / "utt1.wav"
SILERO = VadOptions(method="silero")


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    """Speech from about 0.5 to 4.1 of its 4.7 s, at 16 kHz."""
    samples: NDArray[np.float32] = soundfile.read(WAV, dtype="float32")[0]
    return samples


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A recording, a noisy copy of it as long, a segment of it, and silence; with features."""
    samples, rate = soundfile.read(WAV, dtype="float32")
    noisy = samples + np.random.default_rng(0).normal(0, 0.3, len(samples)).astype(np.float32)
    for name, wave in {"whole": samples, "noisy": noisy, "silent": np.zeros(rate, np.float32)}.items():
        soundfile.write(tmp_path / f"{name}.wav", wave, rate)
    write_table(tmp_path / "wav.scp", {name: str(tmp_path / f"{name}.wav") for name in ("whole", "noisy", "silent")})
    segments = {"s-all": "whole 0 -1", "s-noisy": "noisy 0 -1", "s-part": "whole 1.0 3.0", "s-silent": "silent 0 -1"}
    write_table(tmp_path / "segments", segments)
    write_table(tmp_path / "utt2spk", dict.fromkeys(segments, "s"))
    write_table(tmp_path / "utt2uniq", {utt: "s-all" if utt == "s-noisy" else utt for utt in segments})
    dump_features(DataDir.read(tmp_path), FbankOptions(), 1)
    return DataDir.read(tmp_path)


def test_probabilities_and_stretches_of_the_package(speech: NDArray[np.float32]) -> None:
    torch = pytest.importorskip("torch")
    package = pytest.importorskip("silero_vad")
    model = package.load_silero_vad(onnx=True)  # window by window
    random = np.random.default_rng(1)
    pause = np.zeros(6_000, np.float32)
    for wave in (speech, np.concatenate([speech[:40_000], pause, speech[30_000:], pause, speech[:50_001]])):
        heard = wave + random.normal(0, 1e-4, len(wave)).astype(np.float32)
        theirs = model.audio_forward(torch.from_numpy(heard), 16000).numpy().reshape(-1)
        np.testing.assert_allclose(vad().probabilities(heard), theirs, atol=2e-5)
        wanted = package.get_speech_timestamps(torch.from_numpy(heard), model, sampling_rate=16000)
        found = speech_stretches(theirs, len(heard), SILERO.stretches)
        assert len(wanted) >= 1
        np.testing.assert_allclose(found, [(one["start"], one["end"]) for one in wanted], atol=1)


@pytest.mark.parametrize("options", [{}, {"min_silence": 0.0, "speech_pad": 0.2}, {"min_speech": 0.4}])
def test_stretches_of_drawn_probabilities(options: dict[str, float]) -> None:
    package = pytest.importorskip("silero_vad.utils_vad")
    settings = VadOptions(method="silero", **options)  # type: ignore[arg-type]
    random, compared = np.random.default_rng(2), 0
    for length in range(1, 60):
        values = np.repeat(random.uniform(size=length), random.integers(1, 9, length)).astype(np.float32)
        samples = 512 * len(values) - int(random.integers(512))
        wanted = package.get_speech_timestamps_from_probs(
            values.tolist(),
            sampling_rate=16000,
            threshold=settings.speech_threshold,
            neg_threshold=settings.silence_threshold,
            min_speech_duration_ms=1000 * settings.min_speech,
            min_silence_duration_ms=1000 * settings.min_silence,
            speech_pad_ms=1000 * settings.speech_pad,
            audio_length_samples=samples,
        )
        found = speech_stretches(values, samples, settings.stretches)
        compared += len(wanted)
        np.testing.assert_allclose(
            np.reshape(found, (-1, 2)), [(one["start"], one["end"]) for one in wanted] or np.empty((0, 2)), atol=1
        )
    assert compared > 50


def test_frames_lie_where_speech_is(speech: NDArray[np.float32]) -> None:
    for options in (FbankOptions(), FbankOptions(snip_edges=False), FbankOptions(sample_frequency=8000)):
        wave = speech if options.sample_frequency == 16000 else resample(speech, 16000, 8000)
        voiced = speech_frames(wave, options.num_frames(len(wave)), SILERO, options)
        edges = np.flatnonzero(np.diff(voiced.astype(int)))
        assert len(edges) == 2
        np.testing.assert_allclose(edges / 100, [0.48, 4.03], atol=0.04)


def test_a_long_recording_is_heard_in_blocks(speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vad().probabilities(speech)
    monkeypatch.setattr(silero, "_BLOCK", 10)
    np.testing.assert_allclose(vad().probabilities(speech), whole, atol=1e-6)
    assert vad().probabilities(speech[:0]).shape == (0,)
    assert not speech_frames(speech[:0], 0, SILERO, FbankOptions()).size


def test_data_directory(data: DataDir, caplog: pytest.LogCaptureFixture) -> None:
    dump_vad(data, SILERO, 1)
    places = read_table(data.path / "vad.scp")
    voiced = {utt: read_mat(place, utt) for utt, place in places.items()}
    frames = read_table(data.path / "utt2num_frames")
    assert {utt: str(len(values)) for utt, values in voiced.items()} == frames
    assert 0.7 < voiced["s-all"].mean() < 0.85
    np.testing.assert_array_equal(voiced["s-noisy"], voiced["s-all"], err_msg="a copy is decided by its original")
    assert voiced["s-silent"].all()
    assert "no frame of 's-silent' is voiced" in caplog.text
    own = {one.name: one for one in list_recorded(data)}["s-part"]
    np.testing.assert_array_equal(voiced["s-part"], own.decide(SILERO))


def test_a_cut_is_heard_as_a_recording_of_so_much(data: DataDir, speech: NDArray[np.float32], tmp_path: Path) -> None:
    one = {one.name: one for one in list_recorded(data)}["s-all"]
    rows = np.arange(20, 118)  # 1 s
    cut = speech[20 * 160 : 20 * 160 + 97 * 160 + 400]
    wanted = speech_frames(cut, 98, SILERO, FbankOptions())
    assert 0 < wanted.sum() < 98
    np.testing.assert_array_equal(one.decide(SILERO, rows, one.frames.num_frames(len(speech))), wanted)
    with pytest.raises(DataError, match="468 frames of audio, but 5 of features"):
        one.decide(SILERO, rows, 5)


def test_bad_input(data: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="silence_threshold between 0 and it"):
        VadOptions(method="silero", speech_threshold=0.3)
    with pytest.raises(DataError, match=r"min_speech is nan s"):
        VadOptions(method="silero", min_speech=float("nan"))
    monkeypatch.setattr(silero, "_PACKAGE_FILE", "data/none.onnx")
    vad.cache_clear()
    with pytest.raises(DataError, match="needs the package silero-vad"):
        vad().probabilities(np.zeros(512, np.float32))
    (data.path / "wav.scp").unlink()
    (data.path / "segments").unlink()
    with pytest.raises(DataError, match=r"this VAD needs audio, but there is no wav\.scp"):
        dump_vad(DataDir.read(data.path, need_speakers=False), SILERO, 1)
