"""sherpa-onnx (k2-fsa), which nobody here wrote, loads an export and agrees with it."""

from pathlib import Path

import numpy as np
import pytest

from tests.runtime.tiny_pack import DIM, mean_network, tiny_members, write_tiny
from timbre.corpora.small_trees import hum
from timbre.export.sherpa_graph import sherpa_model
from timbre.feats.options import FbankOptions
from timbre.runtime.encoder import Encoder
from timbre.runtime.normalize import NormalizeOptions
from timbre.runtime.pack_file import PackFile
from timbre.runtime.scorer import Scorer

sherpa_onnx = pytest.importorskip("sherpa_onnx")
FBANK80 = FbankOptions(num_mel_bins=80, low_freq=20, high_freq=7600, snip_edges=False)
NORM = NormalizeOptions(window=300)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[PackFile, Path]:
    """A pack, and the same network for sherpa-onnx."""
    folder = tmp_path_factory.mktemp("sherpa")
    settings, members = tiny_members(FBANK80, NORM)
    backend = {"kind": "cosine", "projection": [{"mean": None, "transform": None, "length": "unit"}], "plda": None}
    calibration = {"offset": -1.0, "prior": 0.5, "terms": [{"kind": "score", "name": "score", "weight": 5.0}]}
    calibration["trained_on"] = {"targets": 100, "nontargets": 1000}
    settings |= {"measures": [], "top_n": None, "backend": backend, "calibration": calibration, "points": []}
    settings |= {"tested": {}, "conditions": [], "speech": []}
    model = sherpa_model(mean_network(80), FBANK80, NORM, 5, DIM)
    (folder / "sherpa.onnx").write_bytes(model.SerializeToString())
    return PackFile.open(write_tiny(folder / "a.timbre", settings, members)), folder / "sherpa.onnx"


def test_its_embeddings_are_ours_of_all_as_speech(both: tuple[PackFile, Path]) -> None:
    pack, path = both
    extractor = sherpa_onnx.SpeakerEmbeddingExtractor(sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(path)))
    encoder = Encoder(pack)
    assert extractor.dim == DIM
    for seconds in (0.3, 1.0, 7.0):
        wave = hum(3, 1, seconds, 16000).astype(np.float32)
        stream = extractor.create_stream()
        stream.accept_waveform(sample_rate=16000, waveform=wave)
        stream.input_finished()
        found, expected = np.array(extractor.compute(stream)), encoder.windows(wave, [(0, len(wave))])[0]
        assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)


def test_its_manager_decides_as_our_cosine(both: tuple[PackFile, Path]) -> None:
    scorer = Scorer.of(both[0])
    rng = np.random.default_rng(0)
    speakers = rng.standard_normal((6, DIM)).astype(np.float32)
    tests = (np.repeat(speakers, 5, axis=0) + rng.standard_normal((30, DIM))).astype(np.float32)
    manager = sherpa_onnx.SpeakerEmbeddingManager(DIM)
    for place, vector in enumerate(speakers):
        assert manager.add(f"s{place}", vector.tolist())
    scores = scorer.score(speakers, np.ones(6, np.int64), tests)
    assert 0.3 < (scores > 0.5).sum() / 30 < 2
    for threshold in (0.2, 0.5, 0.7):
        for place in range(6):
            theirs = [manager.verify(f"s{place}", one.tolist(), threshold) for one in tests]
            assert theirs == (scores[place] >= threshold).tolist()
        named = [manager.search(one.tolist(), threshold) for one in tests]
        best = scores.argmax(0)
        expected = [f"s{who}" if scores[who, row] >= threshold else "" for row, who in enumerate(best)]
        assert named == expected
