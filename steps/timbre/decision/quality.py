"""Values of trials beside their score, out of tables of utterances: what calibration.py takes.

A table is Kaldi's "utt value": a number (utt2snr) or a label (utt2sex), named after what follows "utt2".
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from timbre.datadir.tables import read_lists, read_numbers, read_table
from timbre.datadir.trials import Trials, read_scores
from timbre.evaluation.metrics import Floats
from timbre.runtime.llr import Term
from timbre.utils.errors import DataError


def trial_values(
    trials: Trials,
    scores: Sequence[Path],
    measures: Sequence[Path] = (),
    labels: Sequence[Path] = (),
    enroll_spk2utt: Path | None = None,
) -> tuple[list[Term], Floats]:
    """The terms that files stand for, and their values (N, K) for TRIALS.

    Args:
        trials: the list
        scores: score files of it; one is named after its suffix, eval.plda is plda
        measures: tables of numbers; each gives the mean of both sides and their difference, so the order of the sides
            does not matter. A model has the mean of its utterances
        labels: tables of labels, such as utt2sex
        enroll_spk2utt: enrolment ids named here are models

    Raises:
        DataError: a bad file, two of one name, an id without a value, a score that is not finite
    """
    models = read_lists(enroll_spk2utt) if enroll_spk2utt else {}
    terms = [Term("score", _score_name(path)) for path in scores]
    columns = [_finite_scores(path, trials) for path in scores]
    for path in measures:
        enroll, test = (values[rows] for values, rows in _sides(read_numbers(path), trials, models, path))
        terms += [Term("mean", _measure_name(path)), Term("gap", _measure_name(path))]
        columns += [(enroll + test) / 2, np.abs(enroll - test)]
    for path in labels:
        sides = _label_sides(read_table(path), trials, models, path)
        terms.append(Term("same", _measure_name(path)))
        columns.append((sides[0] == sides[1]).astype(np.float64))
    names = [str(term) for term in terms]
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                f"'{name}' is given {names.count(name)} times: files are told apart by what follows the dot, or utt2"
            )
    return terms, np.column_stack(columns)


def check_terms(given: Sequence[Term], wanted: Sequence[Term], path: Path, adapted: bool = False) -> None:
    """DataError unless GIVEN are the terms, in that order, that the calibration in PATH has.

    With ADAPTED scores may be of the same back-ends adapted to another domain, plda_adapted_asnorm for plda_asnorm.
    """
    names, expected = [str(term) for term in given], [str(term) for term in wanted]
    if adapted:
        names = [re.sub("_adapted(?=_|$)", "", name) for name in names]
    if names != expected:
        raise DataError(f"trained on {', '.join(expected)}, in this order; given are {', '.join(names)}", path)


def _score_name(path: Path) -> str:
    return path.suffix[1:] or path.name


def _measure_name(path: Path) -> str:
    return path.name.removeprefix("utt2")


def _finite_scores(path: Path, trials: Trials) -> Floats:
    scores = read_scores(path, trials)
    if not np.isfinite(scores).all():
        raise DataError(f"the score of '{trials.name(int(np.isfinite(scores).argmin()))}' is not finite", path)
    return scores


def _sides(
    table: Mapping[str, float], trials: Trials, models: Mapping[str, Sequence[str]], path: Path
) -> tuple[tuple[Floats, np.ndarray], tuple[Floats, np.ndarray]]:
    """(values of the ids, rows of the trials) of the enrolment side and of the test side."""
    lists = [models.get(key, [key]) for key in trials.enroll_ids]
    _check_known(table, [utt for utts in lists for utt in utts] + trials.test_ids, path)
    enroll = np.array([np.mean([table[utt] for utt in utts]) for utts in lists])
    return (enroll, trials.enroll), (np.array([table[utt] for utt in trials.test_ids]), trials.test)


def _label_sides(
    table: Mapping[str, str], trials: Trials, models: Mapping[str, Sequence[str]], path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both sides of each trial; those of a model's utterances must be one."""
    lists = [models.get(key, [key]) for key in trials.enroll_ids]
    _check_known(table, [utt for utts in lists for utt in utts] + trials.test_ids, path)
    for key, utts in zip(trials.enroll_ids, lists, strict=True):
        if len({table[utt] for utt in utts}) > 1:
            raise DataError(f"the utterances of model '{key}' have different labels", path)
    enroll = np.array([table[utts[0]] for utts in lists])[trials.enroll]
    return enroll, np.array([table[utt] for utt in trials.test_ids])[trials.test]


def _check_known(table: Mapping[str, object], ids: Sequence[str], path: Path) -> None:
    if missing := sorted({key for key in ids if key not in table}):
        raise DataError(f"no value for '{missing[0]}' ({len(missing)} of {len(set(ids))} ids of the trials)", path)
