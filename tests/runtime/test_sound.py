"""Sound is read from files, streams and arrays, and what is not sound is told in one line."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from timbre.audio.reading import read_audio
from timbre.runtime.sound import Unusable, read_sound, resample
from timbre.utils.errors import DataError

WAVE = (0.3 * np.sin(np.arange(8000) / 7)).astype(np.float32)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_it_is_read_as_the_recipe_reads_it(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, WAVE, 8000)
    sound = read_sound(path)
    expected, rate = read_audio(str(path))
    assert np.array_equal(sound.samples, expected) and sound.rate == rate == 8000 and sound.name == str(path)
    stream = read_sound(io.BytesIO(path.read_bytes()), "stream")
    assert np.array_equal(stream.samples, expected) and stream.name == "stream"


def test_arrays() -> None:
    whole = np.rint(WAVE * 32768).astype(np.int16)
    assert np.array_equal(read_sound((whole, 8000)).samples, whole / np.float32(32768))
    assert read_sound((WAVE.astype(np.float64), 8000)).samples.dtype == np.float32
    assert np.array_equal(read_sound((np.stack([0 * WAVE, WAVE], 1), 8000), channel=1).samples, WAVE)


def test_standard_input(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", WAVE, 8000)
    code = "from timbre.runtime.sound import read_sound; s = read_sound('-'); print(len(s.samples), s.rate, s.name)"
    done = subprocess.run([sys.executable, "-c", code], stdin=(tmp_path / "a.wav").open("rb"), capture_output=True)
    assert done.stdout == b"8000 8000 standard input\n", done.stderr


@pytest.mark.parametrize(
    ("samples", "rate", "told"),
    [
        (np.zeros(0, np.float32), 8000, "no samples in it"),
        (np.zeros((100, 2), np.float32), 8000, "2 channels, mono is wanted"),
        (np.zeros((2, 2, 2), np.float32), 8000, "samples of shape"),
        (np.zeros(100, np.uint8), 8000, "samples of type uint8"),
        (np.array(["a"]), 8000, "samples of type"),
        (WAVE, 10, "a sample rate of 10 Hz"),
        (WAVE, 10**9, "a sample rate of 1000000000 Hz"),
    ],
)
def test_arrays_that_are_no_sound(samples: np.ndarray, rate: int, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_sound((samples, rate), "it")


def test_what_is_not_finite_is_unusable(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.1, np.nan], np.float32), 8000, subtype="FLOAT")
    for source in (tmp_path / "a.wav", (np.array([0.1, np.inf]), 8000), (np.array([0.1, 1e300]), 8000)):
        with pytest.raises(Unusable, match="NaN or infinite") as told:
            read_sound(source)
        assert told.value.status == 3


def test_files_that_are_no_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", WAVE, 8000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-1000])
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "six.wav", np.zeros((100, 6)), 8000)
    for name, told in (
        ("cut.wav", "cut short"), ("empty.wav", "the file is empty"), ("text.wav", "not audio"),
        ("none.wav", "no such"), ("six.wav", "6 channels"), (".", "a folder"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=told) as error:
            read_sound(tmp_path / name)
        assert "\n" not in str(error.value) and str(error.value).startswith(str(tmp_path / name))


def test_resampling_keeps_a_tone() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000).astype(np.float32)
    high = resample(tone, 8000, 16000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert high.dtype == np.float32 and np.abs(high[500:-500] - expected[500:-500]).max() < 1e-3
