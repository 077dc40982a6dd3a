"""First weights for the classes of new speakers: the centroids of their embeddings. Called by start.py."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from timbre.egs.egs_files import EgsFiles
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import Batch
from timbre.nnet.network import SpeakerNetwork
from timbre.nnet.objectives import CenterLoss, Objective, Softmax
from timbre.nnet.objectives.margin import CosineClasses
from timbre.training.front_end import FrontEnd

PER_SPEAKER = 20  # examples that a centroid is made of, as far as the speaker has them
MAX_FRAMES = 20_000  # in a batch

log = logging.getLogger(__name__)


@torch.no_grad()
def fill_centroids(
    network: SpeakerNetwork,
    objective: Objective,
    known: Tensor,
    egs_dir: Path,
    manifest: Manifest,
    device: torch.device,
) -> None:
    """Sets the class weights in OBJECTIVE of all speakers but the KNOWN ones to centroids of their embeddings.

    A direction of a class is that of the mean of the embeddings, each scaled to length 1 first; the length of the
    weights is the mean of those that are known, or of the first ones. Of several sub-centres the first is set: the
    others are for what lies elsewhere. A centre of the centre loss is the mean of the embeddings as they are.

    Args:
        network: makes the embeddings, without dropout; on DEVICE
        objective: on DEVICE; one without classes stays as it is
        known: (num_speakers,) bool
        egs_dir: with the examples; up to PER_SPEAKER of each speaker, evenly over them, are used
        manifest: of the egs
        device: where to compute
    """
    heads = [part for part in objective.modules() if isinstance(part, CosineClasses | Softmax | CenterLoss)]
    new = ~known
    if not heads:
        return
    log.info("centroids of the embeddings of %d speakers are their class weights", int(new.sum()))
    network.eval()
    objective.eval()
    sums = [torch.zeros(_rows(head).shape, dtype=torch.float64, device=device) for head in heads]
    counts = torch.zeros(len(known), 1, dtype=torch.float64, device=device)
    for feats, labels in _examples(new, egs_dir, manifest, device):
        embeddings = network(feats)
        counts.index_add_(0, labels, counts.new_ones(len(labels), 1))
        for head, total in zip(heads, sums, strict=True):
            total.index_add_(0, labels, _inputs(head, embeddings).double())
    new &= (counts[:, 0] > 0).cpu()
    for head, total in zip(heads, sums, strict=True):
        _set(head, (total / counts.clamp(min=1)).float(), new.to(device), known.to(device))
    network.train()
    objective.train()


def _examples(new: Tensor, egs_dir: Path, manifest: Manifest, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """(features (B, T, F), labels (B,)), on DEVICE, of up to PER_SPEAKER examples of each of the NEW speakers."""
    files, front_end = EgsFiles(egs_dir, manifest), FrontEnd(manifest, None, device)
    order = np.argsort(files.speakers, kind="stable")
    own = np.split(order, np.flatnonzero(np.diff(files.speakers[order])) + 1)
    wanted = [part[:: -(-len(part) // PER_SPEAKER)] for part in own if new[files.speakers[part[0]]]]
    examples = np.sort(np.concatenate(wanted)) if wanted else np.empty(0, np.int64)
    lengths = files.lengths(examples)
    for length in np.unique(lengths):
        same, size = examples[lengths == length], max(MAX_FRAMES // int(length), 1)
        for begin in range(0, len(same), size):
            batch = same[begin : begin + size]
            rows = np.empty((len(batch), int(length), files.dim), files.dtype)
            files.read(batch, np.zeros_like(batch), rows)
            feats = torch.from_numpy(rows).to(device)
            if manifest.waveform:
                feats = feats.flatten(1)
            labels = torch.from_numpy(files.speakers[batch]).long().to(device)
            yield front_end(Batch(feats, labels)).feats, labels


def _inputs(head: nn.Module, embeddings: Tensor) -> Tensor:
    """(B, D) what is averaged for HEAD."""
    if isinstance(head, CenterLoss):
        return embeddings
    if isinstance(head, Softmax):
        embeddings = head.layers[:-1](embeddings)
    return normalize(embeddings)


def _rows(head: nn.Module) -> Tensor:
    """(num_speakers, D) the class weights of HEAD, to be written to."""
    if isinstance(head, CenterLoss):
        return head.centers.data
    if isinstance(head, Softmax):
        return head.layers[-1].get_parameter("weight").data
    weight = head.get_parameter("weight").data
    return weight if weight.dim() == 2 else weight[:, 0]


def _set(head: nn.Module, centroids: Tensor, new: Tensor, known: Tensor) -> None:
    rows = _rows(head)
    if isinstance(head, CenterLoss):
        rows[new] = centroids[new]
        return
    some = known if known.any() else torch.ones_like(known)
    rows[new] = torch.linalg.vector_norm(rows[some], dim=1).mean() * normalize(centroids[new])
    if isinstance(head, Softmax):
        biases = head.layers[-1].get_parameter("bias").data
        biases[new] = biases[known].mean() if known.any() else 0
