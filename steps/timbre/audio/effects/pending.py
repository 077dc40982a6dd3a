"""Changes to a waveform that are drawn but not yet made, so that another device can make them for a whole batch.

Effects whose random numbers do not depend on the samples (base.py: Drawn) give them; egs/crop_effects.py sends them
to the device, where egs/batch_effects.py makes them. Everywhere else they are made at once, here.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from timbre.runtime.sound import Samples


@dataclass(frozen=True)
class Parts:
    """A change as arrays.

    Attributes:
        kind: "scale": every sample is multiplied with the one value; "add": values (num_samples,) are added;
            "convolve": with values (num_taps,), the result beginning at sample `shift` of the convolution
        values: float32
        relative: of "add": the values are first multiplied with the level of the samples, sqrt(mean square + floor) of
            them as 16-bit integers; of "convolve": the result gets the power of the samples, as Reverberate says
        shift: of "convolve"
    """

    kind: Literal["scale", "add", "convolve"]
    values: Samples
    relative: bool = False
    shift: int = 0


class Operation(ABC):
    """A change to a waveform, with all random choices made."""

    @abstractmethod
    def on(self, samples: Samples) -> Samples:
        """New samples, as many as SAMPLES (num_samples,)."""

    @abstractmethod
    def parts(self, num_samples: int) -> Parts:
        """The same change, to NUM_SAMPLES samples, as arrays."""


@dataclass(frozen=True)
class Pending:
    """Samples (num_samples,), and what is still to be done to them."""

    samples: Samples
    operations: tuple[Operation, ...] = ()

    def then(self, operation: Operation) -> "Pending":
        """With OPERATION to be done last."""
        return Pending(self.samples, (*self.operations, operation))

    def made(self) -> Samples:
        """The samples with everything done."""
        samples = self.samples
        for operation in self.operations:
            samples = operation.on(samples)
        return samples

    def cut(self, num_samples: int) -> "Pending":
        """At most NUM_SAMPLES of it. What is pending was drawn for all of them, and is done first."""
        return self if len(self.samples) <= num_samples else Pending(self.made()[:num_samples])
