"""Plain softmax over the training speakers."""

from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.objectives.objective import Objective


class Softmax(Objective):
    """Cross-entropy of affine logits.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of classes
        hidden_dims: layers of ReLU, BatchNorm and affine before the logits, which only training sees: [512] after a
            network that ends at the affine map of segment6 is Kaldi's x-vector, segment7 included
    """

    classifies = True

    def __init__(self, embedding_dim: int, num_speakers: int, hidden_dims: tuple[int, ...] = ()) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((embedding_dim, *hidden_dims), (*hidden_dims, num_speakers), strict=True):
            layers += [nn.ReLU(), nn.BatchNorm1d(inputs)] if hidden_dims else []
            layers.append(nn.Linear(inputs, outputs))
        self.layers = nn.Sequential(*layers)

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy, and whether the speaker is recognised."""
        logits = self.logits(embeddings)
        return functional.cross_entropy(logits, labels), logits.detach().argmax(1) == labels

    def logits(self, embeddings: Tensor) -> Tensor:
        """The affine map, with the layers before it."""
        logits: Tensor = self.layers(embeddings)
        return logits
