"""What a voice is asked and answers: is it the same speaker, who of a gallery is it, and why can nobody say?

Made by voice.py and gallery.py; printed by the commands, as text or JSON.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

UNKNOWN = "unknown"  # how who is nobody of a gallery is called in text; in data it is None


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
    expected_errors: Any = None
    warnings: tuple[str, ...] = ()
    prior: float = 0.5

    def as_json(self) -> str:
        """The same for programs."""
        return json.dumps(self.__dict__, indent=2, ensure_ascii=False)


@dataclass(frozen=True)
class Identified:
    """Who of a gallery speaks in a recording.

    name: None where nobody of it is probable enough, or `reason` says why nothing can be said; llr, probability: of the
    most probable entry, whether it was named or not; margin: its llr less that of the next (None: there is none);
    matches: (name, llr, probability) of the most probable entries, the first first; unknown: probability of nobody.
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

    def as_json(self) -> str:
        """The same for programs."""
        return json.dumps(self.__dict__, indent=2, ensure_ascii=False)
