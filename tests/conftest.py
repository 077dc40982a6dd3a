"""Where the tests find reference data (a part in the clone, all of it beside the project), and small data."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: here and in all that is started here

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from timbre.datadir.ark import read_ark
from timbre.datadir.datadir import DataDir

Waves = Mapping[str, NDArray[np.float32]]
# not ignored, as they are under nohup and in the background: what is started here is sent some
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: whoever is given one last would work on it alone at the end."""
    items.sort(key=lambda item: item.path.parent.name != "run")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n` a worker takes whole files, in the order above: what a module's tests share is made once."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Some steps set the number of threads of their process; the next test is not theirs."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with decision/ and small.timbre, to be read only: see small_run.py."""
    from small_run import write_run  # torch takes seconds: not for tests without it

    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def kaldi() -> Path:
    """Outputs of the real Kaldi programs, the part kept in the clone."""
    return ROOT / "tests" / "data" / "kaldi"


@pytest.fixture(scope="session")
def kaldi_full() -> Path:
    """Outputs of the real Kaldi programs, all of them."""
    return _shared("reference/kaldi")


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Real recorded speech as Kaldi data dirs."""
    return _shared("corpora")


def _shared(name: str) -> Path:
    path = ROOT.parent / "shared" / name
    if not path.is_dir():
        pytest.skip(f"{name} is not beside the project")
    return path


@pytest.fixture(params=["in the clone", "all"])
def reference(request: pytest.FixtureRequest, kaldi: Path) -> Path:
    """Outputs of the real Kaldi: those in the clone, then all of them."""
    return kaldi if request.param == "in the clone" else request.getfixturevalue("kaldi_full")


@pytest.fixture
def read() -> Callable[[Path], dict[str, NDArray[np.float32]]]:
    """Reads an archive whole."""
    return lambda path: dict(read_ark(path))


@pytest.fixture
def make_data(tmp_path: Path) -> Callable[..., DataDir]:
    """Writes a data directory of 16-bit wav files; an utterance is its own speaker."""

    def make(waves: Waves, rate: int = 16000, name: str = "data") -> DataDir:
        path = tmp_path / name
        (path / "wav").mkdir(parents=True)
        for utt, wave in waves.items():
            soundfile.write(path / "wav" / f"{utt}.wav", wave, rate, subtype="PCM_16")
        wavs = {utt: str(path / "wav" / f"{utt}.wav") for utt in sorted(waves)}
        data = DataDir(path, wavs, {utt: utt for utt in sorted(waves)})
        data.write(path)
        return data

    return make


@pytest.fixture
def noise() -> Callable[..., NDArray[np.float32]]:
    """White noise of so many samples at int16 resolution."""

    def make(num_samples: int, seed: int = 0, scale: float = 0.05) -> NDArray[np.float32]:
        wave = np.random.default_rng(seed).standard_normal(num_samples) * scale
        return (np.clip(np.rint(wave * 32768), -32768, 32767) / 32768).astype(np.float32)

    return make
