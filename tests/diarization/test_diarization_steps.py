"""The steps of diarization one after the other, as a user calls them, on conversations whose speakers are known."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from steps.agglomerative_cluster import agglomerative_cluster
from steps.cluster_windows import cluster_windows
from steps.extract_windows import extract_windows
from steps.make_windows import make_windows
from steps.resegment_vbx import resegment_vbx
from steps.score_dense import score_dense
from steps.score_der import score_der
from steps.tune_diarization import tune_diarization
from timbre.backend.model_files import write_object, write_plda
from timbre.datadir.ark import ArkWriter, read_ark, read_mat, read_vectors, write_vectors
from timbre.datadir.datadir import DataDir
from timbre.datadir.rttm import Turn, read_rttm, write_rttm
from timbre.datadir.tables import read_table, write_table
from timbre.diarization.spectral import SpectralOptions
from timbre.diarization.vbx import VbxOptions
from timbre.nnet import checkpoint
from timbre.nnet.model import write_config
from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.runtime.ahc import AhcOptions
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.runtime.spans import WindowOptions
from timbre.utils.errors import DataError

DIM, FEAT_DIM = 16, 12
SECONDS = 60


def write_set(path: Path, name: str, num_recordings: int, seed: int, num_speakers: int = 3) -> Path:
    """Recordings with turns of 2 to 6 s and pauses (rttm), and random features and VAD decisions that fit."""
    rng = np.random.default_rng(seed)
    path.mkdir()
    turns: dict[str, list[Turn]] = {}
    with ArkWriter(path / "feats.ark") as feats, ArkWriter(path / "vad.ark") as vad:
        for number in range(num_recordings):
            recording, start, speaker = f"{name}{number}", 0.5, 0
            voiced = np.zeros(100 * SECONDS, np.float32)
            while start < SECONDS - 7:
                end = round(start + rng.uniform(2, 6), 2)
                turns.setdefault(recording, []).append(Turn(start, end, f"{name}-spk{speaker}"))
                voiced[round(100 * start) : round(100 * end)] = 1
                speaker, start = (speaker + int(rng.integers(1, num_speakers))) % num_speakers, round(end + 0.5, 2)
            feats.write(recording, rng.standard_normal((100 * SECONDS, FEAT_DIM)))
            vad.write(recording, voiced)
    write_table(path / "feats.scp", feats.scp)
    write_table(path / "vad.scp", vad.scp)
    for table, value in (("wav.scp", "missing.wav"), ("utt2dur", str(SECONDS))):
        write_table(path / table, dict.fromkeys(turns, value))
    write_table(path / "utt2spk", {recording: recording for recording in turns})
    write_table(path / "reco2num_spk", {key: str(len({turn.speaker for turn in one})) for key, one in turns.items()})
    write_rttm(path / "rttm", turns)
    return path


def write_embeddings(data: Path, windows: Path, seed: int = 0) -> Path:
    """Vectors as the model of `backend` expects them, of who speaks in the middle of each window."""
    turns, segments = read_rttm(data / "rttm"), DataDir.read(windows).segments
    rng = np.random.default_rng(seed)
    voices, _ = np.linalg.qr(rng.standard_normal((DIM, DIM)))  # one at right angles to the other
    vectors = []
    for segment in segments.values():
        middle = (segment.start + segment.end) / 2
        speaker = next(turn.speaker for turn in turns[segment.recording] if turn.start <= middle <= turn.end)
        vectors.append(3 * DIM**0.5 * voices[:, int(speaker[-1])] + rng.standard_normal(DIM))
    write_vectors(windows / "xvector", list(segments), np.array(vectors, np.float32))
    return windows / "xvector.scp"


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backend")
    write_plda(path / "plda", np.zeros(DIM), np.eye(DIM), np.full(DIM, 9.0))
    write_object(path / "mean.vec", np.zeros(DIM))
    (path / "backend.yaml").write_text("length_norm: false\n")
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Windows of a development and a test set, with embeddings, beside the sets: <set>/../<set>_windows."""
    folder = tmp_path_factory.mktemp("sets")
    paths = {}
    for seed, name in enumerate(("dev", "test")):
        data = write_set(folder / name, name, 3, seed)
        make_windows(data, folder / f"{name}_windows", windows=WindowOptions(max_gap=0.2))
        write_embeddings(data, folder / f"{name}_windows", seed)
        paths[name], paths[f"{name}_windows"] = data, folder / f"{name}_windows"
    return paths


