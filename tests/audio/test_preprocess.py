"""Resampled and band-passed copies of a data directory."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from timbre.audio.audio_files import to_int16
from timbre.audio.effects import Chain, Sources, build_chain
from timbre.audio.preprocess import preprocess_audio
from timbre.audio.reading import read_audio
from timbre.datadir.datadir import DataDir, Segment
from timbre.utils.errors import DataError

NOTHING = Chain(Sources(), [])
BAND = build_chain(["BandPass"], Sources())  # type: ignore[list-item]


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """Two recordings, one of them with a slash in its name, and three segments."""
    path = tmp_path / "data"
    path.mkdir()
    noise = np.random.default_rng(0).standard_normal(16000) * 0.1
    wavs = {}
    for number, recording in enumerate(["dir/rec", "rec"]):
        wavs[recording] = str(path / f"{number}.wav")
        soundfile.write(wavs[recording], noise, 16000, subtype="PCM_16")
    segments = {"s-1": Segment("dir/rec", 0.1, 0.5), "s-2": Segment("rec", 0.0, 0.4), "s-3": Segment("rec", 0.4, -1)}
    made = DataDir(path, wavs, dict.fromkeys(segments, "s"), segments)
    made.write(path)
    (path / "spk2gender").write_text("s f\n")
    (path / "trials").write_text("s-1 s-2 target\ns-1 s-3 nontarget\n")
    return made


def test_a_new_data_directory_with_new_audio(data: DataDir, tmp_path: Path) -> None:
    preprocess_audio(data, tmp_path / "new", BAND, nj=1, rate=8000)
    new = DataDir.read(tmp_path / "new")
    assert (new.segments, new.utt2spk) == (data.segments, data.utt2spk)
    for table in ("spk2gender", "trials"):
        assert (new.path / table).read_text() == (data.path / table).read_text()
    for recording, place in new.wavs.items():
        assert soundfile.info(place).subtype == "PCM_16"
        samples, rate = read_audio(place)
        assert (len(samples), rate) == (8000, 8000)
        original, _ = read_audio(data.wavs[recording])
        spectrum, before = (np.abs(np.fft.rfft(wave)) for wave in (samples, original))
        assert spectrum[:150].mean() < 1e-2 * before[:150].mean() / 2, "1-Hz bins: half the samples, half the height"
        assert spectrum[500:3000].mean() == pytest.approx(before[500:3000].mean() / 2, rel=0.01)


def test_without_options_the_samples_stay(data: DataDir, tmp_path: Path) -> None:
    preprocess_audio(data, tmp_path / "new", NOTHING, nj=1, audio_format="wav")
    for recording, place in DataDir.read(tmp_path / "new").wavs.items():
        np.testing.assert_array_equal(read_audio(place)[0], read_audio(data.wavs[recording])[0])


def test_loud_samples_are_made_softer_not_clipped_or_wrapped() -> None:
    integers, is_loud = to_int16(np.array([2.0, 0.5, -1.0, -2.0], np.float32))
    assert is_loud and integers.tolist() == [32767, 8192, -16384, -32767]
    integers, is_loud = to_int16(np.array([1.0, 0.5, -1.0, 32767.4 / 32768], np.float32))
    assert not is_loud and integers.tolist() == [32767, 16384, -32768, 32767]


def test_what_would_clip_is_counted(data: DataDir, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    soundfile.write(data.wavs["rec"], np.full(16000, 3.0), 16000, subtype="FLOAT")
    preprocess_audio(data, tmp_path / "new", NOTHING, nj=1)
    assert "1 of 2 files were made softer" in caplog.text
    assert read_audio(DataDir.read(tmp_path / "new").wavs["rec"])[0].max() == pytest.approx(1, abs=1e-4)


def test_a_bad_recording_leaves_no_new_directory(data: DataDir, tmp_path: Path) -> None:
    Path(data.wavs["rec"]).write_bytes(b"")
    with pytest.raises(
        DataError, match=r"1 of 2 recordings have no audio, 0 may; the first is 'rec': .*the file is empty"
    ):
        preprocess_audio(data, tmp_path / "new", NOTHING, nj=1)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["audio", "audio.missing"]
    assert not (tmp_path / "new" / "wav.scp").exists()


def test_what_is_made_already_is_kept_and_a_share_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    wavs = {f"r{number:03d}": str(tmp_path / "wav" / f"{number}.wav") for number in range(300)}
    for place in wavs.values():
        soundfile.write(place, np.full(100, 0.1), 16000, subtype="PCM_16")
    DataDir(tmp_path / "data", wavs, {name: name[:2] for name in wavs}).write(tmp_path / "data")
    data = DataDir.read(tmp_path / "data")
    new = tmp_path / "new"
    preprocess_audio(data, new, BAND, nj=1, rate=8000)

    def made() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in new.glob("audio/*/*.flac")}

    first, scp = made(), (new / "wav.scp").read_text()
    preprocess_audio(data, new, BAND, nj=1, rate=8000)
    assert made() == first and (new / "wav.scp").read_text() == scp
    (new / "audio" / "own.wav").write_bytes(b"mine")
    Path(wavs["r100"]).write_bytes(b"")
    with pytest.raises(DataError, match=r"audio.missing: 1 of 300 recordings have no audio"):
        preprocess_audio(data, new, BAND, nj=1, rate=8000)
    assert made().items() >= first.items() and (new / "wav.scp").read_text() == scp
    preprocess_audio(data, new, BAND, nj=1, rate=8000, allow_missing="1%")
    again = DataDir.read(new)
    assert set(again.utt2spk) == set(wavs) - {"r100"} and all(Path(place).exists() for place in again.wavs.values())
    assert 0 < len(first.items() - made().items()) <= 256, "one part was made again, and the old one is gone"
    assert (new / "audio" / "own.wav").read_bytes() == b"mine"
    preprocess_audio(data, new, BAND, nj=1, rate=7000, allow_missing=1)
    assert not made().keys() & first.keys()


def test_options_that_cannot_be(data: DataDir, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 of 2 recordings have no audio.*low is 300 Hz; at 600 Hz"):
        preprocess_audio(data, tmp_path / "new", BAND, nj=1, rate=600)
    with pytest.raises(DataError, match="must not be the old one"):
        preprocess_audio(data, data.path, NOTHING, nj=1)
    with pytest.raises(DataError, match="rate is 0"):
        preprocess_audio(data, tmp_path / "new", NOTHING, nj=1, rate=0)
