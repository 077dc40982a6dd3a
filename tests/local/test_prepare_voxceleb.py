"""VoxCeleb1 and 2 as they are published, in miniature."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from corpus_tree import grow, plant, table, unchanged_by, whole, write
from local import prepare_voxceleb as front
from local.prepare_voxceleb import prepare_voxceleb
from timbre.audio.reading import read_audio
from timbre.corpora.published_trees import Person, voxceleb
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table
from timbre.datadir.validate import validate
from timbre.utils.errors import DataError

VOX1 = ["id10001/1zcIwhmdeo4/00001", "id10001/7gWzIy6yIIk/00001", "id10002/0_laIeN-Q44/00001"]
TEST = ["id10270/5r0dWxy17C8/00001", "id10270/x6uYqmx31kE/00002", "id10300/ize_eiCFEg0/00001"]
VOX2 = ["id00012/21Uxsk56VDQ/00001", "id00012/2DLq_Kkc1r8/00016", "id00015/0fijmz4vTVU/00001"]
TEST2 = ["id00017/01dfn2spqyE/00001"]
PEOPLE = {
    "id10001": Person("A.J._Buckley", "m", "Ireland"),
    "id10002": Person("A.R._Rahman", "m", "India"),
    "id10270": Person("Eartha_Kitt", "f", "USA"),
    "id10300": Person("Ewan_McGregor", "m", "UK"),
    "id00012": Person("n000012", "m", ""),
    "id00015": Person("n000015", "m", ""),
    "id00017": Person("n000017", "f", ""),
}
LISTS = {
    "veri_test": f"1 {TEST[0]}.wav {TEST[1]}.wav\n0 {TEST[0]}.wav {TEST[2]}.wav\n",
    "list_test_all": f"1 {VOX1[0]}.wav {VOX1[1]}.wav\n0 {VOX1[0]}.wav {TEST[2]}.wav\n",
    "list_test_hard": f"1 {VOX1[0]}.wav {VOX1[1]}.wav\n0 {VOX1[0]}.wav {VOX1[2]}.wav\n",
}


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "Vox Celeb"
    parts = {"vox1_dev": VOX1, "vox1_test": TEST, "vox2_dev": VOX2, "vox2_test": TEST2}
    grow(path, voxceleb(parts, PEOPLE))
    for name, text in LISTS.items():
        write(path / "vox1" / f"{name}.txt", text)
        write(path / "vox1" / f"{name}2.txt", text)
    monkeypatch.setattr(
        front, "PUBLISHED", {"vox1_dev": (2, 3), "vox1_test": (2, 3), "vox2_dev": (2, 3), "vox2_test": (1, 1)}
    )
    monkeypatch.setattr(front, "LISTS", {name: (file, 2) for name, (file, _) in front.LISTS.items()})
    return path


def ids(names: list[str]) -> list[str]:
    return sorted(name.replace("/", "-") for name in names)


def test_training_and_evaluation_sets_and_every_list(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare_voxceleb(corpus, out)
    whole(out, "train", "eval_vox1")
    train = DataDir.read(out / "train")
    assert train.utts == ids(VOX2)
    assert train.wavs["id00012-21Uxsk56VDQ-00001"] == f"{corpus}/vox2/dev/aac/{VOX2[0]}.m4a"
    assert train.table("spk2gender") == {"id00012": "m", "id00015": "m"}
    assert train.table("utt2session")["id00012-2DLq_Kkc1r8-00016"] == "id00012-2DLq_Kkc1r8"
    assert sorted(path.name for path in (out / "train").iterdir()) == [
        "spk2gender",
        "spk2utt",
        "utt2session",
        "utt2spk",
        "wav.scp",
    ]
    evaluation = DataDir.read(out / "eval_vox1")
    assert evaluation.utts == ids(VOX1 + TEST)
    assert evaluation.table("spk2nation") == {
        "id10001": "Ireland",
        "id10002": "India",
        "id10270": "USA",
        "id10300": "UK",
    }
    lists = sorted(path.name for path in (out / "eval_vox1").glob("trials*"))
    assert lists == sorted([f"trials_{kind}{form}" for kind in "oeh" for form in ("", "_original")])
    assert table(out / "eval_vox1" / "trials_h") == [
        "id10001-1zcIwhmdeo4-00001 id10001-7gWzIy6yIIk-00001 target",
        "id10001-1zcIwhmdeo4-00001 id10002-0_laIeN-Q44-00001 nontarget",
    ]
    samples, rate = read_audio(train.wavs["id00012-21Uxsk56VDQ-00001"])
    assert (rate, samples.dtype) == (16000, np.float32)
    unchanged_by(lambda: prepare_voxceleb(corpus, out), corpus, out)


def test_what_is_said_in_one_video_can_be_joined(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = ["id00012/2DLq_Kkc1r8/00017", "id00012/2DLq_Kkc1r8/00002"]
    plant(corpus / "vox2" / "dev" / "aac", *(f"{name}.m4a" for name in more), seconds=0.2)
    monkeypatch.setitem(front.PUBLISHED, "vox2_dev", (2, 5))
    out = tmp_path / "out"

    def prepare() -> None:
        prepare_voxceleb(corpus, out, join_sessions=True, nj=1)

    prepare()
    train = DataDir.read(out / "train")
    name = "id00012-2DLq_Kkc1r8-00002-and-2"
    assert train.utts == ids([VOX2[0], VOX2[2], name.replace("-", "/", 2)])
    assert validate(out / "train", need_wav=True) == validate(out / "eval_vox1", need_wav=True) == []
    assert train.table("utt2session")[name] == "id00012-2DLq_Kkc1r8"
    parts = [read_audio(f"{corpus}/vox2/dev/aac/{part}.m4a")[0] for part in (more[1], VOX2[1], more[0])]
    joined, rate = read_audio(train.wavs[name])
    assert rate == 16000 and np.abs(joined - np.concatenate(parts)).max() < 1e-4
    assert DataDir.read(out / "eval_vox1").utts == ids(VOX1 + TEST)
    unchanged_by(prepare, corpus, out)


def test_speakers_that_train_are_in_no_trial(corpus: Path, tmp_path: Path) -> None:
    prepare_voxceleb(corpus, tmp_path / "out", train=["vox1_dev", "vox2_dev", "vox2_test"])
    whole(tmp_path / "out", "train", "eval_vox1")
    assert DataDir.read(tmp_path / "out" / "train").utts == ids(VOX1 + VOX2 + TEST2)
    assert DataDir.read(tmp_path / "out" / "eval_vox1").utts == ids(TEST)
    assert {path.name for path in (tmp_path / "out" / "eval_vox1").glob("trials*")} == {"trials_o", "trials_o_original"}
    with pytest.raises(DataError, match="some of vox1_dev"):
        prepare_voxceleb(corpus, tmp_path / "out", train=["vox1_test"])


def test_speakers_can_be_kept_out_of_training(corpus: Path, tmp_path: Path) -> None:
    overlap = write(tmp_path / "overlap.txt", "A.J._Buckley\nid00015\n")
    prepare_voxceleb(corpus, tmp_path / "out", train=["vox1_dev", "vox2_dev"], exclude=overlap)
    inside = write(corpus / "inside.txt", overlap.read_text())
    unchanged_by(
        lambda: prepare_voxceleb(corpus, tmp_path / "out", train=["vox1_dev", "vox2_dev"], exclude=Path(inside.name)),
        corpus,
        tmp_path / "out",
    )
    with pytest.raises(DataError, match=r"no nowhere\.txt in it"):
        prepare_voxceleb(corpus, tmp_path / "out", exclude=Path("nowhere.txt"))
    whole(tmp_path / "out", "train", "eval_vox1")
    assert set(DataDir.read(tmp_path / "out" / "train").spk2utt()) == {"id10002", "id00012"}
    assert set(read_table(tmp_path / "out" / "train" / "spk2gender")) == {"id10002", "id00012"}


def test_a_flat_layout_of_converted_files_and_doubles(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    plant(corpus / "a" / "wav", *(f"{name}.wav" for name in [*VOX2, "id99999/x/1", "id00012/deep/er/1"]))
    shutil.copytree(corpus / "vox1" / "test" / "wav", corpus / "vox1" / "dev" / "wav", dirs_exist_ok=True)
    prepare_voxceleb(corpus, tmp_path / "out")
    whole(tmp_path / "out", "train", "eval_vox1")
    wavs = DataDir.read(tmp_path / "out" / "train").wavs
    assert wavs["id00012-21Uxsk56VDQ-00001"] == f"{corpus}/a/wav/{VOX2[0]}.wav"
    assert "aac: 3 files passed over: their utterances are there as other files" in caplog.text
    assert "wav: 2 files passed over: not <speaker>/<video>/<part>" in caplog.text


def test_a_partial_copy_is_told_and_taken_when_asked(corpus: Path, tmp_path: Path) -> None:
    (corpus / "vox1" / "test" / "wav" / f"{TEST[2]}.wav").unlink()
    (corpus / "vox1" / "veri_test.txt").unlink()
    shutil.rmtree(corpus / "vox2" / "dev" / "aac" / "id00012")
    with pytest.raises(DataError) as error:
        prepare_voxceleb(corpus, tmp_path / "out")
    for text in (
        "vox1_test: speakers: 1 are there, 2 are published",
        "vox1_test: utterances: 2 are there, 3 are published",
        "vox2_dev: utterances: 1 are there, 3 are published",
        "veri_test.txt",
        "files of 1 trials of veri_test2.txt, first of line 2: 'id10270-5r0dWxy17C8-00001 id10300-ize_eiCFEg0-00001'",
        "--partial true",
    ):
        assert text in str(error.value)
    assert not (tmp_path / "out").exists()
    prepare_voxceleb(corpus, tmp_path / "out", partial=True)
    whole(tmp_path / "out", "train", "eval_vox1")
    assert len(table(tmp_path / "out" / "eval_vox1" / "trials_o")) == 1
    assert not (tmp_path / "out" / "eval_vox1" / "trials_o_original").exists()


def test_bad_lists_are_told_with_file_and_line(corpus: Path, tmp_path: Path) -> None:
    def refused(name: str, text: str, message: str) -> None:
        path = corpus / name
        before = path.read_text()
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            prepare_voxceleb(corpus, tmp_path / "out", partial=True)
        path.write_text(before)
        assert not (tmp_path / "out").exists()

    refused("vox1/list_test_all.txt", f"1 {VOX1[0]}.wav\n", r"list_test_all\.txt:1: three fields are wanted, not 2")
    refused("vox1/veri_test2.txt", LISTS["veri_test"] + "2 a b\n", r"veri_test2\.txt:3: label '2' is not")
    refused("vox2_meta.csv", "VoxCeleb2 ID,Gender\n", r"vox2_meta\.csv:1: no column Set in its header")
    refused(
        "vox2_meta.csv", "VoxCeleb2 ID,x,Gender,Set\nid00012,n,m\n", r"vox2_meta\.csv:2: 4 fields are wanted, not 3"
    )
    refused("vox2_meta.csv", "VoxCeleb2 ID,x,Gender,Set\nid00012,n,m,eval\n", r"vox2_meta\.csv:2: not a speaker of dev")
    (corpus / "vox1" / "vox1_meta.csv").unlink()
    with pytest.raises(DataError, match=r"Vox Celeb: no vox1_meta\.csv in it or two folders deep; it is published at"):
        prepare_voxceleb(corpus, tmp_path / "out", partial=True)
    with pytest.raises(DataError, match="nowhere: no such directory"):
        prepare_voxceleb(tmp_path / "nowhere", tmp_path / "out")


def test_unusable_names_are_listed(corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = "id00012/21Uxsk56VDQ"
    plant(corpus / "vox2" / "dev" / "aac", f"{video}/0 1.m4a", f"{video}/._00001.m4a", f"{video}/x.txt", kind="m4a")
    (corpus / "vox2" / "dev" / "aac" / "id00012" / "loop").symlink_to(corpus / "vox2" / "dev" / "aac")
    prepare_voxceleb(corpus, tmp_path / "out")
    whole(tmp_path / "out", "train", "eval_vox1")
    assert "21Uxsk56VDQ/0 1.m4a: passed over: a blank in its name, or not UTF-8" in caplog.text
    assert caplog.text.count("passed over") == 1
