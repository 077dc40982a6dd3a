"""The methods of explanation: what must hold of each by its definition, and for every family of networks."""

import numpy as np
import pytest
import torch
from captum import attr
from explained import DIM, FAMILIES, MEAN, RESNET, TDNN, TIME_ALONE, logit_of, make_network, score_of
from torch import Tensor, nn

from timbre.explain import input_maps, layer_maps
from timbre.explain.full_grad import full_gradient
from timbre.explain.layer_shapes import choose_layer, find_layers
from timbre.explain.methods import METHODS, Method, make_map, method_named
from timbre.explain.time_cells import CellOptions, Cells
from timbre.utils.errors import DataError

CELLS = CellOptions(num_bands=4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_method_explains_every_family(family: str) -> None:
    score = logit_of(make_network(FAMILIES[family]))
    for method in METHODS:
        made = make_map(score, method, "utt", cells=CELLS)
        assert made.values.shape == (47, DIM) and made.values.dtype == np.float32
        assert np.isfinite(made.values).all() and made.values.any(), method
        cam = method in ("gradcam", "gradcam++", "layercam")
        assert bool(made.layer) == cam
        if method not in ("integrated_gradients", "occlusion"):
            assert made.values.min() >= 0
        if cam and family in TIME_ALONE:
            assert np.ptp(made.values, axis=1).max() == 0 < np.ptp(made.values, axis=0).max(), "by time alone"
        elif cam:
            assert np.ptp(made.values, axis=1).max() > 0, "by time and frequency"


@pytest.mark.parametrize("config", [TDNN, RESNET, TDNN | {"hidden_dims": [8], "embedding_norm": True}])
def test_full_gradient_is_complete_where_all_is_piecewise_linear(config: dict[str, object]) -> None:
    """Input times gradient, and every bias, those of BatchNorms and of the objective among them, times its own."""
    score = logit_of(make_network(config))
    found = full_gradient(score)
    assert found.total == pytest.approx(found.value, rel=1e-4)
    assert abs(float(found.inputs.sum()) - found.value) > 0.01 * abs(found.value), "biases do contribute"
    some = next(name for name in found.biases if "norm" in name)
    assert abs(found.total - float(found.biases[some].sum()) - found.value) > 1e-3 * abs(found.value)


def test_full_gradient_says_where_it_is_not_complete() -> None:
    found = full_gradient(logit_of(make_network(FAMILIES["ecapa"])))
    assert abs(found.total - found.value) > 1e-3 * abs(found.value)


@pytest.mark.parametrize("family", ["tdnn", "ecapa"])
def test_integrated_gradients_add_up(family: str) -> None:
    score = logit_of(make_network(FAMILIES[family]))
    ends = score.values(torch.stack([score.inputs, score.neutral.expand_as(score.inputs)]))
    gaps = []
    for steps in (1, 256):
        values = input_maps.integrated_gradients(score, steps)
        gaps.append(abs(values.sum() - (ends[0] - ends[1])) / np.abs(values).sum())
    assert gaps[1] < 1e-3 < gaps[0], gaps


def test_cams_are_by_their_definitions() -> None:
    outputs, gradients = torch.randn(5, 7, 3), torch.randn(5, 7, 3)
    outputs = outputs.relu()
    weighted = torch.einsum("c,ctf->tf", gradients.mean((1, 2)), outputs)
    assert torch.allclose(layer_maps.grad_cam(outputs, gradients), weighted.relu(), atol=1e-6)
    expected = torch.einsum("ctf,ctf->tf", gradients.relu(), outputs).relu()
    assert torch.allclose(layer_maps.layer_cam(outputs, gradients), expected, atol=1e-6)
    weights = torch.zeros(5)
    for channel in range(5):
        g, a = gradients[channel], outputs[channel]
        alpha = g**2 / (2 * g**2 + (a * g**3).sum())
        weights[channel] = (alpha * g.relu()).sum()
    expected = torch.einsum("c,ctf->tf", weights, outputs).relu()
    assert torch.allclose(layer_maps.grad_cam_pp(outputs, gradients), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("cam", [layer_maps.grad_cam, layer_maps.grad_cam_pp, layer_maps.layer_cam])
def test_cams_are_finite_without_gradients(cam: object) -> None:
    assert callable(cam)
    outputs = torch.randn(4, 6, 2)
    for gradients in (
        torch.zeros(4, 6, 2),
        torch.full((4, 6, 2), 1e-30),
        torch.zeros(4, 6, 2).index_fill_(0, torch.tensor(1), 1.0),
    ):
        assert cam(outputs, gradients).isfinite().all()
    assert not cam(outputs, torch.zeros(4, 6, 2)).any()


class Spot(nn.Module):
    """The embedding is the sum of frames 20 to 29, bins 4 to 7, and nothing else."""

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Tensor:
        return feats[:, 20:30, 4:8].sum((1, 2))[:, None]


@pytest.mark.parametrize("method", ["gradient", "integrated_gradients", "occlusion"])
def test_maps_show_the_spot_that_the_score_is_of(method: Method) -> None:
    torch.manual_seed(0)
    values = make_map(score_of(Spot(), 5 + torch.rand(50, DIM)), method, "utt", cells=CELLS).values
    inside = np.zeros((50, DIM), bool)
    inside[20:30, 4:8] = True
    assert values[inside].any() and np.abs(values[~inside]).max() <= 1e-6


def test_a_layer_lies_where_its_frames_do() -> None:
    """A spot in the recording is found by the CAM of a layer that loses frames, and of one that strides."""
    for config in (TDNN, RESNET):
        network = make_network(config)
        score = logit_of(network, 96)
        quiet, loud = torch.zeros(96, DIM), torch.zeros(96, DIM)
        loud[60:64] = 3.0
        layers = find_layers(network, 96)
        name = choose_layer(network, layers)
        found = [layer_maps.layer_outputs(score_of(network, one), name, layers[name])[0] for one in (quiet, loud)]
        change = (found[1] - found[0]).abs().sum((0, 2), keepdim=True)[0]
        spread = layers[name].spread(change.numpy(), 96, DIM).sum(1)
        center = float((spread * np.arange(96)).sum() / spread.sum())
        assert center == pytest.approx(61.5, abs=1.1)
        assert score.inputs.shape == (96, DIM)


def test_layers_are_chosen_by_name_or_said_not_to_be_there() -> None:
    network = make_network(RESNET)
    score = logit_of(network)
    first = make_map(score, "gradcam", "utt", "trunk.stem")
    assert first.layer == "trunk.stem" and not np.array_equal(first.values, make_map(score, "gradcam", "utt").values)
    with pytest.raises(DataError, match=r"layer 'trunk.blocks.9' is none of the network.*there are trunk.*in them$"):
        make_map(score, "gradcam", "utt", "trunk.blocks.9")
    with pytest.raises(DataError, match=r"for gradcam, .*not for gradient"):
        make_map(score, "gradient", "utt", "trunk.stem")
    with pytest.raises(DataError, match=r"method 'gradcan' is none of gradient, .*did you mean gradcam"):
        method_named("gradcan")
    windows = make_network(TDNN | {"windows": [20, 10, 20]})
    assert make_map(logit_of(windows), "occlusion", "utt", cells=CELLS).values.any()
    with pytest.raises(DataError, match="no layer of the network has frames of the whole utterance"):
        make_map(logit_of(windows), "gradcam", "utt")


def test_cells_are_blocks_of_a_tenth_of_a_second_at_least() -> None:
    cells = Cells.of(47, DIM, CELLS, 0.01, "utt")
    assert cells.shape == (4, 4) and np.diff(cells.times).min() >= 10 and cells.times[-1] == 47
    values = np.random.default_rng(0).normal(size=(47, DIM)).astype(np.float32)
    means = cells.means(values)
    assert means[5] == pytest.approx(values[cells.times[1] : cells.times[2], 4:8].mean(), abs=1e-6)
    assert np.allclose(cells.means(cells.filled(means)), means)
    with pytest.raises(DataError, match="utterance utt: 9 frames are less than a block of 10"):
        Cells.of(9, DIM, CELLS, 0.01, "utt")
    with pytest.raises(DataError, match="block_ms is 50; it must be at least 100"):
        CellOptions(50)
    with pytest.raises(DataError, match="16 bins do not make 17 bands"):
        Cells.of(47, DIM, CellOptions(num_bands=17), 0.01, "utt")


def test_captum_finds_the_same() -> None:
    network = make_network(RESNET | {"pooling": {"class_path": "StatisticsPooling"}})
    score = logit_of(network)
    inputs, neutral = score.inputs[None], score.neutral.expand_as(score.inputs)[None]
    layers = find_layers(network, 47)
    modules = dict(network.named_modules())
    # not what is chosen, a block, for captum takes modules that give tensors alone
    name = [layer for layer in layers if isinstance(modules[layer], nn.Conv2d)][-1]
    expected = layer_maps.grad_cam(*layer_maps.layer_outputs(score, name, layers[name]))
    found = attr.LayerGradCam(score, modules[name]).attribute(inputs, relu_attributions=True)
    assert torch.allclose(found[0, 0].T, expected, rtol=1e-4, atol=1e-6 * float(expected.max())) and expected.any()
    found = attr.Saliency(score).attribute(inputs.clone().requires_grad_(True))[0].detach().numpy()
    assert np.allclose(found, input_maps.gradient_map(score), rtol=1e-4, atol=1e-7)
    found = attr.IntegratedGradients(score).attribute(inputs, neutral, n_steps=32, method="riemann_middle")[0]
    ours = input_maps.integrated_gradients(score, 32)
    assert np.allclose(found.numpy(), ours, rtol=1e-3, atol=1e-4 * np.abs(ours).max())
    cells = Cells.of(40, DIM, CELLS, 0.01, "utt")
    even = score_of(network, score.inputs[:40], score.head)
    found = attr.Occlusion(even).attribute(even.inputs[None], (10, 4), (10, 4), even.neutral.expand(40, DIM)[None])[0]
    assert np.allclose(found.numpy(), input_maps.occlusion(even, cells), rtol=1e-3, atol=1e-5)


def test_short_utterances_are_repeated_and_the_map_folded() -> None:
    network = make_network(TDNN | {"pooling": MEAN})
    assert network.min_frames == 9
    score = logit_of(network, 9)
    short = type(score)(
        network, score.score, score.embeddings, 0, score.inputs[[0, 1, 2, 3, 0, 1, 2, 3, 0]], 4, score.head
    )
    made = make_map(short, "gradient", "utt").values
    whole = input_maps.gradient_map(short)
    assert made.shape == (4, DIM) and np.allclose(made[0], whole[0] + whole[4] + whole[8])
