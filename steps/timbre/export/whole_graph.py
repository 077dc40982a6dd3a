"""From samples to embeddings in one ONNX model; and its parts, for who has features. Called by pack_writer.py."""

from dataclasses import dataclass

import numpy as np
import onnx

from timbre.export.front_graph import energy_voiced, finish_feats, frame_feats, lay_samples, normalized
from timbre.export.onnx_graph import BOOL, DOUBLE, FLOAT, INT16, INT64, Graph, value
from timbre.feats.extractor import INT16_SCALE
from timbre.feats.options import FrameOptions
from timbre.feats.vad import VadOptions
from timbre.runtime.normalize import NormalizeOptions


def front_model(options: FrameOptions) -> onnx.ModelProto:
    """Features of frames: `signal` (S,), `plain` (S,) where features are of samples in [-1, 1) -> `feats`, `energy`.

    What `frame_feats` computes: before what is done to whole utterances, so that long ones may come in blocks.
    """
    g = Graph()
    inputs = [value(name, FLOAT, ("samples",)) for name in ("signal", *(["plain"] if options.unit_scale else []))]
    feats, energy = frame_feats(g, "signal", inputs[-1].name, options)
    g.nodes.append(onnx.helper.make_node("Identity", [feats], ["feats"]))
    g.nodes.append(onnx.helper.make_node("Identity", [energy], ["energy"]))
    outputs = [value("feats", FLOAT, ("frames", "columns")), value("energy", FLOAT, ("frames",))]
    return g.model("front", inputs, outputs)


def whole_model(
    network: onnx.ModelProto,
    options: FrameOptions,
    vad: VadOptions,
    normalize: NormalizeOptions,
    min_frames: int,
    max_frames: int,
    embedding_dim: int,
) -> onnx.ModelProto:
    """`samples` (B, N) float32 in [-1, 1), or `pcm` (B, N) int16 -> `embedding` (B, embedding_dim).

    An utterance without speech has NaN. Where the VAD is a network's, `voiced` (B, T) bool is an input as well.

    Args:
        network: of `network_model`
        options: of the features
        vad: how speech is found
        normalize: what is done to the features
        min_frames: shorter utterances are repeated up to this
        max_frames: longer ones are cut into windows of equal length, whose embeddings are averaged
        embedding_dim: of the network
    """
    g = Graph("batch_")
    samples = _either(g)
    inputs = [value("samples", FLOAT, ("batch", "samples")), value("pcm", INT16, ("batch", "samples"))]
    if vad.needs_audio:
        inputs.append(value("voiced", BOOL, ("batch", "frames")))
    row = _Row(options, vad, normalize, min_frames, max_frames, embedding_dim)
    body = row.body(network, samples)
    embedding = g("Loop", g.part(g("Shape", samples), 0, 1), g.constant(np.bool_(True)), body=body)
    g.nodes.append(onnx.helper.make_node("Identity", [embedding], ["embedding"]))
    model = g.model("whole", inputs, [value("embedding", FLOAT, ("batch", embedding_dim))])
    for name, kind in (("samples", np.float32), ("pcm", np.int16)):  # either may be left out
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((0, 0), kind), name))
    return model


def _either(g: Graph) -> str:
    """(B, N) float32 of `samples` or, if they are not given, of `pcm`."""
    scaled = g("Div", g.cast("pcm", FLOAT), INT16_SCALE)
    flat = g("Concat", g("Reshape", "samples", [-1]), g("Reshape", scaled, [-1]), axis=0)
    return g("Reshape", flat, g("Max", g("Shape", "samples"), g("Shape", "pcm")), allowzero=1)


@dataclass(frozen=True)
class _Row:
    """The body of the loop over the utterances of a batch."""

    options: FrameOptions
    vad: VadOptions
    normalize: NormalizeOptions
    min_frames: int
    max_frames: int
    embedding_dim: int

    def body(self, network: onnx.ModelProto, samples: str) -> onnx.GraphProto:
        """One turn: the embedding of a row of SAMPLES (B, N)."""
        g = Graph("row_")
        row = g("Gather", samples, "row", axis=0)
        signal, plain, count = lay_samples(g, row, self.options)
        raw, energy = frame_feats(g, signal, plain, self.options)
        feats = finish_feats(g, raw, self.options)
        if self.options.energy_first:
            energy = g("Reshape", g.part(feats, 0, 1, 1), [-1])
        if self.vad.needs_audio:
            voiced = g("Gather", "voiced", "row", axis=0)
        else:
            voiced = energy_voiced(g, energy, count, self.vad)
        chosen = normalized(g, feats, voiced, self.normalize)
        size = g.size(chosen)
        padded = g("Pad", chosen, [0, 0, 1, 0], float("nan"))  # what is left of an utterance without speech
        rows = g("Max", size, [self.min_frames])
        chosen = g("Gather", padded, g("Mod", g.range(rows), g("Max", size, [1])), axis=0)
        embedding = self._averaged(g, chosen, network)
        return _turn(g, "row", [], [embedding], (self.embedding_dim,), FLOAT)

    def _averaged(self, g: Graph, feats: str, network: onnx.ModelProto) -> str:
        """The mean embedding (embedding_dim,) of windows of equal length of FEATS (T, dim), by a loop over them."""
        longest = max(self.max_frames, 2 * self.min_frames)
        size = g.size(feats)
        number = g("Div", g("Add", size, [longest - 1]), [longest])
        each, more = g("Div", size, number), g("Mod", size, number)
        inner = Graph("window_")
        place = inner("Reshape", "window", [1])
        start = inner("Add", inner("Mul", place, each), inner("Min", place, more))
        end = inner("Add", inner("Add", start, each), inner.cast(inner("Less", place, more), INT64))
        piece = inner("Unsqueeze", inner.part(feats, start, end), [0])
        vector = inner.cast(inner("Squeeze", inner.inline(network, [piece])[0], [0]), DOUBLE)
        share = inner("Div", inner.cast(inner("Sub", end, start), DOUBLE), inner.cast(size, DOUBLE))
        total = inner("Add", "window_sum", inner("Mul", vector, share))
        body = _turn(inner, "window", ["window_sum"], [total], (self.embedding_dim,), DOUBLE)
        zero = np.zeros(self.embedding_dim)
        return g.cast(g("Loop", number, g.constant(np.bool_(True)), zero, body=body), FLOAT)


def _turn(
    g: Graph, place: str, carried: list[str], outputs: list[str], shape: tuple[int, ...], kind: int
) -> onnx.GraphProto:
    """G as the body of a loop that counts in PLACE, with CARRIED inputs and OUTPUTS of SHAPE."""
    going = f"{place}_going"
    onward = g("Identity", going)
    inputs = [value(place, INT64, ()), value(going, BOOL, ()), *(value(name, kind, shape) for name in carried)]
    return g.body(f"{place}_body", inputs, [value(onward, BOOL, ()), *(value(name, kind, shape) for name in outputs)])
