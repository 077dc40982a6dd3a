"""Every kind of network, from audio to embedding: the pack gives what the recipe gives.

The smallest of each kind, with one block a stage and narrower where that is not small; all as they are:
`python -m tests.export_parity`.
"""

import inspect

import pytest

from tests.export_parity import MOST, compare
from tests.network_checks import Config, changed
from timbre.nnet import models

ONE_BLOCK = {
    "aret": 4,
    "campplus": 3,
    "eres2net34_small": 4,
    "iskconvnet": 4,
    "redimnet_b0": 5,
    "repvgg_tiny_a0": 4,
    "res2net34_base": 4,
    "rescnn10": 4,
    "resnet34_2d": 4,
    "simam_resnet34": 4,
    "tdy_resnet34_025": 4,
    "thin_resnet34_vlad": 4,
}
WHOLE = (
    "conformer",
    "convmixer",
    "dtdnn",
    "ecapa128",
    "ftdnn",
    "ge2e_lstm",
    "lstm_attentive",
    "transformer",
    "vgg_m",
    "xvector_smoke",
    "xvector_xi",
)

THIN = [16, 32, 64, 128]
NARROW: dict[str, Config] = {
    "convmixer": {"depth": 8},
    "ftdnn": {"stem_channels": 128, "channels": 256, "output_channels": 512},
    "iskconvnet": {"channels": THIN},
    "res2net34_base": {"channels": THIN},
    "rescnn10": {"channels": THIN},
    "resnet34_2d": {"channels": THIN},
    "simam_resnet34": {"channels": THIN},
}

IMPORTED = "preactivation"  # which only imported weights have, and no file of conf/network


def config_of(name: str) -> Config:
    """conf/network/NAME.yaml, with one block a stage where it has many, and narrower where it is wide."""
    if name == IMPORTED:
        small = {"channels": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "attention_stages": 2}
        return changed("resnet34") | {"trunk": {"class_path": "PreactivationResNet", "init_args": small}}
    blocks = {"blocks": [1] * ONE_BLOCK[name]} if name in ONE_BLOCK else {}
    return changed(name, trunk=blocks | NARROW.get(name, {}))


@pytest.mark.parametrize("name", [*ONE_BLOCK, *WHOLE, IMPORTED])
def test_audio_to_embedding(name: str) -> None:
    """Of the shortest that it takes, of a second, and of three in a batch, after as much training as it needs.

    Drawn weights are ill-conditioned where blocks are deep: then torch is as far from float64 as from the pack.
    """
    errors = compare(config_of(name), [1.0], updates=6)[:3]
    assert max(errors) <= MOST, errors


def test_every_kind_is_among_them() -> None:
    trunks = {config_of(name)["trunk"]["class_path"] for name in [*ONE_BLOCK, *WHOLE, IMPORTED]}
    kinds = [kind for _, kind in inspect.getmembers(models, inspect.isclass) if issubclass(kind, models.Trunk)]
    assert trunks == {kind.__name__ for kind in kinds if not inspect.isabstract(kind)}
