"""A stage is up to date only while nothing that it read, wrote or was told has changed."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from timbre.utils import fingerprint
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


def test_identical_bytes_of_a_large_table_are_not_a_change(tmp_path: Path) -> None:
    table, other = tmp_path / "wav.scp", tmp_path / "trials"
    lines = b"".join(b"utterance-of-many-%07d /dev/null\n" % number for number in range(500_000))
    assert len(lines) > 1 << 24
    for path in (table, other):
        path.write_bytes(lines)
    stage = tmp_path / "stamp", [str(table), str(other)], [], []
    record(*stage)
    for path in (table, other):
        path.unlink()
        path.write_bytes(lines)
    assert why_run(*stage) is None
    other.write_bytes(lines[:-2] + b"n\n")
    assert why_run(*stage) == f"{other} changed"


def test_a_large_file_is_read_again_only_when_it_was_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "final.pt"
    model.write_bytes(bytes(1 << 21))
    stage = tmp_path / "stamp", [str(model)], [], []
    record(*stage)
    reads: list[object] = []
    file_digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *args: reads.append(args) or file_digest(*args))
    assert why_run(*stage) is None and not reads
    os.utime(model)
    assert why_run(*stage) is None and len(reads) == 1
    status = model.stat()
    (tmp_path / "other").write_bytes(bytes((1 << 21) - 1) + b"1")
    os.utime(tmp_path / "other", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "other").rename(model)
    assert why_run(*stage) == f"{model} changed"


def test_stamps_of_large_files_by_time_still_hold(tmp_path: Path) -> None:
    model = tmp_path / "final.pt"
    model.write_bytes(bytes((1 << 24) + 1))
    line = f"{model} {model.stat().st_size} {model.stat().st_mtime_ns}\n".encode()
    content = {"options": [], "inputs": {str(model): hashlib.sha256(line).hexdigest()}, "outputs": {}}
    (tmp_path / "stamp").write_text(json.dumps(content))
    assert why_run(tmp_path / "stamp", [str(model)], [], []) is None
    os.utime(model)
    assert why_run(tmp_path / "stamp", [str(model)], [], []) == f"{model} changed"


def test_audio_is_looked_at_once_and_inputs_count_as_they_were(
    stage: tuple[Path, list[str], list[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    look = fingerprint._stat_line
    monkeypatch.setattr(fingerprint, "_stat_line", lambda name: looks.append(name) or look(name))
    (tmp_path / "a.wav").write_bytes(b"other audio")
    assert why_run(*stage, keeps=True) == f"{tmp_path}/wav.scp changed"
    record(*stage)
    assert looks.count(f"{tmp_path}/a.wav") == 1
    assert why_run(*stage) is None
    assert os.listdir(tmp_path / ".done") == ["features"]
    (tmp_path / "a.wav").write_bytes(b"more audio")
    assert why_run(*stage, keeps=True) == f"{tmp_path}/wav.scp changed"
    (tmp_path / "a.wav").write_bytes(b"changed while the stage ran")
    record(*stage)
    assert why_run(*stage) == f"{tmp_path}/wav.scp changed"


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
