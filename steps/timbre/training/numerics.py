"""In what precision a process trains: seeds, threads, mixed precision.

Used by loop.py, precision_run.py and steps/show_network.py.
"""

import os

import torch

from timbre.training.distributed import World
from timbre.training.options import TrainOptions


def autocast_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """The type of mixed precision, None for float32 alone; "auto" is bfloat16 where the hardware computes in it."""
    if amp == "auto":
        if device.type == "cuda":
            able = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            able = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if able else None
    return {"none": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]


def allow_tf32(on: bool) -> None:
    """Whether this process may compute products and convolutions of float32 in TensorFloat-32 on a GPU."""
    torch.set_float32_matmul_precision("high" if on else "highest")
    torch.backends.cudnn.allow_tf32 = on


def set_up_torch(options: TrainOptions, world: World) -> None:
    """Seeds, threads and numerics of this process."""
    torch.manual_seed(options.seed)
    if options.num_threads:
        torch.set_num_threads(options.num_threads)
    if world.device.type == "cuda":
        allow_tf32(True)
        torch.backends.cudnn.benchmark = not options.deterministic
    if options.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
