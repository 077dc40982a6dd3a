"""Small corpora of made sounds: as their fronts want them, the same each time, and of voices that differ."""

from pathlib import Path

import numpy as np
import pytest

from local.prepare_cnceleb import prepare_cnceleb
from local.prepare_musan import prepare_musan
from local.prepare_rirs import prepare_rirs
from local.prepare_voxceleb import prepare_voxceleb
from timbre.audio.reading import read_audio
from timbre.corpora import small_trees
from timbre.corpora.published_trees import musan
from timbre.corpora.small_trees import hum, make_trees
from timbre.datadir.datadir import DataDir
from timbre.datadir.trials import read_trials


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    make_trees(folder)
    return folder


def test_their_fronts_take_them(trees: Path, tmp_path: Path) -> None:
    prepare_voxceleb(trees / "voxceleb", tmp_path / "voxceleb", partial=True)
    prepare_cnceleb(trees / "cnceleb", tmp_path / "cnceleb", partial=True)
    prepare_musan(trees / "musan", tmp_path / "musan", partial=True)
    prepare_rirs(trees / "rirs", tmp_path / "rirs", partial=True)
    for corpus in ("voxceleb", "cnceleb"):
        train = DataDir.read(tmp_path / corpus / "train")
        assert len(train.spk2utt()) >= 20, "fewer have no speakers to calibrate on"
        for table in (tmp_path / corpus).glob("eval*/trials*"):
            assert 0 < read_trials(table).target.sum() < len(read_trials(table)), table
    assert len(list((tmp_path / "voxceleb" / "eval_vox1").glob("trials*"))) == 6
    for name in ("musan/noise", "musan/music", "musan/speech", "rirs/rir"):
        wavs = DataDir.read(tmp_path / name, need_speakers=False).wavs
        assert len(wavs) >= 2
        for place in wavs.values():
            samples, rate = read_audio(place)
            assert rate == 16000 and np.abs(samples).max() > 0.01


def test_every_kind_of_file_is_heard_and_of_its_length(trees: Path) -> None:
    for suffix in ("wav", "m4a", "flac"):
        path = next(iter(sorted(trees.rglob(f"id*/*.{suffix}")) or sorted(trees.rglob(f"id*/*/*.{suffix}"))))
        samples, rate = read_audio(str(path))
        assert rate == 16000 and 3 <= len(samples) / rate <= 7 and 0.01 < np.abs(samples).max() < 1


def test_what_is_there_is_kept_and_what_is_made_is_the_same(trees: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trees.rglob("*")}
    make_trees(trees)
    assert {path: path.stat().st_mtime_ns for path in trees.rglob("*")} == before
    name, sound = next(iter(musan(2).audio.items()))
    made = small_trees._samples(sound, name)
    assert np.array_equal(made, small_trees._samples(sound, name))
    heard, _ = read_audio(str(trees / "musan" / name))
    assert np.abs(heard - made).max() < 1e-4


def test_a_voice_is_nearer_to_itself_than_to_another() -> None:
    """By the mean spectrum alone."""

    def spectrum(speaker: int, seed: int) -> np.ndarray:
        frames = hum(speaker, seed, 2.0)[: 16000 * 2].reshape(-1, 1600)
        mean: np.ndarray = np.log(np.abs(np.fft.rfft(frames))[:, :200].mean(axis=0) + 1e-3)
        return mean

    same = [np.abs(spectrum(who, 1) - spectrum(who, 2)).mean() for who in range(6)]
    other = [np.abs(spectrum(who, 1) - spectrum(who + 1, 2)).mean() for who in range(6)]
    assert np.mean(same) < 0.8 * np.mean(other)
