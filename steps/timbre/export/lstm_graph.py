"""LSTM trunks as ONNX's own LSTM: torch's exporter would lay out one for each frame. Called by network_graph.py.

ONNX's LSTM has no projection. A layer with one, P, puts out P r for what its cells r hold, and sees it again through
the weights U: U (P r) = (U P) r, so that it is a layer without one whose recurrent weights are U P, and P comes after
it. The product is left to the graph, which is multiplied out once, when it is loaded: a file holds U and P.
"""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from timbre.export.onnx_graph import DOUBLE, FLOAT, Graph


def lstm_frames(g: Graph, layers: nn.LSTM, feats: str) -> str:
    """What LAYERS make of FEATS (B, T, dim): (B, hidden, T), or of their projections (B, projection, T)."""
    frames = g("Transpose", feats, perm=[1, 0, 2])
    for layer in range(layers.num_layers):
        inputs, recurrent = (_gates(layers, f"weight_{kind}_l{layer}")[None] for kind in ("ih", "hh"))
        bias = np.concatenate([_gates(layers, f"bias_{kind}_l{layer}") for kind in ("ih", "hh")])
        states, projection = g.constant(recurrent), ""
        if layers.proj_size:
            projection = g.constant(_weights(layers, f"weight_hr_l{layer}"))
            product = g("MatMul", g.cast(states, DOUBLE), g.cast(projection, DOUBLE))
            states = g.cast(product, FLOAT)
        out = g("LSTM", frames, inputs, states, bias[None], hidden_size=layers.hidden_size)
        frames = g("Squeeze", out, [1])
        if projection:
            frames = g("MatMul", frames, g("Transpose", projection, perm=[1, 0]))
    return g("Transpose", frames, perm=[1, 2, 0])


def _gates(layers: nn.LSTM, name: str) -> NDArray[np.float32]:
    """Rows of the parameter NAME: torch has the gates input, forget, cell, output; ONNX input, output, forget, cell."""
    entry, forget, cell, output = np.split(_weights(layers, name), 4)
    return np.concatenate([entry, output, forget, cell])


def _weights(layers: nn.LSTM, name: str) -> NDArray[np.float32]:
    whole: NDArray[np.float32] = layers.get_parameter(name).detach().cpu().numpy()
    return whole
