"""What would not fit into memory is refused before it is asked for, with both sizes; unknown settings are, too."""

from pathlib import Path

import pytest
import torch

from egs_corpus import write_configs, write_small_egs
from steps.train import train
from timbre.backend.backends import CosineBackend, read_backend
from timbre.nnet.network import build_network
from timbre.training.options import TrainOptions
from timbre.utils.errors import DataError
from timbre.utils.memory import check_memory


def test_both_sizes_are_told() -> None:
    check_memory("a little", 1e6)
    with pytest.raises(DataError, match=r"^a lot would take 9\.31e\+11 GiB; this machine has [0-9.e+]+ GiB$"):
        check_memory("a lot", 1e21)


@pytest.mark.parametrize(
    "channels, feat_dim, message",
    [
        (1_000_000, 80, "the network would take"),
        (10**15, 80, "no network can be made so"),
        (16, 10**12, "the network would take"),
        (16, 10**30, "no network can be made so"),
        (16, -1, "feat_dim is -1"),
        (16, "80", "feat_dim is '80'"),
        (16, 80.0, "feat_dim is 80.0"),
    ],
)
def test_networks_beyond_the_memory(channels: int, feat_dim: int, message: str) -> None:
    trunk = {"class_path": "XvectorTdnn", "init_args": {"channels": [channels] * 5}}
    with pytest.raises(DataError, match=message):
        build_network({"trunk": trunk, "pooling": "StatisticsPooling", "embedding_dim": 8}, feat_dim)


def test_networks_are_the_same_as_without_a_look_at_their_size() -> None:
    config = {"trunk": "XvectorTdnn", "pooling": "StatisticsPooling", "embedding_dim": 8}
    first, second = (torch.manual_seed(3) and build_network(config, 20).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) and first[name].device.type == "cpu" for name in first)


def test_batches_beyond_the_memory(tmp_path: Path) -> None:
    write_small_egs(tmp_path / "egs")
    network, objective = write_configs(tmp_path / "conf")
    options = TrainOptions(batch_size=10**20, num_steps=2, device="cpu", tensorboard=False)
    with pytest.raises(DataError, match=r"a batch of 100,000,000,000,000,000,000 examples of .* would take"):
        train(tmp_path / "egs", tmp_path / "model", network=network, objective=objective, train=options)


def test_unknown_settings_of_a_back_end(tmp_path: Path) -> None:
    CosineBackend.read().write(tmp_path)
    assert isinstance(read_backend(tmp_path), CosineBackend)
    path = tmp_path / "backend.yaml"
    path.write_text(path.read_text() + "lenght: unit\n")
    with pytest.raises(DataError, match=r"backend\.yaml: 'lenght' is none of model, transforms"):
        read_backend(tmp_path)
