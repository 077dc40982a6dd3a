"""The options of training, checked when they are read. Used by train.py and everything it calls."""

from dataclasses import dataclass
from typing import Literal

from steps.utils.errors import DataError

# options that do not change the weights: they may differ when an interrupted run goes on
INCIDENTAL = frozenset(
    {
        "log_interval",
        "valid_interval",
        "checkpoint_interval",
        "keep",
        "average",
        "tensorboard",
        "num_threads",
        "reader_threads",
        "verify",
    }
)


@dataclass(frozen=True)
class TrainOptions:
    """How a network is trained. Everything is counted in steps (updates), never in seconds.

    Args:
        batch_size: examples an update, over all ranks; split further by `accumulation`
        num_steps: updates; 0: as many as num_epochs makes
        num_epochs: passes over the egs, where num_steps is 0
        optimizer: the update rule
        lr: learning rate after the warm-up
        final_lr: learning rate of the last step
        schedule: from lr to final_lr along a half cosine, exponentially, or not at all
        warmup_steps: steps over which the learning rate rises linearly from 0 to lr
        momentum: of sgd
        nesterov: of sgd
        betas: of adam and adamw
        weight_decay: L2 penalty of sgd and adam, decoupled decay of adamw
        decay_all: decay biases and normalisation weights too, not only matrices and kernels
        grad_clip: bound on the norm of the gradient; 0 is none
        accumulation: an update is computed in so many parts, to save memory
        amp: mixed precision; auto is bf16 where the hardware has it (GPU, or CPU with AVX512-BF16 or AMX), else none
        compile: compile the network by torch.compile
        channels_last: memory layout of 2-d convolutions on a GPU
        deterministic: the same bits on every run of a GPU too, at some cost of speed (a CPU always gives the same)
        log_interval: steps between lines of the log
        valid_interval: steps between validations; the last step is always validated
        checkpoint_interval: steps between checkpoints
        keep: checkpoints that are kept
        average: so many of the last checkpoints are averaged into the final network
        tensorboard: write event files for TensorBoard
        seed: of initialisation, order of examples and dropout
        device: auto is cuda if there is one
        num_threads: CPU threads of each rank; 0: as OMP_NUM_THREADS says (torchrun sets it to 1), else all cores
        reader_threads: threads of each rank that read egs
        verify: compare the sha256 of all egs with the manifest before the first step
    """

    batch_size: int = 64
    num_steps: int = 0
    num_epochs: float = 10.0
    optimizer: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: float = 0.002
    final_lr: float = 1e-5
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    warmup_steps: int = 100
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    decay_all: bool = False
    grad_clip: float = 5.0
    accumulation: int = 1
    amp: Literal["none", "bf16", "fp16", "auto"] = "auto"
    compile: bool = False
    channels_last: bool = True
    deterministic: bool = False
    log_interval: int = 20
    valid_interval: int = 250
    checkpoint_interval: int = 100
    keep: int = 3
    average: int = 3
    tensorboard: bool = True
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_threads: int = 0
    reader_threads: int = 1
    verify: bool = False

    def __post_init__(self) -> None:
        if self.num_steps < 0 or not (self.num_steps or self.num_epochs > 0):
            raise DataError("train: num_steps or num_epochs must be above 0")
        for name in ("batch_size", "accumulation", "log_interval", "valid_interval", "checkpoint_interval", "average"):
            if getattr(self, name) < 1:
                raise DataError(f"train: {name} is {getattr(self, name)}; it must be at least 1")
        if self.keep < self.average:
            raise DataError(f"train: {self.average} checkpoints cannot be averaged if {self.keep} are kept")
        if self.lr <= 0 or not 0 <= self.final_lr <= self.lr:
            raise DataError(f"train: lr {self.lr} and final_lr {self.final_lr} must be 0 <= final_lr <= lr, lr above 0")
        if self.schedule == "exponential" and not self.final_lr:
            raise DataError("train: an exponential schedule never reaches final_lr 0")
        if self.batch_size % self.accumulation:
            raise DataError(f"train: {self.batch_size} examples cannot be split into {self.accumulation} equal parts")
