"""What training tells: log.jsonl, TensorBoard, a progress bar. Used by loop.py; plot_training.py reads log.jsonl."""

import json
import logging
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

from timbre.utils.documents import parse_json
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)


class TrainLog:
    """One JSON line an interval in MODEL_DIR/log.jsonl, the same as scalars for TensorBoard, and a bar on the terminal.

    Without a terminal the lines are logged instead of the bar.

    Args:
        model_dir: where log.jsonl and tensorboard/ are
        step: where training begins; lines that an interrupted run wrote after it are taken back
        num_steps: where it ends
        tensorboard: write event files
        leads: False on the ranks that keep silent
    """

    def __init__(self, model_dir: Path, step: int, num_steps: int, tensorboard: bool, leads: bool) -> None:
        self._path, self._step, self._leads = model_dir / "log.jsonl", step, leads
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
            with atomic_write(self._path) as file:
                file.writelines(json.dumps(line) + "\n" for line in read_log(self._path) if line["step"] <= step)
            if tensorboard:
                self._board = _open_board(model_dir / "tensorboard", step)
        self._clock = time.perf_counter(), step, 0.0

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


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of a log.jsonl, oldest first; one that a kill cut short ends it. No file is no lines."""
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


def _open_board(directory: Path, step: int) -> "SummaryWriter":
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    return SummaryWriter(str(directory), purge_step=step + 1)
