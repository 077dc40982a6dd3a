"""Adaptation of a whole back-end to another domain: its mean, then its model. Called by adapt_plda.py."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from timbre.backend.backends import Backend, CosineBackend, PldaBackend
from timbre.backend.plda import Plda, train_plda
from timbre.backend.plda_adapt import adapt_plda, coral, coral_plus, interpolate
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.vectors import Embeddings, Side, Vectors
from timbre.utils.errors import DataError

_DEFAULTS: dict[str, dict[str, Any]] = {
    "kaldi": {"mean_diff_scale": 1.0, "within_covar_scale": 0.75, "between_covar_scale": 0.25},
    "coral": {},
    "coral+": {"within_covar_scale": 0.8, "between_covar_scale": 0.8},
    "lip": {"weight": 0.5, "regularize": False},
    "cip": {"weight": 0.5, "regularize": False},
    "mean": {},
}
_SUPERVISED = ("lip", "cip")


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
    backend: Backend, adapt_scp: Path, method: str, weights: Mapping[str, Any], utt2spk: Path | None = None
) -> Backend:
    """BACKEND for the domain of the embeddings in ADAPT_SCP.

    Args:
        backend: that of the old domain
        adapt_scp: embeddings of the new one; their mean becomes what is subtracted, if anything was
        method: as adapt_plda.py describes them
        weights: its own, as weights_of makes them
        utt2spk: speakers of the embeddings, which some methods need

    Raises:
        DataError: METHOD is not for cosine, there is no UTT2SPK, the embeddings do not suffice or do not fit
    """
    if (method in _SUPERVISED) != (utt2spk is not None):
        needs = "needs" if method in _SUPERVISED else "has no use for"
        raise DataError(f"{method} {needs} the speakers of the embeddings (--utt2spk)")
    embeddings = Embeddings.read(adapt_scp)
    mean = None if backend.projection.mean is None else embeddings.mean()
    projection = replace(backend.projection, mean=mean)
    if not isinstance(backend, PldaBackend):
        if method != "mean" or not isinstance(backend, CosineBackend):
            raise DataError(f"{method} is for PLDA; of cosine only the mean can be adapted (--method mean)")
        if mean is None:
            raise DataError("the back-end subtracts no mean: there is nothing to adapt")
        return replace(backend, projection=projection)
    projected = projection.apply(Side.single(embeddings.ids, embeddings.matrix, adapt_scp))
    stats = None if utt2spk is None else SpeakerStats.collect(projected, embeddings.speakers(utt2spk), utt2spk)
    try:
        plda = _adapted(backend.plda, projected, stats, method, weights)
    except DataError as error:
        raise DataError(error.message, error.path or adapt_scp) from error
    settings = {**backend.settings, "adaptation": {"method": method, **weights}}
    return replace(backend, projection=projection, plda=plda, settings=settings)


def _adapted(plda: Plda, vectors: Vectors, stats: SpeakerStats | None, method: str, weights: Mapping[str, Any]) -> Plda:
    if stats is not None:
        outside = plda if method == "lip" else coral(plda, vectors)
        return interpolate(train_plda(stats), outside, **weights)
    if method == "kaldi":
        return adapt_plda(plda, vectors, **weights)
    if method == "mean":
        return replace(plda, mean=vectors.mean(axis=0, dtype="float64"))
    return coral_plus(plda, vectors, **weights) if method == "coral+" else coral(plda, vectors)
