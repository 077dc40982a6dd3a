"""What the corpus fronts share, and the option files of conf/corpus/ and conf/run/."""

import os
from pathlib import Path

import pytest
import yaml

from corpus_tree import write
from local import prepare_cnceleb, prepare_librispeech, prepare_voxceleb
from timbre.corpora.corpus import Corpus, gender_of, in_speaker_folder, stem_of
from timbre.corpora.utt_set import UttSet
from timbre.datadir.datadir import Segment
from timbre.datadir.trials import read_trials
from timbre.utils.errors import DataError

FRONTS = {
    "mini_librispeech": prepare_librispeech.prepare_librispeech,
    "voxceleb12_sitw": prepare_voxceleb.prepare_voxceleb,
    "cnceleb_joined": prepare_cnceleb.prepare_cnceleb,
}


def touch(root: Path, *names: str) -> None:
    for name in names:
        write(root / name, "x")


def test_audio_is_found_without_looking_at_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a/1.wav", "a/b/2.WAV", "a/b/.3.wav", ".c/4.wav", "a/5.flac", "a/6 7.wav", "a/b c/8.wav", "9.wav")
    (tmp_path / "a" / "gone.wav").symlink_to("nowhere")
    (tmp_path / "linked").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "b" / "self").symlink_to(".")
    touch(tmp_path, "one/10.wav", "one-two/11.wav")
    (tmp_path / "one-two" / "back").symlink_to(tmp_path / "one")  # "one" is no folder above "one-two"
    (tmp_path / "one" / "forth").symlink_to(tmp_path / "one-two")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.wav")).write_bytes(b"x")
    found = sorted(Corpus(tmp_path, False).audio("", ".wav"))
    assert [name for name in found if not name.startswith("one")] == [
        "9.wav",
        "a/1.wav",
        "a/b/2.WAV",
        "a/gone.wav",
        "linked/2.WAV",
    ]
    assert {"one/10.wav", "one-two/11.wav", "one-two/back/10.wav"} <= set(found)
    assert sorted(Corpus(tmp_path, False).audio("a", ".wav", ".flac")) == ["1.wav", "5.flac", "b/2.WAV", "gone.wav"]
    for name in ("a/6 7.wav", "a/b c/8.wav", "bad\\udcff.wav"):
        assert f"{tmp_path}/{name}: passed over: a blank in its name, or not UTF-8" in caplog.text


def test_a_folder_that_cannot_be_read_is_missing(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, False)
    assert list(corpus.audio("gone", ".wav")) == []
    assert corpus.missing == [f"{tmp_path}/gone/: No such file or directory"]
    utts = UttSet()
    corpus.take(utts, "a", ".wav", in_speaker_folder)
    assert corpus.missing[1:] == ["a"]
    assert corpus.find("x", "y/z") is None
    for names, message in ((("x", "y"), "neither x nor y is in it; get it"), (("x",), "no x in it; get it")):
        with pytest.raises(DataError, match=message):
            corpus.need(*names, hint="get it")
    with pytest.raises(
        DataError, match=r"not whole, it lacks: .*gone/: No such file or directory; a; x or y/z\. --partial"
    ):
        corpus.write(tmp_path / "out", {"train": utts})
    with pytest.raises(DataError, match="none of its utterances is there"):
        Corpus(tmp_path, True).write(tmp_path / "out", {"train": utts})


def test_a_long_list_of_what_lacks_is_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for partial in (False, True):
        corpus = Corpus(tmp_path, partial)
        for number in range(1000):
            corpus.lacks(f"file{number}.")
        if partial:
            corpus.check_whole()
            assert "file19." in caplog.text
            assert "lacks 980 things more" in caplog.text
        else:
            with pytest.raises(DataError, match=r"file19\.; 980 things more\. --partial") as error:
                corpus.check_whole()
            assert "file20." not in str(error.value)


def test_files_that_lie_elsewhere_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "wav/S1/1.wav", "wav/2.wav", "wav/3.wav")
    utts = UttSet()
    Corpus(tmp_path, False).take(utts, "wav", ".wav", in_speaker_folder)
    assert utts.utt2spk == {"S1-1": "S1"}
    assert "wav: 2 files passed over, whose places are not the published ones, such as 2.wav" in caplog.text


def test_two_files_are_never_one_utterance(tmp_path: Path) -> None:
    touch(tmp_path, "a/S1/1.wav", "b/S1/1.wav")
    with pytest.raises(DataError, match=r"S1/1\.wav: two files would be utterance 'S1-1'"):
        Corpus(tmp_path, False).take(UttSet(), "", ".wav", in_speaker_folder)