def der(sets: dict[str, Path], hypothesis: Path, **options: object) -> float:
    out = hypothesis.parent / "der.json"
    score_der(sets["test"] / "rttm", hypothesis, out, tuned_on=sets["dev"] / "rttm", **options)  # type: ignore[arg-type]
    return float(json.loads(out.read_text())["all"]["der"])


def test_windows_of_the_vad_and_of_rttm_are_the_same(sets: dict[str, Path], tmp_path: Path) -> None:
    make_windows(sets["test"], tmp_path / "oracle", sets["test"] / "rttm", WindowOptions(max_gap=0.2))
    assert DataDir.read(tmp_path / "oracle").segments == DataDir.read(sets["test_windows"]).segments


@pytest.mark.parametrize("scoring", ["cosine", "plda"])
@pytest.mark.parametrize("method", ["ahc", "spectral"])
def test_tuned_on_one_set_finds_the_speakers_of_another(
    sets: dict[str, Path], backend: Path, tmp_path: Path, method: str, scoring: str
) -> None:
    grid = {"threshold": [-300.0, -10.0, 0.4, 30.0], "min_windows": [2.0]} if method == "ahc" else {"keep": [0.05, 0.3]}
    dev, test = sets["dev_windows"], sets["test_windows"]
    truths = sets["dev"] / "rttm", sets["test"] / "rttm"
    tune_diarization(
        dev,
        dev / "xvector.scp",
        *truths,
        tmp_path,
        method,
        grid,
        scoring,
        backend,
        nj=1,  # type: ignore[arg-type]
    )
    tuned = yaml.safe_load((tmp_path / f"{method}.yaml").read_text())
    options = {method: {"ahc": AhcOptions, "spectral": SpectralOptions}[method](**tuned)}
    out = tmp_path / "found"
    cluster_windows(test, test / "xvector.scp", out, method, scoring, backend, nj=1, **options)  # type: ignore[arg-type]
    assert der(sets, out / "rttm") < 0.01
    assert len((tmp_path / f"{method}.tsv").read_text().splitlines()) == 1 + len(next(iter(grid.values())))


def test_known_numbers_of_speakers(sets: dict[str, Path], backend: Path, tmp_path: Path) -> None:
    test, numbers = sets["test_windows"], sets["test"] / "reco2num_spk"
    strict = AhcOptions(1e6)
    for method in ("ahc", "spectral"):
        out = tmp_path / method
        cluster_windows(
            test, test / "xvector.scp", out, method, "plda", backend, 1.0, strict, reco2num_spk=numbers, nj=1
        )  # type: ignore[arg-type]
        found = read_rttm(out / "rttm")
        assert {key: str(len({turn.speaker for turn in one})) for key, one in found.items()} == read_table(numbers)


def test_vbx_puts_together_what_clustering_left_apart(sets: dict[str, Path], backend: Path, tmp_path: Path) -> None:
    test = sets["test_windows"]
    cluster_windows(test, test / "xvector.scp", tmp_path / "many", "ahc", "plda", backend, ahc=AhcOptions(25.0), nj=1)
    before = der(sets, tmp_path / "many" / "rttm")
    vbx = VbxOptions(fa=1.0, fb=2.0, loop=0.5)
    resegment_vbx(test, test / "xvector.scp", tmp_path / "many" / "labels", backend, tmp_path / "vbx", vbx, nj=1)
    assert before > 0.1
    assert der(sets, tmp_path / "vbx" / "rttm") < 0.01


