"""Embeddings of many utterances: batches of like lengths, padded and masked; steps/extract_embeddings.py calls it."""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from timbre.datadir.ark import write_vectors
from timbre.nnet.network import SpeakerNetwork
from timbre.utils.errors import DataError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

# An utterance's id, with its features (num_frames, feat_dim), or with what went wrong when they were read.
Feats = NDArray[np.float32]
Read = tuple[str, Feats | DataError]
Marked = tuple[str, str, Feats | DataError]  # the same, and before it whose embeddings it is for: a protocol
Piece = tuple[str, Feats]

# Utterances are sorted by length in runs of so many batches' worth of frames: longer runs pad less and hold more.
_RUN_BATCHES = 16


@dataclass(frozen=True)
class ExtractOptions:
    """How utterances are put into batches.

    Args:
        batch_frames: frames in a batch, padding included; None: 3,000 on a CPU, whose caches hold no more, and 60,000
            on a GPU
        max_frames: longer utterances are cut into windows of equal length, at most this many frames, and their
            embedding is the average of the windows'; this bounds the memory
        overlap: share of a window that it has in common with the next. Above 0 windows are max_frames long, begin every
            (1 - overlap) * max_frames frames, and the last one ends where the utterance ends, whatever it shares
        bf16: bfloat16 autocast: about twice as fast, and embeddings differ in the third digit
    """

    batch_frames: int | None = None
    max_frames: int = 12000
    bf16: bool = False
    overlap: float = 0.0

    def __post_init__(self) -> None:
        for name in ("batch_frames", "max_frames"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise DataError(f"{name} is {value}; it must be at least 1")
        if not 0 <= self.overlap < 1:
            raise DataError(f"overlap is {self.overlap}; it must be a share, 0 or more and below 1")


@dataclass
class Extraction:
    """What came of it.

    Attributes:
        vectors: utterance -> embedding (embedding_dim,) float32
        failures: utterance -> why it has none
        repeated: utterances shorter than the network takes, which were repeated up to its min_frames
        windowed: utterances longer than max_frames, whose embedding is an average over windows
    """

    vectors: dict[str, Feats] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    windowed: list[str] = field(default_factory=list)

    def log_lengths(self, shortest: int, longest: int) -> None:
        """Tells which utterances were shorter than SHORTEST frames, or longer than LONGEST."""
        if self.repeated:
            count = len(self.repeated)
            logger.warning("%d utterances shorter than %d frames, repeated: %s", count, shortest, _some(self.repeated))
        if self.windowed:
            count = len(self.windowed)
            logger.info("%d utterances longer than %d frames, in windows: %s", count, longest, _some(self.windowed))

    def write(self, out_stem: Path) -> None:
        """Writes the vectors, sorted, to OUT_STEM.ark and OUT_STEM.scp."""
        ids = sorted(self.vectors)
        write_vectors(out_stem, ids, np.stack([self.vectors[utt] for utt in ids]))


def _some(utts: list[str]) -> str:
    return " ".join(utts[:10]) + (" ..." if len(utts) > 10 else "")


def device_named(name: str) -> torch.device:
    """The device NAME: cpu, cuda, cuda:1, ...

    Raises:
        DataError: there is no such device here
    """
    if name.partition(":")[0] not in ("cpu", "cuda", "mps", "xpu"):
        raise DataError(f"device '{name}' is none: cpu, cuda (the first GPU) or cuda:N (GPU N, from 0)")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DataError(f"device '{name}' is not available: {str(error).splitlines()[0]}") from error
    return device


def extract_embeddings(
    network: SpeakerNetwork,
    utterances: Iterable[Read],
    options: ExtractOptions = ExtractOptions(),
    total: int | None = None,
) -> Extraction:
    """Embeddings of UTTERANCES by NETWORK, on the device where that is.

    Args:
        network: in eval mode
        utterances: ids with features (num_frames, feat_dim) or the error met in reading them; a thread reads ahead
        options: how they are put into batches
        total: how many there are, for the progress bar; without it there is none

    Raises:
        DataError: features of another dimension than the network's
    """
    marked = (("", utt, feats) for utt, feats in utterances)
    return next(extract_parts(network, [marked], options, total)).get("", Extraction())


def extract_parts(
    network: SpeakerNetwork,
    parts: Iterable[Iterable[Marked]],
    options: ExtractOptions = ExtractOptions(),
    total: int | None = None,
) -> Iterator[dict[str, Extraction]]:
    """Embeddings of each of PARTS, one after another, by their marks.

    What comes of one part and mark does not depend on the others. The arguments are those of `extract_embeddings`, but
    that utterances are marked with a name, and may come several times with different ones; reading ahead does not stop
    where a part ends.
    """
    results: dict[str, Extraction] = {}
    device = next(network.parameters()).device
    batch_frames = options.batch_frames or (3_000 if device.type == "cpu" else 60_000)
    with _bar(total) as bar:
        for mark, run in _read_ahead(_marked_runs(parts, _RUN_BATCHES * batch_frames)):
            if not run:
                yield results
                results = {}
                continue
            result = results.setdefault(mark, Extraction())
            # TensorFloat-32 is off: a batch would not give an utterance the embedding that it gets alone
            exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=options.bf16)
            with torch.inference_mode(), exact, torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
                pieces = _pieces(network, run, options, result)
                batches = [_forward(network, batch, device) for batch in _batches(pieces, batch_frames)]
                if batches:
                    _average(pieces, torch.cat(batches).cpu().numpy(), result)  # waits for the device once a run
            bar.update(len(run))


