"""Tiny networks of each family, and scores of theirs to explain: what the tests of explanations share."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from network_checks import changed, trained, utterances
from timbre.explain.explained_score import PartScore
from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.nnet.objectives import Softmax

DIM = 16
MEAN: dict[str, Any] = {"class_path": "MeanPooling"}
TDNN: dict[str, Any] = {
    "trunk": {
        "class_path": "XvectorTdnn",
        "init_args": {"channels": [8, 8, 12], "kernels": [5, 3, 1], "dilations": [1, 2, 1]},
    },
    "pooling": MEAN,
    "embedding_dim": 6,
}
RESNET = changed(
    "resnet34_small", trunk={"channels": [4, 8], "blocks": [1, 1], "strides": [1, 2], "stem_stride": 1}, embedding_dim=6
) | {"pooling": MEAN}
FAMILIES: dict[str, dict[str, Any]] = {
    "tdnn": TDNN | {"pooling": {"class_path": "StatisticsPooling"}},
    "resnet": RESNET | {"pooling": {"class_path": "StatisticsPooling"}},
    "ecapa": changed(
        "ecapa128",
        trunk={"channels": 16, "output_channels": 24, "scale": 4, "bottleneck": 8},
        pooling={"bottleneck": 8},
        embedding_dim=6,
    ),
    "conformer": changed(
        "conformer", trunk={"channels": 8, "blocks": 1, "heads": 2, "hidden": 8, "kernel": 5}, embedding_dim=6
    ),
    "tdy": changed(
        "tdy_resnet34_025",
        trunk={"channels": [4, 8], "blocks": [1, 1], "strides": [1, 2], "num_kernels": 3},
        embedding_dim=6,
    ),
}
TIME_ALONE = {"tdnn", "ecapa", "conformer"}  # families whose channels see all frequencies


def make_network(config: dict[str, Any]) -> SpeakerNetwork:
    torch.manual_seed(0)
    return trained(build_network(config, DIM)).requires_grad_(False)


def logit_of(network: SpeakerNetwork, num_frames: int = 47) -> PartScore:
    """The logit of class 1 of 3 for an utterance."""
    head = Softmax(network.embedding_dim, 3)
    nn.init.normal_(head.layers[-1].bias)
    head.eval().requires_grad_(False)
    return score_of(network, utterances(1, num_frames, DIM)[0], head)


def score_of(network: Any, inputs: Tensor, head: Softmax | None = None) -> PartScore:
    """The logit of class 1 by HEAD, or the first number of the embedding, for INPUTS (T, F)."""

    def score(vectors: Sequence[Tensor]) -> Tensor:
        return vectors[0][:, 0] if head is None else head.outputs(vectors[0])[:, 1]

    with torch.no_grad():
        embedding = network(inputs[None])
    return PartScore(network, score, [embedding], 0, inputs, len(inputs), head)
