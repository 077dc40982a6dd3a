#!/usr/bin/env python3
"""A training step of networks of conf/network against the same architecture of a peer, or written naively (peers.py).

Batches of 16 examples of 200 frames, float32 and bfloat16 autocast: forward and backward, in turn with the peer's so
that other work hits both. Prints one JSON line: milliseconds, and the peer's time over ours (above 1: ours is faster).
`--networks xvector,ecapa512` measures some only. SpeechBrain is left out, and said so, where it is not installed.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peers import PEERS, ROOT
from torch import nn

from steps.nnet.network import build_network
from steps.nnet.summary import own_feat_dim

BATCH, FRAMES = 16, 200


def milliseconds(module: nn.Module, feats: torch.Tensor, dtype: torch.dtype | None) -> float:
    """Of one forward and backward."""
    start = time.perf_counter()
    with torch.autocast(feats.device.type, dtype, enabled=dtype is not None):
        embeddings = module(feats)
    embeddings.float().square().mean().backward()
    module.zero_grad(set_to_none=True)
    if feats.device.type == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


def compare(network: Path, make_peer: Callable[[], nn.Module], rounds: int, device: str) -> dict[str, float]:
    """Medians over ROUNDS of both, and their ratio."""
    feat_dim = 80 if network.stem != "conformer" else own_feat_dim(network)
    feats = torch.randn(BATCH, FRAMES, feat_dim, device=device)
    ours, peer = build_network(network, feat_dim).to(device).train(), make_peer().to(device).train()
    figures: dict[str, float] = {}
    for name, dtype in (("float32", None), ("bf16", torch.bfloat16)):
        times = [[milliseconds(module, feats, dtype) for module in (ours, peer)] for _ in range(rounds + 1)][1:]
        mine, theirs = torch.tensor(times).median(0).values.tolist()
        figures |= {f"{name}_ms": round(mine, 1), f"{name}_peer_over_ours": round(theirs / mine, 2)}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="", help="names, with commas between; default: all that have a peer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    left_out = []
    for name in [name for name in arguments.networks.split(",") if name] or PEERS:
        for peer, make_peer in PEERS[name]:
            path = ROOT / "conf" / "network" / f"{name}.yaml"
            try:
                results[f"{name} / {peer}"] = compare(path, make_peer, arguments.rounds, arguments.device)
            except ModuleNotFoundError as error:
                left_out.append(f"{name} / {peer}: {error.name} is not installed")
                continue
            print(f"{name} / {peer}: {results[f'{name} / {peer}']}", file=sys.stderr, flush=True)
    print(
        json.dumps({"bench": "networks", "batch": BATCH, "frames": FRAMES, "networks": results, "left_out": left_out})
    )


if __name__ == "__main__":
    main()
