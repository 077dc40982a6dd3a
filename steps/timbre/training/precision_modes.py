"""The numerics that a network can be trained in, and which of them a machine has. For compare_precision.py."""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

import torch

from timbre.training.options import read_names
from timbre.utils.environment import describe_environment
from timbre.utils.errors import DataError
from timbre.utils.spelling import did_you_mean

TF32_CAPABILITY = (8, 0)  # of the first GPUs that compute in it


@dataclass(frozen=True)
class Mode:
    """How products and convolutions are computed.

    Args:
        amp: option of training: the type of autocast
        tf32: products that stay float32 may be TensorFloat-32 on a GPU, as `train.py` has them
        compiled: option `compile` of training
    """

    amp: Literal["none", "bf16", "fp16"] = "none"
    tf32: bool = False
    compiled: bool = False


MODES: Mapping[str, Mode] = {
    "none": Mode(),
    "tf32": Mode(tf32=True),
    "fp16": Mode("fp16", tf32=True),
    "bf16": Mode("bf16", tf32=True),
    "compile": Mode(compiled=True),
    "bf16+compile": Mode("bf16", tf32=True, compiled=True),
}


@dataclass(frozen=True)
class Machine:
    """What decides which modes there are.

    Args:
        device: cpu or cuda
        name: of the processor or the GPU, for the page
        capability: of the GPU, as CUDA numbers them
        bf16: the hardware computes in bfloat16; a CPU that does not takes longer, but can
        compiler: what torch.compile needs beside torch is here
    """

    device: Literal["cpu", "cuda"]
    name: str
    capability: tuple[int, int] = (0, 0)
    bf16: bool = False
    compiler: bool = False

    @classmethod
    def here(cls, device: Literal["auto", "cpu", "cuda"]) -> Self:
        """This one, with the DEVICE that training is told to take.

        Raises:
            DataError: there is no GPU
        """
        c_compiler = any(map(shutil.which, (os.environ.get("CC") or "gcc", "cc", "clang")))
        if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
            able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
            name = describe_environment().get("CPU") or "CPU"
            cpp_compiler = any(map(shutil.which, (os.environ.get("CXX") or "g++", "c++", "clang++")))
            return cls("cpu", name, bf16=able, compiler=cpp_compiler)
        if not torch.cuda.is_available():
            raise DataError("train: device is cuda, but there is no GPU that torch can use")
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        triton = importlib.util.find_spec("triton") is not None
        capability = torch.cuda.get_device_capability()
        return cls("cuda", torch.cuda.get_device_name(), capability, bf16, triton and c_compiler)

    def why_not(self, mode: Mode) -> str:
        """What this machine lacks for MODE; empty: nothing."""
        gpu = self.device == "cuda"
        if mode.amp == "fp16" and not gpu:
            return "it needs a GPU"
        if mode.amp == "none" and mode.tf32 and not gpu:
            return "it needs a GPU"
        if mode.amp == "none" and mode.tf32 and self.capability < TF32_CAPABILITY:
            return f"it needs a GPU of compute capability 8.0, this one has {'.'.join(map(str, self.capability))}"
        if mode.amp == "bf16" and gpu and not self.bf16:
            return "this GPU does not compute in bfloat16"
        if mode.compiled and not self.compiler:
            return f"torch.compile needs {'triton and a C compiler' if gpu else 'a C++ compiler'}"
        return ""


def read_modes(text: str) -> list[str]:
    """The names in TEXT, "none,bf16", each once.

    Raises:
        DataError: one is unknown, or there is none
    """
    names = list(dict.fromkeys(read_names(text)))
    for name in names:
        if name not in MODES:
            raise DataError(f"modes: '{name}' is not one of {', '.join(MODES)}{did_you_mean(name, MODES)}")
    if not names:
        raise DataError(f"modes: one or more of {', '.join(MODES)}")
    return names


def choose(names: list[str], machine: Machine) -> tuple[list[str], dict[str, str]]:
    """Those of NAMES that MACHINE has, and of the others why it has not.

    Raises:
        DataError: it has none of them
    """
    lacking = {name: reason for name in names if (reason := machine.why_not(MODES[name]))}
    if len(lacking) == len(names):
        raise DataError(f"modes: none that this machine has: {'; '.join(map(': '.join, lacking.items()))}")
    return [name for name in names if name not in lacking], lacking
