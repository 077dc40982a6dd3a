"""A network as ONNX: features (B, T, dim) of utterances of one length -> embeddings. Called by pack_writer.py."""

import io
import logging
import warnings
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from timbre.export.lstm_graph import lstm_frames
from timbre.export.onnx_graph import FLOAT, OPSET, Graph, value
from timbre.nnet.layers import normalize_instances
from timbre.nnet.models.lstm import Lstm
from timbre.nnet.network import SpeakerNetwork
from timbre.utils.errors import DataError


class _Plain(nn.Module):
    """A network without its checks, and without what it does to windows of an utterance."""

    def __init__(self, network: SpeakerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, feats: Tensor) -> Tensor:
        """(B, T, dim) -> (B, embedding_dim)."""
        return self.network.embed(self.network.frames(feats, None))


class _Frames(nn.Module):
    """The part of a network that sees frames."""

    def __init__(self, network: SpeakerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, feats: Tensor) -> list[Tensor]:
        """(B, T, dim) -> what is pooled, (B, C, T) of each stage."""
        return [frames for frames, _ in self.network.frames(feats, None)]


class _Pooled(nn.Module):
    """What a network makes of the frames of its trunk."""

    def __init__(self, network: SpeakerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, stages: list[Tensor]) -> Tensor:
        """(B, C, T) of each stage -> (B, embedding_dim)."""
        return self.network.embed([(frames, None) for frames in stages])


class _Instances(nn.Module):
    """What a network with instance_norm does to features."""

    def forward(self, feats: Tensor) -> Tensor:
        """(B, T, dim), the same size."""
        return normalize_instances(feats, None)


def network_model(network: SpeakerNetwork) -> onnx.ModelProto:
    """NETWORK, in evaluation mode on a CPU, as a model: `feats` (B, T, dim) -> `embedding` (B, embedding_dim).

    Raises:
        DataError: it is one that has no form in ONNX
    """
    segments = network.segments
    g = Graph()
    if network.windows is None and (segments is None or segments.at_test == "whole"):
        embedding = _embedded(g, network, "feats")
    else:
        embedding = _of_pieces(g, network)
    g.nodes.append(onnx.helper.make_node("Identity", [embedding], ["embedding"]))
    inputs = [value("feats", FLOAT, ("batch", "frames", network.feat_dim))]
    return g.model("network", inputs, [value("embedding", FLOAT, ("batch", network.embedding_dim))])


def _embedded(g: Graph, network: SpeakerNetwork, feats: str, number: str = "") -> str:
    """Embeddings of FEATS (N, T, dim), each an utterance; with NUMBER (1,), of the frames of so many together."""
    example = _example(network)
    if not number and not isinstance(network.trunk, Lstm):
        return g.inline(_traced(_Plain(network), example, (0, 1)), [feats])[0]
    if isinstance(network.trunk, Lstm):
        if network.instance_norm:
            feats = g.inline(_traced(_Instances(), example, (0, 1)), [feats])[0]
        stages = [lstm_frames(g, network.trunk.layers, feats)]
    else:
        stages = g.inline(_traced(_Frames(network), example, (0, 1)), [feats])
    with torch.no_grad():
        pooled = _traced(_Pooled(network), _Frames(network)(example), (0, 2))
    if number:
        stages = [_joined(g, frames, number) for frames in stages]
    return g.inline(pooled, stages)[0]


def _example(network: SpeakerNetwork) -> Tensor:
    """Features as the exporter wants to see some: of two utterances, as of one it takes for granted that all are."""
    longest = network.windows.length if network.windows is not None else 0
    return torch.zeros(2, max(200, network.min_frames + 50, longest), network.feat_dim)


def _joined(g: Graph, frames: str, number: str) -> str:
    """FRAMES (B * NUMBER, C, T) of the segments of utterances one after the other, (B, C, NUMBER * T)."""
    channels = g.size(frames, 1)
    split = g("Reshape", frames, g("Concat", [-1], number, channels, g.size(frames, 2), axis=0))
    return g("Reshape", g("Transpose", split, perm=[0, 2, 1, 3]), g("Concat", g.size(split), channels, [-1], axis=0))


def _traced(module: nn.Module, example: Tensor | list[Tensor], varying: tuple[int, int]) -> onnx.ModelProto:
    """What torch's exporter makes of MODULE, which takes EXAMPLE; sizes along VARYING axes may be others."""
    sizes: Any = dict.fromkeys(varying, torch.export.Dim.DYNAMIC)
    if isinstance(example, list):
        sizes = [sizes] * len(example)
    for name in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module, (example,), dynamo=True, opset_version=OPSET, dynamic_shapes=(sizes,), verbose=False
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        root: BaseException = error
        while root.__cause__ is not None:
            root = root.__cause__
        raise DataError(f"the network has no form in ONNX: {(str(root) or repr(root)).splitlines()[0]}") from error
    assert program is not None
    model = program.model_proto
    del model.metadata_props[:]
    for node in model.graph.node:  # lines of the source it was made of
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    del model.graph.value_info[:]
    return model


def _of_pieces(g: Graph, network: SpeakerNetwork) -> str:
    """Embeddings of `feats`, each made of its windows, or of its segments."""
    size = g.size("feats", 1)
    feats, windows, segments = "feats", network.windows, network.segments
    if segments is not None and segments.at_test != "whole":
        length = g("Min", size, [segments.test_length])
        number = g("Div", g("Add", g("Mul", size, [10]), [8 * segments.test_length]), [9 * segments.test_length])
        number = g("Where", g("Greater", size, [segments.test_length]), number, [1])
        places = g("Div", g("Mul", g.range(number), [9 * segments.test_length]), [10])
        is_last = g("Equal", g.range(number), g("Sub", number, [1]))
        starts = g("Where", is_last, g("Sub", size, length), places)
    else:
        assert windows is not None
        length = g.constant([windows.length])
        number = g("Add", g("Div", g("Max", g("Sub", size, [windows.least]), [0]), [windows.shift]), [1])
        starts = g("Mul", g.range(number), [windows.shift])
        end = g("Add", g("Mul", g("Sub", number, [1]), [windows.shift]), length)
        lacking = g("Max", g("Sub", end, size), [0])
        feats = g("Pad", feats, g("Concat", [0, 0, 0, 0], lacking, [0], axis=0))
    places = g("Add", g("Unsqueeze", starts, [1]), g.range(length))
    pieces = g("Gather", feats, places, axis=1)  # (B, N, length, dim)
    flat = g("Reshape", pieces, g("Concat", [-1], length, [network.feat_dim], axis=0))
    if segments is not None and segments.at_test == "aggregate" and segments.kind == "maps":
        return _embedded(g, network, flat, number)
    each = _embedded(g, network, flat)
    split = g("Concat", g.size("feats"), number, [network.embedding_dim], axis=0)
    mean = g("ReduceMean", g("Reshape", each, split), [1], keepdims=0)
    if (segments is not None and segments.at_test != "whole") or not network.embedding_length:
        return mean
    norm = g("Max", g("ReduceL2", mean, [1], keepdims=1), 1e-12)
    return g("Mul", g("Div", mean, norm), float(np.float32(network.embedding_length)))
