"""How fast a GPU is, and how exact in each precision: peak, training steps, waiting, embeddings. For prove.py."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from gpu_corpus import ROOT, Setting, network_named
from same_numbers import Found, train_into
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.utils.flop_counter import FlopCounterMode

from timbre.datadir.datadir import DataDir
from timbre.egs.egs_writer import write_egs
from timbre.egs.options import EgsOptions
from timbre.nnet.network import build_network
from timbre.nnet.network_file import own_feat_dim
from timbre.nnet.objectives import build_objective
from timbre.runtime.normalize import NormalizeOptions
from timbre.training.options import TrainOptions
from timbre.training.precision_modes import Machine, choose
from timbre.training.precision_page import compared, markdown, read_curves
from timbre.training.precision_run import Comparison, run_modes
from timbre.training.schedule import build_optimizer
from timbre.training.train_log import read_log
from timbre.training.training_module import TrainingModule

PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
SMALL = ("xvector_smoke", "resnet34_small")
COMPILED = ("xvector", "ecapa512", "resnet34")  # inductor takes a minute a network
FRAMES = 200


def seconds_of(setting: Setting, work: Callable[[], Any], times: int) -> float:
    """Of one WORK, in the mean of so many TIMES after one that is not counted."""
    work()
    setting.synchronize()
    start = time.perf_counter()
    for _ in range(times):
        work()
    setting.synchronize()
    return (time.perf_counter() - start) / times


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """TensorFloat-32 in products and convolutions, or not."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if on else "highest")
    torch.backends.cudnn.allow_tf32 = on
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def peak(setting: Setting) -> Found:
    """The rate of a product of large square matrices, 10^12 operations a second: what shares below are of."""
    size, rates = 256 if setting.small else 8192, {}
    for name, dtype in PRECISIONS.items():
        one, other = (torch.randn(size, size, device=setting.device).to(dtype or torch.float32) for _ in range(2))
        with tf32(True):
            rates[name] = 2 * size**3 / seconds_of(setting, lambda: one @ other, 3 if setting.small else 20) / 1e12  # noqa: B023
    return {"TFLOP/s": rates, "float32 is": "TensorFloat-32 where the GPU has it, as in training"}


class Step:
    """A training step of a network, as loop.py makes it: autocast, scaler, clipping, fused SGD."""

    def __init__(self, setting: Setting, name: str, size: int, precision: str, compiled: bool = False) -> None:
        path = ROOT / "conf" / "network" / f"{name}.yaml"
        dim, self._setting, self._dtype = own_feat_dim(path), setting, PRECISIONS[precision]
        torch.manual_seed(0)
        network = build_network(path, dim)
        objective = build_objective({"class_path": "AamSoftmax"}, network.embedding_dim, 100 if setting.small else 6000)
        self.module = TrainingModule(network, objective).to(setting.device)
        if setting.device.type == "cuda":
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if compiled:
            self.module.compile(dynamic=True)
        self._optimizer = build_optimizer(self.module, TrainOptions(optimizer="sgd", lr=0.001))
        self._scaler = GradScaler(setting.device.type, enabled=precision == "fp16")
        frames = max(60 if setting.small else FRAMES, network.min_frames)
        self._feats = torch.randn(size, frames, dim, device=setting.device)
        self._labels = torch.arange(size, device=setting.device) % 100

    def __call__(self) -> Tensor:
        """The loss, which is not waited for."""
        with torch.autocast(self._setting.device.type, self._dtype, enabled=self._dtype is not None):
            loss, _ = self.module(self._feats, self._labels)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 5.0)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.detach()


def measure(setting: Setting, name: str, precision: str, peaks: dict[str, float], compiled: bool = False) -> Found:
    """Examples a second of training steps, and the share of the peak; of half the batch where memory is full."""
    size = 2 if setting.small else 128
    while True:
        try:
            step = Step(setting, name, size, precision, compiled)
            with nullcontext() if compiled else FlopCounterMode(display=False) as counter:  # it cannot count in there
                loss = step()
            seconds = seconds_of(setting, step, 1 if setting.small else 8)
            break
        except torch.OutOfMemoryError:
            size //= 2
            torch.cuda.empty_cache()
            if not size:
                raise
    found = {"batch": size, "examples/s": size / seconds, "finite": bool(loss.isfinite())}
    if counter is not None:
        found["share of peak"] = counter.get_total_flops() / seconds / 1e12 / peaks[precision]
    if setting.device.type == "cuda":
        found["memory, GB"] = torch.cuda.max_memory_allocated() / 1e9
        torch.cuda.reset_peak_memory_stats()
    return found


