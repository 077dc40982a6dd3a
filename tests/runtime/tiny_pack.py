"""A small pack without a trained network, made in a blink: embeddings are a random map of the mean of features."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from timbre.embedding.embedder import Front
from timbre.export.front_settings import front_settings
from timbre.export.onnx_graph import FLOAT, Graph, value
from timbre.export.whole_graph import front_model
from timbre.feats.options import FbankOptions, FrameOptions
from timbre.feats.vad import VadOptions
from timbre.runtime.normalize import NormalizeOptions

FEATS = FbankOptions(sample_frequency=8000, num_mel_bins=20, snip_edges=False)
DIM = 12


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
