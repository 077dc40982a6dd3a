"""Error rates by condition, with intervals, at thresholds of a group's own and of all trials. For analyze_trials.py."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from timbre.evaluation.bootstrap import bootstrap
from timbre.evaluation.conditions import Condition
from timbre.evaluation.metrics import Bools, Floats, Ints, Roc, act_dcf, roc
from timbre.evaluation.results import Interval, cost_interval, percent, percent_interval
from timbre.evaluation.results_page import table
from timbre.runtime.thresholds import interval
from timbre.utils.escape import escaped

MIN_SPEAKERS = 5  # fewer have no interval: a draw of so few says little of others
_ALL = "all trials"
_CELLS = 1 << 24  # of a block of draws by pairs of speakers


@dataclass(frozen=True)
class Scored:
    """Trials with scores: (N,) each; speakers are numbers. prior: of the minDCF."""

    scores: Floats
    target: Bools
    enroll_speaker: Ints
    test_speaker: Ints
    prior: float

    def take(self, chosen: Bools) -> "Scored":
        """The trials CHOSEN (N,)."""
        enroll, test = self.enroll_speaker[chosen], self.test_speaker[chosen]
        return Scored(self.scores[chosen], self.target[chosen], enroll, test, self.prior)


@dataclass(frozen=True)
class Group:
    """A group of trials: how many there are, and what can be measured on them; rates are fractions.

    eer, min_dcf: at thresholds of its own; miss_rate, false_alarm_rate: at the threshold of the EER of all trials; dcf:
    at that of their minDCF. borrowed: the class that it has no trials of; EER and costs are then with all trials of
    that class. None: of a rate, there are no trials of its class; of an interval, too few speakers.
    """

    condition: str
    group: str
    num_target: int
    num_nontarget: int
    num_speakers: int
    eer: float
    min_dcf: float
    dcf: float
    eer_ci: Interval | None = None
    min_dcf_ci: Interval | None = None
    dcf_ci: Interval | None = None
    miss_rate: float | None = None
    miss_rate_ci: Interval | None = None
    false_alarm_rate: float | None = None
    false_alarm_rate_ci: Interval | None = None
    borrowed: Literal["", "targets", "nontargets"] = ""

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


def break_down(scored: Scored, conditions: Sequence[Condition], num_draws: int, seed: int, nj: int) -> list[Group]:
    """All trials, of both classes, and then every group of CONDITIONS, of either."""
    measure = _Measure(scored, roc(scored.scores[scored.target], scored.scores[~scored.target]), num_draws, seed, nj)
    groups = [measure.group("", _ALL, np.ones(len(scored.scores), bool))]
    for condition in conditions:
        groups += [measure.group(condition.name, label, chosen) for label, chosen in condition.groups.items()]
    return groups


@dataclass(frozen=True)
class _Measure:
    """What groups are measured with: all trials, their curve, and the options of the bootstrap."""

    scored: Scored
    pooled: Roc
    num_draws: int
    seed: int
    nj: int

    def group(self, name: str, label: str, chosen: Bools) -> Group:
        target = self.scored.target
        count, num_target = int(chosen.sum()), int(target[chosen].sum())
        found: dict[str, Any] = {"borrowed": {0: "targets", count: "nontargets"}.get(num_target, "")}
        threshold = self.pooled.eer_threshold()
        accepted = self.scored.scores >= threshold
        for rate, members, errors in (
            ("miss_rate", chosen & target, ~accepted),
            ("false_alarm_rate", chosen & ~target, accepted),
        ):
            if members.any():
                found |= self._rate(rate, self.scored.take(members), errors[members])
        wider = chosen | (target == (num_target == 0)) if found["borrowed"] else chosen
        found |= self._costs(self.scored.take(wider))
        part = self.scored.take(chosen)
        speakers = np.unique(np.concatenate([part.enroll_speaker, part.test_speaker]))
        return Group(name, label, num_target, count - num_target, len(speakers), **found)

    def _rate(self, name: str, part: Scored, errors: Bools) -> dict[str, Any]:
        found: dict[str, Any] = {name: float(errors.mean())}
        enroll, test, enough = _renumber(part)
        if enough:
            found[f"{name}_ci"] = interval(rate_draws(errors, enroll, test, self.num_draws, self.seed))
        return found

    def _costs(self, part: Scored) -> dict[str, Any]:
        scores, target, prior = part.scores, part.target, part.prior
        curve = roc(scores[target], scores[~target])
        best = min(self.pooled.thresholds[self.pooled.min_dcf_corner(prior)], np.nextafter(scores.max(), np.inf))
        # with the threshold of all trials at the Bayes threshold, what is called actDCF is the cost there
        shifted = scores - best + np.log((1 - prior) / prior)
        found: dict[str, Any] = {"eer": curve.eer(), "min_dcf": curve.min_dcf(prior)}
        found["dcf"] = act_dcf(shifted[target], shifted[~target], prior)
        if self.num_draws and all(_renumber(part.take(members))[2] for members in (target, ~target)):
            enroll, test, _ = _renumber(part)
            options: Any = {"num_draws": self.num_draws, "seed": self.seed, "priors": [prior], "nj": self.nj}
            draws = bootstrap(shifted, target, enroll, test, llr=True, **options)
            found |= {"eer_ci": interval(draws.eer), "min_dcf_ci": interval(draws.min_dcf[prior])}
            found["dcf_ci"] = interval(draws.act_dcf[prior])
        return found


def _renumber(part: Scored) -> tuple[Ints, Ints, bool]:
    """Speakers of PART numbered from 0 without gaps, and whether they are enough for an interval."""
    sides = np.concatenate([part.enroll_speaker, part.test_speaker])
    speakers, numbers = np.unique(sides, return_inverse=True)
    return numbers[: len(part.scores)], numbers[len(part.scores) :], len(speakers) >= MIN_SPEAKERS


def rate_draws(errors: Bools, enroll: Ints, test: Ints, num_draws: int, seed: int) -> Floats:
    """Error rates (num_draws,) of trials of one class, ERRORS (N,), for the draws of speakers that `bootstrap` makes.

    Trials of the same two speakers weigh the same: only their number counts. NaN: a draw without any trial.
    """
    num_speakers = 1 + int(max(enroll.max(), test.max()))
    second = np.where(enroll == test, num_speakers, test)
    pairs, which = np.unique(enroll * (num_speakers + 1) + second, return_inverse=True)
    first, second = np.divmod(pairs, num_speakers + 1)
    totals = np.column_stack([np.bincount(which, errors), np.bincount(which)])
    result = np.empty(num_draws)
    height = max(1, _CELLS // len(pairs))
    for begin in range(0, num_draws, height):
        rows = range(begin, min(begin + height, num_draws))
        drawn = (np.random.default_rng([seed, row]).integers(0, num_speakers, num_speakers) for row in rows)
        counts = np.array([np.append(np.bincount(side, minlength=num_speakers), 1) for side in drawn])
        wrong, all_trials = ((counts[:, first] * counts[:, second]) @ totals).T
        with np.errstate(invalid="ignore"):
            result[rows.start : rows.stop] = wrong / all_trials
    return result


def page(title: str, groups: Sequence[Group], prior: float, plot: str) -> str:
    """Markdown for people: the table of GROUPS, and the PLOT, a link."""
    text = (
        "EER and minDCF: at thresholds of the group's own. DCF: at the threshold of the minDCF of all trials; miss and "
        "false alarm (FA): at that of their EER. In brackets: 95 % intervals by bootstrap over speakers, for groups of "
        f"{MIN_SPEAKERS} or more. Groups marked * have trials of one class alone: their EER and costs are with all "
        "trials of the other."
    )
    return (
        f"# {escaped(title)}\n\n{text}\n\n{_as_table(groups, prior)}\n\n![EER by condition]({quote(plot, safe='/@')})"
    )


def _as_table(groups: Sequence[Group], prior: float) -> str:
    columns = ["condition", "targets", "nontargets", "speakers", "EER %", f"minDCF {prior:g}", "DCF", "miss %", "FA %"]
    rows = []
    for group in groups:
        label = escaped(group.group)
        name = f"{escaped(group.condition)}: {label}" if group.condition else f"**{label}**"
        name += " \\*" if group.borrowed else ""
        cells = [name, *(f"{count:,}" for count in (group.num_target, group.num_nontarget, group.num_speakers))]
        cells.append(_percent(group.eer, group.eer_ci))
        costs = ((group.min_dcf, group.min_dcf_ci), (group.dcf, group.dcf_ci))
        cells += [f"{cost:.3f} {cost_interval(ends)}".strip() for cost, ends in costs]
        cells.append(_percent(group.miss_rate, group.miss_rate_ci))
        cells.append(_percent(group.false_alarm_rate, group.false_alarm_rate_ci))
        rows.append(cells)
    return table(columns, rows)


def _percent(rate: float | None, ends: Interval | None) -> str:
    return "" if rate is None else f"{percent(rate)} {percent_interval(ends)}".strip()
