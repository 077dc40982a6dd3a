"""No module is imported because a configuration names it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from timbre.audio.effects import Sources, build_chain
from timbre.feats.spec_augment import SpecAugmentOptions
from timbre.training.options import TrainOptions
from timbre.utils.configure import check
from timbre.utils.errors import DataError


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A class whose module leaves a file behind when it is imported; it lies where imports are looked for."""
    (tmp_path / "stranger.py").write_text("from pathlib import Path\nPath('imported').touch()\nclass Gain: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.chdir(tmp_path)
    return "stranger.Gain"


class Anything:
    """Takes what is given."""

    def __init__(self, value: Any, table: dict[str, Any] | None = None) -> None:
        self.value, self.table = value, table


def test_values_of_any_type_are_kept_as_they_are(stranger: str) -> None:
    named = {"class_path": stranger, "init_args": {"deeper": {"class_path": stranger}}}
    made = check(Anything, {"value": [named], "table": {"one": named}}, set())()
    assert made.value == [named] and made.table == {"one": named}
    assert not Path("imported").exists() and "stranger" not in sys.modules


def test_options_within_options_are_taken_by_their_keys_alone(stranger: str) -> None:
    masks = check(TrainOptions, {"spec_augment": {"max_bins": 5}}, set())().spec_augment
    assert masks == SpecAugmentOptions(max_bins=5)
    for name in (stranger, "timbre.egs.options.EgsOptions", "timbre.feats.spec_augment.SpecAugmentOptions.draw"):
        with pytest.raises(DataError):
            check(TrainOptions, {"spec_augment": {"class_path": name}}, set())
    assert not Path("imported").exists() and "stranger" not in sys.modules


def test_only_known_effects_are_built(stranger: str, tmp_path: Path) -> None:
    for name in (stranger, "os.system", "timbre.audio.effects.level.Gain", "stranger"):
        named = {"class_path": name, "init_args": {}}
        nested = {"class_path": "Sometimes", "init_args": {"effects": [{"class_path": "Chain", **_effects(named)}]}}
        for effect in (named, nested, {"class_path": "Gain", "init_args": named}):
            with pytest.raises(DataError, match=r"effect '.*' is unknown; there are ALaw|class_path"):
                build_chain([effect], Sources())
        arguments = {"transform": "Gain", "arguments": {"min_gain_db": named}}
        with pytest.raises(DataError, match="Audiomentations Gain"):
            build_chain([{"class_path": "Audiomentations", "init_args": arguments}], Sources())
    assert not Path("imported").exists() and "stranger" not in sys.modules


def test_a_step_refuses_them_too(stranger: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "audio.yaml").write_text(f"effects: [{{class_path: {stranger}}}]\n")
    command = [sys.executable, root / "steps" / "preprocess_audio.py", "data", "out", "--config", "audio.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "effect 'stranger.Gain' is unknown; there are ALaw" in done.stderr
    assert not Path("imported").exists()


def _effects(*effects: object) -> dict[str, Any]:
    return {"init_args": {"effects": list(effects)}}


def test_a_file_beside_is_not_taken_for_a_module(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("num_mel_bin: 40\n")
    for options in (["--fbank", "mine.yaml"], ["--fbank=mine.yaml"]):
        command = [sys.executable, root / "steps" / "make_fbank.py", "data", *options]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2 and "'num_mel_bin'" in done.stderr
