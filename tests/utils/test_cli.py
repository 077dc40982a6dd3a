"""Bad input is one line and a non-zero exit, never a traceback."""

import subprocess
import sys
from pathlib import Path

PROGRAM = '''
from pathlib import Path
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

def step(data_dir: Path, scale: float = 1.0, some_option: str = "", quiet: bool = False) -> None:
    """Does something.

    Args:
        data_dir: a folder
        scale: a factor
        some_option: a word
        quiet: say nothing
    """
    if quiet:
        return
    if some_option:
        print(some_option)
    if scale == 2:
        raise DataError("is bad", data_dir, 3)
    if scale == 3:
        open(data_dir / "absent")
    print(scale)

if __name__ == "__main__":
    run_step(step)
'''

GROUPS = """
from dataclasses import dataclass
from timbre.utils.errors import DataError

@dataclass(frozen=True)
class Inner:
    size: int = 1
    name: str = "a"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise DataError(f"size is {self.size}")

@dataclass(frozen=True)
class Outer:
    inner: Inner | None = None
"""
GROUPED = """
from groups import Outer
from timbre.utils.cli import run_step

def step(outer: Outer = Outer()) -> None:
    print(outer)

if __name__ == "__main__":
    run_step(step)
"""


def run(tmp_path: Path, *args: str) -> tuple[int, str, str]:
    script = tmp_path / "step.py"
    script.write_text(PROGRAM)
    done = subprocess.run([sys.executable, script, *args], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_good(tmp_path: Path) -> None:
    assert run(tmp_path, "data", "--scale", "1.5") == (0, "1.5\n", "")


def test_what_python_keeps_for_itself_may_be_an_option(tmp_path: Path) -> None:
    script = tmp_path / "step.py"
    script.write_text(PROGRAM.replace("some_option", "from_"))
    for words in (["data", "--from=a-b"], ["--from", "a-b", "data"]):
        done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "a-b\n1.0\n")
    said = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True).stdout
    assert "--from FROM " in said and "from_" not in said.lower()


def test_options_with_dashes(tmp_path: Path) -> None:
    for args in (["--some-option=a-b_c"], ["--some-option", "a-b_c"], ["--some_option", "a-b_c"]):
        assert run(tmp_path, "data", *args) == (0, "a-b_c\n1.0\n", "")


def test_a_true_false_option_alone_means_true(tmp_path: Path) -> None:
    for args in (
        ["--quiet", "data"],
        ["data", "--quiet"],
        ["data", "--quiet", "--scale", "2"],
        ["data", "--quiet=true"],
    ):
        assert run(tmp_path, *args) == (0, "", "")
    for args in (["--quiet", "false", "data"], ["data", "--quiet=no"]):
        assert run(tmp_path, *args) == (0, "1.0\n", "")


def test_bad_data_is_one_line(tmp_path: Path) -> None:
    assert run(tmp_path, "data", "--scale", "2") == (1, "", "step.py: error: data:3: is bad\n")


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    assert run(tmp_path, "data", "--scale", "3") == (1, "", "step.py: error: data/absent: No such file or directory\n")


def test_wrong_options(tmp_path: Path) -> None:
    for args in (["data", "--scal", "1.5"], ["data", "--scale", "x"], []):
        status, _, stderr = run(tmp_path, *args)
        assert status == 2 and stderr.startswith("step.py: error: ") and stderr.count("\n") == 1


def test_help_documents_arguments(tmp_path: Path) -> None:
    status, stdout, _ = run(tmp_path, "--help")
    assert status == 0 and "a factor" in stdout and "a folder" in stdout


def test_a_misspelt_option_is_guessed(tmp_path: Path) -> None:
    for word in ("--scal=1", "--scal"):
        assert run(tmp_path, "data", word, "2")[2].endswith("; did you mean --scale? (--help lists the options)\n")
    assert "did you mean --some_option?" in run(tmp_path, "data", "--some-optoin", "2")[2]
    (tmp_path / "a.yaml").write_text("scal: 1\n")
    assert "did you mean scale?" in run(tmp_path, "data", "--config", str(tmp_path / "a.yaml"))[2]
    assert "did you mean" not in run(tmp_path, "data", "--zzz", "2")[2]


LISTING = PROGRAM.replace("data_dir: Path,", "files: list[Path], exact: bool = False,").replace(
    "data_dir: a folder", "files: some\n        exact: or not"
)
LISTING = LISTING.replace("    if quiet:", "    print(*files)\n    if quiet:").replace(
    "run_step(step)", "run_step(step, takes_list=True)"
)


def test_a_list_may_stand_anywhere(tmp_path: Path) -> None:
    script = tmp_path / "step.py"
    script.write_text(LISTING)

    def answer(*words: str) -> str:
        done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for words in (
        ["a", "b", "--some-option", "x"],
        ["--some-option", "x", "a", "b"],
        ["a", "--some-option=x", "b"],
        ["--exact", "a", "--some-option", "x", "b", "--scale", "1"],
        ["--some-option", "x", "--", "a", "b"],
    ):
        assert answer(*words) == "a b\nx\n1.0\n"
    assert answer("--quiet", "a") == "a\n"
    done = subprocess.run([sys.executable, script, "--some-option"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_a_group_of_options_may_be_null(tmp_path: Path) -> None:
    """And is given as any other: value by value, in YAML, or both; what it does not take is one line."""
    (tmp_path / "groups.py").write_text(GROUPS)
    script, content = tmp_path / "grouped.py", tmp_path / "outer.yaml"
    script.write_text(GROUPED)
    content.write_text("inner: {size: 3}\n")

    def call(*args: str) -> tuple[int, str, str]:
        done = subprocess.run([sys.executable, script, *args], capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    assert call() == (0, "Outer(inner=None)\n", "")
    assert call("--outer.inner.size", "4") == (0, "Outer(inner=Inner(size=4, name='a'))\n", "")
    assert call("--outer", str(content), "--outer.inner.name=b") == (0, "Outer(inner=Inner(size=3, name='b'))\n", "")
    assert call("--outer.inner.size", "0") == (1, "", "grouped.py: error: size is 0\n")
    status, said, errors = call("--outer.inner.sise", "4")
    assert (status, said, errors.count("\n")) == (2, "", 1) and "'sise' is not accepted" in errors
    status, said, errors = call("--outer.inner", "{class_path: os.mkdir, init_args: {path: owned}}")
    assert (status, said, errors.count("\n")) == (2, "", 1)
