"""What lies in an egs directory: arks of uniform Kaldi records, their speaker labels, and manifest.json.

Waveform examples are matrices too: a row is one frame shift of samples, stored so that Kaldi reads the integers.
Written by egs_writer.py, read by egs_reader.py.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from timbre.egs.options import Compression, EgsOptions
from timbre.feats.options import FrameOptions, options_from
from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.configure import check
from timbre.utils.documents import read_json
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

VERSION = 1

Encoding = Compression | Literal["samples"]
Part = TypeVar("Part", "EgsArk", "Manifest")
_ZERO = 32768  # what stands for a sample of 0


@dataclass(frozen=True)
class EgsArk:
    """NAME.ark holds matrices of one size under keys of one length; NAME.spk their speakers, "key integer" in order.

    So all records are equally long, and example i begins at byte i * num_bytes / examples.

    Attributes:
        name: of the files, without suffix
        examples: number of matrices
        frames: rows of each
        key_bytes: bytes of each key
        num_bytes: size of the ark
        sha256: of the ark
        labels_sha256: of NAME.spk
    """

    name: str
    examples: int
    frames: int
    key_bytes: int
    num_bytes: int
    sha256: str
    labels_sha256: str


@dataclass(frozen=True)
class Manifest:
    """manifest.json: what egs were made with, and what there is of them; written last: egs without it are not whole.

    Attributes:
        version: of this format
        data_dir, seed, options, normalize: what steps/get_egs.py was given
        feat_dim: feature dimension
        num_speakers: speakers in training
        num_examples, num_frames: in all training arks
        num_utterances, num_too_short: of the data directory
        num_valid_speaker_utts: utterances of the held-out speakers
        num_unused: long enough, but no chunk fell on them; more num_repeats helps
        valid_utts: utterances of training speakers that are in `valid` only
        valid_speakers: speakers that are in valid_trials only
        train, valid: the arks; those of valid always have features
        waveform: if those of train have waveforms: which features the network sees of them
    """

    version: int
    data_dir: str
    seed: int
    options: EgsOptions
    normalize: NormalizeOptions
    feat_dim: int
    num_speakers: int
    num_examples: int
    num_frames: int
    num_utterances: int
    num_too_short: int
    num_unused: int
    num_valid_speaker_utts: int
    valid_utts: list[str]
    valid_speakers: list[str]
    train: list[EgsArk]
    valid: list[EgsArk]
    waveform: FrameOptions | None = None

    def write(self, egs_dir: Path) -> None:
        """Writes EGS_DIR/manifest.json."""
        fields = dataclasses.asdict(self) | {"waveform": self.waveform and self.waveform.to_dict()}
        with atomic_write(egs_dir / "manifest.json") as file:
            json.dump(fields, file, indent=1, ensure_ascii=False)
            file.write("\n")

    @classmethod
    def read(cls, egs_dir: Path) -> "Manifest":
        """Reads EGS_DIR/manifest.json.

        Raises:
            DataError: there is none (get_egs did not finish), or it is not such a manifest
        """
        path = egs_dir / "manifest.json"
        if not path.is_file():
            raise DataError("no such file: not an egs directory, or steps/get_egs.py did not finish there", path)
        try:
            fields = dict(read_json(path))
            if fields["version"] != VERSION:
                raise DataError(f"version {fields['version']} of the egs format; this reads {VERSION}", path)
            fields["options"] = check(EgsOptions, fields["options"], set())()
            fields["normalize"] = check(NormalizeOptions, fields["normalize"], set())()
            fields["waveform"] = options_from(fields["waveform"]) if fields.get("waveform") else None
            for part in ("train", "valid"):
                fields[part] = [_checked(EgsArk(**ark)) for ark in fields[part]]
            return _checked(cls(**fields))
        except DataError as error:
            raise DataError(error.message, path, error.line) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"not a manifest of egs: {error}", path) from error

    @property
    def train_dim(self) -> int:
        """Columns of the training examples: of features, or the samples of a frame shift."""
        return self.waveform.shift if self.waveform else self.feat_dim

    @property
    def train_encoding(self) -> Encoding:
        """How the training examples are stored."""
        return "samples" if self.waveform else self.options.compression

    def num_feats(self, rows: int) -> int:
        """Frames of features that ROWS rows of a training example give."""
        return self.waveform.num_frames(rows * self.waveform.shift) if self.waveform else rows


def _checked(part: Part) -> Part:
    """PART, unless a field of it is of another type than it says; TypeError otherwise. Counts are not negative."""
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.type in (int, str) and (type(value) is not field.type or (isinstance(value, int) and value < 0)):
            raise TypeError(f"{field.name} is {str(value)[:100]!r}")
        if field.type == list[str] and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            raise TypeError(f"{field.name} is no list of names")
    return part


def record_dtype(key_bytes: int, frames: int, dim: int, encoding: Encoding) -> np.dtype[np.void]:
    r"""One record of an ark as Kaldi writes it: the key, " \0B", and a binary matrix of type FM, CM2 or CM3.

    In CM2 and CM3 a value is low + range * data / 65535 or 255 (Kaldi's kTwoByteAuto and kOneByteAuto). Samples are a
    CM2 whose low is -32768 and whose range is 65535: the integers as they are.
    """
    if encoding == "none":  # Kaldi writes the size of an integer, 4, before it
        header = [("marker", "S6"), ("four", "u1"), ("rows", "<i4"), ("four_too", "u1"), ("cols", "<i4")]
    else:
        header = [("marker", "S7"), ("low", "<f4"), ("range", "<f4"), ("rows", "<i4"), ("cols", "<i4")]
    fields: list[Any] = [("key", f"S{key_bytes}"), *header, ("data", _VALUE[encoding], (frames, dim))]
    return np.dtype(fields)


def empty_records(keys: list[bytes], dtype: np.dtype[np.void], encoding: Encoding) -> npt.NDArray[np.void]:
    """Records of DTYPE (record_dtype's) under KEYS, still without matrices."""
    records = np.zeros(len(keys), dtype)
    records["key"] = keys
    kind = {"none": "FM", "samples": "CM2"}.get(encoding, encoding)
    records["marker"] = b" \0B" + kind.encode() + b" "
    records["rows"], records["cols"] = dtype["data"].shape
    if encoding == "none":
        records["four"] = records["four_too"] = 4
    return records


def encode(
    records: npt.NDArray[np.void], index: int, matrix: npt.NDArray[np.float32 | np.int16], encoding: Encoding
) -> None:
    """Puts MATRIX (frames, dim), int16 if it is of samples, into record INDEX."""
    if encoding == "none":
        records["data"][index] = matrix
        return
    if encoding == "samples":
        records["low"][index], records["range"][index] = -_ZERO, 65535
        records["data"][index] = matrix.astype(np.int32) + _ZERO
        return
    low, high = float(matrix.min()), float(matrix.max())
    span = high - low if high > low else 1.0 + abs(low)  # as Kaldi does for a constant matrix
    levels = np.iinfo(_VALUE[encoding]).max
    records["low"][index], records["range"][index] = low, span
    records["data"][index] = np.clip((matrix - low) * (levels / span) + 0.5, 0, levels)


def decode(record: npt.NDArray[np.void], out: npt.NDArray[np.float32], encoding: Encoding) -> None:
    """Puts the matrix of a compressed RECORD into OUT (frames, dim)."""
    np.multiply(record["data"], np.float32(record["range"] / np.iinfo(_VALUE[encoding]).max), out=out)
    out += record["low"]


def to_samples(data: npt.NDArray[np.uint16]) -> None:
    """Makes of DATA, as read from records of samples, the bits of the int16 that it stands for."""
    data ^= np.uint16(_ZERO)


_VALUE: dict[str, str] = {"none": "<f4", "CM2": "<u2", "CM3": "u1", "samples": "<u2"}
