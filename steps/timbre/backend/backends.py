"""The ways from embeddings to scores, cosine and PLDA, as the `Factors` of scoring.py, and the folders they live in.

For the steps that train and score.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml

from timbre.backend.model_files import write_object
from timbre.backend.plda import Plda
from timbre.backend.vectors import Floats, Ints, Projection, Side, Vectors, group_means
from timbre.runtime.factors import Factors, Length
from timbre.utils.configure import check, read_config
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

_SETTINGS = "backend.yaml"
_KEYS = ("model", "transforms", "scoring", "parts", "adaptation", "length_norm")
_LENGTHS: tuple[Length, ...] = ("unit", "sqrt_dim", "as_is")


class Backend(Protocol):
    """Scores enrolment vectors against test vectors."""

    @property
    def projection(self) -> Projection:
        """What comes before the model."""
        ...

    def factors(self, enroll: Side, test: Side) -> Factors:
        """All scores of ENROLL against TEST, in factored form."""
        ...

    def write(self, folder: Path) -> None:
        """Writes FOLDER, which `read_backend` reads."""
        ...


@dataclass(frozen=True)
class CosineBackend:
    """Cosine of the angle between projected vectors; PROJECTION makes them of unit length.

    settings: how it was trained, for people.
    """

    projection: Projection
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, mean: Path | None = None, transform: Path | None = None) -> "CosineBackend":
        """A back-end that subtracts MEAN and applies TRANSFORM, files of Kaldi's, where they are given."""
        return cls(Projection.read(mean, transform, "unit"))

    def write(self, folder: Path) -> None:
        """Writes FOLDER/{mean.vec,transform.mat} as Kaldi does, and what no file of Kaldi's says."""
        if (folder / "plda").exists() and not (folder / _SETTINGS).is_file():
            raise DataError("there is a plda of something else beside it; choose another folder", folder)
        _write_projection(folder, self.projection, {"model": {"class_path": "Cosine"}, **self.settings})

    def factors(self, enroll: Side, test: Side) -> Factors:
        """All cosines of ENROLL against TEST.

        Raises:
            DataError: ENROLL asks for the likelihood ratio of several utterances
        """
        right = self.projection.apply(test)
        if enroll.sessions is None:
            return Factors.dot(right if enroll.vectors is test.vectors else self.projection.apply(enroll), right)
        if enroll.multi == "plda":
            raise DataError("cosine has no model of several utterances; average them, or their scores")
        sessions = Factors.dot(self.projection.apply(enroll.sessions), right)
        return _mean_scores(sessions, enroll.num_utts)


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
class PldaOverrides:
    """Options of PldaScoring that are to be others than the back-end says; None: as it says.

    Args:
        normalize_length: scale vectors in the space of the model to the length it expects of them
        simple_length_normalization: scale them to the square root of the dimension instead
        smoothing: add this much of the between-speaker covariance to the within-speaker one
    """

    normalize_length: bool | None = None
    simple_length_normalization: bool | None = None
    smoothing: float | None = None

    def given(self) -> dict[str, Any]:
        """Those that are."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class PldaBackend:
    """Log-likelihood ratios of a PLDA model on projected vectors, as Kaldi's ivector-plda-scoring.

    projection: what comes before the model; settings: how it was trained, for people.
    """

    projection: Projection
    plda: Plda
    options: PldaScoring = PldaScoring()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "PldaBackend":
        """Reads FOLDER/{mean.vec,transform.mat,plda}; the first two may be missing."""
        settings = _read_settings(folder)
        # a folder of Kaldi's does not say, but Kaldi's recipes length-normalise
        projection = _read_projection(folder, settings, "sqrt_dim")
        try:
            scoring = check(PldaScoring, settings.pop("scoring", {}), set())()
        except DataError as error:
            raise DataError(error.message, folder / _SETTINGS) from error
        return cls(projection, Plda.read(folder / "plda"), scoring, settings)

    def write(self, folder: Path) -> None:
        """Writes FOLDER/{mean.vec,transform.mat,plda} as Kaldi does, and what no file of Kaldi's says."""
        _write_projection(folder, self.projection, {**self.settings, "scoring": asdict(self.options)})
        self.plda.write(folder / "plda")

    def factors(self, enroll: Side, test: Side) -> Factors:
        """All log-likelihood ratios of ENROLL, num_utts utterances each, against TEST, one utterance each.

        Of an average of utterances it is Kaldi's with --num-utts. Where ENROLL has the utterances, either their scores
        are averaged, or, by the book, each is projected and brought to its length by itself and the ratio is that of
        all of them, whose mean is all that it depends on.
        """
        plda = self.plda.smooth(self.options.smoothing) if self.options.smoothing else self.plda
        right = self._latent(plda, Side.single(test.ids, test.vectors, test.path))
        sessions = enroll.sessions
        if sessions is None:
            same = enroll.vectors is test.vectors and (enroll.num_utts == 1).all()
            return plda.factors(right if same else self._latent(plda, enroll), enroll.num_utts, right)
        left = self._latent(plda, sessions)
        if enroll.multi == "scores":
            return _mean_scores(plda.factors(left, sessions.num_utts, right), enroll.num_utts)
        means = group_means(left, np.arange(len(left)), enroll.num_utts).astype(np.float32)
        return plda.factors(means, enroll.num_utts, right)

    def _latent(self, plda: Plda, side: Side) -> Vectors:
        simple = self.options.simple_length_normalization
        try:
            projected = self.projection.apply(side)
            return plda.latent(projected, side.num_utts, self.options.normalize_length, simple)
        except DataError as error:
            raise DataError(error.message, error.path or side.path) from error


