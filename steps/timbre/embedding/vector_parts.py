"""Vectors of all utterances of a data directory, in parts that are kept beside OUT_STEM.ark: embeddings and statistics.

Called by extract_embeddings.py, extract_statistics.py and, for windows, diarization/window_feats.py.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
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
from timbre.feats.pieces import Cutter, read_pieces
from timbre.feats.protocols import Protocol
from timbre.feats.utterances import Utterance, list_utterances, read_utterances
from timbre.feats.vad import VadOptions
from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.missing import Allowed, check_missing, count_allowed
from timbre.utils.parts import ItemT, Part, Result, kept_parts, list_parts, make_parts

if TYPE_CHECKING:
    from timbre.embedding.extract import Extraction, ExtractOptions, Marked

log = logging.getLogger(__name__)

_VERSION = 1  # of what is computed: another makes everything anew
_MEAN_SIZE = 2048  # utterances in a part
_NAME = "xvector"  # of the ark in a part


@dataclass(frozen=True)
class Target:
    """Embeddings that go into files of their own: stem.ark and stem.scp, with the parts beside them.

    recipe: what the embeddings follow from beside model, options and what is embedded, see `kept_parts`; num_pieces: of
    an item, for the progress bar
    """

    stem: Path
    recipe: str
    num_pieces: int = 1


def dump_embeddings(
    model_dir: Path,
    data: DataDir,
    stems: Mapping[Protocol, Path],
    options: "ExtractOptions",
    device: str,
    nj: int,
    allow_missing: Allowed = 0,
    vad: VadOptions = VadOptions(),
) -> None:
    """Writes STEM.ark and STEM.scp for each protocol, by the network in MODEL_DIR; see extract_embeddings.py.

    Each utterance is read once for all of them. The ranks of torchrun share the parts, by their frames.

    Raises:
        DataError: more than ALLOW_MISSING utterances have none: STEM.missing lists them
    """
    cutter = Cutter.of(data, list(stems), vad)
    protocols = {protocol.name: protocol for protocol in stems}

    def read(items: Sequence[Utterance], names: Sequence[str]) -> "Iterator[Marked]":
        return read_pieces(items, nj, [protocols[name] for name in names], cutter)

    list_items = partial(list_utterances, data)
    lengths = read_numbers(data.path / "utt2num_frames") if data.has("utt2num_frames") else {}
    targets = {}
    for protocol, stem in stems.items():
        how = f"{cutter.frames} {cutter.centred} {vad}" if protocol.recorded else f"{cutter.frames.shift}"
        targets[protocol.name] = Target(stem, f"embeddings {_VERSION} {protocol} {how}", protocol.num_pieces)
        size = cutter.frames.within(protocol.length)
        if protocol.is_cut and protocol.recorded and (short := sum(length <= size for length in lengths.values())):
            log.info("%s: %d of %d utterances are no longer, and whole", protocol.name, short, len(lengths))
    dump_vectors(model_dir, list_items, read, targets, options, device, allow_missing, lengths)


def dump_vectors(
    model_dir: Path,
    list_items: Callable[[NormalizeOptions], Sequence[ItemT]],
    read: "Callable[[Sequence[ItemT], Sequence[str]], Iterator[Marked]]",
    targets: Mapping[str, Target],
    options: "ExtractOptions",
    device: str,
    allow_missing: Allowed = 0,
    lengths: Mapping[str, float] = {},
    kind: str = "utterances",
) -> None:
    """Writes the embeddings of TARGETS by the network in MODEL_DIR.

    Args:
        model_dir: what steps/train.py wrote
        list_items: what to embed, normalised as the model wants it
        read: gives (name of a target, name, features) of such items, in order, or what is wrong with them, for those
            of the targets that it is told
        targets: by name
        options: of extraction
        device: cpu, cuda or cuda:N; under torchrun, cpu or cuda
        allow_missing: how many may have none
        lengths: frames of items, as far as they are known, for equal shares of the ranks
        kind: what the items are

    Raises:
        DataError: more than ALLOW_MISSING have none: STEM.missing of the target lists them
    """
    import torch

    from timbre.embedding.extract import Extraction, device_named, extract_parts
    from timbre.nnet.model import load_model
    from timbre.training.distributed import join_world

    model = sha256((model_dir / "config.yaml").read_bytes() + (model_dir / "final.pt").read_bytes()).hexdigest()
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    with join_world(device if ranks > 1 else "cpu") as world, ExitStack() as kept:
        where = world.device if ranks > 1 else device_named(device)
        network, normalization = load_model(model_dir, where)
        items = list_items(normalization)
        count_allowed(allow_missing, len(items))
        parts = {}
        for name, target in targets.items():
            recipe = f"{target.recipe} {options} {model} {where.type} {torch.__version__}"
            given = _folder(target.stem), items, recipe, _MEAN_SIZE
            parts[name] = kept.enter_context(kept_parts(*given)) if world.leads else list_parts(*given)
        world.wait()  # until the one that leads has tidied up there

        def again(items: Sequence[ItemT], folder: Path, name: str) -> Result:
            return _write(next(extract_parts(network, [read(items, [name])], options)).get(name, Extraction()), folder)

        first = next(iter(parts.values()))  # the items of a part are the same for every target
        mine = {id(part) for part in deal_by_length(first, world.size, lengths)[world.rank]}
        left: list[dict[str, Part[ItemT]]] = []
        for same in zip(*parts.values(), strict=True):
            if id(same[0]) in mine:
                named = zip(parts, same, strict=True)
                left.append({name: part for name, part in named if not part.is_made(partial(again, name=name))})
        left = [group for group in left if group]
        readers = (read(next(iter(group.values())).items, list(group)) for group in left)
        total = sum(len(part.items) * targets[name].num_pieces for group in left for name, part in group.items())
        for group, extractions in zip(left, extract_parts(network, readers, options, total), strict=True):
            for name, part in group.items():
                told: Result = {}
                with part.writing(told) as folder:
                    told |= _write(extractions.get(name, Extraction()), folder)
        world.wait()
        if world.leads:
            for name, target in targets.items():
                results = [result for part in parts[name] if (result := part.result()) is not None]
                _log_lengths(results, network.min_frames, options)
                _collect(parts[name], results, target.stem, len(items), allow_missing, "embedding", kind)


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
