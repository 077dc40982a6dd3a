"""Batch jobs, on a Slurm that is played: what is submitted, how its end is told, and that none is left."""

from pathlib import Path

import pytest
import yaml

from timbre.utils import batch
from timbre.utils.errors import DataError

TEMPLATE = "#!/bin/bash\ncd @folder@\nsrun torchrun --nproc-per-node=@procs@ --max-restarts=@max_restarts@ @command@\n"
# A job does what the file `job` says when it is first asked for; its state is in the file `state`
PROGRAMS = {
    "sbatch": 'echo "sbatch $*" >> calls; [ ! -e refused ] || { echo "error: no partition" >&2; exit 1; }; echo 7',
    "squeue": 'case "$*" in *-n*) cat old 2> /dev/null ;; *) . ./job; cat state ;; esac; exit 0',
    "scancel": 'echo "scancel $*" >> calls; echo CANCELLED > state; echo : > job',
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "template.sh").write_text(TEMPLATE + "echo $? > @status@\n")
    (tmp_path / "state").write_text("PENDING\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batch, "_LOOK", 0.01)
    return tmp_path


def run(folder: Path, job: str) -> None:
    (folder / "job").write_text(job)
    command = ["steps/train.py", "egs of mine", "--lr", "1"]
    batch.run_batch_job(folder / "template.sh", command, folder / "train.log", nodes=2, gpus=4, max_restarts=5)


def test_what_is_submitted(slurm: Path) -> None:
    run(slurm, "echo COMPLETED > state; echo 0 > train.status")
    script = (slurm / "train.sh").read_text()
    assert f"cd {slurm}\n" in script and f"> {slurm}/train.status" in script
    assert "--nproc-per-node=4 --max-restarts=5 steps/train.py 'egs of mine' --lr 1\n" in script
    [call] = (slurm / "calls").read_text().splitlines()
    assert "--nodes 2 --gpus-per-node 4" in call and f"-o {slurm}/train.log" in call


@pytest.mark.parametrize(
    "job, fault",
    [
        ("echo FAILED > state; echo 3 > train.status", "exit status 3"),
        ("echo OUT_OF_MEMORY > state", "OUT_OF_MEMORY"),
        ("> state", "knows no more"),
    ],
)
def test_how_a_job_fails_is_told(slurm: Path, job: str, fault: str) -> None:
    with pytest.raises(DataError, match=rf"train.log: batch job 7 has ended .*{fault}"):
        run(slurm, job)


def test_a_job_that_goes_back_to_the_queue_is_waited_for(slurm: Path) -> None:
    states = "for state in RUNNING FAILED PENDING RUNNING COMPLETED; do echo $state; done > states"
    (slurm / "states").write_text("")
    run(
        slurm,
        f"[ -s states ] || {states}; head -n 1 states > state; [ $(wc -l < states) = 1 ] || sed -i 1d states\n"
        "[ $(cat state) != COMPLETED ] || echo 0 > train.status",
    )
    assert (slurm / "state").read_text() == "COMPLETED\n"


def test_a_stopped_step_and_the_one_after_a_killed_one_cancel_the_job(
    slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (slurm / "old").write_text("5\n")

    def stop(_: float) -> None:
        if "scancel 7" not in (slurm / "calls").read_text() and "sbatch" in (slurm / "calls").read_text():
            raise KeyboardInterrupt

    monkeypatch.setattr(batch.time, "sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        run(slurm, "echo RUNNING > state")
    calls = [call.split()[:2] for call in (slurm / "calls").read_text().splitlines()]
    assert [call[0] for call in calls] == ["scancel", "sbatch", "scancel"]
    assert calls[0][1] == "5" and calls[2][1] == "7"


def test_what_cannot_be_submitted_is_told(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (slurm / "refused").touch()
    with pytest.raises(DataError, match="sbatch: error: no partition"):
        run(slurm, ":")
    (slurm / "template.sh").write_text("")
    with pytest.raises(DataError, match=r"template.sh: it has no @command@ and no @status@, so it would not run"):
        run(slurm, ":")
    (slurm / "template.sh").write_text("echo @nonsense@\n")
    with pytest.raises(DataError, match="@nonsense@ stands for nothing"):
        run(slurm, ":")
    (slurm / "template.sh").write_text(TEMPLATE + "@status@")
    monkeypatch.setenv("PATH", str(slurm / "nowhere"))
    with pytest.raises(DataError, match="there is no squeue here"):
        run(slurm, ":")


def test_the_job_of_kubernetes_trains_by_files_that_exist(root: Path) -> None:
    service, job = yaml.safe_load_all((root / "conf/cluster/batch/kubernetes.yaml").read_text())
    spec = job["spec"]["template"]["spec"]
    [container] = spec["containers"]
    command = container["command"]
    assert command[0] == "torchrun" and f"--nnodes={job['spec']['completions']}" in command
    assert f"--rdzv-endpoint={job['metadata']['name']}-0.{service['metadata']['name']}:29500" in command
    assert spec["subdomain"] == service["metadata"]["name"] and service["spec"]["clusterIP"] == "None"
    options = dict(word.split("=") for word in command[command.index("steps/train.py") + 3 :])
    assert options.keys() == {"--network", "--objective", "--train", "--stage-egs-to"}
    assert all((root / options[name]).is_file() for name in ("--network", "--objective", "--train"))
    mounted = {volume["name"] for volume in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    assert options["--stage-egs-to"] in {volume["mountPath"] for volume in container["volumeMounts"]}
