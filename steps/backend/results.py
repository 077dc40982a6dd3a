"""One record a score file: every error rate with its interval, for results.json and for people.

Called by compute_metrics.py and make_results.py; report.py makes the page of many.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from steps.backend.bootstrap import Draws, bootstrap, interval
from steps.backend.metrics import PRIORS, Floats, Roc, act_dcf, cllr, roc, split
from steps.backend.speakers import trial_speakers
from steps.datadir.trial_arrays import is_scores
from steps.datadir.trials import read_scores, read_trials
from steps.utils.files import atomic_write

Interval = tuple[float, float]

_KEYS = {f"{prior:g}": prior for prior in PRIORS}


@dataclass(frozen=True)
class Record:
    """Error rates of one back-end on one trial list; rates are fractions, the keys of DCFs are target priors.

    Intervals are 95 %, by bootstrap over speakers; act_dcf and cllr only for scores that are log-likelihood ratios;
    trials_file: the trial list; speakers: the table that says whose the utterances are.
    """

    trials: str
    backend: str
    trials_file: str
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
        """What results.json holds: act_dcf and cllr only where they mean something."""
        return {key: value for key, value in asdict(self).items() if value is not None or key.endswith("_ci")}

    def __str__(self) -> str:
        lines = [
            f"{self.trials}.{self.backend}: {self.num_target} target and {self.num_nontarget} nontarget trials of "
            f"{self.num_speakers} speakers (by {self.speakers}), {self.protocol}",
            f"EER            {percent(self.eer):>6} %  {percent_interval(self.eer_ci)}   "
            f"ROCCH {percent(self.rocch_eer)} %",
        ]
        for prior, cost in self.min_dcf.items():
            actual = f"   actDCF {self.act_dcf[prior]:.3f}" if self.act_dcf else ""
            lines.append(f"minDCF({prior + ')':<6} {cost:6.3f}    {cost_interval(self.min_dcf_ci[prior])}{actual}")
        if self.cllr is not None:
            lines.append(f"Cllr           {self.cllr:6.3f}  bits")
        return "\n".join(lines)


def percent(rate: float) -> str:
    """A fraction in per cent."""
    return f"{100 * rate:.2f}"


def percent_interval(ends: Interval | None) -> str:
    """An interval of fractions in per cent; empty where there is none."""
    return f"[{percent(ends[0])}, {percent(ends[1])}]" if ends else ""


def cost_interval(ends: Interval | None) -> str:
    """An interval of costs; empty where there is none."""
    return f"[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""


@dataclass(frozen=True)
class Result:
    """A record, and what plots and comparisons need beside it."""

    record: Record
    curve: Roc
    draws: Draws
    targets: Floats
    nontargets: Floats


@dataclass(frozen=True)
class Evaluation:
    """What to measure: a score file, named <name of the trials>.<back-end>, against its trial list.

    llr: the scores are log-likelihood ratios; protocol: how the embeddings were made, in words; utt2spk: speakers of
    the utterances, None for what lies beside the trials; num_draws, seed: of the bootstrap over speakers.
    """

    trials: Path
    scores: Path
    llr: bool = False
    protocol: str = "whole utterance"
    utt2spk: Path | None = None
    num_draws: int = 1000
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the trial list."""
        return self._text_name.stem

    @property
    def backend(self) -> str:
        """Name of the back-end."""
        return self._text_name.suffix[1:]

    @property
    def _text_name(self) -> Path:
        return self.scores.with_suffix("") if is_scores(self.scores) else self.scores

    def run(self, nj: int = 1) -> Result:
        """Reads, measures, draws NUM_DRAWS times on NJ threads.

        Raises:
            DataError: bad files, or a list without target or without nontarget trials
        """
        trials = read_trials(self.trials)
        scores = read_scores(self.scores, trials)
        targets, nontargets = split(scores, trials.target, self.trials)
        curve = roc(targets, nontargets)
        speakers = trial_speakers(self.trials, trials, self.utt2spk)
        sides = speakers.enroll[trials.enroll], speakers.test[trials.test]
        draws = bootstrap(scores, trials.target, *sides, num_draws=self.num_draws, seed=self.seed, nj=nj)
        actual = {key: act_dcf(targets, nontargets, prior) for key, prior in _KEYS.items()}
        record = Record(
            trials=self.name,
            backend=self.backend,
            trials_file=str(self.trials),
            num_target=curve.num_target,
            num_nontarget=curve.num_nontarget,
            num_speakers=len(speakers.names),
            speakers=speakers.source,
            eer=curve.eer(),
            eer_ci=interval(draws.eer),
            rocch_eer=curve.rocch_eer(),
            min_dcf={key: curve.min_dcf(prior) for key, prior in _KEYS.items()},
            min_dcf_ci={key: interval(draws.min_dcf[prior]) for key, prior in _KEYS.items()},
            act_dcf=actual if self.llr else None,
            cllr=cllr(targets, nontargets) if self.llr else None,
            protocol=self.protocol,
        )
        return Result(record, curve, draws, targets, nontargets)


def write_json(path: Path, content: Any) -> None:
    """Writes CONTENT, indented."""
    with atomic_write(path) as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")
