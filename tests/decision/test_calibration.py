"""Calibration and fusion against scikit-learn, against what the scores were made with, and through the scripts."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from steps.calibrate_scores import calibrate_scores
from steps.train_calibration import train_calibration
from timbre.datadir.tables import write_table
from timbre.datadir.trials import Trials, read_scores, read_trials, write_scores, write_trials
from timbre.decision.calibration import Calibration
from timbre.evaluation.metrics import cllr, roc
from timbre.runtime.llr import Term
from timbre.runtime.logistic import fit_logistic
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

Fails = Callable[..., str]


def overlapping(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three features of NUMBER trials, on very different scales, and which trials are targets: one in four."""
    random = np.random.default_rng(seed)
    target = np.arange(number) % 4 == 0
    values = random.normal(size=(number, 3)) + target[:, None] * [1.5, 1, 0]
    return values * [0.1, 20, 3] + [5, -300, 0], target


@pytest.mark.parametrize("prior", [0.5, 0.01])
@pytest.mark.parametrize("ridge", [1e-6, 0.01])
def test_scikit_learn_finds_the_same(prior: float, ridge: float) -> None:
    values, target = overlapping(2000)
    offset, weights = fit_logistic(values, target, prior, ridge)
    trial_weights = np.where(target, prior / target.sum(), (1 - prior) / (~target).sum())
    mean = np.average(values, axis=0, weights=trial_weights)
    scale = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=trial_weights))
    peer = LogisticRegression(C=1 / ridge, tol=1e-12, max_iter=10000, solver="newton-cholesky")
    peer.fit((values - mean) / scale, target, trial_weights)
    log_odds = np.log(prior / (1 - prior))
    expected = peer.decision_function((values - mean) / scale) - log_odds
    assert np.abs(offset + values @ weights - expected).max() < 1e-5


def test_no_other_line_costs_less() -> None:
    values, target = overlapping(300)
    values = values[:, :1]
    offset, weights = fit_logistic(values, target, 0.1, ridge=1e-12)

    def cost(slope: float, shift: float) -> float:
        odds = slope * values[:, 0] + shift + np.log(0.1 / 0.9)
        return float(0.1 * np.log1p(np.exp(-odds[target])).mean() + 0.9 * np.log1p(np.exp(odds[~target])).mean())

    least = cost(weights[0], offset)
    for slope in np.linspace(0.99, 1.01, 9) * weights[0]:
        for shift in offset + np.linspace(-0.2, 0.2, 9):
            assert cost(slope, shift) >= least


def test_scores_that_are_log_likelihood_ratios_stay_as_they_are() -> None:
    """Gaussians with means +-d/2 and variance d are their own log-likelihood ratios."""
    random = np.random.default_rng(1)
    target = np.arange(400_000) < 100_000
    scores = random.normal(np.where(target, 2, -2), 2)
    for prior in (0.5, 0.05):
        offset, weights = fit_logistic(scores[:, None], target, prior)
        assert abs(weights[0] - 1) < 0.02 and abs(offset) < 0.04
    offset, weights = fit_logistic(scores[:, None] / 30 + 7, target, 0.5)  # and their affine map is undone
    assert abs(weights[0] - 30) < 0.6 and abs(offset + 7 * weights[0]) < 0.04


def test_numbers_of_trials_of_a_class_do_not_matter() -> None:
    values, target = overlapping(400)
    again = np.concatenate([values, np.repeat(values[~target], 6, axis=0)])
    both = np.append(target, np.zeros(6 * np.count_nonzero(~target), bool))
    for one, other in zip(fit_logistic(values, target, 0.05), fit_logistic(again, both, 0.05), strict=True):
        assert np.allclose(one, other, rtol=1e-6)


def test_separable_classes_stay_finite(caplog: pytest.LogCaptureFixture) -> None:
    scores = np.array([-3.0, -2, -1, 1, 2, 3])[:, None]
    calibration = Calibration.train([Term("score", "x")], scores, scores[:, 0] > 0, 0.5)
    llrs = calibration.apply(scores)
    assert (np.diff(llrs) > 0).all() and 5 < llrs[-1] < 100
    assert "only the ridge keeps these" in caplog.text


