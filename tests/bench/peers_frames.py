"""Networks over time as their papers write them: CAM++, D-TDNN-SS, ARET, ECAPA-TDNN, LSTM, MFA-Conformer.

peers.py calls it. Frames are (B, C, T) but where an LSTM or a Conformer has them otherwise.
"""

import torch
from peers_parts import (
    AttentiveStatistics,
    Plain,
    PlainGaussianPosterior,
    Residual,
    Scaled,
    SelfAttentive,
    Statistics,
)
from peers_planes import PlainBlock, conv_norm
from torch import Tensor, nn
from torch.nn import functional


def tdnn(
    inputs: int, outputs: int, kernel: int = 1, dilation: int = 1, same: bool = True, groups: int = 1
) -> nn.Module:
    """Convolution over time, ReLU, BatchNorm."""
    padding = dilation * (kernel - 1) // 2 if same else 0
    conv = nn.Conv1d(inputs, outputs, kernel, padding=padding, dilation=dilation, groups=groups)
    return nn.Sequential(conv, nn.ReLU(), nn.BatchNorm1d(outputs))


def pre_activated(inputs: int, outputs: int) -> nn.Module:
    """BatchNorm, ReLU, affine map of each frame."""
    return nn.Sequential(nn.BatchNorm1d(inputs), nn.ReLU(), nn.Conv1d(inputs, outputs, 1, bias=False))


class Dense(nn.Module):
    """The input, and beside it what a layer makes of it."""

    def __init__(self, *layer: nn.Module) -> None:
        super().__init__()
        self.layer = nn.Sequential(*layer)

    def forward(self, frames: Tensor) -> Tensor:
        """Channels become more."""
        return torch.cat((frames, self.layer(frames)), 1)


