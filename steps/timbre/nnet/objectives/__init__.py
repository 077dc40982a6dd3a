"""Training objectives: a loss with its own class weights, and its margin schedule.

The trainer calls `update(step, num_steps)` before each step and `objective(embeddings, labels)` in it. What is imported
here can be named in conf/objective/*.yaml.
"""

from timbre.nnet.objectives.asoftmax import Annealing, ASoftmax
from timbre.nnet.objectives.auxiliary import CenterLoss, RingLoss
from timbre.nnet.objectives.margin import AamSoftmax, AmSoftmax, CosineSoftmax, MarginWarmup
from timbre.nnet.objectives.multi_similarity import MultiSimilarity
from timbre.nnet.objectives.objective import Objective
from timbre.nnet.objectives.pair_losses import Contrastive, Siamese
from timbre.nnet.objectives.prototypes import AngularPrototypical, Ge2e, Prototypical
from timbre.nnet.objectives.softmax import Softmax
from timbre.nnet.objectives.sphereface2 import SphereFace2
from timbre.nnet.objectives.triplet import Triplet
from timbre.nnet.objectives.weighted_sum import WeightedSum, build_objective

__all__ = [
    "ASoftmax",
    "AamSoftmax",
    "AmSoftmax",
    "AngularPrototypical",
    "Annealing",
    "CenterLoss",
    "Contrastive",
    "CosineSoftmax",
    "Ge2e",
    "MarginWarmup",
    "MultiSimilarity",
    "Objective",
    "Prototypical",
    "RingLoss",
    "Siamese",
    "Softmax",
    "SphereFace2",
    "Triplet",
    "WeightedSum",
    "build_objective",
]
