"""Features and VAD of a few utterances."""

from pathlib import Path

import numpy as np
import pytest

from embedding_data import FEAT_DIM, NUM_FRAMES
from timbre.datadir.ark import ArkWriter
from timbre.datadir.tables import write_table


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Eight utterances of 9 to 300 frames, a third of each unvoiced, ids not in the order of their lengths."""
    path = tmp_path / "data"
    path.mkdir()
    generator = np.random.default_rng(0)
    utts = [f"spk{number % 3}-utt{number}" for number in range(len(NUM_FRAMES))]
    with ArkWriter(path / "feats.ark") as feats, ArkWriter(path / "vad.ark") as vad:
        for utt, length in zip(utts, NUM_FRAMES, strict=True):
            feats.write(utt, generator.normal(generator.normal(size=FEAT_DIM), 1, (length, FEAT_DIM)))
            vad.write(utt, (generator.random(length) < 0.67).astype(np.float32))
    write_table(path / "feats.scp", feats.scp)
    write_table(path / "vad.scp", vad.scp)
    write_table(path / "utt2spk", {utt: utt.split("-")[0] for utt in utts})
    return path
