"""How much of explanations is measured; without torch, for the command line of measure_explanations.py."""

from dataclasses import dataclass

from timbre.utils.errors import DataError


@dataclass(frozen=True)
class StudyOptions:
    """How much is measured.

    Args:
        num_utts: utterances, as evenly over speakers as can be
        max_frames: of a longer one so many frames from its middle; 0: all
        num_random: random orders of the cells that are averaged
        layer: of gradcam, gradcam++ and layercam; "": the last one before the pooling
    """

    num_utts: int = 60
    max_frames: int = 300
    num_random: int = 3
    layer: str = ""

    def __post_init__(self) -> None:
        if min(self.num_utts, self.num_random) < 1 or self.max_frames < 0:
            raise DataError("num_utts and num_random must be at least 1, max_frames not below 0")
