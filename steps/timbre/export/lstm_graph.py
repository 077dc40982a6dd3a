"""LSTM trunks as ONNX's own LSTM: torch's exporter would lay out one for each frame. Called by network_graph.py."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from timbre.export.onnx_graph import Graph
from timbre.utils.errors import DataError


def lstm_frames(g: Graph, layers: nn.LSTM, feats: str) -> str:
    """What LAYERS make of FEATS (B, T, dim): (B, hidden, T).

    Raises:
        DataError: they have projections, which ONNX's LSTM has not
    """
    if layers.proj_size:
        raise DataError("an LSTM with projections (projection_dim) has no form in ONNX")
    frames = g("Transpose", feats, perm=[1, 0, 2])
    for layer in range(layers.num_layers):
        inputs, states = (_gates(layers, f"weight_{kind}_l{layer}") for kind in ("ih", "hh"))
        bias = np.concatenate([_gates(layers, f"bias_{kind}_l{layer}") for kind in ("ih", "hh")])
        out = g("LSTM", frames, inputs[None], states[None], bias[None], hidden_size=layers.hidden_size)
        frames = g("Squeeze", out, [1])
    return g("Transpose", frames, perm=[1, 2, 0])


def _gates(layers: nn.LSTM, name: str) -> NDArray[np.float32]:
    """Rows of the parameter NAME: torch has the gates input, forget, cell, output; ONNX input, output, forget, cell."""
    whole: NDArray[np.float32] = layers.get_parameter(name).detach().cpu().numpy()
    entry, forget, cell, output = np.split(whole, 4)
    return np.concatenate([entry, output, forget, cell])
