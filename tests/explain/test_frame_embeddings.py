"""Embeddings of frames: their mean is the utterance's, they lie where they say, and the phoneme figure's numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from step_calls import refused, works
from timbre.datadir.ark import ArkWriter, read_mat, read_vectors
from timbre.datadir.phones import Phone, write_phones
from timbre.datadir.tables import read_table, write_table
from timbre.explain.attention import attentions
from timbre.explain.frame_embeddings import Grid, embed_frames, frame_seconds, mean_of
from timbre.explain.phoneme_classes import CLASSES, phone_class
from timbre.explain.phoneme_frames import LabelledFrames, Shares, intervals, neighbours, phones_at
from timbre.nnet import checkpoint
from timbre.nnet.model import write_config
from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.utils.errors import DataError

DIM, FRAMES = 16, 61
TRUNK = {
    "class_path": "TdyResNet",
    "init_args": {"channels": [4, 6], "blocks": [1, 1], "strides": [1, 4], "num_kernels": 3},
}
VGG = {"class_path": "VggM", "init_args": {"channels": [4, 4, 4, 4, 4, 6], "num_kernels": 2}}
POOLINGS = {
    "MeanPooling": "plain",
    "SelfAttentivePooling": "weighted",
    "AttentiveStatisticsPooling": "none",
    "StatisticsPooling": "none",
}


def network(trunk: dict[str, Any] = TRUNK, pooling: str = "MeanPooling", dim: int = DIM, **rest: Any) -> SpeakerNetwork:
    torch.manual_seed(1)
    config = {"trunk": trunk, "pooling": {"class_path": pooling}, "embedding_dim": 5, **rest}
    made = build_network(config, dim)
    for norm in (module for module in made.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)):
        torch.nn.init.uniform_(norm.running_mean, -0.1, 0.0)  # below 0: no ReLU is always off
    return made.eval()


@pytest.mark.parametrize(("pooling", "mean"), POOLINGS.items())
def test_the_mean_of_the_frames_is_the_embedding(pooling: str, mean: str) -> None:
    made = network(pooling=pooling, instance_norm=True, embedding_norm=True)
    feats = np.random.default_rng(0).normal(size=(FRAMES, DIM)).astype(np.float32)
    found = embed_frames(made, feats)
    embedding = made(torch.from_numpy(feats)[None])[0].detach().numpy()
    assert (found.mean, mean_of(made)) == (mean, mean) and len(found.vectors) == 16
    assert (found.weights is not None) == ("Attentive" in pooling)
    if mean == "none":
        assert found.vectors.shape[1] == made.trunk.output_dim
    else:
        weights = np.full(16, 1 / 16) if found.weights is None else found.weights
        np.testing.assert_allclose(weights @ found.vectors, embedding, atol=1e-5)
        assert abs(weights.sum() - 1) < 1e-5


def test_what_comes_after_the_mean_must_be_linear() -> None:
    assert mean_of(network(embedding_length=10.0)) == mean_of(network(hidden_dims=[4])) == "none"
    with pytest.raises(DataError, match="averages windows"):
        mean_of(network(windows=[20, 10, 1]))


@pytest.mark.parametrize(("trunk", "dim"), [(TRUNK, DIM), (VGG, 40)])
def test_a_frame_is_centred_where_it_sees_most(trunk: dict[str, Any], dim: int) -> None:
    """What a frame in the middle depends on begins and ends equally far from its centre, within half a stride."""
    made, size = network(trunk, dim=dim), 600
    feats = torch.randn(1, size, dim, generator=torch.Generator().manual_seed(0), requires_grad=True)
    frames, _ = made.trunk(feats)
    middle = frames.shape[2] // 2
    assert feats.requires_grad
    (gradient,) = torch.autograd.grad(frames[0, :, middle].square().sum(), feats)
    seen = np.flatnonzero(gradient[0].abs().sum(1).numpy() > 0)
    grid = Grid.of(made)
    assert abs((seen[0] + seen[-1]) / 2 - (grid.first + grid.stride * middle)) <= grid.stride / 2
    assert frames.shape[2] == 1 + (size - 1 - int(2 * grid.first)) // grid.stride


def test_times_follow_the_frames_that_a_vad_left() -> None:
    seconds = np.array([0.0, 0.01, 0.02, 0.03, 0.5, 0.51, 0.52, 0.53])
    found = frame_seconds(Grid(0, 4), seconds, 2)
    np.testing.assert_allclose(found[:, 0], [0.0, 0.5])
    np.testing.assert_allclose(found[:, 1:], [[-0.005, 0.02], [0.02, 0.52]])


def test_phones_by_majority_and_their_classes() -> None:
    phones = [Phone(0.0, 0.1, "h#"), Phone(0.1, 0.05, "sh"), Phone(0.15, 0.2, "iy")]
    starts = np.array([0.0, 0.09, 0.14, 0.4])
    assert phones_at(starts, starts + 0.04, phones) == ["h#", "sh", "iy", None]
    timit = ["iy", "ax-h", "h#", "epi", "hh", "nx", "dh", "jh", "q", "bcl", "el", "1"]
    assert [CLASSES.index(kind) if (kind := phone_class(name)) in CLASSES else -1 for name in timit] == [
        *(0, 0, -1, -1, 1, 2, 3, 4, 5, 5, 1, 6)
    ]
    espeak = ["'3:", "@L", "D", "tS", "t2", "t#", "I#", "_:", ",aU", "N", ";", "r-", "h", "S", "b"]
    assert [CLASSES.index(kind) if (kind := phone_class(name)) in CLASSES else -1 for name in espeak] == [
        *(0, 1, 3, 4, 5, 5, 0, -1, 0, 2, 6, 1, 1, 3, 5)
    ]


def test_neighbours_are_those_of_a_brute_force() -> None:
    random = np.random.default_rng(0)
    count = 90
    utts = np.array([f"u{n // 15}" for n in range(count)])
    speakers = np.array([f"s{n // 45}" for n in range(count)])
    classes = np.array(["vowels", "stops"])[random.integers(0, 2, count)]
    vectors = random.normal(size=(count, 4))
    frames = LabelledFrames(vectors, utts, speakers, classes, classes, np.arange(count) / 10)
    found = neighbours(frames, speakers, classes, 5)
    unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    expected = []
    for row in found.rows:
        others = [n for n in range(count) if utts[n] != utts[row] and classes[n] == classes[row]]
        nearest = sorted(others, key=lambda n: -unit[row] @ unit[n])[:5]
        expected.append(np.mean([speakers[n] == speakers[row] for n in nearest]))
    np.testing.assert_allclose(found.near, expected)
    assert len(found.rows) == count


def test_intervals_hold_differences_of_the_same_draws() -> None:
    count = 40
    utts, speakers = np.repeat([f"u{n}" for n in range(8)], 5), np.repeat(["a", "b"], 20)
    frames = LabelledFrames(np.zeros((count, 2)), utts, speakers, speakers, speakers, np.zeros(count))
    near = np.random.default_rng(0).random(count)
    shares = {
        "one": {"speaker": Shares(np.arange(count), near, near * 0)},
        "two": {"speaker": Shares(np.arange(count), near + 0.1, near * 0)},
    }
    one, two, less = intervals({"one": frames, "two": frames}, shares, 200, 0)
    assert one["low"] < one["value"] < one["high"] and one["value"] == pytest.approx(near.mean())
    assert two["value"] == pytest.approx(near.mean() + 0.1)
    assert [less[name] for name in ("value", "low", "high")] == pytest.approx([0.1] * 3)


def test_attentions_are_those_of_the_layers() -> None:
    feats = np.random.default_rng(0).normal(size=(FRAMES, DIM)).astype(np.float32)
    found = attentions(network(pooling="SelfAttentivePooling"), feats)
    assert list(found.kernels)[:2] == ["blocks.0.conv1", "blocks.0.conv2"] and not found.branches
    for weights in found.kernels.values():
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)
    assert {len(weights) for weights in found.kernels.values()} == {FRAMES, 16}
    np.testing.assert_allclose(found.poolings["pooling"].sum(1), 1, atol=1e-5)
    selective = {
        "class_path": "IskConvNet",
        "init_args": {"channels": [4, 4], "blocks": [1, 1], "strides": [1, 2]},
    }
    branches = attentions(network(selective), feats).branches
    assert len(branches) == 2 and all(np.allclose(weights.sum(0), 1, atol=1e-5) for weights in branches.values())
    with pytest.raises(DataError, match="neither dynamic nor selective"):
        attentions(network({**TRUNK, "init_args": {**TRUNK["init_args"], "num_kernels": 1}}), feats)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models without training, and a data directory of two speakers with features and phones."""
    for name, kernels in (("tdy", 3), ("plain", 1)):
        made = network({**TRUNK, "init_args": {**TRUNK["init_args"], "num_kernels": kernels}})
        write_config(
            {"network": made.config, "feat_dim": DIM, "normalize": {"cmn": "none", "vad": False}}, tmp_path / name
        )
        checkpoint.save({"network": made.state_dict()}, tmp_path / name / "final.pt")
    data = tmp_path / "data"
    data.mkdir()
    random, utts = np.random.default_rng(0), [f"{spk}-{n}" for spk in "ab" for n in range(3)]
    with ArkWriter(data / "feats.ark") as feats:
        for utt in utts:
            feats.write(utt, random.normal(size=(80, DIM)).astype(np.float32))
    write_table(data / "feats.scp", feats.scp)
    write_table(data / "utt2spk", {utt: utt[0] for utt in utts})
    names = ["iy", "s", "n", "h#"]
    write_phones(data / "phones.ctm", {utt: [Phone(n * 0.1, 0.1, names[n % 4]) for n in range(8)] for utt in utts})
    return tmp_path


