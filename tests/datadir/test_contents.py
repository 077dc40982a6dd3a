"""Subsets, parts, unions and copies of data directories."""

from collections.abc import Callable
from pathlib import Path

import pytest

from timbre.datadir.combine import combine
from timbre.datadir.contents import Contents, kind_of
from timbre.datadir.split import split, write_split
from timbre.datadir.subset import CHOICES, choose
from timbre.datadir.tables import read_table, write_table
from timbre.datadir.validate import validate
from timbre.utils.errors import DataError

WholeDir = Callable[..., Path]
SEGMENTED = {
    "utt2spk": "a-1 a\na-2 a\nb-1 b\n",
    "wav.scp": "r1 cat 1 |\nr2 cat 2 |\nr3 cat 3 |\n",
    "segments": "a-1 r1 0.0 2.0\na-2 r1 2.0 3.0\nb-1 r2 0.0 -1\n",
    "reco2dur": "r1 3\nr2 4\nr3 5\n",
    "spk2age": "a 3\nb 4\n",
    "enroll.spk2utt": "a-model a-1 a-2\nb-model b-1\n",
    "trials": "a-model a-1 target\nb-model a-1 nontarget\nb-model b-1 target\n",
    "cmvn.scp": "a x.ark:2\nb x.ark:9\n",
}


def texts(path: Path) -> dict[str, str]:
    """All files of a directory but arks and audio."""
    files = [file for file in path.rglob("*") if file.is_file() and file.suffix not in (".ark", ".wav")]
    return {str(file.relative_to(path)): file.read_text() for file in files}


def test_a_tables_name_tells_its_keys() -> None:
    kinds = {name: kind_of(name) for name in ("utt2anything", "feats.scp", "my.scp", "spk2age", "reco2dur", "wav.scp")}
    assert kinds == {
        "utt2anything": "utt",
        "feats.scp": "utt",
        "my.scp": "utt",
        "spk2age": "spk",
        "reco2dur": "recording",
        "wav.scp": "recording",
    }
    assert {kind_of(name) for name in ("spk2utt", "trials", "frame_shift", "arks", "notes.txt")} == {None}


def test_a_copy_is_the_same_and_clears_what_was_there(whole_dir: WholeDir, tmp_path: Path) -> None:
    path = whole_dir()
    (tmp_path / "copy").mkdir()
    for stale in ("utt2spk", "segments", "utt2lang", "trials_old", "energy.scp"):
        (tmp_path / "copy" / stale).write_text("stale x\n")
    (tmp_path / "copy" / "notes.txt").write_text("mine\n")
    Contents.read(path).write(tmp_path / "copy")
    assert texts(tmp_path / "copy") == texts(path) | {"notes.txt": "mine\n"}
    (tmp_path / "other").mkdir()  # no data directory: what it has is not of one
    (tmp_path / "other" / "trials_of_mine").write_text("mine\n")
    Contents.read(path).write(tmp_path / "other")
    assert texts(tmp_path / "other") == texts(path) | {"trials_of_mine": "mine\n"}


def test_a_selection_is_everywhere(whole_dir: WholeDir, tmp_path: Path) -> None:
    Contents.read(whole_dir()).select({"a-0", "a-1", "c-2"}).write(tmp_path / "part")
    assert validate(tmp_path / "part", need_wav=True, need_feats=True) == []
    part = texts(tmp_path / "part")
    assert part["utt2spk"] == "a-0 a\na-1 a\nc-2 c\n"
    assert part["spk2gender"] == "a m\nc m\n"
    assert part["trials"] == "a-0 a-1 target\na-0 c-2 nontarget\n"
    for name in ("wav.scp", "feats.scp", "vad.scp", "utt2dur", "utt2session", "utt2num_frames"):
        assert part[name].count("\n") == 3


def test_a_selection_of_segments_keeps_their_recordings(make_dir: Callable[..., Path], tmp_path: Path) -> None:
    Contents.read(make_dir(SEGMENTED)).select({"a-2"}).write(tmp_path / "part")
    assert texts(tmp_path / "part") == {
        "utt2spk": "a-2 a\n",
        "spk2utt": "a a-2\n",
        "wav.scp": "r1 cat 1 |\n",
        "segments": "a-2 r1 2.0 3.0\n",
        "reco2dur": "r1 3\n",
        "spk2age": "a 3\n",
        "enroll.spk2utt": "a-model a-2\n",
        "cmvn.scp": "a x.ark:2\n",
    }


