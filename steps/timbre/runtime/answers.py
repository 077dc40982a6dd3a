"""What a voice is asked and answers: is it the same speaker, who of a gallery is it, and why can nobody say?

Made by voice.py and gallery.py; printed by the commands, as text or JSON. verify.py and identify.py
of the recipe say it in the same words.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from timbre.runtime.thresholds import OperatingPoint

UNKNOWN = "unknown"  # how who is nobody of a gallery is called in text; in data it is None
SAME_SAMPLES = "the same recording is on both sides, sample by sample: the answer says nothing of the speaker"


@dataclass(frozen=True)
class Verdict:
    """Whether a recording is of the speaker of others.

    same: None where nothing can be said, and then `reason` says why and llr, probability and threshold are None; llr:
    natural log-likelihood ratio, as far as the pack's list supports it; probability: that they are one, at `prior`;
    threshold: on llr; seconds: of speech, of enrolment and test; expected_errors: what the pack expects at the
    threshold, where it lists it; warnings: what may spoil the answer, in words.
    """

    same: bool | None
    llr: float | None
    probability: float | None
    threshold: float | None
    reason: str | None = None
    seconds: tuple[float, float] = (0.0, 0.0)
    expected_errors: OperatingPoint | None = None
    warnings: tuple[str, ...] = ()
    prior: float = 0.5

    def __str__(self) -> str:
        if self.same is None or self.llr is None or self.threshold is None or self.probability is None:
            return f"NO DECISION: {self.reason}."
        return verdict_text(self.same, self.llr, self.threshold, self.prior, self.probability, self.expected_errors)

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        names = ("same", "llr", "probability", "threshold", "prior", "reason")
        content: dict[str, Any] = {name: getattr(self, name) for name in names}
        content |= {"seconds": list(self.seconds), "warnings": list(self.warnings), "expected": None}
        if self.expected_errors is not None:
            content["expected"] = expected(self.expected_errors)
        return content

    def as_json(self) -> str:
        """The same for programs."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)


@dataclass(frozen=True)
class Identified:
    """Who of a gallery speaks in a recording.

    name: None where nobody of it is probable enough, or `reason` says why nothing can be said (and llr is None); llr,
    probability: of the most probable entry, whether it was named or not; margin: its llr less that of the next (None:
    there is none); matches: (name, llr, probability) of the most probable entries, the first first; unknown:
    probability of nobody of them; prior: probability, before listening, that it is one of them.
    """

    name: str | None
    llr: float | None = None
    probability: float | None = None
    margin: float | None = None
    matches: Sequence[tuple[str, float, float]] = ()
    reason: str | None = None
    warnings: tuple[str, ...] = ()
    unknown: float | None = None
    prior: float = 0.5

    def __str__(self) -> str:
        if self.unknown is None or self.probability is None:
            return f"NO DECISION: {self.reason}."
        text = match_text(self.name, self.matches, self.unknown)
        return text if self.reason is None else f"{text}\n  {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        keys = ("name", "llr", "probability", "margin", "unknown", "prior", "reason")
        content: dict[str, Any] = {key: getattr(self, key) for key in keys}
        content["matches"] = [{"name": name, "llr": llr, "probability": chance} for name, llr, chance in self.matches]
        return {**content, "warnings": list(self.warnings)}

    def as_json(self) -> str:
        """The same for programs."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False)


def verdict_text(
    same: bool, llr: float, threshold: float, prior: float, probability: float, point: OperatingPoint | None
) -> str:
    """A verdict in words for a person; POINT: what errors are to be expected, where that is known."""
    likelier = "the same speaker" if llr >= 0 else "different speakers"
    lines = [
        f"{'SAME' if same else 'DIFFERENT'} speaker{'' if same else 's'}: log-likelihood ratio "
        f"{llr:.2f}, {'at least' if same else 'below'} the threshold {threshold:.2f}.",
        f"The recordings are {np.exp(abs(llr)):.3g} times as likely from {likelier}; at a prior of {prior:g} the "
        f"probability of one speaker is {probability:.5g}.",
    ]
    if point is not None:
        text = f"Errors to expect at this threshold: misses {point.miss}, false alarms {point.false_alarm}"
        enough = point.word
        lines.append(
            text + ("." if enough == "yes" else f" (measured on a small list; {enough.removeprefix('no: ')}).")
        )
    return "\n".join(lines)


def expected(point: OperatingPoint) -> dict[str, dict[str, Any]]:
    """The rates of misses and false alarms at POINT with their intervals, for JSON."""
    rates = {"miss": point.miss, "false_alarm": point.false_alarm}
    return {name: {"rate": rate.rate, "low": rate.low, "high": rate.high} for name, rate in rates.items()}


def match_text(name: str | None, matches: Sequence[tuple[str, float, float]], unknown: float) -> str:
    """For a person: who it is, None for nobody, and the MATCHES (name, llr, probability), the most probable first."""
    lines = [UNKNOWN if name is None else f"{name}, probability {matches[0][2]:.4g}"]
    width = max(len(one) for one in (*(match[0] for match in matches), UNKNOWN))
    for one, llr, chance in matches:
        lines.append(f"  {one:<{width}}  log-likelihood ratio {llr:7.2f}  probability {chance:.4g}")
    lines.append(f"  {UNKNOWN:<{width}}  {'':<28}  probability {unknown:.4g}")
    return "\n".join(lines)
