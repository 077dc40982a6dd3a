"""Reading what run.sh prints; an option for what is not about systems."""

import subprocess

FEW = ("--baseline", "false", "--backend-conf", "conf/backend/cosine.yaml")


def ran(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The stages that ran."""
    return [line.split()[3].rstrip(":") for line in done.stdout.splitlines() if ": running" in line]
