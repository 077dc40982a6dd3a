"""Z-, T-, S- and AS-norm: scores measured in the spread of a side's scores against a cohort of other speakers.

Called by normalize_scores.py. The same for every back-end: a cohort is one more test side to its `factors`.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from timbre.backend.backends import Backend
from timbre.backend.scoring import map_products
from timbre.backend.vectors import Embeddings, Floats, Side, Vectors
from timbre.datadir.datadir import invert
from timbre.runtime.factors import Factors, Integers, spread
from timbre.utils.errors import DataError

log = logging.getLogger(__name__)

Method = Literal["as-norm", "as-norm2", "s-norm", "z-norm", "t-norm"]

_GATHER = 1 << 18  # cohort scores picked at a time, 1 MB
_TRIALS = 1 << 20  # trials at a time
_ROWS = 1 << 14  # vectors compared at a time
_MASKS = 512  # selections of cohort members at a time, as columns of zeros and ones
_DENSE = 30  # a product with a selection's zero or one costs about this much less than a score picked
_FLOOR = 1e-6  # of a standard deviation: what is no larger is rounding, and the cohort scores alike


@dataclass(frozen=True)
class CohortStats:
    """Mean and standard deviation of the cohort scores of N vectors, (N,) each."""

    mean: Floats
    std: Floats

    def at(self, rows: Integers) -> "CohortStats":
        """Those of some rows."""
        return CohortStats(self.mean[rows], self.std[rows])


def read_cohort(
    path: Path,
    utt2spk: Path | None,
    trial_speakers: Collection[str],
    trial_utts: Collection[str],
    single: int | None = None,
) -> Side:
    """The cohort in PATH: with UTT2SPK the mean vector of each speaker, otherwise every vector; nobody of the trials.

    With SINGLE that many vectors as they are, all those of one speaker after the other, who are drawn.

    Raises:
        DataError: an id comes twice, UTT2SPK does not name an utterance, or fewer than two members are left
    """
    embeddings = Embeddings.read(path)
    speakers = embeddings.speakers(utt2spk) if utt2spk else embeddings.ids
    members = invert(dict(zip(embeddings.ids, speakers, strict=True)))
    tried = set(trial_utts)
    excluded = {speaker for speaker, utts in members.items() if speaker in trial_speakers or not tried.isdisjoint(utts)}
    if excluded:
        log.info("cohort %s: left out %d of %d speakers, who are in the trials", path, len(excluded), len(members))
    members = {speaker: utts for speaker, utts in members.items() if speaker not in excluded}
    if single is not None:
        order = np.random.default_rng(0).permutation(sorted(members))
        drawn = [utt for speaker in order for utt in sorted(members[speaker])][:single]
        members = {utt: [utt] for utt in drawn}
    if len(members) < 2:
        raise DataError(f"a cohort of {len(members)} cannot normalise scores", path)
    side = embeddings.average(members, str(utt2spk))
    if (side.vectors == side.vectors[0]).all():
        raise DataError(f"all {len(members)} vectors of the cohort are the same: it cannot normalise scores", path)
    return Side.single(side.ids, side.vectors, path)  # scored like any test vector


def normalize_trials(
    scores: Floats,
    enroll: Integers,
    test: Integers,
    backend: Backend,
    sides: tuple[Side, Side],
    cohort: Side,
    method: Method = "as-norm",
    top_n: int = 300,
    nj: int = 1,
) -> Floats:
    """Normalised SCORES (N,) of the trials (ENROLL[i], TEST[i]) of SIDES, which BACKEND scored.

    z-norm measures a score in the mean and deviation of the cohort scores of its enrolment side, t-norm in those of its
    test side, s-norm is the mean of both (Kenny 2010). as-norm is s-norm with the TOP_N highest cohort scores of each
    side, as-norm2 with the scores of either side against the TOP_N members that score highest with the *other* side
    (Matejka et al. 2017, AS-norm 1 and 2; TOP_N is at most the cohort).

    Raises:
        DataError: TOP_N is less than 2
    """
    if method == "as-norm2":
        return normalize(scores, *cross_stats(backend, *sides, enroll, test, cohort, top_n, nj))
    # as-norm alone does not take the whole cohort
    of_sides = side_stats(backend, *sides, cohort, top_n if method == "as-norm" else None, nj)
    normalized = np.empty(len(scores))
    begin = 0
    for block in normalized_blocks(scores, enroll, test, of_sides, method):
        normalized[begin : begin + len(block)] = block
        begin += len(block)
    return normalized


def normalized_blocks(
    scores: Floats, enroll: Integers, test: Integers, of_sides: Sequence[CohortStats], method: Method
) -> Iterator[Floats]:
    """Normalised SCORES, some trials at a time: their statistics at once would be four times a long list.

    Args:
        scores: (N,) of the trials (ENROLL[i], TEST[i])
        enroll: (N,) rows of the first of OF_SIDES
        test: (N,) rows of the second
        of_sides: statistics of the enrolment side and of the test side
        method: as in `normalize_trials`, but not as-norm2
    """
    used = {"z-norm": slice(1), "t-norm": slice(1, 2)}.get(method, slice(2))
    for begin in range(0, len(scores), _TRIALS):
        part = slice(begin, begin + _TRIALS)
        stats = [side.at(rows[part]) for side, rows in zip(of_sides, (enroll, test), strict=True)]
        yield normalize(scores[part], *stats[used])


def normalize(scores: Floats, *sides: CohortStats) -> Floats:
    """SCORES (N,) of trials whose SIDES have these statistics, (N,) each: the mean over the sides."""
    normalized: Floats = np.mean([(scores - side.mean) / side.std for side in sides], axis=0)
    return normalized


def cohort_stats(factors: Factors, top_n: int | None, nj: int = 1) -> CohortStats:
    """Of every row's TOP_N highest scores, or of all (None): mean and population standard deviation.

    Raises:
        DataError: TOP_N is less than 2
    """
    num_rows, size = len(factors.left), len(factors.right)
    first = size - _checked(top_n, size)
    stats = CohortStats(np.empty(num_rows), np.empty(num_rows))

    def measure(rows: slice, scores: Vectors) -> None:
        if first:
            scores.partition(first, axis=1)
        _measure(stats, rows, scores[:, first:])
        stats.mean[rows] += factors.left_bias[rows]

    _map_scores(factors, measure, nj)
    _check_spread(stats)
    return stats


def cross_stats(
    backend: Backend,
    enroll_side: Side,
    test_side: Side,
    enroll: Integers,
    test: Integers,
    cohort: Side,
    top_n: int,
    nj: int = 1,
) -> tuple[CohortStats, CohortStats]:
    """Of each trial (ENROLL[i], TEST[i]): statistics of either side's scores against the other's TOP_N members.

    Only scores of listed trials are looked at, and memory is linear in the number of trials, ids and cohort members.

    Raises:
        DataError: TOP_N is less than 2
    """
    sides = [backend.factors(side, cohort) for side in (enroll_side, test_side)]
    members = [_top_members(factors, top_n, nj) for factors in sides]
    return (
        _selected_stats(sides[0], enroll, members[1], test, nj),
        _selected_stats(sides[1], test, members[0], enroll, nj),
    )


def _top_members(factors: Factors, top_n: int, nj: int) -> Integers:
    """Of every row the columns of its TOP_N highest scores, in no order: (rows, TOP_N) int32."""
    size = len(factors.right)
    count = _checked(top_n, size)
    members = np.empty((len(factors.left), count), np.int32)

    def choose(rows: slice, scores: Vectors) -> None:
        members[rows] = scores.argpartition(size - count, axis=1)[:, size - count :] if count < size else range(size)

    _map_scores(factors, choose, nj)
    return members


def _selected_stats(factors: Factors, rows: Integers, members: Integers, selector: Integers, nj: int) -> CohortStats:
    """Statistics, for each i, of the scores of row ROWS[i] in the columns MEMBERS[SELECTOR[i]].

    Scores are picked for each i, or, where much of all rows by all selections is asked for, multiplied by selections.
    """
    order = np.argsort(rows, kind="stable")
    sorted_rows = rows[order]
    stats = CohortStats(np.empty(len(rows)), np.empty(len(rows)))

    def select(block: slice, scores: Vectors) -> None:
        trials = order[slice(*np.searchsorted(sorted_rows, (block.start, block.stop)))]
        dense = _DENSE * members.shape[1] * len(trials) > scores.size * len(members)
        place = rows[trials] - block.start
        (_multiply if dense else _pick)(scores, place, members, selector[trials], stats, trials)
        stats.mean[trials] += factors.left_bias[rows[trials]]

    _map_scores(factors, select, nj)
    _check_spread(stats)
    return stats


def _check_spread(stats: CohortStats) -> None:
    """DataError where cohort scores are all the same: what is divided by their spread would mean nothing."""
    if stats.std.size and stats.std.min() <= _FLOOR:
        count = int(np.count_nonzero(stats.std <= _FLOOR))
        text = f"{count} of {len(stats.std)} vectors score alike against all of the cohort, or of its highest"
        raise DataError(f"{text}: a cohort of copies cannot normalise scores")


def _pick(
    scores: Vectors, rows: Integers, members: Integers, selector: Integers, stats: CohortStats, trials: Integers
) -> None:
    """Writes to rows TRIALS of STATS those of the scores of ROWS in the columns MEMBERS[SELECTOR]."""
    flat = scores.reshape(-1)
    step = max(1, _GATHER // members.shape[1])
    for begin in range(0, len(trials), step):
        part = slice(begin, begin + step)
        places = members[selector[part]] + (rows[part] * scores.shape[1])[:, None]
        _measure(stats, trials[part], flat.take(places))


def _multiply(
    scores: Vectors, rows: Integers, members: Integers, selector: Integers, stats: CohortStats, trials: Integers
) -> None:
    """As `_pick`, by the products of all SCORES, which it overwrites, and all selections."""
    center = scores.mean(axis=1, dtype=np.float64)
    scores -= center[:, None].astype(np.float32)
    squares = np.square(scores)
    order = np.argsort(selector, kind="stable")
    sorted_selector = selector[order]
    for begin in range(0, len(members), _MASKS):
        chosen = members[begin : begin + _MASKS]
        mask = np.zeros((len(chosen), scores.shape[1]), np.float32)
        np.put_along_axis(mask, chosen, np.float32(1 / chosen.shape[1]), axis=1)
        mean, square = (values @ mask.T for values in (scores, squares))
        part = order[slice(*np.searchsorted(sorted_selector, (begin, begin + _MASKS)))]
        cell = rows[part], selector[part] - begin
        stats.mean[trials[part]] = mean[cell] + center[rows[part]]
        variance = square[cell] - mean[cell].astype(np.float64) ** 2
        stats.std[trials[part]] = np.maximum(np.sqrt(np.maximum(variance, 0)), _FLOOR)


def _map_scores(factors: Factors, function: Callable[[slice, Vectors], None], nj: int) -> None:
    """FUNCTION(rows, scores less left_bias) for all rows, by blocks; it may overwrite a block."""
    bias = factors.right_bias.astype(np.float32)

    def add(rows: slice, scores: Vectors) -> None:
        scores += bias[factors.group[rows]] if len(bias) > 1 else bias[0]
        function(rows, scores)

    map_products(factors, add, nj)


def _measure(stats: CohortStats, rows: slice | Integers, scores: Vectors) -> None:
    """Writes mean and deviation of SCORES (n, K), which it overwrites, to ROWS of STATS."""
    mean, std = spread(scores)
    stats.mean[rows] = mean
    stats.std[rows] = np.maximum(std, _FLOOR)


def _checked(top_n: int | None, size: int) -> int:
    if top_n is not None and top_n < 2:
        raise DataError(f"the {top_n} highest cohort scores have no spread: take at least 2")
    return min(top_n or size, size)


def side_stats(
    backend: Backend,
    enroll: Side,
    test: Side,
    cohort: Side,
    top_n: int | None,
    nj: int = 1,
    measure: Callable[[Factors, int | None, int], CohortStats] = cohort_stats,
) -> tuple[CohortStats, CohortStats]:
    """Cohort statistics of the enrolment side and of the test side; what stands on both sides is scored once.

    MEASURE does what `cohort_stats` does, as it does it.
    """
    if enroll.sessions is not None or test.sessions is not None:
        enroll_stats, test_stats = (measure(backend.factors(side, cohort), top_n, nj) for side in (enroll, test))
        return enroll_stats, test_stats
    place = {key: row for row, key in enumerate(enroll.ids)}
    rows = np.fromiter((place.get(key, -1) for key in test.ids), np.int64, len(test.ids))
    same = rows >= 0
    both_have = np.flatnonzero(same)
    for begin in range(0, len(both_have), _ROWS):  # some at a time: as many vectors as there are may be a gigabyte
        of_test = both_have[begin : begin + _ROWS]
        of_enroll = rows[of_test]
        alike = (enroll.vectors[of_enroll] == test.vectors[of_test]).all(axis=1)
        same[of_test] = (enroll.num_utts[of_enroll] == 1) & alike
    rows[~same] = len(enroll.ids) + np.arange(np.count_nonzero(~same))
    alone = np.flatnonzero(~same)
    if not len(alone):  # as in most long lists: nothing is copied
        both = Side(enroll.ids, enroll.vectors, enroll.num_utts)
        stats = measure(backend.factors(both, cohort), top_n, nj)
        return stats, stats.at(rows)
    both = Side(
        [*enroll.ids, *(test.ids[row] for row in alone.tolist())],
        np.concatenate([enroll.vectors, test.vectors[alone]]),
        np.append(enroll.num_utts, test.num_utts[alone]),
    )
    stats = measure(backend.factors(both, cohort), top_n, nj)
    return stats.at(np.arange(len(enroll.ids))), stats.at(rows)
