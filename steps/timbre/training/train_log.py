"""What training tells: log.jsonl, epochs.jsonl, TensorBoard, a progress bar. Used by loop.py.

plot_training.py reads log.jsonl.
"""

import json
import logging
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from timbre.utils.documents import parse_json
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)


class TrainLog:
    """One JSON line an interval in MODEL_DIR/log.jsonl, the same as scalars for TensorBoard, and a bar on the terminal.

    MODEL_DIR/epochs.jsonl has a line for each epoch that is over. Without a terminal the lines are logged instead of
    the bar; those of epochs always are.

    Args:
        model_dir: where log.jsonl, epochs.jsonl and tensorboard/ are
        step: where training begins; lines that an interrupted run wrote after it are taken back
        num_steps: where it ends
        tensorboard: write event files
        leads: False on the ranks that keep silent
    """

    def __init__(self, model_dir: Path, step: int, num_steps: int, tensorboard: bool, leads: bool) -> None:
        self._path, self._epochs, self._leads = model_dir / "log.jsonl", model_dir / "epochs.jsonl", leads
        self._bar = tqdm(
            total=num_steps,
            initial=step,
            desc="train",
            unit="step",
            disable=None if leads else True,
            dynamic_ncols=True,
        )
        self._board: SummaryWriter | None = None
        if leads:
            for path in (self._path, self._epochs):
                with atomic_write(path) as file:
                    file.writelines(json.dumps(line) + "\n" for line in read_log(path) if line["step"] <= step)
            if tensorboard:
                self._board = _open_board(model_dir / "tensorboard", step)
        self._clock = time.perf_counter(), step, 0.0
        self._epoch_clock = time.perf_counter(), step

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._board is not None:
            self._board.close()

    def advance(self) -> None:
        """One step is done."""
        self._bar.update()

    def start_clock(self, step: int, waited: float) -> None:
        """The time of the next line begins now, after STEP, with WAITED seconds spent waiting for examples so far."""
        self._clock = time.perf_counter(), step, waited

    def read_clock(self, step: int, waited: float, batch_size: int) -> dict[str, float]:
        """examples_per_s, and the share of the time that went into waiting for examples, since start_clock."""
        started, first, waited_before = self._clock
        seconds = time.perf_counter() - started
        return {
            "examples_per_s": (step - first) * batch_size / seconds,
            "waiting": (waited - waited_before) / seconds,
        }

    def write(self, record: dict[str, Any]) -> None:
        """Adds RECORD: step, and whatever figures there are."""
        if not self._leads:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._board is not None:
            for name, value in record.items():
                if name != "step":
                    self._board.add_scalar(name, value, record["step"])
        if self._bar.disable:
            log.info("step %d %s", record["step"], _describe(record))
        else:
            self._bar.set_postfix_str(_describe(record))

    def end_epoch(self, record: dict[str, Any]) -> None:
        """Adds RECORD of an epoch (step, epoch, steps, what else there is) and its minutes.

        They have validation and checkpoints in them. Of an epoch that was interrupted they are reckoned from the steps
        since training was taken up.
        """
        began, first = self._epoch_clock
        now, last = time.perf_counter(), record["step"]
        self._epoch_clock = now, last
        if not self._leads:
            return
        minutes = (now - began) / 60 * record["steps"] / (last - first)
        record = {"step": last, "epoch": record["epoch"], "minutes": minutes} | record
        with self._epochs.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        with logging_redirect_tqdm():
            log.info("%s", _describe_epoch(record))


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a log.jsonl or an epochs.jsonl, oldest first; one that a kill cut short ends it. No file is no lines."""
    records: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            records.append(parse_json(line))
        except DataError:
            break
    return records


def _describe(record: dict[str, Any]) -> str:
    accuracy = f" accuracy {record['accuracy']:.1%}" if "accuracy" in record else ""
    text = (
        f"loss {record['loss']:.3f}{accuracy} lr {record['lr']:.2g} "
        f"{record['examples_per_s']:.0f} examples/s waiting {record['waiting']:.1%}"
    )
    for name, form in (("valid_accuracy", ".1%"), ("valid_eer", ".2%")):
        if name in record:
            text += f" {name.replace('_', ' ')} {record[name]:{form}}"
    return text


def _describe_epoch(record: dict[str, Any]) -> str:
    kind = "GPU" if "peak_gpu_bytes" in record else "resident"
    memory = record[f"peak_{kind.lower()}_bytes"] / 2**20
    text = f"epoch {record['epoch']}: {record['minutes']:.2f} min, peak {kind} memory {memory:,.0f} MiB"
    for name, words, form in (
        ("accuracy", "train accuracy", ".1%"),
        ("valid_accuracy", "valid accuracy", ".1%"),
        ("loss", "loss", ".3f"),
        ("valid_eer", "valid EER", ".2%"),
        ("valid_eer_threshold", "at", ".4f"),
        ("valid_min_dcf_0.01", "minDCF 0.01", ".3f"),
        ("valid_min_dcf_0.001", "minDCF 0.001", ".3f"),
    ):
        if name in record:
            text += f"{' ' if words == 'at' else ', '}{words} {record[name]:{form}}"
    return text


def _open_board(directory: Path, step: int) -> "SummaryWriter":
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    return SummaryWriter(str(directory), purge_step=step + 1)
