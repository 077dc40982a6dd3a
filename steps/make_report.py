#!/usr/bin/env python3
"""The page of a run: tables, plots, training, settings, environment in one HTML file."""

from pathlib import Path

from timbre.utils.cli import run_step


def make_report(exp_dir: Path, out: Path | None = None, audit: Path | None = None) -> None:
    """Write EXP_DIR/report.html: all that is known of a run, in one file that any browser opens without a network.

    Parts that are not there, of a run that has not been through all stages, are said to be missing.

    Args:
        exp_dir: the run, such as exp/synth_ecapa128
        out: file to write; default: EXP_DIR/report.html
        audit: audit.json of the corpus; by default it is looked for where run.sh --audit puts it
    """
    from timbre.report.page import write_report  # imports matplotlib: not for --help
    from timbre.report.run_files import RunFiles

    write_report(RunFiles(exp_dir, audit), out or exp_dir / "report.html")


if __name__ == "__main__":
    run_step(make_report)
