#!/usr/bin/env python3
"""Trains a speaker network on egs."""

from pathlib import Path
from typing import Any, Literal

from timbre.training.options import StartOptions, TrainOptions, read_factors, read_names
from timbre.utils.cli import run_step


def train(
    egs_dir: Path,
    model_dir: Path,
    network: Path | None = None,
    objective: Path | None = None,
    train: TrainOptions = TrainOptions(),
    init_model: Path | None = None,
    init_parts: str = "network,objective",
    init_classes: Literal["auto", "random", "centroids"] = "auto",
    freeze: str = "",
    lr_scale: str = "",
    objective_args: dict[str, Any] | None = None,
    augment_conf: Path | None = None,
    noise_dir: Path | list[Path] | None = None,
    music_dir: Path | list[Path] | None = None,
    speech_dir: Path | list[Path] | None = None,
    rir_dir: Path | list[Path] | None = None,
    stage_egs_to: Path | None = None,
) -> None:
    """Train a network on EGS_DIR into MODEL_DIR; interrupted at any moment, the same command goes on where it was.

    MODEL_DIR gets config.yaml, spk2int, checkpoints/, log.jsonl, epochs.jsonl, tensorboard/ and, at the end, final.pt.
    If options or egs are no longer those of the checkpoints there, training says so and starts anew. For several
    processes: torchrun --nproc-per-node N steps/train.py ...

    Args:
        egs_dir: directory that steps/get_egs.py wrote
        model_dir: where the model goes
        network: YAML file of the network to train; without one that of init_model, or conf/network/xvector.yaml
        objective: YAML file of the loss to train it with; without one that of init_model, with the full margin from the
            first step on, or conf/objective/aam.yaml
        train: options of training, for instance conf/train/cpu.yaml
        init_model: a trained model to begin with: another MODEL_DIR. A speaker that it knows by name keeps the class
        init_parts: what of it: network, objective, or both
        init_classes: class weights of speakers that it does not know: centroids of their embeddings, or random; auto:
            centroids, if there is a trained network to embed with
        freeze: parts that stay as they are, such as objective or trunk,poolings.norms: objective, network, trunk,
            poolings, segment, any module below; norms (scales, offsets, statistics) or statistics (of BatchNorm) alone
        lr_scale: factors of the learning rate of parts, such as trunk=0.1,segment=0.5
        objective_args: changes to the arguments of the loss, such as {margin: 0.5}
        augment_conf: YAML of the effects on each example of waveform egs, for instance conf/augment/online.yaml
        noise_dir: where their noises come from: a data directory or a folder of audio files; of several, [a,b], each is
            as likely as the next
        music_dir: where music comes from
        speech_dir: where the voices of babble come from
        rir_dir: where impulse responses come from
        stage_egs_to: folder on a disk of the machine itself, to which the egs are copied first and where they stay
    """
    from timbre.egs.crop_effects import Augmentation
    from timbre.egs.staging import stage_egs
    from timbre.training.loop import train as train_network

    given = {"noise": noise_dir, "music": music_dir, "speech": speech_dir, "rir": rir_dir}
    sources = {kind: tuple(paths) if isinstance(paths, list) else (paths,) for kind, paths in given.items() if paths}
    augmentation = Augmentation.read(augment_conf, sources) if augment_conf else None
    egs_dir = stage_egs(egs_dir, stage_egs_to) if stage_egs_to else egs_dir
    names, factors = read_names(freeze), read_factors(lr_scale)
    start = StartOptions(init_model, read_names(init_parts), names, factors, init_classes, objective_args or {})
    train_network(egs_dir, model_dir, network, objective, train, augmentation, start)


if __name__ == "__main__":
    run_step(train)
