#!/usr/bin/env python3
"""Whether to believe maps of a network: deletion, insertion, randomised weights, spliced speakers, with intervals."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from timbre.datadir.datadir import DataDir
from timbre.explain.study_options import StudyOptions
from timbre.explain.time_cells import CellOptions
from timbre.utils.cli import run_step


def measure_explanations(
    model_dir: Path,
    data_dir: Path,
    out: Path,
    trials: Path | None = None,
    backend_dir: Path | None = None,
    methods: list[str] = [],  # noqa: B006 (shown as the default)
    study: StudyOptions = StudyOptions(),
    cells: CellOptions = CellOptions(),
    draws: int = 1000,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Write OUT.md and OUT.tsv, a table of the maps, OUT.json, and OUT.png and OUT.svg, curves.

    Blocks of time and bands of frequency are taken away, or put in, by the order of each map: those of the methods, a
    random order, the energy, and how much speech the VAD finds around. Explained are target trials, by their test side,
    or, without a list, the logits of the speakers that the network was trained on.

    Args:
        model_dir: what steps/train.py wrote
        data_dir: Kaldi data directory with feats.scp, and vad.scp if the network was trained on voiced frames
        out: where to write, without .md
        trials: list of trials of DATA_DIR
        backend_dir: of the scores of trials; without it they are cosines of the embeddings
        methods: such as [gradient,layercam]; by default all of explain_utterance.py
        study: how much is measured
        cells: what is taken away at a time
        draws: of speakers, for the intervals
        seed: of the choice of utterances, of random orders and weights, and of the draws
        device: cpu, cuda or cuda:N
    """
    from timbre.embedding.extract import device_named
    from timbre.explain.explanation_study import measure
    from timbre.explain.methods import METHODS, method_named
    from timbre.explain.study_summary import Summary
    from timbre.explain.wanted import explainer_of

    chosen = [method_named(name) for name in dict.fromkeys(methods)] or list(METHODS)
    models = (trials.parent if trials else data_dir) / "enroll.spk2utt"
    explainer = explainer_of(model_dir, DataDir.read(data_dir), backend_dir, models, device_named(device))
    found = measure(explainer, trials, chosen, study, cells, seed)
    settings: dict[str, Any] = {
        "model": str(model_dir),
        "data": str(data_dir),
        "trials": trials and str(trials),
        "seed": seed,
    }
    settings |= asdict(study) | asdict(cells)
    what = "scores of target trials" if trials else "logits of training speakers"
    print(Summary(found, draws, seed).write(out, f"Explanations of {what}: {model_dir}", settings))


if __name__ == "__main__":
    run_step(measure_explanations)
