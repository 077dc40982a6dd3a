"""Pack files are read as they were written, and hostile or damaged ones refused in one line each."""

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.external_data_helper import set_external_data

from tests.runtime.tiny_pack import mean_network, tiny_members, write_tiny
from timbre.runtime.pack_file import PackError, PackFile

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def parts() -> tuple[dict[str, Any], Members]:
    return tiny_members()


@pytest.fixture
def whole(parts: tuple[dict[str, Any], Members], tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny.timbre", *parts)


def refused(path: Path) -> str:
    with pytest.raises(PackError) as told:
        PackFile.open(path)
    text = str(told.value)
    assert text.startswith(str(path)) and "\n" not in text and told.value.status == 1
    return text


def test_a_folder_and_a_file_are_the_same_pack(
    whole: Path, parts: tuple[dict[str, Any], Members], tmp_path: Path
) -> None:
    zipfile.ZipFile(whole).extractall(tmp_path / "folder")
    one, other = PackFile.open(whole), PackFile.open(tmp_path / "folder")
    assert one.checksum == other.checksum and one.network_checksum == other.network_checksum
    assert one.bytes("front.onnx") == other.bytes("front.onnx") == parts[1]["front.onnx"]
    assert one.settings == other.settings and list(one.arrays) == ["plda_mean"]
    with pytest.raises(PackError, match=r"'secret' is not in it"):
        one.bytes("secret")


def test_checksums_tell_what_makes_embeddings(parts: tuple[dict[str, Any], Members], tmp_path: Path) -> None:
    settings, members = parts
    first = PackFile.open(write_tiny(tmp_path / "a.timbre", settings, members))
    renamed = PackFile.open(write_tiny(tmp_path / "b.timbre", {**settings, "name": "other"}, members))
    assert renamed.network_checksum == first.network_checksum and renamed.checksum != first.checksum
    network = mean_network(20, seed=1).SerializeToString()
    retrained = PackFile.open(write_tiny(tmp_path / "c.timbre", settings, {**members, "model_feats.onnx": network}))
    assert retrained.network_checksum != first.network_checksum


def test_damage_is_found(whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    path = tmp_path / "bad.timbre"
    for size in (0, 10, len(content) // 2, len(content) - 5):
        path.write_bytes(content[:size])
        assert "not a pack, or a damaged one" in refused(path)
    for place in range(40, len(content), len(content) // 60):  # whatever is altered, it is told
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x41]) + content[place + 1 :])
        try:
            assert PackFile.open(path).checksum == PackFile.open(whole).checksum
        except PackError as error:
            assert "\n" not in str(error)
    assert "no such file" in refused(tmp_path / "none.timbre")
    path.write_text("no zip")
    assert "not a pack" in refused(path)
    (tmp_path / "empty").mkdir()
    assert "no pack: pack.json is not in it" in refused(tmp_path / "empty")


def changed(change: Callable[[dict[str, Any], Members], None], tmp_path: Path, seal: bool = True) -> str:
    """What is told of the pack after CHANGE."""
    settings, members = tiny_members()
    if not seal:
        settings["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    change(settings, members)
    return refused(write_tiny(tmp_path / "changed.timbre", settings, members, seal))


def test_altered_missing_and_smuggled_members(tmp_path: Path) -> None:
    def alter(settings: dict[str, Any], members: Members) -> None:
        members["model_feats.onnx"] = members["model_feats.onnx"][:-1] + b"x"

    assert "'model_feats.onnx' was altered or is damaged" in changed(alter, tmp_path, seal=False)
    assert "'arrays.npz' is missing" in changed(lambda _, members: members.pop("arrays.npz"), tmp_path, seal=False)
    smuggled = changed(lambda _, members: members.update(more=b"x"), tmp_path, seal=False)
    assert "'more' is in it, but not in its list of files" in smuggled


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("version", 3, "made by a newer timbre: its version is 3"),
        ("version", "1", "version '1' is none"),
        ("format", "other", "is not that of a timbre-pack"),
        ("rate", None, "'rate' is missing, or not what it should be"),
        ("models", {}, "'models' has no fp32"),
    ],
)
def test_settings_that_do_not_fit(name: str, value: Any, told: str, tmp_path: Path) -> None:
    assert told in changed(lambda settings, _: settings.update({name: value}), tmp_path)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "C:evil", "a/b", "..", "a\\b"])
