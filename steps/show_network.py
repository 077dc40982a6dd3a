#!/usr/bin/env python3
"""What a network is made of, its size and its speed; of all networks, a table."""

from pathlib import Path
from typing import Literal

from timbre.utils.cli import run_step


def show_network(
    network: Path = Path("conf/network"),
    feat_dim: int = 0,
    depth: int = 2,
    seconds: float = 2.0,
    batch_size: int = 64,
    num_frames: int = 200,
    amp: Literal["none", "bf16", "fp16", "auto"] = "auto",
    device: str = "cpu",
    table: Path | None = None,
) -> None:
    """Print layers, parameters, MACs a second of speech, receptive field, steps/s and utterances/s of a network.

    Of a directory of networks, a table in Markdown with a line each. MACs (multiply-accumulates of matrix products and
    convolutions) are those of an utterance of 10 s, divided by 10. A step is forward, backward and AdamW with
    AAM-softmax of 1,000 speakers; utterances/s are embeddings of 3 s in batches of 10, in float32.

    Args:
        network: YAML file of a network, or a directory of such files
        feat_dim: feature dimension; 0: the one that the first parameter count in the file's comments is for, else 80
        depth: levels of layers that are shown
        seconds: how long each speed is measured; 0: not at all
        batch_size: examples in a timed step
        num_frames: frames of an example in a timed step
        amp: precision of a timed step; auto as in steps/train.py
        device: cpu, cuda, ...
        table: of a directory: put the table into this Markdown file, in place of the one there; with --seconds 0 the
            speeds in it stay
    """
    import torch
    from tqdm import tqdm

    from timbre.embedding.extract import device_named
    from timbre.nnet import summary
    from timbre.nnet.network import build_network
    from timbre.nnet.network_file import own_feat_dim
    from timbre.training.numerics import autocast_dtype
    from timbre.utils.environment import describe_environment
    from timbre.utils.errors import DataError

    if min(depth, seconds, feat_dim) < 0 or min(batch_size, num_frames) < 1:
        raise DataError("depth, seconds and feat_dim cannot be below 0, batch_size and num_frames not below 1")
    if table and not network.is_dir():
        raise DataError("a table is of a directory of networks, not of one", network)
    paths = sorted(network.glob("*.yaml")) if network.is_dir() else [network]
    if not paths:
        raise DataError("no .yaml file in it", network)
    where = device_named(device)
    found = {}
    for path in tqdm(paths, desc="networks", unit="network", disable=None if network.is_dir() else True):
        dim = feat_dim or own_feat_dim(path)
        sizes, steps, utts = summary.summarize(path, dim, depth), 0.0, 0.0
        if seconds:
            torch.manual_seed(0)
            built = build_network(path, dim).to(where)
            frames = max(num_frames, sizes.min_frames)
            steps = summary.steps_per_second(built, frames, batch_size, autocast_dtype(amp, where), seconds)
            utts = summary.utterances_per_second(built, max(300, sizes.min_frames), 10, seconds)
        found[path.stem] = sizes, steps, utts
    if table:
        kind = "GPU" if where.type == "cuda" else "CPU"
        machine = f"{describe_environment().get(kind, kind)}, {torch.get_num_threads()} threads"
        how = f"{batch_size} examples of {num_frames} frames in a step, precision {amp}"
        summary.write_table(table, found, f"{machine}; {how}." if seconds else "")
    else:
        print(summary.as_table(found) if network.is_dir() else summary.as_text(network.stem, *found[network.stem]))


if __name__ == "__main__":
    run_step(show_network)
