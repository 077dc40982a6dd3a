#!/usr/bin/env python3
"""Why a network says so: where in an utterance the logit of a speaker, or the score of a trial, comes from."""

from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.explain.time_cells import CellOptions
from timbre.utils.cli import run_step


def explain_utterance(
    model_dir: Path,
    data_dir: Path,
    utt: str,
    out: Path,
    method: str = "occlusion",
    target: str = "",
    backend_dir: Path | None = None,
    trials: Path | None = None,
    layer: str = "",
    cells: CellOptions = CellOptions(),
    device: str = "cpu",
) -> None:
    """Write OUT.png, a map over the spectrogram of UTT, OUT.npz, its map, feats, voiced and seen, and OUT.json.

    A map is (num_frames, num_bins), over the features as the network is given them: with its normalisation and VAD;
    frames that it is not given have 0. Of a trial, both sides are explained: OUT_enroll.npz, OUT_test.npz. Whether to
    believe a method is measured by steps/measure_explanations.py.

    Args:
        model_dir: what steps/train.py wrote
        data_dir: Kaldi data directory with feats.scp, and vad.scp if the network was trained on voiced frames
        utt: id of the utterance; of a trial, one of its sides
        out: where to write, without .png
        method: gradient, gradcam, gradcam++, layercam, fullgrad, integrated_gradients or occlusion
        target: a speaker that the network was trained on, whose logit is explained; or ENROLL,TEST: the score of that
            trial. By default the speaker of UTT
        backend_dir: of the score of a trial; without it the score is the cosine of the embeddings
        trials: the list that the trial is in, for its label; enroll.spk2utt beside it has models of several utterances
        layer: of gradcam, gradcam++ and layercam, such as trunk.blocks.2; by default the last one before the pooling
        cells: what occlusion takes away at a time
        device: cpu, cuda or cuda:N
    """
    from timbre.embedding.extract import device_named
    from timbre.explain.map_files import Explanation
    from timbre.explain.methods import method_named
    from timbre.explain.wanted import choose_target, explainer_of
    from timbre.feats.protocols import frame_shift_of

    chosen, data = method_named(method), DataDir.read(data_dir)
    models = (trials.parent if trials else data_dir) / "enroll.spk2utt"
    explainer = explainer_of(model_dir, data, backend_dir, models, device_named(device))
    explained, label = choose_target(explainer, utt, target, trials)
    shift = frame_shift_of(data)
    explanation = Explanation.make(explained, chosen, layer, cells, shift)
    explanation.write(out, shift, f" ({label})" if label else "", {"label": label} if label else {})
    print(f"{explained.title}: {explanation.value:.6g}")


if __name__ == "__main__":
    run_step(explain_utterance)
