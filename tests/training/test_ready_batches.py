"""Batches that are made ready ahead of the network: the same ones, in order, and nothing left running."""

import itertools
import threading
from pathlib import Path

import pytest
import torch

from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import EgsReader, Position
from timbre.egs.options import BatchOptions
from timbre.training.front_end import FrontEnd, ReadyBatches
from timbre.utils.errors import DataError
from wave_corpus import write_wave_egs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def egs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ready") / "egs"
    write_wave_egs(folder)
    return folder


def _reader(egs: Path, position: Position = Position()) -> EgsReader:
    batches = BatchOptions(min_frames=15, max_frames=25)
    return EgsReader(egs, Manifest.read(egs), 16, 1, batches=batches, position=position)


def test_batches_and_positions_are_those_of_the_reader(egs: Path) -> None:
    manifest, reader = Manifest.read(egs), _reader(egs)
    front_end = FrontEnd(manifest, None, CPU)
    wanted = [(front_end(batch), reader.position) for batch in itertools.islice(reader, 7)]
    ready = ReadyBatches(_reader(egs), front_end, CPU)
    for (batch, position), found in zip(wanted, ready, strict=False):
        assert torch.equal(batch.feats, found.feats) and torch.equal(batch.labels, found.labels)
        assert ready.position == position
    assert ready.waited > 0
    going_on = ReadyBatches(_reader(egs, wanted[3][1]), front_end, CPU)
    assert going_on.position == wanted[3][1]
    assert torch.equal(next(iter(going_on)).feats, wanted[4][0].feats)


def test_nothing_runs_when_training_stops(egs: Path) -> None:
    for _ in ReadyBatches(_reader(egs), FrontEnd(Manifest.read(egs), None, CPU), CPU):
        break
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith(("front-end", "egs"))]


def test_what_cannot_be_read_is_said_in_its_turn(egs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    front_end, calls = FrontEnd(Manifest.read(egs), None, CPU), itertools.count()

    def failing(self: FrontEnd, feats: torch.Tensor) -> torch.Tensor:
        if next(calls) == 2:
            raise DataError("an example is damaged")
        return feats[:, :4, None].float()

    monkeypatch.setattr(type(front_end._extractor), "batch", failing)
    seen = 0
    with pytest.raises(DataError, match="an example is damaged"):
        for _ in ReadyBatches(_reader(egs), front_end, CPU):
            seen += 1
    assert seen == 2
