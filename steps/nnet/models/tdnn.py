"""Time-delay networks without padding: the x-vector trunk."""

from torch import Tensor, nn

from steps.nnet.layers import TdnnLayer
from steps.nnet.models.trunk import Trunk
from steps.utils.errors import DataError


class XvectorTdnn(Trunk):
    """Frame layers of the x-vector network (Snyder et al. 2018): affine, ReLU, BatchNorm; 15 frames of context.

    Nothing is padded: an utterance loses receptive_field - 1 frames.

    Args:
        feat_dim: feature dimension
        channels: outputs of each layer
        kernels: frames that each layer splices
        dilations: distance between those frames
        affine_norm: BatchNorm has a scale and an offset of its own
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (512, 512, 512, 512, 1500),
        kernels: tuple[int, ...] = (5, 3, 3, 1, 1),
        dilations: tuple[int, ...] = (1, 2, 3, 1, 1),
        affine_norm: bool = True,
    ) -> None:
        super().__init__()
        if not channels or not len(channels) == len(kernels) == len(dilations):
            raise DataError("XvectorTdnn: channels, kernels and dilations must be lists of the same length")
        self.layers = nn.ModuleList(
            TdnnLayer(inputs, outputs, kernel, dilation, affine_norm=affine_norm)
            for inputs, outputs, kernel, dilation in zip(
                (feat_dim, *channels[:-1]), channels, kernels, dilations, strict=True
            )
        )
        self.output_dim = channels[-1]
        lost = sum(dilation * (kernel - 1) for kernel, dilation in zip(kernels, dilations, strict=True))
        self.receptive_field = self.min_frames = lost + 1

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """FEATS (B, T, feat_dim) -> (B, output_dim, T - receptive_field + 1) and lengths."""
        frames = feats.transpose(1, 2)
        for layer in self.layers:
            frames = layer(frames)
        return frames, None if lengths is None else lengths - (self.receptive_field - 1)
