"""Scores as products of two vectors plus a term of each side: projections, cosine and PLDA, in numpy alone.

Called by scorer.py for packs, and by the room backend for trial lists of any size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from timbre.utils.errors import DataError

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Integers = npt.NDArray[np.integer]
T = TypeVar("T", bound=np.generic)
Length = Literal["unit", "sqrt_dim", "as_is"]
LENGTHS: tuple[Length, ...] = ("unit", "sqrt_dim", "as_is")

_ROWS = 8192  # of a working copy in double precision: 16 MB at dim 256


@dataclass(frozen=True)
class Factors:
    """Scores of all pairs in factored form: score(e, t) = left[e] . right[t] + left_bias[e] + right_bias[group[e], t].

    left: (E, D), right: (T, D) float32; left_bias: (E,), right_bias: (G, T) float64; group: (E,) int64, because the
    test side's term of PLDA depends on the number of enrolment utterances.
    """

    left: Vectors
    right: Vectors
    left_bias: Floats
    right_bias: Floats
    group: Ints

    @classmethod
    def dot(cls, left: Vectors, right: Vectors) -> "Factors":
        """Scores that are dot products and nothing more.

        Raises:
            DataError: the two sides are of different dimension
        """
        if left.shape[1] != right.shape[1]:
            raise DataError(f"vectors of dimension {left.shape[1]} on one side and {right.shape[1]} on the other")
        return cls(left, right, np.zeros(len(left)), np.zeros((1, len(right))), np.zeros(len(left), np.int64))

    def terms(self, enroll: Integers, test: Integers) -> Floats:
        """What the scores of pairs (ENROLL[i], TEST[i]) are beside the product, (N,)."""
        right = self.right_bias[0][test] if len(self.right_bias) == 1 else self.right_bias[self.group[enroll], test]
        terms: Floats = self.left_bias[enroll] + right
        return terms


def double_blocks(matrix: Vectors) -> Iterator[tuple[slice, Floats]]:
    """MATRIX (N, D) in double precision, some rows at a time, so that memory stays bounded."""
    for begin in range(0, len(matrix), _ROWS):
        rows = slice(begin, begin + _ROWS)
        yield rows, matrix[rows].astype(np.float64)


def affine(vectors: Floats, mean: Floats | None, transform: Floats | None) -> Floats:
    """VECTORS (N, D) minus MEAN (D,), through TRANSFORM (K, D) or (K, D + 1), the last column of which is an offset."""
    dim = vectors.shape[1]
    if mean is not None:
        vectors = vectors - mean
    if transform is not None:
        offset = transform[:, dim:].sum(axis=1)  # the last column of an affine map, otherwise 0
        vectors = vectors @ transform[:, :dim].T + offset
    return vectors


def scaled(vectors: Floats, norms: Floats, length: Length) -> Floats:
    """VECTORS (N, D) of NORMS (N, 1), none of them 0, brought to length 1 ("unit") or the square root of D."""
    scaled: Floats = vectors * ((1.0 if length == "unit" else vectors.shape[1] ** 0.5) / norms)
    return scaled


@dataclass(frozen=True)
class Latent:
    """A PLDA model in the basis in which the covariance within speakers is the identity, that between them diagonal.

    mean: (D,), of the speakers' means; transform: (D, D) into that basis; psi: (D,) diagonal of B there, descending.
    """

    mean: Floats
    transform: Floats
    psi: Floats

    @property
    def dim(self) -> int:
        """Dimension of the embeddings."""
        return len(self.psi)

    def latent(self, vectors: Vectors, num_utts: Ints, normalize_length: bool = True, simple: bool = False) -> Vectors:
        """VECTORS (N, D), averages of NUM_UTTS (N,) utterances, in the model's basis: (N, D) float32.

        NORMALIZE_LENGTH scales each to the length the model expects of such an average; SIMPLE to the square root of D.
        """
        if vectors.shape[1] != self.dim:
            raise DataError(f"the PLDA model has dimension {self.dim}, the vectors have {vectors.shape[1]}")
        result = np.empty(vectors.shape, np.float32)
        for rows, block in double_blocks(vectors):
            projected = (block - self.mean) @ self.transform.T
            if normalize_length:
                variance = np.ones((1, 1)) if simple else self.psi + 1 / num_utts[rows, None]
                energy = np.sum(projected**2 / variance, axis=1, keepdims=True)
                projected *= np.sqrt(self.dim / np.maximum(energy, np.finfo(np.float64).tiny))
            result[rows] = projected
        return result

    def factors(self, enroll: Vectors, num_utts: Ints, test: Vectors) -> Factors:
        """Log-likelihood ratios of latent ENROLL (E, D), averages of NUM_UTTS (E,), against latent TEST (T, D).

        Given the enrolment vector e of n utterances, a test vector of the same speaker is distributed as
        N(n psi / (n psi + 1) e, 1 + psi / (n psi + 1)), one of another speaker as N(0, 1 + psi). The difference of the
        log densities has a term in e alone, one in the test vector and n, and a product of both vectors. Dimensions in
        which speakers do not differ say nothing.
        """
        used = np.flatnonzero(self.psi) if not self.psi.all() else slice(None)
        enroll, test, psi = enroll[:, used], test[:, used], self.psi[used]
        counts, group = np.unique(num_utts, return_inverse=True)
        shrink = counts[:, None] * psi / (counts[:, None] * psi + 1)  # (G, K)
        variance = 1 + psi / (counts[:, None] * psi + 1)
        total = 1 + psi
        constant = -0.5 * np.log(variance / total).sum(axis=1)
        left = np.empty_like(enroll)
        left_bias = np.empty(len(enroll))
        for rows, block in double_blocks(enroll):
            which = group[rows]
            left[rows] = block * (shrink / variance)[which]
            left_bias[rows] = constant[which] - 0.5 * np.sum(block**2 * (shrink**2 / variance)[which], axis=1)
        right_bias = np.empty((len(counts), len(test)))
        for rows, block in double_blocks(test):
            right_bias[:, rows] = -0.5 * (1 / variance - 1 / total) @ (block**2).T
        return Factors(left, test, left_bias, right_bias, group)


def woven(first: npt.NDArray[T], keep: Ints, second: npt.NDArray[T], order: Ints) -> npt.NDArray[T]:
    """The rows KEEP of FIRST, and then SECOND, in ORDER."""
    return np.concatenate([first[keep], second])[order]


def spread(scores: Vectors) -> tuple[Floats, Floats]:
    """Mean and population standard deviation of each row of SCORES (n, K), which it overwrites: (n,) each."""
    mean = scores.mean(axis=1, dtype=np.float64)
    scores -= mean[:, None].astype(np.float32)  # small numbers square well in single precision
    rest = scores.mean(axis=1, dtype=np.float64)
    variance = np.einsum("nk,nk->n", scores, scores) / scores.shape[1] - rest**2
    return mean, np.sqrt(np.maximum(variance, 0))
