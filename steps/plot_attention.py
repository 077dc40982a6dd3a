#!/usr/bin/env python3
"""Attentions inside a network over an utterance: TDY's basis kernels, attentive poolings, branches of ISKConvNet."""

from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.datadir.phones import PHONES, read_phones
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def plot_attention(
    model_dir: Path,
    data_dir: Path,
    utt: str,
    out: Path,
    layers: str = "",
    most: int = 3,
) -> None:
    """Write OUT.png and OUT.svg: the features of UTT, its phones (DATA_DIR/phones.ctm), and what attentions weight.

    OUT.ark has the weights of all layers. Basis kernels and poolings are shown over time, branches by layer.

    Args:
        model_dir: what steps/train.py wrote
        data_dir: Kaldi data directory with feats.scp, and vad.scp if the network was trained on voiced frames
        utt: the utterance
        out: start of the names of what is written
        layers: of basis kernels or branches, with commas between, by the names in OUT.ark; default: see --most
        most: so many layers, evenly from the first to the last
    """
    from timbre.explain.attention import attentions, save_weights, spread  # torch takes seconds: not for --help
    from timbre.explain.frame_embeddings import chosen, feature_seconds
    from timbre.explain.plots_attention import plot_attentions
    from timbre.feats.utterances import list_utterances
    from timbre.nnet.model import load_model

    data = DataDir.read(data_dir)
    if chosen(data, utt) != [utt] or most < 1:
        raise DataError(f"'{utt}' is not one utterance of it, or --most is below 1", data_dir)
    network, normalization = load_model(model_dir)
    utterance = next(each for each in list_utterances(data, normalization) if each.utt == utt)
    feats, voiced = utterance.load()
    seconds = feature_seconds(data, len(feats))
    seconds = seconds if voiced is None else seconds[voiced]
    seen = utterance.normalized(feats, voiced)
    found = attentions(network, seen)
    names = [*found.kernels, *found.branches]
    asked = [name.strip() for name in layers.split(",") if name.strip()] or (spread(names, most) if names else [])
    if strange := [name for name in asked if name not in names]:
        raise DataError(f"there is no layer '{strange[0]}' in it; there are {', '.join(names) or 'none'}", model_dir)
    phones = read_phones(data_dir / PHONES).get(utt, []) if data.has(PHONES) else []
    save_weights(out.with_name(f"{out.name}.ark"), found)
    title = f"{utt}, {model_dir.parent.name if model_dir.name == 'model' else model_dir.name}"
    files = [out.with_name(out.name + end) for end in (".png", ".svg")]
    plot_attentions(found, asked, seen, seconds, phones, files, title)
    print(f"{out}.png: {', '.join([*asked, *found.poolings])}, of {len(names) + len(found.poolings)}")


if __name__ == "__main__":
    run_step(plot_attention)
