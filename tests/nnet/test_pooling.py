"""Poolings against brute force in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from network_checks import changed, full_size, num_parameters
from timbre.nnet.pooling import (
    AttentiveStatisticsPooling,
    GaussianPosteriorPooling,
    GhostVlad,
    LastFramePooling,
    MaxPooling,
    MeanPooling,
    MultiHeadAttentivePooling,
    Pooling,
    SelfAttentivePooling,
    StatisticsPooling,
)
from timbre.nnet.pooling.weighting import mean_and_std_by_channel, means_and_stds
from timbre.utils.errors import DataError

Array = npt.NDArray[np.float64]
FACTORIES: dict[str, Callable[[], Pooling]] = {
    "mean": lambda: MeanPooling(6),
    "statistics": lambda: StatisticsPooling(6),
    "statistics, unbiased": lambda: StatisticsPooling(6, variance_floor=0.01, unbiased=True),
    "statistics, unbiased, no floor": lambda: StatisticsPooling(6, variance_floor=0, unbiased=True),
    "max": lambda: MaxPooling(6),
    "last": lambda: LastFramePooling(6),
    "self-attentive": lambda: SelfAttentivePooling(6),
    "self-attentive, narrow": lambda: SelfAttentivePooling(6, bottleneck=3),
    "attentive": lambda: AttentiveStatisticsPooling(6, bottleneck=4),
    "attentive, of the frame": lambda: AttentiveStatisticsPooling(6, bottleneck=4, global_context=False),
    "attentive, relu_norm": lambda: AttentiveStatisticsPooling(6, bottleneck=4, hidden="relu_norm"),
    "attentive, relu_norm_tanh": lambda: AttentiveStatisticsPooling(6, bottleneck=4, hidden="relu_norm_tanh"),
    "attentive, one weight": lambda: AttentiveStatisticsPooling(6, 4, channel_dependent=False),
    "attentive, unbiased": lambda: AttentiveStatisticsPooling(6, 4, variance_floor=0.01, unbiased_context=True),
    "heads": lambda: MultiHeadAttentivePooling(6, heads=3, bottleneck=None, deviation=False),
    "queries": lambda: MultiHeadAttentivePooling(6, heads=2, queries=3, bottleneck=4),
    "ghost": lambda: GhostVlad(6, clusters=3, ghosts=2),
    "netvlad": lambda: GhostVlad(6, clusters=4, ghosts=0),
    "posterior": lambda: GaussianPosteriorPooling(6, bottleneck=4),
    "posterior and its spread": lambda: GaussianPosteriorPooling(6, bottleneck=4, spread="posterior"),
    "posterior and that of frames": lambda: GaussianPosteriorPooling(6, bottleneck=4, spread="frames"),
}
each_pooling = pytest.mark.parametrize("name", FACTORIES)


def trained(name: str) -> Pooling:
    """A pooling in eval mode whose weights are far from where they start."""
    torch.manual_seed(0)
    pooling = FACTORIES[name]()
    for parameter in pooling.parameters():
        nn.init.normal_(parameter)
    for module in pooling.modules():
        if isinstance(module, nn.BatchNorm1d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return pooling.eval()


def values(tensor: torch.Tensor | None) -> Array:
    assert tensor is not None
    return tensor.detach().double().numpy()


def affine(layer: Any, inputs: Array) -> Array:
    """A convolution of kernel 1, of a frame."""
    weight = values(layer.weight)[:, :, 0]
    return weight @ inputs + (0 if layer.bias is None else values(layer.bias))


def normalized(norm: Any, inputs: Array) -> Array:
    deviations = (inputs - values(norm.running_mean)) / np.sqrt(values(norm.running_var) + norm.eps)
    return values(norm.weight) * deviations + values(norm.bias)


def softmax(scores: Array, axis: int = 0) -> Array:
    """By its definition."""
    return np.exp(scores) / np.exp(scores).sum(axis, keepdims=True)


def weighted(frames: Array, weights: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of FRAMES (T, C)."""
    mean = (weights * frames).sum(0)
    return mean, np.sqrt((weights * (frames - mean) ** 2).sum(0))


