"""Every network of conf/network, exported: embeddings of audio by onnxruntime beside those of the recipe.

    python -m tests.export_parity                      # all but the largest: about a minute each, one thread
    python -m tests.export_parity ecapa512 campplus    # some
    python -m tests.export_parity --seconds 600 ecapa512
    python -m tests.export_parity --updates 60 redimnet_b0

Weights are drawn, or trained by so many updates on four speakers. A line for each network: the relative error of
recordings of each length (the first is the shortest that the network takes), of three in a batch of model.onnx; then,
of the network alone on the longest recording's features, up to 30 s, by how much the recipe and the pack differ from
what torch computes in float64, and by how much that moves when the features move by 1e-6.
"""

import argparse
import copy
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime
import torch

from tests.network_checks import CONF, Config, learn, trained
from tests.runtime.tiny_pack import tiny_members, write_tiny
from timbre.corpora.small_trees import hum
from timbre.embedding.embedder import Front
from timbre.embedding.extract import ExtractOptions, extract_embeddings
from timbre.export.front_settings import front_settings
from timbre.export.network_graph import network_model
from timbre.export.whole_graph import whole_model
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import FbankOptions
from timbre.feats.vad import VadOptions, energy_vad
from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.runtime.encoder import Encoder
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.runtime.pack_file import PackFile
from timbre.runtime.sound import Sound
from timbre.utils.errors import DataError

LARGE = ("_b4", "_b5", "_b6", "101", "1024", "large")
MOST = 1e-4
NORM = NormalizeOptions()


def made(config: Config | Path, updates: int) -> tuple[SpeakerNetwork, FbankOptions]:
    """The network of CONFIG with weights drawn, or trained by UPDATES, and features that it takes."""
    torch.manual_seed(0)
    for bins in (80, 72, 64):
        feats = FbankOptions(num_mel_bins=bins, high_freq=7600, snip_edges=False)
        try:
            network = build_network(config, bins)
            network.eval()(torch.zeros(1, network.min_frames + 20, bins))
            break
        except (DataError, RuntimeError, ValueError):
            continue
    else:
        raise DataError("no number of Mel bands of 80, 72, 64 suits it")
    if updates:
        learn(network, bins, updates)
    else:
        trained(network)
    network.eval().trunk.fuse()
    return network, feats


def wave(seconds: float, seed: int) -> np.ndarray:
    """Somebody who hums, with noise."""
    samples = hum(seed, seed, min(seconds, 10.0), 16000)
    samples = np.resize(samples, round(16000 * seconds)) + 1e-3 * np.random.default_rng(seed).standard_normal(
        round(16000 * seconds)
    )
    return samples.astype(np.float32)


def rows_of(feats: FbankOptions, samples: np.ndarray) -> np.ndarray:
    """What the recipe gives a network of SAMPLES."""
    found, energies = FeatureExtractor(feats).with_energy([samples])
    return normalize(found[0].numpy(), energy_vad(energies[0].numpy(), VadOptions()), NORM)


def expected(network: SpeakerNetwork, rows: np.ndarray) -> np.ndarray:
    """As the recipe embeds it."""
    return extract_embeddings(network, [("it", rows)], ExtractOptions()).vectors["it"]


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Relative."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def exact(network: SpeakerNetwork, rows: np.ndarray) -> np.ndarray:
    """What torch makes of ROWS (T, dim) in float64, also where the network asks for float32."""
    double = copy.deepcopy(network).double()
    with patch.object(torch.Tensor, "float", lambda self: self), torch.inference_mode():
        return double(torch.from_numpy(rows.astype(np.float64))[None]).numpy()[0]


def condition(network: SpeakerNetwork, model: onnx.ModelProto, rows: np.ndarray) -> list[float]:
    """Errors beside float64 on ROWS (T, dim): of the recipe, of the pack, of float64 on rows moved by 1e-6.

    NaN where a part of the network names float32 outright, and has no float64 to compare with.
    """
    try:
        true = exact(network, rows)
    except RuntimeError:
        return [float("nan")] * 3
    moved = rows * (1 + 1e-6 * np.random.default_rng(0).standard_normal(rows.shape))
    found = session_of(model).run(None, {"feats": rows[None]})[0][0]
    return [error(one, true) for one in (expected(network, rows), found, exact(network, moved))]


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """One thread, no warnings."""
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level, quiet.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), quiet)


def compare(config: Config | Path, seconds: list[float], updates: int) -> list[float]:
    """Relative errors of a network for the shortest, lengths of SECONDS and a batch; then those of condition()."""
    network, feats = made(config, updates)
    model = network_model(network)
    most = ExtractOptions().max_frames
    settings, members = tiny_members(feats, NORM)
    settings |= {"dim": network.embedding_dim, "min_speech": 0.0}
    settings["front"] = front_settings(Front(feats, VadOptions()), NORM, network.min_frames, most)[0]
    members["model_feats.onnx"] = model.SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        encoder = Encoder(PackFile.open(write_tiny(Path(folder) / "a.timbre", settings, members)))
    errors = []
    for length in (0.02, *seconds):
        samples = wave(length, 3)
        found = encoder(Sound(samples, 16000, "it"), 0.0).vector
        errors.append(error(found, expected(network, rows_of(feats, samples))))
    whole = whole_model(model, feats, VadOptions(), NORM, network.min_frames, most, network.embedding_dim)
    batch = np.stack([wave(2.0, seed) for seed in range(3)])
    found = session_of(whole).run(None, {"samples": batch})[0]
    wanted = [expected(network, rows_of(feats, one)) for one in batch]
    errors.append(max(error(row, one) for row, one in zip(found, wanted, strict=True)))
    rows = rows_of(feats, wave(min(30.0, seconds[-1]), 3))
    size = max(len(rows), network.min_frames)
    return errors + condition(network, model, np.resize(rows, (size, rows.shape[1])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="names of files of conf/network")
    parser.add_argument("--seconds", type=float, nargs="*", default=[1.0, 3.0, 30.0], help="lengths of recordings")
    parser.add_argument("--updates", type=int, default=0, help="of training; 0: weights are drawn")
    args = parser.parse_args()
    torch.set_num_threads(1)
    bad = 0
    for name in args.networks or [name for name in CONF if not any(word in name for word in LARGE)]:
        begun = time.monotonic()
        try:
            errors = compare(CONF[name], args.seconds, args.updates)
        except DataError as problem:
            errors, bad = [], bad + 1
            print(f"{name:24} {problem}", flush=True)
        if errors:
            bad += max(errors[:-3]) > MOST
            text = " ".join(f"{one:.1e}" for one in errors)
            print(f"{name:24} {text} {time.monotonic() - begun:6.0f} s", flush=True)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
