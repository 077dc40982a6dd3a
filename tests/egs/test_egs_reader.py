"""Reading egs back: every example once an epoch; the same batches for any ranks, threads and interruptions."""

import itertools
import resource
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import torch

from egs_corpus import write_small_egs
from timbre.egs import egs_files
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import Batch, EgsReader, Position, check_egs, read_valid
from timbre.egs.options import BatchOptions
from timbre.utils.errors import DataError

KINDS = {
    "shuffled": BatchOptions(),
    "shuffled, random length": BatchOptions(min_frames=11, max_frames=30),
    "speakers": BatchOptions("speakers", utts_per_speaker=2),
    "speakers, random length": BatchOptions("speakers", 2, max_utts_per_speaker=10, min_frames=5, max_frames=25),
    "pairs": BatchOptions("pairs"),
}


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


def test_an_epoch_has_every_example_once_but_for_those_left_out(tmp_path: Path) -> None:
    egs = tmp_path / "egs"
    write_small_egs(egs, ark_megabytes=0.1, min_frames=30, max_frames=30)  # of one length: none is cut
    reader = _reader(egs)
    assert len(Manifest.read(egs).train) > 5 and 0 < reader.left_out < 16
    read, stored = _bytes(_take(reader, reader.batches_per_epoch)), _all_examples(egs)
    assert len(read) == len(stored) - reader.left_out
    assert Counter(read) <= Counter(stored)
    assert reader.position == Position(1, 0)


def test_a_warning_says_that_many_are_left_out(egs: Path, caplog: pytest.LogCaptureFixture) -> None:
    _reader(egs, batch_size=14)
    assert not caplog.messages
    assert _reader(egs, batch_size=240, rank=0, world_size=2).left_out == 27
    _reader(egs, batch_size=240, rank=1, world_size=2)
    assert caplog.messages == [f"{egs}: 3.6 % of the examples (27) are in no batch of an epoch"]


