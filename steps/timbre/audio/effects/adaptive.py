"""LMS and NLMS filters as effects: adaptive line enhancers, which predict a signal from its own past."""

from typing import Literal

import numpy as np

from timbre.audio.effects.base import Effect, Rng
from timbre.audio.least_mean_squares import Filtered, lms, nlms
from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError

Output = Literal["prediction", "error"]


class _LineEnhancer(Effect):
    """What is predictable DELAY samples ahead is voice (or hum), and the error is noise (or speech without hum)."""

    def __init__(self, taps: int, delay: int, output: Output) -> None:
        if delay < 1 or taps < 1:
            raise DataError(f"{type(self).__name__}: taps and delay must be at least 1, not {taps} and {delay}")
        self._taps, self._delay, self._output = taps, delay, output

    def _enhanced(self, samples: Samples, filtered: Filtered) -> Samples:
        """The chosen output; the first samples, for which the filter lacks a past, as they are."""
        result = np.asarray(getattr(filtered, self._output), dtype=np.float32)
        result[: self._taps + self._delay - 1] = samples[: self._taps + self._delay - 1]
        return result

    def _delayed(self, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
        desired = samples.astype(np.float64)
        source = np.zeros_like(desired)
        source[self._delay :] = desired[: -self._delay]
        return source, desired


class Nlms(_LineEnhancer):
    """Normalised least-mean-squares line enhancer.

    Args:
        taps: number of weights
        step: between 0 and 2
        delay: samples between a sample and the newest that predicts it
        epsilon: added to the energy of the window, of samples with full scale 1
        output: the "prediction" (what is periodic) or the "error" (what is not)
    """

    def __init__(
        self, taps: int = 32, step: float = 0.05, delay: int = 1, epsilon: float = 1e-6, output: Output = "prediction"
    ) -> None:
        super().__init__(taps, delay, output)
        if not 0 < step < 2 or not epsilon > 0:
            raise DataError(f"Nlms: 0 < step < 2 and epsilon > 0 are wanted, not {step:g} and {epsilon:g}")
        self._step, self._epsilon = step, epsilon

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See the class."""
        return self._enhanced(samples, nlms(*self._delayed(samples), self._taps, self._step, self._epsilon))


class Lms(_LineEnhancer):
    """Plain least-mean-squares line enhancer; its step must suit the level of the signal.

    Args:
        taps: number of weights
        step: below 1 / (3 taps mean(samples^2)), of samples with full scale 1
        delay: samples between a sample and the newest that predicts it
        output: the "prediction" (what is periodic) or the "error" (what is not)
    """

    def __init__(self, taps: int = 32, step: float = 0.01, delay: int = 1, output: Output = "prediction") -> None:
        super().__init__(taps, delay, output)
        if not step > 0:
            raise DataError(f"Lms: step is {step:g}; it must be above 0")
        self._step = step

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """DataError: the filter diverges."""
        return self._enhanced(samples, lms(*self._delayed(samples), self._taps, self._step))