def spread(frames: Array, unbiased: bool, floor: float) -> Array:
    """Standard deviations of FRAMES (T, C): unbiased ones as torch.var, with FLOOR added, are those of WeSpeaker."""
    return np.sqrt(frames.var(0, ddof=1) + floor) if unbiased else frames.std(0)


def self_attentive(pooling: Any, frames: Array) -> Array:
    hidden = [np.tanh(affine(pooling.hidden, frame)) for frame in frames]
    return weighted(frames, softmax(np.stack([affine(pooling.attention, one) for one in hidden])))[0]


def attentive(pooling: Any, frames: Array) -> Array:
    scores = []
    for frame in frames:
        hidden = affine(pooling.frame, frame)
        if pooling.context is not None:
            seen = spread(frames, pooling.unbiased_context, pooling.variance_floor)
            hidden = hidden + values(pooling.context.weight) @ np.concatenate((frames.mean(0), seen))
        for layer in pooling.between:
            if isinstance(layer, nn.BatchNorm1d):
                hidden = normalized(layer, hidden)
            else:
                hidden = np.tanh(hidden) if isinstance(layer, nn.Tanh) else np.maximum(hidden, 0)
        scores.append(affine(pooling.attention, hidden))
    return np.concatenate(weighted(frames, softmax(np.stack(scores))))


def multi_head(pooling: Any, frames: Array) -> Array:
    """Each head and query by itself, with its slices of the weights of the grouped convolutions."""
    heads, queries = pooling.heads, pooling.queries
    width = frames.shape[1] // heads
    layers = [layer for layer in pooling.attention if isinstance(layer, nn.Conv1d)]
    means, stds = [], []
    for number in range(heads * queries):
        head = number // queries
        part = frames[:, head * width : (head + 1) * width]
        hidden = part
        for layer in layers:
            size = layer.out_channels // (heads * queries)
            rows = slice(number * size, (number + 1) * size)
            hidden = hidden @ values(layer.weight)[rows, :, 0].T + values(layer.bias)[rows]
            hidden = hidden if layer is layers[-1] else np.tanh(hidden)
        mean, std = weighted(part, softmax(hidden))
        means.append(mean)
        stds.append(std)
    return np.concatenate(means + stds if pooling.deviation else means)


def ghost_vlad(pooling: Any, frames: Array) -> Array:
    shares = [softmax(affine(pooling.assignment, frame)) for frame in frames]
    vectors = []
    for cluster, centre in enumerate(values(pooling.centres)):
        residual = sum(share[cluster] * (frame - centre) for share, frame in zip(shares, frames, strict=True))
        vectors.append(residual / np.linalg.norm(residual))
    return np.concatenate(vectors)


def posterior(pooling: Any, frames: Array) -> Array:
    """Bayes' rule for Gaussians, with precisions and not their logarithms."""
    precisions = [np.exp(values(pooling.prior_log_precision))]
    observations = [values(pooling.prior_mean), *frames]
    for frame in frames:
        hidden = normalized(pooling.hidden.norm, np.maximum(affine(pooling.hidden.affine, frame), 0))
        precisions.append(np.log1p(np.exp(affine(pooling.precision, hidden))) ** 2)
    total = sum(precisions)
    mean, std = weighted(np.stack(observations), np.stack(precisions) / total)
    return np.concatenate((mean, *{"none": (), "posterior": (total**-0.5,), "frames": (std,)}[pooling.spread]))


BRUTE_FORCE: dict[type[Pooling], Callable[[Any, Array], Array]] = {
    MeanPooling: lambda pooling, frames: frames.mean(0),
    StatisticsPooling: lambda pooling, frames: np.concatenate(
        (frames.mean(0), spread(frames, pooling.unbiased, pooling.variance_floor))
    ),
    MaxPooling: lambda pooling, frames: frames.max(0),
    LastFramePooling: lambda pooling, frames: frames[-1],
    SelfAttentivePooling: self_attentive,
    AttentiveStatisticsPooling: attentive,
    MultiHeadAttentivePooling: multi_head,
    GhostVlad: ghost_vlad,
    GaussianPosteriorPooling: posterior,
}


@each_pooling
def test_it_is_its_formula(name: str) -> None:
    pooling = trained(name)
    frames = torch.randn(3, 6, 11)
    expected = np.stack([BRUTE_FORCE[type(pooling)](pooling, values(utterance).T) for utterance in frames])
    assert expected.shape == (3, pooling.output_dim)
    with torch.inference_mode():
        assert np.abs(pooling(frames).numpy() - expected).max() < 2e-5


