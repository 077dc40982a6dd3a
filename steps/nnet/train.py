"""The training loop: the same on a CPU, a GPU, or the ranks of torchrun. Called by steps/train.py."""

import hashlib
import logging
import math
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from steps.feats.egs_format import Manifest
from steps.nnet import checkpoint
from steps.nnet.distributed import World, join_world
from steps.nnet.egs import Batch, EgsReader, Position, check_egs
from steps.nnet.interrupt import Interrupt
from steps.nnet.model import make_config
from steps.nnet.network import SpeakerNetwork, build_network
from steps.nnet.objectives import Objective, build_objective
from steps.nnet.options import TrainOptions
from steps.nnet.resume import open_model_dir, rng_state, set_rng_state
from steps.nnet.schedule import build_optimizer, learning_rate
from steps.nnet.train_log import TrainLog
from steps.nnet.validate import Validation
from steps.utils.errors import DataError

log = logging.getLogger(__name__)


def train(egs_dir: Path, model_dir: Path, network: Path, objective: Path, options: TrainOptions) -> None:
    """Trains a network, from the newest checkpoint in MODEL_DIR if it was made with the same options and egs.

    Args:
        egs_dir: what steps/get_egs.py wrote
        model_dir: gets config.yaml, spk2int, checkpoints/, log.jsonl, tensorboard/ and at last final.pt
        network: YAML of the network
        objective: YAML of the objective
        options: of training

    Raises:
        DataError: egs that are damaged or do not fit, a loss that is not finite
        SystemExit: 128 + the signal, after SIGTERM or SIGINT, with everything saved
    """
    with join_world(options.device) as world, Interrupt() as interrupt:
        Trainer(egs_dir, model_dir, network, objective, options, world).run(interrupt)


