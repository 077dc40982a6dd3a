"""Checkpoints: whole or absent, and loaded without running anything stored in them.

Used by loop.py and resume.py, model.py (final.pt) and steps/average_checkpoints.py.
"""

import hashlib
import io
import logging
import lzma
import pickle
import struct
import time
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

# what torch and zipfile raise at files that are broken
_BROKEN = (
    RuntimeError, EOFError, LookupError, AttributeError, TypeError, ValueError, ArithmeticError, MemoryError,
    SyntaxError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip

PATIENCE = 60.0  # seconds until what another machine wrote is seen on a network disk

log = logging.getLogger(__name__)


def save(state: dict[str, Any], path: Path) -> None:
    """Writes STATE (tensors, numbers, strings and containers of them) to PATH, atomically."""
    content = io.BytesIO()  # torch hides what is wrong when it writes to a full disk itself
    torch.save(state, content)
    with atomic_write(path, "wb") as file:
        file.write(content.getbuffer())


def load(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `save` wrote to PATH, with its tensors on DEVICE.

    Raises:
        DataError: the file is damaged, or is a pickle that would run code
    """
    try:
        if zipfile.is_zipfile(path):
            _check_sums(path)
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise DataError("no such file", path) from None
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", path) from error
    except pickle.UnpicklingError as error:
        raise DataError("refused: it holds more than tensors and numbers, or is damaged", path) from error
    except _BROKEN as error:
        reason = str(error).partition("\n")[0]
        if not any(letter.isalpha() for letter in reason):  # a number that is no opcode of a pickle, or nothing
            reason = "it is not what torch.save writes" if path.stat().st_size else "it is empty"
        raise DataError(f"damaged: {reason}", path) from error
    if not isinstance(state, dict):
        raise DataError(f"a {type(state).__name__}, not a checkpoint", path)
    return state


def _check_sums(path: Path) -> None:
    """Raises BadZipFile where a checksum in the file is wrong; torch.load does not look at them."""
    with zipfile.ZipFile(path) as file:
        record = file.testzip()
    if record is not None:
        raise zipfile.BadZipFile(f"wrong checksum of {record}")


def checkpoint_path(model_dir: Path, step: int) -> Path:
    """Where the checkpoint after STEP updates lies."""
    return model_dir / "checkpoints" / f"step-{step:07d}.pt"


def step_of(path: Path) -> int:
    """Updates before the checkpoint PATH."""
    return int(path.stem.split("-")[1])


def list_checkpoints(model_dir: Path) -> list[Path]:
    """Checkpoints of MODEL_DIR, oldest first."""
    return sorted((model_dir / "checkpoints").glob("step-*.pt"), key=step_of)


def best_path(model_dir: Path, step: int) -> Path:
    """Where the best network so far lies, if it is the one after STEP updates (option keep_best of training)."""
    return model_dir / "checkpoints" / f"best-{step:07d}.pt"


def list_best(model_dir: Path) -> list[Path]:
    """Networks of MODEL_DIR that were the best once, oldest first."""
    return sorted((model_dir / "checkpoints").glob("best-*.pt"), key=step_of)


def find(model_dir: Path, step: Any) -> Path | None:
    """The file with network and objective after STEP updates, None if none was kept."""
    if not isinstance(step, int):
        return None
    paths = checkpoint_path(model_dir, step), best_path(model_dir, step)
    return next((path for path in paths if path.is_file()), None)


def load_newest(model_dir: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read, None if there is none; a damaged one is renamed, with a warning."""
    for path in reversed(list_checkpoints(model_dir)):
        try:
            return load(path)
        except DataError as error:
            aside = path.with_suffix(".damaged")
            log.warning("%s; put aside as %s, going back to the checkpoint before it", error, aside.name)
            with suppress(FileNotFoundError):  # another rank was first
                path.replace(aside)
    return None


def load_step(model_dir: Path, step: int) -> dict[str, Any]:
    """The checkpoint after STEP updates, which another rank has found; it may take PATIENCE until it is seen here.

    Raises:
        DataError: it is damaged, or still not there
    """
    path, end = checkpoint_path(model_dir, step), time.monotonic() + PATIENCE
    while not path.is_file() and time.monotonic() < end:
        time.sleep(0.1)
    return load(path)


def prune(model_dir: Path, keep: int, interval: int) -> None:
    """Removes all but the KEEP newest checkpoints.

    Those that an interruption left between two multiples of INTERVAL count only while they are the newest: so an
    interrupted run keeps, and averages, the same ones as any other.
    """
    *older, _newest = list_checkpoints(model_dir)
    regular = [path for path in older if step_of(path) % interval == 0]
    for path in set(older) - set(regular[max(len(regular) - keep + 1, 0) :]):
        path.unlink()


def write_final(paths: list[Path], model_dir: Path) -> None:
    """Writes MODEL_DIR/final.pt: the mean of the networks in PATHS, and the steps they are from."""
    save({"network": average(paths), "steps": [step_of(path) for path in paths]}, model_dir / "final.pt")


def average(paths: list[Path], part: str = "network") -> dict[str, Tensor]:
    """Mean of a PART of the checkpoints PATHS: weights and running statistics in float64, counters from the last.

    Args:
        paths: checkpoints
        part: network or objective

    Raises:
        DataError: PATHS is empty, or their parts differ in shape
    """
    if not paths:
        raise DataError("no checkpoint to average")
    last = _part(paths[-1], part)
    total = {name: value.double() for name, value in last.items() if value.is_floating_point()}
    for path in paths[:-1]:
        state = _part(path, part)
        if _shapes(state) != _shapes(last):
            raise DataError(f"not the same {part} as {paths[-1]}", path)
        for name in total:
            total[name] += state[name]
    return {
        name: (total[name] / len(paths)).to(value.dtype) if name in total else value for name, value in last.items()
    }


def _part(path: Path, part: str) -> dict[str, Tensor]:
    state = load(path).get(part)
    if not isinstance(state, dict):
        raise DataError(f"holds no {part}", path)
    return state


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


def digest(states: Iterable[Mapping[str, Tensor]]) -> str:
    """sha256 of the names, types, shapes and values of tensors."""
    found = hashlib.sha256()
    for state in states:
        for name, value in state.items():
            found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            found.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
