"""Adaptation of a whole back-end to another domain: its mean, then its model. Called by adapt_plda.py."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from timbre.backend.backends import Backend, CosineBackend, PldaBackend
from timbre.backend.plda import Plda, train_plda
from timbre.backend.plda_adapt import adapt_plda, coral, coral_plus, interpolate
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.vectors import Embeddings, Side, Vectors
from timbre.utils.errors import DataError

log = logging.getLogger(__name__)

_DEFAULTS: dict[str, dict[str, Any]] = {
    "kaldi": {"mean_diff_scale": 1.0, "within_covar_scale": 0.75, "between_covar_scale": 0.25},
    "coral": {},
    "coral+": {"within_covar_scale": 0.8, "between_covar_scale": 0.8},
    "lip": {"weight": 0.5, "regularize": False},
    "cip": {"weight": 0.5, "regularize": False},
    "mean": {},
}
_SUPERVISED = ("lip", "cip")


@dataclass(frozen=True)
class FewUtts:
    """What is made of few utterances, for methods without speakers; without these options they are taken at their word.

    Args:
        prior_utts: the mean of n utterances has weight n / (n + prior_utts), that of the old domain the rest
        covar_prior_utts: the same of their covariance
        min_utts: of fewer utterances, or no more than the model has dimensions, only the mean is taken; 0: never
    """

    prior_utts: float = 0.0
    covar_prior_utts: float = 0.0
    min_utts: int = 0

    def __post_init__(self) -> None:
        for name in ("prior_utts", "covar_prior_utts", "min_utts"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise DataError(f"{name} is {getattr(self, name):g}; it must be 0 or more")

    def method(self, method: str, number: int, dim: int) -> str:
        """METHOD, or "mean" where NUMBER utterances are too few for a model of DIM dimensions to follow."""
        least = max(self.min_utts, dim + 1) if self.min_utts else 0
        if method == "mean" or number >= least:
            return method
        text = "only the mean is adapted: %d utterances, and %s takes %d in %d dimensions"
        log.warning(text, number, method, least, dim)
        return "mean"


def weights_of(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The weights of METHOD: those GIVEN that are not None, otherwise its defaults.

    Raises:
        DataError: METHOD has none of a name
    """
    weights = {name: value for name, value in given.items() if value is not None}
    unknown = [name for name in weights if name not in _DEFAULTS[method]]
    if unknown:
        raise DataError(f"{method} has no {unknown[0]}; it has {', '.join(_DEFAULTS[method]) or 'no weights'}")
    return _DEFAULTS[method] | weights


def adapt_backend(
    backend: Backend,
    adapt_scp: Path,
    method: str,
    weights: Mapping[str, Any],
    utt2spk: Path | None = None,
    few: FewUtts = FewUtts(),
) -> Backend:
    """BACKEND for the domain of the embeddings in ADAPT_SCP.

    Args:
        backend: that of the old domain
        adapt_scp: embeddings of the new one; their mean becomes what is subtracted, if anything was
        method: as adapt_plda.py describes them
        weights: its own, as weights_of makes them
        utt2spk: speakers of the embeddings, which some methods need
        few: what is made of few embeddings

    Raises:
        DataError: METHOD is not for cosine, there is no UTT2SPK, the embeddings do not suffice or do not fit
    """
    if method in _SUPERVISED and few != FewUtts():
        raise DataError(f"{method} has its own weight, and no prior_utts, covar_prior_utts or min_utts")
    if (method in _SUPERVISED) != (utt2spk is not None):
        needs = "needs" if method in _SUPERVISED else "has no use for"
        raise DataError(f"{method} {needs} the speakers of the embeddings (--utt2spk)")
    embeddings = Embeddings.read(adapt_scp)
    number, old = len(embeddings.ids), backend.projection.mean
    if number < 2:
        raise DataError("adaptation takes two embeddings at least, and there is one", adapt_scp)
    mean = None if old is None else embeddings.mean()
    if old is not None and len(old) != embeddings.dim:
        raise DataError(f"the mean has dimension {len(old)}, the vectors have {embeddings.dim}", adapt_scp)
    weight = number / (number + few.prior_utts)
    if few.prior_utts:
        log.info("the mean of %d utterances has weight %.2f", number, weight)
    projection = replace(backend.projection, mean=mean)
    shrunk = projection if mean is None or old is None else replace(projection, mean=weight * mean + (1 - weight) * old)
    if not isinstance(backend, PldaBackend):
        if method != "mean" or not isinstance(backend, CosineBackend):
            raise DataError(f"{method} is for PLDA; of cosine only the mean can be adapted (--method mean)")
        if mean is None:
            raise DataError("the back-end subtracts no mean: there is nothing to adapt")
        return replace(backend, projection=shrunk, settings={**backend.settings, **_told("mean", {}, few)})
    projected = projection.apply(Side.single(embeddings.ids, embeddings.matrix, adapt_scp))
    stats = None if utt2spk is None else SpeakerStats.collect(projected, embeddings.speakers(utt2spk), utt2spk)
    if (chosen := few.method(method, number, backend.plda.dim)) != method:
        method, weights = chosen, weights_of(chosen, {})
    elif few.covar_prior_utts and method != "mean":
        weights = {**weights, "prior_utts": few.covar_prior_utts}
        text = "the covariance of %d utterances has weight %.2f"
        log.info(text, number, number / (number + few.covar_prior_utts))
    try:
        plda = _adapted(backend.plda, projected, stats, method, weights)
    except DataError as error:
        raise DataError(error.message, error.path or adapt_scp) from error
    if few.prior_utts:
        plda = replace(plda, mean=weight * plda.mean + (1 - weight) * backend.plda.mean)
    settings = {**backend.settings, **_told(method, weights, few)}
    return replace(backend, projection=shrunk, plda=plda, settings=settings)


def _told(method: str, weights: Mapping[str, Any], few: FewUtts) -> dict[str, Any]:
    """What backend.yaml says of an adaptation."""
    return {"adaptation": {"method": method, **weights, **({"few": asdict(few)} if few != FewUtts() else {})}}


def _adapted(plda: Plda, vectors: Vectors, stats: SpeakerStats | None, method: str, weights: Mapping[str, Any]) -> Plda:
    if stats is not None:
        outside = plda if method == "lip" else coral(plda, vectors)
        return interpolate(train_plda(stats), outside, **weights)
    if method == "kaldi":
        return adapt_plda(plda, vectors, **weights)
    if method == "mean":
        return replace(plda, mean=vectors.mean(axis=0, dtype="float64"))
    return (coral_plus if method == "coral+" else coral)(plda, vectors, **weights)
