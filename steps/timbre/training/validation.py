"""Validation during training: accuracy on held-out utterances, EER on trials of held-out speakers. Used by loop.py."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pad_sequence

from timbre.datadir.ark import read_ark
from timbre.datadir.trials import Trials, read_trials
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import Batch, read_valid
from timbre.evaluation.metrics import roc
from timbre.nnet.network import SpeakerNetwork
from timbre.nnet.objectives import Objective, WeightedSum
from timbre.utils.errors import DataError

THRESHOLD = "valid_eer_threshold"
COSTS = {"valid_min_dcf_0.01": 0.01, "valid_min_dcf_0.001": 0.001}  # the prior of a target
MAX_FRAMES = 20_000  # in a padded batch of whole utterances, however large the batches of training are
MAX_TRIALS = 8192  # that an objective scores at a time


@runtime_checkable
class ScoresTrials(Protocol):
    """An objective that says itself how alike two embeddings are, where others leave it to the cosine."""

    def score(self, enroll: Tensor, test: Tensor) -> Tensor:
        """(N,) higher for one speaker; ENROLL and TEST are (N, D) float32, as the network gives them."""


class Validation:
    """What is validated on, read once; called with a network, it gives the figures of that network.

    Args:
        egs_dir: with valid.N.ark and, if speakers were held out, valid_utts.ark and valid_trials
        manifest: of the egs
        batch_size: examples at a time on the device, those of one part of a training step; whole utterances are no more
            frames at a time than these examples, and longer ones are cut
        min_frames: shorter utterances are repeated up to this length, the least that the network takes
    """

    def __init__(self, egs_dir: Path, manifest: Manifest, batch_size: int, min_frames: int) -> None:
        self._examples = [
            Batch(feats, labels)
            for ark in read_valid(egs_dir, manifest)
            for feats, labels in zip(
                torch.split(ark.feats, batch_size), torch.split(ark.labels, batch_size), strict=True
            )
        ]
        longest = manifest.num_feats(max((ark.frames for ark in manifest.train), default=0))
        self._max_frames = max(min(MAX_FRAMES, batch_size * longest), min_frames)
        self._trials: Trials | None = None
        self._feats: dict[str, Tensor] = {}  # by length
        if manifest.valid_speakers:
            self._trials = read_trials(egs_dir / "valid_trials")
            feats = dict(read_ark(egs_dir / "valid_utts.ark"))
            missing = {*self._trials.enroll_ids, *self._trials.test_ids} - feats.keys()
            if missing:
                raise DataError(f"no features of {min(missing)}, which valid_trials names", egs_dir / "valid_utts.ark")
            for utt in sorted(feats, key=lambda utt: len(feats[utt])):
                shape = max(len(feats[utt]), min_frames), manifest.feat_dim
                self._feats[utt] = torch.from_numpy(np.resize(feats[utt], shape))[: self._max_frames]

    @torch.inference_mode()
    def __call__(
        self, network: SpeakerNetwork, objective: Objective, device: torch.device, dtype: torch.dtype | None
    ) -> dict[str, float]:
        """valid_loss, valid_accuracy, valid_eer and its threshold, and minDCF, as far as there is what they are of.

        Args:
            network: left in the mode it comes in, as is the objective
            objective: for loss and accuracy
            device: where both are
            dtype: of autocast; None: without
        """
        modes = network.training, objective.training
        network.eval()
        objective.eval()
        figures: dict[str, float] = {}
        # lengths are of all kinds here: a search for the fastest kernels of each would never end
        cudnn = torch.backends.cudnn
        no_search = cudnn.flags(True, deterministic=cudnn.deterministic, allow_tf32=cudnn.allow_tf32)
        with no_search, torch.autocast(device.type, dtype, enabled=dtype is not None):
            classifier = _classifier(objective)
            if self._examples and classifier is not None:
                figures |= self._measure_accuracy(network, classifier, device)
            if self._trials is not None:
                scores = self._score(self._embed(network, device), self._trials, objective)
                figures["valid_eer"] = equal_error_rate(scores, self._trials.target)
                figures |= costs(scores, self._trials.target)
        network.train(modes[0])
        objective.train(modes[1])
        return figures

    def _measure_accuracy(
        self, network: SpeakerNetwork, objective: Objective, device: torch.device
    ) -> dict[str, float]:
        loss = correct = torch.zeros((), device=device)
        for batch in self._examples:
            labels = batch.labels.to(device)
            mean_loss, right = objective(network(batch.feats.to(device)), labels)
            loss = loss + mean_loss * len(labels)
            correct = correct + right.sum()
        total = sum(len(batch.labels) for batch in self._examples)
        return {"valid_loss": float(loss) / total, "valid_accuracy": float(correct) / total}

    def _embed(self, network: SpeakerNetwork, device: torch.device) -> dict[str, Tensor]:
        """Embeddings, (D,) float32 on DEVICE, of the utterances of the trials."""
        embeddings: dict[str, Tensor] = {}
        for utts in self._batches():
            feats = [self._feats[utt] for utt in utts]
            lengths = torch.tensor([len(one) for one in feats], device=device)
            batch = network(pad_sequence(feats, batch_first=True).to(device), lengths)
            embeddings.update(zip(utts, batch.float(), strict=True))
        return embeddings

    def _score(self, embeddings: dict[str, Tensor], trials: Trials, objective: Objective) -> npt.NDArray[np.floating]:
        """(N,) the objective's own scores of TRIALS if it has any, or cosines."""
        enroll, test = (torch.stack([embeddings[utt] for utt in utts]) for utts in (trials.enroll_ids, trials.test_ids))
        if not isinstance(objective, ScoresTrials):
            enroll, test = normalize(enroll), normalize(test)
        rows = torch.from_numpy(np.stack([trials.enroll, trials.test])).long().to(enroll.device)
        parts = []
        with torch.autocast(enroll.device.type, enabled=False):
            for first, second in zip(*(torch.split(side, MAX_TRIALS) for side in rows), strict=True):
                if isinstance(objective, ScoresTrials):
                    parts.append(objective.score(enroll[first], test[second]))
                else:
                    parts.append((enroll[first] * test[second]).sum(1))
        scores: npt.NDArray[np.floating] = torch.cat(parts).cpu().numpy()
        return scores

    def _batches(self) -> list[list[str]]:
        """Utterances of similar lengths together."""
        batches: list[list[str]] = [[]]
        for utt, feats in self._feats.items():
            if batches[-1] and (len(batches[-1]) + 1) * len(feats) > self._max_frames:
                batches.append([])
            batches[-1].append(utt)
        return batches


