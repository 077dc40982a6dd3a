"""What every frame-level trunk is to network.py."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Trunk(nn.Module, ABC):
    """Base of the trunks: a class `(feat_dim, options) -> module`, chosen by its name in conf/network/*.yaml.

    Attributes:
        output_dim: channels out
        min_frames: shortest utterance the trunk takes
        receptive_field: input frames that one output frame depends on (statistics of the whole utterance, as in
            squeeze-excitation, not counted)
    """

    output_dim: int
    min_frames: int
    receptive_field: int

    @abstractmethod
    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """FEATS (B, T, feat_dim) -> frames (B, output_dim, T') and their lengths.

        With LENGTHS (B,) int64 the frames of each utterance are those it has alone, whatever FEATS holds past its end;
        frames past the returned lengths mean nothing. None: every utterance is full length, and so is the output.
        """
