"""Recurrent network over the frames."""

import torch
from torch import Tensor, nn

from timbre.nnet.models.trunk import Trunk
from timbre.utils.errors import DataError


class Lstm(Trunk):
    """Layers of LSTM (Hochreiter and Schmidhuber 1997) from the first frame to the last, from a state of zero.

    A frame of the output knows all frames before it, so the last one stands for the utterance (LastFramePooling), and
    what lies past the end of an utterance in a padded batch comes too late to change anything. torch.compile leaves the
    recurrence to the library's own kernel, in a graph break.

    At the start forget gates are mostly open (their bias is 1, Gers et al. 2000): with half open ones what the last
    frame asks for is lost on the way back to the first ones, in numbers so small that a CPU takes ten times as long.

    Args:
        feat_dim: feature dimension
        hidden_dim: cells of a layer
        num_layers: number of layers
        projection_dim: size of the linear projection that a layer puts out (Sak et al. 2014, arXiv 1402.1128), in place
            of its hidden_dim cells; 0: none
        dropout: share of a layer's outputs that the next one does not see, in training
    """

    def __init__(
        self, feat_dim: int, hidden_dim: int = 128, num_layers: int = 3, projection_dim: int = 0, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if min(hidden_dim, num_layers) < 1:
            raise DataError(f"Lstm: hidden_dim is {hidden_dim}, num_layers {num_layers}; both must be at least 1")
        if not 0 <= projection_dim < hidden_dim:
            raise DataError(f"Lstm: projection_dim is {projection_dim}; it must be less than hidden_dim, or 0 for none")
        if not 0 <= dropout < 1:
            raise DataError(f"Lstm: dropout is {dropout}; it must be a share, 0 or more and below 1")
        self.layers = nn.LSTM(
            feat_dim,
            hidden_dim,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,
            proj_size=projection_dim,
        )
        for name, parameter in self.layers.named_parameters():
            if name.startswith("bias_ih"):
                nn.init.ones_(parameter.data[hidden_dim : 2 * hidden_dim])
        self.output_dim = projection_dim or hidden_dim
        self.min_frames, self.receptive_field = 1, None

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """FEATS (B, T, feat_dim) -> (B, output_dim, T) and LENGTHS."""
        with torch.autocast("cpu", enabled=False):  # of bfloat16, only some CPUs have the library's recurrence
            frames, _ = self.layers(feats)
        return frames.transpose(1, 2), lengths
