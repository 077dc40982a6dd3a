"""The plan of a run: what each stage makes of what, a row each, so that bash computes no paths.

    python -m timbre.recipe.plan < SETTINGS        # the options of run.sh, as `some-option=value` lines

prints the variables of the stages as `name=value` lines (root= and say= may come several times: the directories of
data/ that the run uses, and what a person should be told), then the table that run.sh keeps as exp/NAME/plan.tsv.
"""

import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from timbre.recipe.corpus_folders import Corpus
from timbre.recipe.layout import Layout
from timbre.recipe.scoring_rows import Row, scoring_rows
from timbre.recipe.settings import Settings
from timbre.recipe.systems import Systems, calibrates, egs_options
from timbre.utils.errors import DataError

if TYPE_CHECKING:
    from timbre.recipe.fine_tuning import FineTuning


@dataclass(frozen=True)
class Plan:
    """All of a run."""

    layout: Layout
    systems: Systems

    @classmethod
    def of(cls, settings: Settings) -> "Plan":
        """The plan for SETTINGS and for the sets and trial lists that are in data/.

        Raises:
            DataError: they cannot be
        """
        said = []
        if settings.model and settings.train_augment:  # robust.conf
            said = ["--train-augment is for training, and with --model nothing is trained"]
            settings = replace(settings, train_augment="")
        layout = Layout.of(settings)
        if settings.quality_conditions == "true" and not calibrates(layout, []):  # robust.conf, of a few speakers
            settings = replace(settings, dev_conf="", quality_conditions="false")
            layout = Layout.of(settings)
        effects = settings.audio_conf, settings.augment_conf, settings.train_augment, settings.backend_augment
        if any((*effects, *settings.named_conditions)):
            from timbre.recipe.tried_effects import try_effects  # numpy, soundfile, scipy: a second

            try_effects(settings, layout.feats_conf)
        layout.said.extend(said)
        return cls(layout, Systems.of(layout))

    def variables(self) -> Iterator[tuple[str, str]]:
        """What the stages know by name."""
        layout, systems, main = self.layout, self.systems, self.layout.main
        settings, given = layout.settings, main.brings_features("train")
        yield from {
            "name": layout.exp.name,
            "exp": str(layout.exp),
            "data": str(main.data),
            "audio": str(main.audio),
            "train": str(layout.train),
            "feats": str(main.feats),
            "features": layout.kind,
            "feats_conf": layout.feats_conf,
            "compression": self._compression,
            "normalize": layout.normalize_conf,
            "egs_compression": self._egs_compression,
            "egs": str(layout.egs),
            "dev": str(layout.dev),
            "model": str(layout.model),
            "trained": str(layout.trained or ""),
            "tuned_from": "",
            "tuning_egs": "",
            "embeddings": str(systems.embeddings),
            "embedded": str(layout.embedded or ""),
            "backend": str(systems.backend),
            "calibration": str(systems.calibration),
            "calibrate": str(systems.calibrate).lower(),
            "pooled": str(systems.pooled or ""),
            "baseline": str(systems.baseline).lower(),
            "cohort": str(systems.cohort.scp),
            "cohort_utt2spk": str(systems.cohort.utt2spk),
            "backend_train": str(systems.training.scp.parent) if layout.backend_copies else "",
            "adapted": str(layout.exp / "backend_adapted") if systems.adapted else "",
            "adapted_cohort": str(systems.adapted_cohort.scp),
            "adapted_cohort_utt2spk": str(systems.adapted_cohort.utt2spk or ""),
            "siamese": str(systems.siamese).lower(),
            "has_train": str(main.has_train).lower(),
            "has_trials": str(self._has_trials).lower(),
            "given": str(given).lower(),
            "llr": ",".join(systems.llrs),
            "protocol_list": ",".join(settings.protocols.split()),
            "rir_dir": settings.rir_dir or (str(main.data / "rooms") if settings.trains_in_rooms else ""),
            "test_rir_dir": settings.test_rir_dir or (str(main.data / "rooms_test") if settings.tests_in_rooms else ""),
            "speech_dir": settings.speech_dir or str(main.audio / "train"),
            "trial_dirs": ",".join(self._trial_dirs()),
        }.items()
        if tuning := self.fine_tuning:
            yield from tuning.variables()
        for corpus in layout.corpora:
            yield "root", str(corpus.data)
        if layout.adapt_set:
            yield "root", str(layout.adapt_set.corpus.data)
        for line in [*layout.said, *systems.said, *self._adapt_says()]:
            yield "say", line
        if layout.is_large and (self._compression, self._egs_compression) != (
            settings.compression,
            settings.egs_compression,
        ):
            text = "features and egs take two bytes a value (CM2), not four"
            yield "say", f"{text}: {layout.num_train_utts:,} training utterances (--compression, --egs-compression)"
        if not systems.calibrate and any(test.answer_rows for test in layout.tested()):
            yield "say", "no submission.csv: without calibration there is no threshold of held-out speakers"
        if not systems.calibrate and settings.accuracy == "true":
            yield "say", "--accuracy: without calibration there is no threshold of held-out speakers"
        if layout.embedded:
            text = f"what is said of utterances without an embedding is left out: {layout.embedded} has the rest"
            yield "say", f"--allow-missing {settings.allow_missing}: {text}"
        if given:
            text = "brings its own features, and no audio: stage 1, VAD and decision pack are left out"
            yield "say", f"{main.data} {text}"

    def _adapt_says(self) -> Iterator[str]:
        adapt = self.layout.adapt_set
        return adapt.says(self.layout.settings, self.layout.corpora) if adapt else iter(())

    @property
    def _compression(self) -> str:
        """Of features: as asked for, else of large corpora two bytes a value."""
        return self.layout.settings.compression or ("CM2" if self.layout.is_large else "")

    @property
    def _egs_compression(self) -> str:
        """Of egs: as asked for, else as their conf says, which of large corpora is never none."""
        settings = self.layout.settings
        if settings.egs_compression or egs_options(settings.egs_conf).compression != "none":
            return settings.egs_compression
        return "CM2" if self.layout.is_large else ""

    @cached_property
    def fine_tuning(self) -> "FineTuning | None":
        """Stage 5, if it is asked for."""
        layout, settings = self.layout, self.layout.settings
        if not settings.fine_tune_conf or not layout.main.has_train:
            return None
        from timbre.recipe.fine_tuning import FineTuneOptions, FineTuning  # jsonargparse, numpy: half a second

        conf, init = Path(settings.fine_tune_conf), layout.trained or Path(settings.init_model)
        feats, options = layout.main.feats / "train", FineTuneOptions.read(conf)
        places = layout.exp, feats, layout.egs, settings.egs_conf, settings.mix_dir
        tuning = FineTuning(conf, options, init, *places, layout.trained is not None)
        if layout.trained is None:
            tuning.check_normalization(layout.normalize_conf)
        return tuning

    @property
    def _has_trials(self) -> bool:
        """There are trial lists with labels, or no corpus yet."""
        unknown = not any(self.layout.main.data.glob("*/utt2spk"))
        return unknown or any(test.trial_lists for test in self.layout.tested())

    def _trial_dirs(self) -> Iterator[str]:
        if self.layout.embedded:
            yield str(self.layout.embedded)
            return
        for corpus in self.layout.corpora:
            yield str(corpus.data)
        for condition in self.layout.settings.conditions:
            for corpus in self.layout.corpora:
                yield str(corpus.audio / "conditions" / condition.stem)
        if self.layout.settings.dev_conf:
            yield str(self.layout.dev)

    def rows(self) -> Iterator[Row]:
        """The table, in the order in which things are made."""
        settings, layout = self.layout.settings, self.layout
        for corpus in [*layout.corpora, *([layout.adapt_set.corpus] if layout.adapt_set else [])]:
            source = {"source": corpus.source or "-", "using": corpus.conf or "-"}
            yield Row(0, f"data{corpus.suffix}", "prepare", kind=corpus.front, output=str(corpus.data), **source)
        for corpus in layout.corpora:
            names = [*(["train"] if corpus is layout.main and corpus.has_train else []), *corpus.eval_sets]
            for name in names:
                if settings.audio_conf and not corpus.brings_features(name):
                    unit = f"audio{corpus.suffix}"
                    yield _change(unit, name, corpus.data / name, settings.audio_conf, corpus.audio / name)
        if settings.audio_conf and (adapt := layout.adapt_set):
            source_dir = adapt.corpus.data / adapt.audio.name
            yield _change(f"audio{adapt.corpus.suffix}", "adapt", source_dir, settings.audio_conf, adapt.audio)
        for condition in settings.conditions:
            for corpus in layout.corpora:
                for test in layout.copies(corpus, condition):
                    unit = f"condition_{condition.stem}{corpus.suffix}"
                    original = corpus.audio / test.name.removesuffix(f"_{condition.stem}")
                    yield _change(unit, test.name, original, str(condition), test.audio)
        if settings.augment_conf:
            copies = Row(1, "augment", "augment", "train", data=str(layout.main.audio / "train"))
            yield replace(copies, using=settings.augment_conf, output=str(layout.train))
        if extra := layout.backend_copies:
            row = Row(1, extra.name, "augment", "train", data=str(layout.main.audio / "train"))
            yield replace(row, using=settings.backend_augment, output=str(extra.audio))
        yield from self._feature_rows()
        if layout.main.has_train and layout.trained:
            egs, train = str(layout.egs), str(layout.main.feats / "train")
            yield Row(3, "egs", "egs", "train", data=train, using=settings.egs_conf, output=egs)
            yield Row(4, "train", "train", "train", source=egs, using=settings.network, output=str(layout.trained))
        if tuning := self.fine_tuning:
            row = Row(5, "fine-tune", "train", "train", data=str(tuning.data), source=str(tuning.own_egs))
            yield replace(row, vectors=str(tuning.init), using=str(tuning.conf), output=str(layout.model))
        if layout.main.has_train:
            yield from self._embedding_rows("embed", [("train", layout.main.feats / "train")], "full")
        yield from self._backend_embedding_rows()
        yield from self._dev_rows()
        tested = list(layout.tested())
        yield from self._embedding_rows("embed", [(test.name, test.feats) for test in tested], "full")
        for test in tested:  # one pass over the features of a set gives all protocols
            for protocol in settings.protocols.split():
                yield from self._embedding_rows("embed_protocols", [(test.name, test.feats)], protocol)
        if layout.embedded:
            yield from self._embedded_rows(layout.embedded)
        yield from scoring_rows(layout, self.systems)

    def _feature_rows(self) -> Iterator[Row]:
        layout = self.layout
        for corpus in layout.corpora:
            unit = f"features{corpus.suffix}"
            if corpus is layout.main and corpus.has_train:
                yield self._features(unit, corpus, "train", layout.train, corpus.feats / "train")
            for test in layout.eval_sets(corpus):
                yield self._features(unit, corpus, test.name, test.audio, test.feats)
        for condition in layout.settings.conditions:
            for corpus in layout.corpora:
                for test in layout.copies(corpus, condition):
                    unit = f"features_{condition.stem}{corpus.suffix}"
                    yield self._features(unit, corpus, test.name, test.audio, test.feats)

        if copies := layout.backend_copies:
            yield self._features(f"features_{copies.name}", layout.main, copies.name, copies.audio, copies.feats)
        if adapt := layout.adapt_set:
            unit = f"features{adapt.corpus.suffix}"
            yield self._features(unit, adapt.corpus, "adapt", adapt.audio, adapt.feats)

    def _features(self, unit: str, corpus: Corpus, name: str, source: Path, output: Path) -> Row:
        given = corpus.brings_features(name)
        source = corpus.data / name if given else source
        table = source / ("feats.scp" if given else "wav.scp")
        kind = "given" if given else self.layout.kind
        unit = unit.replace("features", "given", 1) if given else unit
        return Row(2, unit, "features", name, kind, data=str(source), source=str(table), output=str(output))

    def _dev_rows(self) -> Iterator[Row]:
        layout, held_out = self.layout, str(self.layout.dev / "audio" / "held_out")
        if layout.settings.dev_conf:
            yield Row(6, "dev_held_out", "hold", "train", data=str(layout.main.feats / "train"), output=held_out)
        for condition, dev in layout.dev_sets():
            row = Row(6, f"dev_audio_{condition.stem}", "preprocess", dev.name, data=held_out, using=str(condition))
            yield replace(row, output=str(dev.audio))
            row = Row(6, f"dev_features_{condition.stem}", "features", dev.name, layout.kind, data=str(dev.audio))
            yield replace(row, output=str(dev.feats))

    def _backend_embedding_rows(self) -> Iterator[Row]:
        """Of sets that no trial is of: units of their own, so that those of other sets stay as they are."""
        layout = self.layout
        copies, adapt = layout.backend_copies, layout.adapt_set
        for unit, name, feats in (
            *([("embed_backend", copies.name, copies.feats)] if copies else []),
            *([("embed_adapt", "adapt", adapt.feats)] if adapt else []),
        ):
            output = str(self.systems.embeddings / name / "xvector")
            yield Row(6, unit, "embed", name, "full", data=str(feats), output=output)

    def _embedding_rows(self, unit: str, sets: list[tuple[str, Path]], protocol: str) -> Iterator[Row]:
        for name, feats in sets:
            folder = self.systems.embeddings / name
            where = folder if protocol == "full" else folder / protocol
            yield Row(6, unit, "embed", name, protocol, data=str(feats), output=str(where / "xvector"))
            if protocol == "full" and self.systems.baseline and not name.startswith("dev_"):
                yield Row(6, unit, "statistics", name, data=str(feats), output=str(folder / "statistics"))

    def _embedded_rows(self, folder: Path) -> Iterator[Row]:
        layout = self.layout
        train = [("train", layout.main.feats / "train")] if layout.main.has_train else []
        for test in layout.tested():
            if lists := [*test.pair_lists, *([test.answer_rows] if test.answer_rows else [])]:
                raise DataError("--allow-missing leaves pairs out, and all of this list are to be answered", lists[0])
        for trials in (trials for test in layout.tested() for trials in test.trial_lists):
            if trials.suffix == ".npz":
                raise DataError("--allow-missing takes trials out of lists in text, not of this one", trials)
        for name, data in [*train, *((test.name, test.data) for test in layout.tested())]:
            vectors = str(self.systems.embeddings / name / "xvector.scp")
            yield Row(6, "embedded", "subset", name, data=str(data), vectors=vectors, output=str(folder / name))


def _change(unit: str, name: str, source: Path, conf: str, output: Path) -> Row:
    return Row(1, unit, "preprocess", name, data=str(source), using=conf, output=str(output))


def main() -> None:
    """The command above."""
    try:
        plan = Plan.of(Settings.read(sys.stdin.read().splitlines()))
        for name, value in plan.variables():
            print(f"{name}={value}")
        print("\t".join(TITLES.get(field.name, field.name) for field in fields(Row)))
        for row in plan.rows():
            cells = [str(cell) for cell in astuple(row)]
            if broken := [cell for cell in cells if "\t" in cell or "\n" in cell]:
                raise DataError(f"a path may not have a tab or a line break: {broken[0]!r}")
            print("\t".join(cells))
    except DataError as error:
        sys.exit(f"run.sh: error: {error}")


TITLES = {"source": "from", "using": "with"}  # words that Python keeps for itself

if __name__ == "__main__":
    main()
