"""The rows of a plan from embeddings to results: which score file comes from which list, embeddings and back-end."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from timbre.recipe.layout import DevSet, Layout, TestSet
from timbre.recipe.systems import Systems


@dataclass(frozen=True)
class Row:
    """One thing that a stage makes; "-" is nothing.

    stage, unit: what is run, skipped and redone as a whole; task: which command; set; kind: the protocol, front,
    features or system; trials, models: a trial list, and its models of several utterances; data: a data directory, or
    the table of speakers; vectors: embeddings; source (column `from`), using (`with`): what else the command is given;
    output: what it writes
    """

    stage: int
    unit: str
    task: str
    set: str = "-"
    kind: str = "-"
    trials: str = "-"
    models: str = "-"
    data: str = "-"
    vectors: str = "-"
    source: str = "-"
    using: str = "-"
    output: str = "-"


def scoring_rows(layout: Layout, systems: Systems) -> Iterator[Row]:
    """Stages 7 to 11."""
    if systems.has_backend:
        yield from _backend_rows(layout, systems)
    if systems.calibrate:
        trials = systems.calibration / "trials"
        yield _held_out(layout, systems)
        yield from _pool_rows(layout, systems)
        dev = Row(8, "score", "score", "train", trials=str(trials), vectors=_vectors(systems, "train"))
        yield from _systems(systems, dev, systems.calibration / "scores" / "dev")
        yield from _siamese(layout, systems, dev, systems.calibration / "scores" / "dev")
        if systems.pooled:
            pooled = replace(dev, trials=str(systems.pooled / "trials"), vectors=str(systems.pooled / "xvector.scp"))
            yield from _systems(systems, pooled, systems.pooled / "scores" / "dev")
        if systems.quality:
            row = _quality_row(systems, "train", layout.main.feats / "train", systems.calibration / "utt2spk")
            if where := systems.pooled:
                row = replace(row, data=str(where), vectors=str(where / "xvector.scp"), source=str(where / "utt2spk"))
            yield row
        yield from _calibration_rows(systems, trials)
    for test in layout.scored():
        if systems.quality and test.trial_lists:
            yield _quality_row(systems, test.name, test.feats, Path(_vectors(systems, test.name)))
        for trials in test.trial_lists:
            yield from _list_rows(layout, systems, test, trials)
        for pairs in test.pair_lists:
            yield from _list_rows(layout, systems, test, pairs)
    yield from _result_rows(layout, systems)
    if systems.calibrate:
        yield from _submission_rows(layout, systems)


def _quality_row(systems: Systems, name: str, feats: Path, utts: Path) -> Row:
    """Quality measures of the UTTS, a table, of set NAME; by the mean of the cosine back-end."""
    row = Row(8, "score", "measure", name, data=str(feats), vectors=_vectors(systems, name), source=str(utts))
    return replace(
        row, using=str(systems.folders["cosine"]), output=str(systems.quality / name if systems.quality else "-")
    )


def _held_out(layout: Layout, systems: Systems) -> Row:
    row = Row(7, "held-out", "hold", "train", data=str((layout.embedded or layout.main.feats) / "train"))
    return replace(row, vectors=_vectors(systems, "train"), output=str(systems.calibration))


def _pool_rows(layout: Layout, systems: Systems) -> Iterator[Row]:
    """The held-out speakers as they are, then under each condition, a row each."""
    if systems.pooled:
        known = [test for test in layout.scored() if isinstance(test, DevSet)]
        whole = [("train", systems.calibration), *((test.name, test.feats) for test in known)]
        for name, data in whole:
            row = Row(7, "pool", "pool", name, data=str(data), vectors=_vectors(systems, name))
            yield replace(row, output=str(systems.pooled))


def _backend_rows(layout: Layout, systems: Systems) -> Iterator[Row]:
    settings, utt2spk = layout.settings, str(systems.training.utt2spk)
    if copies := layout.backend_copies:
        combined = Row(7, "back-end-data", "combine", copies.name, data=str(copies.feats))
        held = str(systems.calibration / "held_out") if systems.calibrate else "-"
        combined = replace(combined, vectors=_vectors(systems, copies.name), source=_vectors(systems, "train"))
        yield replace(combined, using=held, output=str(systems.training.scp.parent))
    for name, folder in reversed(systems.folders.items()):  # the one at the top of the folder first
        conf = "conf/backend/cosine.yaml" if name == "cosine" != settings.backend else settings.backend_conf
        row = Row(7, "back-end", "train", "train", name, data=utt2spk, vectors=str(systems.training.scp))
        yield replace(row, using=conf, output=str(folder))
    yield from _adapt_rows(layout, systems)
    if not systems.baseline:
        return
    vectors = systems.embeddings / "train" / "statistics.scp"
    utt2spk = str(layout.main.feats / "train" / "utt2spk")
    row = Row(7, "back-end", "train", "train", "statistics", data=utt2spk, vectors=str(vectors))
    yield replace(row, using="conf/backend/statistics.yaml", output=str(systems.backend / "statistics"))


def _adapt_rows(layout: Layout, systems: Systems) -> Iterator[Row]:
    for name, folder in reversed(systems.adapted.items()):
        is_plda = layout.settings.is_llr and name == layout.settings.backend
        row = Row(7, "adapt", "adapt" if is_plda else "adapt-mean", "adapt", f"{name}_adapted")
        row = replace(row, vectors=_vectors(systems, "adapt"))
        yield replace(row, source=str(systems.folders[name]), output=str(folder))


def _vectors(systems: Systems, name: str, *protocol: str) -> str:
    return str(systems.embeddings.joinpath(name, *protocol, "xvector.scp"))


def _systems(systems: Systems, row: Row, stem: Path, protocol: str = "") -> Iterator[Row]:
    """STEM.cosine, STEM.plda (the name of the back-end), each with AS-norm too; @PROTOCOL, if it is given, after it."""
    at = f"@{protocol}" if protocol else ""
    for name, folder in systems.folders.items():
        scores, kind = f"{stem}.{name}{at}", f"{name}_asnorm{at}"
        yield replace(row, kind=f"{name}{at}", using=str(folder) if folder else "-", output=scores)
        if folder:
            normalized = f"{stem}.{kind}"
            yield replace(row, task="normalize", kind=kind, source=scores, using=str(folder), output=normalized)


def _adapted_systems(systems: Systems, row: Row, stem: Path, protocol: str = "") -> Iterator[Row]:
    """The same by back-ends that are adapted: STEM.cosine_adapted, STEM.cosine_adapted_asnorm, ..."""
    at = f"@{protocol}" if protocol else ""
    for name, folder in systems.adapted.items():
        scores, kind = f"{stem}.{name}_adapted{at}", f"{name}_adapted_asnorm{at}"
        scored = replace(row, kind=f"{name}_adapted{at}", using=str(folder), output=scores)
        yield scored
        yield replace(scored, task="normalize-adapted", kind=kind, source=scores, output=f"{stem}.{kind}")


def _siamese(layout: Layout, systems: Systems, row: Row, stem: Path) -> Iterator[Row]:
    """STEM.siamese, by the head that the network was trained with, if it was."""
    if systems.siamese:
        yield replace(row, task="siamese", kind="siamese", using=str(layout.model), output=f"{stem}.siamese")


def _score_stem(layout: Layout, test: TestSet, trials: Path) -> Path:
    """exp/NAME/scores/SET or SET_KIND; of a list of pairs without labels, the same in exp/NAME/pairs."""
    kind = "pairs" if trials.name.startswith("pairs") else "trials"
    folder = layout.exp / ("pairs" if kind == "pairs" else "scores")
    return folder / f"{test.name}{trials.name.removeprefix(kind)}"


def _calibration_rows(systems: Systems, trials: Path) -> Iterator[Row]:
    """What is learnt of the scores of the held-out speakers: a calibration of each system, and their fusion."""
    dev = {name: f"{systems.calibration}/scores/dev.{name}_asnorm" for name in systems.names}
    row = Row(8, "score", "learn", "train", trials=str(trials))
    for name, scores in dev.items():
        yield replace(row, kind=f"{name}_llr", source=scores, output=f"{systems.calibration}/{name}_asnorm")
    for name in systems.adapted if systems.cohort_is_adapted else ():
        folder, vectors = systems.calibration / "adapted", _vectors(systems, "train")
        scores, raw = f"{folder}/scores/dev.{name}_asnorm", f"{systems.calibration}/scores/dev.{name}"
        like = replace(row, task="normalize-like-adapted", kind=f"{name}_adapted_asnorm", vectors=vectors, source=raw)
        yield replace(like, using=str(systems.folders[name]), output=scores)
        yield replace(row, kind=f"{name}_adapted_llr", source=scores, output=f"{folder}/{name}_asnorm")
    if len(dev) > 1:
        both = f"[{','.join(dev.values())}]"
        yield replace(row, kind="fusion", source=both, output=f"{systems.calibration}/fusion")
    if systems.quality:
        folder = systems.pooled or systems.calibration
        dev = {name: f"{folder}/scores/dev.{name}_asnorm" for name in systems.names}
        dev |= {"fusion": f"[{','.join(dev.values())}]"} if len(dev) > 1 else {}
        task = "learn-scaled" if systems.pooled else "learn"
        row = replace(row, task=task, trials=str(folder / "trials"), data=str(systems.quality / "train"))
        for name, scores in dev.items():
            output = f"{systems.calibration}/{name}_quality"
            yield replace(row, kind=f"{name}_quality", source=scores, output=output)


def _list_rows(layout: Layout, systems: Systems, test: TestSet, trials: Path) -> Iterator[Row]:
    """DATA/SET/trials or DATA/SET/trials_KIND, scored in SET.BACKEND or SET_KIND.BACKEND; and `pairs` likewise."""
    stem = _score_stem(layout, test, trials)
    unit = "score" if stem.parent.name == "scores" else "score-pairs"
    row = Row(8, unit, "score", test.name, trials=str(trials), models=str(test.models or "-"))
    known = isinstance(test, DevSet)  # the speakers held out of training, to calibrations and to the baseline
    if systems.baseline and not known:
        statistics = replace(row, kind="statistics", vectors=str(systems.embeddings / test.name / "statistics.scp"))
        yield replace(statistics, using=str(systems.backend / "statistics"), output=f"{stem}.statistics")
    whole = replace(row, vectors=_vectors(systems, test.name))
    yield from _systems(systems, whole, stem)
    yield from _adapted_systems(systems, whole, stem)
    yield from _siamese(layout, systems, whole, stem)
    if systems.calibrate and not known:
        calibrated = replace(row, task="calibrate")
        for name in systems.names:
            scores, learnt = f"{stem}.{name}_asnorm", f"{systems.calibration}/{name}_asnorm"
            kind = f"{name}_llr"
            yield replace(calibrated, kind=kind, source=scores, using=learnt, output=f"{stem}.{kind}")
        folder = systems.calibration / "adapted" if systems.cohort_is_adapted else systems.calibration
        for name in systems.adapted:  # as what is not adapted: no speakers of the new domain are known
            scores, learnt = f"{stem}.{name}_adapted_asnorm", f"{folder}/{name}_asnorm"
            kind = f"{name}_adapted_llr"
            row_of = replace(calibrated, task="calibrate-adapted", kind=kind)
            yield replace(row_of, source=scores, using=learnt, output=f"{stem}.{kind}")
        if len(systems.names) > 1:
            both = f"[{','.join(f'{stem}.{name}_asnorm' for name in systems.names)}]"
            learnt = f"{systems.calibration}/fusion"
            yield replace(calibrated, kind="fusion", source=both, using=learnt, output=f"{stem}.fusion")
        if systems.quality:
            all_scores = {name: f"{stem}.{name}_asnorm" for name in systems.names}
            all_scores |= {"fusion": f"[{','.join(all_scores.values())}]"} if len(all_scores) > 1 else {}
            measured = replace(calibrated, data=str(systems.quality / test.name))
            for name, scores in all_scores.items():
                learnt, kind = f"{systems.calibration}/{name}_quality", f"{name}_quality"
                yield replace(measured, kind=kind, source=scores, using=learnt, output=f"{stem}.{kind}")
    for protocol in layout.settings.protocols.split():
        crops = replace(row, vectors=_vectors(systems, test.name, protocol))
        yield from _systems(systems, crops, stem, protocol)
        yield from _adapted_systems(systems, crops, stem, protocol)
        if protocol.startswith("tta"):
            cosine = systems.folders["cosine"]
            mean, output = str(cosine / "mean.vec") if cosine else "-", f"{stem}.euclidean@{protocol}"
            yield replace(crops, task="crops", kind="euclidean", using=mean, output=output)


def _result_rows(layout: Layout, systems: Systems) -> Iterator[Row]:
    for test in layout.scored():
        for trials in test.trial_lists:
            scores = f"{_score_stem(layout, test, trials)}.{systems.best}"
            row = Row(9, "results", "analyze", test.name, systems.best, trials=str(trials), data=str(test.feats))
            yield replace(row, source=scores, output=str(layout.exp))
            if isinstance(test, DevSet) and systems.calibrate:
                row = Row(9, "decision", "condition", test.name, data=str(trials.parent))
                if systems.pooled and systems.quality:
                    row = replace(row, source=str(systems.quality / test.name))
                yield replace(row, vectors=_vectors(systems, test.name))
    originals = [test for corpus in layout.corpora for test in layout.eval_sets(corpus)]
    for test in originals:
        row = Row(
            9, "results", "map", test.name, data=str(test.feats / "utt2spk"), vectors=_vectors(systems, test.name)
        )
        yield replace(row, output=str(layout.exp / "plots" / f"tsne_{test.name}"))
    if layout.settings.identify == "true" and systems.has_backend:
        for test in originals:
            folder = layout.embedded / test.name if layout.embedded else test.feats
            row = Row(9, "identify", "identify", test.name, data=str(folder), vectors=_vectors(systems, test.name))
            using = systems.folders[systems.names[-1]]
            yield replace(row, using=str(using or "-"), output=str(layout.exp / "identification" / test.name))
    if layout.settings.classify == "true":
        yield from _classify_rows(layout, systems, originals)
    if layout.settings.diarize == "true":
        folder = layout.exp / "diarization"
        if layout.main.has_train:
            dev = Row(10, "diarize", "conversations", "dev", data=str(layout.main.audio / "train"))
            yield replace(dev, output=str(folder / "dev"))
        for test in originals:
            row = Row(10, "diarize", "conversations", test.name, data=str(test.audio))
            yield replace(row, output=str(folder / test.name))
    if layout.settings.explain == "true":
        yield from _explain_rows(layout, systems)


def _explain_rows(layout: Layout, systems: Systems) -> Iterator[Row]:
    backend = systems.folders[systems.names[-1]]
    for test in layout.scored():
        for trials in test.trial_lists:
            name = f"{test.name}{trials.name.removeprefix('trials')}"
            row = Row(11, "explain", "explain", test.name, systems.best, trials=str(trials), data=str(test.feats))
            row = replace(row, models=str(test.models or "-"), using=str(backend or "-"))
            source = layout.exp / "analysis" / f"{name}.{systems.best}.json"
            yield replace(row, source=str(source), output=str(layout.exp / "explain" / name))


def _submission_rows(layout: Layout, systems: Systems) -> Iterator[Row]:
    """Each list that is to be answered, decided at the threshold of the held-out speakers."""
    asked = [test for corpus in layout.corpora for test in layout.eval_sets(corpus) if test.answer_rows]
    for test in asked:
        lists = [test.original / name for name in ("pairs", "trials") if (test.original / name).is_file()]
        row = Row(9, "submission", "submit", test.name, systems.decides, trials=str(systems.calibration / "trials"))
        name = "submission.csv" if len(asked) == 1 else f"submission_{test.name}.csv"
        for trials in lists[:1]:
            scores = f"{_score_stem(layout, test, trials)}.{systems.decides}"
            dev = systems.calibration / "scores" / f"dev.{systems.decides}"
            yield replace(row, data=str(test.answer_rows), source=scores, using=str(dev), output=str(layout.exp / name))


def _classify_rows(layout: Layout, systems: Systems, originals: list[TestSet]) -> Iterator[Row]:
    """What was held out of training, with its speakers; and sets whose corpus wants rows of a submission."""
    folder = layout.exp / "classification"
    if layout.trained:
        held = Row(9, "classify", "held-out", "train", data=str(layout.main.feats / "train" / "utt2spk"))
        yield replace(held, vectors=_vectors(systems, "train"), output=str(folder / "train"))
    for test in originals:
        rows = test.original / "utt2row"
        row = Row(9, "classify", "classify", test.name, vectors=_vectors(systems, test.name))
        row = replace(row, output=str(folder / test.name))
        if rows.is_file():
            row = replace(row, source=str(rows), using=str(layout.exp / "submission.csv"))
        yield row