def test_a_feature_that_never_varies_has_no_weight() -> None:
    values, target = overlapping(400)
    offset, weights = fit_logistic(np.column_stack([values[:, 0], np.full(400, 0.1)]), target, 0.05)
    alone, weight = fit_logistic(values[:, :1], target, 0.05)
    assert weights[1] == 0 and np.isclose(weights[0], weight[0]) and np.isclose(offset, alone)


def test_what_makes_no_sense_is_refused() -> None:
    values, target = overlapping(40)
    for arguments, message in (
        ((values, target, 0.0), "a target prior of 0.0"),
        ((values, target, 0.5, 0.0), "a ridge of 0.0"),
        ((values, target & False, 0.5), "none of the 40 trials is a target"),
        ((values, target | True, 0.5), "none of the 40 trials is a nontarget"),
    ):
        with pytest.raises(DataError, match=message):
            fit_logistic(*arguments)


def two_conditions(number: int) -> tuple[list[Term], np.ndarray, np.ndarray]:
    """Scores whose log-likelihood ratio is 8 times them at 30 dB and 2 times them at 0 dB; which are targets."""
    random = np.random.default_rng(3)
    target = np.arange(number) % 2 == 0
    noise = random.uniform(0, 30, number)
    slope = 2 + noise / 5
    llr = random.normal(np.where(target, 2, -2), 2)  # those of a well calibrated system: variance twice the mean
    gap = random.uniform(0, 1, number)
    return [Term("score", "x"), Term("mean", "snr"), Term("gap", "snr")], np.stack([llr / slope, noise, gap], 1), target


def test_measures_move_the_slope_where_conditions_are_many() -> None:
    terms, values, target = two_conditions(40000)
    plain = Calibration.train(terms, values, target, 0.5)
    scaled = Calibration.train(terms, values, target, 0.5, scaled=True)
    truth = values[:, 0] * (2 + values[:, 1] / 5)
    assert np.abs(scaled.apply(values) - truth).mean() < 0.15 < np.abs(plain.apply(values) - truth).mean()
    by_hand = scaled.offset + sum(
        term.weight * column
        for term, column in zip(
            scaled.terms,
            (*np.clip(values, *_ends(scaled)).T, *(np.clip(values, *_ends(scaled)).T[1:] * values[:, 0])),
            strict=True,
        )
    )
    assert np.abs(scaled.apply(values) - by_hand).max() < 1e-9


def _ends(calibration: Calibration) -> tuple[list[float], list[float]]:
    lows = [-np.inf if term.low is None else term.low for term in calibration.given]
    return lows, [np.inf if term.high is None else term.high for term in calibration.given]


def test_a_slope_goes_no_farther_than_what_was_seen() -> None:
    terms, values, target = two_conditions(4000)
    scaled = Calibration.train(terms, values, target, 0.5, scaled=True)
    ends = np.array([[0.5, 0.0, 0.5], [0.5, -1000.0, 0.5], [0.5, 30.0, 0.5], [0.5, 1000.0, 0.5]])
    llrs = scaled.apply(ends)
    assert llrs[0] == pytest.approx(llrs[1], abs=0.05) and llrs[2] == pytest.approx(llrs[3], abs=0.05)
    steep = replace(scaled, terms=tuple(replace(term, low=None, high=None) for term in scaled.terms))
    low = np.array([[0.0, -1000.0, 0.5], [1.0, -1000.0, 0.5]])
    difference = np.diff(steep.apply(low))[0]
    assert scaled.least_slope and difference == pytest.approx(scaled.least_slope), "a higher score is never worse"
    assert np.diff(replace(steep, least_slope=None).apply(low))[0] < 0


