"""A list in parts: the bytes of one process, by processes and by a cluster; nothing half-written by a killed step."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from steps.normalize_scores import normalize_scores
from steps.score_trials import score_trials
from tests.step_calls import works
from timbre.backend import list_parts, scoring
from timbre.backend.backends import PldaBackend
from timbre.backend.list_parts import num_parts_of, stats_in_parts
from timbre.backend.plda import Plda
from timbre.backend.score_norm import cohort_stats
from timbre.backend.vectors import Projection
from timbre.datadir.ark import write_vectors
from timbre.datadir.trials import Trials, write_trials
from timbre.runtime.factors import Factors
from timbre.utils.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
DIM = 40
NUM_TRIALS = 2003


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Vectors of a list of 2,003 trials in no order and of a cohort, three models, a PLDA model."""
    rng = np.random.default_rng(0)
    ids = [f"s{number % 12:02d}-u{number // 12:02d}" for number in rng.permutation(600)]
    write_vectors(tmp_path / "x", ids, rng.standard_normal((600, DIM), dtype=np.float32))
    cohort = [f"c{number:03d}" for number in range(50)]
    write_vectors(tmp_path / "cohort", cohort, rng.standard_normal((50, DIM), dtype=np.float32))
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {utt[:3]}\n" for utt in sorted(ids)))
    (tmp_path / "models").write_text("s00-u00 s00-u01 s00-u02\ns01-u03 s01-u04\n")
    enroll, test = rng.integers(0, 600, (2, NUM_TRIALS)).astype(np.int32)
    trials = Trials(ids, ids, enroll, test, enroll % 12 == test % 12)
    write_trials(tmp_path / "trials", trials)
    write_trials(tmp_path / "trials.npz", trials)
    plda = Plda(np.zeros(DIM), np.eye(DIM), np.linspace(2, 0.5, DIM))
    PldaBackend(Projection(rng.standard_normal(DIM), None, "sqrt_dim"), plda).write(tmp_path / "plda")
    return tmp_path


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a cluster of two workers."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "cluster.yaml").write_text("kind: local\n")
    command = [sys.executable, "-m", "timbre.utils.cluster_server", folder / "cluster.yaml", "2", folder / "log"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes) as server:
        yield server.stdout.readline().strip()
        server.stdin.close()
        assert server.wait(30) == 0


def make(folder: Path, out: Path, trials: str, suffix: str, parts: int | None, nj: int = 1) -> dict[str, bytes]:
    """Scores of all kinds, in OUT: what is in the files there."""
    scp, models = folder / "x.scp", folder / "models"
    out.mkdir()
    for name, backend, averaged in (("cosine", None, None), ("plda", folder / "plda", models)):
        shared = {"backend_dir": backend, "enroll_spk2utt": averaged, "nj": nj, "num_parts": parts}
        raw = out / f"{name}{suffix}"
        score_trials(folder / trials, scp, scp, raw, **shared)
        normalized, zeroed = out / f"{name}_asnorm{suffix}", out / f"{name}_znorm{suffix}"
        options = {"top_n": 20, "utt2spk": folder / "utt2spk", **shared}
        normalize_scores(folder / trials, raw, scp, scp, folder / "cohort.scp", normalized, **options)
        normalize_scores(folder / trials, raw, scp, scp, folder / "cohort.scp", zeroed, "z-norm", **options)
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


@pytest.mark.parametrize(("trials", "suffix"), [("trials", ""), ("trials.npz", ".npy")])
def test_the_bytes_of_one_process(trials: str, suffix: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_BLOCK", 64 * 50)  # several blocks of cohort scores in a part
    whole = make(folder, folder / "whole", trials, suffix, None)
    assert len(whole) == 6
    for parts in (2, 7):
        assert make(folder, folder / str(parts), trials, suffix, parts) == whole


def test_the_bytes_of_one_process_from_processes_and_from_a_cluster(
    folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make(folder, folder / "whole", "trials", "", None)
    monkeypatch.chdir(folder)  # jobs find what is named from here
    scp = Path("x.scp")
    for name, cluster in (("local", ""), ("clustered", address)):
        monkeypatch.setenv("TIMBRE_CLUSTER", cluster)
        score_trials(Path("trials"), scp, scp, Path(name), nj=2, num_parts=3)
        assert Path(name).read_bytes() == whole["cosine"]
    normalize_scores(
        *map(Path, ("trials", "clustered", "x.scp", "x.scp", "cohort.scp", "normalized")),
        top_n=20,
        utt2spk=Path("utt2spk"),
        nj=2,
        num_parts=3,
    )
    assert Path("normalized").read_bytes() == whole["cosine_asnorm"]
    assert not [name for name in os.listdir() if name.startswith(".")]


def test_long_lists_are_split_where_there_is_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    long = list_parts.BLOCK + 1
    assert num_parts_of(long, 4, None) == 1
    assert num_parts_of(long, 4, 3) == 3
    monkeypatch.setenv("TIMBRE_CLUSTER", "tcp://somewhere:8786")
    assert num_parts_of(long, 4, None) == 4
    assert num_parts_of(long - 1, 4, None) == 1
    assert num_parts_of(2, 4, 9) == 2
    with pytest.raises(DataError, match="num_parts is 0"):
        num_parts_of(long, 4, 0)


@pytest.mark.parametrize("num_parts", [1, 2, 3, 40])
def test_statistics_are_of_the_same_blocks(num_parts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_BLOCK", 64 * 30)
    rng = np.random.default_rng(1)
    left, right = (rng.standard_normal((count, DIM), dtype=np.float32) for count in (1000, 30))
    factors = Factors.dot(left, right)
    whole, split = cohort_stats(factors, 10), stats_in_parts(factors, 10, 1, tmp_path, num_parts)
    assert whole.mean.tobytes() == split.mean.tobytes() and whole.std.tobytes() == split.std.tobytes()


def test_as_norm2_is_not_made_in_parts(folder: Path) -> None:
    scp, cohort = folder / "x.scp", folder / "cohort.scp"
    score_trials(folder / "trials", scp, scp, folder / "raw")
    with pytest.raises(DataError, match="as-norm2 is not made in parts"):
        normalize_scores(folder / "trials", folder / "raw", scp, scp, cohort, folder / "out", "as-norm2", num_parts=2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_step_leaves_no_scores(number: int, folder: Path) -> None:
    """And the next one makes them, and takes away what the killed one left."""
    program = (
        "import sys, time; sys.argv[0] = 'score_trials.py'\n"
        "from timbre.backend import list_parts\n"
        "from timbre.utils.cli import run_step\n"
        "from steps.score_trials import score_trials\n"
        "def slowly(work, parts, *rest):\n"
        "    work(parts[0]); work(parts[1]); print('two', flush=True); time.sleep(60)\n"
        "list_parts.run_jobs = slowly\n"
        "run_step(score_trials)"
    )
    words = ["trials", "x.scp", "x.scp", "scores", "--num-parts", "5"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/steps"}
    with subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as step:
        assert step.stdout is not None and step.stdout.readline() == b"two\n"
        step.send_signal(number)
        step.wait(30)
    assert not (folder / "scores").exists()
    hidden = [name for name in os.listdir(folder) if name.startswith(".")]
    assert bool(hidden) == (number == signal.SIGKILL)
    works(folder, "steps/score_trials.py", *words, "--nj", 1)
    assert not [name for name in os.listdir(folder) if name.startswith(".")]
    score_trials(folder / "trials", folder / "x.scp", folder / "x.scp", folder / "whole")
    assert (folder / "scores").read_bytes() == (folder / "whole").read_bytes()
