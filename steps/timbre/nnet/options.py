"""Options that a model carries with it from training to extraction, checked when they are read. Without torch."""

from dataclasses import dataclass
from typing import Literal

from timbre.utils.errors import DataError


@dataclass(frozen=True)
class SegmentOptions:
    """Utterances as sums of short segments (segment aggregation, "segging").

    The crop of an example is cut into segments of L frames, each a tenth over the one before it, the last one flush
    with the end; a crop of L frames or fewer is one segment. All go through one network. The loss is that of the
    aggregate and, summed, those of the segments.

    Args:
        length: L, in frames
        max_length: above 0, each batch has an L of its own, from length to this, and at test it is midway
        kind: what the aggregate is made of. codes: the mean of the segments' embeddings. maps ("FM"): the frames that
            the trunk makes of each segment, one after the other, are pooled as those of one utterance
        starts: where segments begin in training: on the grid, or as many at random places
        agg_ce: whether the objective's loss of the aggregate counts, beside that of the segments
        heads: 2: segments have an objective of their own, with its own class weights
        code_length: Euclidean length that embeddings are scaled to before an objective sees them; 0: as they are.
            Objectives by angles see no difference
        same_aug: one draw of augmentation for all segments of a crop; false: SpecAugment masks each segment by itself
            (and a teacher sees no masks), while effects on waveforms are those of the crop in any case
        at_test: what an utterance becomes at extraction. codes: the mean of its segments' embeddings; aggregate: as
            `kind` says; whole: the embedding of all of it at once. It may be changed in a model that is trained
    """

    length: int = 100
    max_length: int = 0
    kind: Literal["codes", "maps"] = "codes"
    starts: Literal["grid", "random"] = "grid"
    agg_ce: bool = True
    heads: Literal[1, 2] = 1
    code_length: float = 10.0
    same_aug: bool = True
    at_test: Literal["codes", "aggregate", "whole"] = "codes"

    def __post_init__(self) -> None:
        if self.length < 1 or 0 < self.max_length < self.length or self.max_length < 0:
            raise DataError(
                f"segments: length {self.length} and max_length {self.max_length} must be 1 <= length <= max_length, "
                "or max_length 0"
            )
        if self.code_length < 0:
            raise DataError(f"segments: code_length is {self.code_length}; it must not be below 0")

    @property
    def test_length(self) -> int:
        """L at extraction, in frames: that of training or, where it varies, the middle."""
        return (self.length + max(self.length, self.max_length)) // 2