def networks(setting: Setting, names: list[str], peaks: dict[str, float], end: float) -> Found:
    """Every network in every precision, and three compiled, until the time END; what there is no time for is named."""
    result: dict[str, Found] = {}
    late, failures = [], []
    plan = [(name, precision, False) for precision in ("bf16", "fp16", "float32") for name in names]
    compiled = [(name, "bf16", True) for name in COMPILED if name in names and setting.device.type == "cuda"]
    torch.backends.cudnn.benchmark = True  # as loop.py sets it
    with tf32(True):
        for name, precision, compiles in compiled[:1] + plan + compiled[1:]:
            label = f"{precision}, compiled" if compiles else precision
            if time.monotonic() > end:
                late.append(f"{name} {label}")
                continue
            try:
                row = measure(setting, name, precision, peaks, compiles)
            except Exception as error:  # the others shall be measured all the same
                row = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
            if "error" in row or not row["finite"]:
                failures.append(f"{name} {label}")
            result.setdefault(name, {})[label] = row
    return {
        "worst": float(len(failures)),
        "tolerance": 0.0,
        "failed": failures,
        "no time for": late,
        "networks": result,
    }


def waiting(setting: Setting) -> Found:
    """Training on waveforms, noise added on the device: examples a second, and the share of the time without any."""
    model = setting.folder / "waveforms"
    conf, steps, size = ("xvector_smoke", 6, 8) if setting.small else ("ecapa512", 60, 256)
    changes = {
        "batch_size": size,
        "num_steps": steps,
        "log_interval": steps // 3,
        "augment_on": "device",
        "amp": "auto",
    }
    if not setting.small:
        changes |= {"min_frames": 160, "max_frames": 200, "deterministic": False}
    train_into(setting, model, "wave_egs", conf, **changes)
    last = read_log(model / "log.jsonl")[-1]
    return {"network": conf, "batch": size, "examples/s": last["examples_per_s"], "waiting": last["waiting"]}


def precision(setting: Setting) -> Found:
    """Embeddings of each precision against float64 on the CPU: the largest difference over the largest value."""
    rows: dict[str, dict[str, float]] = {}
    for name in ("xvector_smoke",) if setting.small else ("xvector", "ecapa512", "resnet34"):
        dim = own_feat_dim(ROOT / "conf" / "network" / f"{name}.yaml")
        network = network_named(name, dim)
        feats = torch.from_numpy(np.random.default_rng(0).standard_normal((4, max(200, network.min_frames), dim)))
        with torch.inference_mode():
            exact = network.double()(feats)
            network = network.float().to(setting.device)
            rows[name] = {}
            for kind, dtype, fast in (
                ("float32", None, False),
                ("TensorFloat-32", None, True),
                ("bf16", torch.bfloat16, True),
                ("fp16", torch.float16, True),
            ):
                with tf32(fast), torch.autocast(setting.device.type, dtype, enabled=dtype is not None):
                    found = network(feats.float().to(setting.device)).double().cpu()
                rows[name][kind] = float((found - exact).abs().max() / exact.abs().max())
    return {"worst": max(row["float32"] for row in rows.values()), "tolerance": 1e-3, "networks": rows}


def modes(setting: Setting) -> Found:
    """One network trained in each precision, as steps/compare_precision.py does, and the table of that."""
    name, speakers, steps, size = ("xvector_smoke", 0, 6, 8) if setting.small else ("thin_resnet10", 6, 80, 128)
    frames = {"min_frames": 60, "max_frames": 60} if setting.small else {"min_frames": 200, "max_frames": 200}
    settings = EgsOptions(num_repeats=4, num_valid_speakers=speakers, num_valid_utts=4, **frames)
    data, egs = DataDir.read(setting.folder / "data"), setting.folder / "mode_egs"
    write_egs(data, egs, settings, NormalizeOptions(), nj=1, seed=0)
    wanted = ["none", "bf16"] if setting.small else ["none", "tf32", "fp16", "bf16", "compile"]
    machine = Machine.here("cuda" if setting.device.type == "cuda" else "cpu")
    chosen, lacking = choose(wanted, machine)
    network = ROOT / "conf" / "network" / f"{name}.yaml"
    options = TrainOptions(batch_size=size, num_steps=steps, warmup_steps=steps // 6, device=machine.device)
    out = setting.folder / "modes"
    objective = ROOT / "conf" / "objective" / "aam.yaml"
    found = run_modes(Comparison(egs, out, network, objective, options), chosen, machine)
    rows = compared(found, read_curves(out, found))
    failed = [mode for mode, row in rows.items() if "failed" in row]
    title = f"{name}, {steps} steps of {size} examples"
    figures = {"worst": float(len(failed)), "tolerance": 0.0, "failed": failed, "network": title, "modes": rows}
    return figures | {"page": markdown(title, machine, rows, lacking)}
