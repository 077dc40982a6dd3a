"""One record a trial list and back-end: every error rate with its interval, for results.json and for people.

Called by compute_metrics.py and make_results.py.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from steps.backend.bootstrap import Draws, bootstrap, interval
from steps.backend.metrics import PRIORS, Floats, act_dcf, cllr, roc, split
from steps.backend.speakers import trial_speakers
from steps.datadir.trials import Trials

Interval = tuple[float, float]


@dataclass(frozen=True)
class Record:
    """Error rates of one back-end on one trial list; rates are fractions, keys of DCFs are target priors.

    Intervals are 95 %, by bootstrap over speakers; act_dcf and cllr only for scores that are log-likelihood ratios.
    """

    trials: str
    backend: str
    num_target: int
    num_nontarget: int
    num_speakers: int
    speakers: str
    eer: float
    eer_ci: Interval | None
    rocch_eer: float
    min_dcf: dict[str, float]
    min_dcf_ci: dict[str, Interval | None]
    act_dcf: dict[str, float] | None
    cllr: float | None
    protocol: str

    def as_json(self) -> dict[str, Any]:
        """What results.json holds: everything that there is."""
        optional = ("act_dcf", "cllr")
        return {key: value for key, value in asdict(self).items() if value is not None or key not in optional}

    def __str__(self) -> str:
        lines = [
            f"{self.trials}.{self.backend}: {self.num_target} target and {self.num_nontarget} nontarget trials of "
            f"{self.num_speakers} speakers",
            f"EER            {100 * self.eer:6.2f} %  {percent(self.eer_ci)}   (ROCCH {100 * self.rocch_eer:.2f} %)",
        ]
        for prior, cost in self.min_dcf.items():
            actual = f"   actDCF {self.act_dcf[prior]:.3f}" if self.act_dcf else ""
            lines.append(f"minDCF({prior + ')':<6} {cost:8.3f}  {plain(self.min_dcf_ci[prior])}{actual}")
        if self.cllr is not None:
            lines.append(f"Cllr           {self.cllr:8.3f}  bits")
        return "\n".join(lines)


def percent(ends: Interval | None) -> str:
    """An interval of fractions, in per cent."""
    return f"[{100 * ends[0]:.2f}, {100 * ends[1]:.2f}]" if ends else "[too few speakers]"


def plain(ends: Interval | None) -> str:
    """An interval of costs."""
    return f"[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "[too few speakers]"


def measure(
    trials_path: Path,
    trials: Trials,
    scores: Floats,
    *,
    name: str,
    backend: str,
    llr: bool = False,
    protocol: str = "whole utterance",
    utt2spk: Path | None = None,
    num_draws: int = 1000,
    seed: int = 0,
    nj: int = 1,
) -> tuple[Record, Draws]:
    """The record of SCORES (N,), aligned to the TRIALS of TRIALS_PATH, and the bootstrap draws behind its intervals.

    Raises:
        DataError: a class has no trials, a score is not a number, or utt2spk does not name an utterance
    """
    curve = roc(scores, trials.target)
    speakers = trial_speakers(trials_path, trials, utt2spk)
    draws = bootstrap(
        scores,
        trials.target,
        speakers.enroll[trials.enroll],
        speakers.test[trials.test],
        num_draws=num_draws,
        seed=seed,
        nj=nj,
    )
    targets, nontargets = split(scores, trials.target)
    record = Record(
        trials=name,
        backend=backend,
        num_target=curve.num_target,
        num_nontarget=curve.num_nontarget,
        num_speakers=len(speakers.names),
        speakers=speakers.source,
        eer=curve.eer(),
        eer_ci=interval(draws.eer),
        rocch_eer=curve.rocch_eer(),
        min_dcf={f"{prior:g}": curve.min_dcf(prior) for prior in PRIORS},
        min_dcf_ci={f"{prior:g}": interval(draws.min_dcf[prior]) for prior in PRIORS},
        act_dcf={f"{prior:g}": act_dcf(targets, nontargets, prior) for prior in PRIORS} if llr else None,
        cllr=cllr(targets, nontargets) if llr else None,
        protocol=protocol,
    )
    return record, draws
