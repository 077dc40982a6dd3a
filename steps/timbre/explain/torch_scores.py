"""The score of a trial as a function of its embeddings that has a gradient: cosine and PLDA of backend/, in torch."""

import torch
from torch import Tensor
from torch.nn import functional

from timbre.backend.backends import Backend, CosineBackend, PldaBackend
from timbre.backend.plda import Plda
from timbre.backend.vectors import Floats, Projection
from timbre.utils.errors import DataError


class TorchBackend:
    """Scores of BACKEND, which are the library's to float32 rounding.

    Raises:
        DataError: it is of a kind that has no such form
    """

    def __init__(self, backend: Backend) -> None:
        if not isinstance(backend, CosineBackend | PldaBackend):
            raise DataError(f"{type(backend).__name__}: its scores have no gradient here; cosine and PLDA do")
        self._projection = backend.projection
        self._plda: Plda | None = None
        if isinstance(backend, PldaBackend):
            self._options = backend.options
            smoothing = backend.options.smoothing
            self._plda = backend.plda.smooth(smoothing) if smoothing else backend.plda

    def __call__(self, enroll: Tensor, num_utts: int, test: Tensor) -> Tensor:
        """Scores (B,) float64 of ENROLL (B, D), each the mean of NUM_UTTS embeddings, against TEST (B, D).

        A side may have one row where the other has B.
        """
        left, right = (_project(self._projection, side.double()) for side in (enroll, test))
        if self._plda is None:
            return (left * right).sum(1)
        return _log_likelihood_ratio(self._plda, self._latent(left, num_utts), num_utts, self._latent(right, 1))

    def _latent(self, vectors: Tensor, num_utts: int) -> Tensor:
        """See Plda.latent."""
        assert self._plda is not None
        plda = self._plda
        latent = (vectors - _tensor(plda.mean, vectors)) @ _tensor(plda.transform, vectors).T
        if not self._options.normalize_length:
            return latent
        psi = _tensor(plda.psi, vectors)
        variance = torch.ones_like(psi) if self._options.simple_length_normalization else psi + 1 / num_utts
        return latent * (plda.dim / (latent**2 / variance).sum(1, keepdim=True)).sqrt()


def _tensor(array: Floats, like: Tensor) -> Tensor:
    return torch.from_numpy(array.copy()).to(like)


def _project(projection: Projection | None, vectors: Tensor) -> Tensor:
    """See Projection.apply."""
    while projection is not None:
        dim = vectors.shape[1]
        if projection.mean is not None:
            vectors = vectors - _tensor(projection.mean, vectors)
        if projection.transform is not None:
            transform = _tensor(projection.transform, vectors)
            vectors = vectors @ transform[:, :dim].T + transform[:, dim:].sum(1)
        if projection.length != "as_is":
            length = 1.0 if projection.length == "unit" else vectors.shape[1] ** 0.5
            vectors = length * functional.normalize(vectors, dim=1)
        projection = projection.then
    return vectors


def _log_likelihood_ratio(plda: Plda, enroll: Tensor, num_utts: int, test: Tensor) -> Tensor:
    """See Plda.factors: the difference of the log densities of TEST given ENROLL, and given nobody."""
    used = torch.from_numpy(plda.psi > 0)
    psi = _tensor(plda.psi, enroll)[used]
    enroll, test = enroll[:, used], test[:, used]
    shrink = num_utts * psi / (num_utts * psi + 1)
    variance, total = 1 + psi / (num_utts * psi + 1), 1 + psi
    same = -0.5 * (variance.log() + (test - shrink * enroll) ** 2 / variance).sum(1)
    other = -0.5 * (total.log() + test**2 / total).sum(1)
    return same - other
