"""Time-delay networks without padding: x-vector and extended (E-TDNN), and weights that others laid out otherwise."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.layers import TdnnLayer
from timbre.nnet.models.trunk import Trunk
from timbre.utils.errors import DataError


class XvectorTdnn(Trunk):
    """Frame layers of the x-vector network (Snyder et al. 2018): affine, ReLU, BatchNorm; 15 frames of context.

    With ten layers it is the extended TDNN (Snyder et al. 2019). Nothing is padded: an utterance loses
    receptive_field - 1 frames.

    Args:
        feat_dim: feature dimension
        channels: outputs of each layer
        kernels: frames that each layer splices
        dilations: distance between those frames
        affine_norm: BatchNorm has a scale and an offset of its own
        activation: between the affine map and BatchNorm; the slope of leaky_relu is .01
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (512, 512, 512, 512, 1500),
        kernels: tuple[int, ...] = (5, 3, 3, 1, 1),
        dilations: tuple[int, ...] = (1, 2, 3, 1, 1),
        affine_norm: bool = True,
        activation: Literal["relu", "leaky_relu"] = "relu",
    ) -> None:
        super().__init__()
        if not channels or not len(channels) == len(kernels) == len(dilations):
            raise DataError("XvectorTdnn: channels, kernels and dilations must be lists of the same length")
        if min(*channels, *kernels, *dilations) < 1:
            raise DataError("XvectorTdnn: channels, kernels and dilations must be at least 1")
        kind = TdnnLayer if activation == "relu" else LeakyTdnnLayer
        self.layers = nn.ModuleList(
            kind(inputs, outputs, kernel, dilation, affine_norm=affine_norm)
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
        return frames, None if lengths is None else lengths - (self.min_frames - 1)


class LeakyTdnnLayer(TdnnLayer):
    """A TdnnLayer whose activation lets a hundredth of what is negative through."""

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) -> (B, C', T')."""
        out: Tensor = self.norm(functional.leaky_relu_(self.affine(frames), 0.01))
        return out


def from_layout(weight: Tensor, layout: Literal["v2", "v4", "v5"], kernel: int) -> Tensor:
    """The weight of a TdnnLayer from one of a layer that splices frames in another way, but is the same function.

    The layouts have their names from the time-delay layers of github.com/Wenhao-Yang/SpeakerVerifiaction-pytorch.

    Args:
        weight: v2, an affine map of spliced frames: (out, kernel * in), frame by frame; v4, a convolution of the
            (time, feature) plane: (out, 1, kernel, in); v5, a convolution over time: (out, in, kernel)
        layout: which of these
        kernel: number of frames spliced

    Returns:
        (out, in, kernel): `affine.weight` of the layer

    Raises:
        DataError: the weight does not have the shape of its layout
    """
    shape = tuple(weight.shape)
    if layout == "v2" and len(shape) == 2 and shape[1] % kernel == 0:
        return weight.reshape(shape[0], kernel, -1).transpose(1, 2).contiguous()
    if layout == "v4" and len(shape) == 4 and shape[1:3] == (1, kernel):
        return weight.squeeze(1).transpose(1, 2).contiguous()
    if layout == "v5" and len(shape) == 3 and shape[2] == kernel:
        return weight
    raise DataError(f"a weight of shape {shape} is not one of {kernel} frames in layout {layout}")
