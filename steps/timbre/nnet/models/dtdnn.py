"""D-TDNN, whose layers see what all layers before them gave, and D-TDNN-SS, which also selects among dilations."""

import torch
from torch import Tensor, nn

from timbre.nnet.layers import frame_mask, masked_mean, mean_and_std, zero_padding
from timbre.nnet.models.trunk import Frames, Trunk
from timbre.utils.errors import DataError


class DenseTdnn(Trunk):
    """D-TDNN and D-TDNN-SS (Yu and Li, Interspeech 2020, "Densely connected time delay neural network").

    Args:
        feat_dim: feature dimension
        stem_channels: width of the first layer
        growth: channels that each layer of a block adds
        bottleneck: channels that a layer brings all those before it down to
        blocks: number of layers of each block; the channels are halved after each
        dilations: dilations of each block: one (D-TDNN), or several, one a branch of each layer (D-TDNN-SS)
        null_branch: the selection may also choose none of the branches; alone it makes D-TDNN-SS (0) of D-TDNN
        reduction: the selection's hidden layer has growth / reduction channels
    """

    def __init__(
        self,
        feat_dim: int,
        stem_channels: int = 128,
        growth: int = 64,
        bottleneck: int = 128,
        blocks: tuple[int, ...] = (6, 12),
        dilations: tuple[tuple[int, ...], ...] = ((1,), (3,)),
        null_branch: bool = False,
        reduction: int = 2,
    ) -> None:
        super().__init__()
        if not blocks or len(blocks) != len(dilations):
            raise DataError("DenseTdnn: blocks and dilations must be lists of the same length")
        if not all(dilations) or min(stem_channels, growth, bottleneck, *blocks, *sum(dilations, ())) < 1:
            raise DataError("DenseTdnn: channels, blocks and dilations must be at least 1")
        if not 1 <= reduction <= growth:
            raise DataError(f"DenseTdnn: reduction is {reduction}; it must be from 1 to growth, {growth}")
        self.stem = nn.Conv1d(feat_dim, stem_channels, 5, padding=2)
        self.norm = nn.BatchNorm1d(stem_channels)
        self.blocks = nn.ModuleList()
        self.transits = nn.ModuleList()
        channels = stem_channels
        for num_layers, branches in zip(blocks, dilations, strict=True):
            block = DenseBlock()
            for _ in range(num_layers):
                block.append(DenseLayer(channels, bottleneck, growth, branches, null_branch, growth // reduction))
                channels += growth
            self.blocks.append(block)
            self.transits.append(PreActivated(channels, channels // 2))
            channels //= 2
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        self.output_dim = channels
        self.min_frames = 1
        self.receptive_field = 5 + 2 * sum(
            num_layers * max(branches) for num_layers, branches in zip(blocks, dilations, strict=True)
        )

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Frames:
        """FEATS (B, T, feat_dim) -> (B, output_dim, T) and LENGTHS."""
        mask = frame_mask(lengths, feats.shape[1])
        frames = torch.relu_(self.norm(self.stem(zero_padding(feats.transpose(1, 2), mask))))
        for block, transit in zip(self.blocks, self.transits, strict=True):
            frames = transit(block(frames, mask))
        return frames, lengths


class DenseBlock(nn.ModuleList):
    """Layers, each of which adds its channels to those that it sees."""

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, channels, T) -> (B, channels + growth * layers, T)."""
        for layer in self:
            frames = torch.cat((frames, layer(frames, mask)), 1)
        return frames


class PreActivated(nn.Module):
    """BatchNorm, ReLU, and the affine map of each frame without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs)
        self.affine = nn.Conv1d(inputs, outputs, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, inputs, T) -> (B, outputs, T)."""
        out: Tensor = self.affine(torch.relu_(self.norm(frames)))
        return out


class DenseLayer(nn.Module):
    """What a block's layer adds to what it sees: a bottleneck, then convolutions of three frames, one or selected.

    Args:
        channels: channels in
        bottleneck: channels between
        growth: channels out
        dilations: of the branches
        null_branch: the selection may choose none
        hidden: hidden size of the selection
    """

    def __init__(
        self, channels: int, bottleneck: int, growth: int, dilations: tuple[int, ...], null_branch: bool, hidden: int
    ) -> None:
        super().__init__()
        self.bottleneck = PreActivated(channels, bottleneck)
        self.norm = nn.BatchNorm1d(bottleneck)
        self.branches = nn.ModuleList(
            nn.Conv1d(bottleneck, growth, 3, padding=dilation, dilation=dilation, bias=False) for dilation in dilations
        )
        selects = len(dilations) + null_branch > 1
        self.selection = Selection(growth, len(dilations), null_branch, hidden) if selects else None

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, channels, T) -> (B, growth, T)."""
        hidden = zero_padding(torch.relu_(self.norm(self.bottleneck(frames))), mask)
        outputs: list[Tensor] = [branch(hidden) for branch in self.branches]
        return outputs[0] if self.selection is None else self.selection(outputs, mask)


class Selection(nn.Module):
    """Sum of branches, of each channel weighted by what the statistics of their plain sum over the utterance say.

    Args:
        channels: channels in and out
        branches: number of branches
        null_branch: the weights are a softmax over the branches and nothing; otherwise over the branches
        hidden: hidden size
    """

    def __init__(self, channels: int, branches: int, null_branch: bool, hidden: int) -> None:
        super().__init__()
        self.channels = channels
        self.hidden = nn.Linear(4 * channels, hidden)
        self.scores = nn.Linear(hidden, (branches + null_branch) * channels)

    def forward(self, branches: list[Tensor], mask: Tensor | None) -> Tensor:
        """(B, channels, T) of each branch -> the same."""
        total = branches[0]
        for branch in branches[1:]:
            total = total + branch
        scores: Tensor = self.scores(self.hidden(high_order_statistics(total, mask)))
        weights = scores.view(len(total), -1, self.channels, 1).softmax(1).to(total.dtype)
        selected: Tensor = branches[0] * weights[:, 0]
        for number, branch in enumerate(branches[1:], 1):
            selected = torch.addcmul(selected, branch, weights[:, number])
        return selected


def high_order_statistics(frames: Tensor, mask: Tensor | None, floor: float = 1e-2) -> Tensor:
    """Mean, standard deviation, skewness and kurtosis over the real frames of FRAMES (B, C, T).

    Args:
        frames: (B, C, T)
        mask: (B, 1, T), or None
        floor: least standard deviation

    Returns:
        (B, 4 C) float32
    """
    mean, std = mean_and_std(frames, mask, floor**2)
    normal = zero_padding((frames - mean[:, :, None]) / std[:, :, None], mask)
    square = normal.square()
    return torch.cat((mean, std, masked_mean(square * normal, mask), masked_mean(square.square(), mask)), 1)