def _bar(total: int | None) -> "tqdm[NoReturn]":
    return tqdm(total=total, desc="embeddings", unit="utt", disable=None if total else True)


def _marked_runs(parts: Iterable[Iterable[Marked]], num_frames: int) -> Iterator[tuple[str, list[Read]]]:
    """The runs of each part, each of one mark, and an empty one after them."""
    for utterances in parts:
        yield from _runs(utterances, num_frames)
        yield "", []


def _runs(utterances: Iterable[Marked], num_frames: int) -> Iterator[tuple[str, list[Read]]]:
    """UTTERANCES in runs of about NUM_FRAMES frames, those of each mark in runs of their own."""
    runs: dict[str, list[Read]] = {}
    frames: dict[str, int] = {}
    for mark, utt, feats in utterances:
        run = runs.setdefault(mark, [])
        run.append((utt, feats))
        frames[mark] = frames.get(mark, 0) + (0 if isinstance(feats, DataError) else len(feats))
        if frames[mark] >= num_frames:
            yield mark, run
            runs[mark], frames[mark] = [], 0
    for mark, run in runs.items():
        if run:
            yield mark, run


def _read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """ITEMS, the next of which is made by a thread while one is in use."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def _pieces(
    network: SpeakerNetwork,
    run: list[Read],
    options: ExtractOptions,
    result: Extraction,
) -> list[Piece]:
    """What NETWORK is to see of the utterances of RUN, the longest first; what was done to them is noted in RESULT."""
    pieces: list[Piece] = []
    for utt, feats in run:
        if isinstance(feats, DataError):
            result.failures[utt] = str(feats)
            continue
        if feats.shape[1] != network.feat_dim:
            raise DataError(f"features of {utt} have dimension {feats.shape[1]}; the network takes {network.feat_dim}")
        if len(feats) < network.min_frames:
            feats = np.resize(feats, (network.min_frames, network.feat_dim))  # repeats
            result.repeated.append(utt)
        parts = _windows(feats, network.min_frames, options)
        if len(parts) > 1:
            result.windowed.append(utt)
        pieces += [(utt, part) for part in parts]
    return sorted(pieces, key=lambda piece: -len(piece[1]))


def _windows(feats: Feats, min_frames: int, options: ExtractOptions) -> list[Feats]:
    """FEATS, or the windows it is cut into if it is long: each of MIN_FRAMES or more, all frames in one of them."""
    if options.overlap == 0:
        longest = max(options.max_frames, 2 * min_frames)  # so that no window is shorter than min_frames
        return np.array_split(feats, -(-len(feats) // longest))
    length = max(options.max_frames, min_frames)
    hop = max(1, round((1 - options.overlap) * length))
    last = max(0, len(feats) - length)
    starts = [*range(0, last, hop), last]
    return [feats[start : start + length] for start in starts]


def _batches(pieces: list[Piece], num_frames: int) -> Iterator[list[Feats]]:
    """PIECES, the longest first, in batches of at most NUM_FRAMES frames with their padding (one piece at least)."""
    start = 0
    while start < len(pieces):
        size = max(1, num_frames // len(pieces[start][1]))
        yield [part for _, part in pieces[start : start + size]]
        start += size


def _forward(network: SpeakerNetwork, batch: list[Feats], device: torch.device) -> Tensor:
    """Embeddings (len(BATCH), embedding_dim) float32 of features sorted by length."""
    longest, shortest = len(batch[0]), len(batch[-1])
    padded = np.zeros((len(batch), longest, network.feat_dim), np.float32)
    for row, feats in zip(padded, batch, strict=True):
        row[: len(feats)] = feats
    lengths = torch.tensor([len(feats) for feats in batch]) if shortest < longest else None
    embeddings: Tensor = network(torch.from_numpy(padded).to(device), lengths)
    return embeddings


def _average(pieces: list[Piece], vectors: Feats, result: Extraction) -> None:
    """Adds to RESULT the mean of the VECTORS (len(PIECES), dim) of each utterance, weighted with their lengths."""
    sums: dict[str, NDArray[np.float64]] = {}
    frames: dict[str, int] = {}
    for (utt, part), vector in zip(pieces, vectors.astype(np.float64), strict=True):
        sums[utt] = sums.get(utt, 0.0) + len(part) * vector
        frames[utt] = frames.get(utt, 0) + len(part)
    for utt, total in sums.items():
        if np.isfinite(total).all():
            result.vectors[utt] = (total / frames[utt]).astype(np.float32)
        else:
            result.failures[utt] = "its embedding is not finite: NaN or huge features?"
