"""A stage is up to date only while nothing that it read, wrote or was told has changed."""

import os
from pathlib import Path

import pytest

from timbre.utils.errors import DataError
from timbre.utils.fingerprint import record, why_run


@pytest.fixture
def stage(tmp_path: Path) -> tuple[Path, list[str], list[str], list[str]]:
    (tmp_path / "wav.scp").write_text(f"a {tmp_path}/a.wav\nb cat x |\n")
    (tmp_path / "a.wav").write_bytes(b"audio")
    (tmp_path / "conf.yaml").write_text("bins: 80\n")
    (tmp_path / "feats.scp").write_text(f"a {tmp_path}/feats.ark:2\n")
    (tmp_path / "feats.ark").write_bytes(b"features")
    inputs = [str(tmp_path / "wav.scp"), str(tmp_path / "conf.yaml")]
    outputs = [str(tmp_path / "feats.scp")]
    stamp = tmp_path / ".done" / "features"
    record(stamp, inputs, outputs, ["nj-free option"])
    return stamp, inputs, outputs, ["nj-free option"]


def test_nothing_changed(stage) -> None:
    assert why_run(*stage) is None


@pytest.mark.parametrize(
    "name, content",
    [
        ("conf.yaml", b"bins: 40\n"),
        ("wav.scp", b"a other.wav\n"),
        ("feats.scp", b""),
        ("a.wav", b"other audio"),  # named by wav.scp
        ("feats.ark", b"cut"),  # named by feats.scp
    ],
)
def test_changed_content_is_seen(stage, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert "changed" in (why_run(*stage) or "")


def test_touched_small_file_is_not_a_change(stage, tmp_path: Path) -> None:
    os.utime(tmp_path / "conf.yaml", ns=(1, 1))
    assert why_run(*stage) is None


def test_deleted_output_ark(stage, tmp_path: Path) -> None:
    (tmp_path / "feats.ark").unlink()
    assert why_run(*stage) == f"{tmp_path}/feats.scp changed"


def test_options_and_file_lists(stage, tmp_path: Path) -> None:
    stamp, inputs, outputs, options = stage
    assert why_run(stamp, inputs, outputs, ["another"]) == "options changed: another, nj-free option"
    assert "other inputs" in (why_run(stamp, inputs[:1], outputs, options) or "")
    assert why_run(stamp, inputs, [*outputs, str(tmp_path / "new")], options) == f"{tmp_path}/new does not exist"
    assert why_run(stamp, inputs, outputs, options, remade=inputs[:1]) == f"{inputs[0]} would be made again"


def test_never_finished_or_damaged_stamp(stage) -> None:
    stamp = stage[0]
    stamp.write_text("{")
    assert why_run(*stage) == f"{stamp} cannot be read"
    stamp.unlink()
    assert why_run(*stage) == "it has not run to its end"


def test_folder_input_sees_new_files(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    (corpus / "spk").mkdir(parents=True)
    (tmp_path / "out").touch()
    stamp = tmp_path / "stamp"
    record(stamp, [str(corpus)], [str(tmp_path / "out")], [])
    assert why_run(stamp, [str(corpus)], [str(tmp_path / "out")], []) is None
    (corpus / "spk" / "new.wav").write_bytes(b"x")
    assert why_run(stamp, [str(corpus)], [str(tmp_path / "out")], []) == f"{corpus} changed"


def test_promised_output_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="without making it"):
        record(tmp_path / "stamp", [], [str(tmp_path / "absent")], [])
    assert not (tmp_path / "stamp").exists()
