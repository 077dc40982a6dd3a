"""The network: trunk, pooling and embedding layer, built from conf/network/*.yaml by the trainer and by load_model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.layers import frame_mask, normalize_instances, zero_padding
from timbre.nnet.models import Trunk
from timbre.nnet.pooling import Pooling
from timbre.utils.configure import check, choose, read_config
from timbre.utils.errors import DataError
from timbre.utils.memory import check_memory


@dataclass(frozen=True)
class Windows:
    """Windows of an utterance whose embeddings are averaged.

    Args:
        length: frames in a window; where it goes past the end of the utterance it has zeros
        shift: frames from one window to the next
        least: fewest frames of a window that lie in the utterance, but of the first one
    """

    length: int
    shift: int
    least: int = 1

    def __post_init__(self) -> None:
        if not (1 <= self.shift <= self.length and 1 <= self.least <= self.length):
            sizes = f"length {self.length}, shift {self.shift}, least {self.least}"
            raise DataError(f"windows: of {sizes}, all must be at least 1 and none longer than the length")

    def number(self, num_frames: int) -> int:
        """Windows of an utterance of NUM_FRAMES frames."""
        return 1 + max(0, num_frames - self.least) // self.shift


class SpeakerNetwork(nn.Module):
    """Features of an utterance -> its embedding, whatever its length.

    Args:
        feat_dim: feature dimension
        trunk: makes the frame-level network, given feat_dim
        pooling: makes the pooling, given the trunk's output_dim
        embedding_dim: size of an embedding; None: there is no embedding layer, the pooled vector is the embedding
        hidden_dims: layers of affine, ReLU and BatchNorm between pooling and embedding (the x-vector's segment6)
        pooling_norm: BatchNorm of the pooled vector
        embedding_norm: BatchNorm of the embedding
        embedding_activation: what the embedding goes through last
        embedding_dropout: share of it that is dropped in training
        affine_norm: BatchNorms of the hidden layers and of the embedding have scales and offsets of their own
        embedding_length: Euclidean length that embeddings are scaled to; 0: as they are
        pooled_stages: so many of the trunk's last stages are pooled, each by a pooling of its own, and concatenated
            (multi-scale statistics); more than 1 needs a trunk that has them
        instance_norm: each feature is brought to mean 0 and variance 1 over the utterance first (voxceleb_trainer)
        windows: (length, shift, least) of Windows of the utterance: the embedding is the mean of theirs, scaled to
            embedding_length again; None: it is that of the whole

    Attributes:
        min_frames: shortest utterance taken
        receptive_field: frames of context of a frame that is pooled; None: all
        config: the settings it was built from, defaults included, as build_network takes them
    """

    def __init__(
        self,
        feat_dim: int,
        trunk: Callable[[int], Trunk],
        pooling: Callable[[int], Pooling],
        embedding_dim: int | None = 256,
        hidden_dims: tuple[int, ...] = (),
        pooling_norm: bool = False,
        embedding_norm: bool = False,
        embedding_activation: Literal["none", "relu", "gelu"] = "none",
        embedding_dropout: float = 0.0,
        affine_norm: bool = True,
        embedding_length: float = 0.0,
        pooled_stages: int = 1,
        instance_norm: bool = False,
        windows: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        if min((1 if embedding_dim is None else embedding_dim, *hidden_dims)) < 1 or embedding_length < 0:
            raise DataError(
                f"embedding_dim is {embedding_dim}, hidden_dims are {hidden_dims}, embedding_length is "
                f"{embedding_length}; dimensions must be at least 1, the length not below 0"
            )
        if not 0 <= embedding_dropout < 1:
            raise DataError(f"embedding_dropout is {embedding_dropout}; it must be from 0 to below 1")
        self.config: dict[str, Any] = {}
        self.trunk = trunk(feat_dim)
        stage_dims = self.trunk.stage_dims
        if not 1 <= pooled_stages <= len(stage_dims):
            raise DataError(f"pooled_stages is {pooled_stages}; the trunk has {len(stage_dims)} to pool")
        self.min_frames, self.receptive_field = self.trunk.min_frames, self.trunk.receptive_field
        self.windows = None if windows is None else Windows(*windows)
        if self.windows is not None and self.windows.length < self.min_frames:
            raise DataError(f"windows of {self.windows.length} frames; the trunk takes {self.min_frames} or more")
        self.poolings = nn.ModuleList(pooling(dim) for dim in stage_dims[-pooled_stages:])
        self.instance_norm, self.embedding_length = instance_norm, embedding_length
        pooled_dim = sum(pool.output_dim for pool in self.poolings if isinstance(pool, Pooling))
        self.feat_dim = feat_dim
        self.embedding_dim = embedding_dim or (pooled_dim, *hidden_dims)[-1]
        dims = (pooled_dim, *hidden_dims)
        segment: list[nn.Module] = [nn.BatchNorm1d(dims[0])] if pooling_norm else []
        for inputs, outputs in zip(dims, hidden_dims, strict=False):
            segment += [nn.Linear(inputs, outputs), nn.ReLU(), nn.BatchNorm1d(outputs, affine=affine_norm)]
        if embedding_dim is not None:
            segment.append(nn.Linear(dims[-1], embedding_dim))
        if embedding_norm:
            segment.append(nn.BatchNorm1d(self.embedding_dim, affine=affine_norm))
        if embedding_activation != "none":
            segment.append(nn.ReLU() if embedding_activation == "relu" else nn.GELU())
        if embedding_dropout:
            segment.append(nn.Dropout(embedding_dropout))
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
        lengths = None if lengths is None else lengths.to(feats.device)
        if self.instance_norm:
            feats = normalize_instances(feats, lengths)
        return self._embed(feats, lengths) if self.windows is None else self._average(feats, lengths, self.windows)

    def _average(self, feats: Tensor, lengths: Tensor | None, windows: Windows) -> Tensor:
        """Embeddings (B, embedding_dim) of FEATS (B, T, feat_dim), averaged over WINDOWS."""
        batch, size, _ = feats.shape
        sizes = [size] * batch if lengths is None else lengths.tolist()
        numbers = [windows.number(int(number)) for number in sizes]
        feats = zero_padding(feats.transpose(1, 2), frame_mask(lengths, size)).transpose(1, 2)
        feats = functional.pad(feats, (0, 0, 0, max(0, (max(numbers) - 1) * windows.shift + windows.length - size)))
        pieces = feats.unfold(1, windows.length, windows.shift).transpose(2, 3)  # (B, N, length, feat_dim)
        parts = self._embed(torch.cat([piece[:number] for piece, number in zip(pieces, numbers, strict=True)]), None)
        means = torch.stack([part.mean(0) for part in torch.split(parts, numbers)])
        return self.embedding_length * functional.normalize(means) if self.embedding_length else means

    def _embed(self, feats: Tensor, lengths: Tensor | None) -> Tensor:
        """Embeddings (B, embedding_dim) of normalised FEATS (B, T, feat_dim)."""
        if len(self.poolings) == 1:
            pooled = self.poolings[0](*self.trunk(feats, lengths))
        else:
            stages = self.trunk.stages(feats, lengths)[-len(self.poolings) :]
            pooled = torch.cat([pool(*stage) for pool, stage in zip(self.poolings, stages, strict=True)], 1)
        # float32 also under autocast: it costs nothing beside the frames, and cosines near 1 need the digits
        with torch.autocast(feats.device.type, enabled=False):
            embeddings: Tensor = self.segment(pooled)
            if self.embedding_length:
                embeddings = self.embedding_length * functional.normalize(embeddings)
        return embeddings


def build_network(config: Mapping[str, Any] | Path, feat_dim: int) -> SpeakerNetwork:
    """The network that CONFIG describes: the settings of SpeakerNetwork, trunk and pooling by class_path and init_args.

    Args:
        config: a file as conf/network/*.yaml, or its content
        feat_dim: feature dimension, from the data

    Raises:
        DataError: no such file, an unknown class or setting, a value of the wrong type, more than the memory holds
    """
    try:
        settings = read_config(config)
        for part in ("trunk", "pooling"):
            if part not in settings:
                raise DataError(f"{part} is missing")
        trunk = choose(Trunk, settings.pop("trunk"), num_sizes=1)  # type: ignore[type-abstract]
        pooling = choose(Pooling, settings.pop("pooling"), num_sizes=1)  # type: ignore[type-abstract]
        rest = check(SpeakerNetwork, settings, skip={"feat_dim", "trunk", "pooling"})
        network = _made(lambda: SpeakerNetwork(feat_dim, trunk, pooling, **rest.arguments), feat_dim)
    except DataError as error:
        if isinstance(config, Path) and error.path is None:
            raise DataError(error.message, config) from error
        raise
    network.config = {"trunk": trunk.config, "pooling": pooling.config, **rest.config}
    return network


def _made(make: Callable[[], SpeakerNetwork], feat_dim: int) -> SpeakerNetwork:
    """What MAKE makes, once it is known to fit into memory: a network on the meta device has sizes alone."""
    if isinstance(feat_dim, bool) or not isinstance(feat_dim, int) or feat_dim < 1:
        raise DataError(f"feat_dim is {feat_dim!r}; it must be a whole number above 0")
    if type(torch.empty(0)) is not torch.Tensor:
        return make()  # of fake tensors, which take no memory
    try:
        with torch.device("meta"):
            parameters = list(make().state_dict().values())
    except NotImplementedError:  # a network that computes something when it is made
        parameters = []
    except (RuntimeError, OverflowError, MemoryError, TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError(
            f"no network can be made so: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error
    check_memory("the network", sum(float(value.numel()) * value.element_size() for value in parameters))
    try:
        return make()
    except (RuntimeError, OverflowError, MemoryError) as error:
        raise DataError(
            f"no network can be made so: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from error
