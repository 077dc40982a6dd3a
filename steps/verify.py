#!/usr/bin/env python3
"""Are two recordings of the same speaker? An answer by a decision pack."""

import logging
import sys
from pathlib import Path

from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def verify(
    files: list[Path],
    pack: Path = Path("exp/synth_ecapa128/decision"),
    prior: float = 0.5,
    far: float | None = None,
    json: bool = False,
    device: str = "cpu",
) -> None:
    """Say whether the last of FILES is of the speaker of the others, with the log-likelihood ratio and a probability.

    Audio of any format and sample rate; what may spoil the answer (clipping, one recording on both sides; noise, a
    telephone or a length unlike what the pack was tested on) is warned of. Of silence, constant, ruined (clipping, NaN)
    audio, or less speech than the pack was measured to decide on (its README.md), nothing is said: NO DECISION and why,
    in JSON `same: null` and a reason; exit status 3.

    Args:
        files: one or several recordings of one speaker, then the one to test
        pack: the folder that make_decision_pack.py wrote
        prior: how probable it was, before listening, that they are of one speaker; moves threshold and probability
        far: instead take the threshold at which the pack expects this false-alarm rate: 0.05, 0.01, 0.001 or 0.0001
        json: print JSON
        device: cpu, cuda or cuda:N
    """
    if len(files) < 2:
        raise DataError("two files at least: those of the speaker, and the one to test")
    from timbre.decision.pack import DecisionPack  # torch takes seconds: not for --help
    from timbre.decision.verdict import NoVerdict, verify_files
    from timbre.runtime.sound import Unusable

    verdict = verify_files(DecisionPack.read(pack), files[:-1], files[-1], prior, far, device)
    for text in verdict.warnings():
        logging.warning("warning: %s", text)
    print(verdict.as_json() if json else verdict)
    if isinstance(verdict, NoVerdict):
        sys.exit(Unusable.status)


if __name__ == "__main__":
    run_step(verify, takes_list=True)
