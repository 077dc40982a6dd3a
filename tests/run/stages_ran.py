"""Reading what run.sh prints."""

import subprocess


def ran(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The stages that ran."""
    return [line.split()[3].rstrip(":") for line in done.stdout.splitlines() if ": running" in line]
