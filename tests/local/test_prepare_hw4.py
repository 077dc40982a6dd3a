"""local/prepare_hw4.py: the order of the test set, and damaged copies, each refused in one line."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from local import prepare_hw4
from made_hw4 import Made, make_hw4
from miniatures import Miniature, only
from timbre.datadir.ark import read_mat
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table
from timbre.utils.errors import DataError

Edit = Callable[[dict[str, object]], object]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    make_hw4(tmp_path / "ntu", Made(speakers=3, utts=2, tests=4, frames=(5, 9)))
    return tmp_path / "ntu"


def edited(path: Path, edit: Edit) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def prepare(corpus: Path) -> Path:
    prepare_hw4.prepare_hw4(corpus, corpus.parent / "out", partial=True)
    return corpus.parent / "out"


def test_rows_are_in_the_order_of_testdata(corpus: Path) -> None:
    listed = [entry["feature_path"] for entry in json.loads((corpus / "testdata.json").read_text())["utterances"]]
    rows = read_table(prepare(corpus) / "eval_hw4" / "utt2row")
    assert rows == {file.removesuffix(".pt"): f"{number} {file}" for number, file in enumerate(listed, 1)}
    assert listed != sorted(listed), "so that order says something"
    assert not (corpus.parent / "out" / "train" / "utt2row").exists()


BAD: dict[str, tuple[str, Edit, str]] = {
    "duplicate rows": (
        "testdata.json",
        lambda content: content["utterances"].append(content["utterances"][0]),  # type: ignore[attr-defined, index]
        r"testdata\.json: lists uttr-\w+\.pt twice \(1 such files\)",
    ),
    "no rows": (
        "testdata.json",
        lambda content: content.update(utterances=[]),
        r"testdata\.json: 'utterances' is empty",
    ),
    "rows that are no list": (
        "testdata.json",
        lambda content: content.update(utterances={"a": 1}),
        r"testdata\.json: 'utterances' is not a list",
    ),
    "speakers that are a list": (
        "metadata.json",
        lambda content: content.update(speakers=["id00001"]),
        r"metadata\.json: 'speakers' is not of names",
    ),
    "a speaker without entries in a list": (
        "metadata.json",
        lambda content: content.update(speakers=dict.fromkeys(content["speakers"], 3)),  # type: ignore[call-overload]
        r"metadata\.json: speaker '\w+' has no list of utterances",
    ),
    "a speaker that is not in the mapping": (
        "mapping.json",
        lambda content: content["speaker2id"].popitem(),  # type: ignore[attr-defined]
        r"mapping\.json: speaker '\w+' of metadata\.json is not in it",
    ),
    "a mapping without speakers": ("mapping.json", lambda content: content.clear(), r"mapping\.json: .*speaker"),
}


@pytest.mark.parametrize(("name", "edit", "message"), BAD.values(), ids=BAD.keys())
def test_lists_that_are_wrong(corpus: Path, name: str, edit: Edit, message: str) -> None:
    edited(corpus / name, edit)
    with pytest.raises(DataError, match=message):
        prepare(corpus)
    assert not (corpus.parent / "out").exists()


TENSORS = {
    "NaN": (torch.full((6, 40), float("nan")), "holds numbers that are not finite"),
    "39 dimensions": (torch.zeros(6, 39), r"39 dimensions, and 40 are wanted"),
    "no frames": (torch.zeros(0, 40), r"not a tensor \(num_frames, n_mels\)"),
    "no tensor": ([1.0], r"not a tensor \(num_frames, n_mels\)"),
    "complex": (torch.zeros(6, 40, dtype=torch.complex64), r"not a tensor \(num_frames, n_mels\)"),
}


@pytest.mark.parametrize(("tensor", "message"), TENSORS.values(), ids=TENSORS.keys())
def test_features_that_are_wrong(corpus: Path, tensor: object, message: str) -> None:
    file = json.loads((corpus / "testdata.json").read_text())["utterances"][0]["feature_path"]
    torch.save(tensor, corpus / file)
    with pytest.raises(DataError, match=rf"{file}: {message}"):
        prepare(corpus)


def test_a_file_that_is_missing(corpus: Path) -> None:
    file = json.loads((corpus / "testdata.json").read_text())["utterances"][0]["feature_path"]
    (corpus / file).unlink()
    with pytest.raises(DataError, match=r"--partial true takes what is there"):
        prepare_hw4.prepare_hw4(corpus, corpus.parent / "out")


@only("hw4")
def test_hw4_features_come_through(miniature: Miniature, tmp_path: Path) -> None:
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    miniature.prepare(corpus, out)
    data = DataDir.read(out / "train")
    assert data.utts == [f"{spk}-uttr-{spk}{n}" for spk in ("id00464", "id00559") for n in "ab"]
    features = read_mat(data.table("feats.scp")["id00559-uttr-id00559a"])
    assert (features.shape, features.dtype, set(features.ravel())) == ((22, 40), np.float32, {2.0})
    assert data.table("utt2num_frames")["id00559-uttr-id00559a"] == "22"
    assert DataDir.read(out / "eval_hw4").utt2spk == {"uttr-testa": "uttr-testa", "uttr-testb": "uttr-testb"}
    mapping = corpus / "mapping.json"
    mapping.write_text(mapping.read_text().replace("speaker2id", "speakers2id"))
    miniature.prepare(corpus, out)
    mapping.write_text('{"speaker2id": {"id00464": 0}}')
    with pytest.raises(DataError, match=r"mapping\.json: speaker 'id00559' of metadata\.json is not in it"):
        miniature.prepare(corpus, out)


@only("hw4")
def test_hw4_runs_no_code_from_a_feature_file(miniature: Miniature, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/exploded",)

    torch.save(Bomb(), tmp_path / "corpus" / "uttr-testa.pt")
    with pytest.raises(DataError, match=r"uttr-testa\.pt: not a tensor"):
        miniature.prepare(tmp_path / "corpus", tmp_path / "out")
    assert not (tmp_path / "exploded").exists()
    torch.save(torch.zeros(3), tmp_path / "corpus" / "uttr-testa.pt")
    with pytest.raises(DataError, match=r"uttr-testa\.pt: not a tensor \(num_frames, n_mels\)"):
        miniature.prepare(tmp_path / "corpus", tmp_path / "out")
