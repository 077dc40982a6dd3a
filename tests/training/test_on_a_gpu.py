"""What runs on a GPU, without one: fake tensors of the device cuda have shapes and no numbers.

A tensor on another device, and whatever the host would have to wait for, is an error there. Networks with an LSTM
cannot be faked; tests/gpu/prove.sh runs them on a GPU.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from egs_corpus import write_configs, write_small_egs
from network_checks import CONF, ROOT
from synchronisations import Synchronisations, count
from timbre.egs.batch_effects import DeviceChanges, make_changes
from timbre.egs.crop_effects import Augmentation
from timbre.egs.egs_reader import Batch
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import options_from
from timbre.feats.spec_augment import SpecAugmentOptions
from timbre.nnet.network import build_network
from timbre.nnet.network_file import own_feat_dim
from timbre.nnet.objectives import build_objective
from timbre.nnet.options import SegmentOptions
from timbre.runtime.normalize import NormalizeOptions
from timbre.training.distributed import World
from timbre.training.front_end import FrontEnd, mask, normalize_batch
from timbre.training.interrupt import Interrupt
from timbre.training.loop import Trainer, train
from timbre.training.options import TeacherOptions, TrainOptions
from timbre.training.training_module import TrainingModule
from timbre.utils.configure import read_config
from wave_corpus import write_noise, write_wave_egs

NETWORKS = [name for name in CONF if "lstm" not in name]
OBJECTIVES = sorted((ROOT / "conf" / "objective").glob("*.yaml"))
FEATS = sorted(path for path in (ROOT / "conf" / "feats").glob("*.yaml") if not path.stem.startswith("vad"))
SPEAKERS, UTTS = 50, 2


@contextmanager
def fake_gpu() -> Iterator[Synchronisations]:
    """All that is made lies on a GPU that is not there."""
    with FakeTensorMode(), torch.device("cuda"), Synchronisations() as mode:
        yield mode


def loss_of(network: Path, objective: Path | str) -> tuple[Tensor, Synchronisations]:
    dim = own_feat_dim(network)
    with fake_gpu() as mode:
        built = build_network(network, dim)
        config = objective if isinstance(objective, Path) else {"class_path": objective}
        module = TrainingModule(built, build_objective(config, built.embedding_dim, SPEAKERS, UTTS))
        mode.found.clear()  # of the weights
        loss, _ = module(torch.randn(8, max(120, built.min_frames), dim), torch.zeros(8, dtype=torch.long))
    return loss, mode


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str) -> None:
    loss, mode = loss_of(CONF[name], "AamSoftmax")
    assert loss.device.type == "cuda" and not mode.found


@pytest.mark.parametrize("path", OBJECTIVES, ids=lambda path: path.stem)
def test_objectives(path: Path) -> None:
    loss, mode = loss_of(CONF["xvector_smoke"], path)
    assert loss.device.type == "cuda" and not mode.found


@pytest.mark.parametrize("path", FEATS, ids=lambda path: path.stem)
@pytest.mark.parametrize("cmn", ["sliding", "utterance"])
def test_front_ends(path: Path, cmn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From samples, with changes left to the device, to masked features."""
    kind = {"fbank": "FbankOptions", "mfcc": "MfccOptions", "melsp": "MelspecOptions", "dacon": "MelspecOptions"}.get(
        path.stem[:5].rstrip("0123456789"), "SpectrogramOptions"
    )
    feats = options_from({"class_path": kind, "init_args": read_config(path)})
    with fake_gpu():
        torch.empty(1)  # the first one looks for a GPU, and would use it
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with fake_gpu() as mode:
        extractor = FeatureExtractor(feats, "cuda")
        mode.found.clear()  # of its tables
        waves = torch.zeros(4, 2 * int(feats.sample_frequency), dtype=torch.int16)
        ones, numbers = torch.ones(2), torch.arange(2)
        changes = [
            DeviceChanges(name, numbers, torch.randn(2, 9), ones, numbers + 9, ones > 0, numbers)
            for name in ("scale", "add", "convolve")
        ]
        changes[0] = dataclasses.replace(changes[0], values=torch.randn(2, 1))
        changes[1] = dataclasses.replace(changes[1], values=torch.randn(2, waves.shape[1]))
        found = extractor.batch(make_changes(waves, changes))
        found = normalize_batch(found, NormalizeOptions(cmn=cmn, window=100, norm_vars=True))
        options = SpecAugmentOptions()
        found = mask(found, torch.zeros(4, options.freq_masks + options.time_masks, 2, dtype=torch.int32), options)
    assert found.device.type == "cuda" and found.shape[2] == feats.dim and not mode.found


