"""Making a decision pack: its scores of a trial list, calibration, thresholds, copies. For make_decision_pack.py."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from timbre.backend.backends import read_backend
from timbre.backend.score_norm import read_cohort
from timbre.backend.vectors import Side, read_sides
from timbre.datadir.ark import write_vectors
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_numbers
from timbre.datadir.trials import Trials, read_trials
from timbre.decision.calibration import Calibration
from timbre.decision.least_speech import UNMEASURED, CutError, shortest_kept
from timbre.decision.overlap import Who
from timbre.decision.pack import COHORT, DecisionPack, Scorer
from timbre.decision.pack_page import TERMS, condition_paragraphs, origin, speech_paragraphs, write_page
from timbre.decision.quality import trial_values
from timbre.decision.tested import Condition, ranges_of
from timbre.evaluation.metrics import Floats, roc, split
from timbre.evaluation.speakers import trial_speakers
from timbre.feats.options import options_from
from timbre.feats.vad import VadOptions
from timbre.runtime.llr import MEASURES, pack_terms
from timbre.runtime.thresholds import OperatingPoint, error_rates, operating_points
from timbre.utils.configure import read_config
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_folder, check_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoredList:
    """A trial list, the embeddings of its utterances and tables of their quality measures."""

    path: Path
    embeddings: Path
    measures: Sequence[Path]

    @classmethod
    def of_conditions(
        cls, data_dirs: Sequence[Path], embeddings: Sequence[Path], tables: Sequence[Path], measures: Sequence[Path]
    ) -> dict[str, "ScoredList"]:
        """By name of the folder, with those of TABLES that are called as MEASURES are; DataError where they are not as
        many."""
        if len(data_dirs) != len(embeddings) or len(tables) != len(data_dirs) * bool(measures):
            text = f"{len(data_dirs)} conditions, embeddings of {len(embeddings)}, quality measures of {len(tables)}"
            raise DataError(f"{text}: as many are needed, of the measures if the calibration has some")
        folders = tables or data_dirs
        return {
            path.name: cls(path / "trials", vectors, [folder / table.name for table in measures])
            for path, vectors, folder in zip(data_dirs, embeddings, folders, strict=True)
        }

    def files(self) -> list[Path]:
        """What it is read from."""
        return [self.path, self.embeddings, *self.measures]

    def names(self) -> list[str]:
        """Names of the measures.

        Raises:
            DataError: one cannot be told of a recording by itself
        """
        names = [path.name.removeprefix("utt2") for path in self.measures]
        if unknown := [name for name in names if name not in MEASURES]:
            raise DataError(f"a pack cannot measure '{unknown[0]}', only {', '.join(MEASURES)}")
        return names


@dataclass(frozen=True)
class _Scored:
    trials: Trials
    values: Floats
    speakers: tuple[np.ndarray, np.ndarray]
    num_speakers: int
    cohort: Side | None
    sides: tuple[Side, Side]

    @property
    def utts(self) -> list[str]:
        """Of both sides."""
        return [*self.trials.enroll_ids, *self.trials.test_ids]


def make_pack(
    out_dir: Path,
    model_dir: Path,
    front: tuple[DataDir, VadOptions, Path | None],
    backend_dir: Path,
    cohort: tuple[Path | None, Path | None, int],
    calibration_list: ScoredList,
    test_list: ScoredList | None,
    conditions: Mapping[str, ScoredList],
    scaled: bool,
    prior: float,
    min_speech: float | None,
    draws: int,
    seed: int,
    nj: int,
) -> None:
    """Writes OUT_DIR, whole or not at all; see make_decision_pack.py. CONDITIONS by name."""
    from timbre.decision.shortest import cut_errors  # torch
    from timbre.embedding.embedder import AudioOptions, Front

    lists = [calibration_list, *([test_list] if test_list else []), *conditions.values()]
    inputs = [
        model_dir,
        front[0].path,
        front[2],
        backend_dir,
        *cohort[:2],
        *(path for one in lists for path in one.files()),
    ]
    check_folder(out_dir, "decision pack", inputs, "pack.yaml")
    names = calibration_list.names()
    if test_list and test_list.names() != names:
        raise DataError(f"the test list needs the measures {names}, in this order; given are {test_list.names()}")
    for path in (model_dir / "config.yaml", model_dir / "final.pt"):
        if not path.is_file():
            raise DataError("no such file: not a trained model", path)
    data, vad, audio_conf = front
    feats_path = data.path / "conf" / "feats.yaml"
    whole_front = Front(
        options_from(read_config(feats_path)), vad, AudioOptions.read(audio_conf) if audio_conf else None
    )
    trained = _score(calibration_list, backend_dir, cohort, nj)
    split(trained.values[:, 0], trained.trials.target, calibration_list.path)
    calibration = Calibration.train(pack_terms(names), trained.values, trained.trials.target, prior, scaled=scaled)
    calibration.trained_on.update(trials=str(calibration_list.path), speakers=trained.num_speakers)
    tested = trained
    if test_list:
        tested = _score(test_list, backend_dir, cohort, nj)
        split(tested.values[:, 0], tested.trials.target, test_list.path)
        _who(calibration_list, trained.trials).refuse(_who(test_list, tested.trials))
    llrs = calibration.apply(tested.values)
    points = operating_points(llrs, tested.trials.target, *tested.speakers, num_draws=draws, seed=seed)
    heard, found = [(data, trained.utts), (data, tested.utts)], []
    for name, one in conditions.items():
        scored = _score(one, backend_dir, cohort, nj)
        found.append(_under(name, scored, one.path, calibration, points, draws, seed))
        heard.append((DataDir.read(one.path.parent), scored.utts))
    backend = read_backend(backend_dir)
    scorer = Scorer(backend, trained.cohort, cohort[2])
    ranges = ranges_of(heard, whole_front.feats, nj)
    least = UNMEASURED if min_speech is None else min_speech
    pack = DecisionPack(out_dir, scorer, calibration, points, names, least, ranges)
    speech: list[CutError] = []
    if min_speech is None:
        tables = {name: read_numbers(path) for name, path in zip(names, calibration_list.measures, strict=True)}
        speech = cut_errors(pack, model_dir, data, trained.sides, trained.trials, tables)
        pack = replace(pack, min_speech=shortest_kept(speech))
    with atomic_folder(out_dir, "decision pack", inputs, "pack.yaml") as folder:
        (folder / "model").mkdir(parents=True)
        names_of_model = ["config.yaml", "final.pt", *(name for name in TERMS if (model_dir / name).is_file())]
        for name in names_of_model:
            shutil.copyfile(model_dir / name, folder / "model" / name)
        whole_front.write(folder / "front.yaml")
        (folder / "backend").mkdir()
        backend.write(folder / "backend")
        if trained.cohort is not None:
            write_vectors(folder / Path(COHORT).stem, trained.cohort.ids, trained.cohort.vectors)
            (folder / COHORT).with_suffix(".scp").unlink()  # it names this place, the pack may go to another
        sources = {"model": model_dir, "backend": backend_dir, "cohort": cohort[0], "features": feats_path}
        pack.write_settings(
            folder, {name: str(path) for name, path in sources.items() if path}, [asdict(one) for one in speech], found
        )
        measured_on = test_list or calibration_list
        system = f"Scores of {backend_dir}" + (", AS-norm" if trained.cohort is not None else "")
        write_page(
            folder / "README.md",
            out_dir,
            system,
            calibration,
            points,
            str(measured_on.path),
            tested.num_speakers,
            not test_list,
            condition_paragraphs(found, ranges)
            + speech_paragraphs(pack.min_speech, None if min_speech is not None else speech)
            + origin(model_dir),
        )
    for point in points:
        log.info(
            "%s %g: threshold %.3f, misses %s, false alarms %s",
            point.kind,
            point.value,
            point.threshold,
            point.miss,
            point.false_alarm,
        )


def _score(part: ScoredList, backend_dir: Path, cohort: tuple[Path | None, Path | None, int], nj: int) -> _Scored:
    """Scores and measures of the trials of PART, as the pack makes them."""
    trials = read_trials(part.path)
    enroll, test = read_sides(trials.enroll_ids, trials.test_ids, part.embeddings, part.embeddings, None)
    speakers = trial_speakers(part.path, trials)
    cohort_scp, cohort_utt2spk, top_n = cohort
    members = None
    if cohort_scp is not None:
        members = read_cohort(cohort_scp, cohort_utt2spk, speakers.names, {*enroll.ids, *test.ids})
    scorer = Scorer(read_backend(backend_dir), members, top_n)
    scores = scorer.pairs(enroll, test, trials.enroll.astype(np.int64), trials.test.astype(np.int64), nj)
    columns = [scores]
    if part.measures:
        columns.append(trial_values(trials, (), part.measures)[1])
    of_trials = speakers.enroll[trials.enroll], speakers.test[trials.test]
    return _Scored(trials, np.column_stack(columns), of_trials, len(speakers.names), members, (enroll, test))


def _under(
    name: str,
    scored: _Scored,
    path: Path,
    calibration: Calibration,
    points: Sequence[OperatingPoint],
    draws: int,
    seed: int,
) -> Condition:
    """Errors of the list SCORED, which is PATH, at the thresholds of POINTS."""
    llrs, target = calibration.apply(scored.values), scored.trials.target
    eer = roc(*split(llrs, target, path)).eer()
    thresholds = np.array([point.threshold for point in points])
    rates = error_rates(llrs, target, *scored.speakers, thresholds, draws, seed)
    counted = [replace(one, miss=miss, false_alarm=alarm) for one, (miss, alarm) in zip(points, rates, strict=True)]
    return Condition(name, scored.num_speakers, eer, counted)


def _who(part: ScoredList, trials: Trials) -> Who:
    return Who.of(part.path, trials)
