"""Prior-weighted logistic regression in double precision: what calibration and fusion are trained by.

Of the features of trials, (N, K); its value is a natural-log likelihood ratio. Called by calibration.py of the recipe,
and by own_calibration.py.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from timbre.utils.errors import DataError

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_MAX_ITERS = 100
_TOLERANCE = 1e-10  # of the gradient; the objective is at most log 2


def expit(log_odds: Floats) -> Floats:
    """1 / (1 + exp(-LOG_ODDS))."""
    with np.errstate(over="ignore"):  # of what is as good as 0
        posterior: Floats = 1 / (1 + np.exp(-np.asarray(log_odds, np.float64)))
    return posterior


def logit(probability: float) -> float:
    """The natural logarithm of the odds of PROBABILITY, above 0 and below 1."""
    return float(np.log(probability) - np.log1p(-probability))


def fit_logistic(
    features: Floats,
    target: Bools,
    prior: float,
    ridge: float = 1e-6,
    expit: Callable[[Floats], Floats] = expit,
    logit: Callable[[float], float] = logit,
) -> tuple[float, Floats]:
    """Offset and weights (K,) with which offset + FEATURES @ weights are log-likelihood ratios at best.

    Minimises the cross-entropy of the posteriors at the target PRIOR, each class weighted to that prior whatever its
    number of trials (Bruemmer and du Preez 2006), plus RIDGE / 2 times the squared weights of the features scaled to
    unit variance under the same weighting: convex, by Newton's method with halved steps. The ridge is what bounds the
    weights where the classes can be separated; it decides between features that say the same; and a feature that never
    varies gets the weight 0.

    Args:
        features: (N, K) finite
        target: (N,)
        prior: of a target, above 0 and below 1
        ridge: above 0
        expit, logit: those of another library, whose last bits are to be kept

    Raises:
        DataError: a class has no trial, or an option makes no sense
    """
    if not 0 < prior < 1:
        raise DataError(f"a target prior of {prior}; it must lie between 0 and 1")
    if not ridge > 0:
        raise DataError(f"a ridge of {ridge}; it must be above 0")
    num_target = int(np.count_nonzero(target))
    if not 0 < num_target < len(target):
        missing = "nontarget" if num_target else "target"
        raise DataError(f"none of the {len(target)} trials is a {missing}: calibration needs both kinds")
    trial_weights = np.where(target, prior / num_target, (1 - prior) / (len(target) - num_target))
    mean = trial_weights @ features
    centered = features - mean
    deviation = np.sqrt(trial_weights @ centered**2)
    varies = deviation > 1e-12 * np.maximum(1, np.abs(mean))  # otherwise what is left is rounding
    scale = np.where(varies, deviation, 1.0)
    design = np.column_stack([np.ones(len(features)), np.where(varies, centered / scale, 0)])
    solution = _newton(design, target, trial_weights, ridge, float(logit(prior)), expit)
    weights = solution[1:] / scale
    return float(solution[0] - logit(prior) - weights @ mean), weights


def _newton(
    design: Floats, target: Bools, trial_weights: Floats, ridge: float, start: float, expit: Callable[[Floats], Floats]
) -> Floats:
    """The minimum, from START for the offset and 0 for the weights."""
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0  # of the offset
    solution = np.zeros(design.shape[1])
    solution[0] = start

    def loss(point: Floats) -> float:
        log_odds = design @ point
        losses = np.logaddexp(0, np.where(target, -log_odds, log_odds))
        return float(trial_weights @ losses + 0.5 * penalty @ point**2)

    value = loss(solution)
    for _ in range(_MAX_ITERS):
        posterior = expit(design @ solution)
        gradient = design.T @ (trial_weights * (posterior - target)) + penalty * solution
        if np.abs(gradient).max() < _TOLERANCE:
            break
        curvature = trial_weights * posterior * (1 - posterior)
        hessian = (design.T * curvature) @ design + np.diag(np.maximum(penalty, 1e-14))
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while (new := loss(solution - size * step)) > value - 1e-4 * size * (gradient @ step) and size > 1e-10:
            size /= 2
        if new >= value:
            break  # as low as rounding lets it be
        solution, value = solution - size * step, new
    return solution
