"""A clone without data, and sets in it as the plan sees them."""

from pathlib import Path

import pytest
from plans import MakeSet


@pytest.fixture(autouse=True)
def place(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with nothing in data/."""
    (tmp_path / "conf").symlink_to(root / "conf")
    (tmp_path / "local").symlink_to(root / "local")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def make_set(place: Path) -> MakeSet:
    """Writes the tables of a set that the plan looks at."""

    def make(path: str, tables: str = "wav.scp", trials: tuple[str, ...] = (), speakers: int = 100) -> Path:
        folder = place / "data" / path
        folder.mkdir(parents=True)
        for name in (*tables.split(), "utt2spk", *trials):
            (folder / name).write_text("")
        (folder / "spk2utt").write_text("".join(f"s{number} u{number}\n" for number in range(speakers)))
        return folder

    return make
