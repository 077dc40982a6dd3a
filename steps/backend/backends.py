"""The two ways from embeddings to scores, cosine and PLDA, as the `Factors` of scoring.py. For the scoring scripts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import yaml

from steps.backend.model_files import write_object
from steps.backend.plda import Plda
from steps.backend.scoring import Factors
from steps.backend.vectors import Length, Projection, Side
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
class PldaScoring:
    """Options of Kaldi's ivector-plda-scoring, and of ivector-copy-plda.

    Args:
        normalize_length: scale vectors in the space of the model to the length it expects of them
        simple_length_normalization: scale them to the square root of the dimension instead
        smoothing: add this much of the between-speaker covariance to the within-speaker one
    """

    normalize_length: bool = True
    simple_length_normalization: bool = False
    smoothing: float = 0.0


@dataclass(frozen=True)
class PldaBackend:
    """Log-likelihood ratios of a PLDA model on projected vectors, as Kaldi's ivector-plda-scoring.

    projection: what comes before the model.
    """

    projection: Projection
    plda: Plda
    options: PldaScoring = PldaScoring()

    @classmethod
    def read(cls, folder: Path, options: PldaScoring = PldaScoring()) -> "PldaBackend":
        """Reads FOLDER/{mean.vec,transform.mat,plda}; the first two may be missing."""
        mean, transform = _projection_files(folder)
        plda = Plda.read(folder / "plda")
        length = _read_length(folder / _SETTINGS)
        projection = Projection.read(mean, transform, length)
        return cls(projection, plda, options)

    def write(self, folder: Path) -> None:
        """Writes FOLDER/{mean.vec,transform.mat,plda} as Kaldi does, and what no file of Kaldi's says."""
        write_projection(folder, self.projection)
        with atomic_write(folder / _SETTINGS) as file:
            yaml.safe_dump({"length_norm": self.projection.length == "sqrt_dim"}, file)
        self.plda.write(folder / "plda")

    def factors(self, enroll: Side, test: Side) -> Factors:
        """All log-likelihood ratios of ENROLL, averages of num_utts utterances, against TEST, one utterance each."""
        test = Side.single(test.ids, test.vectors)
        plda = self.plda.smooth(self.options.smoothing) if self.options.smoothing else self.plda
        enroll_latent, test_latent = (
            plda.latent(
                self.projection.apply(side),
                side.num_utts,
                self.options.normalize_length,
                self.options.simple_length_normalization,
            )
            for side in (enroll, test)
        )
        return plda.factors(enroll_latent, enroll.num_utts, test_latent)


def read_backend(folder: Path, plda: PldaScoring = PldaScoring()) -> Backend:
    """The back-end in FOLDER: PLDA where there is a plda, otherwise cosine of what mean.vec and transform.mat make.

    Args:
        folder: what train_plda.py or train_lda.py wrote, or Kaldi's mean.vec, transform.mat, plda
        plda: options of scoring, for PLDA

    Raises:
        DataError: there is no back-end in FOLDER
    """
    if (folder / "plda").is_file():
        return PldaBackend.read(folder, plda)
    mean, transform = _projection_files(folder)
    if mean is None and transform is None:
        raise DataError("no back-end: there is neither plda nor mean.vec nor transform.mat in it", folder)
    return CosineBackend.read(mean, transform)


def write_projection(folder: Path, projection: Projection) -> None:
    """Writes FOLDER/mean.vec and FOLDER/transform.mat as Kaldi's programs do; removes one that is None."""
    transform = None if projection.transform is None else projection.transform.astype(np.float32)
    for name, array in (("mean.vec", projection.mean), ("transform.mat", transform)):
        if array is None:
            (folder / name).unlink(missing_ok=True)  # of an earlier model
        else:
            write_object(folder / name, array)


def _projection_files(folder: Path) -> tuple[Path | None, Path | None]:
    mean, transform = (path if path.is_file() else None for path in (folder / "mean.vec", folder / "transform.mat"))
    return mean, transform


def _read_length(path: Path) -> Length:
    """What train_plda.py did before PLDA; a folder of Kaldi's does not say, but Kaldi's recipes length-normalise."""
    if not path.exists():
        return "sqrt_dim"
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict) or not isinstance(settings.get("length_norm"), bool):
        raise DataError("does not say whether vectors are length-normalised (length_norm: true or false)", path)
    return "sqrt_dim" if settings["length_norm"] else "as_is"
