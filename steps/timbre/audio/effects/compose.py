"""Effects made of effects: in a row, perhaps, one of several, at another sample rate."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from timbre.audio.effects.base import Effect, Rng, fit_length, note
from timbre.audio.effects.build import build_effect
from timbre.audio.effects.pending import Pending
from timbre.audio.effects.sources import Sources
from timbre.runtime.sound import Samples, resample
from timbre.utils.errors import DataError

_ROUNDING = 16  # samples: more than one at the lowest rate inside


class Chain(Effect):
    """Effects one after the other; none at all leaves the samples as they are.

    Args:
        sources: for the effects
        effects: of each class_path and init_args
    """

    def __init__(self, sources: Sources, effects: list[dict[str, Any]]) -> None:
        self.effects = [build_effect(effect, sources) for effect in effects]
        self._sources, self._config = sources, effects

    def recipe(self) -> str:
        """All that a result follows from but the samples: the effects, and what lies in the sources."""
        return f"{self._config} {self._sources.digest()}"

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See the class."""
        return self.defer(Pending(samples), rate, rng, speaker).made()

    def defer(self, pending: Pending, rate: int, rng: Rng, speaker: str) -> Pending:
        """See Effect."""
        for effect in self.effects:
            pending = effect.defer(pending, rate, rng, speaker)
        return pending

    def try_at(self, rate: int) -> None:
        """Each of the effects, whatever the probabilities."""
        for effect in self.effects:
            effect.try_at(rate)

    def input_length(self, num_samples: int) -> int:
        """What the effects need one after the other."""
        return self.input_lengths(num_samples)[0]

    def input_lengths(self, num_samples: int) -> list[int]:
        """What has to be left before each of the effects, and NUM_SAMPLES after the last."""
        lengths = [num_samples]
        for effect in reversed(self.effects):
            lengths.insert(0, effect.input_length(lengths[0]))
        return lengths


class Sometimes(Chain):
    """Effects one after the other, or with the rest of the probability nothing.

    Args:
        sources: for the effects
        effects: of each class_path and init_args
        probability: that they are applied
    """

    def __init__(self, sources: Sources, effects: list[dict[str, Any]], probability: float = 0.5) -> None:
        super().__init__(sources, effects)
        if not 0 <= probability <= 1:
            raise DataError(f"Sometimes: probability is {probability:g}; it must lie between 0 and 1")
        self._probability = probability

    def defer(self, pending: Pending, rate: int, rng: Rng, speaker: str) -> Pending:
        """See Effect."""
        return super().defer(pending, rate, rng, speaker) if rng.random() < self._probability else pending

    def input_length(self, num_samples: int) -> int:
        """What the effects need, or nothing does."""
        return max(super().input_length(num_samples), num_samples)


class OneOf(Chain):
    """One of several effects; `{class_path: Chain, init_args: {effects: []}}` among them stands for none.

    Args:
        sources: for the effects
        effects: of each class_path and init_args
        weights: how likely each is, as far as they go; they need not add up to 1 (default: all alike)
        label: what the choice is called where it is kept, the table utt2<label>
        names: of the effects in that table
    """

    def __init__(
        self,
        sources: Sources,
        effects: list[dict[str, Any]],
        weights: list[float] | None = None,
        label: str = "",
        names: list[str] | None = None,
    ) -> None:
        super().__init__(sources, effects)
        weights = [1.0] * len(effects) if weights is None else weights
        if not effects or len(weights) != len(effects) or min(weights) < 0 or not sum(weights) > 0:
            raise DataError(f"OneOf: {len(effects)} effects with the weights {weights}")
        if (names is None) == bool(label) or len(names or effects) != len(effects):
            raise DataError(f"OneOf: label and names go together, a name for each of the {len(effects)} effects")
        self._bounds = np.cumsum(weights) / sum(weights)
        self._label, self._names = label, names

    def defer(self, pending: Pending, rate: int, rng: Rng, speaker: str) -> Pending:
        """See Effect."""
        chosen = min(int(np.searchsorted(self._bounds, rng.random(), side="right")), len(self.effects) - 1)
        if self._names:
            note(rng, **{self._label: self._names[chosen]})
        return self.effects[chosen].defer(pending, rate, rng, speaker)

    def input_length(self, num_samples: int) -> int:
        """What the most demanding of the effects needs."""
        return max(effect.input_length(num_samples) for effect in self.effects)


class AtRate(Effect):
    """Effects at another sample rate, as a telephone has; the result has the old rate and length again.

    Args:
        sources: for the effects
        rate: their sample rate in Hz
        effects: of each class_path and init_args
    """

    def __init__(self, sources: Sources, rate: int, effects: list[dict[str, Any]]) -> None:
        self._chain = Chain(sources, effects)
        if rate < 1:
            raise DataError(f"AtRate: rate is {rate}; it must be at least 1 Hz")
        self._rate = rate

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See the class."""
        if rate == self._rate:
            return self._chain(samples, rate, rng, speaker)
        inside = resample(samples, rate, self._rate)
        if not len(inside):  # a few samples only
            return samples
        return fit_length(resample(self._chain(inside, self._rate, rng, speaker), self._rate, rate), len(samples))

    def try_at(self, rate: int) -> None:
        """The effects at their rate."""
        self._chain.try_at(self._rate)

    def input_length(self, num_samples: int) -> int:
        """What the effects need, and a few samples more: lengths are rounded at the rate inside."""
        needed = self._chain.input_length(num_samples)
        return needed if needed <= num_samples else needed + _ROUNDING


def build_chain(effects: list[dict[str, Any]] | Mapping[str, Any], sources: Sources) -> Chain:
    """The chain of EFFECTS, a list of class_path and init_args. Raises as `build_effect`."""
    if not isinstance(effects, list):
        raise DataError(f"effects must be a list of class_path and init_args, not {effects!r}")
    return Chain(sources, effects)
