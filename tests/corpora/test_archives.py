"""Archives: split, nested, damaged, hostile, and runs that were killed."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from corpus_tree import snapshot, tar
from local.unpack import unpack
from timbre.corpora import archives
from timbre.corpora.archives import read_checksums
from timbre.utils.errors import DataError

FILES = {"wav/id1/a/1.wav": b"one" * 1000, "wav/id1/b/2.wav": b"two" * 1000, "list.txt": b"x\n"}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def put(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def unpacked(folder: Path) -> dict[str, bytes]:
    """What lies in FOLDER besides the notes of which archive is unpacked."""
    return {name: data for name, data in snapshot(folder).items() if not name.startswith(".unpacked/")}


@pytest.mark.parametrize("name", ["a.tar", "a.tgz", "a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.zip"])
def test_every_kind_is_unpacked(name: str, tmp_path: Path) -> None:
    modes = {"tar": "w", "tgz": "w:gz", "gz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}
    data = zipped(FILES) if name.endswith("zip") else tar(FILES, modes[name.rpartition(".")[2]])
    unpack(put(tmp_path / "got", **{name: data}), tmp_path / "corpus")
    assert unpacked(tmp_path / "corpus") == FILES


@pytest.mark.parametrize(
    "names",
    [
        ("vox1_dev_wav_partaa", "vox1_dev_wav_partab", "vox1_dev_wav_partac"),
        ("a.tar.gzaa", "a.tar.gzab", "a.tar.gzac"),
        ("a.zip.00", "a.zip.01", "a.zip.02"),
        ("a.zip.001", "a.zip.002", "a.zip.003"),
    ],
)
def test_parts_are_read_as_one(names: tuple[str, ...], tmp_path: Path) -> None:
    data = tar(FILES) if "tar" in names[0] else zipped(FILES)
    third = len(data) // 3
    parts = (data[:third], data[third : 2 * third], data[2 * third :])
    got = put(tmp_path / "got", **dict(zip(names, parts, strict=True)))
    unpack(got, tmp_path / "corpus")
    assert unpacked(tmp_path / "corpus") == FILES
    (got / names[1]).unlink()
    with pytest.raises(DataError, match=rf"{names[2]}: the part before it, .*, is missing"):
        unpack(got, tmp_path / "other")
    (got / names[2]).unlink()
    with pytest.raises(DataError, match=r"cut short or damaged"):
        unpack(got, tmp_path / "other")
    assert unpacked(tmp_path / "other") == {}


def test_archives_meet_in_one_tree_and_archives_in_archives_are_unpacked(tmp_path: Path) -> None:
    inner = tar({"S0002/1.wav": b"speech"})
    got = put(
        tmp_path / "got",
        **{"a.tgz": tar({"wav/S0002.tar.gz": inner, "wav/x": b"1"}), "b.zip": zipped({"wav/x": b"2", "wav/y": b"3"})},
    )
    unpack(got, tmp_path / "corpus")
    assert unpacked(tmp_path / "corpus") == {"wav/S0002/1.wav": b"speech", "wav/x": b"2", "wav/y": b"3"}
    unpack(got, tmp_path / "flat", nested=False)
    assert unpacked(tmp_path / "flat")["wav/S0002.tar.gz"] == inner


def test_checksums_beside_the_archives_are_verified(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tar(FILES)
    got = put(tmp_path / "got", **{"a.tgz": data, "b.tgz": tar({"b": b"1"}), "c.tgz": tar({"c": b"1"})})
    md5, sha256 = hashlib.md5(data).hexdigest(), hashlib.sha256((got / "b.tgz").read_bytes()).hexdigest()
    (got / "md5sum.txt").write_text(f"{md5}  ./a.tgz\n\nMD5 (x.tgz) = {md5}\n")
    (got / "b.sha256").write_text(f"{sha256} *b.tgz\n")
    assert read_checksums(got) == {"a.tgz": md5, "x.tgz": md5, "b.tgz": sha256}
    unpack(got, tmp_path / "corpus")
    assert "c.tgz: its checksum is not known" in caplog.text
    assert "a.tgz: its checksum" not in caplog.text
    (got / "md5sum.txt").write_text(f"{md5[::-1]}  a.tgz\n")
    with pytest.raises(DataError, match=rf"a\.tgz: its checksum is {md5}, not {md5[::-1]}: cut short or damaged"):
        unpack(got, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    (got / "md5sum.txt").write_text(f"{md5}  a.tgz\nhello\n")
    with pytest.raises(DataError, match=r"md5sum\.txt:2: not a checksum and a file: 'hello'"):
        unpack(got, tmp_path / "other")
    (got / "md5sum.txt").unlink()
    put(got, **{"musan.tar.gz": data})
    with pytest.raises(DataError, match=r"musan\.tar\.gz: its checksum is .*, not 0c472d4fc0c5141eca47ad1ffeb2a7df"):
        unpack(got, tmp_path / "other")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.98])
@pytest.mark.parametrize("name", ["a.tgz", "a.zip"])
def test_a_truncated_archive_leaves_nothing_and_a_whole_one_helps(name: str, share: float, tmp_path: Path) -> None:
    data = (zipped if name == "a.zip" else tar)(FILES)
    got = put(tmp_path / "got", **{name: data[: int(len(data) * share)]})
    with pytest.raises(DataError, match=rf"{name}: cut short or damaged"):
        unpack(got, tmp_path / "corpus")
    assert list((tmp_path / "corpus").iterdir()) == []
    put(got, **{name: data})
    unpack(got, tmp_path / "corpus")
    assert unpacked(tmp_path / "corpus") == FILES


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(FILES))
    data[40:60] = bytes(20)
    with pytest.raises(DataError, match=r"a\.zip: cut short or damaged"):
        unpack(put(tmp_path / "got", **{"a.zip": bytes(data)}), tmp_path / "corpus")


def hostile(kind: str, tmp_path: Path) -> bytes:
    """A tar archive that would write outside, or makes what is no file."""
    outside = str(tmp_path / "outside")
    member = tarfile.TarInfo({"climb": "../outside", "deep": "a/../../outside"}.get(kind, "x"))
    if kind in ("link", "hard link"):
        member.type = tarfile.SYMTYPE if kind == "link" else tarfile.LNKTYPE
        member.linkname = outside if kind == "link" else "../../outside"
    elif kind in ("device", "fifo"):
        member.type = tarfile.CHRTYPE if kind == "device" else tarfile.FIFOTYPE
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(member, io.BytesIO())
        through = tarfile.TarInfo("x/written")  # through the link
        through.size = 3
        archive.addfile(through, io.BytesIO(b"bad"))
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["climb", "deep", "link", "hard link", "device", "fifo"])
def test_a_hostile_tar_is_refused(kind: str, tmp_path: Path) -> None:
    got = put(tmp_path / "got", **{"a.tgz": hostile(kind, tmp_path)})
    with pytest.raises(DataError, match=r"a\.tgz: refused, it would leave the folder or is no file"):
        unpack(got, tmp_path / "corpus")
    assert not (tmp_path / "outside").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "got"]


def test_a_hostile_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    for index, name in enumerate(["../outside", "/outside", "a/../../outside", "C:/outside", link]):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(name, b"bad")
        got = put(tmp_path / f"got{index}", **{"a.zip": buffer.getvalue()})
        with pytest.raises(DataError, match=r"a\.zip: refused"):
            unpack(got, tmp_path / "corpus")
    assert not (tmp_path / "outside").exists()


def test_an_absolute_name_lands_inside(tmp_path: Path) -> None:
    unpack(put(tmp_path / "got", **{"a.tgz": tar({f"{tmp_path}/outside": b"x"})}), tmp_path / "corpus")
    assert not (tmp_path / "outside").exists()
    assert list(unpacked(tmp_path / "corpus").values()) == [b"x"]


def test_a_killed_run_goes_on_and_a_second_run_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got = put(tmp_path / "got", **{"a.tgz": tar({"a": b"1"}), "b.tgz": tar({"b": b"2"})})
    done: list[str] = []
    true_unpack = archives.unpack

    def killed(archive: archives.Archive, folder: Path) -> None:
        done.append(archive.name)
        true_unpack(archive, folder)
        if archive.name == "b.tgz" and done.count("b.tgz") == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(archives, "unpack", killed)
    with pytest.raises(KeyboardInterrupt):
        unpack(got, tmp_path / "corpus")
    assert not (tmp_path / "corpus" / "b").exists()
    unpack(got, tmp_path / "corpus")
    assert done == ["a.tgz", "b.tgz", "b.tgz"]
    assert unpacked(tmp_path / "corpus") == {"a": b"1", "b": b"2"}
    unpack(got, tmp_path / "corpus")
    assert len(done) == 3
    put(got, **{"a.tgz": tar({"a": b"another version"})})
    unpack(got, tmp_path / "corpus")
    assert unpacked(tmp_path / "corpus")["a"] == b"another version"


def test_a_folder_without_archives_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such directory"):
        unpack(tmp_path / "nowhere", tmp_path / "corpus")
    with pytest.raises(DataError, match="no archive"):
        unpack(put(tmp_path / "got", **{"x.txt": b""}), tmp_path / "corpus")
