"""A small pack without a trained network, made in a blink: embeddings are a random map of the mean of features."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from timbre.corpora.small_trees import hum
from timbre.embedding.embedder import Front
from timbre.export.front_settings import front_settings
from timbre.export.onnx_graph import FLOAT, Graph, value
from timbre.export.whole_graph import front_model
from timbre.feats.options import FbankOptions, FrameOptions, MelspecOptions, MfccOptions, SpectrogramOptions
from timbre.feats.vad import VadOptions
from timbre.runtime.normalize import NormalizeOptions

RATE = 8000
DIM = 12
FEATS = FbankOptions(sample_frequency=RATE, num_mel_bins=20, snip_edges=False)
KINDS: dict[str, FrameOptions] = {
    "fbank": FEATS,
    "snipped": replace(FEATS, snip_edges=True),
    "energy": FbankOptions(sample_frequency=RATE, num_mel_bins=20, use_energy=True, htk_compat=True, energy_floor=10),
    "magnitude": replace(FEATS, use_power=False, remove_dc_offset=False, subtract_mean=True, use_log_fbank=True),
    "mfcc": MfccOptions(sample_frequency=RATE, num_mel_bins=20, num_ceps=15, snip_edges=False),
    "mfcc_c0": MfccOptions(sample_frequency=RATE, num_mel_bins=20, use_energy=False, htk_compat=True),
    "spectrogram": SpectrogramOptions(sample_frequency=RATE, raw_energy=False, round_to_power_of_two=False),
    "melspec": MelspecOptions(sample_frequency=RATE, num_mel_bins=20, preemphasis_coefficient=0.97),
    "librosa": MelspecOptions(
        sample_frequency=RATE, frame_shift=6.25, round_to_power_of_two=False, window_type="hanning", num_mel_bins=20,
        filters="slaney", log="decibel", log_floor=1e-10, range_db=60, num_ceps=12,
    ),
    "resemblyzer": MelspecOptions(
        sample_frequency=RATE, num_mel_bins=20, filters="slaney", edges="zeros", log="none", level=-30,
        trailing_frames=2, window_type="hanning", round_to_power_of_two=False,
    ),
    "redimnet": MelspecOptions(sample_frequency=RATE, num_mel_bins=20, standardize=True, subtract_mean=True),
}  # fmt: skip


def voice(seconds: float, seed: int = 0) -> np.ndarray:
    """Made speech with pauses, at 16-bit resolution."""
    time = np.arange(round(seconds * RATE)) / RATE
    wave = hum(seed, seed, max(seconds, 0.05), RATE)[: len(time)]
    wave = np.pad(wave, (0, len(time) - len(wave))) * (np.sin(2 * np.pi * time / 1.7) > -0.5)
    noise = 1e-3 * np.random.default_rng(seed).standard_normal(len(time))
    return (np.rint((wave + noise) * 32768) / 32768).clip(-1, 1 - 2**-15).astype(np.float32)


def mean_network(feat_dim: int, dim: int = DIM, seed: int = 0) -> onnx.ModelProto:
    """Features (B, T, feat_dim) -> the mean of their squares through a random map, (B, dim)."""
    g = Graph()
    mean = g("ReduceMean", g("Mul", "feats", "feats"), [1], keepdims=0)
    weights = np.random.default_rng(seed).standard_normal((feat_dim, dim)).astype(np.float32)
    g.nodes.append(onnx.helper.make_node("MatMul", [mean, g.constant(weights)], ["embedding"]))
    inputs = [value("feats", FLOAT, ("batch", "frames", feat_dim))]
    return g.model("mean", inputs, [value("embedding", FLOAT, ("batch", dim))])


def tiny_members(
    feats: FrameOptions = FEATS,
    normalize: NormalizeOptions = NormalizeOptions(window=50),
    vad: VadOptions = VadOptions(),
    max_frames: int = 12000,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Settings and members of the pack."""
    front, arrays = front_settings(Front(feats, vad), normalize, 5, max_frames)
    content = io.BytesIO()
    np.savez(content, **arrays, plda_mean=np.zeros(DIM))
    members = {
        "front.onnx": front_model(feats).SerializeToString(),
        "model_feats.onnx": mean_network(feats.dim).SerializeToString(),
        "arrays.npz": content.getvalue(),
    }
    models = {"fp32": {"front": "front.onnx", "network": "model_feats.onnx"}}
    settings = {
        "format": "timbre-pack", "version": 1, "name": "tiny", "rate": int(feats.sample_frequency), "dim": DIM,
        "vad": "energy", "min_speech": 0.2, "front": front, "models": models, "card": {},
    }  # fmt: skip
    return settings, members


def write_tiny(path: Path, settings: Mapping[str, Any], members: Mapping[str, bytes], seal: bool = True) -> Path:
    """PATH, a zip; with SEAL the checksums of MEMBERS are put in."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    content = {**settings, "files": sums} if seal else settings
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("pack.json", json.dumps(content))
        for name, member in members.items():
            file.writestr(name, member)
    return path
