"""Poolings against brute force in float64."""

import numpy as np
import pytest
import torch

from steps.nnet.pooling import AttentiveStatisticsPooling, MeanPooling, Pooling, StatisticsPooling


def test_statistics_are_mean_and_biased_deviation() -> None:
    frames = torch.randn(3, 5, 40) * 10 + 1000  # where E[x^2] - E[x]^2 has no digits left
    exact = frames.double().numpy()
    expected = np.concatenate((exact.mean(2), exact.std(2)), 1)
    assert np.abs(StatisticsPooling(5)(frames).numpy() / expected - 1).max() < 1e-5
    assert np.abs(MeanPooling(5)(frames).numpy() / expected[:, :5] - 1).max() < 1e-6


def test_attentive_statistics_are_the_formula_of_the_paper() -> None:
    torch.manual_seed(0)
    pooling = AttentiveStatisticsPooling(4, bottleneck=3)
    assert pooling.context is not None
    frames = torch.randn(2, 4, 11)
    affine = torch.cat((pooling.frame.weight[:, :, 0], pooling.context.weight), 1).detach().double().numpy()
    expected = []
    for utterance in frames.double().numpy():
        context = np.concatenate((utterance.mean(1), utterance.std(1)))
        scores = []
        for frame in utterance.T:
            hidden = np.tanh(affine @ np.concatenate((frame, context)) + pooling.frame.bias.detach().numpy())
            scores.append(pooling.attention.weight[:, :, 0].detach().numpy() @ hidden)  # its bias cancels
        weights = np.exp(scores) / np.exp(scores).sum(0)
        mean = (weights * utterance.T).sum(0)
        expected.append(np.concatenate((mean, np.sqrt((weights * (utterance.T - mean) ** 2).sum(0)))))
    with torch.inference_mode():
        assert np.abs(pooling(frames).numpy() - np.stack(expected)).max() < 1e-5


def test_attention_that_does_not_care_gives_plain_statistics() -> None:
    pooling = AttentiveStatisticsPooling(6)
    torch.nn.init.zeros_(pooling.attention.weight)
    frames = torch.randn(2, 6, 30)
    assert torch.allclose(pooling(frames), StatisticsPooling(6)(frames), atol=1e-5)


@pytest.mark.parametrize("pooling", [MeanPooling(6), StatisticsPooling(6), AttentiveStatisticsPooling(6)])
def test_frames_past_the_end_do_not_count(pooling: Pooling) -> None:
    frames = torch.randn(3, 6, 25)
    lengths = torch.tensor([25, 1, 12])
    frames[1, :, 1:] = torch.nan
    frames[2, :, 12:] = torch.inf
    alone = torch.cat([pooling(one[None, :, :length]) for one, length in zip(frames, lengths, strict=True)])
    assert alone.shape == (3, pooling.output_dim)
    assert (pooling(frames, lengths) - alone).abs().max() <= 1e-6


@pytest.mark.parametrize("pooling", [MeanPooling(6), StatisticsPooling(6), AttentiveStatisticsPooling(6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_finite_where_nothing_varies(pooling: Pooling, dtype: torch.dtype) -> None:
    frames = torch.full((2, 6, 10), 3.0, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        pooled = pooling(frames)
    assert pooled.dtype == torch.float32
    pooled.sum().backward()
    assert frames.grad is not None and frames.grad.isfinite().all()


def test_variance_has_a_floor() -> None:
    still = torch.ones(1, 2, 10)
    assert torch.allclose(StatisticsPooling(2, 1e-4)(still)[0, 2:], torch.tensor(1e-2))
    assert torch.allclose(AttentiveStatisticsPooling(2, variance_floor=1e-4)(still)[0, 2:], torch.tensor(1e-2))
