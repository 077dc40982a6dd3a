"""Trials scored by the head of a siamese model, one by one and through the step."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from egs_corpus import DIM, NETWORK
from steps.score_siamese import score_siamese
from timbre.datadir.ark import write_vectors
from timbre.datadir.trials import read_scores, read_trials
from timbre.nnet import checkpoint
from timbre.nnet.model import write_config
from timbre.nnet.objectives import Objective, Siamese, build_objective
from timbre.training.options import TrainOptions
from timbre.training.resume import make_config
from timbre.utils.cli import run_step

EMBEDDING_DIM, SPEAKERS = 16, 5
SIAMESE = {"class_path": "Siamese", "init_args": {"hidden_dims": [12, 7], "dropout": 0.5}}
SUM = {"class_path": "WeightedSum", "init_args": {"terms": [{"class_path": "AamSoftmax"}, {"weight": 2, **SIAMESE}]}}
SYMMETRIC = {"class_path": "Siamese", "init_args": {"inputs": "symmetric", "hidden_dims": [12]}}

Fails = Callable[..., str]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fails:
    """Runs the step, which must fail, and returns its one line."""

    def call(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["score_siamese.py", *map(str, words)])
        with pytest.raises(SystemExit) as exit_info:
            run_step(score_siamese)
        message = capsys.readouterr().err
        assert exit_info.value.code == 1 and message.count("\n") == 1
        return message.removeprefix("score_siamese.py: error: ")

    return call


def write_model(path: Path, config: dict[str, Any], network: dict[str, Any] | None = None) -> Objective:
    """A model directory with three checkpoints, whose final.pt is from two; the objective as their mean."""
    dim = EMBEDDING_DIM if network is None else 64
    network = network or yaml.safe_load(NETWORK)
    states = {}
    for step in (9, 10, 8):
        torch.manual_seed(step)
        objective = build_objective(config, dim, SPEAKERS)
        states[step] = objective.state_dict()
        state = {"step": step, "network": {}, "objective": states[step]}
        checkpoint.save(state, checkpoint.checkpoint_path(path, step))
    checkpoint.write_final([checkpoint.checkpoint_path(path, step) for step in (8, 10)], path)
    write_config(make_config(network, objective.config, DIM, SPEAKERS, {}, TrainOptions(), None, "", None), path)
    objective.load_state_dict({name: (value + states[10][name]) / 2 for name, value in states[8].items()})
    return objective.eval()


def head_of(objective: Objective) -> Siamese:
    return next(module for module in objective.modules() if isinstance(module, Siamese))


def write_trials(path: Path, number: int = 2500, dim: int = EMBEDDING_DIM) -> dict[str, np.ndarray]:
    """NUMBER trials, more than are scored at a time, and the vectors they name."""
    rng = np.random.default_rng(0)
    ids = [f"utt{number:03d}" for number in range(60)]
    vectors = dict(zip(ids, rng.normal(size=(60, dim)).astype(np.float32), strict=True))
    write_vectors(path / "x", ids, np.stack(list(vectors.values())))
    pairs = rng.choice(3600, number, replace=False)
    lines = [f"{ids[pair // 60]} {ids[pair % 60]} {'target' if pair % 2 else 'nontarget'}\n" for pair in pairs]
    (path / "trials").write_text("".join(lines))
    return vectors


@pytest.mark.parametrize("config", [SIAMESE, SYMMETRIC, SUM], ids=["concat", "symmetric", "sum"])
def test_scores_are_the_logits_of_the_mean_head(tmp_path: Path, config: dict[str, Any]) -> None:
    head = head_of(write_model(tmp_path / "model", config))
    vectors = write_trials(tmp_path)
    side = tmp_path / "x.scp"
    score_siamese(tmp_path / "trials", side, side, tmp_path / "model", tmp_path / "scores")
    lines = [line.split() for line in (tmp_path / "trials").read_text().splitlines()]
    written = [line.split() for line in (tmp_path / "scores").read_text().splitlines()]
    assert [line[:2] for line in written] == [line[:2] for line in lines]
    with torch.no_grad():
        for (enroll, test, _), (*_, score) in list(zip(lines, written, strict=True))[::50]:
            one, other = (torch.from_numpy(vectors[utt])[None] for utt in (enroll, test))
            assert float(score) == pytest.approx(float(head.score(one, other)), abs=1e-5)
    scores = [float(line[2]) for line in written]
    assert np.std(scores) > 1e-3

    (tmp_path / "swapped").write_text("".join(f"{test} {enroll} {label}\n" for enroll, test, label in lines))
    score_siamese(tmp_path / "swapped", side, tmp_path / "x.ark", tmp_path / "model", tmp_path / "scores", nj=1)
    assert np.allclose(read_scores(tmp_path / "scores", read_trials(tmp_path / "swapped")), scores, atol=1e-6)


def test_models_are_averages_of_their_utterances(tmp_path: Path) -> None:
    head = head_of(write_model(tmp_path / "model", SIAMESE))
    vectors = write_trials(tmp_path)
    (tmp_path / "trials").write_text("model utt003 target\nutt001 utt004 nontarget\n")
    (tmp_path / "spk2utt").write_text("model utt000 utt002\n")
    side = tmp_path / "x.scp"
    score_siamese(tmp_path / "trials", side, side, tmp_path / "model", tmp_path / "scores", tmp_path / "spk2utt")
    enroll = torch.from_numpy(np.stack([(vectors["utt000"] + vectors["utt002"]) / 2, vectors["utt001"]]))
    test = torch.from_numpy(np.stack([vectors["utt003"], vectors["utt004"]]))
    scores = read_scores(tmp_path / "scores", read_trials(tmp_path / "trials"))
    assert np.allclose(scores, head.score(enroll, test).detach().numpy(), atol=1e-6)


def test_mean_of_the_scores_of_a_models_utterances(tmp_path: Path) -> None:
    head = head_of(write_model(tmp_path / "model", SIAMESE))
    vectors = write_trials(tmp_path)
    (tmp_path / "trials").write_text("other utt004 nontarget\nmodel utt003 target\nutt001 utt004 nontarget\n")
    models = {"model": ["utt000", "utt002", "utt005"], "other": ["utt003", "utt001"]}
    (tmp_path / "spk2utt").write_text("".join(f"{key} {' '.join(utts)}\n" for key, utts in models.items()))
    side, trials = tmp_path / "x.scp", read_trials(tmp_path / "trials")
    options = (tmp_path / "scores", tmp_path / "spk2utt", "scores")
    score_siamese(tmp_path / "trials", side, side, tmp_path / "model", *options)
    pairs = [line.split()[:2] for line in (tmp_path / "trials").read_text().splitlines()]
    for score, (enroll, test) in zip(read_scores(tmp_path / "scores", trials), pairs, strict=True):
        utts = models.get(enroll, [enroll])
        sides = (torch.from_numpy(np.stack([vectors[utt] for utt in chosen])) for chosen in (utts, [test] * len(utts)))
        assert score == pytest.approx(head.score(*sides).mean().item(), abs=1e-6)


def test_a_network_without_an_embedding_layer_will_do(tmp_path: Path) -> None:
    """Its embedding is what its pooling makes: mean and deviation of 32 channels."""
    network = yaml.safe_load(NETWORK) | {"embedding_dim": None}
    head = head_of(write_model(tmp_path / "model", SIAMESE, network))
    vectors = write_trials(tmp_path, dim=64)
    (tmp_path / "trials").write_text("utt000 utt003 target\n")
    side = tmp_path / "x.scp"
    score_siamese(tmp_path / "trials", side, side, tmp_path / "model", tmp_path / "scores")
    expected = head.score(*(torch.from_numpy(vectors[utt])[None] for utt in ("utt000", "utt003")))
    score = read_scores(tmp_path / "scores", read_trials(tmp_path / "trials"))[0]
    assert score == pytest.approx(expected.item(), abs=1e-6)


def test_what_cannot_be_scored_is_told_in_one_line(tmp_path: Path, fails: Fails) -> None:
    vectors = write_trials(tmp_path)
    model, side = tmp_path / "model", tmp_path / "x.scp"
    words = (tmp_path / "trials", side, side, model, tmp_path / "scores")
    assert fails(*words) == f"{model}/config.yaml: no such file: not a model directory\n"

    write_model(model, {"class_path": "AamSoftmax"})
    assert fails(*words).startswith(f"{model}/config.yaml: the objective AamSoftmax has no head that compares pairs")

    write_model(model, SYMMETRIC)
    other = build_objective(SIAMESE, EMBEDDING_DIM, SPEAKERS).state_dict()
    first, last = (checkpoint.checkpoint_path(model, step) for step in (8, 10))
    checkpoint.save({"objective": other}, last)
    assert fails(*words).startswith(f"{first}: not the same objective as {last}")
    checkpoint.save({"objective": other}, first)
    assert fails(*words).startswith(f"{last}: not the objective of config.yaml: ")
    checkpoint.save({"network": {}}, last)
    assert fails(*words).startswith(f"{last}: holds no objective")
    last.write_bytes(b"PK")
    assert fails(*words).startswith(f"{last}: ")
    last.unlink()
    assert fails(*words).startswith(f"{last}: no such file; final.pt is from it")
    checkpoint.save({"network": {}}, model / "final.pt")
    assert fails(*words).startswith(f"{model}/final.pt: does not say which checkpoints")

    write_model(model, SIAMESE)
    write_vectors(tmp_path / "x", list(vectors), np.zeros((60, 9), np.float32))
    assert "the vectors are of dimension 9; the model's embeddings have 16" in fails(*words)
    config = yaml.safe_load((model / "config.yaml").read_text())
    del config["objective"]
    write_config(config, model)
    assert "it lacks objective or num_speakers" in fails(*words)
    write_config(config | {"objective": {"class_path": "Arc"}}, model)
    assert fails(*words).startswith(f"{model}/config.yaml: objective 'Arc' is unknown")
    assert not (tmp_path / "scores").exists()
