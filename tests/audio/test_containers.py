"""Audio that libsndfile does not know: m4a and its kin, whole, as segments, through pipes, and broken."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from timbre.audio.reading import AudioReader, read_audio
from timbre.datadir.datadir import Segment
from timbre.utils.errors import DataError

RATE = 16000
FORMATS = {"m4a": ("ipod", "aac"), "mp4": ("mp4", "aac"), "webm": ("webm", "libopus"), "aac": ("adts", "aac")}


def encode(path: Path, wave: NDArray[np.float32], container: str, codec: str, **options: str) -> Path:
    """Writes WAVE (num_channels, num_samples) at RATE to PATH."""
    layout = "mono" if len(wave) == 1 else "stereo"
    with av.open(str(path), "w", format=container, options=options) as media:
        stream = media.add_stream(codec, rate=RATE, layout=layout)
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout=layout)
        frame.sample_rate = RATE
        frame.pts = 0
        for part in (frame, None):
            for packet in stream.encode(part):
                media.mux(packet)
    return path


@pytest.fixture(scope="module")
def wave() -> NDArray[np.float32]:
    """Two seconds of noise that comes and goes."""
    noise = np.random.default_rng(0).standard_normal(2 * RATE)
    return (noise * 0.1 * np.sin(np.arange(2 * RATE) / 3000) ** 2).astype(np.float32)[None]


@pytest.fixture(scope="module")
def files(wave: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("containers")
    return {name: encode(folder / f"a {name}.{name}", wave, *how) for name, how in FORMATS.items()}


@pytest.mark.parametrize("name", ["m4a", "mp4"])
def test_m4a_gives_the_wave_that_went_in(name: str, files: dict[str, Path], wave: NDArray[np.float32]) -> None:
    samples, rate = read_audio(str(files[name]))
    assert (rate, samples.dtype, samples.ndim) == (RATE, np.float32, 1)
    assert 2 * RATE <= len(samples) < 2 * RATE + 2048  # the last frame is padded
    correlation = np.correlate(samples[: 2 * RATE + 1024], wave[0], "valid")
    assert correlation.argmax() == 0  # the encoder's delay is taken off
    assert correlation[0] > 0.9 * np.square(wave).sum()


@pytest.mark.parametrize("name", FORMATS)
def test_every_container_is_read_whole_in_segments_and_through_a_pipe(name: str, files: dict[str, Path]) -> None:
    whole, rate = read_audio(str(files[name]))
    assert 1.9 * rate < len(whole) < 2.2 * rate
    np.testing.assert_array_equal(read_audio(f"cat '{files[name]}' |")[0], whole)
    reader = AudioReader()
    for start, end in ((0.0, 0.5), (0.3, 1.1), (1.5, -1.0)):
        samples, _ = reader.read(str(files[name]), Segment("a", start, end))
        np.testing.assert_array_equal(samples, whole[int(start * rate) : None if end == -1 else int(end * rate)])
    with pytest.raises(DataError, match="is not in the recording"):
        reader.read(str(files[name]), Segment("a", 5.0, 6.0))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("options", [{}, {"movflags": "+faststart"}])
def test_a_file_cut_short_is_refused(
    share: float, options: dict[str, str], wave: NDArray[np.float32], tmp_path: Path
) -> None:
    data = encode(tmp_path / "a.m4a", wave, "ipod", "aac", **options).read_bytes()
    (tmp_path / "cut.m4a").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"cut\.m4a: cut short"):
        read_audio(str(tmp_path / "cut.m4a"))


def test_channels_are_chosen_as_for_other_formats(tmp_path: Path, wave: NDArray[np.float32]) -> None:
    path = str(encode(tmp_path / "a.m4a", np.concatenate([wave, 0 * wave]), "ipod", "aac"))
    with pytest.raises(DataError, match="2 channels, mono is wanted"):
        read_audio(path)
    loud, quiet = (np.abs(read_audio(path, channel=channel)[0]).max() for channel in range(2))
    assert loud > 0.1 > 0.01 > quiet
    with pytest.raises(DataError, match="channel 2 is wanted"):
        read_audio(path, channel=2)


def test_a_video_without_sound_and_a_damaged_file_are_refused(tmp_path: Path, files: dict[str, Path]) -> None:
    with av.open(str(tmp_path / "silent.mp4"), "w") as media:
        stream = media.add_stream("mpeg4", rate=25, width=32, height=32, pix_fmt="yuv420p")
        for packet in [*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode(None)]:
            media.mux(packet)
    with pytest.raises(DataError, match="no audio stream"):
        read_audio(str(tmp_path / "silent.mp4"))
    data = bytearray(files["m4a"].read_bytes())
    data[40 : len(data) // 2] = bytes(len(data) // 2 - 40)
    (tmp_path / "bad.m4a").write_bytes(data)
    with pytest.raises(DataError, match=r"bad\.m4a: cut short or damaged"):
        read_audio(str(tmp_path / "bad.m4a"))


def test_a_list_of_other_files_is_not_followed(tmp_path: Path, files: dict[str, Path]) -> None:
    (tmp_path / "list.m4a").write_text(f"ffconcat version 1.0\nfile '{files['m4a']}'\n")
    (tmp_path / "list.aac").write_text(f"#EXTM3U\n#EXTINF:2,\n{files['m4a']}\n")
    for name in ("list.m4a", "list.aac"):
        with pytest.raises(DataError, match="not audio that libsndfile reads"):
            read_audio(str(tmp_path / name))
