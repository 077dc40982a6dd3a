"""Frame-level trunks, one family a file. What is imported here can be named in conf/network/*.yaml."""

from timbre.nnet.models.campplus import CamPlusPlus
from timbre.nnet.models.conformer import Conformer
from timbre.nnet.models.convmixer import ConvMixer
from timbre.nnet.models.dtdnn import DenseTdnn
from timbre.nnet.models.ecapa import EcapaTdnn
from timbre.nnet.models.eres2net import ERes2Net
from timbre.nnet.models.ftdnn import FactorizedTdnn
from timbre.nnet.models.iskconvnet import IskConvNet
from timbre.nnet.models.lstm import Lstm
from timbre.nnet.models.preactivation import PreactivationResNet
from timbre.nnet.models.redimnet import ReDimNet
from timbre.nnet.models.repvgg import RepVgg
from timbre.nnet.models.res2net import Res2Net
from timbre.nnet.models.rescnn import ResCnn
from timbre.nnet.models.resnet import ResNet
from timbre.nnet.models.ret import ResidualTdnn
from timbre.nnet.models.simam_resnet import SimAMResNet
from timbre.nnet.models.tdnn import XvectorTdnn
from timbre.nnet.models.tdy import TdyResNet
from timbre.nnet.models.thin_resnet import ThinResNet
from timbre.nnet.models.transformer import Transformer
from timbre.nnet.models.trunk import Trunk
from timbre.nnet.models.vgg import VggM

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
    "PreactivationResNet",
    "ReDimNet",
    "RepVgg",
    "Res2Net",
    "ResCnn",
    "ResNet",
    "ResidualTdnn",
    "SimAMResNet",
    "TdyResNet",
    "ThinResNet",
    "Transformer",
    "Trunk",
    "VggM",
    "XvectorTdnn",
]
