"""What a training step runs: network and objective as one module, what a teacher adds. Used by loop.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.network import SpeakerNetwork
from timbre.nnet.objectives import Objective, WeightedSum, build_objective
from timbre.nnet.options import SegmentOptions
from timbre.nnet.segments import aggregate
from timbre.training.distributed import gather_rows
from timbre.training.options import TeacherOptions, TrainOptions
from timbre.utils.errors import DataError

Taught = tuple[Tensor, Tensor | None]  # of a teacher: embeddings (B, D), log probabilities (B, num_speakers)


class TrainingModule(nn.Module):
    """Network and objective as one module, so that DistributedDataParallel and torch.compile see both.

    Args:
        network: makes the embeddings
        objective: judges them
        gathers: the embeddings of all ranks are judged together, as if there were one
        segments: how examples are cut up, if they are
        segment_objective: judges the segments; None: objective does
        teacher: what counts of a teacher, if there is one
        teacher_map: what embeddings go through before they are compared with the teacher's
    """

    def __init__(
        self,
        network: SpeakerNetwork,
        objective: Objective,
        gathers: bool = False,
        segments: SegmentOptions | None = None,
        segment_objective: Objective | None = None,
        teacher: TeacherOptions | None = None,
        teacher_map: nn.Linear | None = None,
    ) -> None:
        super().__init__()
        self.network, self.objective, self.gathers = network, objective, gathers
        self.segments, self.teacher = segments, teacher
        self.extras = nn.ModuleDict()  # what is trained beside network and objective
        if segment_objective is not None:
            self.extras["segment_objective"] = segment_objective
        if teacher_map is not None:
            self.extras["teacher_map"] = teacher_map
        terms = [module for module in self.modules() if isinstance(module, Objective)]
        comparing = [term for term in terms if not term.classifies and not isinstance(term, WeightedSum)]
        self._comparing = [parameter for term in comparing for parameter in term.parameters()]

    def forward(self, feats: Tensor, labels: Tensor, taught: Taught | None = None) -> tuple[Tensor, Tensor]:
        """Loss, and the share of the examples (or pairs) that the objective finds right; NaN if it does not say.

        Args:
            feats: (B, T, F), or (B, N, L, F) of segments
            labels: (B,) int64
            taught: what the teacher makes of them
        """
        if feats.dim() == 3 or self.segments is None:
            embeddings, codes = self.network(feats), []
            loss, correct = self._judge(self.objective, embeddings, labels)
        else:
            embeddings, segments = aggregate(self.network, feats, self.segments.kind)
            codes = list(segments.unbind(1))
            loss, correct = self._judge(self.objective, embeddings, labels)
            # by 0, not left out: DistributedDataParallel waits for the gradients of this objective in any case
            loss = loss * float(self.segments.agg_ce)
            for code in codes:
                loss = loss + self._judge(self._segment_objective, code, labels)[0]
        # What compares examples may find none to compare, on one rank alone; but DistributedDataParallel waits for
        # every gradient of every rank. A classifier, with its many weights, has them anyway.
        loss = loss + 0 * sum((parameter.sum() for parameter in self._comparing), embeddings.sum())
        if self.teacher is not None and taught is not None:
            loss = self.teacher.ce * loss
            if self.teacher.level != "segment":
                loss = loss + self._distance(self.teacher, self.objective, embeddings, taught)
            if self.teacher.level != "utterance":
                for code in codes:
                    loss = loss + self._distance(self.teacher, self._segment_objective, code, taught)
        return loss, loss.new_full((), torch.nan) if correct is None else correct.float().mean()

    @property
    def _segment_objective(self) -> Objective:
        own = self.extras["segment_objective"] if self.segments is not None and self.segments.heads == 2 else None
        return own if isinstance(own, Objective) else self.objective

    def _judge(self, objective: Objective, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.gathers:
            embeddings, labels = gather_rows(embeddings), gather_rows(labels)
        loss: tuple[Tensor, Tensor | None] = objective(embeddings, labels)
        return loss

    def _distance(self, teacher: TeacherOptions, objective: Objective, embeddings: Tensor, taught: Taught) -> Tensor:
        """How far EMBEDDINGS (B, D) and their outputs by OBJECTIVE are from what is TAUGHT, float32."""
        wanted, log_probs = taught
        loss = embeddings.new_zeros((), dtype=torch.float32)
        with torch.autocast(embeddings.device.type, enabled=False):
            if log_probs is not None:
                loss = loss + teacher.kld * divergence(objective.outputs(embeddings), log_probs, teacher.tau)
            if teacher.cosine:
                mapped = self.extras["teacher_map"](embeddings.float()) if "teacher_map" in self.extras else embeddings
                loss = loss + teacher.cosine * cosine_distance(mapped.float(), wanted)
        return loss


def build_module(
    network: SpeakerNetwork,
    objective: Objective,
    num_speakers: int,
    options: TrainOptions,
    gathers: bool = False,
    teacher_dim: int | None = None,
) -> TrainingModule:
    """The module of OPTIONS: NETWORK, OBJECTIVE, and what segments and a teacher need beside them.

    Args:
        network: is told how to cut up utterances
        objective: is told how long embeddings are
        num_speakers: number of classes
        options: of training
        gathers: as of TrainingModule
        teacher_dim: size of the teacher's embeddings, if there is one

    Raises:
        DataError: they do not go together
    """
    segments, teacher = options.segments, options.teacher
    own, linear = None, None
    if segments is not None:
        network.segments, objective.input_length = segments, segments.code_length
        if segments.heads == 2:
            if objective.shard is not None:
                raise DataError("train: shard_classes does not go with segments that have a head of their own")
            own = build_objective(objective.config, network.embedding_dim, num_speakers, options.utts_per_speaker)
            own.input_length = segments.code_length
    if teacher is not None and teacher.kld:
        if not objective.classifies:
            name = objective.config["class_path"]
            raise DataError(f"teacher: kld compares outputs, and {name} has none; kld 0 leaves the embeddings")
        if objective.shard is not None:
            raise DataError("train: shard_classes does not go with kld, which sees the outputs of all classes")
    if teacher is not None and teacher.cosine and teacher_dim is not None:
        if teacher.map == "never" and teacher_dim != network.embedding_dim:
            raise DataError(
                f"teacher: its embeddings have {teacher_dim} dimensions, the student's {network.embedding_dim}, and "
                "map is never; map auto puts a linear map between them"
            )
        if teacher.map == "always" or teacher_dim != network.embedding_dim:
            linear = nn.Linear(network.embedding_dim, teacher_dim, bias=False)
    return TrainingModule(network, objective, gathers, segments, own, teacher, linear)


def divergence(outputs: Tensor, log_probs: Tensor, tau: float) -> Tensor:
    """Mean over a batch of KL(p || softmax(OUTPUTS / TAU)), for logits and LOG_PROBS of p, (B, C) both."""
    return functional.kl_div(
        functional.log_softmax(outputs / tau, 1), log_probs, reduction="batchmean", log_target=True
    )


def cosine_distance(embeddings: Tensor, wanted: Tensor) -> Tensor:
    """Mean over a batch of 1 - cos(EMBEDDINGS, WANTED), (B, D) both."""
    return (1 - functional.cosine_similarity(embeddings, wanted)).mean()
