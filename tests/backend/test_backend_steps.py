"""The scripts, as a person calls them: a whole back-end on Kaldi's embeddings, and one clear line for bad input."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from steps.adapt_plda import adapt_plda
from steps.compute_metrics import compute_metrics
from steps.make_results import make_results
from steps.normalize_scores import normalize_scores
from steps.plot_det import plot_det
from steps.plot_scores import plot_scores
from steps.score_trials import score_trials
from steps.train_backend import train_backend
from timbre.datadir.ark import write_vectors
from timbre.datadir.trials import read_scores, read_trials
from timbre.utils.cli import run_step

Run = Callable[..., None]
CONF = Path(__file__).resolve().parents[2] / "conf" / "backend"
PLDA = "--backend", CONF / "plda_without_lda.yaml"


def plda_conf(folder: Path, dim: int) -> Path:
    """Kaldi's recipe, with LDA to DIM dimensions."""
    path = folder / f"plda{dim}.yaml"
    path.write_text((CONF / "plda.yaml").read_text().replace("dim: 128", f"dim: {dim}"))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(step: Callable[..., None], *words: object) -> None:
        monkeypatch.setattr(sys, "argv", [f"{step.__name__}.py", *map(str, words)])
        run_step(step)

    return call


@pytest.fixture
def fails(run: Run, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a step that must fail, and returns its one line."""

    def call(step: Callable[..., None], *words: object) -> str:
        with pytest.raises(SystemExit) as exit_info:
            run(step, *words)
        assert exit_info.value.code == 1
        message = capsys.readouterr().err
        assert message.startswith(f"{step.__name__}.py: error: ")
        assert message.count("\n") == 1
        return message

    return call


@pytest.fixture
def data(kaldi: Path, tmp_path: Path) -> Path:
    """A data directory with two trial lists, one of them of models."""
    folder = tmp_path / "data" / "eval"
    folder.mkdir(parents=True)
    source = kaldi / "backend"
    models = (source / "eval.enroll.spk2utt").read_text()
    (folder / "enroll.spk2utt").write_text(models)
    (folder / "trials_models").write_text((source / "eval.trials").read_text())
    first = dict(line.split()[:2] for line in models.splitlines())
    pairs = [line.split() for line in (source / "eval.trials").read_text().splitlines()]
    (folder / "trials").write_text("".join(f"{first[model]} {test} {label}\n" for model, test, label in pairs))
    ids = {first[model] for model in first} | {test for _, test, _ in pairs}
    ids |= {utt for line in models.splitlines() for utt in line.split()[1:]}
    (folder / "utt2spk").write_text("".join(f"{utt} {utt.split('-')[0]}\n" for utt in sorted(ids)))
    return folder


def test_a_whole_back_end(
    kaldi: Path, data: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    source = kaldi / "backend"
    train, utt2spk, evaluation = source / "train.ark", source / "train.utt2spk", source / "eval.ark"
    exp = tmp_path / "exp" / "run1"
    scores, plda, lda = exp / "scores", exp / "plda", exp / "lda"
    run(train_backend, train, utt2spk, plda, "--backend", plda_conf(tmp_path, 20))
    run(train_backend, train, utt2spk, lda, "--backend", CONF / "statistics.yaml")
    chain = ["--mean", lda / "mean.vec", "--transform", lda / "transform.mat"]
    for name, trials, models in (
        ("eval", data / "trials", []),
        ("eval_models", data / "trials_models", ["--enroll-spk2utt", data / "enroll.spk2utt"]),
    ):
        sides = [evaluation, evaluation]
        run(score_trials, trials, *sides, scores / f"{name}.cosine", *chain, *models)
        run(score_trials, trials, *sides, scores / f"{name}.statistics", *chain[:2], *models)
        run(score_trials, trials, *sides, scores / f"{name}.plda", "--backend-dir", plda, *models)
        cohort = [train, scores / f"{name}.cosine_asnorm", "--cohort-utt2spk", utt2spk, "--top-n", 100, *models]
        run(normalize_scores, trials, scores / f"{name}.cosine", *sides, *cohort, *chain)
        cohort[1] = scores / f"{name}.plda_asnorm"
        run(normalize_scores, trials, scores / f"{name}.plda", *sides, *cohort, "--backend-dir", plda)
    run(make_results, exp, data.parent, "--settings", "made for a test", "--draws", 100, "--nj", 1)

    records = json.loads((exp / "results.json").read_text())
    assert [(record["trials"], record["backend"]) for record in records] == [
        (name, backend)
        for name in ("eval", "eval_models")
        for backend in ("cosine", "cosine_asnorm", "plda", "plda_asnorm", "statistics")
    ]
    eer = {(record["trials"], record["backend"]): record["eer"] for record in records}
    assert eer["eval_models", "plda"] < eer["eval", "plda"]  # more enrolment utterances
    assert eer["eval_models", "plda"] < 0.06
    for record in records:
        assert record["num_target"] + record["num_nontarget"] == 1000
        assert record["eer_ci"][0] < record["eer"] < record["eer_ci"][1]
        assert set(record["min_dcf"]) == set(record["min_dcf_ci"]) == {"0.05", "0.01", "0.001"}
        assert ("cllr" in record) == ("act_dcf" in record) == (record["backend"] == "plda")
        assert (exp / "plots" / f"scores_{record['trials']}_{record['backend']}.png").stat().st_size > 5000
        assert record["protocol"] == "whole utterance"
    page = (exp / "RESULTS.md").read_text()
    assert page.startswith("# Results of run1\n\nmade for a test\n")
    for name in ("det_eval.png", "det_eval.svg", "det_eval_models.png", "scores_eval_plda.png"):
        assert f"(plots/{name})" in page
        assert (exp / "plots" / name).exists()
    assert page.count("| *statistics* (baseline) |") == 2
    for line in page.splitlines():  # cosine without LDA is worse by more than the draws of speakers explain
        if line.startswith("| statistics - "):
            assert line.endswith("| yes |")

    for kind in ("tippett", "ece"):
        for suffix in (".png", ".svg"):
            assert (exp / "plots" / f"{kind}_eval_plda{suffix}").stat().st_size > 5000
    assert not (exp / "plots" / "ece_eval_cosine.png").exists()  # no likelihood ratios

    capsys.readouterr()
    run(
        compute_metrics,
        data / "trials",
        scores / "eval.plda",
        "--json",
        exp / "one.json",
        "--draws",
        100,
        "--llr",
        "true",
    )
    assert "Cllr" in capsys.readouterr().out
    assert json.loads((exp / "one.json").read_text()) == records[2]


@pytest.mark.parametrize("method", ["kaldi", "coral", "coral+", "lip", "cip"])
def test_adapted_back_end_scores_its_domain_better(method: str, kaldi_full: Path, tmp_path: Path, run: Run) -> None:
    source = kaldi_full / "backend"
    conf = ["--backend", plda_conf(tmp_path, 20)]
    run(train_backend, source / "train.ark", source / "train.utt2spk", tmp_path / "plda", *conf)
    speakers = ["--utt2spk", source / "indomain.utt2spk"] if method in ("lip", "cip") else []
    run(adapt_plda, tmp_path / "plda", source / "indomain.ark", tmp_path / "adapted", "--method", method, *speakers)
    trials, side = source / "indeval.utt_trials", source / "indeval.ark"
    errors = []
    for name in ("plda", "adapted"):
        scores = tmp_path / f"indeval.{name}"
        run(score_trials, trials, side, side, scores, "--backend-dir", tmp_path / name)
        run(compute_metrics, trials, scores, "--json", tmp_path / "json", "--draws", 0)
        record = json.loads((tmp_path / "json").read_text())
        assert record["eer_ci"] is None
        errors.append(record["eer"])
    assert errors[1] < errors[0]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_plots(kaldi: Path, data: Path, tmp_path: Path, run: Run, suffix: str) -> None:
    side = kaldi / "backend" / "eval.ark"
    for name in ("one", "two"):
        run(score_trials, data / "trials", side, side, tmp_path / f"eval.{name}")
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    run(plot_det, data / "trials", f"[{tmp_path / 'eval.one'},{tmp_path / 'eval.two'}]", tmp_path / f"det{suffix}")
    for kind in ("histogram", "tippett", "ece"):
        run(plot_scores, data / "trials", tmp_path / "eval.one", tmp_path / f"{kind}{suffix}", "--kind", kind)
    for plot in ("det", "histogram", "tippett", "ece"):
        assert (tmp_path / f"{plot}{suffix}").read_bytes().startswith(start)


def test_a_plot_without_suffix_is_a_png_and_an_svg(kaldi: Path, data: Path, tmp_path: Path, run: Run) -> None:
    side = kaldi / "backend" / "eval.ark"
    run(score_trials, data / "trials", side, side, tmp_path / "eval.cosine")
    run(plot_det, data / "trials", tmp_path / "eval.cosine", tmp_path / "det_eval.cosine")
    assert {path.name for path in tmp_path.glob("det*")} == {"det_eval.cosine.png", "det_eval.cosine.svg"}


def test_bad_input_is_told_in_one_line(kaldi: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    vectors = np.random.default_rng(0).standard_normal((4, 3), dtype=np.float32)
    good, ids = tmp_path / "good.scp", ["a-1", "a-2", "b-1", "b-2"]
    write_vectors(tmp_path / "good", ids, vectors)
    write_vectors(tmp_path / "zero", ids, vectors * [[1], [0], [1], [1]])
    write_vectors(tmp_path / "nan", ids, vectors * [[1], [1], [np.nan], [1]])
    write_vectors(tmp_path / "wide", ids, np.ones((4, 5), np.float32))
    trials, out = tmp_path / "trials", tmp_path / "trials.cosine"
    trials.write_text("a-1 a-2 target\na-1 b-1 nontarget\nb-2 a-1 nontarget\n")

    def cosine(enroll: Path, test: Path, *more: object) -> str:
        return fails(score_trials, trials, enroll, test, out, *more)

    assert "the vector of 'a-2' is zero" in cosine(tmp_path / "zero.scp", tmp_path / "zero.scp")
    assert f"{tmp_path}/nan.scp: the vector of 'b-1' has NaN or infinite values" in cosine(good, tmp_path / "nan.scp")
    assert f"{good}: vectors of dimension 3, but those of" in cosine(good, tmp_path / "wide.scp")
    assert "missing.scp" in cosine(good, tmp_path / "missing.scp")
    assert "the mean has dimension 32" in cosine(good, good, "--mean", kaldi / "backend" / "train.mean.vec")
    assert "not a vector" in cosine(good, good, "--mean", kaldi / "backend" / "lda20_tot0.0.mat")
    models = tmp_path / "models"
    models.write_text("a-1 a-1 a-2\n")
    trials.write_text("a-1 a-2 target\na-1 b-1 nontarget\nmodel a-1 nontarget\n")
    assert f"{good}: no vector for 'model'" in cosine(good, good, "--enroll-spk2utt", models)
    models.write_text("a-1 a-1 a-3\nmodel b-2\n")
    assert f"{good}: no vector for 'a-3'" in cosine(good, good, "--enroll-spk2utt", models)
    trials.write_text("a-1 a-2 target\na-1 c-1 nontarget\n")
    assert f"{good}: no vector for 'c-1' (1 of 2 ids of the trials)" in cosine(good, good)
    trials.write_text("")
    assert f"{trials}: no trials" in cosine(good, good)
    assert not out.exists()

    speakers = tmp_path / "utt2spk"
    train = train_backend, good, speakers, tmp_path / "plda"
    speakers.write_text("a-1 a\na-2 a\nb-1 b\n")
    assert f"{speakers}: no speaker for 'b-2'" in fails(*train, *PLDA)
    speakers.write_text("a-1 a\na-2 a\nb-1 a\nb-2 a\n")
    assert "at least two speakers, there is only 'a'" in fails(*train, *PLDA)
    speakers.write_text("a-1 a\na-2 a\nb-1 b\nb-2 b\n")
    assert "Lda: dim is -1; it must be at least 0" in fails(*train, "--backend", plda_conf(tmp_path, -1))
    assert not (tmp_path / "plda").exists()


def test_bad_scores_are_told_in_one_line(tmp_path: Path, fails: Callable[..., str]) -> None:
    trials, scores = tmp_path / "trials", tmp_path / "eval.cosine"
    trials.write_text("a-1 a-2 target\na-1 b-1 target\n")
    scores.write_text("a-1 a-2 1.5\na-1 b-1 0.5\n")
    assert f"{trials}: none of the 2 trials is a nontarget" in fails(compute_metrics, trials, scores)
    trials.write_text("a-1 a-2 target\na-1 b-1 nontarget\n")
    scores.write_text("a-1 a-2 1.5\n")
    assert "eval.cosine" in fails(compute_metrics, trials, scores)
    scores.write_text("a-1 a-2 1.5\na-1 b-1 nan\n")
    assert f"{scores}:2: " in fails(compute_metrics, trials, scores)
    scores.write_text("a-1 a-2 1.5\na-1 b-1 -inf\n")
    assert f"{trials}:2: score of trial 2 is infinite" in fails(compute_metrics, trials, scores)
    scores.write_text("a-1 a-2 1.5\na-1 b-1 0\n")
    assert "operating point '2.0'" in fails(compute_metrics, trials, scores, "--priors", "[2]")
    odd = scores.with_name("eval.cosine@len")
    odd.write_text(scores.read_text())
    assert "protocol 'len' is none of full" in fails(compute_metrics, trials, odd)
    assert "no trial lists in it" in fails(make_results, tmp_path, tmp_path / "nowhere")
    data = tmp_path / "data" / "dev"
    data.mkdir(parents=True)
    (data / "trials").write_text("a-1 a-2 target\na-1 b-1 nontarget\n")
    (tmp_path / "scores").mkdir()
    assert "no score files in it" in fails(make_results, tmp_path, data.parent)
    scores.rename(tmp_path / "scores" / "eval.cosine")
    assert "has no trial list 'eval', only dev" in fails(make_results, tmp_path, data)


def test_scores_read_back_are_those_computed(kaldi: Path, data: Path, tmp_path: Path, run: Run) -> None:
    """Kaldi's own trial list, scores and vectors: what is written in text is good to nine digits."""
    side = kaldi / "backend" / "eval.ark"
    trials = read_trials(data / "trials")
    run(score_trials, data / "trials", side, side, tmp_path / "eval.cosine")
    scores = read_scores(tmp_path / "eval.cosine", trials)
    run(score_trials, data / "trials", side, side, tmp_path / "again.cosine", "--nj", 1)
    assert np.array_equal(scores, read_scores(tmp_path / "again.cosine", trials))


def min_dcf(run: Run, trials: Path, scores: Path) -> float:
    """At a prior of 0.05."""
    json_path = scores.with_suffix(".json")
    run(compute_metrics, trials, scores, "--json", json_path, "--draws", 0)
    return float(json.loads(json_path.read_text())["min_dcf"]["0.05"])


def test_one_step_trains_and_one_scores_any_back_end(kaldi: Path, data: Path, tmp_path: Path, run: Run) -> None:
    source = kaldi / "backend"
    train, utt2spk, side = source / "train.ark", source / "train.utt2spk", source / "eval.ark"
    trials, models = data / "trials_models", ["--enroll-spk2utt", data / "enroll.spk2utt"]
    cost: dict[str, float] = {}
    for name in ("cosine", "cosine_lda_wccn", "plda_without_lda", "plda_ioffe", "plda"):
        folder = tmp_path / name
        run(train_backend, train, utt2spk, folder, "--backend", CONF / f"{name}.yaml")
        run(score_trials, trials, side, side, tmp_path / f"eval.{name}", "--backend-dir", folder, *models)
        cost[name] = min_dcf(run, trials, tmp_path / f"eval.{name}")
        for method in ("as-norm2", "t-norm"):
            norm = ["--backend-dir", folder, "--method", method, "--cohort-utt2spk", utt2spk, "--top-n", 50, *models]
            run(normalize_scores, trials, tmp_path / f"eval.{name}", side, side, train, tmp_path / "normalised", *norm)
            assert min_dcf(run, trials, tmp_path / "normalised") < 0.9
    assert cost["plda"] < cost["cosine"] and cost["cosine_lda_wccn"] < cost["cosine"]


def test_ways_to_enrol_several_utterances(kaldi: Path, data: Path, tmp_path: Path, run: Run) -> None:
    """Whatever PLDA makes of them, they are better than one; cosine by options is that of a back-end."""
    source, trials = kaldi / "backend", data / "trials_models"
    side, models = source / "eval.ark", ["--enroll-spk2utt", data / "enroll.spk2utt"]
    for name, ways in (("cosine", ["average", "scores"]), ("plda", ["average", "scores", "plda"])):
        folder, scores, by_options = (tmp_path / kind / name for kind in ("model", "scores", "options"))
        conf = ["--backend", CONF / f"{name}.yaml"]
        run(train_backend, source / "train.ark", source / "train.utt2spk", folder, *conf)
        run(score_trials, data / "trials", side, side, scores, "--backend-dir", folder)
        alone = min_dcf(run, data / "trials", scores)
        for way in ways:
            options = [*models, "--multi-enroll", way]
            run(score_trials, trials, side, side, scores, "--backend-dir", folder, *options)
            if name == "plda":
                assert min_dcf(run, trials, scores) < alone
            else:
                run(score_trials, trials, side, side, by_options, "--mean", folder / "mean.vec", *options)
                assert by_options.read_bytes() == scores.read_bytes()


def test_models_and_data_that_do_not_fit_are_told_in_one_line(
    kaldi: Path, tmp_path: Path, run: Run, fails: Callable[..., str]
) -> None:
    source = kaldi / "backend"
    bare = tmp_path / "bare.yaml"
    bare.write_text("transforms: [LengthNorm]\nmodel: TwoCovariancePlda\n")
    for name, conf in (("plda", CONF / "plda_without_lda.yaml"), ("bare", bare)):
        run(train_backend, source / "train.ark", source / "train.utt2spk", tmp_path / name, "--backend", conf)
    ids, narrow = ["a-1", "a-2", "b-1", "b-2"], tmp_path / "narrow.scp"
    vectors = np.random.default_rng(0).standard_normal((4, 3), dtype=np.float32)
    write_vectors(tmp_path / "narrow", ids, vectors)
    (tmp_path / "trials").write_text("a-1 a-2 target\na-1 b-1 nontarget\nb-2 a-1 nontarget\n")
    out, models = tmp_path / "out", tmp_path / "models"
    models.write_text("a-1 a-1 a-2\n")

    def score(folder: Path, *more: object) -> str:
        return fails(score_trials, tmp_path / "trials", narrow, narrow, out, "--backend-dir", folder, *more)

    assert f"{narrow}: the mean has dimension 32, the vectors have 3" in score(tmp_path / "plda")
    assert f"{narrow}: the PLDA model has dimension 32, the vectors have 3" in score(tmp_path / "bare")
    assert f"{tmp_path}: no back-end: there is neither plda nor" in score(tmp_path)
    assert f"{tmp_path}: options of PLDA" in score(tmp_path, "--plda.smoothing", 0.1)
    assert f"{tmp_path}/plda: --mean goes without --backend-dir" in score(tmp_path / "plda", "--mean", "x")
    assert f"{tmp_path}/plda: --transform goes without" in score(tmp_path / "plda", "--transform", "x")
    alone = score_trials, tmp_path / "trials", narrow, narrow, out
    assert "options of PLDA (--plda) need --backend-dir" in fails(*alone, "--plda.normalize_length", "false")
    assert "cosine has no model of several" in fails(*alone, "--enroll-spk2utt", models, "--multi-enroll", "plda")
    (tmp_path / "plda" / "mean.vec").unlink()
    assert f"{tmp_path}/plda/mean.vec: " in score(tmp_path / "plda")
    (tmp_path / "bare" / "plda").unlink()
    assert f"{tmp_path}/bare/plda: its model is not there" in score(tmp_path / "bare")
    assert not out.exists()

    speakers = tmp_path / "utt2spk"
    speakers.write_text("a-1 a\na-2 a\nb-1 b\nb-2 b\n")  # 2 residuals in 3 dimensions
    ioffe = tmp_path / "ioffe.yaml"
    ioffe.write_text("model: IoffePlda\n")
    message = fails(train_backend, narrow, speakers, tmp_path / "new", "--backend", ioffe)
    assert f"{narrow}: the within-speaker covariance is singular in 3 dimensions" in message
    assert "missing.yaml" in fails(train_backend, narrow, speakers, out, "--backend", tmp_path / "missing.yaml")
    assert not (tmp_path / "new").exists() and not out.exists()
