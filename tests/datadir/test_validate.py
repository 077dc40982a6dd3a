"""That validation finds every problem, and where."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from timbre.datadir.tables import read_table, write_table
from timbre.datadir.validate import examine, validate

Change = Callable[[Path], object]


def replace(file: str, old: str, new: str) -> Change:
    def change(path: Path) -> None:
        text = (path / file).read_text()
        assert old in text
        (path / file).write_text(text.replace(old, new, 1), newline="")

    return change


def append(file: str, text: str | bytes) -> Change:
    def change(path: Path) -> None:
        with (path / file).open("ab") as out:
            out.write(text if isinstance(text, bytes) else text.encode())

    return change


def add_segments(*lines: str) -> Change:
    """Utterances become segments of one two-second recording."""

    def change(path: Path) -> None:
        soundfile.write(path / "audio" / "r.wav", np.zeros(32000), 16000)
        write_table(path / "wav.scp", {"r": f"{path}/audio/r.wav"})
        segments = dict.fromkeys(read_table(path / "utt2spk"), "r 0.5 1.5")
        write_table(path / "segments", segments | dict(line.split(" ", 1) for line in lines))

    return change


def test_a_whole_directory_has_no_problem(whole_dir: Callable[..., Path]) -> None:
    report = examine(whole_dir(), need_wav=True, need_feats=True)
    assert (report.errors, report.warnings) == ([], [])
    assert report.summary == "9 utterances of 3 speakers"


PROBLEMS: dict[str, tuple[Change, list[str]]] = {
    "unsorted": (
        replace("utt2spk", "a-0 a\na-1 a\n", "a-1 a\na-0 a\n"),
        ["utt2spk:2: not sorted (LC_ALL=C): 'a-0' comes after 'a-1'"],
    ),
    "twice": (append("utt2spk", "c-2 c\n"), ["utt2spk:10: 'c-2' is already on line 9"]),
    "windows": (
        lambda path: (path / "utt2spk").write_bytes((path / "utt2spk").read_bytes().replace(b"\n", b"\r\n")),
        ["utt2spk:1: Windows line ends (CRLF) on 9 lines; convert with dos2unix"],
    ),
    "not UTF-8": (append("spk2gender", b"c \xff\n"), ["spk2gender:4: not UTF-8"]),
    "NUL bytes": (
        replace("wav.scp", "a-1.wav", "a-\0.wav"),
        ["wav.scp:2: a NUL byte: this is not text", "wav.scp:2: 'a-1': cannot read"],
    ),
    "empty line": (append("utt2dur", "\n"), ["utt2dur:10: empty line"]),
    "empty file": (lambda path: (path / "spk2gender").write_bytes(b""), ["spk2gender: the file is empty"]),
    "space in an id": (
        replace("utt2spk", "a-0 a\n", "a 0 a\n"),
        [
            "utt2spk:1: 'utterance speaker' is wanted, not 'a 0 a': has an id a space?",
            "utt2spk:1: utterance 'a' is not in wav.scp",
            "wav.scp:1: utterance 'a-0' is not in utt2spk",
            "spk2utt:1: names 'a-0', which is not of 'a' in utt2spk",
        ],
    ),
    "unknown utterance": (
        append("utt2spk", "d-0 d\n"),
        ["utt2spk:10: utterance 'd-0' is not in wav.scp", "utt2spk:10: speaker 'd' is not in spk2utt"],
    ),
    "too many of them": (
        lambda path: [append(file, "d-0 x\n")(path) for file in ("wav.scp", "utt2dur", "utt2session")],
        [
            "wav.scp:10: utterance 'd-0' is not in utt2spk",
            "wav.scp:10: 'd-0': cannot read x: No such file",
            "utt2dur:10: utterance 'd-0' is not in utt2spk",
            "utt2dur:10: 'd-0' has 'x', not a number above 0",
            "utt2session:10: utterance 'd-0' is not in utt2spk",
        ],
    ),
    "unknown speaker": (append("spk2gender", "d m\n"), ["spk2gender:4: speaker 'd' is not in utt2spk"]),
    "spk2utt": (
        replace("spk2utt", "a a-0 a-1 a-2\nb b-0", "a a-0 a-1 b-0\nb b-0"),
        [
            "spk2utt:1: names 'b-0', which is not of 'a' in utt2spk",
            "spk2utt:1: lacks 'a-2', which is of 'a' in utt2spk",
        ],
    ),
    "no spk2utt": (lambda path: (path / "spk2utt").unlink(), ["no spk2utt in it"]),
    "no audio": (
        lambda path: [(path / name).unlink() for name in ("wav.scp", "feats.scp")],
        ["neither wav.scp nor feats.scp in it"],
    ),
    "audio missing": (
        lambda path: (path / "audio" / "b-1.wav").unlink(),
        ["wav.scp:5: 'b-1': cannot read", "audio/b-1.wav: No such file"],
    ),
    "audio empty": (
        lambda path: (path / "audio" / "b-1.wav").write_bytes(b""),
        ["wav.scp:5: 'b-1': ", "audio/b-1.wav is empty"],
    ),
    "audio a directory": (
        replace("wav.scp", "/audio/a-0.wav", "/audio"),
        ["wav.scp:1: 'a-0': ", "audio is not a file"],
    ),
    "features of fewer": (
        lambda path: write_table(path / "feats.scp", dict(list(read_table(path / "feats.scp").items())[:-1])),
        ["utt2spk:9: utterance 'c-2' is not in feats.scp"],
    ),
    "frames": (
        replace("utt2num_frames", "b-0 98", "b-0 97"),
        ["utt2num_frames:4: 'b-0' has 97 frames here, but 98 in feats.scp"],
    ),
    "VAD of another utterance": (
        lambda path: (
            append("arks/vad.ark", b"x \0BFV \4\2\0\0\0" + bytes(8))(path)
            or replace(
                "vad.scp", read_table(path / "vad.scp")["c-2"], f"{path}/arks/vad.ark:{9 * (4 + 10 + 98 * 4) + 2}"
            )(path)
        ),
        ["vad.scp:9: 'c-2' has 2 frames here, but 98 in feats.scp"],
    ),
    "an archive cut in the middle": (
        lambda path: (path / "arks" / "feats.ark").write_bytes((path / "arks" / "feats.ark").read_bytes()[:-5]),
        ["feats.scp:9: 'c-2': ", "feats.ark: the object at byte", "is cut short"],
    ),
    "duration": (replace("utt2dur", "a-1 1.0", "a-1 -1"), ["utt2dur:2: 'a-1' has '-1', not a number above 0"]),
    "trial of a missing utterance": (
        append("trials", "x c-0 nontarget\nc-0 y nontarget\nx y nontarget\n"),
        [
            "trials:6: enrolment id 'x' is not in the data directory",
            "trials:7: test id 'y' is not in the data directory",
        ],
    ),
    "malformed trials": (
        append("trials", b"a-0 a-1\na-0 a-1 foo\na-0 \xff target\na-0 zz target\n\n"),
        [
            "trials:6: three fields are wanted, not 2: 'a-0 a-1'",
            "trials:7: neither 'enroll test target|nontarget' nor '1|0 enroll test': 'a-0 a-1 foo'",
            "trials:8: not UTF-8",
            "trials:9: test id 'zz' is not in the data directory",
            "trials:10: three fields are wanted, not 0",
        ],
    ),
    "empty trials": (lambda path: (path / "trials").write_bytes(b""), ["trials: no trials in it"]),
    "model of a missing utterance": (
        append("enroll.spk2utt", "m a-0 a-9\n"),
        [
            "enroll.spk2utt:1: model 'm' has utterance 'a-9', which is not in utt2spk",
            "trials:1: enrolment id 'a-0' is not in the data directory",
        ],
    ),
    "segments": (
        add_segments("a-1 r -1 2", "a-2 r 1", "b-0 r 1.5 1.5", "b-1 r 1 2.5", "b-2 q 0 1", "c-0 r 3 -1", "c-1 r 0 x"),
        [
            "segments:2: segment 'a-1': it starts at -1, outside the recording",
            "segments:3: segment 'a-2': 'recording start end' is wanted, not 'r 1'",
            "segments:4: segment 'b-0': it ends at 1.5, not after its start 1.5",
            "segments:5: segment 'b-1' reaches 2.5 s into 'r', which has 2 s",
            "segments:6: segment 'b-2' is of recording 'q', which is not in wav.scp",
            "segments:7: segment 'c-0' reaches 3 s into 'r', which has 2 s",
            "segments:8: segment 'c-1': start and end must be seconds, not '0 x'",
        ],
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_problem_is_told_with_its_place(name: str, whole_dir: Callable[..., Path]) -> None:
    path = whole_dir()
    change, wanted = PROBLEMS[name]
    change(path)
    found = "\n".join(validate(path)).replace(f"{path}/", "")
    for text in wanted:
        assert text in found


def test_problems_do_not_hide_each_other(whole_dir: Callable[..., Path]) -> None:
    path = whole_dir()
    names = ["twice", "not UTF-8", "spk2utt", "audio missing", "frames", "duration", "malformed trials"]
    for name in names:
        PROBLEMS[name][0](path)
    found = "\n".join(validate(path)).replace(f"{path}/", "")
    for name in names:
        for text in PROBLEMS[name][1]:
            assert text in found


def test_good_segments_are_no_problem(whole_dir: Callable[..., Path]) -> None:
    path = whole_dir()
    add_segments("a-0 r 0 -1", "a-1 r 0 2.005")(path)
    assert validate(path) == []


def test_a_recordings_length_may_be_told_by_reco2dur(whole_dir: Callable[..., Path]) -> None:
    path = whole_dir()
    add_segments()(path)
    write_table(path / "wav.scp", {"r": "cat r.wav |"})
    write_table(path / "reco2dur", {"r": "1.0"})
    assert len(validate(path)) == 9
    assert validate(path)[0].endswith("segments:1: segment 'a-0' reaches 1.5 s into 'r', which has 1 s")


def test_warnings_are_no_errors(whole_dir: Callable[..., Path]) -> None:
    path = whole_dir(speakers="a")
    append("trials", "a-0 a-1 target\n")(path)
    report = examine(path)
    assert report.errors == []
    assert [warning.replace(f"{path}/", "") for warning in report.warnings] == [
        "utt2spk: there is only one speaker, 'a'",
        "trials: there is no nontarget trial",
        "trials: 1 trials repeat a pair that is already in the list",
    ]


def test_ids_without_their_speaker_in_front_are_a_warning(make_dir: Callable[..., Path]) -> None:
    path = make_dir({"utt2spk": "u1 a\nu2 b\n", "spk2utt": "a u1\nb u2\n", "wav.scp": "u1 cat x |\nu2 cat y |\n"})
    report = examine(path)
    assert report.errors == []
    assert report.warnings == [
        f"{path}/utt2spk:1: 2 utterance ids do not begin with their speaker's, the first being 'u1'"
    ]


def test_what_is_needed_must_be_there(make_dir: Callable[..., Path], tmp_path: Path) -> None:
    path = make_dir({"utt2spk": "a a\n", "spk2utt": "a a\n", "wav.scp": "a cat x |\n"})
    assert validate(path, need_wav=True) == []
    assert validate(path, need_feats=True) == [f"{path}: no feats.scp in it"]
    assert validate(tmp_path / "nothing") == [f"{tmp_path}/nothing: no such data directory"]
    (tmp_path / "empty").mkdir()
    assert len(validate(tmp_path / "empty")) == 3


def test_relative_places_start_at_the_root_given(make_dir: Callable[..., Path], tmp_path: Path) -> None:
    path = make_dir({"utt2spk": "a a\n", "spk2utt": "a a\n", "wav.scp": "a audio/x y.wav\n"})
    assert len(validate(path)) == 1
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "x y.wav").write_bytes(b"RIFF")
    assert validate(path, root=tmp_path) == []


def test_the_corpora_are_valid(corpora: Path) -> None:
    for path in (corpora / "data").iterdir():
        if (path / "utt2spk").exists():
            assert validate(path, need_wav=True, root=corpora) == []
