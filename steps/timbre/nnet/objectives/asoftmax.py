"""Softmax with a multiplicative margin on the angle, which comes in little by little."""

from dataclasses import dataclass

import torch
from torch import Tensor

from timbre.nnet.objectives.margin import AngularSoftmax
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class Annealing:
    """How lambda, the weight of the plain cosine beside the margin, falls: start / (1 + gamma * step)^power.

    Args:
        start: its value at step 0
        gamma: how soon it falls
        power: how steeply
        least: it does not fall below
    """

    start: float = 1500.0
    gamma: float = 0.1
    power: float = 1.0
    least: float = 5.0

    def __post_init__(self) -> None:
        if min(self.start, self.gamma, self.power, self.least) < 0:
            raise DataError(
                f"annealing with start {self.start}, gamma {self.gamma}, power {self.power} and least {self.least}; "
                "none may be below 0"
            )

    def at(self, step: int) -> float:
        """Its value at STEP."""
        return max(self.least, float(self.start / (1 + self.gamma * step) ** self.power))


class ASoftmax(AngularSoftmax):
    """A-softmax (SphereFace: Liu et al. 2017, arXiv 1704.08063): the angle to the target counts m times.

    Logits are |x| cos(theta), of class weights of length 1; that of the target is
    |x| (lambda cos(theta) + psi(theta)) / (1 + lambda), where psi(theta) = (-1)^k cos(m theta) - 2k for theta from
    k pi / m to (k + 1) pi / m: cos(m theta), continued so that it falls all the way to pi.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of classes
        margin: m, 1 or more
        annealing: how lambda falls
    """

    def __init__(
        self, embedding_dim: int, num_speakers: int, margin: int = 3, annealing: Annealing = Annealing()
    ) -> None:
        super().__init__(embedding_dim, num_speakers)
        if margin < 1:
            raise DataError(f"ASoftmax: margin is {margin}; it must be at least 1")
        self.margin, self.annealing = margin, annealing
        self.damping: Tensor
        self.register_buffer("damping", torch.tensor(0.0))  # lambda; see WarmMargin for why it is a buffer
        self.bounds: Tensor
        bounds = torch.cos(torch.pi / margin * torch.arange(1, margin))
        self.register_buffer("bounds", bounds, persistent=False)  # cosines of the angles where k rises
        self.update(0, 0)

    def update(self, step: int, num_steps: int) -> None:
        """Sets lambda to what the annealing says for STEP."""
        self.damping.fill_(self.annealing.at(step))

    @property
    def current_margin(self) -> float:
        """The m for which cos(m theta) is, at small angles, what the target has now."""
        damping = float(self.damping)
        return float(((damping + self.margin**2) / (1 + damping)) ** 0.5)

    def lengths(self, embeddings: Tensor) -> Tensor:
        """Their own."""
        lengths: Tensor = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
        return lengths

    def with_margin(self, cosines: Tensor) -> Tensor:
        """psi and the cosine, weighted 1 : lambda."""
        return (self.damping * cosines + self.psi(cosines)) / (self.damping + 1)

    def psi(self, cosines: Tensor) -> Tensor:
        """psi(theta) of COSINES (B, 1); without acos, whose gradient is infinite at +-1."""
        before, multiple = torch.ones_like(cosines), cosines
        for _ in range(self.margin - 1):  # cos((n + 1) theta) = 2 cos(theta) cos(n theta) - cos((n - 1) theta)
            before, multiple = multiple, 2 * cosines * multiple - before
        turns = (cosines < self.bounds).sum(1, keepdim=True)  # k
        return multiple * (1 - 2 * (turns % 2)) - 2 * turns
