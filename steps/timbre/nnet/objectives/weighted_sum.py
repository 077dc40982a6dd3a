"""Several objectives at once, and how any objective is built from its configuration."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from timbre.nnet.objectives.objective import Batches, Objective
from timbre.utils.configure import choose, read_config
from timbre.utils.errors import DataError


class WeightedSum(Objective):
    """Sum of objectives, each times a weight.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of classes
        terms: of each its weight (1 unless given), class_path and init_args
    """

    def __init__(self, embedding_dim: int, num_speakers: int, terms: list[dict[str, Any]]) -> None:
        super().__init__()
        if not terms:
            raise DataError("WeightedSum: there are no terms")
        self.weights: list[float] = []
        self.terms = nn.ModuleList()
        for term in terms:
            settings = dict(term)
            weight = settings.pop("weight", 1.0)
            if not isinstance(weight, int | float) or isinstance(weight, bool) or not weight > 0:
                raise DataError(f"WeightedSum: weight is {weight!r}; it must be a number above 0")
            self.weights.append(float(weight))
            self.terms.append(build_objective(settings, embedding_dim, num_speakers))
        needed = {term.batches for term in self._objectives()} - {"any"}
        if len(needed) > 1:
            raise DataError(f"WeightedSum: one batch cannot be in {' and in '.join(sorted(needed))}")
        self.batches: Batches = needed.pop() if needed else "any"
        self.classifies = any(term.classifies for term in self._objectives())
        self.gathers = any(term.gathers for term in self._objectives())

    @property
    def utts_per_speaker(self) -> int:
        """The M of batches of M utterances a speaker."""
        return self._utts_per_speaker

    @utts_per_speaker.setter
    def utts_per_speaker(self, number: int) -> None:
        self._utts_per_speaker = number
        for term in getattr(self, "terms", ()):
            term.utts_per_speaker = number

    @property
    def current_margin(self) -> float:
        """The largest margin of a term."""
        return max(term.current_margin for term in self._objectives())

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """The sum, and what is right by the first term that classifies, or else the first that has an opinion.

        In evaluation, where batches come in any order, the terms that classify alone if there are any.
        """
        total: Tensor = embeddings.new_zeros(())
        right: Tensor | None = None
        decided = False
        for weight, term in zip(self.weights, self._objectives(), strict=True):
            if self.classifies and not self.training and not term.classifies:
                continue
            loss, correct = term.loss(embeddings, labels)
            total = total + weight * loss
            if correct is not None and (right is None or (term.classifies and not decided)):
                right, decided = correct, term.classifies
        return total, right

    def logits(self, embeddings: Tensor) -> Tensor:
        """Those of the first term that classifies."""
        term = next((term for term in self._objectives() if term.classifies), None)
        return super().logits(embeddings) if term is None else term.outputs(embeddings)

    def _objectives(self) -> list[Objective]:
        return [term for term in self.terms if isinstance(term, Objective)]


def build_objective(
    config: Mapping[str, Any] | Path, embedding_dim: int, num_speakers: int, utts_per_speaker: int = 2
) -> Objective:
    """The objective that CONFIG describes by class_path and init_args.

    Args:
        config: a file as conf/objective/*.yaml, or its content
        embedding_dim: the network's
        num_speakers: number of training speakers, from the data
        utts_per_speaker: utterances of each speaker in a batch, for the objectives that need such batches

    Raises:
        DataError: no such file, an unknown class or setting, a value of the wrong type
    """
    try:
        chosen = choose(Objective, read_config(config), num_sizes=2)  # type: ignore[type-abstract]
        objective = chosen(embedding_dim, num_speakers)
    except DataError as error:
        if isinstance(config, Path) and error.path is None:
            raise DataError(error.message, config) from error
        raise
    objective.config = chosen.config
    if isinstance(objective, WeightedSum):  # with the defaults of its terms
        terms = zip(objective.weights, objective.terms, strict=True)
        objective.config["init_args"]["terms"] = [{"weight": weight, **term.config} for weight, term in terms]  # type: ignore[dict-item]
    objective.utts_per_speaker = utts_per_speaker
    return objective
