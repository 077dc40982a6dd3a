"""What holds for every front: its sets, a second run, what a copy lacks, bad lists; and facts of each."""

import shutil
from pathlib import Path

import pytest

from corpus_tree import snapshot, table, unchanged_by, write
from miniatures import MINIATURES, Miniature, only
from timbre.audio.reading import read_audio
from timbre.datadir.datadir import DataDir
from timbre.datadir.phones import read_phones
from timbre.datadir.tables import read_lists, read_table
from timbre.datadir.trials import read_trials
from timbre.datadir.validate import examine
from timbre.utils.errors import DataError

WITH_LIST = [name for name, miniature in MINIATURES.items() if miniature.lists]
WITH_LINES = [name for name, miniature in MINIATURES.items() if miniature.bad]


@only(*MINIATURES)
def test_a_whole_corpus(miniature: Miniature, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    before = snapshot(corpus)
    miniature.prepare(corpus, out)
    assert sorted(path.name for path in out.iterdir()) == sorted(miniature.sets)
    assert "passed over" not in caplog.text
    for path in out.iterdir():
        if (path / "utt2spk").exists():
            report = examine(path)
            assert (report.errors, [warning for warning in report.warnings if "only one speaker" not in warning]) == (
                [],
                [],
            )
            assert path.name in ("train", "dev", "unlabelled", "eval_hw4") or list(path.glob("trials*"))
        for place in read_table(path / "wav.scp").values() if (path / "wav.scp").exists() else ():
            assert Path(place).is_absolute()
            assert len(read_audio(place, channel=0)[0]) > 0
    unchanged_by(lambda: miniature.prepare(corpus, out), corpus, out)
    assert snapshot(corpus) == before


@only(*MINIATURES)
def test_a_copy_that_lacks_audio(miniature: Miniature, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name, message = miniature.audio
    (tmp_path / "corpus" / name).unlink()
    with pytest.raises(DataError) as error:
        miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    assert message in str(error.value)
    assert "--partial true takes what is there" in str(error.value)
    assert not (tmp_path / "out").exists()
    miniature.prepare(tmp_path / "corpus", tmp_path / "out", partial=True)
    assert message in caplog.text
    for path in (tmp_path / "out").iterdir():
        if (path / "utt2spk").exists():
            assert examine(path).errors == []


@only(*WITH_LIST)
def test_a_copy_that_lacks_a_list(miniature: Miniature, tmp_path: Path) -> None:
    assert miniature.lists
    name, message = miniature.lists
    (tmp_path / "corpus" / name).unlink()
    with pytest.raises(DataError) as error:
        miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    assert message in str(error.value)
    miniature.prepare(tmp_path / "corpus", tmp_path / "out", partial=True)


@only(*WITH_LINES)
def test_a_bad_line_is_told_with_file_and_line(miniature: Miniature, tmp_path: Path) -> None:
    assert miniature.bad
    name, line, message = miniature.bad
    with (tmp_path / "corpus" / name).open("a", encoding="utf-8") as file:
        file.write(line)
    with pytest.raises(DataError, match=message):
        miniature.prepare(tmp_path / "corpus", tmp_path / "out", partial=True)
    assert not (tmp_path / "out").exists()


@only(*MINIATURES)
def test_an_empty_folder_is_refused(miniature: Miniature, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "corpus")
    with pytest.raises(DataError, match="corpus: no such directory"):
        miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    (tmp_path / "corpus").mkdir()
    for partial in (False, True):
        with pytest.raises(DataError):
            miniature.prepare(tmp_path / "corpus", tmp_path / "out", partial=partial)
    assert not (tmp_path / "out").exists()


@only("aishell1")
def test_aishell1(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    assert table(tmp_path / "out" / "train" / "utt2spk")[0] == "S0002-BAC009S0002W0120 S0002"
    assert read_table(tmp_path / "out" / "train" / "spk2gender") == {"S0002": "f", "S0003": "m"}
    assert read_trials(tmp_path / "out" / "eval_aishell1" / "trials").summary() == "2 target and 2 nontarget trials"


@only("aishell2")
def test_aishell2_tells_channels_apart(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    data = DataDir.read(tmp_path / "out" / "eval_aishell2")
    assert len(data.utts) == 12
    assert data.table("utt2channel")["T0011-Mic-IT0011W0001"] == "Mic"
    assert read_table(tmp_path / "out" / "train" / "spk2gender") == {"C0001": "f", "D0001": "m"}
    sessions = data.table("utt2session")
    trials = read_trials(data.path / "trials_cross_session")
    assert trials.target.sum() == 2 * 12
    for enroll, test in zip(trials.enroll[trials.target], trials.test[trials.target], strict=True):
        assert sessions[trials.enroll_ids[enroll]] != sessions[trials.test_ids[test]]


@only("cnceleb")
def test_cnceleb_enrols_from_several_files_or_one(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    path = tmp_path / "out" / "eval_cnceleb"
    models = read_lists(path / "enroll.spk2utt")
    assert models["id00800-enroll"] == ["id00800-enroll-singing-01-001", "id00800-enroll-singing-01-002"]
    assert table(path / "trials")[:3] == [
        "id00800-enroll id00800-singing-02-001 target",
        "id00800-enroll id00800-vlog-01-001 target",
        "id00800-enroll id00801-singing-02-001 nontarget",
    ]
    genres = read_table(path / "utt2genre")
    assert (genres["id00801-vlog-01-001"], genres["id00801-enroll-singing-01-001"]) == ("vlog", "singing")
    train = DataDir.read(tmp_path / "out" / "train")
    assert sorted(train.spk2utt()) == ["id00000", "id00001", "id10000", "id10001"]
    assert train.table("utt2session")["id10000-singing-02-001"] == "id10000-singing-02"
    miniature.prepare(tmp_path / "corpus", tmp_path / "out", enroll="one", train=["cnceleb2"])
    assert not (path / "enroll.spk2utt").exists()
    assert DataDir.read(path).wavs["id00800-enroll"].endswith("eval/enroll/id00800-enroll.flac")
    assert examine(path).errors == []
    assert sorted(DataDir.read(tmp_path / "out" / "train").spk2utt()) == ["id10000", "id10001"]


@only("cnceleb")
def test_cnceleb_joins_short_utterances_of_one_genre(miniature: Miniature, tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    miniature.prepare(corpus, out, join_shorter=0.15, nj=1)
    train = DataDir.read(out / "train")
    assert train.spk2utt()["id00000"] == ["id00000-singing-01-001-and-2", "id00000-vlog-01-001"]
    joined, _ = read_audio(train.wavs["id00000-singing-01-001-and-2"])
    names = ("singing-01-001", "singing-01-002", "singing-02-001")
    parts = [read_audio(str(corpus / "CN-Celeb_flac" / "data" / "id00000" / f"{name}.flac"))[0] for name in names]
    assert len(joined) == sum(map(len, parts))
    assert (joined[: len(parts[0])] == parts[0]).all()
    assert train.wavs["id00000-vlog-01-001"] == f"{corpus}/CN-Celeb_flac/data/id00000/vlog-01-001.flac"
    assert train.table("utt2genre")["id00000-singing-01-001-and-2"] == "singing"
    assert examine(out / "train").errors == []
    unchanged_by(lambda: miniature.prepare(corpus, out, join_shorter=0.15, nj=1), corpus, out)


@only("librispeech")
def test_librispeech(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    data = DataDir.read(tmp_path / "out" / "eval_librispeech_test_clean")
    assert data.utt2spk["61-1240-0000"] == "61"
    assert data.table("utt2session")["61-1240-0000"] == "61-1240"
    assert (data.path / "trials_cross_session").exists()


@only("timit")
def test_timit_is_sphere_and_may_be_in_small_letters(miniature: Miniature, tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    miniature.prepare(corpus, out)
    data = DataDir.read(out / "eval_timit")
    assert data.utts[:3] == ["faks0-sa1", "faks0-si1027", "faks0-sx37"]
    assert Path(data.wavs["faks0-sa1"]).read_bytes().startswith(b"NIST_1A")
    assert read_table(out / "train" / "spk2gender") == {"fcjf0": "f", "mdac0": "m"}
    assert data.table("spk2dialect") == {"faks0": "dr1", "fdac1": "dr1"}
    for path in sorted((corpus / "TIMIT").rglob("*"), reverse=True):
        path.rename(path.with_name(path.name.lower()))
    (corpus / "TIMIT").rename(corpus / "timit")
    miniature.prepare(corpus, tmp_path / "small")
    assert DataDir.read(tmp_path / "small" / "eval_timit").utts == data.utts


@only("timit")
def test_timit_brings_its_phones(miniature: Miniature, tmp_path: Path) -> None:
    """The overlap of the last two phones goes to the earlier one."""
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    (corpus / "TIMIT" / "TEST" / "DR1" / "FAKS0" / "SX37.PHN").unlink()
    miniature.prepare(corpus, out)
    phones = read_phones(out / "eval_timit" / "phones.ctm")
    expected = [(0, 300, "h#"), (300, 700, "sh"), (700, 1200, "iy"), (1200, 1600, "h#")]
    found = [(round(16000 * phone.start), round(16000 * phone.end), phone.name) for phone in phones["faks0-sa1"]]
    assert found == expected and "faks0-sx37" not in phones and len(phones) == 5
    write(corpus / "TIMIT" / "TEST" / "DR1" / "FAKS0" / "SA1.PHN", "0 300 h#\n300 200 sh\n")
    with pytest.raises(DataError, match=r"SA1\.PHN:2: 'first-sample end-sample phone' is wanted, not '300 200 sh'"):
        miniature.prepare(corpus, tmp_path / "bad")


@only("musan")
def test_musan(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    assert read_table(tmp_path / "out" / "music" / "utt2class") == {
        "music-fma-0000": "fma-vocals",
        "music-fma-0001": "fma",
    }
    assert sorted(path.name for path in (tmp_path / "out" / "noise").iterdir()) == ["utt2class", "wav.scp"]


@only("rirs")
def test_rirs(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    assert read_table(tmp_path / "out" / "rir" / "utt2class") == {
        "air_type1_air_binaural_aula_carolina_0_1_1": "real",
        "large-Room001-00001": "simulated-large",
        "medium-Room001-00001": "simulated-medium",
        "small-Room001-00001": "simulated-small",
    }
    classes = read_table(tmp_path / "out" / "noise" / "utt2class")
    assert sorted(classes.values()) == ["isotropic", "point-source"]


@only("speechocean762")
def test_speechocean762(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    data = DataDir.read(tmp_path / "out" / "train")
    assert data.wavs["0001-000000010"] == f"{tmp_path}/corpus/speechocean762/WAVE/SPEAKER0001/000000010.WAV"
    assert (data.table("spk2gender")["0001"], data.table("spk2age")["0001"]) == ("m", "6")


@only("sitw")
def test_sitw_enrols_with_and_without_assistance(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    data = DataDir.read(tmp_path / "out" / "eval_sitw_eval")
    assert read_lists(data.path / "enroll.spk2utt") == {
        "assist-10001": ["AB-assist-10001-0"],
        "assist-20001": ["CD-assist-20001-0"],
        "core-10001": ["AB-core-10001-0"],
        "core-10002": ["CD-core-10002-0"],
    }
    place, segment = data.recording_of("CD-assist-20001-0")
    assert len(read_audio(place, segment)[0]) == pytest.approx(0.4 * 16000, abs=1)
    place, segment = data.recording_of("CD-ddddd")
    assert len(read_audio(place, segment)[0]) == 16000
    assert table(data.path / "trials_core_multi") == [
        "core-10001 AB-bbbbb target",
        "core-10001 CD-ddddd nontarget",
        "core-10002 AB-bbbbb nontarget",
        "core-10002 CD-ddddd target",
    ]
    lists = {path.name for path in data.path.glob("trials*")}
    assert lists == {f"trials_{enroll}_{test}" for enroll in ("core", "assist") for test in ("core", "multi")}
    assert data.table("utt2session")["CD-ddddd"] == "CD-60527True"
    assert data.table("spk2gender") == {"AB": "f", "CD": "f"}


@only("magicdata")
def test_magicdata_takes_what_is_listed_with_its_day(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    data = DataDir.read(tmp_path / "out" / "train")
    assert data.spk2utt()["5_541"] == ["5_541-5_541_20170826171117", "5_541-5_541_20170827171117"]
    assert data.table("utt2session")["5_541-5_541_20170827171117"] == "5_541-20170827"
    assert data.table("spk2gender")["14_3466"] == "f"
    assert (tmp_path / "out" / "eval_magicdata" / "trials_cross_session").exists()


@only("tal_csasr")
def test_tal_csasr_has_no_speakers(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    assert table(tmp_path / "out" / "unlabelled" / "utt2spk") == ["0001 0001", "0002 0002"]


@only("chime5")
def test_chime5_segments_by_the_speakers_own_clock(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    data = DataDir.read(tmp_path / "out" / "eval_chime5")
    assert data.spk2utt()["P01"] == [
        f"P01-{session}-{span}" for session in ("S01", "S21") for span in ("0000050-0000190", "0000250-0000390")
    ]
    place, segment = data.recording_of("P01-S01-0000250-0000390")
    assert (place.rpartition("/")[2], str(segment)) == ("S01_P01.wav", "S01_P01 2.5 3.9")
    assert len(read_audio(place, segment, channel=0)[0]) == pytest.approx(1.4 * 16000, abs=1)
    assert (data.path / "trials_cross_session").exists()


@only("voices")
def test_voices_never_pairs_one_sentence_with_itself(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    data = DataDir.read(tmp_path / "out" / "eval_voices")
    sessions, trials = data.table("utt2session"), read_trials(data.path / "trials")
    assert trials.summary() == "8 target and 8 nontarget trials"
    for enroll, test in zip(trials.enroll[trials.target], trials.test[trials.target], strict=True):
        assert sessions[trials.enroll_ids[enroll]] != sessions[trials.test_ids[test]]
    assert [path.name for path in data.path.glob("trials*")] == ["trials"]
    assert set(data.table("utt2room").values()) == {"rm1", "rm2"}


@only("commonvoice")
def test_commonvoice_speakers_train_or_evaluate_over_all_languages(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    speakers = {
        path.name: {spk: len(utts) for spk, utts in DataDir.read(path).spk2utt().items()}
        for path in (tmp_path / "out").iterdir()
    }
    assert speakers == {
        "train": {"d" * 16: 3},  # e has one clip; a and b evaluate; c is in dev.tsv
        "eval_commonvoice_en": {"a" * 16: 3, "b" * 16: 3},
        "eval_commonvoice_de": {"f" * 16: 3, "g" * 16: 3},
    }
    assert read_table(tmp_path / "out" / "train" / "utt2lang")[f"{'d' * 16}-common_voice_en_d0"] == "en"
    assert read_table(tmp_path / "out" / "train" / "spk2gender") == {"d" * 16: "f"}


@only("ami")
def test_ami_segments_and_rttm(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    data = DataDir.read(tmp_path / "out" / "eval_ami")
    assert data.spk2utt() == {
        spk: [f"{spk}-{meeting}-{span}" for meeting in meetings for span in ("0000050-0000190", "0000300-0000450")]
        for spk, meetings in (
            ("FEE013", ("ES2004a", "ES2004b")),
            ("FEE016", ("ES2004a",)),
            ("MEE006", ("ES2004b",)),
        )
    }
    assert sorted(DataDir.read(tmp_path / "out" / "train").spk2utt()) == ["FEE005"]  # MEE006 evaluates
    rttm = table(data.path / "rttm")
    assert rttm[0] == "SPEAKER ES2004a 1 0.500 1.400 <NA> <NA> FEE013 <NA> <NA>"
    assert len(rttm) == 2 * 2 * 3
    assert data.table("spk2gender") == {"FEE013": "f", "FEE016": "f", "MEE006": "m"}


@only("3dspeaker")
def test_3dspeaker(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    data = DataDir.read(tmp_path / "out" / "eval_3dspeaker")
    utt = "3D_SPK_10001_001_Device03_Distance00_Dialect00"
    assert len(data.utts) == 4
    assert (data.utt2spk[utt], data.table("utt2channel")[utt]) == ("3D_SPK_10001", "Device03")
    assert data.table("utt2dialect")[utt] == "Standard_Mandarin"
    assert len(list(data.path.glob("trials_cross_*"))) == 3
    miniature.prepare(tmp_path / "corpus", tmp_path / "out", leave_out=[])
    assert len(DataDir.read(data.path).utts) == 6


@only("dacon")
def test_dacon_labels_mean_what_they_are_said_to(miniature: Miniature, tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    miniature.prepare(corpus, out)
    assert table(out / "train" / "utt2spk") == ["idx2-b-1 idx2", "idx_1-a-1 idx_1", "idx_1-a-2 idx_1"]
    assert table(out / "eval_dacon" / "trials") == ["c-1 c-2 target", "c-1 d-1 nontarget"]
    miniature.prepare(corpus, out, same_label=1)
    assert table(out / "eval_dacon" / "trials") == ["c-1 c-2 nontarget", "c-1 d-1 target"]
    (corpus / "test_data.csv").write_text("file_name,file_name_\nc/1.wav,d/1.wav\n")
    miniature.prepare(corpus, out)
    there = sorted(path.name for path in (out / "eval_dacon").iterdir())
    assert there == ["pair_rows.csv", "pairs", "spk2utt", "utt2spk", "wav.scp"], "no trials of before"
    assert table(out / "eval_dacon" / "pairs") == ["c-1 d-1"]


@only(
    "aishell1", "aishell2", "aidatatang", "magicdata", "cnceleb", "3dspeaker", "chime5", "ami", "librispeech", "timit"
)
def test_the_language_is_told(miniature: Miniature, tmp_path: Path) -> None:
    miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    front = miniature.front.__name__.rpartition("_")[2]
    language = "en" if front in ("chime5", "ami", "librispeech", "timit") else "zh"
    for path in (tmp_path / "out").iterdir():
        utts = read_table(path / "utt2spk")
        assert read_table(path / "utt2lang") == dict.fromkeys(utts, language)
