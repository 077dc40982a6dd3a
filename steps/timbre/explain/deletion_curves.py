"""Is a map faithful? What becomes of a score when what the map says matters is taken away, or is all there is.

Deletion and insertion curves (Petsiuk et al. 2018, arXiv 1806.07421) over cells of time and frequency, the maps that
any map must beat, and whether maps change with the weights (Adebayo et al. 2018, arXiv 1810.03292). For
explanation_study.py.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata

from timbre.explain.explained_score import Part, PartScore
from timbre.explain.layer_shapes import Map
from timbre.explain.time_cells import Cells
from timbre.nnet.network import SpeakerNetwork

Values = NDArray[np.float64]

SHARES = np.linspace(0, 1, 11)  # of the cells that are taken away, or put in

_AROUND = 25  # frames to each side whose VAD decisions make a frame's value in vad_map


def curves(score: PartScore, cells: Cells, ranked: Values, rng: np.random.Generator) -> tuple[Values, Values]:
    """Scores (11,) with the first SHARES of the cells taken away, and with nothing but these: deletion, insertion.

    Args:
        score: as a function of the utterance; the mean frame stands for what is not there
        cells: of what the network is given
        ranked: (N * M,) value of each cell, the largest of which comes first
        rng: decides between equal values
    """
    order = np.lexsort((rng.random(len(ranked)), -ranked))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    ends = np.rint(SHARES * len(order)).astype(np.int64)
    first = torch.from_numpy(place[cells.numbers] < ends[:, None, None]).to(score.inputs.device)  # (11, T, F)
    gone = torch.cat([first, ~first[1:-1]])  # of the ends the two have the same
    found = score.values(torch.where(gone, score.neutral, score.inputs))
    return found[: len(ends)], np.concatenate([found[len(ends) - 1 : len(ends)], found[len(ends) :], found[:1]])


def area(curve: Values) -> Values:
    """Mean of CURVE (..., 11) over the shares, by trapezoids."""
    return np.asarray(np.trapezoid(curve, SHARES, axis=-1))


def vad_map(part: Part) -> Map:
    """(num_seen, num_bins): how many of the frames around each frame that the network is given are voiced.

    Where it is given voiced frames alone, their surroundings are what the VAD can still say of them.
    """
    voiced = (part.seen if part.voiced is None else part.voiced).astype(np.float64)
    window = np.ones(2 * _AROUND + 1)
    counts = np.convolve(np.ones_like(voiced), window)[_AROUND : _AROUND + len(voiced)]
    shares = (np.convolve(voiced, window)[_AROUND : _AROUND + len(voiced)] / counts)[part.seen]
    return np.repeat(shares[:, None], part.feats.shape[1], axis=1).astype(np.float32)


@torch.no_grad()
def randomized(network: SpeakerNetwork, seed: int) -> SpeakerNetwork:
    """NETWORK with the values of each of its weights in another order: as large as before, but nothing learnt."""
    result = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(seed)
    for parameter in result.parameters():
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return result


def rank_correlation(first: Values, second: Values) -> float:
    """Spearman's correlation of two maps' cells; 0 where one of them is the same everywhere."""
    if not (np.ptp(first) and np.ptp(second)):
        return 0.0
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def positive_share(values: Map, inside: NDArray[np.bool_]) -> float:
    """Share of what is above 0 in VALUES (T, F) that lies in the frames INSIDE (T,); NaN where nothing is."""
    positive = np.maximum(values, 0).sum(axis=1, dtype=np.float64)
    total = positive.sum()
    return float(positive[inside].sum() / total) if total else np.nan
