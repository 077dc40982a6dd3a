"""One network trained in several numerics, a fresh process each, and what each took and reached.

Called by compare_precision.py, which writes what is found by precision_page.py.
"""

import json
import logging
import math
import multiprocessing
import os
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch

from timbre.egs.egs_format import Manifest
from timbre.evaluation.results import write_json
from timbre.nnet import checkpoint
from timbre.nnet.model import read_objective
from timbre.training.distributed import World, join_world
from timbre.training.interrupt import Interrupt
from timbre.training.loop import Trainer
from timbre.training.numerics import allow_tf32
from timbre.training.options import StartOptions, TrainOptions
from timbre.training.precision_modes import MODES, Machine
from timbre.training.start import Start
from timbre.training.train_log import read_log
from timbre.training.validation import Validation
from timbre.utils.configure import read_config
from timbre.utils.documents import read_json
from timbre.utils.environment import peak_resident_bytes
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_folder, claim_folder, temporary_folder
from timbre.utils.fingerprint import digest
from timbre.utils.jobs import follow_parent

KIND = "comparison of precisions"
_MEASURED = {  # by validation, and what the page calls it
    "valid_loss": "valid_loss",
    "valid_accuracy": "valid_accuracy",
    "valid_eer": "eer",
    "valid_eer_threshold": "eer_threshold",
    "valid_min_dcf_0.01": "min_dcf.0.01",
    "valid_min_dcf_0.001": "min_dcf.0.001",
}
INTERVALS = 20  # of the log, at least, as far as there are steps: times and losses are of these

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """What is trained: all but the mode, which replaces `amp` and `compile` of the options.

    Args:
        egs_dir: what steps/get_egs.py wrote
        out_dir: gets a model directory for each mode, named after it
        network, objective: YAML files; None: as train.py takes them
        options: of training
    """

    egs_dir: Path
    out_dir: Path
    network: Path | None
    objective: Path | None
    options: TrainOptions

    def settings(self, name: str, machine: Machine) -> dict[str, Any]:
        """All that the figures of the mode NAME follow from on MACHINE, as JSON has it.

        Raises:
            DataError: egs or a YAML file cannot be read
        """
        start = Start(StartOptions(), self.network, self.objective)
        found = {
            "mode": asdict(MODES[name]),
            "train": asdict(self.options),
            "network": read_config(start.network_config),
            "objective": read_config(start.objective_config),
            "egs": digest(self.egs_dir / "manifest.json"),
            "device": machine.name,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        return dict(json.loads(json.dumps(found, default=str)))


def run_modes(comparison: Comparison, names: list[str], machine: Machine) -> dict[str, dict[str, Any]]:
    """The figures of each mode of NAMES, or its "failed", why there are none; what is there already is not made again.

    Figures: seconds_per_epoch (the median over the log, times batches an epoch), start_seconds (what the first interval
    of the log took beyond that), peak_bytes (of GPU memory, or of the process on a CPU), accuracy and loss (fractions,
    means of the last epoch), and of the final network valid_accuracy, valid_loss, eer, eer_threshold and min_dcf.0.01,
    as far as something is held out.

    Raises:
        DataError: egs or YAML cannot be read, or OUT_DIR is something else
    """
    Manifest.read(comparison.egs_dir)
    wanted = {name: comparison.settings(name, machine) for name in names}
    inputs = [comparison.egs_dir, comparison.network, comparison.objective]
    claim_folder(comparison.out_dir, KIND, inputs)
    found = {}
    for name, settings in wanted.items():
        folder = comparison.out_dir / name
        made = read_json(folder / "settings.json") if (folder / "settings.json").is_file() else None
        if made != settings:
            if made is not None:
                log.info("%s: made with other settings, and so made anew", folder)
            with atomic_folder(folder, f"mode of a {KIND}", inputs, "settings.json") as new:
                write_json(new / "settings.json", settings)
        if (folder / "figures.json").is_file():
            log.info("%s: it is there", name)
        else:
            log.info("%s: training", name)
            if reason := _in_a_process(comparison, name):
                found[name] = {"failed": reason}
                log.info("%s: %s", name, reason)
                continue
        found[name] = read_json(folder / "figures.json")
    return found


def _in_a_process(comparison: Comparison, name: str) -> str:
    """Why the mode could not be trained; empty: figures.json is there. A signal to this process ends that one first."""
    context = multiprocessing.get_context("spawn")  # its peak of memory is its own
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(comparison, name, sender))
    worker.start()
    sender.close()
    try:
        reason = str(receiver.recv())
    except EOFError:
        reason = ""
    except BaseException:
        worker.terminate()  # it saves
        raise
    finally:
        worker.join()
        receiver.close()
    if reason or worker.exitcode == 0:
        return reason
    number = worker.exitcode or 0
    how = f"signal {-number}" if number < 0 else f"exit status {number}"
    return f"its process ended by {how}{' (out of memory?)' if number == -9 else ''}"


