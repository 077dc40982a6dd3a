"""A recipe of two stages."""

import subprocess
from pathlib import Path

import pytest
from toy_recipe import JOIN, MAKE, RECIPE, SAVING


@pytest.fixture
def toy(root: Path, tmp_path: Path):
    (tmp_path / "toy.sh").write_text(RECIPE.format(root=root, help="word " * 30))
    (tmp_path / "steps" / "stages").mkdir(parents=True)
    (tmp_path / "steps" / "stages" / "00_make.sh").write_text(MAKE)
    (tmp_path / "steps" / "stages" / "01_join.sh").write_text(JOIN)
    (tmp_path / "source").write_text("1")
    (tmp_path / "saving.py").write_text(SAVING)

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "toy.sh", *args], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run