class TrainingModule(nn.Module):
    """Network and objective as one module, so that DistributedDataParallel and torch.compile see both."""

    def __init__(self, network: SpeakerNetwork, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, feats: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and the share of examples that are recognised."""
        loss, logits = self.objective(self.network(feats), labels)
        return loss, (logits.argmax(1) == labels).float().mean()


class Trainer:
    """A run of training and everything it carries from step to step."""

    def __init__(
        self, egs_dir: Path, model_dir: Path, network: Path, objective: Path, options: TrainOptions, world: World
    ) -> None:
        self.egs_dir, self.model_dir, self.options, self.world = egs_dir, model_dir, options, world
        _set_up_torch(options, world)
        self.manifest = Manifest.read(egs_dir)
        if world.leads:
            check_egs(egs_dir, self.manifest, options.verify)
        self.network = build_network(network, self.manifest.feat_dim)
        self.objective = build_objective(objective, self.network.embedding_dim, self.manifest.num_speakers)
        shortest = min((ark.frames for ark in self.manifest.train), default=0)
        if shortest < self.network.min_frames:
            raise DataError(f"examples of {shortest} frames; the network needs {self.network.min_frames}", egs_dir)
        self.module = TrainingModule(self.network, self.objective).to(world.device)
        if world.device.type == "cuda" and options.channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.module, options)
        self.dtype = autocast_dtype(options.amp, world.device)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=self.dtype is torch.float16)
        self.step = 0  # updates that are done
        self.position = Position()
        self.losses: list[Tensor] = []  # of the steps since the last line of the log; on the device, as reading
        self.accuracies: list[Tensor] = []  # them would wait for it
        if world.leads:
            open_model_dir(model_dir, self._config(), egs_dir / "spk2int")
        world.wait()
        self._resume()
        self.reader = self._reader()
        self.num_steps = options.num_steps or math.ceil(options.num_epochs * self.reader.batches_per_epoch)

    def run(self, interrupt: Interrupt) -> None:
        """Trains from where it stands to the last step, then writes final.pt."""
        if self.step < self.num_steps:
            self._train(interrupt)
        if self.world.leads:
            paths = checkpoint.list_checkpoints(self.model_dir)[-self.options.average :]
            checkpoint.write_final(paths, self.model_dir)
        self.world.wait()

    def _train(self, interrupt: Interrupt) -> None:
        options, world = self.options, self.world
        validation = Validation(self.egs_dir, self.manifest, options.batch_size) if world.leads else None
        train_log = TrainLog(self.model_dir, self.step, self.num_steps, options.tensorboard) if world.leads else None
        module = self._wrapped()
        self.module.train()
        started, waited, counted = time.perf_counter(), 0.0, self.step
        for batch in self.reader:
            loss, accuracy, lr = self._update(module, batch)
            self.step += 1
            self.position = self.reader.position
            self.losses.append(loss)
            self.accuracies.append(accuracy)
            if train_log is not None:
                train_log.advance()
            last = self.step == self.num_steps
            validates = last or self.step % options.valid_interval == 0
            if validates or self.step % options.log_interval == 0:
                record = self._figures(lr)
                now, steps = time.perf_counter(), self.step - counted
                record["examples_per_s"] = steps * options.batch_size / (now - started)
                record["waiting"] = (self.reader.waited - waited) / (now - started)
                if train_log is not None and validation is not None:
                    if validates:
                        record |= validation(self.network, self.objective, world.device, self.dtype)
                    train_log.write(record)
                started, waited, counted = time.perf_counter(), self.reader.waited, self.step
            stop = world.any(interrupt.signal) if world.size == 1 or self.step % 10 == 0 else 0
            if last or stop or self.step % options.checkpoint_interval == 0:
                self._save()
            if stop:
                log.info(
                    "stopped by %s after step %d; run the same again to go on", signal.Signals(stop).name, self.step
                )
                raise SystemExit(128 + stop)
            if last:
                break
        if train_log is not None:
            train_log.close()

    def _update(self, module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, float]:
        """One step of the optimiser; loss and accuracy stay on the device."""
        parts = self.options.accumulation
        lr = learning_rate(self.step, self.num_steps, self.options)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.objective.update(self.step)
        losses, accuracies = [], []
        pairs = list(zip(batch.feats.chunk(parts), batch.labels.chunk(parts), strict=True))
        for number, (feats, labels) in enumerate(pairs, 1):
            ddp = isinstance(module, DistributedDataParallel)
            with module.no_sync() if ddp and number < parts else nullcontext():  # type: ignore[operator]
                with torch.autocast(self.world.device.type, self.dtype, enabled=self.dtype is not None):
                    loss, accuracy = module(feats, labels)
                self.scaler.scale(loss / parts).backward()
            losses.append(loss.detach())
            accuracies.append(accuracy)
        if self.options.grad_clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.module.parameters(), self.options.grad_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return torch.stack(losses).mean(), torch.stack(accuracies).mean(), lr

    def _figures(self, lr: float) -> dict[str, Any]:
        """The line of the log for the steps since the last one; here the device is waited for.

        Raises:
            DataError: a loss is not finite
        """
        losses = self.world.mean(torch.stack(self.losses).float().cpu())
        accuracies = self.world.mean(torch.stack(self.accuracies).cpu())
        self.losses, self.accuracies = [], []
        finite = losses.isfinite()
        if not finite.all():
            first = self.step - len(losses) + 1 + int(finite.logical_not().nonzero()[0])
            # a loss scale that overflows skips the step and is halved: wrong only if that does not help
            if not self.scaler.is_enabled() or self.scaler.get_scale() < 1:
                raise DataError(f"the loss of step {first} is {losses[~finite][0]:g}: lower the learning rate, or clip")
            losses = losses[finite] if finite.any() else losses.nan_to_num()
        return {
            "step": self.step,
            "epoch": self.position.epoch + self.position.batch / self.reader.batches_per_epoch,
            "loss": float(losses.mean()),
            "accuracy": float(accuracies.mean()),
            "lr": lr,
            "margin": self.objective.current_margin,
        }

    def _save(self) -> None:
        states = self.world.gather(rng_state(self.world.device))
        if self.losses and not torch.stack(self.losses).isfinite().all() and not self.scaler.is_enabled():
            self._figures(0.0)  # raises: a network that is lost must not be what a run resumes from
        if self.world.leads:
            state = {
                "step": self.step,
                "network": self.network.state_dict(),
                "objective": self.objective.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "rng": states,
                "position": (self.position.epoch, self.position.batch),
                "losses": [float(loss) for loss in self.losses],
                "accuracies": [float(accuracy) for accuracy in self.accuracies],
            }
            checkpoint.save(state, checkpoint.checkpoint_path(self.model_dir, self.step))
            checkpoint.prune(self.model_dir, self.options.keep)

    def _resume(self) -> None:
        """Takes up the newest checkpoint, if there is one."""
        state = checkpoint.load_newest(self.model_dir)
        if state is None:
            return
        self.network.load_state_dict(state["network"])
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if len(state["rng"]) == self.world.size:
            set_rng_state(state["rng"][self.world.rank], self.world.device)
        self.step, self.position = state["step"], Position(*state["position"])
        self.losses = [torch.tensor(loss, device=self.world.device) for loss in state["losses"]]
        self.accuracies = [torch.tensor(accuracy, device=self.world.device) for accuracy in state["accuracies"]]
        log.info("%s: resumed after step %d", self.model_dir, self.step)

    def _wrapped(self) -> nn.Module:
        if self.options.compile:
            self.module.compile(dynamic=True)
        if self.world.size == 1:
            return self.module
        return DistributedDataParallel(self.module)

    def _reader(self) -> EgsReader:
        options, world = self.options, self.world
        return EgsReader(
            self.egs_dir,
            self.manifest,
            options.batch_size,
            options.seed,
            world.device,
            world.rank,
            world.size,
            options.reader_threads,
            self.position,
        )

    def _config(self) -> dict[str, Any]:
        manifest = self.manifest
        return make_config(
            self.network.config,
            self.objective.config,
            manifest.feat_dim,
            manifest.num_speakers,
            manifest.normalize,
            self.options,
            hashlib.sha256((self.egs_dir / "manifest.json").read_bytes()).hexdigest(),
        )


def autocast_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """The type of mixed precision (None: all float32); "auto" is bfloat16 where the hardware multiplies it.

    Raises:
        DataError: fp16 on a CPU, which has no use for it
    """
    if amp == "auto":
        if device.type == "cuda":
            able = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if able else None
    return {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]


def _set_up_torch(options: TrainOptions, world: World) -> None:
    """Seeds and numerics of this process."""
    if options.num_threads:
        torch.set_num_threads(options.num_threads)
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU; nothing changes on a CPU
    torch.backends.cudnn.benchmark = not options.deterministic
    torch.use_deterministic_algorithms(options.deterministic)