def test_matrices_of_scores_lead_to_the_same_labels(sets: dict[str, Path], backend: Path, tmp_path: Path) -> None:
    test = sets["test_windows"]
    lists, xvectors = test / "spk2utt", test / "xvector.scp"
    cluster_windows(test, xvectors, tmp_path / "at_once", "ahc", "plda", backend, ahc=AhcOptions(1.0), nj=1)
    score_dense(lists, xvectors, tmp_path / "scores", "plda", backend)
    agglomerative_cluster(tmp_path / "scores.scp", lists, tmp_path / "labels", ahc=AhcOptions(1.0))
    assert read_table(tmp_path / "labels") == read_table(tmp_path / "at_once" / "labels")
    with ArkWriter(tmp_path / "costs.ark") as costs:
        for recording, scores in read_ark(tmp_path / "scores.ark"):
            costs.write(recording, -scores)
    write_table(tmp_path / "costs.scp", costs.scp)
    agglomerative_cluster(tmp_path / "costs.scp", lists, tmp_path / "by_cost", True, ahc=AhcOptions(-1.0))
    assert read_table(tmp_path / "by_cost") == read_table(tmp_path / "labels")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that nobody trained."""
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    trunk = {"class_path": "XvectorTdnn", "init_args": {"channels": [16, 16, 16, 16, 24]}}
    network = build_network({"trunk": trunk, "pooling": "StatisticsPooling", "embedding_dim": 10}, FEAT_DIM)
    normalization = {"cmn": "sliding", "window": 300, "norm_vars": False, "vad": True}
    write_config({"network": network.config, "feat_dim": FEAT_DIM, "normalize": normalization}, path)
    checkpoint.save({"network": network.state_dict()}, path / "final.pt")
    return path


def alone(model: Path, feats: np.ndarray) -> np.ndarray:
    from timbre.nnet.model import load_model

    network: SpeakerNetwork = load_model(model, torch.device("cpu"))[0]
    with torch.inference_mode():
        embedding: np.ndarray = network(torch.from_numpy(feats[None]), None)[0].numpy()
    return embedding


@pytest.mark.parametrize("cmn", ["recording", "window"])
def test_embeddings_are_those_of_frames_of_the_recording(
    sets: dict[str, Path], model: Path, tmp_path: Path, cmn: str
) -> None:
    windows = sets["test_windows"]
    extract_windows(model, sets["test"], windows, tmp_path / "xvector", cmn)  # type: ignore[arg-type]
    ids, vectors = read_vectors(tmp_path / "xvector.scp")
    segments = DataDir.read(windows).segments
    assert ids == list(segments)
    options = NormalizeOptions(window=300, vad=False)
    for row in (0, 7, len(ids) - 1):
        segment = segments[ids[row]]
        whole = read_mat(read_table(sets["test"] / "feats.scp")[segment.recording])
        frames = slice(round(100 * segment.start), round(100 * segment.end))
        feats = (
            normalize(whole, None, options)[frames] if cmn == "recording" else normalize(whole[frames], None, options)
        )
        np.testing.assert_allclose(vectors[row], alone(model, feats), atol=1e-5)


def test_timelines_are_written(sets: dict[str, Path], tmp_path: Path) -> None:
    truth = sets["test"] / "rttm"
    turns = read_rttm(truth)["test1"]
    write_rttm(tmp_path / "rttm", {"test1": [*turns[:-1], Turn(turns[-1].start, turns[-1].end, "nobody")]})
    score_der(truth, tmp_path / "rttm", draws=0, plot_dir=tmp_path / "plots", plot_recordings=["test1"])
    svg = (tmp_path / "plots" / "test1.svg").read_text()
    assert (tmp_path / "plots" / "test1.png").stat().st_size > 5000
    assert all(f">{name}<" in svg for name in ("test-spk0", "nobody", "reference", "found"))
    with pytest.raises(DataError, match="no recording 'other'"):
        score_der(truth, truth, draws=0, plot_dir=tmp_path, plot_recordings=["other"])


def test_tuning_on_the_test_set_is_refused(sets: dict[str, Path], tmp_path: Path) -> None:
    dev = sets["dev_windows"]
    arguments = (dev, dev / "xvector.scp", sets["dev"] / "rttm")
    with pytest.raises(DataError, match="recording 'dev0' is in the development set and in the test set"):
        tune_diarization(*arguments, sets["dev"] / "rttm", tmp_path, values={"threshold": [0.0]}, scoring="cosine")
    with pytest.raises(DataError, match="values of min_windows to try"):
        values = {"min_windows": [1.5]}
        tune_diarization(*arguments, sets["test"] / "rttm", tmp_path, values=values, scoring="cosine")
    with pytest.raises(DataError, match="values must name options of ahc"):
        tune_diarization(*arguments, sets["test"] / "rttm", tmp_path, values={"keep": [0.1]}, scoring="cosine")
    with pytest.raises(DataError, match="recording 'test0' is in the development set"):
        score_der(sets["test"] / "rttm", sets["test"] / "rttm", tuned_on=sets["test"] / "rttm")


def test_bad_input_is_named(sets: dict[str, Path], backend: Path, tmp_path: Path) -> None:
    test = sets["test_windows"]
    with pytest.raises(DataError, match="PLDA needs --backend-dir"):
        cluster_windows(test, test / "xvector.scp", tmp_path)
    with pytest.raises(DataError, match="no segments in it"):
        cluster_windows(sets["test"], test / "xvector.scp", tmp_path, scoring="cosine")
    (tmp_path / "numbers").write_text("test0 2\ntest1 many\n")
    with pytest.raises(DataError, match=r"numbers:2: the number of speakers of 'test1' is 'many'"):
        cluster_windows(test, test / "xvector.scp", tmp_path, scoring="cosine", reco2num_spk=tmp_path / "numbers")
    (tmp_path / "labels").write_text("test0-00000050-00000200 1\n")
    with pytest.raises(DataError, match=r"labels: no speaker for window"):
        resegment_vbx(test, test / "xvector.scp", tmp_path / "labels", backend, tmp_path / "out")
    write_rttm(tmp_path / "strange", {"strange": [Turn(0, 1, "a")]})
    with pytest.raises(DataError, match=r"strange: recording 'strange' is not in"):
        make_windows(sets["test"], tmp_path / "out", tmp_path / "strange")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("utt2dur", "test0 60\ntest1 long\ntest2 60\n", r"utt2dur:2: the length of 'test1' is 'long'"),
        ("utt2dur", "test0 60\ntest1 60\n", r"utt2dur: recording 'test2' is not in it"),
        ("frame_shift", "-0.01\n", r"frame_shift: '-0.01' is not a number of seconds"),
        ("vad.scp", "test0 missing.ark:6\n", r"vad.scp: recording 'test1' is not in it"),
        ("vad.scp", "".join(f"test{n} missing.ark:6\n" for n in range(3)), r"missing.ark: cannot read"),
    ],
)
def test_bad_files_of_recordings_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    data = write_set(tmp_path / "test", "test", 3, 0)
    (data / name).write_text(text)
    with pytest.raises(DataError, match=message):
        make_windows(data, tmp_path / "out")


def test_embeddings_of_windows_that_are_there_are_kept(
    sets: dict[str, Path], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract_windows(model, sets["test"], sets["test_windows"], tmp_path / "xvector")
    before = (tmp_path / "xvector.ark").read_bytes()
    (tmp_path / "xvector.ark").unlink()
    monkeypatch.setattr("timbre.embedding.extract._forward", None)  # no network is run
    extract_windows(model, sets["test"], sets["test_windows"], tmp_path / "xvector")
    assert (tmp_path / "xvector.ark").read_bytes() == before
    with pytest.raises(TypeError):
        extract_windows(model, sets["test"], sets["test_windows"], tmp_path / "xvector", "window")


def test_a_window_without_features_fails(sets: dict[str, Path], model: Path, tmp_path: Path) -> None:
    data = write_set(tmp_path / "test", "test", 3, 1)
    write_table(data / "feats.scp", {"test0": read_table(data / "feats.scp")["test0"]})
    with pytest.raises(DataError, match="have no embedding"):
        extract_windows(model, data, sets["test_windows"], tmp_path / "xvector")
    assert not (tmp_path / "xvector.scp").exists()


def test_a_bad_line_of_rttm_is_told_at_the_terminal(root: Path, sets: dict[str, Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.rttm"
    bad.write_text((sets["test"] / "rttm").read_text() + "SPEAKER test0 1 -3.0 1.0 <NA> <NA> x <NA> <NA>\n")
    line = len(bad.read_text().splitlines())
    command = [sys.executable, root / "steps" / "score_der.py", bad, bad]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout
    expected = f"score_der.py: error: {bad}:{line}: the start is -3.0; it must be a number of seconds, 0 or more\n"
    assert done.stderr == expected
