"""ONNX graphs, put together node by node; for front_graph.py and whole_graph.py."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, compose, helper, numpy_helper

OPSET = 20
IR_VERSION = 10  # what every onnxruntime since 1.18 reads
FLOAT, DOUBLE, INT16, INT64, BOOL = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.INT16,
    TensorProto.INT64,
    TensorProto.BOOL,
)
Shape = Sequence[int | str]


class Graph:
    """Nodes and constants in the order in which they are needed.

    Args:
        prefix: of all names in it; a graph inside another one, such as the body of a loop, has another prefix
    """

    def __init__(self, prefix: str = "") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self._prefix, self._count = prefix, 0
        self._known: dict[tuple[str, bytes, tuple[int, ...]], str] = {}

    def __call__(self, kind: str, *inputs: str | ArrayLike, **attributes: Any) -> str:
        """The output of a new node; inputs are names, or values: whole numbers as int64, others as float32."""
        return self.many(kind, 1, *inputs, **attributes)[0]

    def many(self, kind: str, outputs: int, *inputs: str | ArrayLike, **attributes: Any) -> list[str]:
        """All OUTPUTS of a new node."""
        names = [self._new(kind) for _ in range(outputs)]
        given = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        self.nodes.append(helper.make_node(kind, given, names, self._new("node"), **attributes))
        return names

    def constant(self, value: ArrayLike) -> str:
        """The name of a constant."""
        array: NDArray[Any] = np.asarray(value)
        if array.dtype == np.float64 and not isinstance(value, np.ndarray | np.generic):
            array = array.astype(np.float32)
        key = (str(array.dtype), array.tobytes(), array.shape)
        if key not in self._known:
            self._known[key] = self._new("constant")
            self.constants.append(numpy_helper.from_array(array, self._known[key]))
        return self._known[key]

    def cast(self, value: str, kind: int) -> str:
        """VALUE as another type."""
        return self("Cast", value, to=kind)

    def part(self, value: str, start: str | ArrayLike, end: str | ArrayLike, axis: int = 0) -> str:
        """VALUE[START:END] along AXIS; START and END are whole numbers, or names of such of shape (1,)."""
        first, last = (one if isinstance(one, str) else np.atleast_1d(one) for one in (start, end))
        return self("Slice", value, first, last, [axis])

    def size(self, value: str, axis: int = 0) -> str:
        """The size of VALUE along AXIS, of shape (1,)."""
        return self("Shape", value, start=axis, end=axis + 1)

    def range(self, end: str) -> str:
        """0, 1, ... to below END, which has shape (1,) or ()."""
        return self("Range", self.constant(np.int64(0)), self("Reshape", end, self.constant(np.zeros(0, np.int64))),
                    self.constant(np.int64(1)))  # fmt: skip

    def inline(self, model: onnx.ModelProto, inputs: Sequence[str]) -> list[str]:
        """The outputs of MODEL, whose nodes become part of this graph, given INPUTS."""
        prefix = self._new("inner") + "_"
        inner = compose.add_prefix(model, prefix).graph
        known = {one.name for one in inner.initializer}
        wanted = [one.name for one in inner.input if one.name not in known]
        for name, given in zip(wanted, inputs, strict=True):
            self.nodes.append(helper.make_node("Identity", [given], [name], self._new("node")))
        self.constants.extend(inner.initializer)
        self.nodes.extend(inner.node)
        return [one.name for one in inner.output]

    def body(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.GraphProto:
        """The graph, with INPUTS and OUTPUTS that are named in it."""
        return helper.make_graph(self.nodes, name, inputs, outputs, self.constants)

    def model(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """The same as a model, checked."""
        graph = self.body(name, inputs, outputs)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, producer_name="timbre", opset_imports=opsets, ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def _new(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}{kind.lower()}{self._count}"


def value(name: str, kind: int, shape: Shape) -> onnx.ValueInfoProto:
    """An input or output; sizes in SHAPE that vary have names."""
    return helper.make_tensor_value_info(name, kind, list(shape))