def test_names_that_lead_elsewhere(name: str, tmp_path: Path) -> None:
    told = changed(lambda _, members: members.update({name: b"x"}), tmp_path)
    assert "is not the name of a file in a pack" in told
    assert not (tmp_path.parent / "evil").exists()


def test_links_copies_and_encrypted_members(whole: Path, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    for entry, told in ((link, "'link' is a link"), (zipfile.ZipInfo("front.onnx"), "'front.onnx' is in it twice")):
        path = tmp_path / "bad.timbre"
        path.write_bytes(whole.read_bytes())
        with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning) if "twice" in told else _quiet():
            file.writestr(entry, b"/etc/passwd")
        assert told in refused(path)
    folder = tmp_path / "folder"
    zipfile.ZipFile(whole).extractall(folder)
    (folder / "front.onnx").rename(tmp_path / "front.onnx")
    (folder / "front.onnx").symlink_to(tmp_path / "front.onnx")
    assert "'front.onnx' is not a plain file" in refused(folder)


class _quiet:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def test_zip_bombs(tmp_path: Path) -> None:
    def zeros(_: dict[str, Any], members: Members) -> None:
        members["zeros"] = bytes(100 << 20)

    assert "would be 104,857,600 bytes: a zip bomb" in changed(zeros, tmp_path)
    settings, members = tiny_members()
    path = write_tiny(tmp_path / "lies.timbre", settings, {**members, "zeros": bytes(1 << 20)})
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):  # a header that announces less than there is
        place = content.index(b"zeros", content.index(mark, content.rindex(b"zeros") - 60 if offset == 24 else 0))
        start = content.rindex(mark, 0, place)
        content[start + offset : start + offset + 4] = struct.pack("<I", 1000)
    path.write_bytes(content)
    assert "zeros" in refused(path) or "damaged" in refused(path)


def test_arrays_that_are_no_numbers(tmp_path: Path) -> None:
    def pickled(_: dict[str, Any], members: Members) -> None:
        content = io.BytesIO()
        np.savez(content, plda_mean=np.array([print], object), allow_pickle=True)
        members["arrays.npz"] = content.getvalue()

    def bomb(_: dict[str, Any], members: Members) -> None:
        content = io.BytesIO()
        np.savez_compressed(content, plda_mean=np.zeros(4 << 20))
        members["arrays.npz"] = content.getvalue()

    def not_finite(_: dict[str, Any], members: Members) -> None:
        content = io.BytesIO()
        np.savez(content, plda_mean=np.full(3, np.nan))
        members["arrays.npz"] = content.getvalue()

    assert "has what is no array of numbers" in changed(pickled, tmp_path)
    assert "a zip bomb" in changed(bomb, tmp_path)
    assert "'plda_mean' has NaN" in changed(not_finite, tmp_path)


@pytest.mark.parametrize("nested", [False, True])
def test_weights_from_other_files_are_refused(nested: bool, tmp_path: Path) -> None:
    model = mean_network(20)
    tensor = next(one for one in model.graph.initializer if len(one.dims) == 2)
    set_external_data(tensor, "/etc/passwd", 0, 480)
    tensor.ClearField("raw_data")
    if nested:  # in a branch of an If
        inner = onnx.helper.make_graph([], "inner", [], [], [tensor])
        model.graph.initializer.remove(tensor)
        model.graph.node.append(onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))
    content = model.SerializeToString()
    told = changed(lambda _, members: members.update({"model_feats.onnx": content}), tmp_path)
    assert "wants weights from other files" in told
    cut = changed(lambda _, members: members.update({"model_feats.onnx": content[:-3]}), tmp_path)
    assert "'model_feats.onnx' is damaged" in cut or "wants weights" in cut


def test_settings_of_any_depth_and_size(tmp_path: Path) -> None:
    path = tmp_path / "deep.timbre"
    for text in ("[" * 100_000, "{", "null", json.dumps({"format": "timbre-pack"}), '{"a": NaN'):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("pack.json", text)
        assert "pack.json" in refused(path)
