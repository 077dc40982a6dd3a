"""LSTMs: against a step-by-step recurrence, causality, sizes, and what holds for every network."""

from typing import Any

import numpy as np
import pytest
import torch

from network_checks import (
    CONF,
    Config,
    changed,
    check_compile,
    check_gradients,
    check_learns,
    check_padding,
    check_round_trip,
    check_shortest,
    full_size,
    num_parameters,
    utterances,
)
from timbre.embedding.extract import ExtractOptions, extract_embeddings
from timbre.nnet.models.lstm import Lstm
from timbre.nnet.network import build_network
from timbre.utils.errors import DataError

SMALL: dict[str, Config] = {
    "lstm": changed("lstm", trunk={"hidden_dim": 32, "num_layers": 2}, hidden_dims=[24]),
    "lstm_attentive": changed(
        "lstm_attentive", trunk={"hidden_dim": 32, "num_layers": 2}, pooling={"bottleneck": 8}, hidden_dims=[24]
    ),
    "ge2e_lstm": changed(
        "ge2e_lstm", trunk={"hidden_dim": 48, "num_layers": 2, "projection_dim": 24}, embedding_dim=24
    ),
}
WINDOWED = changed("ge2e_lstm", trunk={"hidden_dim": 12, "projection_dim": 0}, embedding_dim=9, windows=[20, 8, 15])

by_network = pytest.mark.parametrize("config", SMALL.values(), ids=SMALL.keys())


@by_network
@pytest.mark.parametrize("check", [check_padding, check_gradients, check_round_trip, check_shortest])
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


@pytest.mark.parametrize("check", [check_padding, check_gradients, check_round_trip, check_shortest])
def test_with_windows_too(check: Any) -> None:
    check(WINDOWED, 20)


@pytest.mark.parametrize("num_frames", [1, 14, 20, 22, 23, 31, 60])
def test_an_embedding_is_the_mean_over_windows(num_frames: int) -> None:
    network = build_network(WINDOWED, 20).eval()
    whole = build_network(WINDOWED | {"windows": None}, 20).eval()
    whole.load_state_dict(network.state_dict())
    [feats] = utterances(1, num_frames, 20)
    starts = [start for start in range(0, num_frames, 8) if start == 0 or num_frames - start >= 15]
    padded = torch.cat([feats, torch.zeros(20, 20)])
    with torch.inference_mode():
        mean = torch.stack([whole(padded[None, start : start + 20])[0] for start in starts]).mean(0)
        assert (network(feats[None])[0] - mean / mean.norm()).abs().max() < 1e-6


@pytest.mark.parametrize("windows", [[20, 0, 15], [20, 21, 15], [20, 8, 21], [0, 0, 0], [20, 8, 0], [20, 8]])
def test_windows_that_cannot_be_are_refused(windows: list[int]) -> None:
    with pytest.raises(DataError, match="windows"):
        build_network(WINDOWED | {"windows": windows}, 20)
    with pytest.raises(DataError, match="windows of 8 frames; the trunk takes"):
        build_network(changed("xvector", windows=[8, 8, 8]), 20)


@by_network
def test_learns(config: Config) -> None:
    check_learns(config | {"embedding_length": 0.0}, 20, lr=1e-2)


