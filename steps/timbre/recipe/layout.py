"""Where everything of a run lies: the corpora in data/, their sets and trial lists, and the folders of exp/NAME."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from timbre.recipe.adapt_set import FRONT, AdaptSet
from timbre.recipe.backend_copies import BackendCopies
from timbre.recipe.corpus_folders import Corpus, corpus_of
from timbre.recipe.settings import Settings
from timbre.utils.errors import DataError

MANY = 100_000  # training utterances beyond which a corpus is large


@dataclass(frozen=True)
class TestSet:
    """A set that is tested: an evaluation set, or a copy of one under a condition.

    data: the directory with its trials; audio: with its audio; feats: with its features; original: the data directory
    that it is a copy of, or data itself
    """

    name: str
    data: Path
    audio: Path
    feats: Path
    original: Path

    @property
    def trial_lists(self) -> list[Path]:
        """Its trial lists, in order of their names; a copy that is still to be made will have those of its original."""
        return sorted(self.data / path.name for path in self.original.glob("trials*") if path.is_file())

    @property
    def pair_lists(self) -> list[Path]:
        """Its lists of pairs without labels, `pairs` or `pairs_KIND`; a copy's are those of its original."""
        return sorted(path for path in self.original.glob("pairs*") if re.fullmatch(r"pairs(_[^.]*)?", path.name))

    @property
    def answer_rows(self) -> Path | None:
        """The rows of a list that is to be answered, if it has one."""
        return self.original / "pair_rows.csv" if (self.original / "pair_rows.csv").is_file() else None

    @property
    def models(self) -> Path | None:
        """The table of its models of several utterances, if it has one."""
        name = "enroll.spk2utt"
        return self.data / name if (self.original / name).is_file() else None


@dataclass(frozen=True)
class DevSet(TestSet):
    """Utterances of the speakers held out of training under a condition, which there will be once those are known."""

    @property
    def trial_lists(self) -> list[Path]:
        """One."""
        return [self.data / "trials"]

    @property
    def models(self) -> None:
        """None."""
        return None


