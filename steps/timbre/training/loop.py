"""The training loop: the same on a CPU, a GPU, or the ranks of torchrun. Called by steps/train.py."""

import hashlib
import logging
import math
import os
import signal
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parallel import DistributedDataParallel

from timbre.egs.crop_effects import Augmentation, Augmenter
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import Batch, EgsReader, Position
from timbre.nnet import checkpoint
from timbre.nnet.network import build_network
from timbre.nnet.objectives import build_objective
from timbre.nnet.scheduled import Scheduled
from timbre.training.best import BestNetwork
from timbre.training.distributed import World, join_world, ranks_here
from timbre.training.egs_check import check_together
from timbre.training.freezing import is_trained
from timbre.training.front_end import FrontEnd, ReadyBatches
from timbre.training.interrupt import Interrupt
from timbre.training.numerics import autocast_dtype, set_up_torch
from timbre.training.options import StartOptions, TrainOptions
from timbre.training.resume import make_config, open_model_dir, rng_state, set_rng_state
from timbre.training.schedule import build_optimizer, learning_rate, set_learning_rate
from timbre.training.shards import clip_gradients, load_whole_states, whole_states
from timbre.training.start import Start
from timbre.training.step_figures import StepFigures, peak_memory
from timbre.training.teacher import features_of, load_teacher
from timbre.training.train_log import TrainLog
from timbre.training.training_module import build_module
from timbre.training.validation import Validation, measured
from timbre.training.views import Views, check_lengths
from timbre.utils.errors import DataError
from timbre.utils.memory import check_memory

log = logging.getLogger(__name__)


def train(
    egs_dir: Path,
    model_dir: Path,
    network: Path | None,
    objective: Path | None,
    options: TrainOptions,
    augmentation: Augmentation | None = None,
    start: StartOptions = StartOptions(),
) -> None:
    """Trains a network, from the newest checkpoint in MODEL_DIR if it was made with the same options and egs.

    Args:
        egs_dir: what steps/get_egs.py wrote
        model_dir: gets config.yaml, spk2int, checkpoints/, log.jsonl, epochs.jsonl, tensorboard/ and at last final.pt
        network: YAML of the network; None: that of the initial model, or conf/network/xvector.yaml
        objective: YAML of the objective; None: that of the initial model, or conf/objective/aam.yaml
        options: of training
        augmentation: of egs of waveforms
        start: what training begins with

    Raises:
        DataError: egs that are damaged or do not fit, a loss that is not finite
        SystemExit: 128 + the signal, after SIGTERM or SIGINT, with everything saved
    """
    with join_world(options.device) as world, Interrupt() as interrupt:
        Trainer(egs_dir, model_dir, network, objective, options, world, augmentation, start).run(interrupt)


