"""Augmented copies of the training set that back-ends alone are trained on (--backend-augment). Called by layout.py."""

from dataclasses import dataclass
from pathlib import Path

from timbre.recipe.corpus_folders import Corpus
from timbre.recipe.settings import Settings
from timbre.utils.errors import DataError

ALL = "100%"  # one of every utterance


@dataclass(frozen=True)
class BackendCopies:
    """Where copies lie.

    name: of the set, after the file of their effects and their number; audio: its data directory; feats: the one with
    features
    """

    name: str
    audio: Path
    feats: Path

    @classmethod
    def of(cls, settings: Settings, main: Corpus) -> "BackendCopies | None":
        """Those that SETTINGS ask for, if they do.

        Raises:
            DataError: the corpus MAIN has no training set with audio
        """
        if not settings.backend_augment:
            return None
        if not main.has_train or main.brings_features("train"):
            raise DataError(f"--backend-augment: {main.data} has no training set with audio to make copies of")
        number = settings.backend_copies
        name = f"backend_{Path(settings.backend_augment).stem}"
        name += "" if number == ALL else f"_{number.replace('%', 'pc')}"
        return cls(name, main.audio / name, main.feats / name)
