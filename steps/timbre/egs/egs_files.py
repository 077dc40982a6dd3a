"""The files of an egs directory by example number: whose each example is, and its features or samples; without torch.

Used by egs_reader.py and, in processes of their own, by crop_effects.py. Examples are numbered through: those of
the first ark, then those of the second, and so on.
"""

import functools
import os
import resource
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from timbre.egs.egs_format import EgsArk, Encoding, Manifest, decode, record_dtype, to_samples
from timbre.utils.errors import DataError

FEW_ARKS = 128  # that are kept open where examples come from some arks after others
FETCHED = 4 << 20  # bytes: the kernel takes no more at a time
CLOSE = 3  # so many examples on, it is as quick to read on as to leave out what lies between
OTHER_FILES = 256  # that the rest of the program may want to have open

Int64s = npt.NDArray[np.int64]


class EgsFiles:
    """Examples out of arks: uniform records, so each is one pread to where it belongs in the batch.

    The kernel is told beforehand which examples of which ark are wanted (`fetch`), and reads them in the order of the
    file. This was faster than reading an ark whole and gathering from it, and a resumed run or a rank reads little but
    its own examples. Where examples are scattered over all arks, it is told those of a batch, and fetches them side by
    side.

    Args:
        egs_dir: where the arks are
        manifest: of the egs
        valid: the held-out examples, of the ark with this number; None: all those to train on
        scattered: a batch has examples of all arks, not of a few

    Attributes:
        dim: columns of an example: of features, or the samples of a frame shift
        dtype: of the values that `read` gives: float32, or int16 of waveforms
        sizes: (A,) examples of each ark
        frames: (A,) rows of its examples
        speakers: (E,) speaker number of each example
        utts: (E,) a number of its utterance, which no other of the speaker has; only where examples are scattered

    Raises:
        DataError: the speakers are not those of the examples; when read, an ark cut short
    """

    def __init__(self, egs_dir: Path, manifest: Manifest, valid: int | None = None, scattered: bool = False) -> None:
        arks: Sequence[EgsArk] = manifest.train if valid is None else [manifest.valid[valid]]
        self._paths = [egs_dir / f"{ark.name}.ark" for ark in arks]
        self._encoding: Encoding = manifest.train_encoding if valid is None else manifest.options.compression
        self.dim = manifest.train_dim if valid is None else manifest.feat_dim
        self.dtype = np.dtype(np.int16 if self._encoding == "samples" else np.float32)
        self._scattered = scattered
        self.sizes = np.array([ark.examples for ark in arks], np.int64)
        self.frames = np.array([ark.frames for ark in arks], np.int64)
        self._first = np.cumsum(self.sizes) - self.sizes
        dtypes = [record_dtype(ark.key_bytes, ark.frames, self.dim, self._encoding) for ark in arks]
        self._key_bytes = np.array([ark.key_bytes for ark in arks], np.int64)
        self._record_bytes = np.array([dtype.itemsize for dtype in dtypes], np.int64)
        self._data_bytes = np.array([dtype["data"].itemsize for dtype in dtypes], np.int64)
        self._open = functools.lru_cache(_most_open(len(arks)) if scattered else FEW_ARKS)(self._open_ark)
        speakers, utts = [np.empty(0, np.int32)], [np.empty(0, np.uint64)]
        for ark, path in zip(arks, self._paths, strict=True):
            keys, numbers = _read_speakers(path.with_suffix(".spk"), ark.examples, manifest.num_speakers)
            speakers.append(numbers)
            if scattered:
                utts.append(_number_utts(keys))
        self.speakers, self.utts = np.concatenate(speakers), np.concatenate(utts)

    def lengths(self, examples: Int64s) -> Int64s:
        """(B,) rows of each of EXAMPLES (B,)."""
        return self.frames[self._arks_of(examples)]

    def keys(self, examples: Int64s) -> list[str]:
        """Key of each of EXAMPLES (B,): "utt-start-number"."""
        found = []
        for example, ark in zip(examples.tolist(), self._arks_of(examples).tolist(), strict=True):
            key = np.empty(self._key_bytes[ark], np.uint8)
            self._open(ark).read_into(key, (example - int(self._first[ark])) * int(self._record_bytes[ark]))
            found.append(key.tobytes().decode())
        return found

    def read(self, examples: Int64s, starts: Int64s, out: npt.NDArray[np.float32 | np.int16]) -> None:
        """Fills OUT (B, rows, dim) of `dtype` with the rows from row STARTS (B,) on of each of EXAMPLES (B,)."""
        arks, frames = self._arks_of(examples), out.shape[1]
        files = [self._open(ark) for ark in arks.tolist()]
        row_bytes = self._data_bytes[arks] // self.frames[arks]
        header = (examples - self._first[arks] + 1) * self._record_bytes[arks] - self._data_bytes[arks]  # where it ends
        offsets = (header + starts * row_bytes).tolist()
        if self._scattered:
            for file, offset in zip(files, offsets, strict=True):
                file.expect(offset, frames * int(row_bytes[0]))
        if self._encoding in ("none", "samples"):
            for file, offset, rows in zip(files, offsets, out, strict=True):
                file.read_into(rows, offset)
            if self._encoding == "samples":
                to_samples(out.view(np.uint16))
            return
        # of the header, only what follows the key is needed: as if the key were its last byte
        dtype = record_dtype(1, frames, self.dim, self._encoding)
        record = np.empty(dtype.itemsize, np.uint8)
        head, data = np.split(record, [dtype.itemsize - dtype["data"].itemsize])
        for file, end, offset, rows in zip(files, header.tolist(), offsets, out, strict=True):
            if offset == end:
                file.read_into(record, end - len(head))
            else:
                file.read_into(head, end - len(head))
                file.read_into(data, offset)
            decode(record.view(dtype).reshape(()), rows, self._encoding)

    def by_ark(self, examples: Int64s) -> list[tuple[int, Int64s]]:
        """The arks of EXAMPLES, and which of each they are, counted from its first, in order."""
        examples = np.sort(examples)
        arks, begins = np.unique(self._arks_of(examples), return_index=True)
        parts = zip(arks.tolist(), np.split(examples, begins[1:]), strict=True)
        return [(ark, part - self._first[ark]) for ark, part in parts]

    def fetch(self, ark: int, numbers: Int64s) -> None:
        """Has the kernel read example NUMBERS, in order, of an ark, and with them what lies between close ones."""
        file, size = self._open(ark), int(self._record_bytes[ark])
        for run in np.split(numbers, np.flatnonzero(np.diff(numbers) > CLOSE) + 1):
            first, end = int(run[0]) * size, int(run[-1] + 1) * size
            for offset in range(first, end, FETCHED):
                length = min(FETCHED, end - offset)
                if not file.seems_cached(offset, length):  # to say so is not free where all is there already
                    file.expect(offset, length)

    def _arks_of(self, examples: Int64s) -> Int64s:
        return np.searchsorted(self._first, examples, "right") - 1

    def _open_ark(self, ark: int) -> "_File":
        return _File(self._paths[ark])


