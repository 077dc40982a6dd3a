"""Mending data directories."""

from collections.abc import Callable
from pathlib import Path

import pytest

from timbre.datadir.fix import fix
from timbre.datadir.tables import read_table
from timbre.datadir.validate import examine, validate
from timbre.utils.errors import DataError


def test_a_whole_directory_is_left_alone(whole_dir: Callable[..., Path]) -> None:
    path = whole_dir()
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir() if file.is_file()}
    assert fix(path) == []
    after = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir() if file.is_file()}
    assert after == before
    assert not (path / ".backup").exists()


def test_everything_that_can_be_mended_is(whole_dir: Callable[..., Path]) -> None:
    path = whole_dir(speakers="abcd")

    def change(file: str, edit: Callable[[bytes], bytes]) -> None:
        (path / file).write_bytes(edit((path / file).read_bytes()))

    change("utt2spk", lambda text: b"d-2 d\r\n" + text.replace(b"d-2 d\n", b"") + b"a-0 a\nz-9 z\nsome thing else\n\n")
    change("utt2dur", lambda text: b"\xef\xbb\xbf" + text)
    change("wav.scp", lambda text: text.replace(b"b-1 ", b"b-9 "))
    change("vad.scp", lambda text: text.replace(b"c-0 ", b"c-9 "))
    change("spk2gender", lambda text: text + b"y \xff\n")
    change("trials", lambda text: text + b"broken\na-0 q-0 nontarget\n")
    original = (path / "utt2spk").read_bytes()
    changes = [line.replace(f"{path}/", "") for line in fix(path)]
    report = examine(path, need_wav=True, need_feats=True)
    assert (report.errors, report.warnings) == ([], [])
    kept = [f"{spk}-{part}" for spk in "abcd" for part in range(3) if f"{spk}-{part}" not in ("b-1", "c-0")]
    assert list(read_table(path / "utt2spk")) == kept
    assert (path / ".backup" / "utt2spk").read_bytes() == original
    for wanted in [
        "utt2spk: Windows line ends changed",
        "utt2spk: sorted",
        "utt2dur: byte order mark taken away",
        "utt2spk:13: dropped: 'a-0' is already on line 2",
        "utt2spk:15: dropped: 'utterance speaker' is wanted, not 'some thing else'",
        "utt2spk:16: dropped: empty line",
        "utt2spk: 'b-1' dropped, because wav.scp has nothing for it",
        "wav.scp: 'b-9' dropped, because it is not in utt2spk",
        "utt2spk: 'c-0' dropped, because vad.scp has nothing for it",
        "spk2gender:5: dropped: not UTF-8",
        "trials:8: dropped: three fields are wanted, not 1: 'broken'",
        "spk2utt: made from utt2spk",
    ]:
        assert wanted in changes
    assert any("z-9" in line for line in changes)
    assert fix(path) == []


def test_segments_that_cannot_be_used_are_dropped(make_dir: Callable[..., Path]) -> None:
    path = make_dir(
        {
            "utt2spk": "a-1 a\na-2 a\nb-1 b\nb-2 b\n",
            "wav.scp": "r1 cat 1 |\n",
            "segments": "a-1 r1 0 2\na-2 r1 2 1\nb-1 r2 0 -1\nb-2 r1 0 1\n",
        }
    )
    changes = "\n".join(fix(path))
    assert validate(path) == []
    assert list(read_table(path / "segments")) == ["a-1", "b-2"]
    assert "segments:2: dropped: segment 'a-2': it ends at 1" in changes
    assert "'b-1' dropped" in changes


def test_utterances_without_audio_are_dropped_when_asked_to(whole_dir: Callable[..., Path]) -> None:
    path = whole_dir()
    (path / "audio" / "b-1.wav").unlink()
    (path / "audio" / "c-0.wav").write_bytes(b"")
    assert fix(path) == []
    changes = fix(path, drop_missing_audio=True)
    assert f"{path}/wav.scp:5: dropped: cannot read {path}/audio/b-1.wav: No such file or directory" in changes
    assert validate(path) == []
    assert len(read_table(path / "utt2spk")) == 7


def test_two_values_for_one_key_are_for_a_person_to_decide(whole_dir: Callable[..., Path]) -> None:
    path = whole_dir()
    with (path / "utt2spk").open("a") as file:
        file.write("a-0 b\n")
    before = (path / "utt2spk").read_bytes()
    with pytest.raises(DataError, match=r"utt2spk:10: 'a-0' has another value"):
        fix(path)
    assert (path / "utt2spk").read_bytes() == before


def test_a_directory_with_nothing_in_common_is_refused(make_dir: Callable[..., Path]) -> None:
    path = make_dir({"utt2spk": "a a\n", "wav.scp": "b cat x |\n"})
    with pytest.raises(DataError, match="no utterance is known to all"):
        fix(path)
    assert read_table(path / "utt2spk") == {"a": "a"}
