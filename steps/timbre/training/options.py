"""The options of training, checked when they are read. Used by loop.py and everything it calls."""

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

from timbre.egs.options import BatchOptions
from timbre.feats.spec_augment import SpecAugmentOptions
from timbre.nnet.options import SegmentOptions
from timbre.utils.errors import DataError
from timbre.utils.spelling import did_you_mean

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
        "augment_jobs",
        "shard_classes",
        "verify",
        "teacher.model",  # its content counts
        "pair_table",  # so does its
        "segments.at_test",
    }
)


PARTS = ("network", "objective")  # of a model, that training can begin with
GPU_LENGTH_STEP = 16  # frames: a dozen lengths between the 2 and 4 s of common chunks, as many as egs have


@dataclass(frozen=True)
class TeacherOptions:
    """What a network learns from another one that is trained already and does not change.

    The loss is, of each embedding e of the student and t of the teacher, `kld` times the Kullback-Leibler divergence of
    softmax(outputs / tau) from the teacher's, plus `cosine` times (1 - cos(e, t)), plus `ce` times that of the
    objective. Outputs are the objectives' logits without margin.

    Args:
        model: directory of the teacher, trained to its end on the same features; for kld, on the same speakers, by an
            objective that has a class for each, with the checkpoints that it was averaged of still there. It must be
            given, here or on the command line
        kld: weight of the divergence of the outputs; 0: without
        tau: temperature of both
        cosine: weight of the distance of the embeddings; 0: without
        ce: weight of the objective's own loss (with segments: of all of it); 0: its labels are not used
        level: with segments, what is matched with the teacher's embedding of the crop: that of the utterance, those of
            the segments (their losses are summed), or both ("dual")
        student_frames: the student sees so many frames of the teacher's crop, from a random place on; 0: all of it
        map: a linear map of the student's embedding, learned beside it and not part of the network, stands before the
            cosine: auto: where teacher and student have embeddings of different sizes
    """

    model: Path | None = None
    kld: float = 1.0
    tau: float = 1.0
    cosine: float = 2.0
    ce: float = 1.0
    level: Literal["utterance", "segment", "both"] = "utterance"
    student_frames: int = 0
    map: Literal["auto", "always", "never"] = "auto"

    def __post_init__(self) -> None:
        if min(self.kld, self.cosine, self.ce) < 0 or self.tau <= 0 or self.student_frames < 0:
            raise DataError(
                f"teacher: kld {self.kld}, cosine {self.cosine}, ce {self.ce} and student_frames {self.student_frames} "
                f"must not be below 0, tau {self.tau} must be above 0"
            )
        if not self.kld and not self.cosine:
            raise DataError("teacher: kld and cosine are both 0: it teaches nothing")


