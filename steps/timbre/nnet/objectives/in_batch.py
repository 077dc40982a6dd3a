"""Every example of a batch against every other: which pairs are of one speaker, how similar they are, who is nearest.

Used by the objectives that take batches in any order: triplet.py, multi_similarity.py, pair_losses.py.
"""

import torch
from torch import Tensor
from torch.nn import functional


def cosine_matrix(embeddings: Tensor) -> Tensor:
    """Cosines (B, B) of EMBEDDINGS (B, D)."""
    unit = functional.normalize(embeddings)
    return unit @ unit.T


def pair_masks(labels: Tensor) -> tuple[Tensor, Tensor]:
    """(B, B) bool: pairs of different examples of one speaker, and pairs of two speakers."""
    same = labels[:, None] == labels
    return same & ~diagonal(same), ~same


def nearest_is_positive(similarities: Tensor, positive: Tensor) -> Tensor:
    """Whether the most similar other example of the batch is of the same speaker, (B,) bool.

    An example that is the only one of its speaker has no such neighbour, and counts as not found.
    """
    nearest = similarities.detach().masked_fill(diagonal(positive), -torch.inf).argmax(1)
    return positive.gather(1, nearest[:, None])[:, 0]


def diagonal(matrix: Tensor) -> Tensor:
    """True on the diagonal of a matrix of this shape."""
    return torch.eye(matrix.shape[0], dtype=torch.bool, device=matrix.device)
