"""Two ranks with half a batch each do what one does with the whole of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from egs_corpus import write_configs, write_small_egs
from torch import nn

from steps.nnet.options import TrainOptions
from steps.nnet.train import train
from steps.nnet.train_log import read_log

OPTIONS = TrainOptions(
    batch_size=32,
    num_steps=20,
    warmup_steps=5,
    lr=0.01,
    log_interval=1,
    valid_interval=20,
    checkpoint_interval=10,
    keep=2,
    average=2,
    accumulation=2,
    tensorboard=False,
    amp="none",
    device="cpu",
)
# BatchNorm sees the examples of its own rank alone; without it, the gradients are the same
SCRIPT = """
import sys
from pathlib import Path
from torch import nn
nn.BatchNorm1d = lambda *args, **kwargs: nn.Identity()
from steps.nnet.options import TrainOptions
from steps.nnet.train import train
train(*map(Path, sys.argv[1:]), {options})
"""


def test_two_ranks_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_small_egs(tmp_path / "egs")
    (tmp_path / "script.py").write_text(SCRIPT.format(options=OPTIONS))
    configs = write_configs(tmp_path / "conf")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = map(str, (tmp_path / "script.py", tmp_path / "egs", tmp_path / "two", *configs))
    subprocess.run([*command, *arguments], check=True, timeout=120)
    monkeypatch.setattr(nn, "BatchNorm1d", lambda *_, **__: nn.Identity())
    train(tmp_path / "egs", tmp_path / "one", *configs, OPTIONS)

    one, two = (read_log(tmp_path / name / "log.jsonl") for name in ("one", "two"))
    assert len(one) == len(two) == 20
    for key in ("loss", "accuracy", "lr"):
        assert [line[key] for line in two] == pytest.approx([line[key] for line in one], abs=1e-4)
    assert two[-1]["valid_loss"] == pytest.approx(one[-1]["valid_loss"], abs=1e-3)
    assert one[-1]["loss"] < one[0]["loss"] - 0.5
    assert (tmp_path / "two" / "final.pt").is_file()