def _work(comparison: Comparison, name: str, sender: Connection) -> None:
    follow_parent()
    folder = comparison.out_dir / name
    handlers: list[logging.Handler] = [logging.StreamHandler(), logging.FileHandler(folder / "train.log")]
    form = "%(asctime)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%H:%M:%S", handlers=handlers)
    try:
        with temporary_folder(folder / "inductor") as cache:  # each compiles all, whatever was compiled before
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache.resolve())
            write_json(folder / "figures.json", train_mode(comparison, name))
        sender.send("")
    except DataError as error:
        sender.send(str(error))
    except (torch.OutOfMemoryError, MemoryError):
        sender.send("out of memory")
    except Exception as error:
        with (folder / "train.log").open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        line = " ".join(str(error).split())[:200]
        sender.send(f"{type(error).__name__}: {line} (more in {folder / 'train.log'})")


def train_mode(comparison: Comparison, name: str) -> dict[str, Any]:
    """Trains one mode into its folder, in this process, and gives its figures: see `run_modes`.

    Raises:
        DataError: as Trainer
        SystemExit: 128 + the signal, after SIGTERM or SIGINT, with everything saved
    """
    mode, folder = MODES[name], comparison.out_dir / name
    options = replace(comparison.options, amp=mode.amp, compile=mode.compiled, tensorboard=False)
    before = peak_resident_bytes()
    with join_world(options.device) as world, Interrupt() as interrupt:
        trainer = Trainer(comparison.egs_dir, folder, comparison.network, comparison.objective, options, world)
        allow_tf32(mode.tf32)  # the trainer has it wherever there is a GPU
        interval = max(1, min(options.log_interval, trainer.num_steps // INTERVALS))
        trainer.options = replace(trainer.options, log_interval=interval)
        trainer.run(interrupt)
        on_gpu = world.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(world.device) if on_gpu else peak_resident_bytes()
        memory = {"peak_bytes": peak, "peak_bytes_before": 0 if on_gpu else before}
        times = times_of(read_log(folder / "log.jsonl"), options.batch_size, trainer.reader.batches_per_epoch)
        return {"steps": trainer.num_steps} | times | memory | _validate(trainer, world)


def times_of(records: list[dict[str, Any]], batch_size: int, batches_per_epoch: int) -> dict[str, float]:
    """seconds_per_epoch, start_seconds, and loss and accuracy of the last epoch, out of RECORDS of log.jsonl."""
    steps = [(record, number, number * batch_size / record["examples_per_s"]) for record, number in _intervals(records)]
    seconds = median([spent / number for _, number, spent in steps[1:] or steps])
    last = [record for record in records if record["step"] > records[-1]["step"] - batches_per_epoch]
    start = max(steps[0][2] - steps[0][1] * seconds, 0.0)
    found = {"seconds_per_epoch": seconds * batches_per_epoch, "start_seconds": start}
    for key in ("loss", "accuracy"):  # of steps that fp16 has skipped there is no loss
        if values := [record[key] for record in last if not math.isnan(record.get(key, math.nan))]:
            found[key] = fmean(values)
    return found


def _intervals(records: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], int]]:
    """Each of RECORDS, and how many steps it is of."""
    before = 0
    for record in records:
        yield record, record["step"] - before
        before = record["step"]


def _validate(trainer: Trainer, world: World) -> dict[str, float]:
    """Figures of the final network on what is held out, computed as the mode computes."""
    torch.backends.cudnn.benchmark = False  # utterances are of all lengths
    trainer.network.load_state_dict(checkpoint.load(trainer.model_dir / "final.pt")["network"])
    trainer.objective.load_state_dict(read_objective(trainer.model_dir))
    network, objective = trainer.network.eval(), trainer.objective.eval()
    size = trainer.options.batch_size // trainer.options.accumulation
    validation = Validation(trainer.egs_dir, trainer.manifest, size, network.min_frames)
    found = validation(network, objective, world.device, trainer.dtype)
    return {ours: found[name] for name, ours in _MEASURED.items() if name in found and math.isfinite(found[name])}
