"""Kaldi archives, against files that Kaldi wrote."""

import pickle
import resource
import struct
from pathlib import Path

import kaldiio
import numpy as np
import pytest

from timbre.datadir.ark import ArkWriter, Compression, read_ark, read_mat, read_shape, read_vectors, write_vectors
from timbre.utils.errors import DataError


@pytest.fixture(params=["in the clone", "all"])
def compressed(request: pytest.FixtureRequest, kaldi: Path) -> Path:
    """Matrices that Kaldi compressed, and the same decompressed by Kaldi."""
    return (kaldi if request.param == "in the clone" else request.getfixturevalue("kaldi_full")) / "compressed"


@pytest.fixture
def matrices() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    shapes = {"a": (30, 7), "b-é": (1, 3), "c": (200, 1), "d": (9, 80), "e": (3, 2), "f;$(x)": (5, 5)}
    return {key: generator.normal(0, 10, shape).astype(np.float32) for key, shape in shapes.items()}


def write(path: Path, arrays: dict[str, np.ndarray], compression: Compression = "none") -> dict[str, str]:
    with ArkWriter(path, compression) as ark:
        for key, array in arrays.items():
            ark.write(key, array)
    return ark.scp


def test_compressed_matrices_decode_to_kaldis_bits(compressed: Path) -> None:
    decompressed = sorted(compressed.glob("*_decompressed.ark"))
    assert len(decompressed) >= 3
    for path in decompressed:
        ours, kaldis = dict(read_ark(path.with_name(path.name.replace("_decompressed", "")))), dict(read_ark(path))
        assert ours.keys() == kaldis.keys()
        for key in ours:
            np.testing.assert_array_equal(ours[key], kaldis[key])


def test_every_other_archive_of_kaldis_reads(compressed: Path) -> None:
    for path in compressed.glob("*_auto.ark"):
        for _, matrix in read_ark(path):
            assert matrix.dtype == np.float32
            assert np.isfinite(matrix).all()


def test_an_empty_compressed_matrix_reads_by_offset_and_in_sequence(kaldi: Path, tmp_path: Path) -> None:
    data = (kaldi / "compressed" / "fbank80_empty_auto.ark").read_bytes()
    assert read_mat(f"{kaldi}/compressed/fbank80_empty_auto.ark:6").shape == (0, 0)
    follower = (kaldi / "compressed" / "fbank80_short_auto.ark").read_bytes().replace(b"short", b"after")
    (tmp_path / "both.ark").write_bytes(data + follower + data)
    shapes = [(key, matrix.shape) for key, matrix in read_ark(tmp_path / "both.ark")]
    assert shapes == [("short", (0, 0)), ("after", (2, 80)), ("short", (0, 0))]


def test_kaldis_uncompressed_archives_read_as_kaldiio_reads_them(kaldi: Path) -> None:
    paths = [*(kaldi / "feats").glob("*.ark"), *(kaldi / "cmvn").glob("*.ark")]
    assert paths
    for path in paths:
        for (key, ours), (their_key, theirs) in zip(read_ark(path), kaldiio.load_ark(str(path)), strict=True):
            assert key == their_key
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


def test_kaldis_text_archive_equals_its_binary_one(kaldi_full: Path) -> None:
    text = dict(read_ark(kaldi_full / "misc" / "mfcc23_sre16_8k_snip_false.txt"))
    binary = dict(read_ark(kaldi_full / "feats" / "mfcc23_sre16_8k_snip_false.ark"))
    assert text.keys() == binary.keys()
    for key in text:
        np.testing.assert_allclose(text[key], binary[key], rtol=1e-5)


def test_text_vectors_and_matrices(tmp_path: Path) -> None:
    (tmp_path / "t.ark").write_text("v  [ 1 2.5 -3e2 ]\nm  [\n  1 2\n  3 4 ]\ne  [ ]\n")
    arrays = dict(read_ark(tmp_path / "t.ark"))
    np.testing.assert_array_equal(arrays["v"], np.array([1, 2.5, -300], np.float32))
    np.testing.assert_array_equal(arrays["m"], np.array([[1, 2], [3, 4]], np.float32))
    assert arrays["e"].shape == (0,)


def test_what_is_written_is_read_back_exactly(matrices: dict[str, np.ndarray], tmp_path: Path) -> None:
    arrays = matrices | {
        "v": np.arange(5, dtype=np.float32),
        "double": np.eye(3),
        "empty": np.empty((0, 80), np.float32),
    }
    scp = write(tmp_path / "x.ark", arrays)
    for key, array in read_ark(tmp_path / "x.ark"):
        by_offset = read_mat(scp[key])
        wanted = arrays[key] if arrays[key].size else np.empty((0, 0), np.float32)
        for read in (array, by_offset):
            assert read.dtype == wanted.dtype
            np.testing.assert_array_equal(read, wanted)
        assert read_shape(scp[key]) == wanted.shape
        assert by_offset.flags.writeable


