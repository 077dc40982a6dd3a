"""Binary trial lists and scores through the steps, and the full matrix of scores."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from steps.compute_metrics import compute_metrics
from steps.copy_scores import copy_scores
from steps.copy_trials import copy_trials
from steps.score_matrix import score_matrix
from steps.score_trials import score_trials
from timbre.backend.backends import PldaBackend
from timbre.backend.plda import Plda
from timbre.backend.vectors import Projection
from timbre.datadir.ark import write_vectors
from timbre.datadir.trials import Trials, read_scores, read_trials, write_trials
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """60 utterances of 12 speakers, three models, a list of trials, a PLDA model."""
    rng = np.random.default_rng(0)
    ids = [f"s{number % 12:02d}-u{number // 12}" for number in range(60)]
    centers = rng.standard_normal((12, 5), dtype=np.float32)
    write_vectors(tmp_path / "x", ids, centers[np.arange(60) % 12] + rng.standard_normal((60, 5), dtype=np.float32))
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {utt[:3]}\n" for utt in sorted(ids)))
    (tmp_path / "models").write_text("s00 s00-u0 s00-u1\ns01 s01-u3\ns07 s07-u0 s07-u1 s07-u4\n")
    enroll, test = rng.integers(0, 60, (2, 400)).astype(np.int32)
    write_trials(tmp_path / "trials", Trials(ids, ids, enroll, test, enroll % 12 == test % 12))
    plda = Plda(np.zeros(5), np.eye(5), np.linspace(2, 0.5, 5))
    PldaBackend(Projection(rng.standard_normal(5), None, "sqrt_dim"), plda).write(tmp_path / "plda")
    return tmp_path


def test_binary_forms_give_what_text_gives(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scp = folder / "x.scp"
    copy_trials(folder / "trials", folder / "trials.npz")
    score_trials(folder / "trials", scp, scp, folder / "eval.cosine")
    score_trials(folder / "trials.npz", scp, scp, folder / "eval.cosine.npy")
    copy_scores(folder / "eval.cosine.npy", folder / "back", folder / "trials.npz")
    text, binary = (read_scores(folder / name, read_trials(folder / "trials")) for name in ("eval.cosine", "back"))
    assert np.allclose(text, binary, atol=1e-7)
    copy_scores(folder / "eval.cosine", folder / "again.npy", folder / "trials")
    assert (folder / "again.npy").read_bytes() == (folder / "eval.cosine.npy").read_bytes()

    said = []
    for trials, scores in (("trials", "eval.cosine"), ("trials.npz", "eval.cosine.npy"), ("trials.npz", "eval.cosine")):
        compute_metrics(folder / trials, folder / scores, draws=50)
        said.append(capsys.readouterr().out)
    assert said[0].startswith("eval.cosine: ")
    assert said[0] == said[1] == said[2]


@pytest.mark.parametrize("models", [False, True])
@pytest.mark.parametrize("backend", ["cosine", "plda"])
def test_the_matrix_is_the_scores_of_all_pairs(backend: str, models: bool, folder: Path) -> None:
    scp, spk2utt = folder / "x.scp", folder / "models" if models else None
    plda = folder / "plda" if backend == "plda" else None
    score_matrix(scp, scp, folder / "all.npy", plda, enroll_spk2utt=spk2utt)
    matrix = np.load(folder / "all.npy", mmap_mode="r")
    rows, columns = ((folder / f"all.npy.{name}").read_text().split() for name in ("rows", "columns"))
    assert matrix.shape == (len(rows), len(columns)) == (3 if models else 60, 60)
    pairs = [(row, column) for row in rows for column in columns]
    enroll, test = zip(*pairs, strict=True)
    trials = Trials.of(enroll, test, [False] * len(pairs))
    write_trials(folder / "pairs", trials)
    score_trials(folder / "pairs", scp, scp, folder / "scores", plda, enroll_spk2utt=spk2utt)
    assert np.allclose(matrix.ravel(), read_scores(folder / "scores", trials), atol=1e-5)


@pytest.mark.parametrize("step", [copy_trials, copy_scores, score_matrix])
def test_help_explains_every_option(
    step: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["step", "--help"])
    with pytest.raises(SystemExit):
        run_step(step)
    shown = capsys.readouterr().out
    assert all(name in shown for name in step.__annotations__ if name != "return")


def test_bad_input_is_told_and_leaves_nothing(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scp = folder / "x.scp"
    with pytest.raises(DataError, match=r"all: the name of a matrix of scores ends in \.npy"):
        score_matrix(scp, scp, folder / "all")
    write_vectors(folder / "zero", ["s00-u0", "nobody"], np.array([[1, 2, 3, 4, 5], [0, 0, 0, 0, 0]], np.float32))
    with pytest.raises(DataError, match="the vector of 'nobody' is zero"):
        score_matrix(scp, folder / "zero.scp", folder / "all.npy")
    write_vectors(folder / "wide", ["s00-u0"], np.ones((1, 7), np.float32))
    with pytest.raises(DataError, match="vectors of dimension 5 on one side and 7 on the other"):
        score_matrix(scp, folder / "wide.scp", folder / "all.npy")
    (folder / "trials").write_text("s00-u0 s01-u0 nontarget\ns00-u0 s99-u0 target\n")
    with pytest.raises(DataError, match="no vector for 's99-u0'"):
        score_trials(folder / "trials", scp, scp, folder / "scores.npy")
    assert not list(folder.glob("all*")) and not list(folder.glob("*scores*")) and not list(folder.glob(".*"))
