"""Simulated rooms: reverberation times, a direct path at the beginning, the same rooms whatever the number of jobs."""

from pathlib import Path

import numpy as np
import pytest

from timbre.audio.effects import generator
from timbre.audio.effects.reverb import direct_path
from timbre.audio.reading import read_audio
from timbre.audio.rooms import RoomOptions, _draw, eyring, simulate_rooms
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table
from timbre.datadir.validate import validate
from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError


def decay_time(response: Samples, rate: int) -> float:
    """RT60 by the line through Schroeder's curve from -5 to -25 dB."""
    energy = np.cumsum(response[::-1].astype(float) ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0] + 1e-12)
    first, last = np.argmax(level < -5), np.argmax(level < -25)
    return float(last - first) / rate * 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rooms") / "rooms"
    simulate_rooms(path, RoomOptions(num_rooms=3, num_positions=2), nj=1)
    return path


def test_a_data_directory_of_responses(made: Path) -> None:
    data = DataDir.read(made)
    assert not validate(made)
    assert len(data.utts) == 12 and data.utt2spk["mediumroom-0002-01"] == "mediumroom-0002"
    times = {utt: float(seconds) for utt, seconds in read_table(made / "utt2rt60").items()}
    for utt in data.utts:
        response, rate = read_audio(data.wavs[utt])
        assert rate == 16000 and np.abs(response).max() == pytest.approx(0.5, abs=1e-3)
        assert direct_path(response) < 16, "it begins at the direct path"
        assert 0.1 <= times[utt] <= 1.2


def test_reverberation_is_as_long_as_eyring_says(made: Path) -> None:
    data, times = DataDir.read(made), read_table(made / "utt2rt60")
    ratios = [decay_time(*read_audio(data.wavs[utt])) / float(times[utt]) for utt in data.utts]
    assert 0.7 < np.median(ratios) < 1.4, ratios
    assert eyring((5, 4, 3), 0.2) == pytest.approx(0.161 * 60 / (94 * 0.22314), rel=1e-4)


def test_neither_jobs_nor_company_change_a_room(made: Path, tmp_path: Path) -> None:
    simulate_rooms(tmp_path / "again", RoomOptions(num_rooms=2, num_positions=2), nj=1)
    simulate_rooms(tmp_path / "other", RoomOptions(num_rooms=1, num_positions=2), nj=1, seed=1)
    before, after, other = (
        {path.name: path.read_bytes() for path in (folder / "audio").glob("*/*.wav")}
        for folder in (made, tmp_path / "again", tmp_path / "other")
    )
    assert len(after) == 8 and after.items() <= before.items()
    assert not other.items() & before.items()


def test_rooms_are_inside_their_bounds() -> None:
    options = RoomOptions(min_rt60=0.2, max_rt60=0.4)
    for number in range(50):
        room = _draw((1.0, 10.0), options, generator(0, 0, str(number)))
        assert 0.2 <= room.rt60 <= 0.4 and min(room.sides[:2]) >= 1 and max(room.sides[:2]) <= 10
        assert 2 <= room.sides[2] <= 5 and 0.2 <= room.absorption <= 0.8
        for place in (room.microphone, *room.speakers):
            assert all(0 < at < side for at, side in zip(place, room.sides, strict=True))
        distances = [np.linalg.norm(np.subtract(room.microphone, speaker)) for speaker in room.speakers]
        assert min(distances) >= 0.3 and max(distances) <= 5


IMPOSSIBLE = [{"min_rt60": 2.0}, {"max_absorption": 1.0}, {"num_rooms": 0}, {"min_distance": 9.0}]


@pytest.mark.parametrize("settings", IMPOSSIBLE)
def test_impossible_rooms_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(DataError, match="rooms: "):
        RoomOptions(**settings)  # type: ignore[arg-type]


def test_rooms_that_cannot_be_found_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="rooms: none of 10000 with sides of 1 to 10 m fits the options"):
        simulate_rooms(tmp_path / "r", RoomOptions(min_rt60=9.0, max_rt60=9.1), nj=1)
    assert not (tmp_path / "r" / "wav.scp").exists()
