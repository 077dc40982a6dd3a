"""Networks that several toolkits have under the same names of weights: what they share, before the features are known.

residual_planes.py, dense_tdnn.py and reshaped_planes.py make a Mapped; modules of toolkits call them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from timbre.feats.options import FrameOptions
from timbre.nnet.imports.foreign import Foreign, Rule, Weights, listed
from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.errors import DataError

Pooling = tuple[dict[str, Any], list[Rule], dict[str, Tensor]]  # settings, rules, weights that are changed
CLASSIFIERS = r"(?:projection|classifier|cls_head|__L__)\..*"  # and losses


@dataclass(frozen=True)
class Mapped:
    """A network and the names of its weights; its fields are those of Foreign."""

    network: dict[str, Any]
    feat_dim: int
    rules: Sequence[Rule]
    changed: Mapping[str, Tensor] = field(default_factory=dict)
    unused: Sequence[str] = ()

    def on(self, feats: FrameOptions, toolkit: str, cmn: bool = True, unused: Sequence[str] = ()) -> Foreign:
        """With the features of TOOLKIT, whose means over the utterance are subtracted if CMN, less UNUSED weights."""
        normalize = NormalizeOptions(cmn="utterance" if cmn else "none", vad=False)
        name = f"{feats.kind}{self.feat_dim}_{toolkit}"
        unused = [CLASSIFIERS, *self.unused, *unused]
        return Foreign(self.network, self.feat_dim, feats, name, normalize, self.rules, unused, self.changed)


Kinds = Mapping[str, tuple[str, Callable[[Weights], Mapped]]]  # a network's name -> a weight of it, what reads it


def tell(weights: Weights, toolkit: str, kinds: Kinds) -> Mapped:
    """The network of TOOLKIT that WEIGHTS are, told by a weight that only it has.

    Args:
        weights: of an unknown network
        toolkit: its name
        kinds: a network's name -> the weight, and what reads it; the first whose weight is there is taken

    Raises:
        DataError: none of the weights is there
    """
    for name, read in kinds.values():
        if name in weights:
            return read(weights)
    expected = ", ".join(f"'{name}' ({kind})" for kind, (name, _) in kinds.items())
    text = f"is no network of {toolkit} that is known here; of these weights one is expected: {expected}"
    raise DataError(f"{text}; there are {listed(list(weights))}", weights.path)


def statistics(weights: Weights, floor: float, pool: str = "pool") -> Pooling:
    """The pooling: attentive statistics where POOL has weights, otherwise mean and unbiased standard deviation.

    Args:
        weights: of a network
        floor: what is added to variances
        pool: what the names of its weights begin with
    """
    name = rf"{pool}.linear1.weight"
    if name not in weights:
        return {"class_path": "StatisticsPooling", "init_args": {"variance_floor": floor, "unbiased": True}}, [], {}
    channels = weights.size(f"{pool}.linear2.weight")
    has_context = weights.size(name, 1) > channels
    settings = {
        "class_path": "AttentiveStatisticsPooling",
        "init_args": {
            "bottleneck": weights.size(name),
            "global_context": has_context,
            "variance_floor": floor,
            "unbiased_context": has_context,
        },
    }
    rules: list[Rule] = [
        (rf"{pool}\.linear1\.weight", "poolings.0.frame.weight", lambda weight: weight[:, :channels]),
        (rf"{pool}\.linear1\.bias", "poolings.0.frame.bias"),
        (rf"{pool}\.linear2\.(\w+)", r"poolings.0.attention.\1"),
    ]
    changed = {"poolings.0.context.weight": weights[name][:, channels:]} if has_context else {}
    return settings, rules, changed


def embedding(weights: Weights) -> tuple[dict[str, Any], list[Rule]]:
    """(settings, rules) of one affine map to the embedding, seg_1, or of two with ReLU and BatchNorm between."""
    size = weights.size("seg_1.weight")
    if "seg_2.weight" not in weights:
        return {"embedding_dim": size}, [(r"seg_1\.(\w+)", r"segment.0.\1")]
    settings = {"hidden_dims": [size], "embedding_dim": weights.size("seg_2.weight"), "affine_norm": False}
    return settings, [
        (r"seg_1\.(\w+)", r"segment.0.\1"),
        (r"seg_bn_1\.(\w+)", r"segment.2.\1"),
        (r"seg_2\.(\w+)", r"segment.3.\1"),
    ]
