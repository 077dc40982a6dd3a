"""Pooling by soft assignment of frames to clusters."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.layers import zero_padding
from timbre.nnet.pooling.pooling import Pooling
from timbre.nnet.pooling.weighting import weighted_sums
from timbre.utils.errors import DataError


class GhostVlad(Pooling):
    """What frames are beside the centres of their clusters, summed cluster by cluster (Zhong et al. 2018, 1810.09951).

    V_k = sum over t of a_kt (x_t - c_k), each scaled to length 1; a_t is a softmax over all clusters of an affine map
    of the frame. Ghost clusters take their share of the frames, those that say nothing of the speaker, and are left
    out. Without them it is NetVLAD (Arandjelovic et al. 2016, arXiv 1511.07247).

    Args:
        channels: channels in
        clusters: clusters that count
        ghosts: clusters that do not
    """

    def __init__(self, channels: int, clusters: int = 8, ghosts: int = 2) -> None:
        super().__init__()
        if clusters < 1 or ghosts < 0:
            raise DataError(
                f"GhostVlad: clusters is {clusters}, ghosts is {ghosts}; one must be at least 1, the other not below 0"
            )
        self.clusters = clusters
        self.assignment = nn.Conv1d(channels, clusters + ghosts, 1)
        self.centres = nn.Parameter(nn.init.orthogonal_(torch.empty(clusters, channels)))
        self.output_dim = clusters * channels

    def pool(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """The vectors V_k, one after the other."""
        frames = zero_padding(frames, mask)
        shares = self.assignment(frames).softmax(1, dtype=torch.float32)[:, : self.clusters]
        shares = zero_padding(shares, mask)
        residuals = weighted_sums(frames, shares) - shares.sum(2)[:, :, None] * self.centres
        # the bound keeps the gradient of a cluster that has no frames finite
        return functional.normalize(residuals, dim=2, eps=1e-6).flatten(1)
