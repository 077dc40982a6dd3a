"""Training objectives: a loss with its own class weights, and its margin schedule.

The trainer calls `update(step, num_steps)` before each step and `objective(embeddings, labels)` in it. What is imported
here can be named in conf/objective/*.yaml.
"""

from steps.nnet.objectives.asoftmax import Annealing, ASoftmax
from steps.nnet.objectives.auxiliary import CenterLoss, RingLoss
from steps.nnet.objectives.base import Objective
from steps.nnet.objectives.margin import AamSoftmax, AmSoftmax, CosineSoftmax, MarginWarmup
from steps.nnet.objectives.multi_similarity import MultiSimilarity
from steps.nnet.objectives.pairs import Contrastive, Siamese
from steps.nnet.objectives.prototypes import AngularPrototypical, Ge2e, Prototypical
from steps.nnet.objectives.softmax import Softmax
from steps.nnet.objectives.sphereface2 import SphereFace2
from steps.nnet.objectives.triplet import Triplet
from steps.nnet.objectives.weighted_sum import WeightedSum, build_objective

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