def test_a_calibration_with_slopes_survives_its_file(tmp_path: Path) -> None:
    terms, values, target = two_conditions(400)
    calibration = Calibration.train(terms, values, target, 0.05, scaled=True)
    calibration.write(tmp_path / "calibration.yaml")
    again = Calibration.read(tmp_path / "calibration.yaml")
    assert again == calibration and np.array_equal(again.apply(values), calibration.apply(values))
    content = yaml.safe_load((tmp_path / "calibration.yaml").read_text())
    content["terms"].pop()
    (tmp_path / "calibration.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(DataError, match="all means and gaps"):
        Calibration.read(tmp_path / "calibration.yaml")


def test_a_calibration_survives_its_file(tmp_path: Path) -> None:
    values, target = overlapping(400)
    terms = [Term("score", "plda"), Term("mean", "snr"), Term("gap", "snr")]
    calibration = Calibration.train(terms, values, target, 0.05)
    calibration.write(tmp_path / "calibration.yaml")
    assert np.array_equal(Calibration.read(tmp_path / "calibration.yaml").apply(values), calibration.apply(values))
    content = yaml.safe_load((tmp_path / "calibration.yaml").read_text())
    assert [term["name"] for term in content["terms"]] == ["plda", "snr", "snr"]
    good = (
        "{offset: 1, terms: [{kind: score, name: x, weight: 1}], prior: 0.1, trained_on: {targets: 1, nontargets: 1}}"
    )
    for text, message in (
        ("a: [", "not YAML"),
        ("offset: 1", "not a calibration"),
        (good.replace("offset: 1", "offset: .nan"), "finite weights"),
        (good.replace("kind: score", "kind: sum"), "known kinds"),
        (good.replace("targets: 1, n", "targets: 0, n"), "not a calibration"),
    ):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(DataError, match=message):
            Calibration.read(tmp_path / "bad")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def call(step: Callable[..., None], *words: object) -> None:
        monkeypatch.setattr(sys, "argv", [f"{step.__name__}.py", *map(str, words)])
        run_step(step)

    return call


@pytest.fixture
def fails(run: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> Fails:
    """Runs a step that must fail, and returns its one line."""

    def call(step: Callable[..., None], *words: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            run(step, *words)
        assert exit_info.value.code == 1
        message = capsys.readouterr().err
        assert message.startswith(f"{step.__name__}.py: error: ") and message.count("\n") == 1
        return message

    return call


def write_set(folder: Path, speakers: str, seed: int) -> Path:
    """A set with trials, scores of two back-ends with errors of their own, loudness in dB and sex.

    In short utterances, of low `level`, all scores are lower, those of targets and of nontargets.
    """
    random = np.random.default_rng(seed)
    utts = [f"{speaker}{number}" for speaker in speakers for number in range(12)]
    level = {utt: random.normal() for utt in utts}
    write_table(folder / "utt2spk", {utt: utt[0] for utt in utts})
    write_table(folder / "utt2level", {utt: f"{value:.6f}" for utt, value in level.items()})
    write_table(folder / "utt2sex", {utt: "fm"[ord(utt[0]) % 2] for utt in utts})
    pairs = [(one, two) for one in utts for two in utts if one < two]
    trials = Trials.of([one for one, _ in pairs], [two for _, two in pairs], [one[0] == two[0] for one, two in pairs])
    write_trials(folder / "trials", trials)
    shift = 0.5 * np.array([level[one] + level[two] for one, two in pairs])
    for name in ("one", "two"):
        scores = 0.1 * (random.normal(2.0 * trials.target, 1.0) + shift) + 3
        write_scores(folder / f"{folder.name}.{name}", trials, scores)
    return folder


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    return write_set(tmp_path / "dev", "abcdefghij", 0), write_set(tmp_path / "eval", "klmnopqrst", 1)


def measured(folder: Path, scores: Path) -> tuple[float, float]:
    """(EER, Cllr)."""
    trials = read_trials(folder / "trials")
    values = read_scores(scores, trials)
    targets, nontargets = values[trials.target], values[~trials.target]
    return roc(targets, nontargets).eer(), cllr(targets, nontargets)


def test_calibration_and_fusion_through_the_scripts(
    sets: tuple[Path, Path], tmp_path: Path, run: Callable[..., None]
) -> None:
    dev, evaluation = sets
    result = {}
    for name, files, measures in (
        ("one", "{0}/{1}.one", []),
        ("fused", "[{0}/{1}.one,{0}/{1}.two]", []),
        ("quality", "[{0}/{1}.one,{0}/{1}.two]", ["--measures", "[{0}/utt2level]", "--labels", "[{0}/utt2sex]"]),
    ):
        out = tmp_path / name
        words = [[word.format(folder, folder.name) for word in (files, *measures)] for folder in sets]
        run(train_calibration, dev / "trials", words[0][0], out, *words[0][1:])
        run(calibrate_scores, out, evaluation / "trials", words[1][0], out / "eval.cal", *words[1][1:])
        result[name] = measured(evaluation, out / "eval.cal")
    before = measured(evaluation, evaluation / "eval.one")
    assert result["one"][0] == before[0]  # an affine map changes no error rate
    assert result["one"][1] < 0.9 < 2 < before[1]  # but what the scores say
    assert result["fused"][0] < 0.95 * result["one"][0] and result["fused"][1] < result["one"][1]
    assert result["quality"][0] < 0.8 * result["fused"][0] and result["quality"][1] < 0.9 * result["fused"][1]
    terms = {
        (term.kind, term.name): term.weight for term in Calibration.read(tmp_path / "quality/calibration.yaml").terms
    }
    assert list(terms) == [("score", "one"), ("score", "two"), ("mean", "level"), ("gap", "level"), ("same", "sex")]
    assert terms["mean", "level"] < -1  # the shift is the mean
    assert abs(terms["gap", "level"]) < 0.2
    assert terms["same", "sex"] > 0.5  # nontargets of two sexes are told by it alone


def test_models_have_the_mean_of_their_utterances(
    sets: tuple[Path, Path], tmp_path: Path, run: Callable[..., None]
) -> None:
    dev, evaluation = sets
    run(train_calibration, dev / "trials", dev / "dev.one", tmp_path / "cal", "--measures", f"[{dev / 'utt2level'}]")
    (evaluation / "enroll.spk2utt").write_text("model k0 k1 k2\n")
    (evaluation / "models").write_text("model k5 target\nmodel l5 nontarget\nk3 l5 nontarget\n")
    (evaluation / "models.one").write_text("model k5 3\nmodel l5 3\nk3 l5 3\n")
    run(
        calibrate_scores, tmp_path / "cal", evaluation / "models", evaluation / "models.one", tmp_path / "out",
        "--measures", f"[{evaluation / 'utt2level'}]", "--enroll-spk2utt", evaluation / "enroll.spk2utt",
    )  # fmt: skip
    level = {key: float(text) for key, text in map(str.split, (evaluation / "utt2level").read_text().splitlines())}
    calibration = Calibration.read(tmp_path / "cal" / "calibration.yaml")
    expected = []
    for enroll, test in ((["k0", "k1", "k2"], "k5"), (["k0", "k1", "k2"], "l5"), (["k3"], "l5")):
        first, second = sum(level[utt] for utt in enroll) / len(enroll), level[test]
        score, mean, gap = (term.weight for term in calibration.terms)
        expected.append(calibration.offset + 3 * score + mean * (first + second) / 2 + gap * abs(first - second))
    found = read_scores(tmp_path / "out", read_trials(evaluation / "models"))
    assert np.allclose(found, expected, atol=1e-6)


def test_nobody_is_judged_by_what_she_trained(
    sets: tuple[Path, Path], tmp_path: Path, run: Callable[..., None], fails: Fails
) -> None:
    dev, evaluation = sets
    run(train_calibration, dev / "trials", dev / "dev.one", tmp_path / "cal")
    out = tmp_path / "out"

    def refusal(trials: str, utt2spk: str) -> str:
        (evaluation / "list").write_text(trials)
        (evaluation / "list.one").write_text(
            "".join(f"{' '.join(line.split()[:2])} 1\n" for line in trials.splitlines())
        )
        (tmp_path / "utt2spk").write_text(utt2spk)
        words = [tmp_path / "cal", evaluation / "list", evaluation / "list.one", out]
        return fails(calibrate_scores, *words, "--utt2spk", tmp_path / "utt2spk")

    shared = refusal("new1 new2 target\nnew1 new3 nontarget\n", "new1 d\nnew2 d\nnew3 z\n")
    assert f"{evaluation}/list: 1 of its 2 speakers are in what {tmp_path}/cal was trained on (d)" in shared
    shared = refusal("a1 new1 target\na1 new3 nontarget\n", "a1 x\nnew1 x\nnew3 z\n")
    assert "1 of its 3 utterances are in what" in shared and "(a1)" in shared
    assert (
        "10 of its 10 speakers" in fails(calibrate_scores, tmp_path / "cal", dev / "trials", dev / "dev.one", out)
        and not out.exists()
    )


def test_bad_input_is_told_in_one_line(
    sets: tuple[Path, Path], tmp_path: Path, run: Callable[..., None], fails: Fails
) -> None:
    dev, evaluation = sets
    cal, out = tmp_path / "cal", tmp_path / "out"

    def trained(*words: object) -> str:
        return fails(train_calibration, dev / "trials", dev / "dev.one", cal, *words)

    table = tmp_path / "utt2x"
    levels = (dev / "utt2level").read_text().splitlines(keepends=True)
    for text, message in (
        ("".join([*levels[:3], "a4 loud\n"]), f"{table}:4: 'a4' has the value 'loud', which is not a number"),
        ("".join([*levels[:3], "a4 nan\n"]), f"{table}:4: the value of 'a4' is not finite"),
        ("".join([*levels[:3], "a4\n"]), f"{table}:4: 'a4' has no value"),
        ("".join(levels[:3]), f"{table}: no value for 'a11' (117 of 120 ids of the trials)"),
    ):
        table.write_text(text)
        assert message in trained("--measures", f"[{table}]")
    assert "'mean level' is given 2 times" in trained("--measures", f"[{dev / 'utt2level'},{dev / 'utt2level'}]")
    assert "prior of 1.0" in trained("--prior", 1)
    assert not cal.exists()
    scores = (dev / "dev.one").read_text().splitlines(keepends=True)
    (tmp_path / "bad.one").write_text("".join([*scores[:7], scores[7].rsplit(" ", 1)[0] + " inf\n", *scores[8:]]))
    assert "is not finite" in fails(train_calibration, dev / "trials", tmp_path / "bad.one", cal)
    (tmp_path / "bad.one").write_text("".join([*scores[:7], scores[7].rsplit(" ", 1)[0] + " nan\n", *scores[8:]]))
    assert f"{tmp_path}/bad.one:8: " in fails(train_calibration, dev / "trials", tmp_path / "bad.one", cal)
    assert "no score for" in fails(train_calibration, dev / "trials", evaluation / "eval.one", cal)
    (dev / "targets").write_text("a1 a2 target\na1 a3 target\n")
    assert f"{dev}/targets: none of the 2 trials is a nontarget" in fails(
        train_calibration, dev / "targets", dev / "dev.one", cal
    )
    run(train_calibration, dev / "trials", f"[{dev / 'dev.one'},{dev / 'dev.two'}]", cal)
    for given, names in (("[{0}.two,{0}.one]", "two, one"), ("{0}.one", "one")):
        words = [cal, evaluation / "trials", given.format(evaluation / "eval"), out]
        message = fails(calibrate_scores, *words)
        assert f"trained on one, two, in this order; given are {names}" in message
    twins = [evaluation / f"eval.{name}_adapted" for name in ("one", "two")]
    for twin, name in zip(twins, ("one", "two"), strict=True):
        twin.write_bytes((evaluation / f"eval.{name}").read_bytes())
    words = [cal, evaluation / "trials", f"[{twins[0]},{twins[1]}]", out]
    assert "given are one_adapted, two_adapted" in fails(calibrate_scores, *words)
    run(calibrate_scores, *words, "--adapted", "true")
    adapted = out.read_bytes()
    run(calibrate_scores, *words[:2], f"[{evaluation / 'eval.one'},{evaluation / 'eval.two'}]", out)
    assert out.read_bytes() == adapted
    out.unlink()
    assert (
        "no such file" in fails(calibrate_scores, tmp_path, evaluation / "trials", evaluation / "eval.one", out).lower()
    )
