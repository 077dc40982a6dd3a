"""Audio in: formats, segments, pipes, and every way in which a file can be bad."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from timbre.audio.reading import AudioReader, read_audio
from timbre.datadir.datadir import Segment
from timbre.utils.errors import DataError

RATE = 16000
EXACT = {"wav": "WAV", "flac": "FLAC", "sph": "NIST", "aiff": "AIFF", "w64": "W64"}
LOSSY = {"ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III")}
ALL = [*EXACT, *LOSSY]


@pytest.fixture(scope="module")
def wave() -> NDArray[np.int16]:
    """Two seconds of noise that comes and goes."""
    noise = np.random.default_rng(0).standard_normal(2 * RATE)
    return (noise * 3000 * np.sin(np.arange(2 * RATE) / 3000) ** 2).astype(np.int16)


@pytest.fixture(scope="module")
def files(wave: NDArray[np.int16], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same audio in every format."""
    folder = tmp_path_factory.mktemp("audio")
    for name, kind in EXACT.items():
        soundfile.write(folder / f"a.{name}", wave, RATE, format=kind, subtype="PCM_16")
    for name, (kind, subtype) in LOSSY.items():
        soundfile.write(folder / f"a.{name}", wave, RATE, format=kind, subtype=subtype)
    return {name: folder / f"a.{name}" for name in ALL}


@pytest.mark.parametrize("name", EXACT)
def test_lossless_formats_give_the_samples_that_went_in(
    name: str, files: dict[str, Path], wave: NDArray[np.int16]
) -> None:
    samples, rate = read_audio(str(files[name]))
    assert rate == RATE
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples * 32768, wave)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_formats_give_as_many_samples_that_sound_alike(
    name: str, files: dict[str, Path], wave: NDArray[np.int16]
) -> None:
    samples, rate = read_audio(str(files[name]))
    assert rate == RATE
    assert len(samples) == len(wave)
    loudness = [np.square(signal.reshape(20, -1).astype(float)).mean(1) for signal in (samples * 32768, wave)]
    assert np.corrcoef(*loudness)[0, 1] > 0.95


@pytest.mark.parametrize("name", ALL)
def test_a_segment_is_a_slice_of_the_whole(name: str, files: dict[str, Path]) -> None:
    whole, _ = read_audio(str(files[name]))
    for start, end in ((0.0, 0.5), (0.3, 1.1), (1.5, -1.0)):
        samples, _ = read_audio(str(files[name]), Segment("a", start, end))
        last = len(whole) if end == -1 else int(end * RATE)
        np.testing.assert_array_equal(samples, whole[int(start * RATE) : last])


@pytest.mark.parametrize("name", ALL)
def test_a_pipe_gives_what_the_file_gives(name: str, files: dict[str, Path]) -> None:
    expected, _ = read_audio(str(files[name]))
    samples, rate = read_audio(f"cat {files[name]} |")
    assert rate == RATE
    np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("pipe", [False, True])
def test_a_file_cut_short_is_refused(name: str, pipe: bool, files: dict[str, Path], tmp_path: Path) -> None:
    data = files[name].read_bytes()
    cut = tmp_path / f"cut.{name}"
    cut.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(DataError, match=r"cut short|damaged") as error:
        read_audio(f"cat {cut} |" if pipe else str(cut))
    assert str(cut) in str(error.value)


def test_a_recording_is_decoded_once_for_all_its_segments(tmp_path: Path, files: dict[str, Path]) -> None:
    count = tmp_path / "count"
    command = f"echo x >> {count}; cat {files['wav']} |"
    reader = AudioReader()
    for start in range(3):
        samples, _ = reader.read(command, Segment("a", 0.5 * start, 0.5 * start + 0.5))
        assert len(samples) == RATE // 2
    assert count.read_text() == "x\n"


def test_segments_are_cut_where_kaldi_cuts_them(kaldi_full: Path) -> None:
    names = dict(line.split() for line in (kaldi_full / "lists" / "wav_all.scp").read_text().splitlines())
    durations = dict(line.split() for line in (kaldi_full / "misc" / "segments_utt2dur").read_text().splitlines())
    for line in (kaldi_full / "lists" / "segments").read_text().splitlines():
        utt, recording, start, end = line.split()
        samples, rate = read_audio(str(kaldi_full / names[recording]), Segment(recording, float(start), float(end)))
        assert f"{len(samples) / rate:g}" == durations[utt], utt


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFF000])
def test_the_header_of_a_program_that_did_not_know_the_length(
    size: int, files: dict[str, Path], tmp_path: Path
) -> None:
    data = files["wav"].read_bytes()
    stream = data[:4] + struct.pack("<I", size) + data[8:40] + struct.pack("<I", size) + data[44:]
    (tmp_path / "stream.wav").write_bytes(stream)
    samples, _ = read_audio(f"cat {tmp_path / 'stream.wav'} |")
    np.testing.assert_array_equal(samples, read_audio(str(files["wav"]))[0])


