"""The network: trunk, pooling and embedding layer, built from conf/network/*.yaml by the trainer and by load_model."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from steps.nnet.configure import check, choose, read_config
from steps.nnet.models import Trunk
from steps.nnet.pooling import Pooling
from steps.utils.errors import DataError


class SpeakerNetwork(nn.Module):
    """Features of an utterance -> its embedding, whatever its length.

    Args:
        feat_dim: feature dimension
        trunk: makes the frame-level network, given feat_dim
        pooling: makes the pooling, given the trunk's output_dim
        embedding_dim: size of an embedding
        hidden_dims: layers of affine, ReLU and BatchNorm between pooling and embedding (the x-vector's segment6)
        pooling_norm: BatchNorm of the pooled vector
        embedding_norm: BatchNorm of the embedding
        affine_norm: BatchNorms of the hidden layers and of the embedding have scales and offsets of their own

    Attributes:
        min_frames: shortest utterance taken
        receptive_field: frames of context of a frame that is pooled
        config: the settings it was built from, defaults included, as build_network takes them
    """

    def __init__(
        self,
        feat_dim: int,
        trunk: Callable[[int], Trunk],
        pooling: Callable[[int], Pooling],
        embedding_dim: int = 256,
        hidden_dims: tuple[int, ...] = (),
        pooling_norm: bool = False,
        embedding_norm: bool = False,
        affine_norm: bool = True,
    ) -> None:
        super().__init__()
        if min((embedding_dim, *hidden_dims)) < 1:
            raise DataError(f"embedding_dim is {embedding_dim}, hidden_dims are {hidden_dims}; each must be at least 1")
        self.config: dict[str, Any] = {}
        self.feat_dim, self.embedding_dim = feat_dim, embedding_dim
        self.trunk = trunk(feat_dim)
        self.min_frames, self.receptive_field = self.trunk.min_frames, self.trunk.receptive_field
        self.pooling = pooling(self.trunk.output_dim)
        dims = (self.pooling.output_dim, *hidden_dims)
        segment: list[nn.Module] = [nn.BatchNorm1d(dims[0])] if pooling_norm else []
        for inputs, outputs in zip(dims, hidden_dims, strict=False):
            segment += [nn.Linear(inputs, outputs), nn.ReLU(), nn.BatchNorm1d(outputs, affine=affine_norm)]
        segment.append(nn.Linear(dims[-1], embedding_dim))
        if embedding_norm:
            segment.append(nn.BatchNorm1d(embedding_dim, affine=affine_norm))
        self.segment = nn.Sequential(*segment)

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeddings of a batch.

        Args:
            feats: (B, T, feat_dim) normalised features
            lengths: (B,) int64, how many of the T frames are real; what lies past them changes nothing. None: all T.
                Best on the CPU, where looking at them waits for no device

        Returns:
            (B, embedding_dim) float32

        Raises:
            ValueError: an utterance is shorter than min_frames, or has another dimension than feat_dim
        """
        if feats.dim() != 3 or feats.shape[2] != self.feat_dim:
            raise ValueError(f"features are {tuple(feats.shape)}; the network takes (B, T, {self.feat_dim})")
        shortest = feats.shape[1] if lengths is None else int(lengths.min())
        if shortest < self.min_frames:
            raise ValueError(f"an utterance has {shortest} frames; the network takes {self.min_frames} or more")
        frames, lengths = self.trunk(feats, None if lengths is None else lengths.to(feats.device))
        pooled = self.pooling(frames, lengths)
        # float32 also under autocast: it costs nothing beside the frames, and cosines near 1 need the digits
        with torch.autocast(feats.device.type, enabled=False):
            embeddings: Tensor = self.segment(pooled)
        return embeddings


def build_network(config: Mapping[str, Any] | Path, feat_dim: int) -> SpeakerNetwork:
    """The network that CONFIG describes: the settings of SpeakerNetwork, trunk and pooling by class_path and init_args.

    Args:
        config: a file as conf/network/*.yaml, or its content
        feat_dim: feature dimension, from the data

    Raises:
        DataError: no such file, an unknown class or setting, a value of the wrong type
    """
    try:
        settings = read_config(config)
        for part in ("trunk", "pooling"):
            if part not in settings:
                raise DataError(f"{part} is missing")
        trunk = choose(Trunk, settings.pop("trunk"), num_sizes=1)  # type: ignore[type-abstract]
        pooling = choose(Pooling, settings.pop("pooling"), num_sizes=1)  # type: ignore[type-abstract]
        rest = check(SpeakerNetwork, settings, skip={"feat_dim", "trunk", "pooling"})
        network = SpeakerNetwork(feat_dim, trunk, pooling, **rest.arguments)
    except DataError as error:
        if isinstance(config, Path) and error.path is None:
            raise DataError(error.message, config) from error
        raise
    network.config = {"trunk": trunk.config, "pooling": pooling.config, **rest.config}
    return network
