"""Imported networks against the toolkits' own code: the same audio, their front end, embeddings within 1e-4."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from timbre.embedding.extract import extract_embeddings
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.normalize import normalize
from timbre.feats.options import FbankOptions, FrameOptions, MelspecOptions
from timbre.nnet.imports.toolkits import TOOLKITS, import_weights
from timbre.nnet.model import load_model
from toolkit_states import REFERENCES, Reference, make_state, make_waves

KINDS: dict[str, type[FrameOptions]] = {"fbank": FbankOptions, "melspec": MelspecOptions}


@pytest.mark.parametrize("name", sorted(path.stem for path in REFERENCES.glob("*.npz")))
def test_embeddings_are_those_of_the_toolkit(name: str, tmp_path: Path) -> None:
    reference = Reference.read(name)
    state = {"state_dict": make_state(reference.shapes), "model_config": reference.settings}
    torch.save(state, tmp_path / "model.pt")
    toolkit = next(toolkit for toolkit in TOOLKITS if name.startswith(toolkit))
    import_weights(str(tmp_path / "model.pt"), tmp_path / "model", toolkit, "", False)
    network, normalization = load_model(tmp_path / "model")
    feats = yaml.safe_load((tmp_path / "model" / "config.yaml").read_text())["feats"]
    options = yaml.safe_load((tmp_path / "model" / feats).read_text())
    extractor = FeatureExtractor(KINDS[feats.rstrip("0123456789").partition("_")[0].rstrip("0123456789")](**options))
    parts = [
        (str(index), normalize(found.numpy(), None, normalization))
        for index, found in enumerate(extractor(make_waves()))
    ]
    ours = extract_embeddings(network, parts).vectors
    errors = [
        np.linalg.norm(ours[str(index)] - theirs) / np.linalg.norm(theirs)
        for index, theirs in enumerate(reference.embeddings)
    ]
    print(f"{name}: {max(errors):.1e}")
    assert max(errors) <= 1e-4
    # the references tell a wrong network or front end: they depend on the audio
    first, second = reference.embeddings
    assert np.linalg.norm(first - second) >= 0.02 * np.linalg.norm(first)