def test_resampling_keeps_a_tone_and_removes_what_does_not_fit(tmp_path: Path) -> None:
    time = np.arange(RATE) / RATE
    for frequency, left in ((1000, 1.0), (3500, 1.0), (5000, 0.0)):
        soundfile.write(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * frequency * time), RATE, subtype="FLOAT")
        samples, rate = read_audio(str(tmp_path / "tone.wav"), rate=8000)
        assert (len(samples), rate) == (8000, 8000)
        assert samples[500:-500].std() * np.sqrt(2) / 0.5 == pytest.approx(left, abs=0.01), frequency


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW", "PCM_16"])
def test_sphere_of_every_coding(subtype: str, wave: NDArray[np.int16], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.sph", wave, 8000, format="NIST", subtype=subtype)
    samples, rate = read_audio(str(tmp_path / "a.sph"))
    assert rate == 8000
    np.testing.assert_allclose(samples * 32768, wave, rtol=0.07, atol=20)


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8"])
def test_wav_of_every_width(subtype: str, wave: NDArray[np.int16], tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", wave / 32768, RATE, subtype=subtype)
    np.testing.assert_allclose(read_audio(str(tmp_path / "a.wav"))[0], wave / 32768, atol=0.01)


def test_bad_files_are_told_apart(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan]), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "infinite.wav", np.array([0.1, np.inf]), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "stereo.wav", np.zeros((10, 2)), RATE)
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("these are words\n" * 100)
    head = (
        "NIST_1A\n   1024\nsample_count -i 3200\nsample_rate -i 16000\nsample_coding -s26 pcm,embedded-shorten-v2.00\n"
    )
    (tmp_path / "shorten.sph").write_bytes(f"{head}end_head\n".ljust(1024).encode() + b"ajkg" + bytes(range(256)))
    reasons = {
        "absent.wav": "no such file",
        "none.wav": "no samples",
        "nan.wav": "NaN or infinite",
        "infinite.wav": "NaN or infinite",
        "stereo.wav": "2 channels, mono is wanted; mix them: sox FILE MONO.wav remix -",
        "empty.wav": "the file is empty",
        "text.wav": "not audio",
        "shorten.sph": "sph2pipe",
    }
    for name, reason in reasons.items():
        with pytest.raises(DataError, match=reason) as error:
            read_audio(str(tmp_path / name))
        assert str(error.value).startswith(f"{tmp_path / name}: ")
        assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="a folder"):
        read_audio(str(tmp_path))


def test_channels(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "stereo.wav", np.array([[1, 2], [3, 4]], np.int16), RATE)
    for channel in (0, 1):
        samples, _ = read_audio(str(tmp_path / "stereo.wav"), channel=channel)
        assert (samples * 32768).tolist() == [1 + channel, 3 + channel]
    with pytest.raises(DataError, match="channel 2 is wanted, but there are 2"):
        read_audio(str(tmp_path / "stereo.wav"), channel=2)


def test_segments_outside_the_recording(files: dict[str, Path]) -> None:
    path = str(files["wav"])
    assert len(read_audio(path, Segment("a", 1.0, 2.4))[0]) == RATE, "half a second too much is cut off, as in Kaldi"
    for start, end in ((1.0, 2.5), (2.0, 2.4), (3.0, -1.0)):
        with pytest.raises(DataError, match="is not in the recording, which has 2 s"):
            read_audio(path, Segment("a", start, end))


def test_commands_that_fail(files: dict[str, Path]) -> None:
    reasons = {
        "echo no such tape >&2; exit 3 |": "exit status 3: no such tape",
        "no-such-program a.wav |": "exit status 127: .*not found",
        f"cat {files['wav']}; false |": "exit status 1",
        "true |": "has written nothing",
        "echo these are words |": "not audio",
    }
    for command, reason in reasons.items():
        with pytest.raises(DataError, match=reason) as error:
            read_audio(command)
        assert "\n" not in str(error.value)


def test_opus_comes_at_the_rate_it_was_made_at(corpora: Path) -> None:
    for name in ("eval_so762", "eval_sc2", "eval_arabic", "train"):
        place = (corpora / "data" / name / "wav.scp").read_text().split()[1]
        samples, rate = read_audio(str(corpora / place))
        assert rate == RATE
        assert 0.2 * RATE < len(samples) < 40 * RATE
