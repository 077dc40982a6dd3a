"""Whether a GPU gives what the CPU gives: features, VAD, augmentation, embeddings, resume, collectives. For prove.py.

Each part returns what it found; "worst" beside its "tolerance" decides.
"""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from gpu_corpus import RATE, ROOT, Setting, network_named, tone
from torch.nn.parallel import DistributedDataParallel

from timbre.egs.crop_effects import Augmentation, Augmenter
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import EgsReader
from timbre.embedding.extract import ExtractOptions, extract_embeddings
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import FbankOptions, MfccOptions, SpectrogramOptions
from timbre.feats.vad import VadOptions, energy_vad
from timbre.nnet import checkpoint
from timbre.nnet.network_file import own_feat_dim
from timbre.nnet.objectives import build_objective
from timbre.training.distributed import World, gather_rows
from timbre.training.front_end import FrontEnd
from timbre.training.interrupt import Interrupt
from timbre.training.loop import Trainer
from timbre.training.options import TrainOptions
from timbre.training.train_log import read_log
from timbre.training.training_module import TrainingModule

Found = dict[str, Any]
EXTRACTED = ("xvector", "ecapa512", "resnet34", "campplus", "redimnet_b2", "eres2netv2", "mfa_conformer", "lstm")


def worst(one: Any, other: Any) -> float:
    """The largest difference of two arrays."""
    return float(np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)).max(initial=0))


def features(setting: Setting) -> Found:
    """Fbank, MFCC and spectrogram of 60 utterances (5 in the small form), and the energies that the VAD goes by."""
    waves = [tone(2 + number % 3, number, number) for number in range(5 if setting.small else 60)]
    differences, decisions, speed = {}, 0, 0.0
    for options in (FbankOptions(num_mel_bins=80), MfccOptions(), SpectrogramOptions()):
        extractors = [FeatureExtractor(options, device) for device in ("cpu", setting.device)]
        expected, found = (extractor.with_energy(waves) for extractor in extractors)
        setting.synchronize()
        start = time.perf_counter()
        extractors[1].with_energy(waves)
        setting.synchronize()
        if options.kind == "fbank":
            speed = sum(map(len, waves)) / RATE / (time.perf_counter() - start)
        differences[options.kind] = max(worst(a, b.cpu()) for a, b in zip(expected[0], found[0], strict=True))
        for one, other in zip(expected[1], found[1], strict=True):
            speech = (energy_vad(energy.cpu().numpy(), VadOptions()) for energy in (one, other))
            decisions += int(np.not_equal(*speech).sum())
    return {
        "worst": max(*differences.values(), float(decisions)),
        "tolerance": 0.01,  # of log energies; Kaldi's own are held to as much. No VAD decision may differ
        "by kind": differences,
        "VAD decisions that differ": decisions,
        "fbank, times real time": speed,
    }


def augmentation(setting: Setting) -> Found:
    """Batches of waveforms with noise and gain, changed and turned into normalised features on the device."""
    egs = setting.folder / "wave_egs"
    manifest = Manifest.read(egs)
    effects = [{"class_path": "AddNoise"}, {"class_path": "Gain"}]
    chain = Augmentation(effects, {"noise": (setting.folder / "noise",)})
    augmenter = Augmenter(egs, manifest, chain, 1, defers=True)
    here, there = (FrontEnd(manifest, None, device) for device in (torch.device("cpu"), setting.device))
    differences = []
    for batch in islice(EgsReader(egs, manifest, 8, 1, augmenter=augmenter), 4):
        changes = tuple(group.to(setting.device) for group in batch.changes)
        moved = dataclasses.replace(batch, feats=batch.feats.to(setting.device), changes=changes)
        differences.append((there(moved).feats.cpu() - here(batch).feats).abs())
    return {
        "worst": max(float(one.mean()) for one in differences),
        "tolerance": 0.01,  # on average: a sample may be rounded to the next of 16 bits, which silence shows
        "largest": max(float(one.max()) for one in differences),
    }


