"""The options of egs, as they are written and as batches are made of them, checked when they are read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from timbre.utils.errors import DataError

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
        num_valid_speakers: speakers kept out of training, for the validation trials and for calibration, at most a
            tenth of all; null: 5 % of them, but at least 20 and at most 300
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
    num_valid_speakers: int | None = None
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
        if min(self.min_voiced, self.num_valid_speakers or 0, self.num_valid_utts) < 0:
            raise DataError("egs: min_voiced, num_valid_speakers and num_valid_utts must not be below 0")

    def num_held_out(self, num_speakers: int) -> int:
        """How many of NUM_SPEAKERS are kept out of training; those with one utterance are not."""
        asked = self.num_valid_speakers
        if asked is None:
            asked = min(max(20, num_speakers // 20), 300)
        return min(asked, num_speakers // 10)

    @property
    def shortest(self) -> int:
        """Voiced frames that an utterance must have to be used."""
        return max(self.min_voiced, 1 if self.short == "repeat" else self.min_frames)


@dataclass(frozen=True)
class BatchOptions:
    """Which examples make up a batch, and how long they are; TrainOptions says more of each, and makes it.

    Args:
        kind: shuffled, speakers or pairs
        utts_per_speaker: of speakers
        max_utts_per_speaker: of speakers
        min_frames, max_frames: bounds of the random length of a batch; 0, 0: as the egs are
        length_step: the random lengths are min_frames, and multiples of this above it
        pair_table: of pairs: those of this file alone

    Raises:
        DataError: they contradict each other
    """

    kind: Literal["shuffled", "speakers", "pairs"] = "shuffled"
    utts_per_speaker: int = 2
    max_utts_per_speaker: int = 0
    min_frames: int = 0
    max_frames: int = 0
    length_step: int = 1
    pair_table: Path | None = None

    def __post_init__(self) -> None:
        most, size = self.max_utts_per_speaker, self.utts_per_speaker
        if size < 2:
            raise DataError(f"train: utts_per_speaker is {size}; it must be at least 2")
        if most and most < size:
            raise DataError(f"train: max_utts_per_speaker is {most}; it must be 0 or at least utts_per_speaker, {size}")
        if most and self.kind != "speakers":
            raise DataError(f"train: max_utts_per_speaker is for batches of speakers, and these are {self.kind}")
        if self.pair_table is not None and self.kind != "pairs":
            raise DataError(f"train: pair_table is for batches of pairs, and these are {self.kind}")
        if (self.min_frames or self.max_frames) and not 1 <= self.min_frames <= self.max_frames:
            raise DataError(
                f"train: min_frames {self.min_frames} and max_frames {self.max_frames} must be 1 <= min <= max, or "
                "both 0, for examples as long as those of the egs"
            )

    @property
    def unit(self) -> int:
        """Rows that are never parted, neither over ranks nor over the parts of an accumulated update.

        In pairs that is one pair of each kind, so that every part of a batch is balanced as the whole is.
        """
        return {"shuffled": 1, "speakers": self.utts_per_speaker, "pairs": 4}[self.kind]

    def check_parts(self, batch_size: int, num_parts: int) -> None:
        """Raises DataError unless BATCH_SIZE examples make NUM_PARTS equal parts, each of them fit for a loss."""
        kind = "batches" if self.kind == "shuffled" else f"batches of {self.kind}"
        parts = f" in {num_parts} equal parts" if num_parts > 1 else ""
        whole = num_parts * self.unit
        if batch_size % whole:
            raise DataError(f"train: batch_size is {batch_size}; {kind}{parts} need a multiple of {whole}")
        if self.kind == "speakers" and batch_size == whole:
            raise DataError(f"train: batch_size is {batch_size}; {kind}{parts} need two speakers or more in each")
