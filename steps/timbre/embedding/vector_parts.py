"""Vectors of all utterances of a data directory, in parts that are kept beside OUT_STEM.ark: embeddings and statistics.

Called by extract_embeddings.py and extract_statistics.py.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from timbre.datadir.ark import read_vectors, write_vectors
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table
from timbre.feats.mean_std import frame_statistics
from timbre.feats.normalize import NormalizeOptions
from timbre.feats.protocols import Protocol, frame_shift_of, read_pieces
from timbre.feats.utterances import Utterance, list_utterances, read_utterances
from timbre.utils.jobs import start_workers
from timbre.utils.missing import Allowed, check_missing, count_allowed
from timbre.utils.parts import Part, Result, kept_parts, make_parts

if TYPE_CHECKING:
    from timbre.embedding.extract import Extraction, ExtractOptions
    from timbre.nnet.network import SpeakerNetwork

log = logging.getLogger(__name__)

_VERSION = 1  # of what is computed: another makes everything anew
_MEAN_SIZE = 2048  # utterances in a part
_NAME = "xvector"  # of the ark in a part


def dump_embeddings(
    model_dir: Path,
    data: DataDir,
    out_stem: Path,
    options: "ExtractOptions",
    device: str,
    protocol: Protocol,
    nj: int,
    allow_missing: Allowed = 0,
    num_devices: int = 1,
) -> None:
    """Writes OUT_STEM.ark and OUT_STEM.scp, by the network in MODEL_DIR; see extract_embeddings.py.

    With several devices each has a process of its own and parts of as many frames as the others; what a process leaves
    undone, however it ends, is done by this one.

    Raises:
        DataError: more than ALLOW_MISSING utterances have none: OUT_STEM.missing lists them
    """
    import torch

    from timbre.embedding.extract import Extraction

    shift = frame_shift_of(data)
    work = _Work(model_dir, options, protocol, nj, shift, device)
    utterances = list_utterances(data, work.loaded[1])
    count_allowed(allow_missing, len(utterances))
    model = sha256((model_dir / "config.yaml").read_bytes() + (model_dir / "final.pt").read_bytes()).hexdigest()
    made_by = f"{model} {work.devices(num_devices)[0].partition(':')[0]} {torch.__version__}"
    recipe = f"embeddings {_VERSION} {options} {protocol} {shift} {made_by}"
    with kept_parts(_folder(out_stem), utterances, recipe, _MEAN_SIZE) as parts:
        left = [part for part in parts if not part.is_made(work.again)]
        if num_devices > 1 and len(left) > 1:
            left = _share(left, replace(work, nj=max(1, nj // num_devices)), work.devices(num_devices), data)
        work.make(left, progress=True)
        results = [result for part in parts if (result := part.result()) is not None]
        lengths = Extraction()
        for result in results:
            lengths.repeated += result["repeated"]
            lengths.windowed += result["windowed"]
        lengths.log_lengths(work.loaded[0].min_frames, options.max_frames)
        _collect(parts, results, out_stem, len(utterances), allow_missing, "embedding")


@dataclass(frozen=True)
class _Work:
    """What is made of the utterances of a part, by a network that is loaded when it is needed."""

    model_dir: Path
    options: "ExtractOptions"
    protocol: Protocol
    nj: int
    shift: float
    device: str

    @cached_property
    def loaded(self) -> "tuple[SpeakerNetwork, NormalizeOptions]":
        """The network, on the device, and the normalisation that it was trained with."""
        from timbre.embedding.extract import device_named
        from timbre.nnet.model import load_model

        return load_model(self.model_dir, device_named(self.device))

    def devices(self, number: int) -> list[str]:
        """The devices of so many processes.

        Raises:
            DataError: there are not so many
        """
        from timbre.embedding.extract import device_named

        if number == 1 or self.device == "cpu":
            return [self.device] * number
        return [str(device_named(f"{self.device.partition(':')[0]}:{index}")) for index in range(number)]

    def again(self, items: Sequence[Utterance], folder: Path) -> Result:
        """Of ITEMS, into FOLDER."""
        from timbre.embedding.extract import extract_parts

        readers = [read_pieces(items, self.nj, self.protocol, self.shift)]
        return _write(next(extract_parts(self.loaded[0], readers, self.options)), folder)

    def make(self, parts: Sequence[Part[Utterance]], progress: bool = False) -> None:
        """Writes PARTS, with a bar or without."""
        from timbre.embedding.extract import extract_parts

        total = sum(len(part.items) for part in parts) * self.protocol.num_pieces
        readers = (read_pieces(part.items, self.nj, self.protocol, self.shift) for part in parts)
        extractions = extract_parts(self.loaded[0], readers, self.options, total if progress else None)
        for part, extraction in zip(parts, extractions, strict=True):
            told: Result = {}
            with part.writing(told) as folder:
                told |= _write(extraction, folder)


def _share(parts: list[Part[Utterance]], work: _Work, devices: list[str], data: DataDir) -> list[Part[Utterance]]:
    """Has PARTS made by a process for each of DEVICES; those that are not made after all."""
    shares = deal_by_length(parts, len(devices), _lengths(data))
    with ExitStack() as stack:
        futures = []
        for device, share in zip(devices, shares, strict=True):  # a pool each: one that dies takes no other with it
            pool = stack.enter_context(start_workers(1, _set_up, work))
            futures.append(pool.submit(_make_share, replace(work, device=device), share))
        errors = [future.exception() for future in futures]
    left = [part for part in parts if part.result() is None]
    for device, error in zip(devices, errors, strict=True):
        if error is not None:
            log.warning("%s: %s; what it has not done is done again", device, str(error) or type(error).__name__)
    return left


def _make_share(work: _Work, parts: Sequence[Part[Utterance]]) -> None:
    work.make(parts)


def _set_up(_: _Work) -> None:
    import torch

    torch.set_num_threads(1)


def _lengths(data: DataDir) -> Mapping[str, int]:
    """Frames of each utterance, as far as utt2num_frames says."""
    path = data.path / "utt2num_frames"
    return {utt: int(number) for utt, number in read_table(path).items()} if path.is_file() else {}


def deal_by_length(
    parts: Sequence[Part[Utterance]], number: int, lengths: Mapping[str, int]
) -> list[list[Part[Utterance]]]:
    """PARTS in NUMBER shares of about as many frames: the longest first, each to the share that has the least.

    An utterance that LENGTHS does not know counts as one frame.
    """
    shares: list[list[Part[Utterance]]] = [[] for _ in range(number)]
    totals = [0] * number
    sizes = [sum(lengths.get(item.name, 1) for item in part.items) for part in parts]
    for index in sorted(range(len(parts)), key=lambda index: -sizes[index]):
        least = totals.index(min(totals))
        shares[least].append(parts[index])
        totals[least] += sizes[index]
    return shares


def dump_statistics(
    data: DataDir, out_stem: Path, normalization: NormalizeOptions, nj: int, allow_missing: Allowed = 0
) -> None:
    """Writes OUT_STEM.ark and OUT_STEM.scp, means and standard deviations; see extract_statistics.py.

    Raises:
        DataError: more than ALLOW_MISSING utterances have none: OUT_STEM.missing lists them
    """
    utterances = list_utterances(data, normalization)
    count_allowed(allow_missing, len(utterances))
    with kept_parts(_folder(out_stem), utterances, f"statistics {_VERSION}", _MEAN_SIZE // 4) as parts:
        results = make_parts(parts, _statistics, nj, "statistics")
        _collect(parts, results, out_stem, len(utterances), allow_missing, "statistics")


def _folder(out_stem: Path) -> Path:
    return out_stem.with_name(f".{out_stem.name}.parts")


def _write(extraction: "Extraction", folder: Path) -> Result:
    if extraction.vectors:
        extraction.write(folder / _NAME)
    return {
        "failures": extraction.failures,
        "repeated": extraction.repeated,
        "windowed": extraction.windowed,
        "num_vectors": len(extraction.vectors),
    }


def _statistics(items: Sequence[Utterance], folder: Path) -> Result:
    failures: dict[str, str] = {}
    vectors = {}
    for utt, feats in read_utterances(items, 1):
        if not isinstance(feats, np.ndarray):
            failures[utt] = str(feats)
            continue
        vector = frame_statistics(feats)
        if np.isfinite(vector).all():
            vectors[utt] = vector
        else:
            failures[utt] = "features have NaN or infinite values"
    if vectors:
        write_vectors(folder / _NAME, list(vectors), np.stack(list(vectors.values())))
    return {"failures": failures, "num_vectors": len(vectors)}


def _collect(
    parts: Sequence[Part[Utterance]], results: Sequence[Result], out_stem: Path, num: int, allowed: Allowed, what: str
) -> None:
    """Writes the vectors of all parts, sorted by their names."""
    failures = {utt: reason for result in results for utt, reason in result["failures"].items()}
    check_missing(failures, num, allowed, out_stem.with_name(f"{out_stem.name}.missing"), what)
    ids: list[str] = []
    blocks = []
    for part, result in zip(parts, results, strict=True):
        if result["num_vectors"]:
            names, vectors = read_vectors(part.folder / f"{_NAME}.ark")
            ids += names
            blocks.append(vectors)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    write_vectors(out_stem, [ids[row] for row in order], np.concatenate(blocks)[order])
