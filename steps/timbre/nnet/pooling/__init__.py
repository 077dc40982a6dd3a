"""From frames to one vector an utterance: what network.py puts between the trunk and the embedding layer.

What is imported here can be named in conf/network/*.yaml.
"""

from timbre.nnet.pooling.attentive import AttentiveStatisticsPooling, MultiHeadAttentivePooling, SelfAttentivePooling
from timbre.nnet.pooling.gaussian_posterior import GaussianPosteriorPooling
from timbre.nnet.pooling.ghost_vlad import GhostVlad
from timbre.nnet.pooling.pooling import Pooling
from timbre.nnet.pooling.statistics import LastFramePooling, MaxPooling, MeanPooling, StatisticsPooling

__all__ = [
    "AttentiveStatisticsPooling",
    "GaussianPosteriorPooling",
    "GhostVlad",
    "LastFramePooling",
    "MaxPooling",
    "MeanPooling",
    "MultiHeadAttentivePooling",
    "Pooling",
    "SelfAttentivePooling",
    "StatisticsPooling",
]
