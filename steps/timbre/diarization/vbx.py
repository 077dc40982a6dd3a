"""VBx: a Bayesian hidden Markov model over the windows of a recording, whose states are speakers.

Landini, Profant, Diez, Burget: Bayesian HMM clustering of x-vector sequences (VBx) in speaker diarization, Computer
Speech & Language 2022; numbers in brackets are its equations. Called by resegment_vbx.py.
"""

from dataclasses import dataclass

import numpy as np

from timbre.backend.vectors import Floats, Ints
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class VbxOptions:
    """Scales and probabilities of VBx.

    Args:
        fa: scale of the windows' likelihoods; below 1 since neighbouring windows are not independent
        fb: scale of the speakers' prior; higher drops more speakers. What is best depends much on the length of the
            recordings: tune both scales on some that are as long
        loop: probability of staying with the same speaker from one window to the next
        dim: dimensions of PLDA, those that tell speakers apart best, that are looked at; 0 for all
        smoothing: how sure the first labels are: their speaker is exp(SMOOTHING) times as likely as another
        max_iters: iterations at most
        tolerance: they end when the bound rises by less than this
    """

    fa: float = 0.3
    fb: float = 17.0
    loop: float = 0.9
    dim: int = 0
    smoothing: float = 5.0
    max_iters: int = 40
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("fa", "fb"):
            if not getattr(self, name) > 0:
                raise DataError(f"vbx: {name} is {getattr(self, name):g}; it must be above 0")
        if not 0 <= self.loop <= 1:
            raise DataError(f"vbx: loop is {self.loop:g}; it must lie between 0 and 1")
        if self.dim < 0 or self.smoothing < 0 or self.max_iters < 1:
            raise DataError("vbx: dim >= 0, smoothing >= 0 and max_iters >= 1 are wanted")


@dataclass(frozen=True)
class VbxResult:
    """gamma: (T, S) probability that each speaker speaks in each window; priors: (S,); elbo: bound by iteration."""

    gamma: Floats
    priors: Floats
    elbo: list[float]

    def labels(self) -> Ints:
        """The likeliest speaker of each window, (T,), numbered from 1 in the order in which they appear."""
        _, first, inverse = np.unique(self.gamma.argmax(axis=1), return_index=True, return_inverse=True)
        numbers: Ints = 1 + np.argsort(np.argsort(first))[inverse].astype(np.int64)
        return numbers


def vbx(windows: Floats, psi: Floats, gamma: Floats, options: VbxOptions = VbxOptions()) -> VbxResult:
    """Variational inference from first responsibilities GAMMA on; speakers that are not needed lose theirs.

    Args:
        windows: (T, D) by time, in the basis of PLDA in which the covariance within speakers is the identity
        psi: (D,) covariance between speakers there
        gamma: (T, S) first probabilities of the speakers
        options: scales, loop probability, when to stop
    """
    projected = windows * np.sqrt(psi)  # rho [16]
    constant = -0.5 * (np.square(windows).sum(axis=1) + windows.shape[1] * np.log(2 * np.pi))
    priors = np.full(gamma.shape[1], 1 / gamma.shape[1])
    ratio = options.fa / options.fb
    elbo: list[float] = []
    for _ in range(options.max_iters):
        variance = 1 / (1 + ratio * gamma.sum(axis=0)[:, None] * psi)  # (S, D), inverse of L [17]
        mean = ratio * variance * (gamma.T @ projected)  # alpha [16]
        energy = (variance + np.square(mean)) @ psi
        log_likelihood = options.fa * (projected @ mean.T - 0.5 * energy + constant[:, None])  # [23]
        gamma, total, entered = forward_backward(log_likelihood, priors, options.loop)
        prior_term = 0.5 * (np.log(variance) - variance - np.square(mean) + 1).sum()
        elbo.append(total + options.fb * float(prior_term))  # [25]
        priors = entered / entered.sum()  # [24]
        if len(elbo) > 1 and elbo[-1] - elbo[-2] < options.tolerance:
            break
    return VbxResult(gamma, priors, elbo)


def forward_backward(log_likelihood: Floats, priors: Floats, loop: float) -> tuple[Floats, float, Floats]:
    """Posteriors of the states of the model, of all windows together.

    From one window to the next the speaker stays with probability LOOP, or is drawn from PRIORS (the same one again,
    perhaps); the first one is drawn from PRIORS.

    Args:
        log_likelihood: (T, S) of each window by each speaker
        priors: (S,)
        loop: probability of staying

    Returns:
        gamma (T, S), log-likelihood of all windows, and how often each speaker is drawn, expected, (S,)
    """
    with np.errstate(divide="ignore"):
        log_priors, log_loop, log_draw = np.log(priors), np.log(loop), np.log1p(-loop)
    forward = np.empty_like(log_likelihood)  # log p(windows up to t, speaker of t)
    totals = np.empty(len(forward))
    forward[0] = log_priors + log_likelihood[0]
    totals[0] = np.logaddexp.reduce(forward[0])
    for t in range(1, len(forward)):
        forward[t] = np.logaddexp(forward[t - 1] + log_loop, totals[t - 1] + log_draw + log_priors) + log_likelihood[t]
        totals[t] = np.logaddexp.reduce(forward[t])
    backward = np.zeros_like(forward)  # log p(windows after t | speaker of t)
    for t in range(len(forward) - 2, -1, -1):
        after = backward[t + 1] + log_likelihood[t + 1]
        backward[t] = np.logaddexp(after + log_loop, np.logaddexp.reduce(after + log_priors) + log_draw)
    total = float(totals[-1])
    gamma = np.exp(forward + backward - total)
    drawn = np.exp(totals[:-1, None] + log_draw + log_priors + log_likelihood[1:] + backward[1:] - total)
    return gamma, total, gamma[0] + drawn.sum(axis=0)


def from_labels(labels: Ints, smoothing: float) -> Floats:
    """First probabilities of the speakers, (T, S), of LABELS (T,)."""
    _, numbers = np.unique(labels, return_inverse=True)
    gamma = np.exp(smoothing * (numbers[:, None] == np.arange(numbers.max() + 1)))
    result: Floats = gamma / gamma.sum(axis=1, keepdims=True)
    return result
