"""Where the tests find reference data: a part of it in the clone, the whole when it lies beside the project."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


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
