"""What a training step runs: network and objective as one module. Used by loop.py."""

import torch
from torch import Tensor, nn

from timbre.nnet.network import SpeakerNetwork
from timbre.nnet.objectives import Objective, WeightedSum
from timbre.training.distributed import gather_rows


class TrainingModule(nn.Module):
    """Network and objective as one module, so that DistributedDataParallel and torch.compile see both.

    Args:
        network: makes the embeddings
        objective: judges them
        gathers: the embeddings of all ranks are judged together, as if there were one
    """

    def __init__(self, network: SpeakerNetwork, objective: Objective, gathers: bool = False) -> None:
        super().__init__()
        self.network, self.objective, self.gathers = network, objective, gathers
        terms = [module for module in objective.modules() if isinstance(module, Objective)]
        comparing = [term for term in terms if not term.classifies and not isinstance(term, WeightedSum)]
        self._comparing = [parameter for term in comparing for parameter in term.parameters()]

    def forward(self, feats: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and the share of the examples (or pairs) that the objective finds right; NaN if it does not say."""
        embeddings = self.network(feats)
        if self.gathers:
            embeddings, labels = gather_rows(embeddings), gather_rows(labels)
        loss, correct = self.objective(embeddings, labels)
        # What compares examples may find none to compare, on one rank alone; but DistributedDataParallel waits for
        # every gradient of every rank. A classifier, with its many weights, has them anyway.
        loss = loss + 0 * sum((parameter.sum() for parameter in self._comparing), embeddings.sum())
        return loss, loss.new_full((), torch.nan) if correct is None else correct.float().mean()
