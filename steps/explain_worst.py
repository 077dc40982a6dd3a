#!/usr/bin/env python3
"""Why the worst false alarm and the worst miss of a trial list were scored so: maps over both sides of each."""

from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.explain.time_cells import CellOptions
from timbre.utils.cli import run_step


def explain_worst(
    model_dir: Path,
    data_dir: Path,
    analysis: Path,
    out_dir: Path,
    method: str = "occlusion",
    backend_dir: Path | None = None,
    enroll_spk2utt: Path | None = None,
    cells: CellOptions = CellOptions(),
    device: str = "cpu",
) -> None:
    """Write OUT_DIR/false_alarm and OUT_DIR/miss, each .png, .json and _enroll.npz, _test.npz, as explain_utterance.py.

    They are the nontarget of the highest and the target of the lowest score in ANALYSIS. What is explained is the score
    of the back-end itself, before any normalisation. A trial that cannot be explained is passed over with a warning.

    Args:
        model_dir: what steps/train.py wrote
        data_dir: Kaldi data directory with feats.scp, and vad.scp if the network was trained on voiced frames
        analysis: EXP_DIR/analysis/<trials>.<backend>.json of steps/analyze_trials.py
        out_dir: where to write
        method: gradient, gradcam, gradcam++, layercam, fullgrad, integrated_gradients or occlusion
        backend_dir: of the scores; without it they are cosines of the embeddings
        enroll_spk2utt: the utterances of enrolment models
        cells: what occlusion takes away at a time
        device: cpu, cuda or cuda:N
    """
    from timbre.embedding.extract import device_named
    from timbre.explain.methods import method_named
    from timbre.explain.wanted import explainer_of
    from timbre.explain.worst_trials import explain_trials

    chosen, data = method_named(method), DataDir.read(data_dir)
    models = enroll_spk2utt or data_dir / "enroll.spk2utt"
    explain_trials(
        explainer_of(model_dir, data, backend_dir, models, device_named(device)), analysis, out_dir, chosen, cells
    )


if __name__ == "__main__":
    run_step(explain_worst)
