"""Extraction through its scripts: a batch gives what an utterance gets alone, and nothing goes missing silently."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embedding_data import FEAT_DIM, NUM_FRAMES
from steps.extract_embeddings import extract_embeddings
from timbre.datadir.ark import ArkWriter, read_mat, read_vectors
from timbre.datadir.tables import read_table, write_table
from timbre.embedding import vector_parts
from timbre.embedding.extract import ExtractOptions
from timbre.embedding.extract import extract_embeddings as extract
from timbre.feats import pieces
from timbre.feats.utterances import Utterance
from timbre.nnet import checkpoint
from timbre.nnet.model import write_config
from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.utils.errors import DataError

ECAPA = {
    "trunk": {"class_path": "EcapaTdnn", "init_args": {"channels": 16, "output_channels": 24}},
    "pooling": "AttentiveStatisticsPooling",
    "embedding_dim": 10,
}
XVECTOR = {
    "trunk": {"class_path": "XvectorTdnn", "init_args": {"channels": [16, 16, 16, 16, 24]}},
    "pooling": "StatisticsPooling",
    "embedding_dim": 10,
}


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Makes the directory of a model that nobody trained."""

    def make(config: dict[str, Any]) -> Path:
        torch.manual_seed(0)
        network = build_network(config, FEAT_DIM)
        path = tmp_path / "model"
        path.mkdir()
        normalization = {"cmn": "sliding", "window": 50, "norm_vars": False, "vad": True}
        write_config({"network": network.config, "feat_dim": FEAT_DIM, "normalize": normalization}, path)
        checkpoint.save({"network": network.state_dict()}, path / "final.pt")
        return path

    return make


def alone(config: dict[str, Any], data_dir: Path) -> dict[str, np.ndarray]:
    """Each utterance's embedding, one by one, from the network of make_model."""
    torch.manual_seed(0)
    network = build_network(config, FEAT_DIM).eval()
    feats, vads = read_table(data_dir / "feats.scp"), read_table(data_dir / "vad.scp")
    embeddings = {}
    for utt in feats:
        frames = normalize(read_mat(feats[utt]), read_mat(vads[utt]) != 0, NormalizeOptions(window=50))
        frames = np.concatenate([frames] * network.min_frames)[: max(len(frames), network.min_frames)]
        with torch.inference_mode():
            embeddings[utt] = network(torch.from_numpy(frames)[None])[0].numpy()
    return embeddings


@pytest.mark.parametrize("config", [ECAPA, XVECTOR], ids=["ecapa", "xvector"])
@pytest.mark.parametrize(("batch_frames", "nj"), [(12000, 1), (130, 3), (1, 2)])
def test_each_utterance_gets_the_embedding_it_gets_alone(
    config: dict[str, Any],
    batch_frames: int,
    nj: int,
    data_dir: Path,
    make_model: Callable[[dict[str, Any]], Path],
    tmp_path: Path,
) -> None:
    extract_embeddings(make_model(config), data_dir, tmp_path / "out" / "xvector", batch_frames=batch_frames, nj=nj)
    ids, vectors = read_vectors(tmp_path / "out" / "xvector.scp")
    expected = alone(config, data_dir)
    assert ids == sorted(expected)
    assert np.abs(vectors - np.stack([expected[utt] for utt in ids])).max() <= 1e-5
    assert vectors.std(0).min() > 1e-4  # they do differ


NAMES = ["full", "tta3x20+full", "len0.3s_seen_whole", "tta1x1000", "len0.3s"]


def test_crops_get_the_embeddings_of_their_frames(
    data_dir: Path, make_model: Callable[[dict[str, Any]], Path], tmp_path: Path
) -> None:
    model = make_model(XVECTOR)
    extract_embeddings(model, data_dir, tmp_path / "xvector", protocols=NAMES)
    found = {path.parent.name: dict(zip(*read_vectors(path), strict=True)) for path in tmp_path.glob("*/xvector.scp")}
    utts = sorted(read_table(data_dir / "feats.scp"))
    assert sorted(found["full"]) == sorted(found["len0.3s_seen_whole"]) == utts
    assert sorted(found["tta3x20+full"]) == [f"{utt}#{crop}" for utt in utts for crop in ("00", "01", "02", "full")]
    for utt in utts:
        assert np.abs(found["tta3x20+full"][f"{utt}#full"] - found["full"][utt]).max() <= 1e-5
    frames = normalize(
        read_mat(read_table(data_dir / "feats.scp")["spk2-utt2"]),
        read_mat(read_table(data_dir / "vad.scp")["spk2-utt2"]) != 0,
        NormalizeOptions(window=50),
    )
    torch.manual_seed(0)
    network = build_network(XVECTOR, FEAT_DIM).eval()
    middle = (len(frames) - 30) // 2
    for name, key, part in (
        ("tta3x20+full", "spk2-utt2#02", frames[-20:]),
        ("len0.3s_seen_whole", "spk2-utt2", frames[middle : middle + 30]),
        ("tta1x1000", "spk2-utt2", np.resize(frames, (1000, FEAT_DIM))),
    ):
        with torch.inference_mode():
            assert np.abs(network(torch.from_numpy(part)[None])[0].numpy() - found[name][key]).max() <= 1e-5


