"""What libsndfile does not read, on the command line and on the page: m4a, WebM, AMR, ALAC, and what pretends to be."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import numpy as np
import pytest

from tests.runtime.hum_voice import serving
from tests.runtime.made_people import hum
from timbre.audio.reading import read_audio
from timbre.runtime import sound
from timbre.runtime.containers import TooLong, container_of, decode
from timbre.runtime.sound import read_sound
from timbre.serve.limits import Limits
from timbre.utils.errors import DataError

FORMATS = {  # suffix: container, codec, rate
    "m4a": ("ipod", "aac", 16000), "webm": ("webm", "libopus", 48000), "amr": ("amr", "libopencore_amrnb", 8000),
    "3gp": ("3gp", "libopencore_amrnb", 8000), "caf": ("caf", "alac", 16000), "aac": ("adts", "aac", 16000),
    "wma": ("asf", "libmp3lame", 16000),
}  # fmt: skip


def encoded(suffix: str, wave: np.ndarray, rate: int = 16000) -> bytes:
    """WAVE (num_channels, num_samples) at RATE."""
    container, codec, wanted = FORMATS[suffix]
    layout, file = "mono" if len(wave) == 1 else "stereo", io.BytesIO()
    with av.open(file, "w", format=container) as media:
        stream = media.add_stream(codec, rate=wanted, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave, np.float32), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(stream.codec_context.format, layout, wanted)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            for packet in stream.encode(part):
                media.mux(packet)
    return file.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {suffix: encoded(suffix, hum(0, 3, 1)[None]) for suffix in FORMATS}


@pytest.mark.parametrize("suffix", FORMATS)
def test_they_are_read_as_the_recipe_reads_them(suffix: str, files: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(files[suffix])
    expected, rate = read_audio(str(path))
    for found in (read_sound(path), read_sound(io.BytesIO(files[suffix]), "stream")):
        assert np.array_equal(found.samples, expected) and found.rate == rate == FORMATS[suffix][2]
    assert 2.9 * rate < len(expected) < 3.2 * rate and 0.01 < np.abs(expected).max() <= 1.1


def test_without_av_it_is_one_line(files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(files["m4a"])
    block = "import sys; sys.modules['av'] = None; sys.argv[0] = 'timbre'; "
    code = f"{block} from timbre.runtime.sound import read_sound; read_sound(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.m4a")], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].endswith("a.m4a: this format is read with PyAV: pip install 'timbre[formats]'")


def test_what_is_too_long_or_has_channels(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TooLong, match=r"a: more than 1\.5 s long"):
        decode(io.BytesIO(files["m4a"]), "mov", "a", 1.5)
    silence = encoded("m4a", np.zeros((1, 300 * 16000), np.float32))
    assert len(silence) < 60_000, "a small file may be long"
    monkeypatch.setattr(sound, "_LONGEST", 200.0)
    with pytest.raises(DataError, match="more than 200 s long"):
        read_sound(io.BytesIO(silence), "a")
    stereo = np.stack([hum(0, 1, 1), 0 * hum(0, 1, 1)])
    with pytest.raises(DataError, match="2 channels, mono is wanted"):
        read_sound(io.BytesIO(encoded("m4a", stereo)), "a")
    assert np.abs(read_sound(io.BytesIO(encoded("m4a", stereo)), "a", channel=1).samples).max() < 0.01


@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_files_are_one_line(suffix: str, files: dict[str, bytes]) -> None:
    random = np.random.default_rng(0)
    refused = 0
    for number in range(60):
        data = bytearray(files[suffix])
        for place in random.integers(0, min(len(data), 2000 if number % 2 else len(data)), 1 + number % 9):
            data[place] = random.integers(256)
        if number % 3 == 0:
            data = data[: random.integers(len(data))]
        try:
            found = read_sound(io.BytesIO(bytes(data)), "it")
            assert np.isfinite(found.samples).all()
        except DataError as error:
            refused += 1
            assert str(error).startswith("it: ") and "\n" not in str(error) and len(str(error)) < 200
    assert refused


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    limits = Limits(seconds=60, long_seconds=120, decode_time=10)
    with serving(limits) as address, httpx.Client(base_url=address, timeout=60) as found:
        yield found


def verify(client: httpx.Client, suffix: str, first: bytes, second: bytes) -> httpx.Response:
    sent = {"enroll": (f"a.{suffix}", first), "test": (f"b.{suffix}", second)}
    return client.post("/api/verify", files=sent)


@pytest.mark.parametrize("suffix", ["m4a", "webm"])
def test_the_page_takes_them(client: httpx.Client, suffix: str, files: dict[str, bytes]) -> None:
    same, other = (encoded(suffix, hum(person, 3, 7)[None]) for person in (0, 1))
    assert verify(client, suffix, files[suffix], same).json()["same"] is True
    assert verify(client, suffix, files[suffix], other).json()["same"] is False


def test_the_page_refuses_in_one_line(client: httpx.Client, files: dict[str, bytes]) -> None:
    stereo = np.stack([hum(0, 3, 1), hum(0, 3, 2)])
    for data, told in (
        (encoded("m4a", np.zeros((1, 61 * 16000))), "more than 60 s long, which is the most that is taken"),
        (encoded("webm", stereo), "it has 2 channels; one is wanted"),
        (files["m4a"][:1000], "cut short or damaged"),
        (files["webm"][:8000], "cut short: "),
    ):
        reply = verify(client, "webm", files["webm"], data)
        assert reply.status_code == 422, reply.text
        assert told in reply.json()["error"] and reply.json()["error"].startswith("b.webm: ")


def test_containers_by_their_first_bytes(files: dict[str, bytes]) -> None:
    wanted = {"m4a": "mov", "3gp": "mov", "webm": "matroska", "amr": "amr", "caf": "caf", "aac": "aac", "wma": "asf"}
    assert {suffix: container_of(data[:1024]) for suffix, data in files.items()} == wanted
    assert [container_of(head) for head in (b"", b"RIFF", b"#EXTM3U", b"ffconcat", b"<svg", b"\xff")] == [None] * 6
