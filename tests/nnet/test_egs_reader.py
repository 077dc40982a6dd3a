"""Reading egs back: every example once an epoch; the same batches for any ranks, threads and interruptions."""

import itertools
from collections import Counter
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import torch
from egs_corpus import write_small_egs

from steps.feats.egs_format import Manifest
from steps.nnet.egs import Batch, EgsReader, Position, check_egs, read_valid
from steps.utils.errors import DataError


@pytest.fixture(scope="module")
def egs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("egs_reader") / "egs"
    write_small_egs(path, ark_megabytes=0.1)
    return path


def _reader(egs: Path, batch_size: int = 16, **options: object) -> EgsReader:
    return EgsReader(egs, Manifest.read(egs), batch_size, 1, **options)


def _take(reader: EgsReader, number: int) -> list[Batch]:
    return list(itertools.islice(reader, number))


def _equal(one: list[Batch], other: list[Batch]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a.feats, b.feats) and torch.equal(a.labels, b.labels) for a, b in pairs)


def _bytes(batches: list[Batch]) -> list[tuple[bytes, int]]:
    return [
        (feats.numpy().tobytes(), int(label)) for b in batches for feats, label in zip(b.feats, b.labels, strict=True)
    ]


def _all_examples(egs: Path) -> list[tuple[bytes, int]]:
    """Examples and labels as kaldiio reads them."""
    examples = []
    for path in egs.glob("egs.*.ark"):
        labels = [int(line.split()[1]) for line in path.with_suffix(".spk").open()]
        matrices = [matrix.tobytes() for _, matrix in kaldiio.load_ark(str(path))]
        examples += list(zip(matrices, labels, strict=True))
    return examples


def test_an_epoch_has_every_example_once_but_for_those_left_out(egs: Path) -> None:
    reader = _reader(egs)
    read, stored = _bytes(_take(reader, reader.batches_per_epoch)), _all_examples(egs)
    assert len(read) == len(stored) - reader.left_out
    assert Counter(read) <= Counter(stored)
    assert reader.position == Position(1, 0)


def test_epochs_differ_and_the_seed_decides(egs: Path) -> None:
    reader = _reader(egs)
    number = reader.batches_per_epoch
    batches = _take(reader, 2 * number)
    assert not _equal(batches[:number], batches[number:])
    assert _equal(batches, _take(_reader(egs, threads=3), 2 * number))
    other = EgsReader(egs, Manifest.read(egs), 16, 2)
    assert not _equal(batches[:number], _take(other, number))


def test_chunk_lengths_are_mixed(egs: Path) -> None:
    reader = _reader(egs)
    lengths = [batch.feats.shape[1] for batch in _take(reader, reader.batches_per_epoch)]
    changes = sum(a != b for a, b in itertools.pairwise(lengths))
    assert changes > len(lengths) / 2


@pytest.mark.parametrize("done", [0, 1, 7, 40])
def test_reading_goes_on_from_a_position(egs: Path, done: int) -> None:
    reader = _reader(egs)
    _take(reader, done)
    assert reader.position == Position(*divmod(done, reader.batches_per_epoch))
    assert _equal(_take(_reader(egs, position=reader.position), 5), _take(_reader(egs), done + 5)[done:])


def test_ranks_share_every_batch(egs: Path) -> None:
    whole = _take(_reader(egs), 20)
    parts = [_take(_reader(egs, rank=rank, world_size=4), 20) for rank in range(4)]
    joined = [
        Batch(torch.cat([part.feats for part in row]), torch.cat([part.labels for part in row]))
        for row in zip(*parts, strict=True)
    ]
    assert _equal(whole, joined)


@pytest.mark.parametrize("compression", ["CM2", "CM3"])
def test_compressed_egs_decode_as_kaldi_does(tmp_path: Path, compression: str) -> None:
    manifest = write_small_egs(tmp_path / "egs", compression=compression, num_valid_utts=40)
    (batch,) = read_valid(tmp_path / "egs", manifest)
    matrices = [matrix for _, matrix in kaldiio.load_ark(str(tmp_path / "egs" / "valid.1.ark"))]
    assert batch.feats.numpy() == pytest.approx(np.stack(matrices), abs=1e-5)


def test_batches_that_cannot_be_are_refused(egs: Path) -> None:
    with pytest.raises(DataError, match="cannot be shared evenly by 3 ranks"):
        _reader(egs, world_size=3)
    with pytest.raises(DataError, match="no ark fills a batch of 100000 examples"):
        _reader(egs, batch_size=100_000)


def test_damaged_egs_are_named(tmp_path: Path) -> None:
    egs = tmp_path / "egs"
    manifest = write_small_egs(egs)
    check_egs(egs, manifest, checksums=True)
    ark, labels = egs / "egs.1.ark", egs / "egs.1.spk"
    content, label_lines = ark.read_bytes(), labels.read_bytes()

    ark.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    check_egs(egs, manifest)
    with pytest.raises(DataError, match=r"egs\.1\.ark: .*sha256"):
        check_egs(egs, manifest, checksums=True)
    ark.write_bytes(content[:-7])
    with pytest.raises(DataError, match=r"egs\.1\.ark: \d+ bytes, but manifest.json says \d+"):
        check_egs(egs, manifest)
    with pytest.raises(DataError, match=r"egs\.1\.ark: has become shorter"):
        _take(EgsReader(egs, manifest, 4, 0), 1000)
    ark.unlink()
    with pytest.raises(DataError, match=r"egs\.1\.ark: no such file"):
        check_egs(egs, manifest)
    ark.write_bytes(content)

    cases = (
        (b"key 99\n" * manifest.train[0].examples, "99"),
        (b"key 1\n", "1 labels for"),
        (b"words\n", "key integer"),
    )
    for text, message in cases:
        labels.write_bytes(text)
        with pytest.raises(DataError, match=message):
            _take(EgsReader(egs, manifest, 4, 0), 1000)
    labels.write_bytes(label_lines)
    check_egs(egs, manifest, checksums=True)
