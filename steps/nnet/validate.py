"""Validation during training: accuracy on held-out utterances, EER on trials of held-out speakers. Used by train.py."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from steps.datadir.ark import read_ark
from steps.datadir.trials import Trials, read_trials
from steps.feats.egs_format import Manifest
from steps.nnet.egs import Batch, read_valid
from steps.nnet.network import SpeakerNetwork
from steps.nnet.objectives import Objective
from steps.utils.errors import DataError

MAX_FRAMES = 20_000  # in a padded batch of whole utterances


class Validation:
    """What is validated on, read once; call it for the figures of a network as it stands.

    Args:
        egs_dir: with valid.N.ark and, if speakers were held out, valid_utts.ark and valid_trials
        manifest: of the egs
        batch_size: examples at a time for the accuracy
    """

    def __init__(self, egs_dir: Path, manifest: Manifest, batch_size: int) -> None:
        self._batches = [
            Batch(feats, labels)
            for batch in read_valid(egs_dir, manifest)
            for feats, labels in zip(batch.feats.split(batch_size), batch.labels.split(batch_size), strict=True)
        ]
        self._trials: Trials | None = None
        self._feats: dict[str, Tensor] = {}
        if manifest.valid_speakers:
            self._trials = read_trials(egs_dir / "valid_trials")
            feats = {utt: torch.from_numpy(feats) for utt, feats in read_ark(egs_dir / "valid_utts.ark")}
            missing = {*self._trials.enroll_ids, *self._trials.test_ids} - feats.keys()
            if missing:
                raise DataError(f"no features of {min(missing)}, which valid_trials names", egs_dir / "valid_utts.ark")
            self._feats = dict(sorted(feats.items(), key=lambda item: len(item[1])))

    @torch.inference_mode()
    def __call__(
        self, network: SpeakerNetwork, objective: Objective, device: torch.device, dtype: torch.dtype | None
    ) -> dict[str, float]:
        """valid_loss, valid_accuracy and valid_eer, as far as there is something to measure them on.

        Both modules are left in the mode they came in. DTYPE is that of autocast (None: no autocast).
        """
        modes = network.training, objective.training
        network.eval()
        objective.eval()
        figures = {}
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            if self._batches:
                figures = self._accuracy(network, objective, device)
            if self._trials is not None:
                figures["valid_eer"] = self._eer(network, self._trials, device)
        network.train(modes[0])
        objective.train(modes[1])
        return figures

    def _accuracy(self, network: SpeakerNetwork, objective: Objective, device: torch.device) -> dict[str, float]:
        losses, correct = [], []
        for batch in self._batches:
            labels = batch.labels.to(device)
            loss, logits = objective(network(batch.feats.to(device)), labels)
            losses.append(loss * len(labels))
            correct.append((logits.argmax(1) == labels).sum())
        total = sum(len(batch.labels) for batch in self._batches)
        return {
            "valid_loss": float(torch.stack(losses).sum()) / total,
            "valid_accuracy": float(torch.stack(correct).sum()) / total,
        }

    def _eer(self, network: SpeakerNetwork, trials: Trials, device: torch.device) -> float:
        embeddings = {}
        for utts in self._padded(network.min_frames):
            feats = [self._feats[utt] for utt in utts]
            lengths = torch.tensor([len(one) for one in feats], device=device)
            batch = network(pad_sequence(feats, batch_first=True).to(device), lengths).float()
            embeddings.update(zip(utts, normalize(batch).cpu().numpy(), strict=True))
        known_enroll = np.array([utt in embeddings for utt in trials.enroll_ids])[trials.enroll]
        known = known_enroll & np.array([utt in embeddings for utt in trials.test_ids])[trials.test]
        blank = np.zeros(network.embedding_dim, np.float32)
        enroll = np.stack([embeddings.get(utt, blank) for utt in trials.enroll_ids])
        test = np.stack([embeddings.get(utt, blank) for utt in trials.test_ids])
        scores = np.einsum("nd,nd->n", enroll[trials.enroll], test[trials.test])
        return equal_error_rate(scores[known], trials.target[known])

    def _padded(self, min_frames: int) -> list[list[str]]:
        """Utterances in batches of similar length; too short ones for the network are passed over."""
        batches: list[list[str]] = []
        for utt, feats in self._feats.items():  # shortest first
            if len(feats) < min_frames:
                continue
            if not batches or (len(batches[-1]) + 1) * len(feats) > MAX_FRAMES:
                batches.append([])
            batches[-1].append(utt)
        return batches


def equal_error_rate(scores: npt.NDArray[np.floating], target: npt.NDArray[np.bool_]) -> float:
    """The rate at which misses and false alarms are as frequent, interpolated; NaN if a class is empty.

    Tied scores count as one threshold, so neither their order nor that of the trials matters.
    """
    if not target.any() or target.all():
        return float("nan")
    values, inverse = np.unique(scores, return_inverse=True)
    miss = np.concatenate([[0], np.cumsum(np.bincount(inverse, target))]) / target.sum()
    alarm = 1 - np.concatenate([[0], np.cumsum(np.bincount(inverse, ~target))]) / (~target).sum()
    cross = int(np.argmax(miss >= alarm))  # miss rises from 0 to 1, alarm falls from 1 to 0
    gap = alarm[cross - 1] - miss[cross - 1]
    part = gap / (gap + miss[cross] - alarm[cross])
    return float(miss[cross - 1] + part * (miss[cross] - miss[cross - 1]))
