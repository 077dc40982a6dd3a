"""x-vector and extended TDNN: published sizes, weights in other layouts, and what holds for every network."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from network_checks import (
    Config,
    changed,
    check_compile,
    check_gradients,
    check_learns,
    check_padding,
    check_receptive_field,
    check_round_trip,
    check_shortest,
    full_size,
    num_parameters,
    trained,
)
from timbre.nnet.models.tdnn import XvectorTdnn, from_layout
from timbre.nnet.network import build_network
from timbre.nnet.objectives import build_objective
from timbre.utils.errors import DataError

TINY: dict[str, Any] = {"channels": [16, 16, 16, 16, 24]}
SMALL: dict[str, Config] = {
    name: changed(name, trunk=TINY, embedding_dim=24) for name in ("xvector", "xvector_small", "xvector_smoke")
} | {"etdnn": changed("etdnn", trunk={"channels": [16] * 9 + [24]}, hidden_dims=[24], embedding_dim=24)}
VARIANTS = SMALL | {
    "leaky etdnn": changed("etdnn", trunk={"channels": [16] * 9 + [24], "activation": "leaky_relu"}),
    "BatchNorms without weights": changed("xvector", trunk=TINY | {"affine_norm": False}, affine_norm=False),
}
CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_learns)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


@pytest.mark.parametrize("name", ["xvector", "leaky etdnn"])  # the others are their code with other numbers
def test_compiles(name: str) -> None:
    check_compile(VARIANTS[name], 20)


@pytest.mark.parametrize(("name", "field"), [("xvector", 15), ("etdnn", 23)])
def test_receptive_field(name: str, field: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = build_network(SMALL[name], 6).trunk
    assert trunk.receptive_field == trunk.min_frames == field
    check_receptive_field(trunk, 6, monkeypatch)


def test_published_parameter_counts() -> None:
    # WeSpeaker's x-vector: BatchNorms without scale and offset, none after segment7
    wespeaker = changed("xvector", trunk={"affine_norm": False}, affine_norm=False, embedding_norm=False)
    assert num_parameters(full_size(wespeaker, 80)) == 4_610_524
    # the comparison of Yu and Li (Interspeech 2020) counts up to the first embedding, in features of 30 dimensions
    for name, millions in (("xvector", 4.2), ("etdnn", 6.1)):
        first = changed(name, hidden_dims=[], embedding_norm=False)
        assert round(num_parameters(full_size(first, 30)) / 1e6, 1) == millions


def test_kaldi_xvector_is_a_network_to_segment6_and_segment7_in_the_objective() -> None:
    network = build_network(changed("xvector", hidden_dims=[], embedding_norm=False), 40)
    objective = build_objective({"class_path": "Softmax", "init_args": {"hidden_dims": [512]}}, 512, 100)
    assert num_parameters(network) + num_parameters(objective) == 4_517_268 + 513 * 100
    assert isinstance(network.segment[-1], nn.Linear)  # no ReLU after it


class UnfoldedLayer(nn.Module):
    """Layout v2: an affine map of frames spliced by unfold, frames (B, T, F)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.kernel, self.dilation = kernel, dilation
        self.affine, self.norm = nn.Linear(inputs * kernel, outputs), nn.BatchNorm1d(outputs)

    def forward(self, frames: Tensor) -> Tensor:
        size = (self.kernel, frames.shape[2])
        spliced = functional.unfold(frames[:, None].transpose(2, 3), size[::-1], (1, self.dilation))  # (B, F k, T')
        spliced = spliced.unflatten(1, size[::-1]).transpose(1, 2).flatten(1, 2)  # frame by frame
        return self.norm(torch.relu(self.affine(spliced.transpose(1, 2))).transpose(1, 2)).transpose(1, 2)


class PlaneLayer(nn.Module):
    """Layout v4: a convolution over the whole width of the plane (B, 1, T, F)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.affine = nn.Conv2d(1, outputs, (kernel, inputs), dilation=(dilation, 1))
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, frames: Tensor) -> Tensor:
        return self.norm(torch.relu(self.affine(frames[:, None]))).squeeze(3).transpose(1, 2)


class TimeLayer(nn.Module):
    """Layout v5: a convolution over time."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.affine, self.norm = nn.Conv1d(inputs, outputs, kernel, dilation=dilation), nn.BatchNorm1d(outputs)

    def forward(self, frames: Tensor) -> Tensor:
        return self.norm(torch.relu(self.affine(frames.transpose(1, 2)))).transpose(1, 2)


LAYOUTS: dict[Any, type[nn.Module]] = {"v2": UnfoldedLayer, "v4": PlaneLayer, "v5": TimeLayer}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_of_other_layouts_are_the_same_function(layout: Any) -> None:
    config = changed("xvector", trunk={"channels": [32, 32, 32, 32, 48]})
    network = trained(build_network(config, 40))
    trunk = network.trunk
    assert isinstance(trunk, XvectorTdnn)
    dims = (40, 32, 32, 32, 32, 48)
    kernels, dilations = (5, 3, 3, 1, 1), (1, 2, 3, 1, 1)
    other = nn.Sequential(*map(LAYOUTS[layout], dims[:-1], dims[1:], kernels, dilations)).eval()
    for ours, theirs, kernel in zip(trunk.layers, other, kernels, strict=True):
        assert num_parameters(ours) == num_parameters(theirs)
        nn.init.normal_(theirs.affine.weight, 0, (theirs.affine.weight[0].numel() / 2) ** -0.5)
        weights = theirs.state_dict()
        ours.load_state_dict(weights | {"affine.weight": from_layout(weights["affine.weight"], layout, kernel)})
    feats = torch.randn(2, 50, 40)
    with torch.inference_mode():
        frames, expected = trunk(feats)[0], other(feats).transpose(1, 2)
        assert frames.shape == (2, 48, 36) and frames.std() > 0.1
        assert (frames - expected).abs().max() <= 1e-6 * max(1.0, float(expected.abs().max()))


def test_a_weight_in_another_layout_than_said_is_an_error() -> None:
    for shape, layout in (
        ((8, 21), "v2"),
        ((8, 5, 4), "v2"),
        ((8, 1, 4, 5), "v4"),
        ((8, 2, 5, 4), "v4"),
        ((8, 5, 4), "v5"),
    ):
        with pytest.raises(DataError, match=rf"shape .* is not one of 5 frames in layout {layout}"):
            from_layout(torch.zeros(shape), layout, 5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernels": (5, 3)}, "lists of the same length"),
        ({"dilations": (1, 0, 1, 1, 1)}, "at least 1"),
        ({"channels": (8, 8, 0, 8, 8)}, "at least 1"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"XvectorTdnn: .*{message}"):
        XvectorTdnn(20, **settings)


def test_leaky_relu_lets_a_hundredth_through() -> None:
    leaky, plain = (
        XvectorTdnn(4, (6,), (1,), (1,), activation="leaky_relu").eval(),
        XvectorTdnn(4, (6,), (1,), (1,)).eval(),
    )
    plain.load_state_dict(leaky.state_dict())
    feats = torch.randn(1, 9, 4)
    with torch.inference_mode():
        positive, affine = plain(feats)[0], leaky.layers[0].affine(feats.transpose(1, 2))
        assert torch.allclose(leaky(feats)[0] - positive, 0.01 * affine.clamp(max=0) / (1 + 1e-5) ** 0.5, atol=1e-6)
