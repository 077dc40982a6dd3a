"""ResCNN of Deep Speaker: convolutions that halve the plane, residual blocks after each, and clipped ReLU."""

from torch import Tensor

from timbre.nnet.models.plane import PlaneBlock
from timbre.nnet.models.resnet import ResidualTrunk
from timbre.nnet.models.resnet_blocks import ActiveConv, BasicBlock, Stem
from timbre.utils.errors import DataError


class HalvingBlock(PlaneBlock):
    """A convolution that halves frequency and time.

    Args:
        inputs: channels in
        outputs: channels out
        kernel: frequencies and frames that it sees
        relu_limit: ReLU is cut off here
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, relu_limit: float) -> None:
        super().__init__(outputs, stride=2, context=kernel - 1)
        self.layer = ActiveConv(inputs, outputs, kernel, 2, relu_limit=relu_limit)

    def transform(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, inputs, F, T) -> (B, outputs, F / 2, T / 2), rounded up."""
        halved: Tensor = self.layer(planes)
        return halved


class ResCnn(ResidualTrunk):
    """ResCNN of Deep Speaker (Li et al. 2017, arXiv 1705.02304): a frame for every 16 of the input.

    Each stage is a convolution that halves frequency and time, and residual blocks of two 3x3 convolutions. The paper
    averages over time and then scales embeddings to a length (10, in the code that made it known).

    Args:
        feat_dim: feature dimension
        channels: width of each stage
        blocks: number of residual blocks of each stage
        kernel: of the convolutions that halve
        relu_limit: activations are cut off here
        num_bins: frequencies that are left are averaged to so many; None: they stay
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        blocks: tuple[int, ...] = (1, 1, 1, 1),
        kernel: int = 5,
        relu_limit: float = 20.0,
        num_bins: int | None = 4,
    ) -> None:
        if relu_limit <= 0 or kernel < 1 or kernel % 2 == 0:
            raise DataError(
                f"ResCnn: kernel is {kernel}, relu_limit is {relu_limit}; one must be odd, the other above 0"
            )
        shapes = self.layout(channels, blocks, (2,) * len(channels), stem_stride=2)
        stages: list[list[PlaneBlock]] = []
        for (inputs, outputs, _), *rest in shapes:
            halving = [HalvingBlock(inputs, outputs, kernel, relu_limit)] if stages else []
            residual = [BasicBlock(outputs, outputs, 1, relu_limit=relu_limit) for _ in range(1 + len(rest))]
            stages.append([*halving, *residual])
        super().__init__(feat_dim, Stem(channels[0], kernel, (2, 2), relu_limit=relu_limit), stages, num_bins)
