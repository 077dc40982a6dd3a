"""Networks of other toolkits, exported with the features that they were trained on."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.runtime.tiny_pack import tiny_members, write_tiny
from timbre.corpora.small_trees import hum
from timbre.embedding.embedder import Embedder, Front
from timbre.export.front_settings import front_settings
from timbre.export.network_graph import network_model
from timbre.export.whole_graph import front_model
from timbre.feats.options import MelspecOptions
from timbre.feats.vad import VadOptions
from timbre.nnet.imports.toolkits import import_weights
from timbre.nnet.model import load_model
from timbre.runtime.encoder import Encoder
from timbre.runtime.pack_file import PackFile
from timbre.runtime.silero import package_model
from timbre.runtime.sound import read_sound
from timbre.utils.configure import read_config


@pytest.mark.parametrize("vad", ["energy", "silero"])
def test_resemblyzer(vad: str, tmp_path: Path) -> None:
    """Mel energies of a signal that was made louder, an LSTM, windows of 1.6 s; and a VAD outside of the graphs."""
    if importlib.util.find_spec("resemblyzer") is None:  # not imported: it wants webrtcvad, its weights are enough
        pytest.skip("resemblyzer is not installed")
    import_weights("resemblyzer", tmp_path / "model", "", "", False)
    config = next((tmp_path / "model").glob("melspec*.yaml"))
    feats = MelspecOptions(**read_config(config))
    easy = {"speech_threshold": 0.002, "silence_threshold": 0.001}  # a hum is hardly speech to silero
    front = Front(feats, VadOptions(method=vad, **easy))  # type: ignore[arg-type]
    network, normalize = load_model(tmp_path / "model")
    settings, members = tiny_members()
    settings |= {"rate": 16000, "dim": network.embedding_dim, "min_speech": 0.0, "vad": vad}
    settings["front"], _ = front_settings(front, normalize, network.min_frames, 12000)
    members |= {
        "front.onnx": front_model(feats).SerializeToString(),
        "model_feats.onnx": network_model(network).SerializeToString(),
    }
    if vad == "silero":
        members["silero_vad.onnx"] = package_model().read_bytes()
    encoder = Encoder(PackFile.open(write_tiny(tmp_path / "a.timbre", settings, members)))
    recipe = Embedder(tmp_path / "model", front, min_speech=0.0)
    for seconds, rate in ((0.8, 16000), (4.3, 16000), (3.0, 44100)):
        wave = 0.1 * np.resize(hum(2, 1, 2.0, rate), round(seconds * rate))
        wave += 1e-4 * np.random.default_rng(0).standard_normal(len(wave))
        soundfile.write(tmp_path / "a.wav", wave, rate)
        expected = recipe(str(tmp_path / "a.wav"))
        found = encoder(read_sound(tmp_path / "a.wav"))
        assert np.linalg.norm(found.vector - expected.vector) <= 1e-4 * np.linalg.norm(expected.vector)
        assert found.speech == pytest.approx(expected.speech)
