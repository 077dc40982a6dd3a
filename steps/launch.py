#!/usr/bin/env python3
"""A step as a batch job of Slurm, by torchrun on several nodes."""

from pathlib import Path

from timbre.utils.cli import run_step


def launch(
    command: list[str],
    log: Path = Path("exp/launch.log"),
    template: Path = Path("conf/cluster/batch/slurm.sh"),
    nodes: int = 1,
    ngpu: int = 0,
    max_restarts: int = 3,
) -> None:
    """Submit COMMAND as one batch job, and wait until it has ended: what run.sh --batch does for training.

    When it is preempted or nears its time limit, the job saves, returns to the queue and goes on there. Interrupted,
    this command cancels it; killed, the same command cancels what it has left and goes on.

    Args:
        command: after --, a step that torchrun can start: -- steps/train.py EGS_DIR MODEL_DIR --network ...
        log: file for the output of the job; the script and the exit status are written beside it
        template: batch script, to be filled in
        nodes: number of nodes
        ngpu: GPUs of each node; 0: the CPU
        max_restarts: how often processes that fail are started again while the job runs
    """
    from timbre.utils.batch import run_batch_job

    run_batch_job(template, command, log, nodes, ngpu, max_restarts)


if __name__ == "__main__":
    run_step(launch, takes_list=True)
