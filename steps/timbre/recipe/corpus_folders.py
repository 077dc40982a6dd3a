"""The folders of a corpus in data/, and what lies in them. Called by layout.py and by what it is made of."""

from dataclasses import dataclass, replace
from pathlib import Path

from timbre.recipe.settings import GIVEN, VAD, Settings


@dataclass(frozen=True)
class Corpus:
    """A corpus of the run and the folders that are made of it.

    front: NAME of local/prepare_NAME.py; source, conf: what it is given; data: what it writes; audio: the same after
    pre-processing; feats: the same with features; suffix: told apart by, in names of units: "" or "_sitw"
    """

    front: str
    source: str
    conf: str
    data: Path
    audio: Path
    feats: Path
    suffix: str

    @property
    def eval_sets(self) -> list[str]:
        """The evaluation sets that are there."""
        return sorted(path.name for path in self.data.glob("eval*") if path.is_dir())

    @property
    def has_train(self) -> bool:
        """It has a training set, or is not there yet."""
        return (self.data / "train").is_dir() or not self.data.is_dir() or not any(self.data.glob("*/utt2spk"))

    def brings_features(self, name: str) -> bool:
        """Set NAME has features of its own, and no audio."""
        return (self.data / name / "feats.scp").is_file() and not (self.data / name / "wav.scp").is_file()


def corpus_of(settings: Settings, front: str, source: str, conf: str, feats_conf: str, trained_on: bool) -> Corpus:
    """The folders of what local/prepare_FRONT.py makes of SOURCE by CONF, where features are those of FEATS_CONF."""
    place = Path(source).name or Path(source).resolve().name if source else ""
    names = [front, place, Path(conf).stem]
    if settings.dress_rehearsal == "true":
        names = ["rehearsal", front, Path(conf).stem]
    data = Path("data") / "_".join(name for name in names if name)
    audio = data / Path(settings.audio_conf).stem if settings.audio_conf else data
    folder = audio / Path(settings.augment_conf).stem if settings.augment_conf and trained_on else audio
    kind = Path(feats_conf).stem + ("" if (vad := Path(settings.vad_conf).stem) == Path(VAD).stem else f"_{vad}")
    corpus = Corpus(front, source, conf, data, audio, folder / kind, "" if trained_on else f"_{front}")
    if corpus.brings_features("train") or (not trained_on and any(map(corpus.brings_features, corpus.eval_sets))):
        return replace(corpus, audio=data, feats=data / GIVEN)
    return corpus
