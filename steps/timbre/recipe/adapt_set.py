"""The audio of --adapt-dir: where it lies, how much of it there is, what a person should know. Called by layout.py."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from timbre.datadir.tables import read_table
from timbre.recipe.corpus_folders import Corpus
from timbre.recipe.settings import Settings
from timbre.utils.documents import read_yaml
from timbre.utils.errors import DataError

if TYPE_CHECKING:
    from timbre.corpora.unlabelled import Unlabelled

NAME = "adapt"  # of the set
FRONT = "unlabelled"
FEWEST = 2  # utterances


@dataclass(frozen=True)
class AdaptSet:
    """Unlabelled audio of the domain that back-ends are adapted to.

    corpus: its folders; utts: its utterances; places: the recordings that they are in; enough: there are so many that
    they are the cohort of AS-norm
    """

    corpus: Corpus
    utts: frozenset[str]
    places: frozenset[str]
    enough: bool

    @classmethod
    def of(cls, corpus: Corpus, settings: Settings, feats_conf: str) -> "AdaptSet":
        """The audio in the folder that CORPUS is made of, for features of FEATS_CONF.

        Raises:
            DataError: none is there, less than FEWEST utterances, or some of another sample rate than that of features
        """
        from timbre.corpora.unlabelled import Unlabelled  # soundfile, scipy: a second

        try:
            found = Unlabelled.read(Path(corpus.source))
        except DataError as error:
            raise DataError(f"--adapt-dir: {error.message}", error.path) from error
        number = len(found.utts)
        if number < FEWEST:
            raise DataError(f"--adapt-dir {corpus.source}: {number} utterance; adaptation takes {FEWEST} at least")
        _check_rates(found, settings, feats_conf)
        enough = number >= int(settings.adapt_cohort_utts)
        return cls(corpus, frozenset(found.utts), frozenset(map(os.path.abspath, found.wavs.values())), enough)

    @property
    def audio(self) -> Path:
        """Its data directory before features."""
        return self.corpus.audio / NAME

    @property
    def feats(self) -> Path:
        """The one with features."""
        return self.corpus.feats / NAME

    def says(self, settings: Settings, corpora: Sequence[Corpus]) -> Iterator[str]:
        """What a person should know of it; evaluation sets are those of CORPORA."""
        number = len(self.utts)
        what, few = f"--adapt-dir: {number} utterances", int(settings.adapt_covar_utts)
        if number < few and settings.adapt_method != "mean":
            yield f"{what}, fewer than {few}: means are adapted, and covariances are not (--adapt-covar-utts)"
        if not self.enough:
            least = settings.adapt_cohort_utts
            yield f"{what}, fewer than {least}: AS-norm keeps the cohort of training (--adapt-cohort-utts)"
        for corpus in corpora:
            for name in corpus.eval_sets:
                table = corpus.data / name / "wav.scp"
                if table.is_file() and (same := self.places & {*map(os.path.abspath, read_table(table).values())}):
                    text = f"{len(same)} of its recordings are in {corpus.data / name}: results on it tell too much"
                    yield f"warning: --adapt-dir: {text}"


def _check_rates(found: "Unlabelled", settings: Settings, feats_conf: str) -> None:
    """Before anything runs, where headers tell it and nothing resamples."""
    audio = read_yaml(Path(settings.audio_conf)) if settings.audio_conf else {}
    feats = read_yaml(Path(feats_conf))
    wanted = feats.get("sample_frequency") if isinstance(feats, dict) else None
    if not wanted or (isinstance(audio, dict) and audio.get("rate")):
        return
    for place, rate in found.rates():
        if rate != wanted:
            text = f"{rate} Hz, and {feats_conf} is for {wanted:g} Hz (--audio-conf with a rate resamples)"
            raise DataError(f"--adapt-dir: {text}", place)