def test_kaldiio_reads_what_is_written(matrices: dict[str, np.ndarray], tmp_path: Path) -> None:
    write(tmp_path / "x.ark", matrices)
    for key, array in kaldiio.load_ark(str(tmp_path / "x.ark")):
        np.testing.assert_array_equal(array, matrices[key])


@pytest.mark.parametrize(
    ("compression", "kind", "steps"), [("CM", b"CM ", 250), ("CM2", b"CM2 ", 65000), ("CM3", b"CM3 ", 250)]
)
def test_compression_loses_no_more_than_its_steps(
    compression: Compression, kind: bytes, steps: int, matrices: dict[str, np.ndarray], tmp_path: Path
) -> None:
    scp = write(tmp_path / "x.ark", matrices, compression)
    assert (tmp_path / "x.ark").read_bytes()[2:].startswith(b"\0B" + kind)
    for key, matrix in matrices.items():
        span = matrix.max() - matrix.min() or 1
        assert np.abs(read_mat(scp[key]) - matrix).max() <= span / steps * 2
        assert read_shape(scp[key]) == matrix.shape


def test_compressing_writes_kaldis_bytes(kaldi_full: Path, tmp_path: Path) -> None:
    feats = dict(read_ark(kaldi_full / "feats" / "mfcc30_16k_snip_false.ark"))
    for compression, method in (("CM", 2), ("CM3", 5)):
        write(tmp_path / "x.ark", {"utt1": feats["utt1"]}, compression)  # type: ignore[arg-type]
        kaldis = kaldi_full / "compressed" / f"mfcc30_utt1_method{method}.ark"
        assert (tmp_path / "x.ark").read_bytes() == kaldis.read_bytes()


def test_ranges_include_their_last_row_and_column(tmp_path: Path) -> None:
    matrix = np.arange(30, dtype=np.float32).reshape(6, 5)
    place = write(tmp_path / "x.ark", {"m": matrix})["m"]
    np.testing.assert_array_equal(read_mat(f"{place}[1:3]"), matrix[1:4])
    np.testing.assert_array_equal(read_mat(f"{place}[1:3,0:1]"), matrix[1:4, :2])
    np.testing.assert_array_equal(read_mat(f"{place}[:,2:2]"), matrix[:, 2:3])
    assert read_shape(f"{place}[1:3]") == (3, 5)
    with pytest.raises(DataError, match="not a range"):
        read_mat(f"{place}[1:]")


def test_paths_may_hold_what_looks_like_an_offset_or_a_range(tmp_path: Path) -> None:
    matrix = np.ones((2, 2), np.float32)
    path = tmp_path / "a:12[3]" / "b c.ark"
    path.parent.mkdir()
    np.testing.assert_array_equal(read_mat(write(path, {"m": matrix})["m"]), matrix)


@pytest.mark.parametrize("compression", ["none", "CM", "CM2", "CM3"])
def test_an_archive_cut_anywhere_is_told(
    compression: Compression, matrices: dict[str, np.ndarray], tmp_path: Path
) -> None:
    scp = write(tmp_path / "x.ark", matrices | {"v": np.ones(4, np.float32)}, compression)
    data = (tmp_path / "x.ark").read_bytes()
    ends = [int(place.rpartition(":")[2]) for place in scp.values()]
    whole = {0, len(data), *(end - len(key.encode()) - 1 for key, end in zip(scp, ends, strict=True))}
    for cut in [*range(1, 80), *range(80, len(data), 97), *range(len(data) - 40, len(data))]:
        (tmp_path / "cut.ark").write_bytes(data[:cut])
        if cut in whole:
            list(read_ark(tmp_path / "cut.ark"))
            continue
        with pytest.raises(DataError, match=r"cut\.ark: .*(cut short|not a)"):
            list(read_ark(tmp_path / "cut.ark"))
    (tmp_path / "cut.ark").write_bytes(data[:-1])
    place = scp["v"].replace("x.ark", "cut.ark")
    for read in (read_mat, read_shape):
        with pytest.raises(DataError, match=r"cut\.ark: the object at byte \d+ is cut short"):
            read(place)


