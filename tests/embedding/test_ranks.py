"""Extraction by the ranks of torchrun: each makes some of the parts, and the ark is that of one process."""

import subprocess
import sys
from pathlib import Path

import numpy as np

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
# parts of about two utterances, so that both ranks have some; each rank says how many it made
SCRIPT = """
import os, sys
from pathlib import Path
from timbre.datadir.datadir import DataDir
from timbre.embedding import vector_parts
from timbre.embedding.extract import ExtractOptions
from timbre.feats.protocols import Protocol
vector_parts._MEAN_SIZE = 2
made, write = [], vector_parts._write
vector_parts._write = lambda extraction, folder: made.append(folder) or write(extraction, folder)
model, data, out = map(Path, sys.argv[1:])
data = DataDir.read(data, need_speakers=False)
stems = {Protocol.named("full"): out, Protocol.named("len0.3s_seen_whole"): out.with_name("short")}
vector_parts.dump_embeddings(model, data, stems, ExtractOptions(), "cpu", 1)
(out.parent / f"made{os.environ.get('RANK', '')}").write_text(str(len(made)))
"""


def test_two_ranks_write_what_one_process_writes(tmp_path: Path) -> None:
    data, model, script = tmp_path / "data", tmp_path / "model", tmp_path / "extract.py"
    for folder in (data, model, tmp_path / "one", tmp_path / "two"):
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
    subprocess.run([sys.executable, script, model, data, tmp_path / "one" / "x"], check=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, script, model, data, tmp_path / "two" / "x"], check=True)
    made = [int((tmp_path / "two" / f"made{rank}").read_text()) for rank in (0, 1)]
    assert min(made) > 0 and sum(made) == int((tmp_path / "one" / "made").read_text())
    for name in ("x.ark", "short.ark"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
