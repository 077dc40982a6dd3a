"""Segment aggregation: utterances cut into short segments, and one embedding made of theirs.

training_module.py aggregates crops in training, SpeakerNetwork whole utterances at extraction.
"""

from typing import Literal, Protocol

import torch
from torch import Tensor

from timbre.nnet.models.trunk import Frames


class Parted(Protocol):
    """A network in its two parts: what sees frames, and what sees utterances."""

    def frames(self, feats: Tensor, lengths: Tensor | None = None) -> list[Frames]:
        """Features (B, T, F) -> what is pooled."""

    def embed(self, stages: list[Frames]) -> Tensor:
        """What is pooled -> embeddings (B, D)."""


def num_segments(num_frames: int, length: int) -> int:
    """Segments of LENGTH frames, each a tenth over the one before it, that cover NUM_FRAMES."""
    return 1 if num_frames <= length else (10 * num_frames - length) // (9 * length) + 1


def grid_starts(num_frames: int, length: int) -> list[int]:
    """First frames of the segments of LENGTH frames of an utterance of NUM_FRAMES: the last one ends where it ends."""
    number = num_segments(num_frames, length)
    return [place * 9 * length // 10 for place in range(number - 1)] + [max(num_frames - length, 0)]


def cut_grid(feats: Tensor, length: int) -> Tensor:
    """FEATS (B, T, F) -> (B, N, min(L, T), F), the segments of LENGTH = L frames of each utterance."""
    return torch.stack([feats[:, start : start + length] for start in grid_starts(feats.shape[1], length)], 1)


def cut_at(feats: Tensor, starts: Tensor, length: int) -> Tensor:
    """FEATS (B, T, F) -> (B, N, LENGTH, F), the frames from STARTS (B, N) on; nothing here waits for the device."""
    places = starts[:, :, None] + torch.arange(length, device=feats.device)
    return feats[torch.arange(len(feats), device=feats.device)[:, None, None], places]


def aggregate(network: Parted, segments: Tensor, kind: Literal["codes", "maps"]) -> tuple[Tensor, Tensor]:
    """Embeddings of utterances that are cut into segments.

    Args:
        network: sees each segment as an utterance
        segments: (B, N, L, F)
        kind: codes: the mean of the segments' embeddings; maps: one of all their frames, one segment after the other

    Returns:
        (B, D) of the utterances, (B, N, D) of the segments; for one segment, its embedding is both
    """
    number = segments.shape[1]
    stages = network.frames(segments.flatten(0, 1))
    codes = network.embed(stages)
    codes = torch.unflatten(codes, 0, (-1, number))
    if number == 1:
        return codes[:, 0], codes
    if kind == "codes":
        return codes.mean(1), codes
    return network.embed([_joined(frames, number) for frames in stages]), codes


def _joined(frames: Frames, number: int) -> Frames:
    """The frames (B * NUMBER, C, T) of NUMBER segments of each utterance, all of them full, as (B, C, NUMBER * T)."""
    joined = torch.unflatten(frames[0], 0, (-1, number)).transpose(1, 2).flatten(2)
    return joined, None


def embed_whole(
    network: Parted, feats: Tensor, lengths: Tensor | None, length: int, kind: Literal["codes", "maps"]
) -> Tensor:
    """Embeddings (B, D) of whole utterances, each cut into segments of LENGTH frames.

    Args:
        network: sees each segment as an utterance
        feats: (B, T, F)
        lengths: (B,) how many of the T frames are real; None: all
        length: of a segment
        kind: as of aggregate
    """
    if lengths is None:
        return aggregate(network, cut_grid(feats, length), kind)[0]
    embeddings: list[Tensor | None] = [None] * len(feats)
    counts = lengths.tolist()
    # utterances of one number of segments together, those of one segment by their length: then nothing is padded
    groups: dict[tuple[int, int], list[int]] = {}
    for row, count in enumerate(counts):
        groups.setdefault((num_segments(count, length), min(count, length)), []).append(row)
    for rows in groups.values():
        cuts = torch.stack([cut_grid(feats[row : row + 1, : counts[row]], length)[0] for row in rows])
        for row, embedding in zip(rows, aggregate(network, cuts, kind)[0], strict=True):
            embeddings[row] = embedding
    return torch.stack([embedding for embedding in embeddings if embedding is not None])
