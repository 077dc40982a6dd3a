"""The methods of explanation by name: from a score to a map over the features of an utterance.

Called by the steps that explain, and by faithfulness.py, which measures whether to believe them.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from timbre.explain import layer_maps
from timbre.explain.explained_score import PartScore
from timbre.explain.full_grad import full_grad_map
from timbre.explain.input_maps import gradient_map, integrated_gradients, occlusion
from timbre.explain.layer_shapes import Map, choose_layer, find_layers
from timbre.explain.time_cells import CellOptions, Cells
from timbre.utils.errors import DataError
from timbre.utils.spelling import did_you_mean

Method = Literal["gradient", "gradcam", "gradcam++", "layercam", "fullgrad", "integrated_gradients", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)

_OF_LAYER = {"gradcam": layer_maps.grad_cam, "gradcam++": layer_maps.grad_cam_pp, "layercam": layer_maps.layer_cam}


@dataclass(frozen=True)
class Made:
    """A map (num_frames, num_bins) of what the network is given, and the layer that it is of ("": none)."""

    values: Map
    layer: str = ""


def make_map(
    score: PartScore, method: Method, utt: str, layer: str = "", cells: CellOptions = CellOptions(), shift: float = 0.01
) -> Made:
    """Where in its utterance SCORE comes from, by METHOD.

    Args:
        score: as a function of the utterance
        method: gradient and Full-Grad are of either sign alike; Grad-CAM, Grad-CAM++ and LayerCAM show what speaks for
            the score alone, integrated gradients and occlusion have values below 0 where something speaks against it
        utt: its id, for messages
        layer: of the CAMs; "": the last one before the pooling
        cells: of occlusion
        shift: seconds between frames

    Raises:
        DataError: there is no such layer, the utterance is shorter than a block of occlusion, or values are not finite
    """
    size, num_bins = score.inputs.shape
    used = ""
    if layer and method not in _OF_LAYER:
        raise DataError(f"a layer is chosen for {', '.join(_OF_LAYER)}, not for {method}")
    if method == "gradient":
        values = gradient_map(score)
    elif method == "integrated_gradients":
        values = integrated_gradients(score)
    elif method == "occlusion":
        values = occlusion(score, Cells.of(size, num_bins, cells, shift, utt))
    elif method == "fullgrad":
        values = full_grad_map(score, find_layers(score.network, size))
    else:
        layers = find_layers(score.network, size)
        used = choose_layer(score.network, layers, layer)
        shape = layers[used]
        small = _OF_LAYER[method](*layer_maps.layer_outputs(score, used, shape))
        values = shape.spread(small.cpu().numpy(), size, num_bins)
    if not np.isfinite(values).all():
        raise DataError(f"utterance {utt}: the map by {method} is not finite")
    return Made(score.folded(values), used)


def method_named(name: str) -> Method:
    """The method NAME.

    Raises:
        DataError: there is none
    """
    for method in METHODS:
        if method == name:
            return method
    raise DataError(f"method '{name}' is none of {', '.join(METHODS)}{did_you_mean(name, METHODS)}")
