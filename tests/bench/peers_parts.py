"""What the naive networks of peers_*.py share: poolings, and the way from features to an embedding. Called by those.

All is written as a paper's formulas read, in plain torch: no masks, nothing in place, torch's usual layout.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Plain(nn.Module):
    """A trunk, a pooling, and what follows it; lazy layers among them get their sizes from a dry run.

    Args:
        feat_dim: feature dimension
        trunk: (B, feat_dim, T) to frames (B, C, T')
        pooling: of what the trunk gives, to (B, P)
        head: layers from there to the embedding
    """

    def __init__(self, feat_dim: int, trunk: nn.Module, pooling: nn.Module, *head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.pooling, self.head = trunk, pooling, nn.Sequential(*head)
        with torch.no_grad():
            self.eval()(torch.zeros(1, 128, feat_dim))

    def forward(self, feats: Tensor) -> Tensor:
        """Embeddings of (B, T, feat_dim)."""
        return self.head(self.pooling(self.trunk(feats.transpose(1, 2))))


class Residual(nn.Module):
    """The input and what a module makes of it."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, inputs: Tensor) -> Tensor:
        """Any shape to the same."""
        return inputs + self.body(inputs)


class Scaled(nn.Module):
    """Embeddings of one length."""

    def __init__(self, length: float = 1.0) -> None:
        super().__init__()
        self.length = length

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, D) to the same."""
        return self.length * functional.normalize(embeddings)


class Mean(nn.Module):
    """Temporal average."""

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, T) to (B, C)."""
        return frames.mean(2)


class Statistics(nn.Module):
    """Mean and standard deviation over time."""

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, T) to (B, 2 C)."""
        return torch.cat((frames.mean(2), frames.std(2, correction=0)), 1)


class SelfAttentive(nn.Module):
    """Mean weighted by a softmax of v'tanh(Wh + b)."""

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.hidden, self.score = nn.Linear(channels, bottleneck), nn.Linear(bottleneck, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, T) to (B, C)."""
        frames = frames.transpose(1, 2)
        weights = torch.softmax(self.score(torch.tanh(self.hidden(frames))), 1)
        return (weights * frames).sum(1)


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation with weights of each channel's own.

    Args:
        channels: channels in
        context: mean and standard deviation of the utterance stand beside each frame, and tanh is between the two
            affine maps (ECAPA-TDNN); otherwise the frame alone, and ReLU and BatchNorm between them (voxceleb_trainer)
        bottleneck: channels between them
    """

    def __init__(self, channels: int, context: bool, bottleneck: int = 128) -> None:
        super().__init__()
        self.context = context
        between = [nn.Tanh()] if context else [nn.ReLU(), nn.BatchNorm1d(bottleneck)]
        self.attention = nn.Sequential(
            nn.Conv1d(3 * channels if context else channels, bottleneck, 1),
            *between,
            nn.Conv1d(bottleneck, channels, 1),
            nn.Softmax(2),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, T) to (B, 2 C)."""
        seen = frames
        if self.context:
            mean, std = frames.mean(2, keepdim=True), frames.std(2, correction=0, keepdim=True)
            seen = torch.cat((frames, mean.expand_as(frames), std.expand_as(frames)), 1)
        weights = self.attention(seen)
        mean = (weights * frames).sum(2)
        variance = (weights * frames**2).sum(2) - mean**2
        return torch.cat((mean, variance.clamp(min=1e-5).sqrt()), 1)


class PlainGhostVlad(nn.Module):
    """Residuals of the frames from all centres, weighted by the shares of the clusters, ghosts left out."""

    def __init__(self, channels: int, clusters: int, ghosts: int) -> None:
        super().__init__()
        self.assignment = nn.Linear(channels, clusters + ghosts)
        self.centres = nn.Parameter(torch.randn(clusters, channels))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, T) to (B, clusters * C)."""
        frames = frames.transpose(1, 2)
        shares = torch.softmax(self.assignment(frames), 2)[:, :, : len(self.centres)]
        residuals = frames[:, :, None] - self.centres  # (B, T, clusters, C)
        vectors = (shares[..., None] * residuals).sum(1)
        return functional.normalize(vectors, dim=2).flatten(1)


class PlainGaussianPosterior(nn.Module):
    """Posterior mean of a Gaussian prior and frames with precisions of their own (xi-vector)."""

    def __init__(self, channels: int, bottleneck: int = 256) -> None:
        super().__init__()
        self.precision = nn.Sequential(
            nn.Conv1d(channels, bottleneck, 1),
            nn.ReLU(),
            nn.BatchNorm1d(bottleneck),
            nn.Conv1d(bottleneck, channels, 1),
            nn.Softplus(),
        )
        self.prior_mean = nn.Parameter(torch.zeros(channels))
        self.prior_log_precision = nn.Parameter(torch.zeros(channels))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, T) to (B, C)."""
        precisions, prior = self.precision(frames) ** 2, self.prior_log_precision.exp()
        weighted = (precisions * frames).sum(2) + prior * self.prior_mean
        return weighted / (precisions.sum(2) + prior)
