"""Checkpoints: nothing in them runs, damage is found, averages are averages."""

import os
import pickle
import resource
from pathlib import Path

import pytest
import torch

from timbre.nnet import checkpoint
from timbre.utils.errors import DataError


class _Payload:
    """A pickle that makes a directory where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_payload_does_not_run(tmp_path: Path) -> None:
    torch.save({"network": _Payload(tmp_path / "owned")}, tmp_path / "step-1.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(_Payload(tmp_path / "owned")))
    for name in ("step-1.pt", "plain.pt"):
        with pytest.raises(DataError, match=f"{name}: refused"):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "owned").exists()


def test_damage_anywhere_is_found_or_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    weight = torch.randn(100, 100)
    checkpoint.save({"weight": weight}, path)
    whole = path.read_bytes()
    found = 0
    for place in range(0, len(whole), 997):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            assert torch.equal(checkpoint.load(path)["weight"], weight), place
        except DataError as error:
            assert error.path == path
            found += 1
    assert found >= 40  # as many as lie in the weights
    for content in (b"", b"no zip", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.pt"):
            checkpoint.load(path)
    torch.save([1], path)
    with pytest.raises(DataError, match="not a checkpoint"):
        checkpoint.load(path)


def test_the_newest_that_can_be_read_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert checkpoint.load_newest(tmp_path) is None
    for step in (9, 10, 11):
        checkpoint.save({"step": step}, checkpoint.checkpoint_path(tmp_path, step))
    newest = checkpoint.checkpoint_path(tmp_path, 11)
    newest.write_bytes(newest.read_bytes()[:100])
    state = checkpoint.load_newest(tmp_path)
    assert state is not None and state["step"] == 10
    assert str(newest) in caplog.text
    assert not newest.exists() and newest.with_suffix(".damaged").exists()


def test_pruning_forgets_interruptions(tmp_path: Path) -> None:
    kept = []
    for step in (10, 20, 23, 30, 31, 36, 40, 50, 57):
        checkpoint.save({"step": step}, checkpoint.checkpoint_path(tmp_path, step))
        checkpoint.prune(tmp_path, keep=3, interval=10)
        kept.append([checkpoint.step_of(path) for path in checkpoint.list_checkpoints(tmp_path)])
    assert kept[2:7] == [[10, 20, 23], [10, 20, 30], [20, 30, 31], [20, 30, 36], [20, 30, 40]]
    assert kept[-1] == [40, 50, 57]
    checkpoint.prune(tmp_path, keep=1, interval=10)
    assert [checkpoint.step_of(path) for path in checkpoint.list_checkpoints(tmp_path)] == [57]


def test_an_average_is_the_mean_of_weights_and_the_last_of_counters(tmp_path: Path) -> None:
    networks = [{"weight": torch.randn(3, 4), "steps": torch.tensor(number)} for number in range(3)]
    paths = [tmp_path / f"step-{number}.pt" for number in range(3)]
    for network, path in zip(networks, paths, strict=True):
        checkpoint.save({"network": network}, path)
    average = checkpoint.average(paths)
    assert torch.allclose(average["weight"], torch.stack([network["weight"] for network in networks]).mean(0))
    assert average["steps"] == 2
    checkpoint.save({"network": {"weight": torch.randn(3, 5), "steps": torch.tensor(0)}}, paths[0])
    with pytest.raises(DataError, match="not the same network"):
        checkpoint.average(paths)
    checkpoint.save({"weights": 1}, paths[0])
    with pytest.raises(DataError, match="holds no network"):
        checkpoint.average(paths)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save({"step": 1}, path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # as good as a full disk, but for root too
    try:
        with pytest.raises(DataError, match=r"a\.pt: cannot write"):
            checkpoint.save({"weight": torch.randn(100_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert checkpoint.load(path) == {"step": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("content, said", [(b"", "damaged: it is empty"), (b"junk\n", "damaged: it is not what torch")])
def test_what_is_no_checkpoint_is_said_in_words(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(DataError, match=said):
        checkpoint.load(tmp_path / "x.pt")