def test_lists_are_read_as_they_come(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, False)
    (tmp_path / "list.csv").write_bytes('\ufeffid, text ,sex\r\n1,"a, b",m\r\n\r\n2,c,f\r\n'.encode())
    assert list(corpus.records("list.csv", ",", ("id", "sex"))) == [
        (2, {"id": "1", "text": "a, b", "sex": "m"}),
        (4, {"id": "2", "text": "c", "sex": "f"}),
    ]
    write(tmp_path / "list.tsv", 'id\ttext\tsex\n1\t"a\t\n')
    assert list(corpus.records("list.tsv", "\t", ("id",))) == [(2, {"id": "1", "text": '"a', "sex": ""})]
    with pytest.raises(DataError, match=r"list\.tsv:1: no column age nor name in its header"):
        list(corpus.records("list.tsv", "\t", ("age", "id", "name")))
    (tmp_path / "latin").write_bytes(b"a b\nM\xfcller b\n")
    with pytest.raises(DataError, match=r"latin:2: not UTF-8"):
        list(corpus.rows("latin"))
    with pytest.raises(DataError, match=r"gone: cannot read"):
        list(corpus.rows("gone"))


def test_drawn_trials_keep_to_one_sex_where_all_are_known(caplog: pytest.LogCaptureFixture) -> None:
    utts = UttSet()
    for spk in ("a", "b", "c", "d"):
        for number in range(4):
            utts.add(f"{spk}-{number}", spk, "x.wav", {"session": f"{spk}{number % 2}", "nothing": None})
    sexes = {"a": "m", "b": "m", "c": "f", "d": "f", "e": "f"}
    utts.describe(gender=sexes)
    assert set(utts.tables) == {"wav.scp", "utt2spk", "utt2session", "spk2gender"}
    assert set(utts.tables["spk2gender"]) == {"a", "b", "c", "d"}
    utts.draw_trials()
    trials = utts.trials["trials"]
    assert trials.summary() == "24 target and 24 nontarget trials"
    for enroll, test in zip(trials.enroll, trials.test, strict=True):
        assert sexes[trials.enroll_ids[enroll][0]] == sexes[trials.test_ids[test][0]]
    across = utts.trials["trials_cross_session"]
    for enroll, test in zip(across.enroll[across.target], across.test[across.target], strict=True):
        assert int(across.enroll_ids[enroll][-1]) % 2 != int(across.test_ids[test][-1]) % 2
    alone = UttSet()
    alone.add("a-0", "a", "x.wav")
    alone.draw_trials()
    assert not alone.trials
    assert "no trials: no two utterances make a target trial" in caplog.text


def test_sets_are_taken_apart_with_their_tables() -> None:
    utts = UttSet()
    for spk, count in (("a", 3), ("b", 1), ("c", 2)):
        for number in range(count):
            utts.add(f"{spk}-{number}", spk, f"{spk}.wav", {"lang": "en"}, Segment(spk, number, number + 1))
    assert set(utts.without({"a"}).utt2spk) == {"b-0", "c-0", "c-1"}
    some = utts.only({"a", "b"}, min_utts=2)
    assert some.tables["wav.scp"] == {"a": "a.wav"}
    assert set(some.tables["segments"]) == set(some.tables["utt2lang"]) == {"a-0", "a-1", "a-2"}
    assert not utts.without({"a", "b", "c"}).utt2spk


def test_an_official_list_of_another_form(tmp_path: Path) -> None:
    from timbre.corpora.corpus import LABEL_LAST

    path = write(tmp_path / "trials.lst", "m1 test/a.wav 1\nm1 test/b.wav 0\n")
    assert read_trials(path, LABEL_LAST).summary() == "1 target and 1 nontarget trials"
    path = write(tmp_path / "bad.lst", "m1 test/a.wav 1\nm1 test/b.wav target\n")
    with pytest.raises(DataError, match=r"bad\.lst:2: label 'target' is not 1 or 0"):
        read_trials(path, LABEL_LAST)


def test_names_and_words() -> None:
    assert [gender_of(word) for word in ("M", " female", "女", "male_masculine", "x", "")] == [
        "m",
        "f",
        "f",
        "m",
        None,
        None,
    ]
    assert (stem_of("a/b.c/d.e.wav"), stem_of("d.wav")) == ("d.e", "d")
    assert in_speaker_folder("1.wav") is None


@pytest.mark.parametrize("name", FRONTS)
def test_option_files_name_options_of_their_front(name: str, root: Path) -> None:
    options = yaml.safe_load((root / "conf" / "corpus" / f"{name}.yaml").read_text())
    assert options.keys() <= FRONTS[name].__annotations__.keys()


def test_run_configurations_name_what_is_there(root: Path) -> None:
    assert {path.stem for path in (root / "conf" / "corpus").iterdir()} == FRONTS.keys()
    for path in (root / "conf" / "run").glob("*.conf"):
        lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
        options = dict(line.split("=") for line in lines)
        assert (root / "local" / f"prepare_{options.get('corpus', 'synth')}.py").exists()
        for value in " ".join(options.values()).split():
            made = value.startswith("data/")  # by steps that the file names
            assert made or "/" not in value or (root / value).is_file(), f"{path}: {value}"
