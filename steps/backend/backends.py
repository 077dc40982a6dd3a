"""The two ways from embeddings to scores, cosine and PLDA, as the `Factors` of scoring.py. For the scoring scripts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml

from steps.backend.model_files import write_object
from steps.backend.plda import Plda
from steps.backend.scoring import Factors
from steps.backend.vectors import Length, Projection, Side, Vectors
from steps.utils.errors import DataError
from steps.utils.files import atomic_write

_SETTINGS = "backend.yaml"


class Backend(Protocol):
    """Scores enrolment vectors against test vectors."""

    def factors(self, enroll: Side, test: Side) -> Factors:
        """All scores of ENROLL against TEST, in factored form."""
        ...


@dataclass(frozen=True)
class CosineBackend:
    """Cosine of the angle between projected vectors; PROJECTION makes them of unit length."""

    projection: Projection

    @classmethod
    def read(cls, mean: Path | None = None, transform: Path | None = None) -> "CosineBackend":
        """A back-end that subtracts MEAN and applies TRANSFORM, files of Kaldi's, where they are given."""
        return cls(Projection.read(mean, transform, "unit"))

    def factors(self, enroll: Side, test: Side) -> Factors:
        """All cosines of ENROLL against TEST."""
        return Factors.dot(self.projection.apply(enroll), self.projection.apply(test))


@dataclass(frozen=True)
class PldaBackend:
    """Log-likelihood ratios of a PLDA model on projected vectors, as Kaldi's ivector-plda-scoring.

    projection: what comes before the model; normalize_length: scale vectors to the length that the model expects of
    them; simple_length_norm: scale them to the square root of the dimension instead.
    """

    projection: Projection
    plda: Plda
    normalize_length: bool = True
    simple_length_norm: bool = False

    @classmethod
    def read(
        cls, folder: Path, normalize_length: bool = True, simple_length_norm: bool = False, smoothing: float = 0.0
    ) -> "PldaBackend":
        """Reads the mean.vec and transform.mat of FOLDER, where it has them, its plda and what _SETTINGS says of it."""
        mean, transform = (path if path.exists() else None for path in (folder / "mean.vec", folder / "transform.mat"))
        plda = Plda.read(folder / "plda")
        length = _read_length(folder / _SETTINGS)
        projection = Projection.read(mean, transform, length)
        return cls(projection, plda.smooth(smoothing) if smoothing else plda, normalize_length, simple_length_norm)

    def write(self, folder: Path) -> None:
        """Writes FOLDER/{mean.vec,transform.mat,plda} as Kaldi does, and what no file of Kaldi's says."""
        for name, array in (("mean.vec", self.projection.mean), ("transform.mat", self.projection.transform)):
            if array is None:
                (folder / name).unlink(missing_ok=True)  # of an earlier model
            else:
                write_object(folder / name, array)
        with atomic_write(folder / _SETTINGS) as file:
            yaml.safe_dump({"length_norm": self.projection.length == "sqrt_dim"}, file)
        self.plda.write(folder / "plda")

    def factors(self, enroll: Side, test: Side) -> Factors:
        """All log-likelihood ratios of ENROLL, averages of num_utts utterances, against TEST, one utterance each."""
        test = Side.single(test.ids, test.vectors)
        return self.plda.factors(self._latent(enroll), enroll.num_utts, self._latent(test))

    def _latent(self, side: Side) -> Vectors:
        projected = self.projection.apply(side)
        return self.plda.latent(projected, side.num_utts, self.normalize_length, self.simple_length_norm)


def _read_length(path: Path) -> Length:
    """What train_plda.py did before PLDA; a folder of Kaldi's does not say, but Kaldi's recipes length-normalise."""
    if not path.exists():
        return "sqrt_dim"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict) or not isinstance(settings.get("length_norm"), bool):
        raise DataError("does not say whether vectors are length-normalised (length_norm: true or false)", path)
    return "sqrt_dim" if settings["length_norm"] else "as_is"
