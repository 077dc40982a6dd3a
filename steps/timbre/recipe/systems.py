"""The scoring systems of a run: which back-ends, whether they are normalised and calibrated, and where they lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from timbre.egs.options import EgsOptions
from timbre.recipe.layout import Layout, count_lines
from timbre.utils.documents import read_yaml
from timbre.utils.errors import DataError

FEWEST = 4  # held-out speakers that calibration is made with unless it is asked for


class Vectors(NamedTuple):
    """Embeddings, and the table of their speakers, or None where each utterance counts alone."""

    scp: Path
    utt2spk: Path | None


@dataclass(frozen=True)
class Systems:
    """What trials are scored by.

    names: of the back-ends: cosine, and the one of --backend-conf; folders: where each lies, or None where nothing is
    trained; adapted: of those, the folders of the ones that are adapted to --adapt-dir; embeddings, backend,
    calibration: their folders in exp/NAME; training: what back-ends are trained on; cohort: what scores are normalised
    by, and adapted_cohort: those of adapted back-ends; calibrate: there are log-likelihood ratios; llrs: the systems
    that give them; baseline: statistics of features are scored too; siamese: so does the head that a siamese network
    was trained with; quality: calibration with quality measures too, which lie in this folder; pooled: the list of all
    conditions together that it is learnt on, where it is not the held-out speakers as they are
    """

    folders: dict[str, Path | None]
    adapted: dict[str, Path]
    embeddings: Path
    backend: Path
    calibration: Path
    calibrate: bool
    training: Vectors
    cohort: Vectors
    adapted_cohort: Vectors
    llrs: list[str]
    said: list[str]
    baseline: bool
    siamese: bool
    quality: Path | None = None
    pooled: Path | None = None

    @property
    def has_backend(self) -> bool:
        """There is a training set, so that back-ends are trained and scores normalised."""
        return None not in self.folders.values()

    @property
    def cohort_is_adapted(self) -> bool:
        """Scores of adapted back-ends are normalised by the adaptation set, whose speakers nobody knows."""
        return bool(self.adapted) and self.adapted_cohort.utt2spk is None

    @property
    def names(self) -> list[str]:
        """Of the back-ends, cosine first."""
        return list(self.folders)

    @property
    def best(self) -> str:
        """The system that analyses are made of."""
        return f"{self.names[-1]}_asnorm" if self.has_backend else "cosine"

    @property
    def decides(self) -> str:
        """The system that decides pairs for a submission."""
        return "siamese" if self.siamese else self.best

    @classmethod
    def of(cls, layout: Layout) -> "Systems":
        """The systems that the settings of LAYOUT ask for.

        Raises:
            DataError: calibration is asked for, and there are too few speakers for it
        """
        settings, exp, said = layout.settings, layout.exp, []
        backend, calibration = exp / "backend", exp / "calibration"
        folders: dict[str, Path | None]
        if not layout.main.has_train:
            if not settings.model:
                raise DataError(
                    f"{layout.main.data} has no train set to train on; --model DIR evaluates a trained model"
                )
            folders = {"cosine": None}
            said.append(f"{layout.main.data} has no train set: cosine alone, without mean, AS-norm or calibration")
        elif settings.only_cosine:
            folders = {"cosine": backend}
        else:
            folders = {"cosine": backend / "cosine", settings.backend: backend}
        calibrate = layout.main.has_train and calibrates(layout, said)
        if settings.dev_conf and not (calibrate and not layout.main.brings_features("train")):
            why = said[-1] if said else f"{layout.main.data} has no audio"
            raise DataError(f"--dev-conf: no speakers held out of training, with audio, to test: {why}")
        embeddings = exp / "embeddings"
        others = calibration / "others.scp" if calibrate else embeddings / "train" / "xvector.scp"
        cohort = training = Vectors(others, layout.main.feats / "train" / "utt2spk")
        if layout.backend_copies:
            training = Vectors(exp / "backend_train" / "xvector.scp", exp / "backend_train" / "utt2spk")
            cohort = training if settings.cohort_copies == "true" else cohort
        adapted, adapted_cohort = _adapted(layout, folders), cohort
        if layout.adapt_set and layout.adapt_set.enough:
            adapted_cohort = Vectors(embeddings / "adapt" / "xvector.scp", None)
        llrs = [settings.backend] if settings.is_llr and layout.main.has_train else []
        if calibrate:
            llrs = [*(f"{name}_llr" for name in folders), *(["fusion"] if len(folders) > 1 else []), *llrs]
        if adapted:
            llrs += [*(f"{name}_adapted_llr" for name in folders if calibrate)]
            llrs += [f"{settings.backend}_adapted"] if settings.is_llr else []
        baseline = layout.main.has_train and _has_baseline(layout, said)
        quality = exp / "quality" if settings.measures_quality else None
        if quality:
            if not calibrate:
                raise DataError(f"--quality: {layout.main.data} has no speakers to calibrate on")
            if any(corpus.brings_features(name) for corpus in layout.corpora for name in ("train", *corpus.eval_sets)):
                raise DataError("--quality measures speech by its VAD, which a corpus with features of its own lacks")
            llrs = [*(f"{name}_quality" for name in folders), *(["fusion_quality"] if len(folders) > 1 else []), *llrs]
        return cls(
            folders,
            adapted,
            embeddings,
            backend,
            calibration,
            calibrate,
            training,
            cohort,
            adapted_cohort,
            llrs,
            said,
            baseline,
            settings.has_pair_head,
            quality,
            calibration / "pooled" if settings.quality_conditions == "true" else None,
        )


def _adapted(layout: Layout, folders: dict[str, Path | None]) -> dict[str, Path]:
    """Each of the back-ends in FOLDERS, adapted, and where it lies."""
    if not layout.adapt_set:
        return {}
    if not layout.main.has_train:
        raise DataError(f"--adapt-dir adapts back-ends, and {layout.main.data} has no train set that they are made of")
    if not (layout.settings.is_llr or layout.settings.subtracts_mean):
        raise DataError(f"--adapt-dir: {layout.settings.backend_conf} subtracts no mean that could be adapted")
    place, root = layout.exp / "backend_adapted", layout.exp / "backend"
    return {name: place / folder.relative_to(root) for name, folder in folders.items() if folder}


def _has_baseline(layout: Layout, said: list[str]) -> bool:
    """Whether there is a baseline: as asked for, else where it costs little."""
    asked = layout.settings.baseline
    if asked != "auto":
        return asked == "true"
    if layout.is_large:
        said.append(f"no baseline of statistics: {layout.num_train_utts:,} training utterances (--baseline makes it)")
    return not layout.is_large


def calibrates(layout: Layout, said: list[str]) -> bool:
    """Whether there is calibration: as asked for, else where enough speakers are held out of training for it."""
    asked = layout.settings.calibrate
    table = layout.main.data / "train" / "spk2utt"
    if asked == "false":
        return False
    if not table.is_file():
        return True  # stage 0 will tell
    num_speakers = count_lines(table)
    held = egs_options(layout.settings.egs_conf).num_held_out(num_speakers)
    if asked == "true" and held < 2:
        text = f"{num_speakers} training speakers of which {held} are held out; it needs 2, of 20 speakers or more"
        raise DataError(f"--calibrate: {table.parent} has {text}")
    if asked == "auto" and held < FEWEST:
        text = f"of {num_speakers} training speakers {held} can be held out for it, and it needs {FEWEST}"
        said.append(f"no calibration: {text} (--calibrate makes it with 2)")
        return False
    return True


def egs_options(path: str) -> EgsOptions:
    """The egs options of a YAML file; the step that reads it says what is wrong with it."""
    try:
        return EgsOptions(**read_yaml(Path(path)))
    except (TypeError, DataError):
        return EgsOptions()
