"""What training tells: log.jsonl, TensorBoard, a progress bar. Used by train.py on the rank that leads."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from steps.utils.files import atomic_write

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)


class TrainLog:
    """One JSON line an interval in MODEL_DIR/log.jsonl, the same as scalars for TensorBoard, and a bar on the terminal.

    Args:
        model_dir: where log.jsonl and tensorboard/ are
        step: where training begins; what an interrupted run logged after it is taken back
        num_steps: where it ends
        tensorboard: write event files
    """

    def __init__(self, model_dir: Path, step: int, num_steps: int, tensorboard: bool) -> None:
        path = model_dir / "log.jsonl"
        with atomic_write(path) as file:
            file.writelines(json.dumps(record) + "\n" for record in read_log(path) if record["step"] <= step)
        self._file = path.open("a", encoding="utf-8")
        self._bar = tqdm(total=num_steps, initial=step, desc="train", unit="step", disable=None, dynamic_ncols=True)
        self._board: SummaryWriter | None = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # slow to import

            self._board = SummaryWriter(str(model_dir / "tensorboard"), purge_step=step + 1)

    def advance(self) -> None:
        """One step is done."""
        self._bar.update()

    def write(self, record: dict[str, Any]) -> None:
        """Adds RECORD: step, and whatever figures there are."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in record.items():
                if name != "step":
                    self._board.add_scalar(name, value, record["step"])
        if self._bar.disable:
            log.info("%s", describe(record))
        else:
            self._bar.set_postfix_str(describe(record))

    def close(self) -> None:
        """Everything is on disk."""
        self._bar.close()
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Records of a log.jsonl, oldest first; a last line cut short by a kill is left out. No file is no records."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def describe(record: dict[str, Any]) -> str:
    """RECORD in one short line."""
    text = (
        f"step {record['step']} loss {record['loss']:.3f} accuracy {record['accuracy']:.1%} lr {record['lr']:.2g} "
        f"{record['examples_per_s']:.0f} examples/s waiting {record['waiting']:.1%}"
    )
    for name, form in (("valid_accuracy", ".1%"), ("valid_eer", ".2%")):
        if name in record:
            text += f" {name.replace('_', ' ')} {record[name]:{form}}"
    return text
