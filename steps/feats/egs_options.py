"""The options of egs, checked when they are read. Used by get_egs.py and the modules egs_*.py."""

from dataclasses import dataclass
from typing import Literal

from steps.utils.errors import DataError

Compression = Literal["none", "CM2", "CM3"]


@dataclass(frozen=True)
class EgsOptions:
    """How features, or the waveforms behind them, become training examples.

    Args:
        min_frames: shortest chunk; also the chunk length of the validation examples
        max_frames: longest chunk; every ark has one length, drawn between the two
        num_repeats: how many times the voiced frames of the training speakers are covered by chunks, on average
        balance: 0 gives speakers examples in proportion to their voiced frames, 1 gives every speaker as many (as
            Kaldi's allocate_egs.py), values between go from the one to the other
        short: what becomes of an utterance shorter than a chunk: "skip" gives it shorter chunks or, below min_frames,
            leaves it out; "repeat" repeats it up to the chunk length
        min_voiced: utterances with fewer voiced frames are left out in any case
        num_valid_speakers: speakers kept out of training for the validation trials, at most a tenth of all
        num_valid_utts: utterances of training speakers kept out of training for the validation accuracy, at most
            a tenth of all
        ark_megabytes: bound on the features in an ark, and so on the memory of a job
        num_lengths: at least so many arks, and so chunk lengths, if each of them still has 256 examples
        compression: of features: "none" (float32), or Kaldi's "CM2" (two bytes a value) or "CM3" (one byte)
        kind: "features" stores them normalised; "waveform" stores 16-bit samples, which training augments and computes
            the features of. What is said of frames above is then said of frame shifts: 10 ms of samples each
    """

    min_frames: int = 200
    max_frames: int = 400
    num_repeats: float = 2.0
    balance: float = 0.5
    short: Literal["skip", "repeat"] = "skip"
    min_voiced: int = 25
    num_valid_speakers: int = 20
    num_valid_utts: int = 300
    ark_megabytes: float = 64.0
    num_lengths: int = 16
    compression: Compression = "none"
    kind: Literal["features", "waveform"] = "features"

    def __post_init__(self) -> None:
        if not 1 <= self.min_frames <= self.max_frames:
            raise DataError(
                f"egs: min_frames {self.min_frames} and max_frames {self.max_frames} must be 1 <= min <= max"
            )
        if self.num_repeats <= 0 or self.ark_megabytes <= 0 or self.num_lengths < 1:
            raise DataError("egs: num_repeats, ark_megabytes and num_lengths must be above 0")
        if not 0 <= self.balance <= 1:
            raise DataError(f"egs: balance is {self.balance}; it must be between 0 and 1")
        if min(self.min_voiced, self.num_valid_speakers, self.num_valid_utts) < 0:
            raise DataError("egs: min_voiced, num_valid_speakers and num_valid_utts must not be below 0")

    @property
    def shortest(self) -> int:
        """Voiced frames that an utterance must have to be used."""
        return max(self.min_voiced, 1 if self.short == "repeat" else self.min_frames)
