"""Embeddings of many utterances: batches of like lengths, padded and masked; steps/extract_embeddings.py calls it."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from steps.nnet.network import SpeakerNetwork
from steps.utils.errors import DataError

Item = TypeVar("Item")

# How many batches' worth of utterances are sorted by length at a time: more pad less and hold more in memory.
_WINDOW_BATCHES = 16


@dataclass(frozen=True)
class ExtractOptions:
    """How utterances are put into batches.

    Args:
        batch_frames: frames in a batch, padding included
        max_frames: longer utterances are cut into windows of equal length, at most this many frames, and their
            embedding is the average of the windows'; this bounds the memory
        bf16: bfloat16 autocast: faster on a GPU, embeddings differ in the third digit
    """

    batch_frames: int = 12000
    max_frames: int = 12000
    bf16: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_frames", "max_frames"):
            if getattr(self, name) < 1:
                raise DataError(f"{name} is {getattr(self, name)}; it must be at least 1")


@dataclass
class Extraction:
    """What came of it.

    Attributes:
        vectors: utterance -> embedding (embedding_dim,) float32
        failures: utterance -> why it has none
        repeated: utterances shorter than the network takes, which were repeated up to its min_frames
        windowed: utterances longer than max_frames, whose embedding is an average over windows
    """

    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    windowed: list[str] = field(default_factory=list)


def device_named(name: str) -> torch.device:
    """The device NAME: cpu, cuda, cuda:1, ...

    Raises:
        DataError: there is no such device here
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DataError(f"device '{name}' is not available: {str(error).splitlines()[0]}") from error
    return device


def extract_embeddings(
    network: SpeakerNetwork,
    utterances: Iterable[tuple[str, NDArray[np.float32] | DataError]],
    options: ExtractOptions = ExtractOptions(),
    total: int | None = None,
) -> Extraction:
    """Embeddings of UTTERANCES by NETWORK, on the device where it is, in eval mode and without autocast by default.

    Args:
        network: in eval mode
        utterances: (id, features (num_frames, feat_dim), or the error met in reading them), read ahead by a thread
        options: batches
        total: how many there are, for the progress bar

    Raises:
        DataError: features of another dimension than the network's
    """
    result = Extraction()
    # TensorFloat-32 is off: a batch would not give an utterance the embedding that it gets alone
    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=options.bf16)
    with torch.inference_mode(), exact, tqdm(total=total, desc="embeddings", unit="utt", disable=None) as progress:
        for window in _read_ahead(_windows(utterances, _WINDOW_BATCHES * options.batch_frames)):
            _embed(network, window, options, result)
            progress.update(len(window))
    return result


def _windows(utterances: Iterable[tuple[str, Item]], num_frames: int) -> Iterator[list[tuple[str, Item]]]:
    """UTTERANCES in runs of about NUM_FRAMES frames."""
    window: list[tuple[str, Item]] = []
    frames = 0
    for utt, feats in utterances:
        window.append((utt, feats))
        frames += len(feats) if isinstance(feats, np.ndarray) else 0
        if frames >= num_frames:
            yield window
            window, frames = [], 0
    if window:
        yield window


def _read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """ITEMS, the next of which is made by a thread while one is in use."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def _embed(
    network: SpeakerNetwork,
    window: list[tuple[str, NDArray[np.float32] | DataError]],
    options: ExtractOptions,
    result: Extraction,
) -> None:
    """Adds the utterances of WINDOW to RESULT."""
    pieces: list[tuple[str, NDArray[np.float32]]] = []
    for utt, feats in window:
        if isinstance(feats, DataError):
            result.failures[utt] = str(feats)
            continue
        if feats.shape[1] != network.feat_dim:
            raise DataError(f"features of {utt} have dimension {feats.shape[1]}; the network takes {network.feat_dim}")
        if len(feats) < network.min_frames:
            feats = np.resize(feats, (network.min_frames, network.feat_dim))  # repeats
            result.repeated.append(utt)
        longest = max(options.max_frames, 2 * network.min_frames)  # so that no window is shorter than min_frames
        parts = np.array_split(feats, -(-len(feats) // longest))
        if len(parts) > 1:
            result.windowed.append(utt)
        pieces += [(utt, part) for part in parts]
    if not pieces:
        return
    pieces.sort(key=lambda piece: -len(piece[1]))
    embedded = [_forward(network, batch, options.bf16) for batch in _batches(pieces, options.batch_frames)]
    vectors = torch.cat(embedded).cpu().numpy()  # one wait for the device a window
    sums: dict[str, NDArray[np.float64]] = {}
    frames: dict[str, int] = {}
    for (utt, part), vector in zip(pieces, vectors, strict=True):
        sums[utt] = sums.get(utt, 0.0) + len(part) * vector.astype(np.float64)
        frames[utt] = frames.get(utt, 0) + len(part)
    for utt, total in sums.items():
        vector = (total / frames[utt]).astype(np.float32)
        if np.isfinite(vector).all():
            result.vectors[utt] = vector
        else:
            result.failures[utt] = "its embedding is not finite: NaN or huge features?"


def _batches(pieces: list[tuple[str, NDArray[np.float32]]], num_frames: int) -> Iterator[list[NDArray[np.float32]]]:
    """PIECES, the longest first, in batches of at most NUM_FRAMES frames with their padding (one piece at least)."""
    start = 0
    while start < len(pieces):
        size = max(1, num_frames // len(pieces[start][1]))
        yield [part for _, part in pieces[start : start + size]]
        start += size


def _forward(network: SpeakerNetwork, batch: list[NDArray[np.float32]], bf16: bool) -> Tensor:
    """Embeddings (len(BATCH), embedding_dim) float32 of features sorted by length."""
    device = next(network.parameters()).device
    longest, shortest = len(batch[0]), len(batch[-1])
    padded = np.zeros((len(batch), longest, network.feat_dim), np.float32)
    for row, feats in zip(padded, batch, strict=True):
        row[: len(feats)] = feats
    lengths = torch.tensor([len(feats) for feats in batch]).to(device) if shortest < longest else None
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        embeddings: Tensor = network(torch.from_numpy(padded).to(device), lengths)
    return embeddings.float()