def embeddings(setting: Setting) -> Found:
    """Utterances of many lengths, padded and masked: the cosine with what the CPU gives."""
    rng = np.random.default_rng(0)
    result: dict[str, float] = {}
    for name in EXTRACTED[:1] + EXTRACTED[-1:] if setting.small else EXTRACTED:
        dim = own_feat_dim(ROOT / "conf" / "network" / f"{name}.yaml")
        network = network_named(name, dim)
        sizes = rng.integers(network.min_frames, network.min_frames + 300, 4 if setting.small else 24)
        utts = [
            (f"utt{number}", rng.standard_normal((size, dim)).astype(np.float32)) for number, size in enumerate(sizes)
        ]
        vectors = [
            extract_embeddings(network.to(device), utts, ExtractOptions(batch_frames=3000)).vectors
            for device in (torch.device("cpu"), setting.device)
        ]
        result[name] = max(
            worst(vectors[0][utt], vectors[1][utt]) / float(np.abs(vectors[0][utt]).max()) for utt, _ in utts
        )
    return {"worst": max(result.values()), "tolerance": 1e-3, "relative to the largest value, by network": result}


def _options(**changes: Any) -> TrainOptions:
    options = TrainOptions(
        batch_size=8, num_steps=24, warmup_steps=4, log_interval=1, valid_interval=100, checkpoint_interval=5,
        tensorboard=False, deterministic=True,
    )  # fmt: skip
    return dataclasses.replace(options, **changes)


def train_into(setting: Setting, model: Path, egs: str = "egs", conf: str = "xvector_smoke", **changes: Any) -> None:
    """Trains a network of conf/network on the egs in the folder of SETTING."""
    chain = None
    if egs == "wave_egs":
        chain = Augmentation([{"class_path": "AddNoise"}], {"noise": (setting.folder / "noise",)})
    files = ROOT / "conf" / "network" / f"{conf}.yaml", ROOT / "conf" / "objective" / "aam.yaml"
    with Interrupt() as interrupt:
        world = World(0, 1, setting.device)
        try:
            Trainer(setting.folder / egs, model, *files, _options(**changes), world, chain).run(interrupt)
        finally:
            torch.use_deterministic_algorithms(False)


def resume(setting: Setting) -> Found:
    """A training killed with SIGKILL, and gone on with, is one that was never interrupted: to the bit."""
    whole, killed = setting.folder / "whole", setting.folder / "killed"
    train_into(setting, whole)
    command = [sys.executable, str(Path(__file__).with_name("prove.py")), "--train", str(killed)]
    command += ["--device", setting.device.type, "--folder", str(setting.folder)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(read_log(killed / "log.jsonl")) < 12:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    done = len(read_log(killed / "log.jsonl"))
    train_into(setting, killed)
    losses = [[line["loss"] for line in read_log(path / "log.jsonl")] for path in (whole, killed)]
    states = [checkpoint.load(path / "final.pt")["network"] for path in (whole, killed)]
    weights = max(worst(value.cpu(), states[1][name].cpu()) for name, value in states[0].items())
    return {
        "worst": max(worst(*losses), weights, float(not 12 <= done < 24)),
        "tolerance": 0.0,
        "steps logged when it was killed": done,
    }


def _one_rank(setting: Setting) -> Iterator[tuple[str, float]]:
    torch.manual_seed(0)
    feats, labels = torch.randn(8, 60, 40, device=setting.device), torch.arange(8, device=setting.device)
    gradients = []
    for wrapped, sharded in ((False, False), (True, False), (True, True)):
        network = network_named("xvector_smoke", 40).train()
        torch.manual_seed(1)
        objective = build_objective({"class_path": "AamSoftmax"}, network.embedding_dim, 20)
        if sharded:
            objective.shard_classes(0, 1)
        module = TrainingModule(network, objective).to(setting.device)
        called = DistributedDataParallel(module) if wrapped else module
        called(feats, labels)[0].backward()
        gradients.append([parameter.grad.cpu() for parameter in module.parameters() if parameter.grad is not None])
    for name, found in (("DistributedDataParallel", gradients[1]), ("class shards", gradients[2])):
        scale = max(float(one.abs().max()) for one in gradients[0])
        yield name, max(worst(one, other) for one, other in zip(gradients[0], found, strict=True)) / scale
    rows = torch.randn(4, 3, device=setting.device)
    yield "gather_rows", worst(rows.cpu(), gather_rows(rows).cpu())


def one_rank(setting: Setting) -> Found:
    """A world of one rank over nccl (gloo on a CPU): gradients are those without it."""
    backend = "nccl" if setting.device.type == "cuda" else "gloo"
    store = dist.FileStore(str(setting.folder / f"store.{os.getpid()}"), 1)
    dist.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        found = dict(_one_rank(setting))
    finally:
        dist.destroy_process_group()
    return {"worst": max(found.values()), "tolerance": 1e-3, "backend": backend, **found}
