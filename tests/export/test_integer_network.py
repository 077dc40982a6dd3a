"""Convolutions and affine layers in 8 bits: near what float32 gives, in any batch and length, the same every time."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile

from tests.export.test_network_graph import session
from tests.runtime.tiny_pack import FEATS, tiny_members, voice, write_tiny
from timbre.export.integer_network import features_to_fit, with_integer_products
from timbre.export.onnx_graph import FLOAT, IR_VERSION, Graph, value
from timbre.runtime.encoder import Encoder
from timbre.runtime.pack_file import PackFile
from timbre.utils.errors import DataError

INT8 = onnx.TensorProto.INT8


def network(dim: int, kind: str = "Conv") -> onnx.ModelProto:
    """A convolution over the frames, ReLU, their mean; or the mean alone."""
    g, frames = Graph(), "feats"
    if kind == "Conv":
        weights = np.random.default_rng(0).standard_normal((16, dim, 3)).astype(np.float32)
        frames = g("Transpose", g("Relu", g("Conv", g("Transpose", frames, perm=[0, 2, 1]), weights)), perm=[0, 2, 1])
    g.nodes.append(onnx.helper.make_node("ReduceMean", [frames, g.constant([1])], ["embedding"], keepdims=0))
    inputs = [value("feats", FLOAT, ("batch", "frames", dim))]
    return g.model("network", inputs, [value("embedding", FLOAT, ("batch", 16 if kind == "Conv" else dim))])


def test_near_float32_and_the_same_every_time() -> None:
    rng = np.random.default_rng(1)
    fit = [rng.standard_normal((size, 20)).astype(np.float32) for size in (50, 80, 31)]
    exact = network(20)
    made = with_integer_products(exact, fit)
    assert made.SerializeToString() == with_integer_products(exact, fit).SerializeToString()
    assert [one.domain for one in made.opset_import] == [""] and made.ir_version <= IR_VERSION
    kinds = {node.op_type for node in made.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert [one.name for one in made.graph.input] == ["feats"] and [one.name for one in made.graph.output] == [
        "embedding"
    ]
    for shape in ((1, 3, 20), (3, 200, 20)):
        feats = {"feats": rng.standard_normal(shape).astype(np.float32)}
        expected, found = (session(one.SerializeToString()).run(None, feats)[0] for one in (exact, made))
        assert 0 < np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)


def test_no_processor_cuts_sums_off() -> None:
    """Without integer dot products two of them are added in 16 bits: with weights of 8 bits a sum may not fit."""
    rng = np.random.default_rng(1)
    fit = [np.abs(rng.standard_normal((80, 20))).astype(np.float32)]
    exact = network(20)
    weights = next(one for one in exact.graph.initializer if list(one.dims) == [16, 20, 3])
    weights.CopyFrom(onnx.numpy_helper.from_array(np.abs(onnx.numpy_helper.to_array(weights)), weights.name))
    made = with_integer_products(exact, fit)
    integers = [onnx.numpy_helper.to_array(one) for one in made.graph.initializer if one.data_type == INT8]
    most = max(int(np.abs(one.astype(int)).max()) for one in integers)
    assert 2 * 255 * most < 2**15 and most >= 63
    feats = {"feats": fit[0][None]}
    expected, found = (session(one.SerializeToString()).run(None, feats)[0] for one in (exact, made))
    assert np.linalg.norm(found - expected) < 0.05 * np.linalg.norm(expected)


def test_a_network_without_products() -> None:
    with pytest.raises(DataError, match="without convolutions or affine layers cannot be int8"):
        with_integer_products(network(20, "mean"), [])


def test_it_is_fitted_on_speech(tmp_path: Path) -> None:
    """Of recordings that can be used; at least one."""
    encoder = Encoder(PackFile.open(write_tiny(tmp_path / "a.timbre", *tiny_members())))
    lines = []
    for name, wave in (("a", voice(2.0)), ("b", np.zeros(8000)), ("c", voice(9.0, 2))):
        soundfile.write(tmp_path / f"{name}.wav", wave, 8000)
        lines.append(f"{name} {tmp_path}/{name}.wav\n")
    data = tmp_path / "data"
    data.mkdir()
    (data / "wav.scp").write_text("".join(lines))
    (data / "utt2spk").write_text("a a\nb b\nc c\n")
    found = features_to_fit(encoder, data)
    assert [one.shape[1] for one in found] == [FEATS.dim] * 2 and len(found[1]) <= 600
    (data / "wav.scp").write_text(lines[1])
    (data / "utt2spk").write_text("b b\n")
    with pytest.raises(DataError, match="no utterance can be used"):
        features_to_fit(encoder, data)
