"""What compares transformed embeddings: cosine, and the ways to train a PLDA model.

train_backend.py builds one as conf/backend/*.yaml names it.
"""

from abc import ABC, abstractmethod

from timbre.backend.plda import Plda, train_plda
from timbre.backend.plda_ioffe import train_ioffe
from timbre.backend.plda_subspace import train_subspace
from timbre.backend.speaker_stats import SpeakerStats


class Model(ABC):
    """A way to compare transformed embeddings."""

    @abstractmethod
    def train(self, stats: SpeakerStats) -> Plda | None:
        """The PLDA model that STATS teach, or None where cosines need none.

        Raises:
            DataError: STATS allow none
        """


class Cosine(Model):
    """Cosine of the angle; the chain then ends with a scaling to unit length, listed or not."""

    def train(self, stats: SpeakerStats) -> None:
        """See the class."""
        return


class TwoCovariancePlda(Model):
    """Two full covariances by expectation maximisation, as Kaldi's ivector-compute-plda.

    Args:
        num_iters: number of iterations
    """

    def __init__(self, num_iters: int = 10) -> None:
        self._num_iters = num_iters

    def train(self, stats: SpeakerStats) -> Plda:
        """See the class."""
        return train_plda(stats, self._num_iters)


class IoffePlda(Model):
    """Two full covariances in closed form (Ioffe 2006): the same as TwoCovariancePlda if all speakers have as many
    utterances, otherwise as if each had the average number."""

    def train(self, stats: SpeakerStats) -> Plda:
        """See the class."""
        return train_ioffe(stats)


class SimplifiedPlda(Model):
    """A speaker subspace and a full residual covariance, by expectation maximisation (Kenny 2010, Garcia-Romero 2011).

    Args:
        dim: dimension of the subspace; of as many dimensions as the vectors the model is that of TwoCovariancePlda
        num_iters: number of iterations
    """

    def __init__(self, dim: int = 100, num_iters: int = 20) -> None:
        self._dim, self._num_iters = dim, num_iters

    def train(self, stats: SpeakerStats) -> Plda:
        """See the class."""
        return train_subspace(stats, self._dim, self._num_iters)
