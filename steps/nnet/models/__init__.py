"""Frame-level trunks, one family a file. What is imported here can be named in conf/network/*.yaml."""

from steps.nnet.models.campplus import CamPlusPlus
from steps.nnet.models.conformer import Conformer
from steps.nnet.models.convmixer import ConvMixer
from steps.nnet.models.dtdnn import DenseTdnn
from steps.nnet.models.ecapa import EcapaTdnn
from steps.nnet.models.eres2net import ERes2Net
from steps.nnet.models.ftdnn import FactorizedTdnn
from steps.nnet.models.iskconvnet import IskConvNet
from steps.nnet.models.lstm import Lstm
from steps.nnet.models.redimnet import ReDimNet
from steps.nnet.models.repvgg import RepVgg
from steps.nnet.models.res2net import Res2Net
from steps.nnet.models.rescnn import ResCnn
from steps.nnet.models.resnet import ResNet
from steps.nnet.models.ret import ResidualTdnn
from steps.nnet.models.simam_resnet import SimAMResNet
from steps.nnet.models.tdnn import XvectorTdnn
from steps.nnet.models.tdy import TdyResNet
from steps.nnet.models.thin_resnet import ThinResNet
from steps.nnet.models.trunk import Trunk
from steps.nnet.models.vgg import VggM

__all__ = [
    "CamPlusPlus",
    "Conformer",
    "ConvMixer",
    "DenseTdnn",
    "ERes2Net",
    "EcapaTdnn",
    "FactorizedTdnn",
    "IskConvNet",
    "Lstm",
    "ReDimNet",
    "RepVgg",
    "Res2Net",
    "ResCnn",
    "ResNet",
    "ResidualTdnn",
    "SimAMResNet",
    "TdyResNet",
    "ThinResNet",
    "Trunk",
    "VggM",
    "XvectorTdnn",
]