class ContextMasked(nn.Module):
    """CAM++'s dilated convolution, masked in each frame by the mean over all frames and that over its segment."""

    def __init__(self, inputs: int, outputs: int, dilation: int, segment: int = 100) -> None:
        super().__init__()
        self.segment = segment
        self.local = nn.Conv1d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(inputs, inputs // 2, 1)
        self.linear2 = nn.Conv1d(inputs // 2, outputs, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, inputs, T) to (B, outputs, T)."""
        local = self.local(frames)
        context = frames.mean(2, keepdim=True) + self.segment_means(frames)
        return local * torch.sigmoid(self.linear2(torch.relu(self.linear1(context))))

    def segment_means(self, frames: Tensor) -> Tensor:
        """The mean of its segment for each frame."""
        means = functional.avg_pool1d(frames, self.segment, self.segment, ceil_mode=True)
        means = means[..., None].expand(*means.shape, self.segment).flatten(2)
        return means[:, :, : frames.shape[2]]


def campplus(feat_dim: int) -> nn.Module:
    """campplus."""
    planes: list[nn.Module] = [*conv_norm(1, 32, 3), nn.ReLU()]
    for stride in (2, 1, 2, 1):
        block = PlainBlock([*conv_norm(32, 32, 3, (stride, 1)), nn.ReLU(), *conv_norm(32, 32, 3)], 32, 32, 1)
        if stride > 1:
            block.shortcut = nn.Sequential(*conv_norm(32, 32, 1, (stride, 1)))
        planes.append(block)
    planes += [*conv_norm(32, 32, 3, (2, 1)), nn.ReLU()]
    channels = 128
    stem = [nn.Conv1d(32 * -(-feat_dim // 8), channels, 5, 2, 2, bias=False), nn.BatchNorm1d(channels), nn.ReLU()]
    layers: list[nn.Module] = [nn.Unflatten(1, (1, -1)), *planes, nn.Flatten(1, 2), *stem]
    for count, dilation in zip((12, 24, 16), (1, 2, 2), strict=True):
        for _ in range(count):
            bottleneck = [pre_activated(channels, 128), nn.BatchNorm1d(128), nn.ReLU()]
            layers.append(Dense(*bottleneck, ContextMasked(128, 32, dilation)))
            channels += 32
        layers.append(pre_activated(channels, channels // 2))
        channels //= 2
    frames = nn.Sequential(*layers, nn.BatchNorm1d(channels), nn.ReLU())
    return Plain(feat_dim, frames, Statistics(), nn.LazyLinear(512), nn.BatchNorm1d(512, affine=False))


class SelectedBranches(nn.Module):
    """D-TDNN-SS's convolutions of dilations 1 and 3, weighted by statistics up to the fourth order of their sum."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv1d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False) for dilation in (1, 3)
        )
        self.linear1, self.linear2 = nn.Linear(4 * outputs, outputs // 2), nn.Linear(outputs // 2, 2 * outputs)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, inputs, T) to (B, outputs, T)."""
        outputs = torch.stack([branch(frames) for branch in self.branches], 1)
        total = outputs.sum(1)
        mean, std = total.mean(2), total.std(2, correction=0).clamp(min=1e-2)
        normal = (total - mean[:, :, None]) / std[:, :, None]
        statistics = torch.cat((mean, std, normal.pow(3).mean(2), normal.pow(4).mean(2)), 1)
        scores = self.linear2(self.linear1(statistics)).view(len(frames), 2, -1, 1)
        return (torch.softmax(scores, 1) * outputs).sum(1)


def dtdnn_ss(feat_dim: int) -> nn.Module:
    """dtdnn_ss."""
    channels = 128
    layers: list[nn.Module] = [nn.Conv1d(feat_dim, channels, 5, padding=2), nn.BatchNorm1d(channels), nn.ReLU()]
    for count in (6, 12):
        for _ in range(count):
            bottleneck = [pre_activated(channels, 128), nn.BatchNorm1d(128), nn.ReLU()]
            layers.append(Dense(*bottleneck, SelectedBranches(128, 64)))
            channels += 64
        layers.append(pre_activated(channels, channels // 2))
        channels //= 2
    head = [nn.LazyLinear(512), nn.BatchNorm1d(512, affine=False)]
    return Plain(feat_dim, nn.Sequential(*layers), Statistics(), *head)


def aret(feat_dim: int) -> nn.Module:
    """aret."""
    layers: list[nn.Module] = []
    for inputs, kernel in zip((feat_dim, 512, 512, 512), (5, 3, 3, 5), strict=True):
        grouped = tdnn(512, 1024, 3, groups=32)
        layers += [tdnn(inputs, 512, kernel, same=False), Residual(tdnn(512, 512), grouped, tdnn(1024, 512))]
    frames = nn.Sequential(*layers, tdnn(512, 512), tdnn(512, 1536))
    head = [nn.LazyLinear(512), nn.ReLU(), nn.BatchNorm1d(512), nn.Linear(512, 512), nn.BatchNorm1d(512)]
    return Plain(feat_dim, frames, Statistics(), *head)


class PlainRes2(nn.Module):
    """Groups of channels, each but the last convolved after the result of the one before was added."""

    def __init__(self, channels: int, dilation: int, scale: int = 8) -> None:
        super().__init__()
        self.width = channels // scale
        self.layers = nn.ModuleList(tdnn(self.width, self.width, 3, dilation) for _ in range(scale - 1))

    def forward(self, frames: Tensor) -> Tensor:
        """The same shape."""
        groups = torch.split(frames, self.width, 1)
        outputs: list[Tensor] = []
        for layer, group in zip(self.layers, groups, strict=False):
            outputs.append(layer(group + outputs[-1] if outputs else group))
        return torch.cat([*outputs, groups[-1]], 1)


class FrameExcitation(nn.Module):
    """Squeeze-excitation of frames."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool1d(1),
            nn.Conv1d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv1d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """The same shape."""
        return frames * self.gate(frames)


class PlainEcapa(nn.Module):
    """Frame layers of ECAPA-TDNN; a block sees the sum of all outputs before it."""

    def __init__(self, feat_dim: int, channels: int) -> None:
        super().__init__()
        self.stem = tdnn(feat_dim, channels, 5)
        self.blocks = nn.ModuleList(
            Residual(
                tdnn(channels, channels),
                PlainRes2(channels, dilation),
                tdnn(channels, channels),
                FrameExcitation(channels, 128),
            )
            for dilation in (2, 3, 4)
        )
        self.aggregate = nn.Conv1d(3 * channels, 1536, 1)

    def forward(self, feats: Tensor) -> Tensor:
        """(B, F, T) to (B, 1536, T)."""
        outputs = [self.stem(feats)]
        for block in self.blocks:
            outputs.append(block(sum(outputs[1:], outputs[0])))
        return torch.relu(self.aggregate(torch.cat(outputs[1:], 1)))


def ecapa(feat_dim: int, channels: int) -> nn.Module:
    """ecapa512 and ecapa1024."""
    head = [nn.BatchNorm1d(3072), nn.Linear(3072, 192)]
    return Plain(feat_dim, PlainEcapa(feat_dim, channels), AttentiveStatistics(1536, context=True), *head)


def ecapa_xi(feat_dim: int) -> nn.Module:
    """ecapa512_xi."""
    head = [nn.BatchNorm1d(1536), nn.Linear(1536, 192)]
    return Plain(feat_dim, PlainEcapa(feat_dim, 512), PlainGaussianPosterior(1536), *head)


class PlainLstm(nn.Module):
    """nn.LSTM over frames. Its forget gates are open as ours are, else tiny numbers, which take a CPU long, count."""

    def __init__(self, feat_dim: int, cells: int, dropout: float, projection: int = 0) -> None:
        super().__init__()
        self.lstm = nn.LSTM(feat_dim, cells, 3, batch_first=True, dropout=dropout, proj_size=projection)
        for layer in range(3):
            nn.init.ones_(getattr(self.lstm, f"bias_ih_l{layer}").data[cells : 2 * cells])

    def forward(self, feats: Tensor) -> Tensor:
        """(B, F, T) to (B, C, T)."""
        return self.lstm(feats.transpose(1, 2))[0].transpose(1, 2)


class Last(nn.Module):
    """The last frame."""

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, T) to (B, C)."""
        return frames[:, :, -1]


def lstm_attentive(feat_dim: int) -> nn.Module:
    """lstm_attentive."""
    head = [nn.Linear(128, 512), nn.ReLU(), nn.BatchNorm1d(512)]
    return Plain(feat_dim, PlainLstm(feat_dim, 128, 0.1), SelfAttentive(128, 128), *head)


def ge2e_lstm(feat_dim: int) -> nn.Module:
    """ge2e_lstm."""
    return Plain(feat_dim, PlainLstm(feat_dim, 768, 0.0, 256), Last(), nn.Linear(256, 256), Scaled())


class TorchaudioConformer(nn.Module):
    """Linear map and torchaudio's Conformer."""

    def __init__(self, feat_dim: int) -> None:
        super().__init__()
        from torchaudio.models import Conformer

        self.before = nn.Linear(feat_dim, 80)
        self.conformer = Conformer(80, 4, 128, 4, 31, dropout=0.1)

    def forward(self, feats: Tensor) -> Tensor:
        """(B, F, T) to (B, 80, T)."""
        feats = feats.transpose(1, 2)
        lengths = torch.full((len(feats),), feats.shape[1], device=feats.device)
        return self.conformer(self.before(feats), lengths)[0].transpose(1, 2)


class MultiScaleConformer(nn.Module):
    """MFA-Conformer of torchaudio's layers: half the frame rate, six blocks, the outputs of all side by side."""

    def __init__(self, feat_dim: int, width: int = 256, blocks: int = 6) -> None:
        super().__init__()
        from torchaudio.models.conformer import ConformerLayer

        self.subsampling = nn.Conv2d(1, width, 3, 2, padding=(1, 0))
        self.before = nn.Linear(width * ((feat_dim - 1) // 2), width)
        self.layers = nn.ModuleList(ConformerLayer(width, 2048, 4, 15, dropout=0.1) for _ in range(blocks))
        self.norm = nn.LayerNorm(blocks * width)

    def forward(self, feats: Tensor) -> Tensor:
        """(B, F, T) to (B, 1536, T / 2)."""
        planes = torch.relu(self.subsampling(feats.transpose(1, 2)[:, None]))  # (B, C, T / 2, F / 2)
        frames = self.before(planes.transpose(1, 2).flatten(2)).transpose(0, 1)
        outputs: list[Tensor] = []
        for layer in self.layers:
            frames = layer(frames, None)
            outputs.append(frames)
        return self.norm(torch.cat(outputs, 2)).permute(1, 2, 0)


def conformer(feat_dim: int) -> nn.Module:
    """conformer."""
    return Plain(feat_dim, TorchaudioConformer(feat_dim), SelfAttentive(80, 80))


def mfa_conformer(feat_dim: int) -> nn.Module:
    """mfa_conformer."""
    head = [nn.BatchNorm1d(3072), nn.Linear(3072, 192)]
    return Plain(feat_dim, MultiScaleConformer(feat_dim), AttentiveStatistics(1536, context=True), *head)