@by_network
def test_compiles_around_the_recurrence(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamo does not look into nn.LSTM: a graph before it and one after it, as the trainer's compile allows."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **options: compile_(module, **options | {"fullgraph": False}))
    trunk = config["trunk"]["init_args"] | {"dropout": 0.0}
    check_compile(config | {"trunk": config["trunk"] | {"init_args": trunk}}, 20)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


@pytest.mark.parametrize("projection_dim", [0, 5])
def test_the_recurrence_is_that_of_an_lstm_from_zero(projection_dim: int) -> None:
    trunk = Lstm(6, 7, 2, projection_dim, dropout=0.3).double().eval()
    feats = torch.randn(1, 9, 6, dtype=torch.float64)
    with torch.inference_mode():
        found, _ = trunk(feats)
    weights = {name: value.numpy() for name, value in trunk.layers.state_dict().items()}
    frames = feats[0].numpy()
    for layer in range(2):
        hidden, cell, outputs = np.zeros(projection_dim or 7), np.zeros(7), []
        for frame in frames:
            gates = weights[f"weight_ih_l{layer}"] @ frame + weights[f"weight_hh_l{layer}"] @ hidden
            gates = gates + weights[f"bias_ih_l{layer}"] + weights[f"bias_hh_l{layer}"]
            enter, forget, candidate, leave = np.split(gates, 4)
            cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(candidate)
            hidden = sigmoid(leave) * np.tanh(cell)
            hidden = weights[f"weight_hr_l{layer}"] @ hidden if projection_dim else hidden
            outputs.append(hidden)
        frames = np.stack(outputs)
    assert np.abs(found[0].T.numpy() - frames).max() < 1e-12


def test_no_frame_knows_what_comes_after_it() -> None:
    trunk = Lstm(6, 8).eval()
    feats = torch.randn(2, 30, 6)
    with torch.inference_mode():
        before, _ = trunk(feats)
        feats[:, 17:] = torch.nan
        after, _ = trunk(feats)
    assert torch.allclose(before[:, :, :17], after[:, :, :17], atol=1e-6)
    assert after[:, :, 17:].isnan().all()


def test_the_same_utterance_gets_the_same_embedding_each_time() -> None:
    network = build_network(SMALL["lstm"], 20)
    feats = utterances(2, 30, 20)
    network.train()
    assert not torch.allclose(network(feats), network(feats))  # dropout, in training
    network.eval()
    assert torch.equal(network(feats), network(feats))


def test_the_first_frame_is_not_forgotten_in_subnormal_numbers() -> None:
    torch.manual_seed(0)
    feats = torch.randn(2, 160, 20, requires_grad=True)
    trunk = Lstm(20, 64, 3, 32)
    sizes = []
    for _ in range(2):
        frames, _ = trunk(feats)
        (gradient,) = torch.autograd.grad(frames[:, :, -1].sum(), feats)
        sizes.append(float(gradient[:, 0].abs().max()))
        for layer in range(3):  # as torch begins
            torch.nn.init.uniform_(trunk.layers.get_parameter(f"bias_ih_l{layer}"), -0.125, 0.125)
    assert sizes[0] > 1e-25 > 1e-30 > sizes[1]


def test_parameter_counts_follow_from_the_gates() -> None:
    def gates(inputs: int, cells: int, outputs: int) -> int:
        return 4 * cells * (inputs + outputs + 2) + (cells * outputs if outputs != cells else 0)

    plain = gates(40, 128, 128) + 2 * gates(128, 128, 128)
    head = 128 * 512 + 512 + 2 * 512
    assert num_parameters(full_size(CONF["lstm"], 40)) == plain + head
    assert num_parameters(full_size(CONF["lstm_attentive"], 40)) == plain + head + 128 * 128 + 128 + 128
    projected = gates(40, 768, 256) + 2 * gates(256, 768, 256)
    assert num_parameters(full_size(CONF["ge2e_lstm"], 40)) == projected + 256 * 256 + 256


def test_ge2e_embeddings_are_means_of_those_of_half_overlapping_windows() -> None:
    network = build_network(SMALL["ge2e_lstm"], 20).eval()
    feats = utterances(1, 430, 20)[0]
    result = extract_embeddings(network, [("utt", feats.numpy())], ExtractOptions(max_frames=160, overlap=0.5))
    with torch.inference_mode():
        windows = network(torch.stack([feats[start : start + 160] for start in (0, 80, 160, 240, 270)]))
    assert torch.allclose(windows.norm(dim=1), torch.ones(5))
    assert np.abs(result.vectors["utt"] - windows.mean(0).numpy()).max() < 1e-6


def test_bad_settings_are_named() -> None:
    for settings, message in (
        ({"hidden_dim": 0}, "hidden_dim is 0"),
        ({"num_layers": 0}, "num_layers 0"),
        ({"projection_dim": 128}, "projection_dim is 128"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ):
        with pytest.raises(DataError, match=message):
            Lstm(20, **settings)
