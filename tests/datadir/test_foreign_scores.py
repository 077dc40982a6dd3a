"""Score files in the forms that other toolkits write them: all of them say the same."""

import sys
from pathlib import Path

import numpy as np
import pytest

from steps.copy_scores import copy_scores
from timbre.datadir.foreign_scores import ForeignScores
from timbre.datadir.trials import read_scores, read_trials
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

ROWS = [("a-1", "a-2", 0.75, True), ("a-1", "b-1", -0.5, False), ("b-2", "a-1", 1e-3, False), ("b-1", "b-2", 3.0, True)]
FORMS = {
    "kaldi": "{e} {t} {s}",
    "wespeaker": "{e} {t} {s:.5f} {word}",
    "speechbrain": "{e} {t} {bit} {s:f}",
    "espnet": "{e}*{t} {s} {bit}",
    "label first": "{bit} {e} {t} {s}",
    "tabs": "{e}\t{t}\t{s}",
    "comma": "{e},{t},{s},{word}",
}
HEADERS = {
    "nist": ("modelid\tsegmentid\tside\tLLR", "{e}\t{t}\ta\t{s}"),
    "csv": ("score,label,enroll,test", "{s},{bit},{e},{t}"),
    "quoted": ('"Utt1";"Utt2";"Target";"Score"', '"{e}";"{t}";"{bit}";"{s}"'),
}


def text(form: str) -> str:
    words = {True: ("target", 1), False: ("nontarget", 0)}
    lines = [form.format(e=e, t=t, s=s, word=words[label][0], bit=words[label][1]) for e, t, s, label in ROWS]
    return "\n".join(lines) + "\n"


@pytest.fixture
def trials(tmp_path: Path) -> Path:
    """The list in another order than the files."""
    path = tmp_path / "trials"
    order = [2, 0, 3, 1]
    path.write_text("".join(f"{e} {t} {'target' if x else 'nontarget'}\n" for e, t, _, x in (ROWS[i] for i in order)))
    return path


@pytest.mark.parametrize("name", [*FORMS, *HEADERS])
def test_all_forms_say_the_same(name: str, trials: Path, tmp_path: Path) -> None:
    source = tmp_path / "foreign"
    header, form = HEADERS.get(name, ("", FORMS.get(name, "")))
    source.write_text(f"{header}\n" * bool(header) + text(form))
    copy_scores(source, tmp_path / "x.foreign", trials)
    listed = read_trials(trials)
    assert read_scores(tmp_path / "x.foreign", listed).tolist() == [1e-3, 0.75, 3.0, -0.5]
    lines = (tmp_path / "x.foreign").read_text().splitlines()
    assert [line.rpartition(" ")[0] for line in lines] == [listed.name(row) for row in range(4)]
    copy_scores(source, tmp_path / "x.own")  # in its own order
    assert (tmp_path / "x.own").read_text().startswith("a-1 a-2 0.75\n")
    has_labels = name not in ("kaldi", "tabs", "nist")
    if has_labels:
        copy_scores(source, tmp_path / "x.own", write_list=tmp_path / "written")
        assert read_trials(tmp_path / "written").target.tolist() == [True, False, False, True]
    else:
        with pytest.raises(DataError, match="no labels for a trial list"):
            copy_scores(source, tmp_path / "x.own", write_list=tmp_path / "written")


@pytest.mark.parametrize("form", ["{s}", "{s} {bit}", "{word} {s}"])
def test_without_ids_the_order_is_that_of_the_list(form: str, trials: Path, tmp_path: Path) -> None:
    trials.write_text(text("{e} {t} {word}"))
    source = tmp_path / "foreign"
    source.write_text(text(form))
    copy_scores(source, tmp_path / "x.own", trials, negate=True)
    assert read_scores(tmp_path / "x.own", read_trials(trials)).tolist() == [-0.75, 0.5, -1e-3, -3.0]
    with pytest.raises(DataError, match="no ids in it: give the trial list"):
        copy_scores(source, tmp_path / "x.own")
    trials.write_text(text("{e} {t} {word}") * 2)
    with pytest.raises(DataError, match="4 scores without ids, but 8 trials"):
        copy_scores(source, tmp_path / "x.own", trials)


def test_file_names_are_found_as_ids(tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("id1-x-00001 id2-y-00002 nontarget\nid1-x-00001 id1-z-00003 target\n")
    (tmp_path / "foreign").write_text("1 id1/x/00001.wav id1/z/00003.wav 0.9\n0 id1/x/00001 id2/y/00002.wav 0.1\n")
    copy_scores(tmp_path / "foreign", tmp_path / "x.own", tmp_path / "trials")
    assert (tmp_path / "x.own").read_text() == "id1-x-00001 id2-y-00002 0.1\nid1-x-00001 id1-z-00003 0.9\n"


def test_columns_may_be_told(tmp_path: Path) -> None:
    (tmp_path / "foreign").write_text("a b 1 0\nc d 0 1\n")
    with pytest.raises(DataError, match=r"'a b 1 0' could be 'enroll test score label' or 'enroll test label"):
        ForeignScores.read(tmp_path / "foreign")
    found = ForeignScores.read(tmp_path / "foreign", ["test", "enroll", "-", "score"])
    assert found.pairs == [("b", "a"), ("d", "c")]
    assert np.array_equal(found.scores, [0, 1]) and found.target is None
    with pytest.raises(DataError, match="columns are enroll and test"):
        ForeignScores.read(tmp_path / "foreign", ["enroll", "-", "-", "score"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "foreign: no scores in it"),
        ("a b c\n", "foreign:1: 'a b c' is of no form known"),
        ("a-1 a-2 0.5\na-1 b-1\n", "foreign:2: three fields are wanted, not 2: 'a-1 b-1'"),
        ("a-1,a-2,0.5\na-1,b-1\n", "foreign:2: 3 fields are wanted, not 'a-1,b-1'"),
        ("a-1,a-2,0.5\na-1,b-1,nan\n", "foreign:2: the score is NaN"),
        ("a-1,a-2,0.5\na-1,b-1,-inf\n", "foreign:2: the score is infinite"),
        ("enroll,test,score\na-1,a-2,0.5\na-1,b-1,x\n", "foreign:3: not a number: 'x'"),
        ("enroll,test,score,label\na-1,a-2,0.5,maybe\n", "foreign:2: label 'maybe' is not target"),
        ("enroll,score\na-1,0.5\n", "columns are enroll and test"),
        ("enroll test score\n", "a header, but no scores"),
        ("a-1 a-2 0.5\na-1 a-2 0.6\n", "foreign:2: 'a-1 a-2' is scored twice"),
        ("a-1 a-2 0.5\n", "foreign: no score for 3 of 4 trials, the first being 'b-2 a-1'"),
        (text("{e} {t} {s} {bit}").replace("0.75 1", "0.75 0"), "foreign:1: 'a-1 a-2' is a nontarget here, but not in"),
    ],
)
def test_bad_files_are_told_in_one_line(
    content: str,
    message: str,
    trials: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "foreign").write_text(content)
    paths = [str(tmp_path / name) for name in ("foreign", "x.own")]
    monkeypatch.setattr(sys, "argv", ["copy_scores.py", *paths, "--trials", str(trials)])
    with pytest.raises(SystemExit):
        run_step(copy_scores)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.own").exists()
