"""Small random features with speakers that can be told apart, and egs of them, for the tests of egs and training."""

from pathlib import Path

import numpy as np

from timbre.datadir.ark import ArkWriter
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_writer import write_egs
from timbre.egs.options import EgsOptions
from timbre.runtime.normalize import NormalizeOptions

DIM = 12

NETWORK = """
trunk:
  class_path: XvectorTdnn
  init_args: {channels: [16, 16, 16, 16, 32], kernels: [5, 3, 3, 1, 1], dilations: [1, 2, 3, 1, 1]}
pooling: {class_path: StatisticsPooling}
embedding_dim: 16
"""
OBJECTIVE = "class_path: AamSoftmax\ninit_args: {margin: 0.1, warmup: {start: 0, end: 20}}\n"


def write_data_dir(path: Path, speakers: int = 20, utts: int = 6, frames: tuple[int, int] = (50, 120)) -> DataDir:
    """Features of each speaker have a covariance of their own, as sliding CMN takes means away; a tenth is unvoiced."""
    rng = np.random.default_rng(0)
    path.mkdir(parents=True)
    utt2spk = {}
    with ArkWriter(path / "feats.ark") as feats, ArkWriter(path / "vad.ark") as vad:
        for speaker in range(speakers):
            mixing = rng.normal(size=(DIM, DIM))
            for utt in range(utts):
                name = f"spk{speaker:02d}-utt{utt}" + "é;$" * (utt == 1)
                size = int(rng.integers(*frames))
                feats.write(name, (rng.normal(size=(size, DIM)) @ mixing).astype(np.float32))
                vad.write(name, (rng.random(size) < 0.9).astype(np.float32))
                utt2spk[name] = f"spk{speaker:02d}"
    write_table(path / "feats.scp", feats.scp)
    write_table(path / "vad.scp", vad.scp)
    write_table(path / "utt2spk", utt2spk)
    return DataDir.read(path)


def write_small_egs(path: Path, utts: int = 6, **options: object) -> Manifest:
    """Egs of write_data_dir's features, UTTS of a speaker, of 20 to 40 frames unless OPTIONS say otherwise."""
    data = write_data_dir(path.parent / f"{path.name}_data", utts=utts)
    settings = {"min_frames": 20, "max_frames": 40, "num_repeats": 3.0, "num_valid_speakers": 2, "num_valid_utts": 10}
    return write_egs(data, path, EgsOptions(**(settings | options)), NormalizeOptions(), nj=1, seed=0)


def write_configs(directory: Path) -> tuple[Path, Path]:
    """YAML files of a small network and of an objective."""
    directory.mkdir(parents=True, exist_ok=True)
    network, objective = directory / "network.yaml", directory / "objective.yaml"
    network.write_text(NETWORK)
    objective.write_text(OBJECTIVE)
    return network, objective
