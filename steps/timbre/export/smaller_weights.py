"""Networks with weights in 8 or 16 bits: what is computed stays float32. Called by pack_writer.py.

Activations in float16 overflow in some networks, and those in 8 bits need data to be fitted to (integer_network.py);
weights alone need neither, and lose least.
"""

from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Kind = Literal["int8_weights", "fp16"]

_LEAST = 1024  # numbers; smaller arrays stay as they are
# kind of node -> places of its weights, and the axis of each along which rows are scaled apart
_WEIGHTS = {"Conv": {1: 0}, "Gemm": {1: 0}, "MatMul": {0: -2, 1: -1}, "LSTM": {1: 1, 2: 1}}


def with_smaller_weights(model: onnx.ModelProto, kind: Kind) -> onnx.ModelProto:
    """MODEL with the weights of convolutions and matrix products stored in KIND: int8 with a scale a row, or fp16."""
    smaller = onnx.ModelProto()
    smaller.CopyFrom(model)
    graph = smaller.graph
    axes, cast = {}, {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    for node in graph.node:
        for place, axis in _WEIGHTS.get(node.op_type, {}).items():
            if node.op_type == "Gemm" and not any(one.name == "transB" and one.i for one in node.attribute):
                axis = 1
            axes[cast.get(node.input[place], node.input[place])] = axis
    nodes, constants = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name not in axes or values.dtype != np.float32 or values.size < _LEAST:
            constants.append(tensor)
            continue
        stored = f"{tensor.name}_{kind}"
        if kind == "fp16":
            largest = np.float32(np.finfo(np.float16).max)
            constants.append(numpy_helper.from_array(np.clip(values, -largest, largest).astype(np.float16), stored))
            nodes.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
            continue
        axis = axes[tensor.name] % values.ndim
        others = tuple(place for place in range(values.ndim) if place != axis)
        scale = np.maximum(np.abs(values).max(others, keepdims=True) / np.float32(127), np.float32(1e-30))
        constants.append(numpy_helper.from_array(np.rint(values / scale).astype(np.int8), stored))
        constants.append(numpy_helper.from_array(scale, f"{stored}_scale"))
        # onnxruntime does these two once, when it loads the graph; a DequantizeLinear it would run every time
        nodes.append(helper.make_node("Cast", [stored], [f"{stored}_float"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{stored}_float", f"{stored}_scale"], [tensor.name]))
    del graph.initializer[:]
    graph.initializer.extend(constants)
    kept = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *kept])
    onnx.checker.check_model(smaller)
    return smaller
