"""What is explained: a number that a network gives, as a function of the features of each utterance that it is of.

A number is the logit of a training speaker, or the score of a trial. Made by the steps that explain, for the methods.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from timbre.datadir.ark import read_mat
from timbre.datadir.datadir import DataDir
from timbre.explain.layer_shapes import Map
from timbre.explain.torch_scores import TorchBackend
from timbre.feats.utterances import Utterance
from timbre.nnet.classifier import load_classifier
from timbre.nnet.model import load_model, read_classes, read_config
from timbre.nnet.network import SpeakerNetwork
from timbre.nnet.objectives import Objective
from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.errors import DataError
from timbre.utils.spelling import did_you_mean

MAX_FRAMES = 12_000  # of an utterance: what extract_embeddings.py takes in one piece

_BATCH_FRAMES = 12_000  # without gradients


@dataclass(frozen=True)
class Part:
    """An utterance that a number is of.

    Args:
        utt: its id
        feats: (num_frames, num_bins) float32, as on disk
        seen: (num_frames,) bool, the frames that the network is given
        voiced: (num_frames,) bool, the VAD decision; None: there is none
        inputs: (num_seen, num_bins) float32, what it is given: normalised
    """

    utt: str
    feats: Map
    seen: NDArray[np.bool_]
    voiced: NDArray[np.bool_] | None
    inputs: Map

    @classmethod
    def read(cls, data: DataDir, utt: str, normalization: NormalizeOptions) -> "Part":
        """Utterance UTT of DATA, as it is normalised for extraction.

        Raises:
            DataError: there is no such utterance, or no features, or none that it can be explained by
        """
        feats, vads = data.table("feats.scp"), data.table("vad.scp") if data.has("vad.scp") else {}
        if utt not in feats:
            raise DataError(f"no utterance '{utt}'{did_you_mean(utt, list(feats))}", data.path / "feats.scp")
        utterance = Utterance(utt, feats[utt], vads.get(utt), normalization)
        values, seen = utterance.load()
        inputs = utterance.normalized(values, seen)
        if len(inputs) > MAX_FRAMES:
            text = f"{len(inputs)} frames, more than the {MAX_FRAMES} that an embedding is of: cut it"
            raise DataError(f"utterance {utt}: {text}", feats[utt])
        voiced = read_mat(vads[utt], utt) != 0 if utt in vads else None
        every = np.ones(len(values), np.bool_)
        return cls(utt, values.astype(np.float32), every if seen is None else seen, voiced, inputs)

    def whole(self, values: Map) -> Map:
        """VALUES (num_seen, num_bins) as (num_frames, num_bins), 0 in the frames that the network is not given."""
        result = np.zeros(self.feats.shape, np.float32)
        result[self.seen] = values
        return result


@dataclass(frozen=True)
class PartScore:
    """The number as a function of one of its utterances, the others being what they are.

    Args:
        network: in evaluation mode
        score: of the embeddings of all utterances, (B, D) or (1, D) each, the (B,) numbers
        embeddings: of all utterances, (1, D) each
        place: which of them it is a function of
        inputs: (T, F) float32, what the network is given of it, repeated up to the fewest frames that it takes
        num_frames: how many there are without repetition
        head: what has weights behind the embeddings; None: nothing
    """

    network: SpeakerNetwork
    score: Callable[[Sequence[Tensor]], Tensor]
    embeddings: list[Tensor]
    place: int
    inputs: Tensor
    num_frames: int
    head: nn.Module | None = None

    def __call__(self, feats: Tensor) -> Tensor:
        """The numbers (B,) if FEATS (B, T, F) are given to the network instead."""
        embedding = self.network(feats)
        return self.score([*self.embeddings[: self.place], embedding, *self.embeddings[self.place + 1 :]])

    @torch.no_grad()
    def values(self, feats: Tensor) -> NDArray[np.float64]:
        """The same without a gradient, in batches of bounded memory: (B,)."""
        size = max(1, _BATCH_FRAMES // feats.shape[1])
        return np.concatenate([self(batch).double().cpu().numpy() for batch in torch.split(feats, size)])

    @property
    def neutral(self) -> Tensor:
        """(1, F): the mean frame, which stands for what is taken away; about 0 after CMN."""
        return self.inputs.mean(0, keepdim=True)

    def folded(self, values: Map) -> Map:
        """VALUES (T, F) of repeated frames summed up: (num_frames, F)."""
        if len(values) == self.num_frames:
            return values
        result = np.zeros((self.num_frames, values.shape[1]), np.float32)
        np.add.at(result, np.arange(len(values)) % self.num_frames, values)
        return result


@dataclass(frozen=True)
class ExplainedScore:
    """A number and the utterances that it is of.

    Args:
        network: in evaluation mode
        parts: the utterances
        score: see PartScore
        title: what the number is, in words
        head: see PartScore
    """

    network: SpeakerNetwork
    parts: list[Part]
    score: Callable[[Sequence[Tensor]], Tensor]
    title: str
    head: nn.Module | None = None

    def of_parts(self) -> list[PartScore]:
        """The number as a function of each of the utterances."""
        device = next(self.network.parameters()).device
        shortest = self.network.min_frames
        inputs = []
        for part in self.parts:
            if part.inputs.shape[1] != self.network.feat_dim:
                text = f"features of dimension {part.inputs.shape[1]}; the network takes {self.network.feat_dim}"
                raise DataError(f"utterance {part.utt}: {text}")
            size = max(len(part.inputs), shortest)
            inputs.append(torch.from_numpy(np.resize(part.inputs, (size, part.inputs.shape[1]))).to(device))
        with torch.no_grad():
            embeddings = [self.network(one[None]) for one in inputs]
        if not all(embedding.isfinite().all() for embedding in embeddings):
            raise DataError("an embedding is not finite: NaN or huge features?")
        return [
            PartScore(self.network, self.score, embeddings, place, one, len(part.inputs), self.head)
            for place, (part, one) in enumerate(zip(self.parts, inputs, strict=True))
        ]


class Explainer:
    """A model, and the data that what it says is of.

    Args:
        model_dir: what steps/train.py wrote
        data: data directory with feats.scp, and vad.scp if the network was trained on voiced frames
        backend: of the scores of trials
        models: the utterances of each enrolment id that is a model of several
        device: cpu, cuda or cuda:N
    """

    def __init__(
        self,
        model_dir: Path,
        data: DataDir,
        backend: TorchBackend,
        models: Mapping[str, Sequence[str]] = {},
        device: torch.device | str = "cpu",
    ) -> None:
        self.model_dir, self.data, self.models, self._backend = model_dir, data, models, backend
        self.network, self.normalization = load_model(model_dir, device)
        self.network.requires_grad_(False)
        self._device = device
        self._classes: tuple[Objective, dict[str, int]] | None = None

    def part(self, utt: str) -> Part:
        """See Part.read."""
        return Part.read(self.data, utt, self.normalization)

    def speaker(self, parts: Sequence[Part], speaker: str) -> ExplainedScore:
        """The logit of a training SPEAKER, without margin, of the one utterance in PARTS.

        Raises:
            DataError: the model has no classes, or not this one
        """
        objective, classes = self.classes()
        if speaker not in classes:
            text = f"speaker '{speaker}' is none of the {len(classes)} that the network was trained on"
            raise DataError(f"{text}{did_you_mean(speaker, list(classes))}", self.model_dir / "spk2int")
        number = classes[speaker]
        title = f"logit of {speaker}"
        return ExplainedScore(
            self.network, list(parts), lambda vectors: objective.outputs(vectors[0])[:, number], title, objective
        )

    def trial(self, enroll: Sequence[Part], test: Part) -> ExplainedScore:
        """The score of TEST against the mean embedding of ENROLL."""

        def score(vectors: Sequence[Tensor]) -> Tensor:
            *models, other = vectors
            mean = sum(models[1:], start=models[0]) / len(models)
            return self._backend(mean, len(models), other)

        return ExplainedScore(self.network, [*enroll, test], score, "score of the trial")

    def pair(self, enroll: str, test: str) -> ExplainedScore:
        """The score of the trial "ENROLL TEST", by their ids."""
        return self.trial([self.part(utt) for utt in self.models.get(enroll, [enroll])], self.part(test))

    def classes(self) -> tuple[Objective, dict[str, int]]:
        """The objective, as final.pt is averaged, and the number of each training speaker's class.

        Raises:
            DataError: the model has none, being imported, or its checkpoints are not there
        """
        if self._classes is None:
            config = read_config(self.model_dir)
            if not config.get("objective"):
                text = "it has no objective, so no speakers to explain a logit of; explain the score of a trial"
                raise DataError(text, self.model_dir / "config.yaml")
            classes = read_classes(self.model_dir / "spk2int")
            try:
                objective = load_classifier(self.model_dir, config, self.network.embedding_dim, len(classes))
            except DataError as error:
                raise DataError(f"{error.message}; explain the score of a trial", error.path) from error
            self._classes = objective.to(self._device).eval().requires_grad_(False), classes
        return self._classes
