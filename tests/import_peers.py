"""Parity with the toolkits that weights are imported from: tiny networks of theirs with random weights, what they make
of some audio, and the same audio through an imported model.

    pip install '.[peers]' && python -m tests.import_peers     # remakes tests/data/imports/NAME.{pt,npy}

NAME.pt is a checkpoint as the toolkit writes it (in half precision), NAME.npy its embeddings (num_waves, dim) of
`waves()` by the toolkit's own classes, features included. Tests compare with these files, and with the toolkits
themselves where they are installed.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import nn

from timbre.embedding.extract import extract_embeddings
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import FrameOptions, options_from
from timbre.nnet.model import load_model, read_config
from timbre.runtime.normalize import normalize

DATA = Path(__file__).resolve().parent / "data" / "imports"
Floats = NDArray[np.float32]
Peer = Callable[[Path], tuple[nn.Module, Callable[[Floats], Floats]]]


def waves() -> list[Floats]:
    """Voices of a kind with pauses, at 16 kHz: 1 s, quiet; 1.5 s; 3.6 s, loud. No length is a multiple of a frame."""
    result = []
    for number, (size, level) in enumerate(((16000, 0.003), (24125, 0.05), (58077, 0.3))):
        time = np.arange(size) / 16000
        phase = np.cumsum(2 * np.pi * (110 + 45 * number + 25 * np.sin(2 * np.pi * 1.7 * time)) / 16000)
        voice = sum(np.sin(k * phase + k * k) / k**0.7 for k in range(1, 28))
        hiss = np.sin(1e5 * np.sin(np.arange(size) * (12.9898 + number)))
        syllables = np.maximum(np.sin(2 * np.pi * 2.3 * time + number), 0) ** 0.5
        result.append((level * (syllables * voice / 4 + 0.003 * hiss)).astype(np.float32))
    return result


def own_features(model_dir: Path) -> FrameOptions:
    """The features that an imported model brings."""
    name = str(read_config(model_dir)["feats"])
    kinds = {"fbank": "FbankOptions", "melspec": "MelspecOptions"}
    kind = next(kinds[kind] for kind in kinds if name.startswith(kind))
    return options_from({"class_path": kind, "init_args": yaml.safe_load((model_dir / name).read_text())})


def embed(model_dir: Path, audio: list[Floats]) -> Floats:
    """Embeddings (num_waves, dim) of AUDIO by the model in MODEL_DIR, all frames taken for voiced."""
    network, normalization = load_model(model_dir)
    feats = FeatureExtractor(own_features(model_dir))(audio)
    whole = replace(normalization, vad=False)
    named = [(str(number), normalize(part.numpy(), None, whole)) for number, part in enumerate(feats)]
    vectors = extract_embeddings(network, named).vectors
    return np.stack([vectors[str(number)] for number in range(len(audio))])


def errors(found: Floats, wanted: Floats) -> Floats:
    """Relative error of each embedding."""
    return np.asarray(np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1))


def shaken(network: nn.Module, seed: int = 0) -> dict[str, Any]:
    """The state of NETWORK with BatchNorms that change what goes through, in half precision."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for value, low, high in ((module.running_mean, -0.3, 0.3), (module.running_var, 0.5, 2.0)):
                value.uniform_(low, high, generator=generator)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.bias.data.uniform_(-0.3, 0.3, generator=generator)
    state = network.state_dict()
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


def resemblyzer_lstm(path: Path) -> tuple[nn.Module, Callable[[Floats], Floats]]:
    """VoiceEncoder, 24 wide."""
    from resemblyzer import audio, voice_encoder

    sizes = {"model_hidden_size": 24, "model_embedding_size": 20, "model_num_layers": 2}
    for name, size in sizes.items():
        setattr(voice_encoder, name, size)
    if not path.exists():
        parts = nn.ModuleDict({"lstm": nn.LSTM(40, 24, 2, batch_first=True), "linear": nn.Linear(24, 20)})
        for name, value in parts.named_parameters():  # energies are small numbers
            value.data *= 300 if name.endswith("ih_l0") else 4
        extra = {"similarity_weight": torch.tensor([10.0]), "similarity_bias": torch.tensor([-5.0])}
        torch.save({"step": 1, "model_state": shaken(parts) | extra}, path)
    network = voice_encoder.VoiceEncoder("cpu", verbose=False, weights_fpath=path)
    return network, lambda wave: network.embed_utterance(audio.normalize_volume(wave, -30, increase_only=True))


def speechbrain_ecapa(path: Path) -> tuple[nn.Module, Callable[[Floats], Floats]]:
    """ECAPA_TDNN, 16 wide, as EncoderClassifier.encode_batch calls it."""
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
    from speechbrain.processing.features import InputNormalization

    sizes = {"res2net_scale": 4, "se_channels": 8, "attention_channels": 12, "lin_neurons": 20}
    network = ECAPA_TDNN(80, channels=[16, 16, 16, 16, 24], **sizes)
    if not path.exists():
        torch.save(shaken(network), path)
    network.load_state_dict(torch.load(path, weights_only=True))
    fbank, centre = Fbank(n_mels=80), InputNormalization(norm_type="sentence", std_norm=False)

    def call(wave: Floats) -> Floats:
        whole = torch.ones(1)
        return np.asarray(network(centre(fbank(torch.from_numpy(wave)[None]), whole), whole)[0, 0])

    return network.eval(), call


def speechbrain_resnet(path: Path) -> tuple[nn.Module, Callable[[Floats], Floats]]:
    """ResNet, 4 and 5 wide, as EncoderClassifier.encode_batch calls it."""
    from speechbrain.lobes.features import Fbank
    from speechbrain.lobes.models.ResNet import ResNet
    from speechbrain.processing.features import InputNormalization

    network = ResNet(80, channels=[4, 4, 5, 4], block_sizes=[1, 2, 1, 1], lin_neurons=20)
    if not path.exists():
        torch.save(shaken(network), path)
    network.load_state_dict(torch.load(path, weights_only=True))
    fbank, centre = Fbank(n_mels=80), InputNormalization(norm_type="sentence", std_norm=False)

    def call(wave: Floats) -> Floats:
        whole = torch.ones(1)
        return np.asarray(network(centre(fbank(torch.from_numpy(wave)[None]), whole), whole)[0])

    return network.eval(), call


# name of the reference -> (toolkit, the toolkit's own way from audio to an embedding, with the weights of a file, which
# is made if it is not there)
PEERS: Mapping[str, tuple[str, Peer]] = {
    "resemblyzer_lstm": ("resemblyzer", resemblyzer_lstm),
    "speechbrain_ecapa": ("speechbrain", speechbrain_ecapa),
    "speechbrain_resnet": ("speechbrain", speechbrain_resnet),
}


@torch.no_grad()
def peer_embeddings(name: str, path: Path) -> Floats:
    """Embeddings (num_waves, dim) of `waves()` by the toolkit of the reference NAME, with the weights in PATH."""
    torch.manual_seed(0)
    _, call = PEERS[name][1](path)
    return np.stack([call(wave) for wave in waves()]).astype(np.float32)


if __name__ == "__main__":
    for name in sys.argv[1:] or PEERS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.pt"
            vectors = peer_embeddings(name, path)
            (DATA / path.name).write_bytes(path.read_bytes())
        np.save(DATA / f"{name}.npy", vectors)
