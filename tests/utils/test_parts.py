"""Parts are made once, whole or not at all; what has changed, and what failed but would not now, is made again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from timbre.utils.errors import DataError
from timbre.utils.missing import check_missing, count_allowed
from timbre.utils.parts import kept_parts, make_parts, part_size


@dataclass(frozen=True)
class Word:
    """A file to be read."""

    name: str
    path: str

    @property
    def sources(self) -> tuple[str]:
        return (self.path,)


def read(words: Sequence[Word], folder: Path, log: Path, slow: float = 0) -> dict[str, Any]:
    """Joins the files of WORDS in FOLDER/text and notes in LOG which it read; an empty one fails."""
    failures = {word.name: "empty" for word in words if not Path(word.path).read_text()}
    with log.open("a") as file:
        file.writelines(f"{word.name}\n" for word in words)
    time.sleep(slow)
    (folder / "text").write_text("".join(Path(word.path).read_text() for word in words))
    return {"failures": failures, "names": [word.name for word in words if word.name not in failures]}


def make(tmp_path: Path, recipe: str = "v1", nj: int = 1, slow: float = 0) -> tuple[list[str], dict[str, str]]:
    """(what was read for it, the files that came out)."""
    log = tmp_path / "log"
    log.write_text("")
    items = [Word(path.name, str(path)) for path in sorted((tmp_path / "words").iterdir())]
    with kept_parts(tmp_path / "out", items, recipe, 4) as parts:
        results = make_parts(parts, partial(read, log=log, slow=slow), nj, "")
    told = [name for result in results for name in [*result["names"], *result["failures"]]]
    assert sorted(told) == [item.name for item in items]
    return sorted(log.read_text().split()), files(tmp_path / "out")


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def words(tmp_path: Path) -> Path:
    (tmp_path / "words").mkdir()
    for number in range(40):
        (tmp_path / "words" / f"w{number:02d}").write_text(f"{number}")
    return tmp_path / "words"


def test_only_what_has_changed_is_made_again(words: Path, tmp_path: Path) -> None:
    done, first = make(tmp_path)
    assert len(done) == 40 and len(list((tmp_path / "out").iterdir())) > 5
    assert make(tmp_path, nj=2) == ([], first)
    (words / "w20").write_text("changed")
    done, second = make(tmp_path)
    assert "w20" in done and len(done) <= 16
    assert len(second) == len(first), "the part that was is gone"
    (words / "w05x").write_text("new")
    done, _ = make(tmp_path)
    assert "w05x" in done and len(done) <= 17
    assert len(make(tmp_path, recipe="v2")[0]) == 41


def test_what_failed_is_tried_again_alone(words: Path, tmp_path: Path) -> None:
    (words / "w20").write_text("")
    make(tmp_path)
    assert make(tmp_path)[0] == ["w20"]
    (path,) = [path for path in (tmp_path / "out").glob("*/part.json") if '"w20":"empty"' in path.read_text()]
    told = json.loads(path.read_text())
    other = told["names"].pop()
    told["failures"][other] = "no such command"  # then; there is one now
    path.write_text(json.dumps(told))
    assert sorted({*told["names"], "w20", other}) == sorted(set(make(tmp_path)[0]))
    assert make(tmp_path)[0] == ["w20"]


def test_other_things_in_the_folder_stay(words: Path, tmp_path: Path) -> None:
    for name in ("feats.1.ark", "0123456789abcdef/mine", ".hidden"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("mine")
    make(tmp_path)
    assert list(files(tmp_path / "out").values()).count("mine") == 3


@pytest.mark.parametrize("nj", [1, 2])
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_after_a_kill_the_rest_is_made_and_all_is_as_if_nothing_had_been(
    words: Path, tmp_path: Path, nj: int, stop: signal.Signals
) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.utils.test_parts import make\n"
        "if __name__ == '__main__': make(Path(sys.argv[1]), nj=int(sys.argv[2]), slow=0.3)"
    )
    (tmp_path / "program.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, tmp_path / "program.py", tmp_path, str(nj)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "out").glob("[0-9a-f]*/part.json"))) < 3:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(stop)
    process.wait(30)
    time.sleep(0.3)  # for workers to see that the parent was killed
    kept = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("[0-9a-f]*/part.json")]
    done, resumed = make(tmp_path)
    assert sorted(done + [name for result in kept for name in result["names"]]) == sorted(os.listdir(words))
    assert not [name for name in resumed if ".tmp" in name]
    (tmp_path / "out").rename(tmp_path / "resumed")
    assert make(tmp_path)[1] == resumed


def test_two_at_once_are_refused(words: Path, tmp_path: Path) -> None:
    with kept_parts(tmp_path / "out", [Word("a", "a")], "", 4):
        with pytest.raises(DataError, match="out: another process is writing it"):
            make(tmp_path)


def test_part_sizes() -> None:
    assert [part_size(number, 256) for number in (0, 1000, 5760, 10**6)] == [8, 8, 64, 256]


@pytest.mark.parametrize(
    "allowed, number", [(0, 0), ("3", 3), ("2%", 4), ("0.5 %", 1), ("100%", 200), ("2", 2), ("0.3%", 0)]
)
def test_a_number_or_a_share_may_be_missing(allowed: int | str, number: int) -> None:
    assert count_allowed(allowed, 200) == number


@pytest.mark.parametrize("allowed", ["few", "-1", "2.5", "%", "nan%", ""])
def test_nothing_else_may(allowed: str) -> None:
    with pytest.raises(DataError, match=f"allow_missing is '{allowed}'; a number, or a share such as 2%, is wanted"):
        count_allowed(allowed, 200)


def test_what_is_missing_is_in_one_table_and_only_the_first_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failures = {f"u{number:03d}": "cut\nshort" for number in range(50)}
    with pytest.raises(DataError, match=r"x.missing: 50 of 100 utts have no x, 49 may; the first is 'u000': cut"):
        check_missing(failures, 100, 49, tmp_path / "x.missing", "x", "utts")
    assert (tmp_path / "x.missing").read_text().splitlines() == [f"{name} cut short" for name in failures]
    assert len(caplog.records) == 21 and "and 30 more, see" in caplog.text
    check_missing(failures, 100, "50%", tmp_path / "x.missing", "x", "utts")
    with pytest.raises(DataError, match="50 of 50 utts have no x"):
        check_missing(failures, 50, "100%", tmp_path / "x.missing", "x", "utts")
    check_missing({}, 100, 0, tmp_path / "x.missing", "x", "utts")
    assert not (tmp_path / "x.missing").exists()