@pytest.mark.parametrize("kind", ["shuffled", "shuffled, random length"])
def test_what_is_read_was_fetched_before(egs: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: set[tuple[Path, int]] = set()
    monkeypatch.setattr(egs_files, "FETCHED", 3000)

    def expect(file: egs_files._File, offset: int, size: int) -> None:
        fetched.update((file._path, place) for place in range(offset, offset + size))

    monkeypatch.setattr(egs_files._File, "expect", expect)
    monkeypatch.setattr(egs_files._File, "seems_cached", lambda file, offset, size: False)
    reader = _reader(egs, batches=KINDS[kind], rank=1, world_size=4, position=Position(0, 3))
    ahead = ThreadPoolExecutor(1)
    planned = [plan for plan in itertools.islice(reader._planned(ahead), 60) if plan.epoch == 0]
    ahead.shutdown()
    assert len(planned) == reader.batches_per_epoch - 3
    read: set[tuple[Path, int]] = set()
    monkeypatch.setattr(
        egs_files._File,
        "read_into",
        lambda file, out, offset: read.update((file._path, offset + place) for place in range(out.nbytes)),
    )
    for plan in planned:
        out = np.empty((4, plan.rows, 12), np.float32)
        reader._files.read(plan.examples, plan.starts, out)
    assert read <= fetched
    assert len(fetched) < 0.8 * 2 * sum(ark.num_bytes for ark in Manifest.read(egs).train)  # of two epochs begun


def test_what_is_in_the_page_cache_is_not_fetched_again(egs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arks = list(egs.rglob("*.ark"))
    assert all(path.read_bytes() for path in arks)
    expected: list[int] = []
    monkeypatch.setattr(egs_files._File, "expect", lambda file, offset, size: expected.append(offset))
    _take(_reader(egs), 5)
    assert not expected
    file, size = egs_files._File(arks[0]), arks[0].stat().st_size
    assert file.seems_cached(0, size) and not file.seems_cached(size, 10)


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


@pytest.mark.parametrize("kind", KINDS)
def test_reading_goes_on_from_a_position(egs: Path, kind: str) -> None:
    options = {"batches": KINDS[kind]}
    for done in (0, 1, 7, 40):
        reader = _reader(egs, **options)
        _take(reader, done)
        assert reader.position == Position(*divmod(done, reader.batches_per_epoch))
        resumed = _reader(egs, **options, position=reader.position, threads=3)
        assert _equal(_take(resumed, 5), _take(_reader(egs, **options), done + 5)[done:])


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_share_every_batch(egs: Path, kind: str) -> None:
    options = {"batches": KINDS[kind]}
    whole = _take(_reader(egs, **options), 20)
    parts = [_take(_reader(egs, **options, rank=rank, world_size=4), 20) for rank in range(4)]
    joined = [
        Batch(torch.cat([part.feats for part in row]), torch.cat([part.labels for part in row]))
        for row in zip(*parts, strict=True)
    ]
    assert _equal(whole, joined)


@dataclass
class Stored:
    """What lies in the arks, by key: "utt-start-number"."""

    frames: dict[bytes, tuple[str, int]]  # each frame: its utterance, and its place there
    labels: dict[str, int]  # of each utterance
    firsts: set[tuple[str, int]]  # frames that an example begins with
    lasts: set[tuple[str, int]]

    @classmethod
    def read(cls, egs: Path) -> "Stored":
        stored = cls({}, {}, set(), set())
        for path in egs.glob("egs.*.ark"):
            labels = dict(line.split() for line in path.with_suffix(".spk").open())
            for key, matrix in kaldiio.load_ark(str(path)):
                utt, start, _ = key.rsplit("-", 2)
                stored.labels[utt] = int(labels[key])
                stored.frames |= {row.tobytes(): (utt, int(start) + number) for number, row in enumerate(matrix)}
                stored.firsts.add((utt, int(start)))
                stored.lasts.add((utt, int(start) + len(matrix) - 1))
        return stored

    def place(self, feats: torch.Tensor, label: torch.Tensor) -> tuple[str, int]:
        """Where the frames of an example lie, one after the other, in an utterance of its speaker."""
        utt, first = self.frames[feats[0].numpy().tobytes()]
        assert [self.frames[row.tobytes()] for row in feats.numpy()] == [(utt, first + n) for n in range(len(feats))]
        assert self.labels[utt] == int(label)
        return utt, first


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_what_their_keys_say(egs: Path, kind: str) -> None:
    stored, options = Stored.read(egs), KINDS[kind]
    reader = _reader(egs, batches=options)
    found = _take(reader, 3 * reader.batches_per_epoch)
    cuts, shortest = [], min(ark.frames for ark in Manifest.read(egs).train)
    for batch in found:
        places = [stored.place(feats, label) for feats, label in zip(batch.feats, batch.labels, strict=True)]
        cuts += [((utt, first), (utt, first + batch.feats.shape[1] - 1)) for utt, first in places]
        labels = batch.labels.reshape(-1, 2)
        same = labels[:, 0] == labels[:, 1]
        if options.kind == "speakers":
            assert same.all() and len(labels[:, 0].unique()) == 8
        if options.kind == "pairs":
            assert same.tolist() == [True, False] * 4
        if options.kind != "shuffled":
            pairs = zip(places[::2], places[1::2], same, strict=True)
            assert all(one != other for (one, _), (other, _), of_one in pairs if of_one)
    lengths = {batch.feats.shape[1] for batch in found}
    if options.max_frames:
        assert options.min_frames in lengths and max(lengths) <= options.max_frames
        assert len(lengths) > 0.8 * (min(options.max_frames, shortest) - options.min_frames)
    elif options.kind != "shuffled":
        assert shortest in lengths and max(lengths) <= shortest + 5  # the shortest of 16
    if options.max_frames or options.kind != "shuffled":  # cut anywhere
        begin, end = (
            np.mean([ends[side] in known for ends in cuts]) for side, known in enumerate((stored.firsts, stored.lasts))
        )
        assert 0.02 < begin < 0.6 and 0.02 < end < 0.6


def test_no_batch_has_a_speaker_of_the_validation_trials(egs: Path) -> None:
    manifest = Manifest.read(egs)
    trained = {line.split()[0] for line in (egs / "spk2int").open()}
    tried = {utt.split("-")[0] for line in (egs / "valid_trials").open() for utt in line.split()[:2]}
    assert len(manifest.valid_speakers) == 2 and tried == {*manifest.valid_speakers}
    assert not tried & trained
    keys = [line.split()[0] for path in egs.glob("egs.*.spk") for line in path.open()]
    assert {key.split("-")[0] for key in keys} == trained


@pytest.mark.parametrize("compression", ["none", "CM2", "CM3"])
def test_only_some_rows_of_examples_can_be_read(tmp_path: Path, compression: str) -> None:
    manifest = write_small_egs(tmp_path / "egs", compression=compression)
    files = egs_files.EgsFiles(tmp_path / "egs", manifest)
    examples = np.random.default_rng(0).permutation(manifest.num_examples)[:40]
    lengths = files.lengths(examples)
    starts, frames = np.arange(40) % (lengths - 12), 12
    feats = np.empty((40, frames, files.dim), np.float32)
    files.read(examples, starts, feats)
    for row, (example, start, length) in enumerate(zip(examples, starts, lengths, strict=True)):
        whole = np.empty((1, length, files.dim), np.float32)
        files.read(np.array([example]), np.array([0]), whole)
        assert np.array_equal(feats[row], whole[0, start : start + frames])


def test_few_files_may_be_open(egs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, egs_files.OTHER_FILES + 3))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    monkeypatch.setattr(egs_files, "FEW_ARKS", 2)
    reader = _reader(egs, batches=KINDS["speakers"], threads=3)
    found = _take(reader, 10)
    assert raised == [(egs_files.OTHER_FILES + 3, egs_files.OTHER_FILES + 3)]
    assert len(Manifest.read(egs).train) > reader._files._open.cache_info().currsize == 3
    monkeypatch.undo()
    assert _equal(found, _take(_reader(egs, batches=KINDS["speakers"]), 10))


def test_utterances_are_told_apart() -> None:
    utts = [f"spk-{one}-utt{other}é;$".encode() for one in range(30) for other in range(30)]
    numbers = egs_files._number_utts([utt + b"-7-00%d" % number for number, utt in enumerate(utts)])
    assert len(np.unique(numbers)) == len(utts)
    wider = egs_files._number_utts([b"a-very-long-utterance-of-another-kind-1-0", *(utt + b"-123-0" for utt in utts)])
    assert (wider[1:] == numbers).all()


@pytest.mark.parametrize("compression", ["CM2", "CM3"])
def test_compressed_egs_decode_as_kaldi_does(tmp_path: Path, compression: str) -> None:
    manifest = write_small_egs(tmp_path / "egs", compression=compression, num_valid_utts=40)
    (batch,) = read_valid(tmp_path / "egs", manifest)
    matrices = [matrix for _, matrix in kaldiio.load_ark(str(tmp_path / "egs" / "valid.1.ark"))]
    assert batch.feats.numpy() == pytest.approx(np.stack(matrices), abs=1e-5)


def test_batches_that_cannot_be_are_refused(egs: Path) -> None:
    with pytest.raises(DataError, match="cannot be shared evenly by 3 ranks"):
        _reader(egs, world_size=3)
    with pytest.raises(DataError, match=r"egs: \d+ examples do not fill a batch of 100000"):
        _reader(egs, batch_size=100_000)
    with pytest.raises(DataError, match="cannot be shared evenly by 8 ranks"):
        _reader(egs, world_size=8, batches=BatchOptions("speakers", 4))
    with pytest.raises(DataError, match=r"egs: no batch of 200 speakers with 2 examples each: only 18 of 18 speakers"):
        _reader(egs, batch_size=400, batches=KINDS["speakers"])
    with pytest.raises(DataError, match="no batch of 4000 examples in balanced pairs"):
        _reader(egs, batch_size=4000, batches=KINDS["pairs"])
    with pytest.raises(DataError, match=r"egs: min_frames is 30, but examples have \d+ frames"):
        _reader(egs, batches=BatchOptions(min_frames=30, max_frames=40))


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
