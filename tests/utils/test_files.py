"""Nothing half-written is ever left under a final name."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from timbre.utils.errors import DataError
from timbre.utils.files import atomic_path, atomic_write


def test_written_whole_with_lf(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "new" / "table") as file:
        file.write("é 1\n")
        assert not (tmp_path / "new" / "table").exists()
    assert (tmp_path / "new" / "table").read_bytes() == "é 1\n".encode()


def test_exception_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "table").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "table") as file:
        file.write("new")
        _ = 1 / 0
    assert (tmp_path / "table").read_text() == "old"
    assert os.listdir(tmp_path) == ["table"]


def test_folder_replaces_folder(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old").touch()
    with atomic_path(tmp_path / "set") as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert os.listdir(tmp_path / "set") == ["new"]


def test_killed_writer_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    program = (
        "import sys, time; from timbre.utils.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as f: f.write('half'); f.flush(); print('writing', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "table")], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "table").exists()


def test_folder_that_cannot_be_made_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(DataError, match=r"plain/table: cannot write: (Not a directory|File exists)"):
        with atomic_write(tmp_path / "plain" / "table") as file:
            file.write("x")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting a small disk")
    try:
        with pytest.raises(DataError, match="disk/table: cannot write: No space left on device"):
            with atomic_write(disk / "table", "wb") as file:
                file.write(bytes(1 << 20))
        assert os.listdir(disk) == []
    finally:
        time.sleep(0.05)
        subprocess.run(["umount", str(disk)], check=True)
