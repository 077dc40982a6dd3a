"""Binary trial lists and scores with broken headers, marks of byte order, and numbers as only Python reads them."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from timbre.datadir.rttm import read_rttm
from timbre.datadir.tables import read_numbers, read_table
from timbre.datadir.trials import Trials, read_scores, read_trials, write_scores, write_trials
from timbre.utils.errors import DataError

TRIALS = Trials.of(["a", "b"], ["b", "c"], [True, False])
HEADERS = [
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,",  # tokenize.TokenError
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }",
    b"(" * 5000,
    b"\xff\xfe",
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_broken_headers(tmp_path: Path, header: bytes) -> None:
    array = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + bytes(8)
    (tmp_path / "scores.npy").write_bytes(array)
    with pytest.raises(DataError, match=r"scores\.npy: not a \.npy file, or cut short"):
        read_scores(tmp_path / "scores.npy", TRIALS)
    write_trials(tmp_path / "good.npz", TRIALS)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "good.npz") as good, zipfile.ZipFile(tmp_path / "bad.npz", "w", method) as bad:
            for name in good.namelist():
                bad.writestr(name, array if name == "enroll.npy" else good.read(name))
        with pytest.raises(DataError, match=r"bad\.npz: not a trial list"):
            read_trials(tmp_path / "bad.npz")


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", np.float32([1, 2]))
    assert np.array_equal(read_scores(tmp_path / "scores.npy", TRIALS), [1, 2])
    write_scores(tmp_path / "ours.npy", TRIALS, np.array([1.0, 2.0]))
    content = (tmp_path / "ours.npy").read_bytes()
    assert np.array_equal(np.load(io.BytesIO(content)), [1, 2])


def test_a_byte_order_mark_is_named(tmp_path: Path) -> None:
    bom = b"\xef\xbb\xbf"
    (tmp_path / "x").write_bytes(bom + b"a b target\n")
    for read in (read_trials, lambda path: read_scores(path, TRIALS), read_table, read_rttm):
        with pytest.raises(DataError, match=r"x:1: begins with a byte order mark"):
            read(tmp_path / "x")
    (tmp_path / "x").write_bytes(bom + b"a b 1.5\n")
    with pytest.raises(DataError, match=r"x:1: begins with a byte order mark"):
        read_scores(tmp_path / "x", TRIALS)


def test_underscores_are_no_part_of_a_number(tmp_path: Path) -> None:
    (tmp_path / "scores").write_text("a b 1_0\nb c 1\n")
    with pytest.raises(DataError, match=r"scores:1: not a number: '1_0'"):
        read_scores(tmp_path / "scores", TRIALS)
    (tmp_path / "utt2dur").write_text("a 1_0\n")
    with pytest.raises(DataError, match="not a number"):
        read_numbers(tmp_path / "utt2dur")
    (tmp_path / "r.rttm").write_text("SPEAKER r 1 1_0 1 <NA> <NA> a <NA> <NA>\n")
    with pytest.raises(DataError, match="not a number of seconds"):
        read_rttm(tmp_path / "r.rttm")