@pytest.mark.parametrize(
    "data",
    [
        b"utt1 spk1\nutt2 spk2\n",
        b"just text",
        b"utt1 \0B<Nnet> ",
        b"utt1 \0BXM \4\1\0\0\0\4\1\0\0\0",
        b"utt1 \0BFM \4\xff\xff\xff\xff\4\1\0\0\0",
        b"utt1 \0BFM \7\1\0\0\0\4\1\0\0\0\0\0\0\0",
        b"utt1 \0BFM \4\xff\xff\xff\x7f\4\xff\xff\xff\x7f" + bytes(100),
        b"utt1  [ 1 2 x ]\n",
        b"utt1  [\n 1 2\n 3 ]\n",
        b"utt1  [ 1 2\n",
        b"\xff\xfe \0BFV \4\0\0\0\0",
        bytes(1000),
    ],
)
def test_what_is_no_archive_is_told(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.ark").write_bytes(data)
    for read in (lambda path: list(read_ark(path)), read_vectors):
        with pytest.raises(DataError, match=r"x\.ark: "):
            read(tmp_path / "x.ark")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    (tmp_path / "x.ark").write_bytes(b"utt1 PKL" + pickle.dumps(Payload()))
    with pytest.raises(DataError, match="entry 'utt1' is not a matrix or a vector"):
        list(read_ark(tmp_path / "x.ark"))
    with pytest.raises(DataError):
        read_mat(f"{tmp_path}/x.ark:5")
    assert not (tmp_path / "ran").exists()


def test_int32_vectors_read(tmp_path: Path) -> None:
    values = [3, -1, 2**30]
    body = b"".join(b"\4" + struct.pack("<i", value) for value in values)
    (tmp_path / "x.ark").write_bytes(b"a \0B\4" + struct.pack("<i", 3) + body)
    ((key, array),) = read_ark(tmp_path / "x.ark")
    assert (key, array.tolist()) == ("a", values)


def test_a_failing_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), ArkWriter(tmp_path / "x.ark") as ark:
        ark.write("a", np.ones(3))
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(DataError, match=r"x\.ark: cannot write: File too large"):
            write(tmp_path / "x.ark", {str(key): np.ones((100, 100), np.float32) for key in range(10)})
        with pytest.raises(DataError, match=r"x\.ark: cannot write: File too large"):
            write_vectors(tmp_path / "x", [str(key) for key in range(1000)], np.ones((1000, 100)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(tmp_path.iterdir())


def test_a_writer_refuses_what_could_not_be_read(tmp_path: Path) -> None:
    with ArkWriter(tmp_path / "x.ark", "CM") as ark:
        ark.write("a", np.ones((3, 2)))
        for key in ("", "a b", "a\n"):
            with pytest.raises(DataError, match="cannot be an id"):
                ark.write(key, np.ones((3, 2)))
        with pytest.raises(DataError, match="'a' is written twice"):
            ark.write("a", np.ones((3, 2)))
        with pytest.raises(DataError, match="'b' has NaN or infinite"):
            ark.write("b", np.array([[1, np.nan]]))
    assert list(dict(read_ark(tmp_path / "x.ark"))) == ["a"]


@pytest.fixture
def vectors() -> tuple[list[str], np.ndarray]:
    generator = np.random.default_rng(0)
    ids = ["".join(generator.choice(list("abcé漢-;"), generator.integers(1, 9))) + f"{row}" for row in range(5000)]
    return ids, generator.normal(size=(5000, 16)).astype(np.float32)


def test_vectors_survive(vectors: tuple[list[str], np.ndarray], tmp_path: Path) -> None:
    ids, values = vectors
    write_vectors(tmp_path / "x.y", ids, values)
    read_ids, read_values = read_vectors(tmp_path / "x.y.ark")
    assert read_ids == ids
    np.testing.assert_array_equal(read_values, values)
    read_ids, read_values = read_vectors(tmp_path / "x.y.scp")
    assert read_ids == sorted(ids)
    np.testing.assert_array_equal(read_values, values[np.argsort(np.array(ids, object))])
    for (key, array), wanted in zip(kaldiio.load_ark(str(tmp_path / "x.y.ark")), values, strict=True):
        np.testing.assert_array_equal(array, wanted, err_msg=key)


def test_vectors_of_kaldis_read(kaldi: Path) -> None:
    ids, values = read_vectors(kaldi / "backend" / "eval.ark")
    for (key, array), ours, row in zip(read_ark(kaldi / "backend" / "eval.ark"), ids, values, strict=True):
        assert key == ours
        np.testing.assert_array_equal(array, row)


def test_vectors_out_of_several_archives_keep_the_order_of_the_scp(
    vectors: tuple[list[str], np.ndarray], tmp_path: Path
) -> None:
    ids, values = vectors
    lines: list[str] = []
    for part in range(3):
        write_vectors(tmp_path / f"{part}", ids[part::3], values[part::3])
        lines += (tmp_path / f"{part}.scp").read_text().splitlines()
    np.random.default_rng(1).shuffle(lines)
    (tmp_path / "all.scp").write_text("\n".join(lines[:1000]) + "\n")
    read_ids, read_values = read_vectors(tmp_path / "all.scp")
    assert read_ids == [line.split()[0] for line in lines[:1000]]
    row_of = {name: row for row, name in enumerate(ids)}
    np.testing.assert_array_equal(read_values, values[[row_of[name] for name in read_ids]])


def test_doubles_and_text_vectors_read_as_float32(tmp_path: Path) -> None:
    write(tmp_path / "d.ark", {"a": np.arange(3.0), "b": np.ones(3)})
    (tmp_path / "t.ark").write_text("a  [ 0 1 2 ]\nb  [ 1 1 1 ]\n")
    for name in ("d.ark", "t.ark"):
        ids, values = read_vectors(tmp_path / name)
        assert ids == ["a", "b"]
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, [[0, 1, 2], [1, 1, 1]])


def test_bad_vectors_are_told_by_utterance(tmp_path: Path) -> None:
    def problem(arrays: dict[str, np.ndarray]) -> str:
        scp = write(tmp_path / "x.ark", arrays)
        (tmp_path / "x.scp").write_text("".join(f"{key} {place}\n" for key, place in scp.items()))
        messages = []
        for suffix in ("ark", "scp"):
            with pytest.raises(DataError) as error:
                read_vectors(tmp_path / f"x.{suffix}")
            messages.append(str(error.value).removeprefix(f"{tmp_path}/x.{suffix}: "))
        assert messages[0] == messages[1]
        return messages[0]

    ones = np.ones(4, np.float32)
    assert problem({"a": ones, "b": ones * np.nan}) == "the vector of 'b' has NaN or infinite values"
    assert problem({"a": ones, "b": ones * np.inf}) == "the vector of 'b' has NaN or infinite values"
    assert problem({"a": ones, "b": ones[:3]}) == "'b' has dimension 3, those before it 4"
    assert problem({"a": ones, "b": np.ones((2, 4))}) == "'b' is a matrix of shape (2, 4); a vector is wanted"


def test_large_finite_vectors_are_no_error(tmp_path: Path) -> None:
    values = np.full((2, 8), 3e38, np.float32)
    write_vectors(tmp_path / "x", ["a", "b"], values)
    np.testing.assert_array_equal(read_vectors(tmp_path / "x.ark")[1], values)


def test_cut_twice_and_empty_archives_of_vectors_are_told(tmp_path: Path) -> None:
    write_vectors(tmp_path / "x", ["a", "b", "c"], np.ones((3, 4)))
    data = (tmp_path / "x.ark").read_bytes()
    (tmp_path / "twice.ark").write_bytes(data + data)
    with pytest.raises(DataError, match="'a' is there twice"):
        read_vectors(tmp_path / "twice.ark")
    (tmp_path / "x.ark").write_bytes(data[:-3])
    for name in ("x.ark", "x.scp"):
        with pytest.raises(DataError, match=r"x\.ark: entry 'c' is cut short"):
            read_vectors(tmp_path / name)
    (tmp_path / "x.ark").write_bytes(data[: len(data) // 3])  # between two entries: only the scp tells
    assert read_vectors(tmp_path / "x.ark")[0] == ["a"]
    with pytest.raises(DataError, match=r"x\.ark: entry 'b' is cut short"):
        read_vectors(tmp_path / "x.scp")
    (tmp_path / "x.ark").write_bytes(b"")
    with pytest.raises(DataError, match=r"x\.ark: the file is empty"):
        read_vectors(tmp_path / "x.ark")
    (tmp_path / "x.scp").write_bytes(b"")
    with pytest.raises(DataError, match=r"x\.scp: no vectors in it"):
        read_vectors(tmp_path / "x.scp")


def test_ids_that_could_not_be_read_are_not_written(tmp_path: Path) -> None:
    for ids, message in ((["a", "a"], "'a' is there twice"), (["a", "b c"], "cannot be an id"), (["a"], "1 ids, but")):
        with pytest.raises(DataError, match=message):
            write_vectors(tmp_path / "x", ids, np.ones((2, 4)))
    assert not list(tmp_path.iterdir())


def test_an_old_table_never_points_into_a_new_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_vectors(tmp_path / "x", ["a", "b"], np.ones((2, 4)))

    def fail(*_: object) -> None:
        raise DataError("the disk is full")

    monkeypatch.setattr("timbre.datadir.ark.write_table", fail)
    with pytest.raises(DataError, match="full"):
        write_vectors(tmp_path / "x", ["b"], np.zeros((1, 4)))
    assert [path.name for path in tmp_path.iterdir()] == ["x.ark"]
