"""Recordings decoded once: the same samples as without, shared by processes, within a limit."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from timbre.audio.effects import Sources, generator
from timbre.audio.effects.decoded import Decoded
from timbre.audio.effects.sources import Pool
from timbre.datadir.datadir import DataDir, Segment
from waves import RATE, noise


def recordings(folder: Path, suffix: str, **options: str) -> DataDir:
    """Six of two seconds, each of them two segments."""
    folder.mkdir()
    wavs = {f"r{number}": str(folder / f"{number}.{suffix}") for number in range(6)}
    for number, place in enumerate(wavs.values()):
        soundfile.write(place, noise(2, number), RATE, **options)
    segments = {f"s{name}-{part}": Segment(name, part, part + 1) for name in wavs for part in (0, 1)}
    data = DataDir(folder, wavs, {utt: utt.split("-")[0] for utt in segments}, segments)
    data.write(folder)
    return data


def pieces(pool: Pool, rate: int = RATE) -> list[np.ndarray]:
    rng = generator(0, 0, "pieces")
    drawn = [pool.piece(rng, number, rate) for number in (100, 5000, 40000) for _ in range(8)]
    return drawn + pool.voices(rng, 4, 3000, rate, "sr1")


@pytest.mark.parametrize("suffix", ["flac", "wav"])
@pytest.mark.parametrize("limit", [1 << 30, 150_000, 0])
@pytest.mark.parametrize("rate", [RATE, 8000])
def test_what_is_kept_is_what_is_read(suffix: str, limit: int, rate: int, tmp_path: Path) -> None:
    """Of 16 bits to the bit, wherever it comes from: the file, the first decoding, or what was kept of it."""
    data = recordings(tmp_path / "data", suffix, subtype="PCM_16")
    kept = Sources({"noise": [data.path]}, decoded := Decoded(limit)).pool("noise")
    plain = Pool([data.path])
    for _ in range(2):
        for one, other in zip(pieces(kept, rate), pieces(plain, rate), strict=True):
            np.testing.assert_array_equal(one, other)
    found = [place for place in data.wavs.values() if decoded.find(place)]
    assert len(found) == (0 if suffix == "wav" else {1 << 30: 6, 150_000: 2, 0: 0}[limit])


@pytest.mark.parametrize("limit", [150_000, 0])
def test_lossy_audio_is_the_same_whether_there_was_room_or_not(limit: int, tmp_path: Path) -> None:
    """Decoders that begin in the middle give other samples than those that come from the beginning."""
    data = recordings(tmp_path / "data", "ogg", subtype="OPUS")
    for one, other in zip(pieces(Pool([data.path], Decoded(limit))), pieces(Pool([data.path], Decoded())), strict=True):
        np.testing.assert_array_equal(one, other)


def test_long_recordings_are_read_by_seeking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = recordings(tmp_path / "data", "flac", subtype="PCM_16")
    monkeypatch.setattr("timbre.audio.effects.sources._LONGEST_KEPT", 1)
    decoded = Decoded()
    pieces(Pool([data.path], decoded))
    assert not any(decoded.find(place) for place in data.wavs.values())


def _look(decoded: Decoded, place: str) -> tuple[object, int]:
    found = decoded.find(place)
    decoded.keep(f"{place} of another", np.arange(7, dtype=np.int16), 8000)
    return found and decoded.piece(found[0], found[1]).tolist(), decoded.find("a b")[2]  # type: ignore[index]


def test_processes_share_what_each_keeps() -> None:
    decoded = Decoded()
    decoded.keep("a b", np.arange(5, dtype=np.int16), 16000)
    decoded.keep("a b", np.arange(9, dtype=np.int16), 16000)
    with ProcessPoolExecutor(2) as pool:
        answers = list(pool.map(_look, [decoded] * 4, ["a b"] * 4))
    assert answers == [([0, 1, 2, 3, 4], 16000)] * 4, "the first that was kept"
    start, count, rate = decoded.find("a b of another") or (0, 0, 0)
    assert (count, rate) == (7, 8000) and decoded.piece(start, count).tolist() == list(range(7))
    copy = pickle.loads(pickle.dumps(decoded))
    assert copy.find("a b") == decoded.find("a b") and copy.find("c") is None


def test_a_full_disk_ends_the_keeping_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = Decoded()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.pwrite", full)
        decoded.keep("a", np.arange(5, dtype=np.int16), 16000)
    assert decoded.find("a") is None and not decoded.has_room
