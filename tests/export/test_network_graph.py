"""A network as a graph gives the embeddings that it gives in torch, of any length and in batches."""

import inspect

import numpy as np
import onnxruntime
import pytest
import torch

from tests.network_checks import changed, trained, utterances
from timbre.export.network_graph import network_model
from timbre.export.smaller_weights import with_smaller_weights
from timbre.nnet import pooling
from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.nnet.options import SegmentOptions

DIM = 9
LENGTHS = (1, 20, 31, 58, 59, 200)
POOLINGS = sorted(
    name
    for name, kind in inspect.getmembers(pooling, inspect.isclass)
    if issubclass(kind, pooling.Pooling) and not inspect.isabstract(kind)
)


def session(model: bytes) -> onnxruntime.InferenceSession:
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level, quiet.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(model, quiet)


def check(network: SpeakerNetwork, lengths: tuple[int, ...] = LENGTHS) -> None:
    made = session(network_model(network).SerializeToString())
    for number in {max(length, network.min_frames) for length in lengths}:
        for batch in (1, 3):
            feats = utterances(batch, number, network.feat_dim)
            with torch.inference_mode():
                expected = network(feats).numpy()
            found = made.run(["embedding"], {"feats": feats.numpy()})[0]
            error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
            assert error.max() <= 1e-5, (number, batch)


def lstm(projection: int, **settings: object) -> SpeakerNetwork:
    torch.manual_seed(0)
    config = changed("ge2e_lstm", trunk={"hidden_dim": 40, "projection_dim": projection, "num_layers": 2}, **settings)
    return build_network(config, DIM).eval()


def test_an_lstm_without_projections() -> None:
    check(lstm(0))


def test_an_lstm_with_projections_of_normalised_instances_in_windows() -> None:
    check(lstm(16, instance_norm=True, windows=(50, 20, 10)))


@pytest.mark.parametrize("name", ["lstm", "xvector"])
def test_segments_whose_maps_are_joined(name: str) -> None:
    """One segment, two, and several; of frames as many as went in, and of fewer."""
    network = lstm(16) if name == "lstm" else trained(build_network(changed("xvector_smoke"), DIM))
    network.segments = SegmentOptions(length=30, kind="maps", at_test="aggregate")
    check(network)


def test_weights_of_projections_are_stored_small() -> None:
    """In a byte each, with a scale a row; the embedding hardly moves."""
    network = lstm(32)
    exact = network_model(network)
    smaller = with_smaller_weights(exact, "int8_weights").SerializeToString()
    numbers = sum(one.numel() for one in network.parameters())
    assert len(smaller) < 1.5 * numbers < len(exact.SerializeToString())
    feats = {"feats": utterances(2, 80, DIM).numpy()}
    expected, found = (session(one).run(None, feats)[0] for one in (exact.SerializeToString(), smaller))
    assert 0 < np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)


@pytest.mark.parametrize("name", POOLINGS)
def test_every_pooling(name: str) -> None:
    torch.manual_seed(0)
    config = changed("xvector_smoke") | {"pooling": {"class_path": name}}
    network = trained(build_network(config, DIM))
    feats = utterances(2, 90, DIM)
    with torch.inference_mode():
        assert not torch.allclose(*network(feats))
    check(network, (1, 31, 200))
