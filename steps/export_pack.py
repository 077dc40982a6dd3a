#!/usr/bin/env python3
"""A decision pack as one file that runs without torch: ONNX graphs, tables of the decision, and a card."""

from pathlib import Path
from typing import Literal

from timbre.utils.cli import run_step


def export_pack(
    decision_dir: Path,
    out: Path,
    variants: list[Literal["fp32", "int8", "int8_weights", "fp16"]] = ["fp32"],  # noqa: B006 (shown as the default)
    name: str = "",
    run: Path | None = None,
    licence: str = "",
    measure_on: Path | None = None,
    measure_utts: int = 200,
    sherpa: Path | None = None,
    fit_on: Path | None = None,
) -> None:
    """Write OUT, for `timbre.load(OUT)` and the command timbre, of DECISION_DIR.

    Args:
        decision_dir: what make_decision_pack.py wrote, such as exp/NAME/decision
        out: NAME.timbre, one file (a zip without pickles), or any other name: a folder
        variants: of the network, beside fp32. int8: convolutions and affine layers computed in 8 bits, faster where the
            processor has integer dot products; int8_weights and fp16: stored smaller, and computed in float32
        name: of the pack; by default that of OUT
        run: exp/NAME, whose error rates by list and duration the card takes over; by default where DECISION_DIR is
        licence: of the weights, for the card, where they are not imported ones that bring theirs
        measure_on: data directory with audio and trials, on which the card says what each variant loses
        measure_utts: at most so many of its utterances, drawn at random
        sherpa: a file to write as well: the network for sherpa-onnx, which computes its filter banks itself (80 of
            them, from 20 to 7600 Hz, at 16 kHz) and has no VAD
        fit_on: data directory with audio, on 64 of whose utterances the ranges of int8 are found; by default measure_on
    """
    from timbre.export.pack_writer import export_pack  # torch takes seconds: not for --help

    run = decision_dir.resolve().parent if run is None else run
    export_pack(decision_dir, out, variants, name, run, licence, measure_on, measure_utts, sherpa, fit_on)


if __name__ == "__main__":
    run_step(export_pack)
