"""Networks whose convolutions and affine layers are computed in 8 bits. Called by pack_writer.py.

Static quantisation by onnxruntime's own tool: weights a scale for each output channel (int8), activations a range for
each tensor (uint8), found on features of recordings. What is between them stays float32. On CPUs with integer dot
products (VNNI, and ARM's) it is faster. Others (AVX2) add two products in 16 bits and cut off what does not fit, so
weights have 7 bits: 2 x 255 x 64 fits.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from timbre.audio.reading import AudioReader
from timbre.datadir.datadir import DataDir
from timbre.runtime.encoder import Encoder
from timbre.runtime.sound import Sound, Unusable
from timbre.utils.errors import DataError

Feats = NDArray[np.float32]

_KINDS = ["Conv", "Gemm"]
_UTTS = 64
_MOST = 600  # frames of a recording


def features_to_fit(encoder: Encoder, data_dir: Path, seed: int = 0) -> list[Feats]:
    """What the network is given of recordings, (T, dim) each: of 64 utterances of DATA_DIR, drawn with SEED.

    Raises:
        DataError: none can be used
    """
    data, reader = DataDir.read(data_dir), AudioReader(encoder.channel)
    utts = sorted(data.utts)
    chosen = np.random.default_rng(seed).permutation(len(utts))[:_UTTS]
    found = []
    for utt in (utts[place] for place in sorted(chosen)):
        place, segment = data.recording_of(utt)
        try:
            samples, rate = reader.read(place, segment)
            found.append(encoder.rows(Sound(samples, rate, utt))[:_MOST])
        except Unusable:
            continue
    if not found:
        raise DataError("no utterance can be used to find the ranges of int8", data_dir)
    return found


def with_integer_products(model: onnx.ModelProto, feats: Sequence[Feats]) -> onnx.ModelProto:
    """MODEL of `network_model` with products in 8 bits, whose ranges are those that FEATS (T, dim) lead to.

    Raises:
        DataError: nothing in it can be computed so
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if not any(node.op_type in _KINDS for node in model.graph.node):
        raise DataError("a network without convolutions or affine layers cannot be int8: export int8_weights")

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._next: Iterator[Feats] = iter(feats)

        def get_next(self) -> dict[str, Feats] | None:
            one = next(self._next, None)
            return None if one is None else {"feats": one[None]}

    level = logging.root.level
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.root.setLevel(logging.ERROR)  # it advises, on the root logger, to do what is done here
        try:
            given, fused, made = (Path(folder) / f"{name}.onnx" for name in ("given", "fused", "made"))
            onnx.save(model, given)
            quant_pre_process(given, fused, skip_symbolic_shape=True)
            quantize_static(
                fused, made, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=_KINDS, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, reduce_range=True,
            )  # fmt: skip
            smaller = onnx.load(made)
        finally:
            logging.root.setLevel(level)
    del smaller.metadata_props[:]
    used = {node.domain for node in smaller.graph.node}
    domains = [one for one in smaller.opset_import if one.domain in used]
    del smaller.opset_import[:]
    smaller.opset_import.extend(domains)
    onnx.checker.check_model(smaller)
    return smaller