@dataclass(frozen=True)
class Layout:
    """The folders of a run.

    corpora: the one that is trained on first; train: its training set with the copies of augmentation, if any; exp:
    exp/NAME; model: of the network that is evaluated; trained: the one that stage 4 makes, if it makes one
    """

    settings: Settings
    corpora: list[Corpus]
    train: Path
    exp: Path
    model: Path
    trained: Path | None
    kind: str  # of features
    feats_conf: str
    said: list[str]

    @classmethod
    def of(cls, settings: Settings) -> "Layout":
        """The layout that SETTINGS ask for.

        Raises:
            DataError: two corpora have a set of one name
        """
        kind, feats_conf, warning = settings.choose_features()
        main = corpus_of(settings, settings.corpus, settings.corpus_dir, settings.corpus_conf, feats_conf, True)
        corpora = [main] + [
            corpus_of(settings, name, folder, "", feats_conf, False) for name, folder in settings.test_corpora
        ]
        owners: dict[str, Corpus] = {}
        for corpus in corpora:
            for name in corpus.eval_sets:
                if name in owners:
                    raise DataError(f"{owners[name].data} and {corpus.data} both have a set {name}: rename one of them")
                owners[name] = corpus
        stem = Path(settings.network).stem
        if begun := settings.trained_model:
            conf = [Path(settings.fine_tune_conf).stem] if settings.init_model else []
            stem = "_".join([_name_of_model(begun), *conf])
        exp = Path("exp") / (settings.name or f"{settings.corpus}_{stem}")
        copies = [Path(settings.augment_conf).stem] if settings.augment_conf else []
        said = [warning] if warning and not main.brings_features("train") else []
        said += [settings.terms] if settings.terms else []
        model = Path(settings.model) if settings.model else exp / ("fine_tuned" if settings.fine_tune_conf else "model")
        trained = None if settings.trained_model else exp / "model"
        return cls(
            settings, corpora, main.audio.joinpath(*copies, "train"), exp, model, trained, kind, feats_conf, said
        )

    @property
    def main(self) -> Corpus:
        """The corpus that is trained on."""
        return self.corpora[0]

    @cached_property
    def num_train_utts(self) -> int:
        """Utterances of the training set, without the copies of augmentation; 0 where it is not there yet."""
        table = self.main.data / "train" / "utt2spk"
        return count_lines(table) if table.is_file() else 0

    @property
    def is_large(self) -> bool:
        """There are so many training utterances that defaults are those of large corpora."""
        return self.num_train_utts > MANY

    @cached_property
    def backend_copies(self) -> BackendCopies | None:
        """Augmented copies for back-ends alone, if they are asked for; raises as `BackendCopies.of`."""
        return BackendCopies.of(self.settings, self.main)

    @cached_property
    def adapt_set(self) -> AdaptSet | None:
        """The audio that back-ends are adapted to, if there is some; raises as `AdaptSet.of`."""
        folder = self.settings.adapt_dir
        if not folder:
            return None
        corpus = corpus_of(self.settings, FRONT, folder, "", self.feats_conf, False)
        return AdaptSet.of(corpus, self.settings, self.feats_conf)

    def eval_sets(self, corpus: Corpus) -> list[TestSet]:
        """The evaluation sets of CORPUS as they are."""
        data, audio, feats = corpus.data, corpus.audio, corpus.feats
        return [TestSet(name, data / name, audio / name, feats / name, data / name) for name in corpus.eval_sets]

    def copies(self, corpus: Corpus, condition: Path) -> list[TestSet]:
        """The evaluation sets of CORPUS that have audio, under CONDITION."""
        folder = corpus.audio / "conditions" / condition.stem
        sounding = [name for name in corpus.eval_sets if not corpus.brings_features(name)]
        copies = [(f"{name}_{condition.stem}", corpus.data / name) for name in sounding]
        return [TestSet(name, folder / name, folder / name, corpus.feats / name, was) for name, was in copies]

    @property
    def normalize_conf(self) -> str:
        """How features are normalised; "": as by default."""
        given = self.main.brings_features("train")
        return self.settings.normalize_conf or ("conf/normalize/no_vad.yaml" if given else "")

    @property
    def egs(self) -> Path:
        """Where stage 3 writes."""
        stems = [Path(conf).stem for conf in (self.settings.egs_conf, self.normalize_conf) if conf]
        return self.main.feats / f"egs_{'_'.join(stems)}"

    @property
    def dev(self) -> Path:
        """Where sets of the speakers held out of training lie: one place for all runs that hold out the same ones."""
        if self.settings.trained_model or self.settings.fine_tune_conf:
            return self.exp / "dev"
        return self.egs.with_name(self.egs.name.replace("egs", "dev", 1))

    def dev_sets(self) -> Iterator[tuple[Path, DevSet]]:
        """Each of --dev-conf, and the set under it."""
        for condition in self.settings.dev_conditions:
            name = f"dev_{condition.stem}"
            yield condition, DevSet(name, self.dev / name, self.dev / "audio" / name, self.dev / name, self.dev / name)

    def tested(self) -> Iterator[TestSet]:
        """All sets that are tested."""
        for corpus in self.corpora:
            yield from self.eval_sets(corpus)
        for condition in self.settings.conditions:
            for corpus in self.corpora:
                yield from self.copies(corpus, condition)
        for _, dev in self.dev_sets():
            yield dev

    def scored(self) -> Iterator[TestSet]:
        """The sets that are tested, where some may lack embeddings (--allow-missing) without what is said of those."""
        for test in self.tested():
            yield replace(test, data=self.embedded / test.name) if self.embedded else test

    @property
    def embedded(self) -> Path | None:
        """The folder of data directories of the utterances with an embedding alone, where some may have none."""
        return self.exp / "embedded" if self.settings.allow_missing != "0" else None


def count_lines(path: Path) -> int:
    """Lines of a text file."""
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def _name_of_model(model: str) -> str:
    """OTHER of exp/OTHER/model and exp/OTHER/fine_tuned, and of exp/OTHER."""
    path = Path(model).resolve()
    return path.parent.name if path.name in ("model", "fine_tuned") else path.name
