"""Jobs on a dask cluster: as local processes give them; lost workers, stopped steps and ended runs leave nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from timbre.utils import cluster
from timbre.utils.cluster_server import ClusterOptions
from timbre.utils.errors import DataError
from timbre.utils.jobs import run_jobs

ROOT = Path(__file__).resolve().parents[2]
SERVER = [sys.executable, "-m", "timbre.utils.cluster_server"]


def start_server(folder: Path, text: str, **environment: str) -> "subprocess.Popen[str]":
    (folder / "cluster.yaml").write_text(text)
    with (folder / "server.log").open("w") as log:
        return subprocess.Popen(
            [*SERVER, folder / "cluster.yaml", "2", folder / "log"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"} | environment,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a cluster of two workers; when its server ends, no process of its is left."""
    server = start_server(tmp_path_factory.mktemp("cluster"), "kind: local\nretries: 2\n")
    yield server.stdout.readline().strip()
    group = [path.parent.name for path in Path("/proc").glob("[0-9]*/stat") if session_of(path) == server.pid]
    assert group
    server.stdin.close()
    assert server.wait(30) == 0
    wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in group))


@pytest.fixture
def on_cluster(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMBRE_CLUSTER", address)


def session_of(path: Path) -> int:
    try:
        return int(path.read_text().rpartition(")")[2].split()[3])
    except OSError:
        return 0


def wait_until(happens: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.05)


def square(number: int) -> int:
    return number * number


def surroundings(_: int) -> tuple[str | None, str, int]:
    return os.environ.get("OMP_NUM_THREADS"), os.getcwd(), os.getpid()


def fail(number: int) -> None:
    if number == 2:
        raise DataError("bad line", "data/wav.scp", 7)


def die_once(path: Path) -> int:
    if not path.exists():
        path.touch()
        os._exit(9)
    return os.getpid()


def die(_: int) -> None:
    os._exit(9)


def litter(folder: Path) -> None:
    (folder / f"pid{os.getpid()}").touch()
    while True:
        (folder / "work").mkdir(parents=True, exist_ok=True)
        (folder / "work" / "part").touch()
        time.sleep(0.001)


@pytest.mark.usefixtures("on_cluster")
def test_results_in_order_from_workers_of_one_thread_in_the_steps_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_jobs(square, range(40), 3, "squares") == [number * number for number in range(40)]
    threads, folders, processes = zip(*run_jobs(surroundings, range(8), 2, ""), strict=True)
    assert {*threads} == {"1"} and {*folders} == {str(tmp_path)} and os.getpid() not in processes


@pytest.mark.usefixtures("on_cluster")
def test_the_error_of_a_job_is_raised() -> None:
    with pytest.raises(DataError, match=r"^data/wav.scp:7: bad line$") as raised:
        run_jobs(fail, range(4), 2, "")
    assert (raised.value.path, raised.value.line) == ("data/wav.scp", 7)


@pytest.mark.usefixtures("on_cluster")
def test_the_job_of_a_lost_worker_is_done_again(tmp_path: Path) -> None:
    paths = [tmp_path / "one", tmp_path / "two", tmp_path / "three"]
    assert len(run_jobs(die_once, paths, 2, "")) == 3 and all(path.exists() for path in paths)


@pytest.mark.usefixtures("on_cluster")
def test_a_job_that_loses_every_worker_is_told() -> None:
    with pytest.raises(DataError, match="features: a job lost worker after worker"):
        run_jobs(die, [0, 1], 2, "features")


@pytest.mark.usefixtures("on_cluster")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_job_goes_on_without_its_step(number: int, tmp_path: Path) -> None:
    """It would make again what the step, or the next one, cleans up."""
    program = (
        "import os, shutil, sys; from pathlib import Path; from tests.utils.test_cluster import litter\n"
        "from timbre.utils.jobs import run_jobs\n"
        "try: run_jobs(litter, [Path(sys.argv[1])] * 2, 2, '')\n"
        "finally: shutil.rmtree(Path(sys.argv[1]) / 'work')"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, tmp_path]
    step = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(tmp_path.glob("pid*"))) == 2)
    processes = [path.name.removeprefix("pid") for path in tmp_path.glob("pid*")]
    step.send_signal(number)
    step.wait(30)
    if number == signal.SIGKILL:
        wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in processes), 10)
    assert not any(Path(f"/proc/{process}").exists() for process in processes)
    assert (tmp_path / "work").exists() == (number == signal.SIGKILL)


def test_a_scheduler_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMBRE_CLUSTER", "tcp://127.0.0.1:9")
    monkeypatch.setattr(cluster, "_CONNECT", 0.5)
    with pytest.raises(DataError, match=r"no dask scheduler answers at tcp://127.0.0.1:9"):
        run_jobs(square, range(4), 2, "")


def test_batch_jobs_that_are_refused_end_the_server(tmp_path: Path) -> None:
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    (tmp_path / "sbatch").chmod(0o755)
    text = "kind: slurm\noptions: {memory: 1 GB, interface: lo}\n"
    server = start_server(tmp_path, text, PATH=f"{tmp_path}:{os.environ['PATH']}")
    where = server.stdout.readline().strip()
    program = (
        "import sys; from timbre.utils.cluster import run_on_cluster\n"
        "run_on_cluster(sys.argv[1], abs, range(4), 2, 'jobs', int)"
    )
    step = subprocess.Popen([sys.executable, "-c", program, where], stderr=subprocess.DEVNULL)
    assert server.wait(60) == 1
    step.kill()
    step.wait()
    log = (tmp_path / "server.log").read_text()
    assert "invalid partition" in log
    assert log.splitlines()[-1].startswith(f"{tmp_path / 'cluster.yaml'}: 5 workers or more ended before")


@pytest.mark.parametrize(
    "text, fault",
    [
        ("kind: address\n", "needs an address"),
        ("kind: local\naddress: tcp://here:1\n", "no other kind takes one"),
        ("kind: nomad\n", "kind"),
        ("kind: local\nretries: -1\n", "at least 0"),
    ],
)
def test_a_wrong_configuration_is_told(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(text)
    with pytest.raises(DataError, match=fault):
        ClusterOptions.read(tmp_path / "cluster.yaml")


def test_steps_without_a_cluster_import_no_dask() -> None:
    program = "import sys, timbre.utils.jobs, timbre.utils.parts; sys.exit(any('dask' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
