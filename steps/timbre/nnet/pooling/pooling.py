"""What every pooling is to network.py: from frames to one vector an utterance."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from timbre.nnet.layers import frame_mask


class Pooling(nn.Module, ABC):
    """Base of the poolings: a class `(channels, options) -> module`, chosen by its name in conf/network/*.yaml.

    Statistics are float32 also under autocast: sums over time do not fit bfloat16.

    Attributes:
        output_dim: size of the pooled vector
    """

    output_dim: int

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Tensor:
        """FRAMES (B, C, T), of which the first LENGTHS (B,) are real (None: all) -> (B, output_dim) float32."""
        return self.pool(frames, frame_mask(lengths, frames.shape[2]))

    def weights(self, frames: Tensor, mask: Tensor | None) -> Tensor | None:
        """How much each of FRAMES (B, C, T) counts: (B, N, T), N attentions of sum 1 each; None: there is none."""
        return None

    @abstractmethod
    def pool(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """FRAMES (B, C, T) and the mask (B, 1, T) of the real ones, or None for all -> (B, output_dim) float32."""
