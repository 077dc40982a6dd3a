"""Made voices, data directories of them, and networks that were trained on nothing."""

from pathlib import Path

import soundfile
import torch

from steps.compute_vad import compute_vad
from steps.extract_embeddings import extract_embeddings
from timbre.corpora.small_trees import hum
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.feats.dump_feats import dump_features
from timbre.feats.options import FbankOptions, FrameOptions
from timbre.nnet import checkpoint
from timbre.nnet.model import write_config
from timbre.nnet.network import build_network

FBANK = FbankOptions(sample_frequency=8000, num_mel_bins=20, snip_edges=False)
NETWORK = {
    "trunk": {"class_path": "XvectorTdnn", "init_args": {"channels": [16, 16, 16, 16, 24]}},
    "pooling": "StatisticsPooling",
    "embedding_dim": 12,
}


def write_data(path: Path, speakers: range, utts: int) -> Path:
    wavs = {}
    for speaker in speakers:
        for number in range(utts):
            utt = f"s{speaker:02d}-{number}"
            wavs[utt] = str(path / "wav" / f"{utt}.wav")
            (path / "wav").mkdir(parents=True, exist_ok=True)
            soundfile.write(wavs[utt], hum(speaker, 100 * speaker + number, 0.8 + 0.2 * number, 8000), 8000)
    write_table(path / "wav.scp", wavs)
    write_table(path / "utt2spk", {utt: utt.split("-")[0] for utt in wavs})
    return path


def embed(data: Path, options: FrameOptions, model: Path) -> Path:
    """What stages 2 and 6 make: features, VAD, embeddings in DATA/xvector.scp."""
    dump_features(DataDir.read(data), options, 1)
    compute_vad(data, nj=1)
    extract_embeddings(model, data, data / "xvector", nj=1)
    return data / "xvector.scp"


def write_model(path: Path, feat_dim: int) -> Path:
    torch.manual_seed(0)
    network = build_network(NETWORK, feat_dim)
    path.mkdir()
    normalization = {"cmn": "sliding", "window": 50, "norm_vars": False, "vad": True}
    write_config({"network": network.config, "feat_dim": feat_dim, "normalize": normalization}, path)
    checkpoint.save({"network": network.state_dict()}, path / "final.pt")
    return path