def measured(manifest: Manifest, objective: Objective) -> set[str]:
    """The figures that Validation gives for egs of MANIFEST and OBJECTIVE."""
    classifies = bool(manifest.valid) and _classifier(objective) is not None
    return {
        *(["valid_loss", "valid_accuracy"] if classifies else []),
        *(["valid_eer", THRESHOLD, *COSTS] if manifest.valid_speakers else []),
    }


def _classifier(objective: Objective) -> Objective | None:
    """What can be measured on any batch: the whole of OBJECTIVE, or its first part that can, or nothing."""
    if objective.shard is None and objective.classifies and objective.batches == "any":
        return objective
    if isinstance(objective, WeightedSum):
        parts = [_classifier(term) for term in objective.terms if isinstance(term, Objective)]
        return next((part for part in parts if part is not None), None)
    return None


def equal_error_rate(scores: npt.NDArray[np.floating], target: npt.NDArray[np.bool_]) -> float:
    """The rate at which misses and false alarms are as frequent, interpolated; NaN if a class is empty.

    Tied scores count as one threshold, so neither their order nor that of the trials matters.
    """
    if not target.any() or target.all():
        return float("nan")
    inverse = np.unique(scores, return_inverse=True)[1]
    miss = np.concatenate([[0], np.cumsum(np.bincount(inverse, target))]) / target.sum()
    alarm = 1 - np.concatenate([[0], np.cumsum(np.bincount(inverse, ~target))]) / (~target).sum()
    cross = int(np.argmax(miss >= alarm))  # miss rises from 0 to 1, alarm falls from 1 to 0
    gap = alarm[cross - 1] - miss[cross - 1]
    part = gap / (gap + miss[cross] - alarm[cross])
    return float(miss[cross - 1] + part * (miss[cross] - miss[cross - 1]))


def costs(scores: npt.NDArray[np.floating], target: npt.NDArray[np.bool_]) -> dict[str, float]:
    """The threshold of the EER, and minDCF; nothing if a class is empty or a score is no number."""
    if not target.any() or target.all() or not np.isfinite(scores).all():
        return {}
    curve = roc(scores[target].astype(np.float64), scores[~target].astype(np.float64))
    return {THRESHOLD: curve.eer_threshold()} | {name: curve.min_dcf(prior) for name, prior in COSTS.items()}