def test_statistics_are_mean_and_biased_deviation() -> None:
    frames = torch.randn(3, 5, 40) * 10 + 1000  # where E[x^2] - E[x]^2 has no digits left
    exact = frames.double().numpy()
    expected = np.concatenate((exact.mean(2), exact.std(2)), 1)
    assert np.abs(StatisticsPooling(5)(frames).numpy() / expected - 1).max() < 1e-5
    assert np.abs(MeanPooling(5)(frames).numpy() / expected[:, :5] - 1).max() < 1e-6


@pytest.mark.parametrize("name", [name for name in FACTORIES if name.startswith("attentive")])
def test_attention_that_does_not_care_gives_plain_statistics(name: str) -> None:
    pooling = trained(name)
    assert isinstance(pooling, AttentiveStatisticsPooling)
    nn.init.zeros_(pooling.attention.weight)
    frames = torch.randn(2, 6, 30)
    assert torch.allclose(pooling(frames), StatisticsPooling(6)(frames), atol=1e-5)


@pytest.mark.parametrize(("statistics", "num_weights"), [(mean_and_std_by_channel, 3), (means_and_stds, 2)])
def test_gradients_of_weighted_statistics_are_those_of_the_formula(
    statistics: Callable[..., tuple[torch.Tensor, torch.Tensor]], num_weights: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: tensor)  # float64 throughout
    frames = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(2, num_weights, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda frames, scores: statistics(frames, scores.softmax(2), 1e-9), (frames, scores)
    )


def test_weighted_statistics_keep_their_digits() -> None:
    """Far from 0, and with weights that look at different parts of the utterance."""
    torch.manual_seed(0)
    frames = 1000 + torch.randn(2, 3, 50)
    frames[:, :, 25:] += 5
    weights = torch.zeros(2, 2, 50)
    weights[:, 0, :25] = weights[:, 1, 25:] = 1 / 25
    means, stds = means_and_stds(frames, weights, 1e-5)
    for number, half in enumerate((frames[:, :, :25], frames[:, :, 25:])):
        exact = half.double()
        assert (means[:, number] / exact.mean(2) - 1).abs().max() < 1e-6
        assert (stds[:, number] / exact.std(2, correction=0) - 1).abs().max() < 1e-4


@each_pooling
def test_frames_past_the_end_do_not_count(name: str) -> None:
    pooling = trained(name)
    frames = torch.randn(3, 6, 25)
    lengths = torch.tensor([25, 1, 12])
    frames[1, :, 1:] = torch.nan
    frames[2, :, 12:] = torch.inf
    alone = torch.cat([pooling(one[None, :, :length]) for one, length in zip(frames, lengths, strict=True)])
    assert alone.shape == (3, pooling.output_dim)
    padded = pooling(frames, lengths)
    assert (padded - alone).abs().max() <= 1e-5
    for parameter in pooling.parameters():
        (gradient,) = torch.autograd.grad(padded.sum(), parameter, retain_graph=True)
        assert gradient.isfinite().all()


