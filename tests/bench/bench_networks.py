#!/usr/bin/env python3
"""A training step of networks of conf/network against the same architecture of a peer, or written naively (peers.py).

Batches of examples of 200 frames with features of the dimension that the network's file counts its parameters for,
float32 and bfloat16 autocast: forward and backward, in turn with the peer's so that other work hits both. Rounds go on
for `--seconds` a network and peer, but at least `--rounds`. Prints one JSON line, and a Markdown table to stderr:
milliseconds, and the peer's time over ours (above 1: ours is faster), the median of the rounds. A peer whose number of
parameters is not ours within 1 % is refused, unless it says what it has other than ours.

`--networks xvector,ecapa512` measures some only. SpeechBrain is left out, and said so, where it is not installed.
"""

import argparse
import json
import sys
import time

import torch
from peers import PEERS, ROOT, Peer
from torch import nn

from timbre.nnet.network import build_network
from timbre.nnet.network_file import own_feat_dim
from timbre.nnet.summary import num_parameters

FRAMES = 200
TOLERANCE = 0.01  # of the number of parameters


class UnequalError(Exception):
    """A peer has another number of parameters."""


def milliseconds(module: nn.Module, feats: torch.Tensor, dtype: torch.dtype | None) -> float:
    """Of one forward and backward.

    The gradient of the embeddings is random: that of their length would be nothing after BatchNorm, and numbers next to
    nothing take a CPU longer.
    """
    start = time.perf_counter()
    with torch.autocast(feats.device.type, dtype, enabled=dtype is not None):
        embeddings = module(feats)
    gradient = torch.randn(embeddings.shape, device=feats.device)
    embeddings.float().backward(gradient)
    module.zero_grad(set_to_none=True)
    if feats.device.type == "cuda":
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start)


def pair(name: str, peer: Peer) -> tuple[int, nn.Module, nn.Module]:
    """Feature dimension, our network NAME and PEER.

    Raises:
        UnequalError: their numbers of parameters differ, and PEER does not say that it is unlike ours
        ModuleNotFoundError: PEER's package is not installed
    """
    path = ROOT / "conf" / "network" / f"{name}.yaml"
    feat_dim = own_feat_dim(path)
    ours, theirs = build_network(path, feat_dim), peer.make(feat_dim)
    counts = num_parameters(ours), num_parameters(theirs)
    if not peer.unlike and abs(counts[0] - counts[1]) > TOLERANCE * counts[0]:
        raise UnequalError(f"{counts[1]:,} parameters, ours has {counts[0]:,}")
    return feat_dim, ours, theirs


def compare(name: str, peer: Peer, options: argparse.Namespace) -> dict[str, float]:
    """Sizes, and medians over the rounds of our time and of the ratio."""
    feat_dim, ours, theirs = pair(name, peer)
    figures: dict[str, float] = {
        "feat_dim": feat_dim,
        "parameters": num_parameters(ours),
        "peer_parameters": num_parameters(theirs),
    }
    feats = torch.randn(options.batch, FRAMES, feat_dim, device=options.device)
    modules = [module.to(options.device).train() for module in (ours, theirs)]
    dtypes = {"float32": None, "bf16": torch.bfloat16}
    for key, dtype in dtypes.items():
        for module in modules:
            milliseconds(module, feats, dtype)  # not counted: the first makes what the others use again
        times: list[list[float]] = []
        end = time.perf_counter() + options.seconds / len(dtypes)
        while len(times) < options.rounds or time.perf_counter() < end:
            times.append([milliseconds(module, feats, dtype) for module in modules])
        mine, them = torch.tensor(times).unbind(1)
        figures |= {
            f"{key}_rounds": len(times),
            f"{key}_ms": round(mine.quantile(0.5).item(), 1),
            f"{key}_peer_over_ours": round((them / mine).quantile(0.5).item(), 2),
        }
    return figures


def as_table(results: dict[str, dict[str, float]]) -> str:
    """Markdown: a line for each network and peer."""
    lines = ["| network | against | parameters | theirs | ms | float32 | ms, bfloat16 | bfloat16 |", "|" + "---|" * 8]
    for title, figures in results.items():
        sizes = " | ".join(f"{figures[key] / 1e6:.2f} M" for key in ("parameters", "peer_parameters"))
        times = " | ".join(
            f"{figures[f'{key}_ms']:.0f} | {figures[f'{key}_peer_over_ours']:.2f}" for key in ("float32", "bf16")
        )
        lines.append(f"| {title.replace(' / ', ' | ')} | {sizes} | {times} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="", help="names, with commas between; default: all that have a peer")
    parser.add_argument("--batch", type=int, default=16, help="examples; 2 or more")
    parser.add_argument("--seconds", type=float, default=20, help="that the rounds of a network and a peer take")
    parser.add_argument("--rounds", type=int, default=3, help="at least, of float32 and of bfloat16")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    names = [name for name in options.networks.split(",") if name] or list(PEERS)
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"no peer of {', '.join(unknown)}; there are those of {', '.join(PEERS)}")
    if options.batch < 2 or options.rounds < 1:
        parser.error("--batch must be at least 2, --rounds at least 1")
    results: dict[str, dict[str, float]] = {}
    left_out: list[str] = []
    for name in names:
        for peer in PEERS[name]:
            title = f"{name} / {peer.name}" + (f" ({peer.unlike})" if peer.unlike else "")
            try:
                results[title] = compare(name, peer, options)
            except ModuleNotFoundError as error:
                left_out.append(f"{title}: {error.name} is not installed")
            except UnequalError as error:
                left_out.append(f"{title}: {error}")
            print(f"{title}: {results[title]}" if title in results else left_out[-1], file=sys.stderr, flush=True)
    print(as_table(results), file=sys.stderr)
    sizes = {"batch": options.batch, "frames": FRAMES}
    print(json.dumps({"bench": "networks", **sizes, "networks": results, "left_out": left_out}))


if __name__ == "__main__":
    main()
