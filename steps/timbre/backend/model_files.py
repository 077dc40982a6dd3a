"""Model files as Kaldi writes them: mean.vec, transform.mat and the `<Plda>` object. For backends.py and plda.py."""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write
from timbre.utils.number_text import to_float

Floats = npt.NDArray[np.float64]

_HEADS = {b"FV": ("<f4", 1), b"DV": ("<f8", 1), b"FM": ("<f4", 2), b"DM": ("<f8", 2)}


def write_object(path: Path, array: npt.NDArray[np.floating]) -> None:
    """Writes a vector (N,) or matrix (N, D), float32 or float64, as a file of Kaldi's (mean.vec, transform.mat)."""
    with atomic_write(path, "wb") as file:
        file.write(b"\0B" + _pack(array))


def write_plda(path: Path, mean: Floats, transform: Floats, psi: Floats) -> None:
    """Writes Kaldi's binary PLDA: mean (D,), transform (D, D) and psi (D,) in double precision."""
    parts = [_pack(part.astype(np.float64)) for part in (mean, transform, psi)]
    with atomic_write(path, "wb") as file:
        file.write(b"\0B<Plda> " + b"".join(parts) + b"</Plda> ")


def read_plda(path: Path) -> tuple[Floats, Floats, Floats]:
    """Reads Kaldi's PLDA, binary or text: mean (D,), transform (D, D), psi (D,).

    Raises:
        DataError: not a PLDA model, cut short, or its parts do not fit together
    """
    data = path.read_bytes()
    try:
        mean, transform, psi = _binary(data) if data[:2] == b"\0B" else _text(data)
    except (ValueError, KeyError, struct.error) as error:
        raise DataError("not a Kaldi PLDA model, or cut short", path) from error
    dim = len(psi)
    if not dim or mean.shape != (dim,) or transform.shape != (dim, dim):
        raise DataError(f"PLDA with mean {mean.shape}, transform {transform.shape} and psi {psi.shape}", path)
    if not all(np.isfinite(part).all() for part in (mean, transform, psi)) or psi.min() < 0:
        raise DataError("PLDA with NaN, infinite or negative values", path)
    return mean, transform, psi


def _pack(array: npt.NDArray[np.floating]) -> bytes:
    kind = "D" if array.dtype == np.float64 else "F"
    sizes = b"".join(struct.pack("<bi", 4, size) for size in array.shape)
    return (
        f"{kind}{'VM'[array.ndim - 1]} ".encode() + sizes + np.ascontiguousarray(array, f"<f{array.itemsize}").tobytes()
    )


def _binary(data: bytes) -> tuple[Floats, Floats, Floats]:
    position = 2 + len(b"<Plda> ")
    if data[2:position] != b"<Plda> ":
        raise ValueError("no <Plda>")
    parts = []
    for _ in range(3):
        dtype, ndim = _HEADS[data[position : position + 2]]
        shape = [struct.unpack_from("<bi", data, position + 3 + 5 * axis)[1] for axis in range(ndim)]
        begin = position + 3 + 5 * ndim
        position = begin + int(np.prod(shape)) * np.dtype(dtype).itemsize
        parts.append(np.frombuffer(data[begin:position], dtype).reshape(shape).astype(np.float64))
    if data[position:] != b"</Plda> ":
        raise ValueError("no </Plda>")
    return parts[0], parts[1], parts[2]


def _text(data: bytes) -> tuple[Floats, Floats, Floats]:
    words = data.decode().split()
    if words[:1] != ["<Plda>"] or words[-1] != "</Plda>":
        raise ValueError("no <Plda> ... </Plda>")
    parts = [
        np.array([to_float(word) for word in part.rstrip(" ]").split()], np.float64)
        for part in " ".join(words[1:-1]).split("[")[1:]
    ]
    mean, transform, psi = parts
    return mean, transform.reshape(len(psi), len(psi)), psi