def test_new_ids_are_everywhere_but_on_recordings(make_dir: Callable[..., Path], tmp_path: Path) -> None:
    contents = Contents.read(make_dir(SEGMENTED))
    contents.rename(lambda utt: f"p-{utt}", lambda spk: f"p-{spk}").write(tmp_path / "new")
    new = texts(tmp_path / "new")
    assert new["utt2spk"] == "p-a-1 p-a\np-a-2 p-a\np-b-1 p-b\n"
    assert new["segments"].startswith("p-a-1 r1 0.0 2.0\n")
    assert new["enroll.spk2utt"] == "p-a-model p-a-1 p-a-2\np-b-model p-b-1\n"
    assert new["trials"].startswith("p-a-model p-a-1 target\n")
    assert new["cmvn.scp"] == "p-a x.ark:2\np-b x.ark:9\n"
    assert new["wav.scp"] == SEGMENTED["wav.scp"]


def test_ids_that_collide_or_have_blanks_are_refused(whole_dir: WholeDir) -> None:
    contents = Contents.read(whole_dir())
    with pytest.raises(DataError, match="not distinct"):
        contents.rename(lambda utt: utt[-1], str)
    with pytest.raises(DataError, match="'a b' cannot be an id"):
        contents.rename(str, lambda spk: f"{spk} b"[:3])


CHOSEN = {
    ("first", 4): {"a-0", "a-1", "a-2", "b-0"},
    ("last", 2): {"c-1", "c-2"},
    ("shortest", 2): {"b-0", "c-2"},
}


@pytest.mark.parametrize(("choice", "value"), CHOSEN)
def test_choices(choice: str, value: int, whole_dir: WholeDir) -> None:
    path = whole_dir()
    write_table(path / "utt2dur", read_table(path / "utt2dur") | {"b-0": "0.5", "c-2": "0.6"})
    assert set(choose(Contents.read(path), choice, value, seed=0)) == CHOSEN[choice, value]


def test_draws_are_by_seed(whole_dir: WholeDir) -> None:
    contents = Contents.read(whole_dir(speakers="abcdef"))
    for choice, count in (("random", 7), ("per_spk", 2)):
        draws = [sorted(choose(contents, choice, count, seed)) for seed in (0, 0, 1, 2, 3)]
        assert draws[0] == draws[1]
        assert len({tuple(draw) for draw in draws}) > 1
    assert len(choose(contents, "random", 7, seed=0)) == 7
    speakers = [contents.utt2spk[utt] for utt in choose(contents, "per_spk", 2, seed=0)]
    assert sorted(speakers) == sorted("abcdef" * 2)
    fewer = contents.select({utt for utt in contents.utt2spk if utt[0] in "ce"})
    drawn = set(choose(contents, "per_spk", 1, seed=0))
    assert set(choose(fewer, "per_spk", 1, seed=0)) == {utt for utt in drawn if utt[0] in "ce"}
    assert len(choose(contents, "per_spk", 99, seed=0)) == 18


def test_choices_by_list(whole_dir: WholeDir, tmp_path: Path) -> None:
    contents = Contents.read(whole_dir())
    (tmp_path / "list").write_text("c rest of a line\na\n")
    assert set(choose(contents, "spk_list", tmp_path / "list", seed=0)) == {
        f"{spk}-{part}" for spk in "ac" for part in range(3)
    }
    (tmp_path / "list").write_text("c-0\nzz\n")
    with pytest.raises(DataError, match="list:2: utterance 'zz' is not in the data directory"):
        choose(contents, "utt_list", tmp_path / "list", seed=0)


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if "list" not in choice])
def test_impossible_counts_are_refused(choice: str, whole_dir: WholeDir) -> None:
    contents = Contents.read(whole_dir())
    with pytest.raises(DataError, match="must be at least 1"):
        choose(contents, choice, 0, seed=0)
    if choice != "per_spk":
        with pytest.raises(DataError, match="10 utterances are asked for, but there are 9"):
            choose(contents, choice, 10, seed=0)


@pytest.mark.parametrize("per_utt", [False, True])
@pytest.mark.parametrize("num_parts", [1, 2, 3, 5, 7])
def test_parts_are_even_and_make_the_whole(per_utt: bool, num_parts: int, whole_dir: WholeDir, tmp_path: Path) -> None:
    path = whole_dir(speakers="abcdefg")
    write_split(split(Contents.read(path), num_parts, per_utt=per_utt), tmp_path / "parts")
    parts = [tmp_path / "parts" / str(number) for number in range(1, num_parts + 1)]
    assert sorted(parts) == sorted((tmp_path / "parts").glob("[!.]*"))
    assert "".join((part / "feats.scp").read_text() for part in parts) == (path / "feats.scp").read_text()
    sizes = [len(read_table(part / "utt2spk")) for part in parts]
    assert max(sizes) - min(sizes) <= (1 if per_utt else 3)
    speakers = [spk for part in parts for spk in set(read_table(part / "utt2spk").values())]
    assert per_utt or len(speakers) == len(set(speakers))
    assert all(validate(part, need_wav=True, need_feats=True) == [] for part in parts)


