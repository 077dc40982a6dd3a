"""The scripts on data directories, as a person runs them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from timbre.datadir.tables import read_table
from timbre.datadir.trials import read_trials
from timbre.datadir.validate import validate

WholeDir = Callable[..., Path]
SCRIPTS = ("validate", "fix", "subset", "split", "combine", "copy")


@pytest.fixture
def run(root: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """run("make_trials", ...) runs steps/make_trials.py."""

    def run_script(script: str, *options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(root / "steps" / f"{script}.py"), *map(str, options)]
        return subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)

    return run_script


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("script", [*(f"{name}_data_dir" for name in SCRIPTS), "make_trials"])
def test_each_explains_itself_and_does_without_torch(script: str, run: Run, root: Path) -> None:
    assert os.access(root / "steps" / f"{script}.py", os.X_OK)
    done = run(script, "--help")
    assert done.returncode == 0
    assert "usage:" in done.stdout
    imports = f"import runpy, sys; runpy.run_path('steps/{script}.py'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", imports], cwd=root, check=False).returncode == 0


def test_validate_lists_all_and_fails(run: Run, whole_dir: WholeDir) -> None:
    path = whole_dir()
    assert run("validate_data_dir", path).stdout == f"{path} is valid: 9 utterances of 3 speakers\n"
    (path / "audio" / "a-1.wav").unlink()
    with (path / "utt2spk").open("a") as file:
        file.write("c-2 c\n")
    done = run("validate_data_dir", path)
    assert done.returncode == 1
    assert f"{path}/wav.scp:2: 'a-1': cannot read" in done.stderr
    assert f"{path}/utt2spk:10: 'c-2' is already on line 9" in done.stderr
    assert done.stderr.endswith(f"validate_data_dir.py: error: {path}: 2 problems; see above\n")


def test_fix_says_what_it_changed(run: Run, whole_dir: WholeDir) -> None:
    path = whole_dir()
    with (path / "utt2spk").open("a") as file:
        file.write("c-2 c\n")
    done = run("fix_data_dir", path)
    assert done.stdout == f"{path}/utt2spk:10: dropped: 'c-2' is already on line 9\n{path}: 1 change\n"
    assert validate(path) == []


def test_subset_split_combine_and_copy(run: Run, whole_dir: WholeDir, tmp_path: Path) -> None:
    path = whole_dir()
    assert run("subset_data_dir", path, tmp_path / "part", "--per-spk", 2).returncode == 0
    assert run("split_data_dir", tmp_path / "part", 3).returncode == 0
    parts = [tmp_path / "part" / "split3" / number for number in "123"]
    assert run("combine_data_dir", tmp_path / "all", f"[{','.join(map(str, parts))}]").returncode == 0
    options = ("--utt-prefix", "x-", "--spk-prefix", "x-", "--exclude", "[feats.scp,vad.scp]")
    assert run("copy_data_dir", tmp_path / "all", tmp_path / "copy", *options).returncode == 0
    assert sorted(read_table(tmp_path / "copy" / "utt2spk").values()) == ["x-a"] * 2 + ["x-b"] * 2 + ["x-c"] * 2
    assert not (tmp_path / "copy" / "feats.scp").exists()
    assert validate(tmp_path / "copy", need_wav=True) == []


def test_subset_wants_one_choice(run: Run, whole_dir: WholeDir, tmp_path: Path) -> None:
    path = whole_dir()
    for options in ((), ("--first", 1, "--last", 1)):
        done = run("subset_data_dir", path, tmp_path / "part", *options)
        assert done.returncode == 1
        assert "give exactly one of --first, --last, --random" in done.stderr
    assert not (tmp_path / "part").exists()


def test_trials_are_made_sampled_and_converted(run: Run, whole_dir: WholeDir, tmp_path: Path) -> None:
    path = whole_dir()
    assert "9 target and 27 nontarget trials" in run("make_trials", path).stderr
    done = run("make_trials", path, "--name", "trials_hard", "--same_sex", "true", "--cross_session", "true")
    assert "6 target and 9 nontarget trials" in done.stderr
    sampled = ("make_trials", path, "--name", "trials_few", "--nontargets", 2, "--max_targets", 4, "--seed", 3)
    texts = []
    for _ in range(2):
        assert "4 target and 8 nontarget trials" in run(*sampled).stderr
        texts.append((path / "trials_few").read_bytes())
    assert texts[0] == texts[1]
    (tmp_path / "list.txt").write_text("1 a/0.wav a/1.wav\n0 a/0.wav b-2\n")
    assert run("make_trials", path, "--convert", tmp_path / "list.txt").returncode == 0
    assert (path / "trials").read_text() == "a-0 a-1 target\na-0 b-2 nontarget\n"
    assert validate(path) == []


def test_impossible_trials_are_refused(run: Run, whole_dir: WholeDir, tmp_path: Path) -> None:
    path = whole_dir()
    before = read_trials(path / "trials")
    (tmp_path / "list.txt").write_text("1 a/0.wav a/1.wav\n0 a/0.wav z-2\n")
    (path / "spk2gender").unlink()
    for options, message in (
        (("--convert", tmp_path / "list.txt"), "list.txt:2: 'z-2' is not an utterance"),
        (("--same_sex", "true"), "spk2gender: cannot read"),
        (("--name", "pairs"), "a trial list is called trials or trials_<something>"),
        (("--max_targets", 3), "needs --nontargets"),
    ):
        done = run("make_trials", path, *options)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert len(read_trials(path / "trials")) == len(before)
