"""Nothing half-written is ever left under a final name."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from timbre.utils.errors import DataError
from timbre.utils.files import atomic_folder, atomic_path, atomic_write, remove_temporaries


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


def fill(folder: Path, kind: str = "cake", **inputs: list[Path]) -> None:
    with atomic_folder(folder, kind, **inputs) as temporary:
        (temporary / "new").touch()


def test_a_folder_is_replaced_by_its_own_kind_only(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "set") as temporary:
        temporary.mkdir()
        (temporary / "old").touch()
    with (
        pytest.raises(DataError, match=r"set: cannot write: Directory not empty"),
        atomic_path(tmp_path / "set") as new,
    ):
        new.mkdir()
    with pytest.raises(DataError, match=r"set: exists, and is no cake: it is left as it is"):
        fill(tmp_path / "set")
    assert os.listdir(tmp_path / "set") == ["old"] and os.listdir(tmp_path) == ["set"]
    fill(tmp_path / "cake")
    (tmp_path / "cake" / "more").touch()
    with pytest.raises(DataError, match="is no bread"):
        fill(tmp_path / "cake", "bread")
    fill(tmp_path / "cake")
    assert sorted(os.listdir(tmp_path / "cake")) == [".timbre", "new"]
    (tmp_path / "empty" / ".done").mkdir(parents=True)
    fill(tmp_path / "empty")
    (tmp_path / "link").symlink_to("cake")
    fill(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and sorted(os.listdir(tmp_path)) == ["cake", "empty", "link", "set"]
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: is a file; a cake is a folder"):
        fill(tmp_path / "file")


def test_what_a_step_reads_and_where_it_runs_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "cake")
    (tmp_path / "cake" / "inner").mkdir()
    for path in (tmp_path / "cake", tmp_path / "cake" / "new", tmp_path / "cake" / "inner" / ".." / "new"):
        with pytest.raises(DataError, match="cake: is or holds an input"):
            fill(tmp_path / "cake", inputs=[path])
    monkeypatch.chdir(tmp_path / "cake" / "inner")
    for path in (Path(".."), Path("."), tmp_path, Path("/")):
        with pytest.raises(DataError, match="is or holds the working directory"):
            fill(path)
    assert sorted(os.listdir(tmp_path / "cake")) == [".timbre", "inner", "new"]


def test_temporaries_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    living = subprocess.Popen(["sleep", "60"])
    dead = subprocess.Popen(["true"])
    dead.wait()
    try:
        with atomic_path(tmp_path / "table") as temporary:
            mine = temporary.name.replace(str(os.getpid()), "{}")
            temporary.touch()
        for pid in (living.pid, dead.pid):
            (tmp_path / mine.format(pid)).mkdir()
            (tmp_path / mine.format(pid) / "half").touch()
            (tmp_path / f".table.tmp{pid}").touch()  # as they were called before machines were told apart
            (tmp_path / f".other.tmp{pid}").touch()
        (tmp_path / f".table.tmp{dead.pid}-0123abcd").touch()  # of another machine
        program = "import sys; from timbre.utils.files import atomic_write\nwith atomic_write(sys.argv[1]): pass"
        subprocess.run([sys.executable, "-c", program, str(tmp_path / "table")], check=True)
        living_ones = [mine.format(living.pid), f".table.tmp{living.pid}", f".other.tmp{living.pid}"]
        others = [f".table.tmp{dead.pid}-0123abcd", f".other.tmp{dead.pid}"]
        assert sorted(os.listdir(tmp_path)) == sorted(["table", *living_ones, *others])
    finally:
        living.kill()
        living.wait()


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


def test_what_workers_of_other_machines_left_is_removed_by_one_who_is_alone_there(tmp_path: Path) -> None:
    left, own = tmp_path / ".x.tmp1-00000000", tmp_path / f".y.tmp{os.getpid()}"
    left.mkdir()
    own.touch()
    remove_temporaries(tmp_path)
    assert left.exists()
    remove_temporaries(tmp_path, of_others=True)
    assert not left.exists() and own.exists()