def test_parts_of_unequal_speakers_are_as_even_as_can_be() -> None:
    utt2spk = {
        f"{spk}-{part:03d}": spk
        for spk, size in zip("abcdef", (90, 5, 5, 40, 40, 20), strict=True)
        for part in range(size)
    }
    contents = Contents({"utt2spk": utt2spk}, {}, {})
    assert [len(part.utt2spk) for part in split(contents, 2)] == [100, 100]
    assert [len(part.utt2spk) for part in split(contents, 6)] == [90, 5, 5, 40, 40, 20]


def test_too_many_parts_are_refused(whole_dir: WholeDir) -> None:
    contents = Contents.read(whole_dir())
    for num_parts, per_utt, what in ((4, False, "3 speakers"), (10, True, "9 utterances"), (0, False, "3 speakers")):
        with pytest.raises(DataError, match=f"cannot split {what} into {num_parts} parts"):
            split(contents, num_parts, per_utt=per_utt)


def test_parts_combine_to_the_whole(whole_dir: WholeDir, tmp_path: Path) -> None:
    path = whole_dir()
    parts = {str(number): part for number, part in enumerate(split(Contents.read(path), 3))}
    combine(parts).write(tmp_path / "all")
    whole = texts(path)
    del whole["trials"]
    assert texts(tmp_path / "all") == whole


def test_trials_of_one_name_are_joined(whole_dir: WholeDir, tmp_path: Path) -> None:
    sources = {name: Contents.read(whole_dir(name, speakers)) for name, speakers in (("one", "ab"), ("two", "cd"))}
    combine(sources).write(tmp_path / "all")
    assert validate(tmp_path / "all") == []
    assert (tmp_path / "all" / "trials").read_text() == "".join(
        (tmp_path / name / "trials").read_text() for name in ("one", "two")
    )


def test_tables_that_some_lack(whole_dir: WholeDir, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, two = whole_dir("one", "ab"), whole_dir("two", "cd")
    for name in ("feats.scp", "utt2session", "spk2gender"):
        (two / name).unlink()
    combine({path.name: Contents.read(path) for path in (one, two)}).write(tmp_path / "all")
    assert "feats.scp is left out, because two has none" in caplog.text
    assert not (tmp_path / "all" / "feats.scp").exists()
    assert (tmp_path / "all" / "spk2gender").read_text() == "a m\nb f\n"
    assert len(read_table(tmp_path / "all" / "utt2session")) == 6
    assert len(read_table(tmp_path / "all" / "utt2dur")) == 12


def test_whole_recordings_become_segments_beside_segments(
    make_dir: Callable[..., Path], whole_dir: WholeDir, tmp_path: Path
) -> None:
    segmented = make_dir({name: text for name, text in SEGMENTED.items() if name not in ("trials", "enroll.spk2utt")})
    combine({"s": Contents.read(segmented), "w": Contents.read(whole_dir(speakers="x"))}).write(tmp_path / "all")
    assert (tmp_path / "all" / "segments").read_text() == SEGMENTED["segments"] + "".join(
        f"x-{part} x-{part} 0.0 -1\n" for part in range(3)
    )
    assert validate(tmp_path / "all") == []


def test_directories_that_do_not_go_together_are_refused(whole_dir: WholeDir, make_dir: Callable[..., Path]) -> None:
    one = Contents.read(whole_dir("one", "ab"))
    with pytest.raises(DataError, match="utterance 'b-0' is in one and in two"):
        combine({"one": one, "two": Contents.read(whole_dir("two", "bc"))})
    other = whole_dir("three", "cd")
    (other / "conf" / "feats.yaml").write_text("num_mel_bins: 5\n")
    with pytest.raises(DataError, match=r"three has another conf/feats.yaml"):
        combine({"one": one, "three": Contents.read(other)})
    gender = make_dir({"utt2spk": "a-9 a\n", "wav.scp": "a-9 cat x |\n", "spk2gender": "a f\n"})
    with pytest.raises(DataError, match="data has another value for 'a' in spk2gender"):
        combine({"one": one, "data": Contents.read(gender)})
    with pytest.raises(DataError, match="no data directory to combine"):
        combine({})
    with pytest.raises(DataError, match=r"only some of one, models have enroll.spk2utt"):
        models = make_dir({name: text.replace("a-", "z-").replace("b-", "y-") for name, text in SEGMENTED.items()}, "m")
        combine({"one": one, "models": Contents.read_with(models, read_table, lambda path: one.trials["trials"])})


def test_a_broken_directory_is_not_read(make_dir: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="segments:2: segment 'a-2'"):
        Contents.read(make_dir(SEGMENTED | {"segments": "a-1 r1 0 2\na-2 r1 2 1\nb-1 r2 0 -1\n"}))
    with pytest.raises(DataError, match="trials:1: neither"):
        Contents.read(make_dir(SEGMENTED | {"trials": "a b c\n"}, "other"))
    with pytest.raises(DataError, match="nothing: no such data directory"):
        Contents.read(tmp_path / "nothing")
