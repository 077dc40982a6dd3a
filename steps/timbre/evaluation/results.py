"""One record a score file: every error rate with its interval, for results.json and for people.

Called by compute_metrics.py, make_results.py and compare.py; results_page.py makes the page of many.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from timbre.datadir.trial_arrays import is_scores
from timbre.datadir.trials import read_scores, read_trials
from timbre.evaluation.bootstrap import Draws, bootstrap
from timbre.evaluation.decided import Decided, decide, held_out_threshold
from timbre.evaluation.metrics import PRIORS, Floats, Roc, act_dcf, cllr, operating_points, roc, split
from timbre.evaluation.speakers import trial_speakers
from timbre.feats.protocols import describe
from timbre.runtime.thresholds import interval
from timbre.utils.files import atomic_write

Interval = tuple[float, float]

DEFAULT_POINTS = tuple(f"{prior:g}" for prior in PRIORS)


@dataclass(frozen=True)
class Record:
    """Error rates of one back-end on one trial list; rates are fractions, the keys of DCFs are operating points.

    Intervals are 95 %, by bootstrap over speakers; act_dcf and cllr only for scores that are log-likelihood ratios;
    trials_file: the trial list; speakers: the table that says whose the utterances are; bootstrap: what was drawn;
    decided: at the threshold of other speakers.
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
    eer_threshold: float
    rocch_eer: float
    rocch_eer_ci: Interval | None
    min_dcf: dict[str, float]
    min_dcf_ci: dict[str, Interval | None]
    min_cllr: float
    min_cllr_ci: Interval | None
    act_dcf: dict[str, float] | None
    act_dcf_ci: dict[str, Interval | None] | None
    cllr: float | None
    cllr_ci: Interval | None
    protocol: str
    bootstrap: str
    decided: Decided | None = None

    def as_json(self) -> dict[str, Any]:
        """What results.json holds: act_dcf and cllr only where they mean something, `decided` where asked for."""
        content = asdict(self)
        if self.decided is None:
            del content["decided"]
        if self.cllr is None:
            for key in ("act_dcf", "act_dcf_ci", "cllr", "cllr_ci"):
                del content[key]
        return content

    def __str__(self) -> str:
        lines = [
            f"{self.trials}.{self.backend}: {self.num_target:,} target and {self.num_nontarget:,} nontarget trials of "
            f"{self.num_speakers:,} speakers (by {self.speakers}), {self.protocol}",
            _line("EER", f"{percent(self.eer)} %", percent_interval(self.eer_ci), f"at {self.eer_threshold:.6g}"),
            _line("ROCCH-EER", f"{percent(self.rocch_eer)} %", percent_interval(self.rocch_eer_ci)),
        ]
        for name, costs, intervals in (
            ("minDCF", self.min_dcf, self.min_dcf_ci),
            ("actDCF", self.act_dcf or {}, self.act_dcf_ci or {}),
        ):
            for point, cost in costs.items():
                lines.append(_line(f"{name}({point})", f"{cost:.3f}", cost_interval(intervals[point])))
        lines.append(_line("minCllr", f"{self.min_cllr:.3f}", cost_interval(self.min_cllr_ci), "bits"))
        if self.cllr is not None:
            lines.append(_line("Cllr", f"{self.cllr:.3f}", cost_interval(self.cllr_ci), "bits"))
        if self.decided is not None:
            at = f"at {self.decided.threshold:.6g}"
            ends = percent_interval(self.decided.accuracy_ci)
            lines.append(_line("accuracy", f"{percent(self.decided.accuracy)} %", ends, at))
            lines.append(_line("F1", f"{self.decided.f1:.3f}", cost_interval(self.decided.f1_ci), at))
        return "\n".join(lines)


def _line(name: str, value: str, ends: str, remark: str = "") -> str:
    return f"{name:<16} {value:>8}  {ends:<16} {remark}".rstrip()


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
    """A record, and what plots and comparisons need beside it; trials: a digest of the list, whatever its order."""

    record: Record
    trials: bytes
    curve: Roc
    draws: Draws
    targets: Floats
    nontargets: Floats