def test_the_steps_from_models_to_pictures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)  # arks are named from here
    for name in ("plain", "tdy"):
        works(folder, "steps/extract_frames.py", name, "data", "a,b", f"frames/{name}")
        works(folder, "steps/extract_embeddings.py", name, "data", f"{name}/xvector")
        utts, vectors = read_vectors(folder / name / "xvector.scp")
        frames = read_table(folder / "frames" / f"{name}.scp")
        for utt, vector in zip(utts, vectors, strict=True):
            np.testing.assert_allclose(read_mat(frames[utt]).mean(0), vector, atol=1e-5)
    assert json.loads((folder / "frames" / "tdy.json").read_text())["stride"] == 4
    options = ["--neighbors", "3", "--draws", "50", "--names", "[baseline,TDY]", "--map.method", "pca"]
    works(folder, "steps/plot_phonemes.py", "data", "[frames/plain.scp,frames/tdy.scp]", "a,b", "out", *options)
    rows = json.loads((folder / "out.json").read_text())["purity"]
    systems = {(row["system"], row["measure"]) for row in rows}
    assert {("baseline", "speaker"), ("TDY - baseline", "speaker, nasals"), ("TDY", "phoneme class")} <= systems
    lines = (folder / "out.tsv").read_text().splitlines()[1:]
    assert {line.split("\t")[4] for line in lines} == {"vowels", "fricatives", "nasals"}
    works(folder, "steps/plot_attention.py", "tdy", "data", "a-1", "att", "--layers", "blocks.0.conv1")
    assert all((folder / name).stat().st_size > 5000 for name in ("out.png", "out.svg", "att.png"))


def test_what_is_not_there_is_named(folder: Path) -> None:
    works(folder, "steps/extract_frames.py", "plain", "data", "a-1,b-1", "frames/few")
    phonemes = ["steps/plot_phonemes.py", "data", "frames/few.scp"]
    assert refused(folder, "steps/extract_frames.py", "plain", "data", "a,x", "o")[0] == (
        "data/utt2spk: 'x' is neither an utterance nor a speaker of it"
    )
    assert "few.scp: nothing of utterance 'a-0'" in refused(folder, *phonemes, "a,b", "o")[0]
    assert "speaker 'x' is not in it" in refused(folder, *phonemes, "a,x", "o")[0]
    assert (
        "there is no layer 'y' in it; there are blocks.0"
        in (refused(folder, "steps/plot_attention.py", "tdy", "data", "a-1", "o", "--layers", "y")[0])
    )
