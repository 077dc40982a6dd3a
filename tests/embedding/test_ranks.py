"""Extraction by the ranks of torchrun: each makes some of the parts, and the ark is that of one process."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from timbre.datadir.ark import ArkWriter
from timbre.datadir.tables import write_table
from timbre.nnet import checkpoint
from timbre.nnet.model import write_config
from timbre.nnet.network import build_network

NETWORK = {
    "trunk": {"class_path": "XvectorTdnn", "init_args": {"channels": [16, 16, 16, 16, 24]}},
    "pooling": "StatisticsPooling",
    "embedding_dim": 10,
}
# parts of about two utterances, so that both ranks have some; each rank says how many it made. With an argument more,
# rank 1 is killed at its third part, but not when it is started again.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from timbre.datadir.datadir import DataDir
from timbre.embedding import vector_parts
from timbre.embedding.extract import ExtractOptions
from timbre.feats.protocols import Protocol
vector_parts._MEAN_SIZE = 2
made, write = [], vector_parts._write
def counted(extraction, folder):
    first = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0" and os.environ["RANK"] == "1"
    if first and len(made) == 2 and sys.argv[4:]:
        os.kill(os.getpid(), signal.SIGKILL)
    made.append(folder)
    return write(extraction, folder)
vector_parts._write = counted
model, data, out = map(Path, sys.argv[1:4])
data = DataDir.read(data, need_speakers=False)
stems = {Protocol.named("full"): out, Protocol.named("len0.3s_seen_whole"): out.with_name("short")}
vector_parts.dump_embeddings(model, data, stems, ExtractOptions(), "cpu", 1)
(out.parent / f"made{os.environ.get('RANK', '')}").write_text(str(len(made)))
"""


@pytest.fixture(scope="module")
def extract(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Extracts embeddings in one process, or by torchrun with the given arguments, into a folder."""
    tmp_path = tmp_path_factory.mktemp("ranks")
    data, model, script = tmp_path / "data", tmp_path / "model", tmp_path / "extract.py"
    for folder in (data, model):
        folder.mkdir()
    generator = np.random.default_rng(0)
    with ArkWriter(data / "feats.ark") as feats:
        for number in range(20):
            feats.write(f"spk{number % 4}-utt{number:02d}", generator.normal(size=(40 + number, 12)))
    write_table(data / "feats.scp", feats.scp)
    write_table(data / "utt2spk", {utt: utt.split("-")[0] for utt in feats.scp})
    network = build_network(NETWORK, 12)
    normalization = {"cmn": "none", "window": 50, "norm_vars": False, "vad": False}
    write_config({"network": network.config, "feat_dim": 12, "normalize": normalization}, model)
    checkpoint.save({"network": network.state_dict()}, model / "final.pt")
    script.write_text(SCRIPT)

    def run(name: str, torchrun: Sequence[str] = (), dies: Sequence[str] = ()) -> Path:
        (out := tmp_path / name).mkdir()
        launcher = (
            ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *torchrun] if torchrun else []
        )
        environment = os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
        subprocess.run([sys.executable, *launcher, script, model, data, out / "x", *dies], check=True, env=environment)
        return out

    return run


def number_made(out: Path) -> list[int]:
    return [int(path.read_text()) for path in sorted(out.glob("made*"))]


def test_two_ranks_write_what_one_process_writes(extract: Callable[..., Path]) -> None:
    one, two = extract("one"), extract("two", ["--max-restarts", "0"])
    assert min(number_made(two)) > 0 and sum(number_made(two)) == number_made(one)[0]
    for name in ("x.ark", "short.ark"):
        assert (two / name).read_bytes() == (one / name).read_bytes()


def test_after_a_rank_is_lost_its_part_is_made_again_and_those_that_are_whole_stay(
    extract: Callable[..., Path],
) -> None:
    one, two = extract("whole"), extract("lost", ["--max-restarts", "1"], ["dies"])
    assert sum(number_made(two)) <= number_made(one)[0] - 2
    for name in ("x.ark", "short.ark"):
        assert (two / name).read_bytes() == (one / name).read_bytes()
