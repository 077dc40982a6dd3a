"""RET and ARET: a TDNN with residual blocks between its layers."""

from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn

from timbre.nnet.layers import TdnnLayer, frame_mask, zero_padding
from timbre.nnet.models.trunk import Frames, Trunk
from timbre.utils.errors import DataError


class ResidualTdnn(Trunk):
    """RET and ARET (Zhang et al., Interspeech 2020, "Aggregated residual extended time-delay neural networks").

    A stage is a layer without padding, which loses dilation * (kernel - 1) frames, and blocks that keep the length.

    Args:
        feat_dim: feature dimension
        channels: width of each stage
        kernels: frames that the first layer of each stage splices
        dilations: distance between those frames
        blocks: number of blocks of each stage
        block: basic (RET): two layers of three frames; aggregated (ARET): a layer of three frames in groups, between
            two of one frame
        groups: number of groups of an aggregated block
        last_channels: widths of the layers of one frame after the stages
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (512, 512, 512, 512),
        kernels: tuple[int, ...] = (5, 3, 3, 5),
        dilations: tuple[int, ...] = (1, 1, 1, 1),
        blocks: tuple[int, ...] = (1, 1, 1, 1),
        block: Literal["basic", "aggregated"] = "aggregated",
        groups: int = 32,
        last_channels: tuple[int, ...] = (512, 1536),
    ) -> None:
        super().__init__()
        if not channels or not len(channels) == len(kernels) == len(dilations) == len(blocks):
            raise DataError("ResidualTdnn: channels, kernels, dilations and blocks must be lists of the same length")
        if min(*channels, *kernels, *dilations, *last_channels, groups) < 1 or min(blocks) < 0:
            raise DataError(
                "ResidualTdnn: channels, kernels, dilations and groups must be at least 1, blocks at least 0"
            )
        if block == "aggregated" and any(width % groups for width in channels):
            raise DataError(f"ResidualTdnn: channels {channels} do not all make {groups} equal groups")
        self.parts = nn.ModuleList()
        for before, width, kernel, dilation, count in zip(
            (feat_dim, *channels[:-1]), channels, kernels, dilations, blocks, strict=True
        ):
            residuals = [
                BasicBlock(width) if block == "basic" else AggregatedBlock(width, groups) for _ in range(count)
            ]
            self.parts.append(Stage(TdnnLayer(before, width, kernel, dilation), residuals, dilation * (kernel - 1)))
        dims = (channels[-1], *last_channels)
        self.last = nn.Sequential(
            *(TdnnLayer(before, width) for before, width in zip(dims, last_channels, strict=False))
        )
        self.output_dim = dims[-1]
        self.min_frames = 1 + sum(dilation * (kernel - 1) for kernel, dilation in zip(kernels, dilations, strict=True))
        self.receptive_field = self.min_frames + sum(blocks) * (4 if block == "basic" else 2)

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Frames:
        """FEATS (B, T, feat_dim) -> (B, output_dim, T - min_frames + 1) and lengths likewise."""
        frames = feats.transpose(1, 2)
        for part in self.parts:
            frames, lengths = part(frames, lengths)
        return self.last(frames), lengths


class Stage(nn.Module):
    """A layer that loses frames, LOST of them, and residual blocks."""

    def __init__(self, layer: TdnnLayer, blocks: Iterable[nn.Module], lost: int) -> None:
        super().__init__()
        self.layer, self.blocks, self.lost = layer, nn.ModuleList(blocks), lost

    def forward(self, frames: Tensor, lengths: Tensor | None) -> Frames:
        """(B, C, T) and lengths -> (B, C', T - LOST) and lengths likewise."""
        frames = self.layer(frames)
        lengths = None if lengths is None else lengths - self.lost
        mask = frame_mask(lengths, frames.shape[2])
        for block in self.blocks:
            frames = block(frames, mask)
        return frames, lengths


class BasicBlock(nn.Module):
    """Two layers of three frames, and the input added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = TdnnLayer(channels, channels, 3, same=True)
        self.second = TdnnLayer(channels, channels, 3, same=True)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, channels, T) -> the same."""
        hidden = self.first(zero_padding(frames, mask))
        out: Tensor = self.second(zero_padding(hidden, mask))
        return out.add_(frames)


class AggregatedBlock(nn.Module):
    """A layer of one frame, one of three frames and twice the channels in groups, one of one frame; the input added."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.before = TdnnLayer(channels, channels)
        self.grouped = GroupedLayer(channels, 2 * channels, groups)
        self.after = TdnnLayer(2 * channels, channels)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, channels, T) -> the same."""
        out: Tensor = self.after(self.grouped(zero_padding(self.before(frames), mask)))
        return out.add_(frames)


class GroupedLayer(TdnnLayer):
    """A TdnnLayer of three frames in which each group of channels sees one group of the input alone."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__(in_channels, out_channels, 3, same=True)
        self.affine = nn.Conv1d(in_channels, out_channels, 3, padding=1, groups=groups)
