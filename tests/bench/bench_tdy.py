#!/usr/bin/env python3
"""Ways to compute a temporal dynamic convolution: time forward and backward, and memory, of the layers of TDY-ResNet.

Prints one JSON line. A batch of 16 x 200 frames, the 3x3 layer of each stage of TDY-ResNet-34(x0.25), six basis
kernels, float32 and bfloat16 autocast, one thread; milliseconds of CPU time, the best of three, and how far memory rose
above what it was, in MB. `product` is what TemporalDynamicConvolution does. `step` is the whole network, seconds and
MB, against the way of the authors' code in its place.
"""

import argparse
import ctypes
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from timbre.nnet.models.tdy import TdyResNet
from timbre.nnet.models.tdy_convolution import TemporalDynamicConvolution

# channels, frequency bins and time bins of the stages
STAGES = {"stage1": (16, 32, 200), "stage2": (32, 16, 100), "stage3": (64, 8, 50), "stage4": (128, 8, 50)}
BATCH, FRAMES, BINS, KERNELS, ROUNDS = 16, 200, 64, 6, 3

Way = Callable[[TemporalDynamicConvolution, Tensor, Tensor], Tensor]


def product(layer: TemporalDynamicConvolution, planes: Tensor, weights: Tensor) -> Tensor:
    """Outputs of all kernels, mixed by a product of matrix and vector a time bin."""
    return layer.mixed(planes, weights)


def authors(layer: TemporalDynamicConvolution, planes: Tensor, weights: Tensor) -> Tensor:
    """Outputs of all kernels in torch's usual layout, and a sum over them."""
    outputs = layer.basis(planes.contiguous()).unflatten(1, (layer.out_channels, KERNELS))
    return torch.einsum("boktf,btk->botf", outputs, weights.to(outputs.dtype))


def in_turn(layer: TemporalDynamicConvolution, planes: Tensor, weights: Tensor) -> Tensor:
    """One kernel after the other, each output added with its weights."""
    total = None
    for number, weight in enumerate(layer.basis.weight.unflatten(0, (-1, KERNELS)).unbind(1)):
        outputs = functional.conv2d(planes, weight, None, 1, 1)
        share = weights[:, None, :, number, None].to(outputs.dtype)
        total = outputs * share if total is None else torch.addcmul(total, outputs, share)
    assert total is not None
    return total


def inputs(layer: TemporalDynamicConvolution, planes: Tensor, weights: Tensor) -> Tensor:
    """Inputs weighted for each kernel and each of its three bins of time, as channels of one convolution."""
    seen = functional.pad(planes, (0, 0, 1, 1)).unfold(2, 3, 1)  # (B, C, T, F, 3)
    seen = seen[:, None] * weights.transpose(1, 2)[:, :, None, :, None, None]
    seen = seen.permute(0, 1, 5, 2, 3, 4).flatten(1, 3)
    kernels = layer.basis.weight.unflatten(0, (-1, KERNELS)).permute(0, 1, 3, 2, 4).flatten(1, 3)
    return functional.conv2d(seen, kernels[:, :, None], None, 1, (0, 1))


def kernels_of_bins(layer: TemporalDynamicConvolution, planes: Tensor, weights: Tensor) -> Tensor:
    """Kernels mixed first, one for each time bin, each applied to what it sees: a sixth of the products, or less."""
    batch, channels, num_frames, num_bins = planes.shape
    padded = functional.pad(planes.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    shifts = [padded[:, row : row + num_frames, place : place + num_bins] for row in range(3) for place in range(3)]
    seen = torch.cat(shifts, 3).flatten(0, 1)  # (B * T, F, 9 * C)
    basis = layer.basis.weight.unflatten(0, (-1, KERNELS)).permute(1, 3, 4, 2, 0).flatten(1)
    kernels = (weights.flatten(0, 1) @ basis).view(batch * num_frames, 9 * channels, -1)
    return (seen @ kernels.to(seen.dtype)).view(batch, num_frames, num_bins, -1).permute(0, 3, 1, 2)


WAYS: dict[str, Way] = {
    "product": product,
    "authors": authors,
    "in_turn": in_turn,
    "inputs": inputs,
    "kernels_of_bins": kernels_of_bins,
}


def peak_memory() -> int:
    """Most memory held so far, in bytes; of Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def measure(forward: Callable[[], Tensor], bf16: bool) -> tuple[float, float]:
    """Seconds and MB of FORWARD and the gradients of its sum of squares."""
    seconds, rise = [], []
    for _ in range(ROUNDS):
        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
        before, start = peak_memory(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            outputs = forward()
        outputs.backward(outputs.detach())
        seconds.append(time.process_time() - start)
        rise.append(peak_memory() - before)
    return min(seconds), max(rise) / 1e6


def layers(bf16: bool, chosen: list[str]) -> dict[str, dict[str, list[float]]]:
    """Stage -> way -> [milliseconds, MB]; the ways agree."""
    figures: dict[str, dict[str, list[float]]] = {}
    for stage, (channels, num_bins, num_frames) in STAGES.items():
        layer = TemporalDynamicConvolution(channels, channels, num_bins, num_kernels=KERNELS)
        planes = torch.randn(BATCH, channels, num_frames, num_bins).contiguous(memory_format=torch.channels_last)
        weights = torch.randn(BATCH, num_frames, KERNELS).softmax(2)
        expected = layer.mixed(planes, weights).detach()
        figures[stage] = {}
        for name in chosen:
            seen, shares = planes.clone().requires_grad_(), weights.clone().requires_grad_()
            found = WAYS[name](layer, planes, weights).detach()
            assert (found - expected).abs().max() < 1e-4 * expected.abs().max(), name
            seconds, megabytes = measure(partial(WAYS[name], layer, seen, shares), bf16)
            figures[stage][name] = [round(1000 * seconds, 1), round(megabytes)]
    return figures


def step(bf16: bool) -> dict[str, list[float]]:
    """[seconds, MB] of a step of the trunk: ours, the authors' way, ordinary convolutions."""
    figures, ours = {}, TemporalDynamicConvolution.mixed
    for name, num_kernels, way in (("product", KERNELS, ours), ("authors", KERNELS, authors), ("static", 1, ours)):
        TemporalDynamicConvolution.mixed = way
        trunk = TdyResNet(BINS, num_kernels=num_kernels)
        feats = torch.randn(BATCH, FRAMES, BINS)
        seconds, megabytes = measure(lambda trunk=trunk, feats=feats: trunk(feats)[0], bf16)
        figures[name] = [round(seconds, 2), round(megabytes)]
    TemporalDynamicConvolution.mixed = ours
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ways", default=",".join(WAYS), help="some of them, with commas between")
    chosen = parser.parse_args().ways.split(",")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    result: dict[str, object] = {"bench": "tdy", "batch": [BATCH, FRAMES, BINS]}
    for name, bf16 in (("float32", False), ("bfloat16", True)):
        result[name] = layers(bf16, chosen) | {"step": step(bf16)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