@dataclass(frozen=True)
class Evaluation:
    """What to measure: a score file, named <name of the trials>.<back-end>[@<protocol>], against its trial list.

    llr: the scores are log-likelihood ratios; protocol: how the embeddings were made, in words, where the name of the
    file does not tell; utt2spk: speakers of the utterances, None for what lies beside the trials; num_draws, seed,
    two_way: of the bootstrap over speakers; points: operating points of the costs, as `operating_points` reads them.
    """

    trials: Path
    scores: Path
    llr: bool = False
    protocol: str = "whole utterance"
    utt2spk: Path | None = None
    num_draws: int = 1000
    seed: int = 0
    points: tuple[str, ...] = DEFAULT_POINTS
    two_way: bool = False
    held_out: tuple[Path, Path] | None = None

    @property
    def name(self) -> str:
        """Name of the trial list."""
        return split_name(self.scores)[0]

    @property
    def backend(self) -> str:
        """Name of the back-end, with its protocol if the file names one."""
        return split_name(self.scores)[1]

    def run(self, nj: int = 1) -> Result:
        """Reads, measures, draws NUM_DRAWS times on NJ threads.

        Raises:
            DataError: bad files, or a list without target or without nontarget trials
        """
        points = operating_points(self.points)
        protocol = self.backend.partition("@")[2]
        trials = read_trials(self.trials)
        scores = read_scores(self.scores, trials)
        targets, nontargets = split(scores, trials.target, self.trials)
        curve = roc(targets, nontargets)
        speakers = trial_speakers(self.trials, trials, self.utt2spk)
        draws = bootstrap(
            scores,
            trials.target,
            speakers.enroll[trials.enroll],
            speakers.test[trials.test],
            num_draws=self.num_draws,
            seed=self.seed,
            priors=list(points.values()),
            nj=nj,
            llr=self.llr,
            two_way=self.two_way,
        )
        decided = None
        if self.held_out is not None:
            sides = speakers.enroll[trials.enroll], speakers.test[trials.test]
            threshold = held_out_threshold(*self.held_out)
            decided = decide(scores, trials.target, threshold, *sides, self.num_draws, self.seed)
        drawn = "enrolment speakers and, apart, test speakers" if self.two_way else "speakers"
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
            eer_threshold=curve.eer_threshold(),
            rocch_eer=curve.rocch_eer(),
            rocch_eer_ci=interval(draws.rocch_eer),
            min_dcf={name: curve.min_dcf(prior) for name, prior in points.items()},
            min_dcf_ci=_intervals(points, draws.min_dcf),
            min_cllr=curve.min_cllr(),
            min_cllr_ci=interval(draws.min_cllr),
            act_dcf={name: act_dcf(targets, nontargets, prior) for name, prior in points.items()} if self.llr else None,
            act_dcf_ci=_intervals(points, draws.act_dcf) if self.llr else None,
            cllr=cllr(targets, nontargets) if self.llr else None,
            cllr_ci=interval(draws.cllr),
            protocol=describe(protocol) if protocol else self.protocol,
            bootstrap=f"{self.num_draws} draws of {drawn}, seed {self.seed}" if self.num_draws else "none",
            decided=decided,
        )
        return Result(record, trials.unordered_digest(), curve, draws, targets, nontargets)


def read_classes(trials: Path, scores: Path) -> tuple[Floats, Floats]:
    """Target and non-target scores of the file SCORES, by the list TRIALS; raises as `read_scores` and `split`."""
    trial_list = read_trials(trials)
    return split(read_scores(scores, trial_list), trial_list.target, trials)


def split_name(scores: Path) -> tuple[str, str]:
    """Names of the trial list and the back-end of a score file: (eval_1, cosine@len1.5s) of eval_1.cosine@len1.5s."""
    name, at, protocol = (scores.stem if is_scores(scores) else scores.name).partition("@")
    trials, _, backend = name.rpartition(".")
    return trials or backend, (backend if trials else "") + at + protocol


def _intervals(points: Mapping[str, float], draws: Mapping[float, Floats]) -> dict[str, Interval | None]:
    return {name: interval(draws[prior]) for name, prior in points.items()}


def write_json(path: Path, content: Any) -> None:
    """Writes CONTENT, indented."""
    with atomic_write(path) as file:
        json.dump(content, file, indent=2, ensure_ascii=False)
        file.write("\n")