@dataclass(frozen=True)
class TrainOptions:
    """How a network is trained. Everything is counted in steps (updates), never in seconds.

    Args:
        batch_size: examples an update, over all ranks; split further by `accumulation`
        batches: which examples make a batch. shuffled: any, of about one length. speakers, for metric losses: as many
            speakers as fit, all different, with utts_per_speaker examples of each, from different utterances wherever
            a speaker has that many. pairs: two by two, as many of one speaker (from different utterances wherever it
            has two) as of two speakers, so batch_size is a multiple of 4. In an epoch no example comes twice. Of
            several ranks, each has its part of every batch; a loss sees all of a batch of speakers, of others its part.
            auto: what the objective needs
        utts_per_speaker: examples of each speaker in batches of speakers
        max_utts_per_speaker: examples that a speaker gives to batches of speakers in an epoch; 0: no bound
        pair_table: pairs.csv of a corpus of pairs (local/prepare_dacon.py): batches of pairs have its pairs alone, each
            once an epoch, as far as training has both utterances and one kind is not more than the other; each side is
            an example of its utterance by chance. None: all pairs there can be
        min_frames: a batch is cut to a random length, each example at a random place: the least; 0: as the egs are.
            Batches of speakers or pairs are of all arks, and so never longer than the shortest examples in them
        max_frames: the largest such length, as far as the examples have it
        length_step: such lengths are min_frames, and multiples of so many frames above it: a GPU, which searches for
            the fastest kernels at each new length, has soon seen them all; 0: 16 on a GPU; 1, all lengths, on a CPU
        num_steps: updates; 0: as many as num_epochs makes
        num_epochs: passes over the egs, where num_steps is 0
        optimizer: the update rule; adagrad (Duchi et al. 2011) is that of DeepSpeaker's recipes, best at a constant lr
        lr: learning rate after the warm-up
        final_lr: learning rate of the last step
        schedule: from lr to final_lr along a half cosine, exponentially, or not at all; step: lr times gamma after each
            of `milestones`, or every `step_epochs`
        milestones: of the step schedule: epochs (passes over the egs) after which lr is multiplied by gamma, such as
            [10,15]
        step_epochs: instead of milestones, multiply every so many epochs
        gamma: of the step schedule
        warmup_steps: steps over which the learning rate rises linearly from 0 to lr
        warmup_share: with warmup_steps 0, the share of all steps (0.04) over which it does
        momentum: of sgd
        nesterov: of sgd
        betas: of adam, adamw and radam
        weight_decay: L2 penalty of sgd, adam and radam, decoupled decay of adamw
        decay_all: decay biases and normalisation weights too, not only matrices and kernels
        grad_clip: bound on the norm of the gradient; 0 is none
        accumulation: an update is computed in so many parts, to save memory; a metric loss compares the examples of
            one part only
        amp: mixed precision; auto is bf16 where the hardware has it (GPU, or CPU with AVX512-BF16 or AMX), else none
        shard_classes: each rank has the weights of its share of the speakers, and the loss is over all ranks: for more
            speakers than fit on one. Not for fp16, nor for every objective; held-out accuracy is not measured
        compile: compile the network by torch.compile
        channels_last: memory layout of 2-d convolutions on a GPU
        deterministic: the same bits on every run of a GPU too, at some cost of speed (a CPU always gives the same)
        log_interval: steps between lines of the log
        valid_interval: steps between validations; 0: at the end of each epoch. The last step is always validated
        checkpoint_interval: steps between checkpoints
        keep: checkpoints that are kept
        average: so many of the last checkpoints are averaged into the final network
        keep_best: instead of an average, the final network is the one that had the lowest EER on the held-out speakers,
            or the highest accuracy on the held-out utterances, of those that were validated (each valid_interval)
        tensorboard: write event files for TensorBoard
        spec_augment: masks over the features of each example of either kind of egs; none: without
        seed: of initialisation, order and augmentation of examples, and dropout
        device: auto is cuda if there is one
        num_threads: CPU threads of each rank; 0: as OMP_NUM_THREADS says (torchrun sets it to 1), else all cores
        reader_threads: threads of each rank that read egs
        augment_jobs: processes of each rank that augment, where training augments waveforms; 0: the cores of the
            machine shared out among its ranks, less one for the training itself, at most 16
        augment_on: where the effects are computed: in those processes, or, as far as they can (noise, rooms, filters,
            gain), for all of a batch at once on the device, for which the processes only read and draw; the same to
            the rounding
        verify: compare the sha256 of all egs with the manifest before the first step
        teacher: a trained network whose outputs and embeddings are learned as well; none: without
        segments: cut crops into segments and learn from these and from their aggregate; none: crops are whole
    """

    batch_size: int = 64
    batches: Literal["auto", "shuffled", "speakers", "pairs"] = "auto"
    utts_per_speaker: int = 2
    max_utts_per_speaker: int = 0
    pair_table: Path | None = None
    min_frames: int = 0
    max_frames: int = 0
    length_step: int = 0
    num_steps: int = 0
    num_epochs: float = 10.0
    optimizer: Literal["sgd", "adam", "adamw", "radam", "adagrad"] = "adamw"
    lr: float = 0.002
    final_lr: float = 1e-5
    schedule: Literal["cosine", "exponential", "constant", "step"] = "cosine"
    milestones: tuple[float, ...] = ()
    step_epochs: float = 0.0
    gamma: float = 0.1
    warmup_steps: int = 100
    warmup_share: float = 0.0
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    decay_all: bool = False
    grad_clip: float = 5.0
    accumulation: int = 1
    amp: Literal["none", "bf16", "fp16", "auto"] = "auto"
    shard_classes: bool = False
    compile: bool = False
    channels_last: bool = True
    deterministic: bool = False
    log_interval: int = 20
    valid_interval: int = 250
    checkpoint_interval: int = 100
    keep: int = 3
    average: int = 3
    keep_best: Literal["none", "eer", "accuracy"] = "none"
    tensorboard: bool = True
    spec_augment: SpecAugmentOptions | None = None
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_threads: int = 0
    reader_threads: int = 1
    augment_jobs: int = 0
    augment_on: Literal["processes", "device"] = "processes"
    verify: bool = False
    teacher: TeacherOptions | None = None
    segments: SegmentOptions | None = None

    def __post_init__(self) -> None:
        if self.num_steps < 0 or not (self.num_steps or self.num_epochs > 0):
            raise DataError("train: num_steps or num_epochs must be above 0")
        for name in ("batch_size", "accumulation", "log_interval", "checkpoint_interval", "average"):
            if getattr(self, name) < 1:
                raise DataError(f"train: {name} is {getattr(self, name)}; it must be at least 1")
        if self.valid_interval < 0:
            raise DataError(f"train: valid_interval is {self.valid_interval}; it must not be below 0")
        if self.keep < self.average:
            raise DataError(f"train: {self.average} checkpoints cannot be averaged if {self.keep} are kept")
        if self.lr <= 0 or not 0 <= self.final_lr <= self.lr:
            raise DataError(f"train: lr {self.lr} and final_lr {self.final_lr} must be 0 <= final_lr <= lr, lr above 0")
        if self.schedule == "exponential" and not self.final_lr:
            raise DataError("train: an exponential schedule never reaches final_lr 0")
        self._check_step()
        if self.warmup_steps < 0 or not 0 <= self.warmup_share < 1:
            text = f"warmup_steps is {self.warmup_steps}, warmup_share {self.warmup_share}"
            raise DataError(f"train: {text}; one must not be below 0, the other be from 0 to below 1")
        if self.warmup_steps and self.warmup_share:
            raise DataError("train: warmup_steps and warmup_share are two ways of saying how long; one must be 0")
        if self.reader_threads < 1 or self.augment_jobs < 0:
            raise DataError("train: reader_threads must be at least 1, and augment_jobs 0 or more")
        if self.length_step < 0:
            raise DataError(f"train: length_step is {self.length_step}; it must not be below 0")
        if self.seed < 0:
            raise DataError(f"train: seed is {self.seed}; it must not be below 0")
        if self.teacher is not None and self.teacher.level != "utterance" and self.segments is None:
            raise DataError(f"teacher: level is {self.teacher.level}, but crops are not cut into segments")
        if self.segments is not None and not self.segments.same_aug and self.spec_augment is None:
            raise DataError("segments: same_aug is false, but without spec_augment segments have no draw of their own")
        self.batch_options.check_parts(self.batch_size, self.accumulation)

    def _check_step(self) -> None:
        if (self.schedule == "step") != bool(self.milestones or self.step_epochs):
            raise DataError("train: schedule step goes with milestones or step_epochs, and no other schedule does")
        if self.milestones and self.step_epochs:
            raise DataError("train: milestones and step_epochs are two ways of saying when; give one")
        times = (0.0, *self.milestones)
        if self.step_epochs < 0 or any(late <= early for early, late in pairwise(times)):
            raise DataError(f"train: milestones {list(self.milestones)} must rise from above 0, step_epochs be above 0")
        if not 0 < self.gamma <= 1:
            raise DataError(f"train: gamma is {self.gamma}; it must be above 0 and at most 1")

    @property
    def batch_options(self) -> BatchOptions:
        """The options of the batches; while they are still `auto`, shuffled ones."""
        kind = "shuffled" if self.batches == "auto" else self.batches
        most = 0 if self.batches == "auto" else self.max_utts_per_speaker
        table = None if self.batches == "auto" else self.pair_table
        frames = self.min_frames, self.max_frames
        return BatchOptions(kind, self.utts_per_speaker, most, *frames, pair_table=table)

    def batches_on(self, device_type: str) -> BatchOptions:
        """The options of the batches on "cpu" or "cuda"."""
        searches = device_type == "cuda" and not self.deterministic
        return replace(self.batch_options, length_step=self.length_step or (GPU_LENGTH_STEP if searches else 1))

    def augment_jobs_of(self, num_cores: int, num_ranks: int) -> int:
        """Processes that augment for one of NUM_RANKS on a machine of NUM_CORES."""
        return self.augment_jobs or min(max(num_cores // num_ranks - 1, 1), 16)

    def for_objective(self, needed: Literal["any", "speakers", "pairs"]) -> Self:
        """With `batches` as an objective needs them.

        Raises:
            DataError: they were asked for otherwise, or cannot be with the other options
        """
        if needed != "any" and self.batches not in ("auto", needed):
            raise DataError(
                f"train: batches is {self.batches}, but the objective needs {needed}; auto is what it needs"
            )
        kind = self.batches if self.batches != "auto" else "shuffled" if needed == "any" else needed
        return replace(self, batches=kind)


@dataclass(frozen=True)
class StartOptions:
    """What training begins with, and what of it changes how fast.

    Args:
        init_model: a trained model: the directory that steps/train.py wrote
        init_parts: which of its parts training begins with: network, objective
        freeze: parts that stay as they are: objective, network, trunk, poolings, segment, or any module below them
            (trunk.layers.0); norms: all normalisation layers with their statistics; statistics: the running means and
            variances of BatchNorm alone. Both can be of a part: trunk.norms
        lr_scale: the learning rate of parts, named in the same way, times a factor
        init_classes: class weights of speakers that init_model does not know: centroids of their embeddings, or random;
            auto: centroids, if there is a trained network to embed with
        objective_args: changes to the arguments of the objective, such as its margin
    """

    init_model: Path | None = None
    init_parts: tuple[str, ...] = PARTS
    freeze: tuple[str, ...] = ()
    lr_scale: dict[str, float] = field(default_factory=dict)
    init_classes: Literal["auto", "random", "centroids"] = "auto"
    objective_args: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.init_parts:
            if name not in PARTS:
                raise DataError(f"init_parts: '{name}' is not one of {', '.join(PARTS)}{did_you_mean(name, PARTS)}")
        if not self.init_parts:
            raise DataError(f"init_parts: one or more of {', '.join(PARTS)}")
        if self.freeze and self.init_model is None:
            raise DataError("freeze: what is frozen never learns, so it must come from a model: give --init-model DIR")
        for name, factor in self.lr_scale.items():
            if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < math.inf:
                raise DataError(f"lr_scale: {name}={factor}; it must be a number above 0 (--freeze for none at all)")

    def check_target(self, model_dir: Path) -> None:
        """Raises DataError if MODEL_DIR, where the new model goes, is the initial one."""
        if self.init_model is not None and self.init_model.resolve() == model_dir.resolve():
            raise DataError("training begins with this model, and another folder is needed for the new one", model_dir)

    @property
    def takes_network(self) -> bool:
        """The network begins as that of init_model."""
        return self.init_model is not None and "network" in self.init_parts

    @property
    def takes_objective(self) -> bool:
        """The objective begins as that of init_model, as far as it is of its kind."""
        return self.init_model is not None and "objective" in self.init_parts


def read_names(text: str) -> tuple[str, ...]:
    """The names in TEXT, "trunk,objective"."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def read_factors(text: str) -> dict[str, float]:
    """The numbers in TEXT, "trunk=0.1,segment=0.5", by name.

    Raises:
        DataError: it is not written so
    """
    factors = {}
    for word in read_names(text):
        name, _, number = word.partition("=")
        try:
            factors[name.strip()] = float(number)
        except ValueError:
            raise DataError(f"lr_scale: '{word}' is not NAME=NUMBER, such as trunk=0.1") from None
    return factors
