"""Made voices, data directories of them, and networks that were trained on nothing."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from steps.compute_vad import compute_vad
from steps.extract_embeddings import extract_embeddings
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


def voice(speaker: int, seed: int, seconds: float, rate: int = 8000) -> np.ndarray:
    """A hum of the speaker's pitch with her resonances, pauses before and after it, and noise."""
    random, drawn = np.random.default_rng(seed), np.random.default_rng(1000 + speaker)
    time = np.arange(int(seconds * rate)) / rate
    pitch = drawn.uniform(90, 250) * random.uniform(0.97, 1.03)
    gains = drawn.uniform(0, 1, 12) * random.uniform(0.8, 1.2, 12)
    sound = sum(gain * np.sin(2 * np.pi * pitch * (order + 1) * time) for order, gain in enumerate(gains))
    pause = np.zeros(rate // 4)
    samples = np.concatenate([pause, sound, pause])
    return 0.05 * samples + random.normal(0, 0.0005, len(samples))


def write_data(path: Path, speakers: range, utts: int) -> Path:
    wavs = {}
    for speaker in speakers:
        for number in range(utts):
            utt = f"s{speaker:02d}-{number}"
            wavs[utt] = str(path / "wav" / f"{utt}.wav")
            (path / "wav").mkdir(parents=True, exist_ok=True)
            soundfile.write(wavs[utt], voice(speaker, 100 * speaker + number, 0.8 + 0.2 * number), 8000)
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