def test_many_protocols_in_one_pass_are_the_bytes_of_each_alone(
    data_dir: Path,
    make_model: Callable[[dict[str, Any]], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Features are read once for all that is missing; one protocol more does not make the others again."""
    monkeypatch.setattr(vector_parts, "_MEAN_SIZE", 2)
    read: list[tuple[str, list[str]]] = []

    def reading(utterance: Utterance, protocols: list[pieces.Protocol], **kwargs: Any) -> object:
        read.append((utterance.utt, [protocol.name for protocol in protocols]))
        return original(utterance, protocols, **kwargs)

    model = make_model(ECAPA)
    for name in NAMES:
        extract_embeddings(model, data_dir, tmp_path / "alone" / name / "x", protocol=name, batch_frames=20)
    original = pieces._read
    monkeypatch.setattr(pieces, "_read", reading)
    extract_embeddings(model, data_dir, tmp_path / "together" / "x", protocols=NAMES[1:], batch_frames=20)
    assert sorted(read) == [(utt, NAMES[1:]) for utt in sorted(read_table(data_dir / "feats.scp"))]
    read.clear()
    extract_embeddings(model, data_dir, tmp_path / "together" / "x", protocols=NAMES, batch_frames=20)
    assert {tuple(names) for _, names in read} == {("full",)} and len(read) == len(NUM_FRAMES)
    for name in NAMES:
        alone, together = (tmp_path / way / name / "x.ark" for way in ("alone", "together"))
        assert together.read_bytes() == alone.read_bytes(), name
    with pytest.raises(DataError, match="--protocol or --protocols, not both"):
        extract_embeddings(model, data_dir, tmp_path / "x", protocol="len1s", protocols=["len2s"])


def test_the_script_says_what_it_did(
    data_dir: Path, make_model: Callable[[dict[str, Any]], Path], tmp_path: Path, root: Path
) -> None:
    model, out = make_model(XVECTOR), tmp_path / "xvector"
    command = [sys.executable, str(root / "steps" / "extract_embeddings.py"), str(model), str(data_dir), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    assert "2 utterances shorter than 15 frames, repeated: spk1-utt1 spk1-utt4" in done.stderr
    assert len(read_vectors(tmp_path / "xvector.ark")[0]) == len(NUM_FRAMES)

    table = read_table(data_dir / "feats.scp")
    table["spk1-utt4"] = str(tmp_path / "nowhere.ark:3")
    write_table(data_dir / "feats.scp", table)
    out.with_name("xvector.ark").unlink()
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "spk1-utt4: no embedding" in done.stderr and "nowhere.ark" in done.stderr
    assert "xvector.missing: 1 of 8 utterances have no embedding" in done.stderr
    assert not out.with_name("xvector.ark").exists()


def test_utterances_that_fail_are_named_with_the_reason_and_may_be_allowed(
    data_dir: Path, make_model: Callable[[dict[str, Any]], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    feats, vads = read_table(data_dir / "feats.scp"), read_table(data_dir / "vad.scp")
    with ArkWriter(tmp_path / "bad.ark") as ark:
        ark.write("spk0-utt0", np.full((60, FEAT_DIM), np.nan, np.float32))
        ark.write("spk2-utt2", np.ones((299, FEAT_DIM), np.float32))
        ark.write("spk2-utt5", np.zeros(77, np.float32))  # unvoiced throughout
    cut = tmp_path / "cut.ark"
    cut.write_bytes(Path(feats["spk0-utt3"].rpartition(":")[0]).read_bytes()[:400])
    changes = {"spk0-utt0": ark.scp["spk0-utt0"], "spk2-utt2": ark.scp["spk2-utt2"], "spk0-utt6": f"{cut}:10"}
    write_table(data_dir / "feats.scp", {utt: rx for utt, rx in (feats | changes).items() if utt != "spk1-utt1"})
    vads["spk2-utt5"] = ark.scp["spk2-utt5"]
    write_table(data_dir / "vad.scp", {utt: rx for utt, rx in vads.items() if utt != "spk1-utt7"})
    model, out = make_model(ECAPA), tmp_path / "xvector"

    with pytest.raises(DataError, match=r"6 of 8 utterances have no embedding.*--allow-missing 6"):
        extract_embeddings(model, data_dir, out, allow_missing=5)
    reasons = {
        "spk0-utt0": "not finite",
        "spk0-utt6": "cut.ark",
        "spk1-utt1": "not in feats.scp",
        "spk1-utt7": "not in vad.scp",
        "spk2-utt2": "299 frames of features",
        "spk2-utt5": "no frames",
    }
    messages = [record.getMessage() for record in caplog.records]
    for utt, reason in reasons.items():
        assert any(message.startswith(f"{utt}: no embedding: ") and reason in message for message in messages)
    assert [path.name for path in tmp_path.glob("xvector*")] == ["xvector.missing"]
    assert sorted(read_table(tmp_path / "xvector.missing")) == sorted(reasons)

    extract_embeddings(model, data_dir, out, allow_missing=6)
    ids, vectors = read_vectors(tmp_path / "xvector.scp")
    assert ids == ["spk0-utt3", "spk1-utt4"]
    assert np.isfinite(vectors).all()


def test_a_killed_run_is_gone_on_with_and_gives_the_same_bytes(
    data_dir: Path,
    make_model: Callable[[dict[str, Any]], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vector_parts, "_MEAN_SIZE", 1)
    model = make_model(XVECTOR)
    read: list[str] = []
    killed_after = [1000]

    def reading(utterance: Utterance, *args: object, **kwargs: object) -> object:
        if len(read) == killed_after[0]:
            raise KeyboardInterrupt
        read.append(utterance.utt)
        return original(utterance, *args, **kwargs)

    original = pieces._read
    monkeypatch.setattr(pieces, "_read", reading)
    extract_embeddings(model, data_dir, tmp_path / "whole" / "x", nj=1)
    assert sorted(read) == sorted(read_table(data_dir / "feats.scp"))
    read.clear()
    killed_after[0] = 6
    with pytest.raises(KeyboardInterrupt):
        extract_embeddings(model, data_dir, tmp_path / "killed" / "x", nj=1)
    assert not (tmp_path / "killed" / "x.ark").exists()
    kept = len(list((tmp_path / "killed").glob(".x.parts/*/part.json")))
    assert kept >= 1
    read.clear()
    killed_after[0] = 1000
    extract_embeddings(model, data_dir, tmp_path / "killed" / "x", nj=1)
    assert len(read) < len(NUM_FRAMES)
    assert (tmp_path / "killed" / "x.ark").read_bytes() == (tmp_path / "whole" / "x.ark").read_bytes()
    read.clear()
    extract_embeddings(model, data_dir, tmp_path / "killed" / "x", nj=1)
    assert read == []
    (model / "final.pt").write_bytes((model / "final.pt").read_bytes() + b" ")
    extract_embeddings(model, data_dir, tmp_path / "killed" / "x", nj=1)
    assert len(read) == len(NUM_FRAMES), "another network"


def test_shares_are_of_like_length() -> None:
    lengths = {"a": 7, "b": 5, "c": 4, "d": 4}
    options = NormalizeOptions()
    parts = [vector_parts.Part([Utterance(utt, None, None, options)], Path(utt)) for utt in [*lengths, "e"]]
    shares = vector_parts.deal_by_length(parts, 2, lengths)
    assert [[part.items[0].name for part in share] for share in shares] == [["a", "d"], ["b", "c", "e"]]


def test_nothing_at_all_is_an_error_whatever_is_allowed(
    data_dir: Path, make_model: Callable[[dict[str, Any]], Path], tmp_path: Path
) -> None:
    write_table(data_dir / "vad.scp", {"other": "x"})
    with pytest.raises(DataError, match="8 of 8 utterances have no embedding"):
        extract_embeddings(make_model(ECAPA), data_dir, tmp_path / "xvector", allow_missing=100)


def test_features_of_another_dimension_are_an_error_at_once() -> None:
    network = build_network(ECAPA, 13).eval()
    with pytest.raises(DataError, match="features of a have dimension 12; the network takes 13"):
        extract(network, [("a", np.zeros((20, 12), np.float32))])


def test_long_utterances_are_averages_over_equal_windows() -> None:
    network = build_network(XVECTOR, FEAT_DIM).eval()
    feats = np.random.default_rng(0).normal(size=(205, FEAT_DIM)).astype(np.float32)
    result = extract(network, [("a", feats), ("b", feats[:100])], ExtractOptions(max_frames=100))
    assert result.windowed == ["a"]
    with torch.inference_mode():
        parts = [network(torch.from_numpy(part)[None])[0] for part in (feats[:69], feats[69:137], feats[137:])]
    expected = (69 * parts[0] + 68 * parts[1] + 68 * parts[2]) / 205
    assert np.abs(result.vectors["a"] - expected.numpy()).max() <= 1e-5


def test_windows_are_never_shorter_than_the_network_takes() -> None:
    network = build_network(XVECTOR, FEAT_DIM).eval()
    utterances = [(f"{length}", np.ones((length, FEAT_DIM), np.float32)) for length in range(1, 80)]
    result = extract(network, utterances, ExtractOptions(max_frames=1))
    assert not result.failures and len(result.vectors) == 79 and len(result.repeated) == 14


@pytest.mark.parametrize(
    ("max_frames", "overlap", "length", "starts"),
    [
        (80, 0.5, 80, [0, 40, 80, 120, 125]),
        (80, 0.25, 80, [0, 60, 120, 125]),
        (165, 0.5, 165, [0, 40]),
        (205, 0.5, 205, [0]),
        (10, 0.8, 15, [*range(0, 190, 3), 190]),  # as long as the network needs
    ],
)
def test_overlapping_windows_are_equally_long_and_end_where_the_utterance_ends(
    max_frames: int, overlap: float, length: int, starts: list[int]
) -> None:
    network = build_network(XVECTOR, FEAT_DIM).eval()
    feats = np.random.default_rng(0).normal(size=(205, FEAT_DIM)).astype(np.float32)
    utterances = [("a", feats), ("b", feats[:7])]
    result = extract(network, utterances, ExtractOptions(max_frames=max_frames, overlap=overlap))
    assert result.windowed == ["a"] * (len(starts) > 1) and result.repeated == ["b"]
    with torch.inference_mode():
        windows = network(torch.from_numpy(np.stack([feats[start : start + length] for start in starts])))
    assert np.abs(result.vectors["a"] - windows.mean(0).numpy()).max() <= 1e-5


def test_overlap_is_a_share() -> None:
    for overlap in (-0.1, 1.0):
        with pytest.raises(DataError, match=f"overlap is {overlap}"):
            ExtractOptions(overlap=overlap)


def test_the_script_takes_an_overlap(
    data_dir: Path, make_model: Callable[[dict[str, Any]], Path], tmp_path: Path
) -> None:
    model = make_model(XVECTOR)
    for name, overlap in (("equal", 0.0), ("overlapping", 0.5)):
        extract_embeddings(model, data_dir, tmp_path / name, max_frames=40, overlap=overlap)
    (ids, equal), (_, overlapping) = (read_vectors(tmp_path / f"{name}.scp") for name in ("equal", "overlapping"))
    differ = [utt for utt, one, two in zip(ids, equal, overlapping, strict=True) if np.abs(one - two).max() > 1e-4]
    assert {"spk2-utt2", "spk0-utt6"} <= set(differ) and "spk1-utt4" not in differ


def test_padding_is_bounded_and_memory_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    forward = SpeakerNetwork.forward

    def spy(self: SpeakerNetwork, feats: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        shapes.append(tuple(feats.shape))
        return forward(self, feats, lengths)

    monkeypatch.setattr(SpeakerNetwork, "forward", spy)
    network = build_network(XVECTOR, FEAT_DIM).eval()
    lengths = np.random.default_rng(0).integers(20, 400, 300)
    utterances = [(f"{number:03}", np.zeros((length, FEAT_DIM), np.float32)) for number, length in enumerate(lengths)]
    extract(network, iter(utterances), ExtractOptions(batch_frames=2000, max_frames=300))
    assert max(batch * frames for batch, frames, _ in shapes) <= 2000
    assert sum(batch * frames for batch, frames, _ in shapes) <= 1.15 * lengths.sum()


def test_an_error_in_reading_comes_through() -> None:
    def broken() -> Any:
        yield "a", np.zeros((20, FEAT_DIM), np.float32)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        extract(build_network(XVECTOR, FEAT_DIM).eval(), broken())


def test_the_scripts_start_without_torch(root: Path) -> None:
    code = "import sys, steps.extract_statistics, steps.extract_embeddings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_unknown_device_is_an_error_in_one_line(
    data_dir: Path, make_model: Callable[[dict[str, Any]], Path], tmp_path: Path
) -> None:
    model = make_model(ECAPA)
    for name, said in (("gpu", r"is none: cpu, cuda \(the first GPU\) or cuda:N"), ("cuda:99", "is not available")):
        with pytest.raises(DataError, match=f"device '{name}' {said}"):
            extract_embeddings(model, data_dir, tmp_path / "xvector", name)
