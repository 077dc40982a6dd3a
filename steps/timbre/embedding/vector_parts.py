"""Vectors of all utterances of a data directory, in parts that are kept beside OUT_STEM.ark: embeddings and statistics.

Called by extract_embeddings.py, extract_statistics.py and, for windows, diarization/window_feats.py.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.ark import read_vectors, write_vectors
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_numbers
from timbre.feats.mean_std import frame_statistics
from timbre.feats.normalize import NormalizeOptions
from timbre.feats.protocols import Protocol, frame_shift_of, read_pieces
from timbre.feats.utterances import Utterance, list_utterances, read_utterances
from timbre.utils.missing import Allowed, check_missing, count_allowed
from timbre.utils.parts import ItemT, Part, Result, kept_parts, list_parts, make_parts

if TYPE_CHECKING:
    from timbre.embedding.extract import Extraction, ExtractOptions, Read

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
) -> None:
    """Writes OUT_STEM.ark and OUT_STEM.scp, by the network in MODEL_DIR; see extract_embeddings.py.

    The ranks of torchrun share the parts, by their frames.

    Raises:
        DataError: more than ALLOW_MISSING utterances have none: OUT_STEM.missing lists them
    """
    shift = frame_shift_of(data)

    def read(items: Sequence[Utterance]) -> "Iterator[Read]":
        return read_pieces(items, nj, protocol, shift)

    recipe = f"embeddings {_VERSION} {protocol} {shift}"
    list_items = partial(list_utterances, data)
    lengths = read_numbers(data.path / "utt2num_frames") if data.has("utt2num_frames") else {}
    dump_vectors(
        model_dir, list_items, read, out_stem, options, device, recipe, allow_missing, protocol.num_pieces, lengths
    )


def dump_vectors(
    model_dir: Path,
    list_items: Callable[[NormalizeOptions], Sequence[ItemT]],
    read: "Callable[[Sequence[ItemT]], Iterator[Read]]",
    out_stem: Path,
    options: "ExtractOptions",
    device: str,
    recipe: str,
    allow_missing: Allowed = 0,
    num_pieces: int = 1,
    lengths: Mapping[str, float] = {},
    kind: str = "utterances",
) -> None:
    """Writes OUT_STEM.ark and OUT_STEM.scp, embeddings by the network in MODEL_DIR.

    Args:
        model_dir: what steps/train.py wrote
        list_items: what to embed, normalised as the model wants it
        read: gives (name, features) of such, in order, or what is wrong with them
        out_stem: where to write; the parts lie beside it
        options: of extraction
        device: cpu, cuda or cuda:N; under torchrun, cpu or cuda
        recipe: what else the embeddings follow from, see `kept_parts`
        allow_missing: how many may have none
        num_pieces: pieces of an item, for the progress bar
        lengths: frames of items, as far as they are known, for equal shares of the ranks
        kind: what the items are

    Raises:
        DataError: more than ALLOW_MISSING have none: OUT_STEM.missing lists them
    """
    import torch

    from timbre.embedding.extract import device_named, extract_parts
    from timbre.nnet.model import load_model
    from timbre.training.distributed import join_world

    model = sha256((model_dir / "config.yaml").read_bytes() + (model_dir / "final.pt").read_bytes()).hexdigest()
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    with join_world(device if ranks > 1 else "cpu") as world:
        where = world.device if ranks > 1 else device_named(device)
        network, normalization = load_model(model_dir, where)
        items = list_items(normalization)
        count_allowed(allow_missing, len(items))

        def again(items: Sequence[ItemT], folder: Path) -> Result:
            return _write(next(extract_parts(network, [read(items)], options)), folder)

        recipe = f"{recipe} {options} {model} {where.type} {torch.__version__}"
        given = _folder(out_stem), items, recipe, _MEAN_SIZE
        with kept_parts(*given) if world.leads else nullcontext(list_parts(*given)) as parts:
            world.wait()  # until the one that leads has tidied up there
            share = deal_by_length(parts, world.size, lengths)[world.rank]
            left = [part for part in share if not part.is_made(again)]
            readers = (read(part.items) for part in left)
            total = sum(len(part.items) for part in left) * num_pieces
            for part, extraction in zip(left, extract_parts(network, readers, options, total), strict=True):
                told: Result = {}
                with part.writing(told) as folder:
                    told |= _write(extraction, folder)
            world.wait()
            if world.leads:
                results = [result for part in parts if (result := part.result()) is not None]
                _log_lengths(results, network.min_frames, options)
                _collect(parts, results, out_stem, len(items), allow_missing, "embedding", kind)


def _log_lengths(results: Sequence[Result], min_frames: int, options: "ExtractOptions") -> None:
    """Says which items were shorter or longer than the network takes."""
    from timbre.embedding.extract import Extraction

    all_parts = Extraction()
    for result in results:
        all_parts.repeated += result["repeated"]
        all_parts.windowed += result["windowed"]
    all_parts.log_lengths(min_frames, options.max_frames)


def deal_by_length(parts: Sequence[Part[ItemT]], number: int, lengths: Mapping[str, float]) -> list[list[Part[ItemT]]]:
    """PARTS in NUMBER shares of about as many frames: the longest first, each to the share that has the least.

    An item that LENGTHS does not know counts as one frame. The parts of a share are in the order that they had.
    """
    shares: list[list[int]] = [[] for _ in range(number)]
    totals = [0.0] * number
    sizes = [sum(lengths.get(item.name, 1) for item in part.items) for part in parts]
    for index in sorted(range(len(parts)), key=lambda index: -sizes[index]):
        least = totals.index(min(totals))
        shares[least].append(index)
        totals[least] += sizes[index]
    return [[parts[index] for index in sorted(share)] for share in shares]


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
    parts: Sequence[Part[ItemT]],
    results: Sequence[Result],
    out_stem: Path,
    num: int,
    allowed: Allowed,
    what: str,
    kind: str = "utterances",
) -> None:
    """Writes the vectors of all parts, sorted by their names."""
    failures = {utt: reason for result in results for utt, reason in result["failures"].items()}
    check_missing(failures, num, allowed, out_stem.with_name(f"{out_stem.name}.missing"), what, kind)
    ids: list[str] = []
    vectors: NDArray[np.float32] | None = None  # of all parts: they are copied once, for they may be millions
    total = sum(result["num_vectors"] for result in results)
    for part, result in zip(parts, results, strict=True):
        if result["num_vectors"]:
            names, block = read_vectors(part.folder / f"{_NAME}.ark")
            if vectors is None:
                vectors = np.empty((total, block.shape[1]), np.float32)
            vectors[len(ids) : len(ids) + len(names)] = block
            ids += names
    assert vectors is not None, "check_missing has let some through"
    order = sorted(range(len(ids)), key=ids.__getitem__)
    if order != list(range(len(ids))):
        ids, vectors = [ids[row] for row in order], vectors[order]
    write_vectors(out_stem, ids, vectors)