@each_pooling
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [3.0, 0.0])
def test_gradients_are_finite_where_nothing_varies(name: str, dtype: torch.dtype, value: float) -> None:
    torch.manual_seed(0)
    pooling = FACTORIES[name]()
    frames = torch.full((2, 6, 10), value, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        pooled = pooling(frames)
    assert pooled.dtype == torch.float32 and pooled.isfinite().all()
    (pooled * torch.randn_like(pooled)).sum().backward()
    assert frames.grad is not None and frames.grad.isfinite().all()
    for parameter in pooling.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


@each_pooling
def test_statistics_are_float32_under_autocast(name: str) -> None:
    """With maps that are all 0, so that bfloat16 rounds none of the scores, nothing is lost but in the frames."""
    pooling = trained(name)
    for module in pooling.modules():
        if isinstance(module, nn.Conv1d | nn.Linear):
            for parameter in module.parameters():
                nn.init.zeros_(parameter)
    frames = (5 + torch.randn(2, 6, 300)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = pooling(frames)
    assert torch.allclose(found, pooling(frames.float()), atol=1e-5)


@each_pooling
def test_it_compiles_to_one_graph(name: str) -> None:
    torch._dynamo.reset()
    pooling = trained(name)
    compiled = torch.compile(pooling, dynamic=True, fullgraph=True, backend="eager")
    for num_frames in (7, 12):
        frames, lengths = torch.randn(3, 6, num_frames), torch.tensor([num_frames, 2, 5])
        assert torch.allclose(compiled(frames), pooling(frames), atol=1e-5)
        assert torch.allclose(compiled(frames, lengths), pooling(frames, lengths), atol=1e-5)


def test_variance_has_a_floor() -> None:
    still = torch.ones(1, 2, 10)
    for pooling in (
        StatisticsPooling(2, 1e-4),
        AttentiveStatisticsPooling(2, variance_floor=1e-4),
        MultiHeadAttentivePooling(2, heads=2, variance_floor=1e-4),
    ):
        assert torch.allclose(pooling(still)[0, 2:], torch.tensor(1e-2))


def test_precisions_may_be_extreme() -> None:
    torch.manual_seed(0)
    frames = torch.randn(2, 2, 9)
    pooling = GaussianPosteriorPooling(2, bottleneck=3, spread="posterior").eval()
    nn.init.constant_(pooling.prior_mean, 7.0)
    for bias, expected in ((-1e4, torch.tensor(7.0)), (1e4, frames.mean(2))):  # the prior alone, and the frames alone
        nn.init.constant_(pooling.precision.bias, bias)
        assert torch.allclose(pooling(frames)[:, :2], expected, atol=1e-3)
        for prior in (-1e3, 1e3):
            nn.init.constant_(pooling.prior_log_precision, prior)
            pooled = pooling(frames)
            gradients = torch.autograd.grad(pooled.sum(), list(pooling.parameters()))
            assert pooled.isfinite().all() and all(gradient.isfinite().all() for gradient in gradients)
        nn.init.zeros_(pooling.prior_log_precision)


def test_ghosts_take_frames_away() -> None:
    torch.manual_seed(0)
    pooling = GhostVlad(4, clusters=2, ghosts=1)
    frames = torch.randn(1, 4, 20)
    noise = torch.randn(1, 4, 30)
    nn.init.zeros_(pooling.assignment.weight)
    with torch.no_grad():
        noise[:, 0] = 50
        frames[:, 0] = 0
        pooling.assignment.weight[2, 0] = 1  # the ghost's
    assert torch.allclose(pooling(torch.cat((frames, noise), 2)), pooling(frames), atol=1e-5)
    lengths = pooling(frames).unflatten(1, (2, 4)).norm(dim=2)
    assert torch.allclose(lengths, torch.ones(1, 2))


def test_centres_start_orthogonal() -> None:
    centres = GhostVlad(20, clusters=5).centres
    assert torch.allclose(centres @ centres.T, torch.eye(5), atol=1e-5)


def test_sizes() -> None:
    assert num_parameters(SelfAttentivePooling(80)) == 6560
    assert num_parameters(AttentiveStatisticsPooling(2048, 128, False, "relu_norm")) == 526_720  # in ResNetSE34V2
    for name, count in (("ecapa512", 6_978_176), ("ecapa1024", 15_444_544)):  # TaoRuijie's
        attention = {"bottleneck": 256, "hidden": "relu_norm_tanh"}
        assert num_parameters(full_size(changed(name, pooling=attention, embedding_norm=True), 80)) == count
    assert num_parameters(GhostVlad(512, 10, 2)) == 12 * 513 + 10 * 512


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (SelfAttentivePooling, {"bottleneck": 0}),
        (AttentiveStatisticsPooling, {"bottleneck": 0}),
        (MultiHeadAttentivePooling, {"heads": 4}),
        (MultiHeadAttentivePooling, {"heads": 2, "queries": 0}),
        (MultiHeadAttentivePooling, {"heads": 2, "bottleneck": 0}),
        (GhostVlad, {"clusters": 0}),
        (GhostVlad, {"ghosts": -1}),
        (GaussianPosteriorPooling, {"bottleneck": 0}),
    ],
)
def test_bad_settings_are_an_error(kind: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=f"^{kind.__name__}: .* is "):
        kind(6, **settings)