class _File:
    """A file to read from at any place by any thread; closed with the last reference to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def expect(self, offset: int, size: int) -> None:
        """Has the kernel fetch SIZE bytes at OFFSET, without waiting for them."""
        os.posix_fadvise(self._descriptor, offset, size, os.POSIX_FADV_WILLNEED)

    def seems_cached(self, offset: int, size: int) -> bool:
        """Whether begin, middle and end of SIZE bytes at OFFSET are in the page cache, as far as that can be told."""
        try:
            places = offset, offset + size // 2, offset + size - 1
            return all(os.preadv(self._descriptor, [bytearray(1)], place, os.RWF_NOWAIT) for place in places)
        except OSError:  # it would have to wait, or does not know
            return False

    def read_into(self, out: npt.NDArray[np.generic], offset: int) -> None:
        """Fills OUT, contiguous, with what is at OFFSET."""
        if os.preadv(self._descriptor, [out.data.cast("B")], offset) != out.nbytes:
            raise DataError("has become shorter while it was in use", self._path)


def _most_open(wanted: int) -> int:
    """How many of WANTED files can be open at a time; the soft limit of this process is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < wanted + OTHER_FILES:
        soft = wanted + OTHER_FILES if hard == resource.RLIM_INFINITY else min(wanted + OTHER_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(min(wanted, soft - OTHER_FILES), FEW_ARKS)


def _read_speakers(path: Path, examples: int, num_speakers: int) -> tuple[list[bytes], npt.NDArray[np.int32]]:
    """Keys and speaker numbers of a file of lines "key integer".

    Raises:
        DataError: it is not such a file, has not so many lines, or names other speakers
    """
    words = path.read_bytes().split()
    try:
        speakers = np.array(words[1::2], "S").astype(np.int32)
    except (ValueError, OverflowError) as error:
        raise DataError("not lines of `key integer`", path) from error
    if len(words) % 2:
        raise DataError("not lines of `key integer`", path)
    if len(speakers) != examples:
        raise DataError(f"{len(speakers)} labels for {examples} examples", path)
    if speakers.min() < 0 or speakers.max() >= num_speakers:
        raise DataError(f"labels from {speakers.min()} to {speakers.max()} for {num_speakers} speakers", path)
    return words[::2], speakers


def _number_utts(keys: list[bytes]) -> npt.NDArray[np.uint64]:
    """A number of the utterance in each of KEYS, "utt-start-number": 64 bits of a linear hash.

    The chance that any two of a million utterances have the same is below 10^-7.
    """
    return number_utts(np.array([key.rsplit(b"-", 2)[0] for key in keys], "S"))


def number_utts(utts: npt.NDArray[np.bytes_]) -> npt.NDArray[np.uint64]:
    """The numbers (N,) that EgsFiles has for UTTS (N,)."""
    letters = utts.view(np.uint8).reshape(len(utts), -1)
    numbers: npt.NDArray[np.uint64] = letters @ _letter_weights(letters.shape[1])
    return numbers


@functools.cache
def _letter_weights(number: int) -> npt.NDArray[np.uint64]:
    """The same ones, as far as they go, for any NUMBER."""
    return np.random.default_rng(0).integers(0, 2**64, number, np.uint64)
