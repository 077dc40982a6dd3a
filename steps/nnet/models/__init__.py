"""Frame-level trunks, one family a file. What is imported here can be named in conf/network/*.yaml."""

from steps.nnet.models.ecapa import EcapaTdnn
from steps.nnet.models.resnet import ResNet
from steps.nnet.models.tdnn import XvectorTdnn
from steps.nnet.models.trunk import Trunk

__all__ = ["EcapaTdnn", "ResNet", "Trunk", "XvectorTdnn"]
