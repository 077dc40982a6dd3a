"""What ranks tell each other before the first step, and what bounds a validation."""

import dataclasses
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from egs_corpus import DIM, write_configs, write_small_egs
from timbre.egs import egs_reader
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import EgsReader
from timbre.nnet import checkpoint
from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.nnet.objectives import build_objective
from timbre.training.distributed import World
from timbre.training.egs_check import check_together
from timbre.training.options import GPU_LENGTH_STEP, TrainOptions
from timbre.training.validation import COSTS, THRESHOLD, Validation
from timbre.utils.errors import DataError

SIZE, READING, TIMEOUT = 2, 0.1, 1.0  # ranks; seconds to read a file, and until a collective operation gives up


@pytest.fixture(scope="module")
def egs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("agreement") / "egs"
    write_small_egs(path, ark_megabytes=0.05)
    return path


@dataclasses.dataclass(frozen=True)
class Thread(World):
    """A rank that is a thread; its collective operations time out."""

    meeting: threading.Barrier = dataclasses.field(default_factory=lambda: threading.Barrier(SIZE, timeout=TIMEOUT))
    values: dict[int, Any] = dataclasses.field(default_factory=dict)

    def gather(self, value: Any) -> list[Any]:
        self.values[self.rank] = value
        self.meeting.wait()
        found = [self.values[rank] for rank in range(self.size)]
        self.meeting.wait()
        return found


def on_ranks(work: Any) -> list[Any]:
    """What WORK gives, or raises, on each of two ranks."""
    leader = Thread(0, SIZE, torch.device("cpu"))
    with ThreadPoolExecutor(SIZE) as pool:
        futures = [pool.submit(work, dataclasses.replace(leader, rank=rank)) for rank in range(SIZE)]
        return [future.exception() or future.result() for future in futures]


def test_no_rank_waits_for_all_egs_to_be_read(egs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, read = Manifest.read(egs), []

    def slow(path: Path) -> str:
        read.append(path)
        time.sleep(READING)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(egs_reader, "_sha256", slow)
    arks = [*manifest.train, *manifest.valid]
    assert (
        2 * READING * len(arks) > TIMEOUT > 2 * 2 * READING
    )  # one rank that read them all would be waited for too long
    assert on_ranks(lambda world: check_together(egs, manifest, world, True)) == [None, None]
    assert sorted(read) == sorted(egs / f"{ark.name}{end}" for ark in arks for end in (".ark", ".spk"))
    wrong = dataclasses.replace(arks[3], sha256="0" * 64)
    broken = dataclasses.replace(manifest, train=[*arks[:3], wrong], valid=[])
    for error in on_ranks(lambda world: check_together(egs, broken, world, True)):
        assert isinstance(error, DataError) and error.path == egs / f"{wrong.name}.ark"


def test_a_checkpoint_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine sees a new file later; a rank takes the step it is told, not the newest that it sees."""
    (tmp_path / "checkpoints").mkdir()
    for step in (10, 30):
        checkpoint.save({"step": step}, checkpoint.checkpoint_path(tmp_path, step))
    late = threading.Timer(0.3, checkpoint.save, ({"step": 20}, checkpoint.checkpoint_path(tmp_path, 20)))
    late.start()
    assert checkpoint.load_step(tmp_path, 20)["step"] == 20
    late.join()
    monkeypatch.setattr(checkpoint, "PATIENCE", 0.2)
    with pytest.raises(DataError, match=r"step-0000040\.pt: no such file"):
        checkpoint.load_step(tmp_path, 40)


def test_validation_holds_no_more_than_a_step_and_searches_for_no_kernels(
    egs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest.read(egs)
    longest = max(ark.frames for ark in manifest.train)
    network = build_network(write_configs(tmp_path)[0], DIM)
    seen: list[tuple[int, bool]] = []

    def note(_: SpeakerNetwork, inputs: tuple[Tensor, ...]) -> None:
        seen.append((inputs[0].shape[0] * inputs[0].shape[1], torch.backends.cudnn.benchmark))

    network.register_forward_pre_hook(note)
    objective = build_objective({"class_path": "Softmax"}, network.embedding_dim, manifest.num_speakers)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    for batch_size in (1, 4):
        figures = Validation(egs, manifest, batch_size, network.min_frames)(
            network, objective, torch.device("cpu"), None
        )
        assert {*figures} == {"valid_loss", "valid_accuracy", "valid_eer", THRESHOLD, *COSTS}
        assert max(size for size, _ in seen) <= batch_size * longest
        seen.clear()
    Validation(egs, manifest, 4, network.min_frames)(network, objective, torch.device("cpu"), None)
    assert not any(searches for _, searches in seen) and torch.backends.cudnn.benchmark


def test_random_lengths_are_on_a_grid_on_a_gpu(egs: Path) -> None:
    """So that the search for kernels ends; on a CPU, and with deterministic kernels, they are as they were."""
    options = TrainOptions(batch_size=4, min_frames=17, max_frames=40)
    assert options.batches_on("cpu") == options.batch_options
    assert dataclasses.replace(options, deterministic=True).batches_on("cuda") == options.batch_options
    assert options.batches_on("cuda").length_step == GPU_LENGTH_STEP
    manifest, lengths = Manifest.read(egs), {}
    for step in (1, 8):
        batches = dataclasses.replace(options, length_step=step).batches_on("cuda")
        reader = EgsReader(egs, manifest, 4, 0, batches=batches)
        lengths[step] = [len(batch.feats[0]) for batch, _ in zip(reader, range(60), strict=False)]
    assert lengths[8] == [max(length - length % 8, 17) for length in lengths[1]]
    assert {*lengths[8]} <= {17, 24, 32, 40} and len({*lengths[1]}) > 8


def test_cores_are_shared_out_among_ranks() -> None:
    options = TrainOptions()
    assert [options.augment_jobs_of(*numbers) for numbers in ((1, 1), (2, 1), (16, 4), (16, 32), (96, 2))] == [
        1, 1, 3, 1, 16,
    ]  # fmt: skip
    assert dataclasses.replace(options, augment_jobs=5).augment_jobs_of(96, 2) == 5