class Trainer:
    """A run of training, and everything that it carries from step to step."""

    def __init__(
        self,
        egs_dir: Path,
        model_dir: Path,
        network: Path | None,
        objective: Path | None,
        options: TrainOptions,
        world: World,
        augmentation: Augmentation | None = None,
        start: StartOptions = StartOptions(),
    ) -> None:
        start.check_target(model_dir)
        set_up_torch(options, world)
        self.egs_dir, self.model_dir, self.world = egs_dir, model_dir, world
        self.manifest = Manifest.read(egs_dir)
        check_together(egs_dir, self.manifest, world, options.verify)
        self.start = Start(start, network, objective)
        self.network = build_network(self.start.network_config, self.manifest.feat_dim)
        self.objective = build_objective(
            self.start.objective_config,
            self.network.embedding_dim,
            self.manifest.num_speakers,
            options.utts_per_speaker,
        )
        self.options = options = options.for_objective(self.objective.batches)
        batches = options.batches_on(world.device.type)
        batches.check_parts(options.batch_size, world.size * options.accumulation)
        longest = max((ark.frames for ark in self.manifest.train), default=1)
        values = options.batch_size // world.size * longest * self.manifest.train_dim
        check_memory(f"a batch of {options.batch_size:,} examples of {longest} x {self.manifest.train_dim}", 4 * values)
        shortest = min((ark.frames for ark in self.manifest.train), default=0)
        shortest = self.manifest.num_feats(min(shortest, options.min_frames or shortest))
        longest = self.manifest.num_feats(min(longest, options.max_frames or longest))
        shortest = check_lengths(options, shortest, longest)
        if shortest < self.network.min_frames:
            raise DataError(f"examples of {shortest} frames; the network needs {self.network.min_frames}", egs_dir)
        self.start.begin(self.network, self.objective, egs_dir, self.manifest, world.device)
        # so that a speaker is compared with those of all ranks, and centres follow the embeddings of all
        gathers = world.size > 1 and (options.batches == "speakers" or self.objective.gathers)
        if options.shard_classes and world.size > 1:
            if gathers or options.amp == "fp16":
                raise DataError(
                    "train: shard_classes does not go with fp16, with batches of speakers, nor with centres that follow"
                )
            self.objective.shard_classes(world.rank, world.size)
        self.teacher, teacher_dim = None, None
        if options.teacher is not None:
            self.teacher = load_teacher(options.teacher, egs_dir, self.manifest, world.device, model_dir)
            teacher_dim = self.teacher.network.embedding_dim
        num_speakers = self.manifest.num_speakers
        self.module = build_module(self.network, self.objective, num_speakers, options, gathers, teacher_dim)
        self.module.to(world.device)
        if world.device.type == "cuda" and options.channels_last:
            for module in [self.module] if self.teacher is None else [self.module, self.teacher.network]:
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.scheduled = [module for module in self.module.modules() if isinstance(module, Scheduled)]
        factors = self.start.freeze(self.module)
        self.constrained = [part for part in self.scheduled if is_trained(part)]
        self.optimizer = build_optimizer(self.module, options, factors)
        self.dtype = autocast_dtype(options.amp, world.device)
        self.scaler = GradScaler(world.device.type, enabled=self.dtype is torch.float16)
        self.best = BestNetwork(model_dir, options.keep_best, measured(self.manifest, self.objective))
        self.step = 0  # updates that are done
        self.position = Position()  # of the next batch
        self.figures = StepFigures(world, self.scaler)
        self.augmentation, augmenter = augmentation, None
        if augmentation is not None:
            scattered = options.batch_options.kind != "shuffled"
            defers = options.augment_on == "device"
            augmenter = Augmenter(egs_dir, self.manifest, augmentation, options.seed, scattered, defers)
        masks = options.spec_augment if options.segments is None or options.segments.same_aug else None
        self.front_end = FrontEnd(self.manifest, masks, world.device)
        self.views = Views(options, world, self.teacher, self.dtype)
        self.reader = EgsReader(
            egs_dir,
            self.manifest,
            options.batch_size,
            options.seed,
            device=world.device,
            rank=world.rank,
            world_size=world.size,
            threads=options.reader_threads,
            batches=batches,
            spec_augment=masks,
            augmenter=augmenter,
            augment_jobs=options.augment_jobs_of(len(os.sched_getaffinity(0)), ranks_here()),
        )
        self.num_steps = options.num_steps or math.ceil(options.num_epochs * self.reader.batches_per_epoch)
        if world.leads:  # now that all is known to fit: it may remove what was trained there otherwise
            open_model_dir(model_dir, self._config(), egs_dir / "spk2int")
        world.wait()
        torch.manual_seed(options.seed + world.rank)  # the ranks have the same network, but each its own dropout
        self._resume()

    def run(self, interrupt: Interrupt) -> None:
        """Trains from where it stands to the last step, then writes final.pt.

        Raises:
            DataError: a loss is not finite
            SystemExit: INTERRUPT has caught a signal; all is saved
        """
        if self.step < self.num_steps:
            log.info("%s", self._describe())
            board = self.options.tensorboard
            with TrainLog(self.model_dir, self.step, self.num_steps, board, self.world.leads) as train_log:
                self._loop(train_log, interrupt)
        if self.world.leads:
            paths = self.best.final() or checkpoint.list_checkpoints(self.model_dir)[-self.options.average :]
            checkpoint.write_final(paths, self.model_dir)
        self.world.wait()

    def _loop(self, train_log: TrainLog, interrupt: Interrupt) -> None:
        options, world = self.options, self.world
        validation = None
        if world.leads:
            size = options.batch_size // (world.size * options.accumulation)  # no more than a step takes on one device
            validation = Validation(self.egs_dir, self.manifest, size, self.network.min_frames)
        module = self._wrapped()
        module.train()
        ready = ReadyBatches(self.reader, self.front_end, world.device)
        train_log.start_clock(self.step, ready.waited)
        for batch in ready:
            self._update(module, batch)
            self.step += 1
            self.position = ready.position
            train_log.advance()
            last = self.step == self.num_steps
            ends = self.position.batch == 0  # an epoch
            validates = last or (ends if options.valid_interval == 0 else self.step % options.valid_interval == 0)
            if validates or self.step % options.log_interval == 0:
                record = self._take_figures() | train_log.read_clock(self.step, ready.waited, options.batch_size)
                if validates and validation is not None:
                    valid = validation(self.network, self.objective, world.device, self.dtype)
                    self.figures.look(self.step, valid)
                    record |= valid
                    self.best.look(self.step, record, self.network, self.objective)
                train_log.write(record)
                train_log.start_clock(self.step, ready.waited)
            if ends:
                record = {"step": self.step, "epoch": self.position.epoch} | self.figures.end_epoch(self.step)
                train_log.end_epoch(record | peak_memory(world))
            stop = world.agree(interrupt.signal, self.step)
            if last or stop or self.step % options.checkpoint_interval == 0:
                self._save()
            if last:
                break
            if stop:
                log.info("%s after step %d: saved; the same command goes on", signal.Signals(stop).name, self.step)
                raise SystemExit(128 + stop)

    def _update(self, module: nn.Module, batch: Batch) -> None:
        """One step of the optimiser; nothing here waits for the device."""
        options = self.options
        set_learning_rate(self.optimizer, self._learning_rate(self.step))
        for part in self.scheduled:
            part.update(self.step, self.num_steps)
        losses, accuracies = [], []
        for number, given in enumerate(self.views(batch, self.step), 1):
            ddp = module if isinstance(module, DistributedDataParallel) else None
            last = number == options.accumulation  # ranks share the whole gradient once
            with ddp.no_sync() if ddp and not last else nullcontext():
                with torch.autocast(self.world.device.type, self.dtype, enabled=self.dtype is not None):
                    loss, accuracy = module(*given)
                self.scaler.scale(loss / options.accumulation).backward()
            losses.append(loss.detach())
            accuracies.append(accuracy)
        if options.grad_clip:
            self.scaler.unscale_(self.optimizer)
            clip_gradients(self.module, self.objective, options.grad_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for part in self.constrained:
                part.constrain(self.step)
        self.figures.add(torch.stack(losses).mean(), torch.stack(accuracies).mean())

    def _take_figures(self) -> dict[str, Any]:
        """What the log says of the steps since it last said something; here the device is waited for.

        Raises:
            DataError: a loss is not finite
        """
        return {
            "step": self.step,
            "epoch": self.position.epoch + self.position.batch / self.reader.batches_per_epoch,
            **self.figures.take(self.step),
            "lr": self._learning_rate(self.step - 1),
            "margin": self.objective.current_margin,
        }

    def _learning_rate(self, step: int) -> float:
        return learning_rate(step, self.num_steps, self.options, self.reader.batches_per_epoch)

    def _save(self) -> None:
        """Writes a checkpoint; never of a network that is lost.

        Raises:
            DataError: a loss is not finite
        """
        figures = self.figures.state(self.step)
        rng_states = self.world.gather(rng_state(self.world.device))
        objective, optimizer = whole_states(self.objective, self.optimizer, self.world)
        if not self.world.leads:
            return
        state = {
            "step": self.step,
            "position": (self.position.epoch, self.position.batch),
            "network": self.network.state_dict(),
            "objective": objective,
            "extras": self.module.extras.state_dict(),
            "optimizer": optimizer,
            "scaler": self.scaler.state_dict(),
            "rng": rng_states,
        }
        state |= figures | self.best.state()
        checkpoint.save(state, checkpoint.checkpoint_path(self.model_dir, self.step))
        checkpoint.prune(self.model_dir, self.options.keep, self.options.checkpoint_interval)
        self.best.prune()

    def _resume(self) -> None:
        """Takes up the newest checkpoint that the rank that leads sees, if there is one."""
        state = checkpoint.load_newest(self.model_dir) if self.world.leads else None
        step = self.world.told(None if state is None else state["step"])
        if step is None:
            return
        if state is None:
            state = checkpoint.load_step(self.model_dir, step)
        self.network.load_state_dict(state["network"])
        load_whole_states(self.objective, self.optimizer, state["objective"], state["optimizer"])
        self.module.extras.load_state_dict(state.get("extras", {}))  # of before there were any
        self.scaler.load_state_dict(state["scaler"])
        if len(state["rng"]) == self.world.size:  # else dropout goes on from the seed
            set_rng_state(state["rng"][self.world.rank], self.world.device)
        self.best.resume(state)
        self.step = state["step"]
        self.position = self.reader.position = Position(*state["position"])
        self.figures.resume(state)
        log.info("%s: %d steps are done", self.model_dir, self.step)

    def _wrapped(self) -> nn.Module:
        """The module as the loop calls it."""
        if self.options.compile:
            # what is computed in float32 under autocast has its gradient in float32 too, as without compiling
            torch._functorch.config.backward_pass_autocast = "off"
            self.module.compile(dynamic=True)  # chunk lengths vary
            if self.teacher is not None:
                self.teacher.network.compile(dynamic=True)
        if self.world.size == 1:
            return self.module
        if self.objective.shard is not None:  # no other rank has these classes: nothing to average
            ignore = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
            ignore(self.module, ["objective.weight"])  # type: ignore[no-untyped-call]
        return DistributedDataParallel(self.module, None if self.world.device.index is None else [self.world.device])

    def _config(self) -> dict[str, Any]:
        manifest = self.manifest
        config = make_config(
            self.network.config,
            self.objective.config,
            manifest.feat_dim,
            manifest.num_speakers,
            asdict(manifest.normalize),
            self.options,
            None if self.augmentation is None else self.augmentation.config,
            hashlib.sha256((self.egs_dir / "manifest.json").read_bytes()).hexdigest(),
            self.start.config,
        )
        config["features"] = features_of(manifest)
        if self.options.teacher is not None and self.teacher is not None:
            config["train"]["teacher"]["model"] = str(self.options.teacher.model)
            config["teacher_sha256"] = self.teacher.sha256
        if self.options.pair_table is not None:
            config["train"]["pair_table"] = str(self.options.pair_table)
            config["pairs_sha256"] = hashlib.sha256(self.options.pair_table.read_bytes()).hexdigest()
        return config

    def _describe(self) -> str:
        millions = sum(parameter.numel() for parameter in self.network.parameters()) / 1e6
        precision = str(self.dtype or torch.float32).removeprefix("torch.")
        reader, manifest, options = self.reader, self.manifest, self.options
        teacher = "" if options.teacher is None else f", from the teacher {options.teacher.model}"
        segments = "" if options.segments is None else f", in segments of {options.segments.length} frames"
        return (
            f"{millions:.2f} M parameters, {manifest.num_speakers} speakers, {self.num_steps} steps of "
            f"{options.batch_size} examples ({self.num_steps / reader.batches_per_epoch:.1f} epochs; in each "
            f"{reader.left_out} of {manifest.num_examples} examples fill no batch), {self.world.size} x "
            f"{self.world.device.type} in {precision}{teacher}{segments}"
        )
