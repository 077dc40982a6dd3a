"""What every frame-level trunk is to network.py."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

Frames = tuple[Tensor, Tensor | None]  # (B, C, T) and the lengths (B,) of each utterance; None: all T


class Trunk(nn.Module, ABC):
    """Base of the trunks: a class `(feat_dim, options) -> module`, chosen by its name in conf/network/*.yaml.

    Attributes:
        output_dim: channels out
        stage_dims: channels of each of the outputs that `stages` gives; one, unless a trunk has several
        min_frames: shortest utterance the trunk takes
        receptive_field: input frames that one output frame depends on (statistics of the whole utterance, as in
            squeeze-excitation, not counted); None: all of them, as in a recurrent network or one with self-attention
    """

    output_dim: int
    min_frames: int
    receptive_field: int | None

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of the outputs of `stages`."""
        return (self.output_dim,)

    @abstractmethod
    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Frames:
        """FEATS (B, T, feat_dim) -> frames (B, output_dim, T') and their lengths.

        With LENGTHS (B,) int64 the frames of each utterance are those it has alone, whatever FEATS holds past its end;
        frames past the returned lengths mean nothing. None: every utterance is full length, and so is the output.
        """

    def stages(self, feats: Tensor, lengths: Tensor | None = None) -> list[Frames]:
        """The outputs of the stages, the last of them that of `forward`, for a network that pools several of them."""
        return [self(feats, lengths)]

    def fuse(self) -> None:
        """Folds into one what training needs apart (branches of RepVGG); in eval mode the function stays the same."""
