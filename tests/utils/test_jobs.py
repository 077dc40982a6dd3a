"""Jobs give the same results in the same order however many run at once, and their errors reach the caller."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from timbre.utils.errors import DataError
from timbre.utils.jobs import run_jobs, split_jobs


def square(number: int) -> int:
    time.sleep(0.01 * (3 - number % 3))
    return number * number


def threads(_: int) -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


def fail(number: int) -> None:
    if number == 2:
        raise DataError("bad line", "data/wav.scp", 7)


def die(_: int) -> None:
    os._exit(9)


def test_results_in_order_for_any_nj() -> None:
    assert run_jobs(square, range(7), 1, "") == run_jobs(square, range(7), 3, "") == [n * n for n in range(7)]


def test_workers_use_one_thread_and_the_parent_keeps_its_own() -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    assert run_jobs(threads, [0, 1], 2, "") == ["1", "1"]
    assert os.environ.get("OMP_NUM_THREADS") == before


@pytest.mark.parametrize("nj", [1, 2])
def test_the_error_of_a_job_is_raised(nj: int) -> None:
    with pytest.raises(DataError, match=r"^data/wav.scp:7: bad line$"):
        run_jobs(fail, range(4), nj, "")


def test_a_killed_job_is_told() -> None:
    with pytest.raises(DataError, match="a job died"):
        run_jobs(die, [0, 1], 2, "features")


def sleep_beside(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.utils.test_jobs import sleep_beside\n"
        "from timbre.utils.jobs import run_jobs\n"
        "if __name__ == '__main__': run_jobs(sleep_beside, [Path(sys.argv[1])] * 2, 2, '')"
    )
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "pids").mkdir()
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, tmp_path / "program.py", tmp_path / "pids"], env=os.environ | {"PYTHONPATH": str(root)}
    )
    deadline = time.monotonic() + 30
    while len(pids := os.listdir(tmp_path / "pids")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def litter(folder: Path) -> None:
    (folder / f"pid{os.getpid()}").touch()
    while True:
        (folder / "work").mkdir(parents=True, exist_ok=True)
        (folder / "work" / "part").touch()


def test_workers_are_gone_before_ctrl_c_reaches_the_caller(tmp_path: Path) -> None:
    """They would make again what the caller cleans up."""
    program = (
        "import os, shutil, sys; from pathlib import Path; from tests.utils.test_jobs import litter\n"
        "from timbre.utils.jobs import run_jobs\n"
        "if __name__ == '__main__':\n"
        "    try: run_jobs(litter, [Path(sys.argv[1])] * 2, 2, '')\n"
        "    finally: shutil.rmtree(Path(sys.argv[1]) / 'work')"
    )
    (tmp_path / "program.py").write_text(program)
    folder = tmp_path / "folder"
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, tmp_path / "program.py", folder]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(pids := list(folder.glob("pid*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait(30)
    assert not [path for path in pids if Path(f"/proc/{path.name.removeprefix('pid')}").exists()]
    assert not (folder / "work").exists()


def test_zero_jobs_at_once_is_refused() -> None:
    with pytest.raises(DataError, match="at least 1"):
        run_jobs(square, [1], 0, "")


@pytest.mark.parametrize("num_items, num_jobs", [(0, 3), (1, 4), (10, 3), (7, 7)])
def test_split(num_items: int, num_jobs: int) -> None:
    parts = split_jobs(range(num_items), num_jobs)
    assert [item for part in parts for item in part] == list(range(num_items))
    assert len(parts) == min(num_items, num_jobs)
    sizes = [len(part) for part in parts]
    assert not sizes or max(sizes) - min(sizes) <= 1
