"""From frames to one vector an utterance: what network.py puts between the trunk and the embedding layer.

What is imported here can be named in conf/network/*.yaml.
"""

from steps.nnet.pooling.attentive import AttentiveStatisticsPooling
from steps.nnet.pooling.base import Pooling
from steps.nnet.pooling.statistics import MeanPooling, StatisticsPooling

__all__ = ["AttentiveStatisticsPooling", "MeanPooling", "Pooling", "StatisticsPooling"]