def read_backend(folder: Path, plda: PldaOverrides = PldaOverrides()) -> Backend:
    """The back-end in FOLDER: PLDA where there is a plda, otherwise cosine of what mean.vec and transform.mat make.

    Args:
        folder: what train_backend.py wrote, or Kaldi's mean.vec, transform.mat, plda
        plda: options of scoring by PLDA that are to be others than FOLDER, or for want of it PldaScoring, says

    Raises:
        DataError: there is no back-end in FOLDER, or PLDA's options are given for another
    """
    if (folder / "plda").is_file():
        backend = PldaBackend.read(folder)
        return replace(backend, options=replace(backend.options, **plda.given()))
    if plda.given():
        raise DataError("options of PLDA (--plda), but there is no plda in it", folder)
    if not any((folder / name).is_file() for name in (_SETTINGS, "mean.vec", "transform.mat")):
        raise DataError("no back-end: there is neither plda nor mean.vec nor transform.mat in it", folder)
    settings = _read_settings(folder)
    model = settings.get("model", {"class_path": "Cosine"})
    if not isinstance(model, Mapping) or model.get("class_path") != "Cosine":
        raise DataError("its model is not there", folder / "plda")
    return CosineBackend(_read_projection(folder, settings, "unit"), settings)


def backend_of(folder: Path | None, plda: PldaOverrides, mean: Path | None, transform: Path | None) -> Backend:
    """The back-end that the options of a scoring script ask for: that in FOLDER, or cosine after MEAN and TRANSFORM.

    Raises:
        DataError: the options contradict each other, or what they name is not there
    """
    if folder is None:
        if plda.given():
            raise DataError("options of PLDA (--plda) need --backend-dir")
        return CosineBackend.read(mean, transform)
    if mean is not None or transform is not None:
        option = "transform" if mean is None else "mean"
        raise DataError(f"--{option} goes without --backend-dir, which has its own", folder)
    return read_backend(folder, plda)


def _write_projection(folder: Path, projection: Projection, settings: Mapping[str, Any]) -> None:
    """Writes mean.vec and transform.mat as Kaldi's programs do, mean2.vec, ... of what comes then, and SETTINGS."""
    if (folder / _SETTINGS).is_file():
        for pattern in ("mean.vec", "transform.mat", "mean[0-9].vec", "transform[0-9].mat", "plda"):
            for path in folder.glob(pattern):  # of an earlier back-end
                path.unlink()
    parts: list[dict[str, Any]] = []
    part: Projection | None = projection
    while part is not None:
        suffix = str(len(parts) + 1) if parts else ""
        transform = None if part.transform is None else part.transform.astype(np.float32)
        arrays = {f"mean{suffix}.vec": part.mean, f"transform{suffix}.mat": transform}
        given = {name: array for name, array in arrays.items() if array is not None}
        for name, array in given.items():
            write_object(folder / name, array)
        parts.append({"files": list(given), "length": part.length})
        part = part.then
    with atomic_write(folder / _SETTINGS) as file:
        yaml.safe_dump({**settings, "parts": parts}, file, sort_keys=False)


def _read_projection(folder: Path, settings: dict[str, Any], length: Length) -> Projection:
    """What the files of FOLDER do before the model, by SETTINGS, or for want of these scaling to LENGTH."""
    if "parts" not in settings:
        if "length_norm" in settings:  # of an earlier version
            length = "sqrt_dim" if settings.pop("length_norm") is True else "as_is"
        mean, transform = (path if path.is_file() else None for path in (folder / "mean.vec", folder / "transform.mat"))
        return Projection.read(mean, transform, length)
    parts = settings.pop("parts")
    projection = None
    try:
        for part in reversed(parts):
            mean, transform = (
                next((folder / name for name in part["files"] if name.startswith(kind) and "/" not in name), None)
                for kind in ("mean", "transform")
            )
            if part["length"] not in _LENGTHS:
                raise ValueError(part["length"])
            projection = replace(Projection.read(mean, transform, part["length"]), then=projection)
    except (KeyError, TypeError, ValueError, AttributeError):
        projection = None
    if projection is None:
        text = f"parts must be a list of files and a length ({', '.join(_LENGTHS)}), not {parts!r}"
        raise DataError(text, folder / _SETTINGS)
    return projection


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / _SETTINGS
    settings = read_config(path) if path.exists() else {}
    if unknown := sorted(map(str, set(settings) - set(_KEYS))):
        raise DataError(f"'{unknown[0]}' is none of {', '.join(_KEYS)}", path)
    return settings


def _mean_scores(sessions: Factors, counts: Ints) -> Factors:
    """Factors of the mean scores of consecutive groups of COUNTS rows, single utterances: the mean factors."""
    rows = np.arange(len(sessions.left))
    left = group_means(sessions.left, rows, counts).astype(np.float32)
    ends = np.cumsum(counts)
    bias: Floats = np.add.reduceat(sessions.left_bias, ends - counts) / counts
    return Factors(left, sessions.right, bias, sessions.right_bias, np.zeros(len(counts), np.int64))
