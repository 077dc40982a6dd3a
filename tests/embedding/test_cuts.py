"""A cut is what a recording of its samples alone would be: the embedding is the same, through the recipe."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from steps.compute_vad import compute_vad
from steps.extract_embeddings import extract_embeddings
from timbre.datadir.ark import read_mat, read_vectors
from timbre.datadir.datadir import DataDir
from timbre.feats.dump_feats import dump_features
from timbre.feats.options import FbankOptions, FrameOptions, MfccOptions
from timbre.feats.vad import VadOptions
from timbre.nnet import checkpoint
from timbre.nnet.model import write_config
from timbre.nnet.network import build_network

TOLERANCE = 1e-5  # of an embedding: what a batch of other lengths may make of it
VAD = VadOptions(vad_energy_threshold=5.0)
NETWORK = {
    "trunk": {"class_path": "EcapaTdnn", "init_args": {"channels": 16, "output_channels": 24}},
    "pooling": "AttentiveStatisticsPooling",
    "embedding_dim": 10,
}
SLIDING = {"cmn": "sliding", "window": 50, "norm_vars": False, "vad": True}
WAYS = {
    "as the recipe": (FbankOptions(num_mel_bins=24), SLIDING),
    "waveforms": (FbankOptions(num_mel_bins=24), {**SLIDING, "cmn": "utterance", "voiced_first": True}),
    "energy in the features": (MfccOptions(num_ceps=20), SLIDING),
    "mean of the utterance": (MfccOptions(num_ceps=20, subtract_mean=True), {**SLIDING, "cmn": "none"}),
    "no VAD": (FbankOptions(num_mel_bins=24), {**SLIDING, "vad": False}),
}


def make_model(path: Path, dim: int, normalization: dict[str, object]) -> Path:
    """The directory of a model that nobody trained."""
    torch.manual_seed(0)
    network = build_network(NETWORK, dim)
    path.mkdir()
    write_config({"network": network.config, "feat_dim": dim, "normalize": normalization}, path)
    checkpoint.save({"network": network.state_dict()}, path / "final.pt")
    return path


def recordings() -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Noise, by turns loud, near the threshold of the VAD, and below it, growing louder: 3.3, 1.7, 0.6 and 1 s."""
    for number, size in enumerate((52801, 27333, 9600, 16000)):
        rng = np.random.default_rng(number)
        at = np.arange(size) / 16000
        turn = np.sin(15 * at + number)
        wave = rng.normal(size=size) * np.where(turn > 0.3, 0.2, np.where(turn > -0.7, 5e-4, 5e-5))
        wave = np.convolve(wave, rng.normal(size=8), "same") * (1 + at)
        yield f"s{number}", (np.rint(np.clip(wave, -0.9, 0.9) * 32767) / 32768).astype(np.float32)


def embeddings(data: DataDir, model: Path, options: FrameOptions, protocol: str) -> dict[str, NDArray[np.float32]]:
    """Through the steps of the recipe, in the folder of DATA."""
    if not data.has("feats.scp"):
        dump_features(data, options, nj=1)
        compute_vad(data.path, VAD, nj=1)
    extract_embeddings(model, data.path, data.path / protocol / "x", protocol=protocol, vad=VAD)
    return dict(zip(*read_vectors(data.path / protocol / "x.scp"), strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_is_a_recording_of_its_samples(way: str, tmp_path: Path, make_data: Callable[..., DataDir]) -> None:
    options, normalization = WAYS[way]
    model = make_model(tmp_path / "model", options.dim, normalization)
    waves = dict(recordings())
    short = {}
    for utt, wave in waves.items():
        frames, size = options.num_frames(len(wave)), options.num_frames(16000)
        start = max(0, frames - size) // 2 * options.shift
        short[utt] = wave[start : start + 16000]
    assert [len(wave) for wave in short.values()] == [16000, 16000, 9600, 16000]
    long = make_data(waves, name="long")
    cut = embeddings(long, model, options, "len1s")
    alone = embeddings(make_data(short, name="short"), model, options, "full")
    whole = embeddings(long, model, options, "full")
    seen = embeddings(long, model, options, "len1s_seen_whole")
    for utt in waves:
        assert np.abs(cut[utt] - alone[utt]).max() <= TOLERANCE, utt
    for utt in ("s0", "s1"):
        assert np.abs(cut[utt] - seen[utt]).max() > 100 * TOLERANCE < np.abs(cut[utt] - whole[utt]).max()
    for utt in ("s2", "s3"):
        assert np.abs(cut[utt] - whole[utt]).max() <= TOLERANCE, "no longer than the cut: the whole"


def test_without_snipped_edges_a_cut_has_the_frames_inside_it(
    tmp_path: Path, make_data: Callable[..., DataDir]
) -> None:
    """Frame i is around the middle of its shift: what lies wholly in the second is a snipped recording of it."""
    options = FbankOptions(num_mel_bins=24, snip_edges=False)
    model = make_model(tmp_path / "model", options.dim, SLIDING)
    waves = {utt: wave for utt, wave in recordings() if len(wave) > 17000}
    short = {}
    for utt, wave in waves.items():
        first = (options.num_frames(len(wave)) - 98) // 2
        begin = first * 160 + 80 - 200
        short[utt] = wave[begin : begin + 16000]
    cut = embeddings(make_data(waves, name="long"), model, options, "len1s")
    alone = embeddings(make_data(short, name="short"), model, FbankOptions(num_mel_bins=24), "full")
    for utt in waves:
        assert np.abs(cut[utt] - alone[utt]).max() <= TOLERANCE, utt


def test_what_is_outside_of_a_cut_changes_nothing(
    tmp_path: Path, make_data: Callable[..., DataDir], caplog: pytest.LogCaptureFixture
) -> None:
    options, normalization = WAYS["as the recipe"]
    model = make_model(tmp_path / "model", options.dim, normalization)
    wave = dict(recordings())["s0"]
    first = (options.num_frames(len(wave)) - 98) // 2
    inside = slice(160 * first, 160 * first + 16000)
    loud, silent = np.tile(np.float32([0.9, -0.9]), len(wave))[: len(wave)], np.zeros_like(wave)
    loud[inside] = silent[inside] = wave[inside]
    data = make_data({"a": loud, "b": silent, "c": wave[:3000]})
    with caplog.at_level(logging.INFO):
        found = embeddings(data, model, options, "len1s")
    assert np.abs(found["a"] - found["b"]).max() <= TOLERANCE
    assert "len1s: 1 of 3 utterances are no longer, and whole" in caplog.text
    by_whole = [read_mat(data.table("vad.scp")[utt])[first : first + 98].sum() for utt in "ab"]
    assert by_whole[0] < by_whole[1] - 10, "the whole tells them apart"