@pytest.mark.parametrize("kind", ["features", "waveforms", "taught"])
def test_a_training_step_waits_for_nothing(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Front end, forward, backward, clipping, optimiser and schedules, of real numbers on the CPU."""
    network, objective = write_configs(tmp_path)
    options = TrainOptions(
        batch_size=16, num_steps=4, log_interval=4, valid_interval=4, tensorboard=False, amp="bf16", device="cpu"
    )
    augmentation = None
    masks = SpecAugmentOptions(max_bins=4, max_frames=5)
    if kind != "waveforms":
        write_small_egs(tmp_path / "egs")
    if kind == "taught":
        train(tmp_path / "egs", tmp_path / "teacher", network, objective, options)
        cut = SegmentOptions(15, 18, starts="random", heads=2, same_aug=False)
        teacher = TeacherOptions(tmp_path / "teacher", level="both", student_frames=19, map="always")
        options = dataclasses.replace(options, segments=cut, teacher=teacher, spec_augment=masks)
    if kind == "waveforms":
        write_wave_egs(tmp_path / "egs", NormalizeOptions(window=15))
        noise = write_noise(tmp_path / "noise", 5)
        augmentation = Augmentation([{"class_path": "AddNoise"}], {"noise": (noise,)})
        options = dataclasses.replace(
            options, optimizer="sgd", amp="fp16", augment_on="device", spec_augment=masks, accumulation=2
        )
    waits, front_waits = [], []
    update, make_ready = Trainer._update, FrontEnd.__call__

    def counted(trainer: Trainer, module: nn.Module, batch: Batch) -> None:
        waits.append(count(lambda: update(trainer, module, batch)))

    def front_end(self: FrontEnd, batch: Batch) -> Batch:
        with Synchronisations() as mode:
            ready = make_ready(self, batch)
        front_waits.append(mode.found)
        return ready

    monkeypatch.setattr(Trainer, "_update", counted)
    monkeypatch.setattr(FrontEnd, "__call__", front_end)
    world = World(0, 1, torch.device("cpu"))
    with Interrupt() as interrupt:
        Trainer(tmp_path / "egs", tmp_path / "model", network, objective, options, world, augmentation).run(interrupt)
    assert waits == [{}] * 4 and front_waits == [{}] * 5, "a batch is made ready ahead"


def test_what_waits_is_found() -> None:
    ones = torch.ones(3)
    waiting = {
        "item": lambda: ones.sum().item(),
        "bool": lambda: bool(ones.sum() > 0),
        "nonzero": lambda: ones.nonzero(),
        "unique": lambda: ones.unique(),
        "mask": lambda: ones[ones > 0],
        "masked assignment": lambda: ones.clone().__setitem__(ones > 0, torch.zeros(3)),
        "masked select": lambda: ones.masked_select(ones > 0),
        "repeat": lambda: ones.repeat_interleave(ones.long()),
    }
    assert [name for name, work in waiting.items() if not count(work)] == []
    assert not count(lambda: (ones * 2)[:2].masked_fill(ones[:2] > 0, 0).sum())
    with fake_gpu() as mode, pytest.raises(RuntimeError, match="device"):
        torch.ones(3) + torch.ones(3, device="cpu")
    for copy in (
        lambda: torch.ones(3, device="cpu").to("cuda"),
        lambda: torch.ones(3).copy_(torch.ones(3, device="cpu")),
    ):
        with fake_gpu() as mode:
            copy()
        assert mode.found
    with fake_gpu() as mode:
        torch.ones(3, device="cpu").to("cuda", non_blocking=True)
    assert not mode.found
