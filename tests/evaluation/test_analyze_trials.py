"""The breakdown by condition against error rates of trials picked by hand, and the worst against what was planted."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from steps.analyze_trials import analyze_trials
from timbre.evaluation.bootstrap import bootstrap
from timbre.evaluation.breakdown import rate_draws
from timbre.evaluation.metrics import roc
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

SPEAKERS, UTTS = 16, 4
TRIALS = [
    (f"{spk:02d}-{utt}", f"{other:02d}-{last}")
    for spk in range(SPEAKERS)
    for utt in range(UTTS)
    for other in range(SPEAKERS)
    for last in range(UTTS)
    if (spk, utt) < (other, last)
]


def durations() -> dict[str, float]:
    rng = np.random.default_rng(1)
    return {f"{spk:02d}-{utt}": round(rng.uniform(0.5, 6), 2) for spk in range(SPEAKERS) for utt in range(UTTS)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """All pairs of 16 speakers (half m, half f) with 4 utterances each, two a session; speaker 3 is a goat."""
    folder = tmp_path / "eval"
    folder.mkdir()
    utts = [f"{spk:02d}-{utt}" for spk in range(SPEAKERS) for utt in range(UTTS)]
    (folder / "utt2spk").write_text("".join(f"{utt} {utt[:2]}\n" for utt in utts))
    (folder / "spk2gender").write_text("".join(f"{spk:02d} {'fm'[spk % 2]}\n" for spk in range(SPEAKERS - 1)))
    (folder / "utt2session").write_text("".join(f"{utt} {utt[:2]}-day{int(utt[3]) // 2}\n" for utt in utts))
    (folder / "utt2dur").write_text("".join(f"{utt} {seconds}\n" for utt, seconds in durations().items()))
    (folder / "utt2text").write_text("".join(f"{utt} some words {utt[:2]}\n" for utt in utts))
    (folder / "utt2channel").write_text("".join(f"{utt} {('a|b', 'c$d$e$')[int(utt[3]) % 2]}\n" for utt in utts))
    places = {utt: f"/audio/{utt}.flac" for utt in utts} | {"03-0": "sph2pipe 03-0.sph |"}
    (folder / "wav.scp").write_text("".join(f"{utt} {places[utt]}\n" for utt in utts))
    lines = [f"{a} {b} {'target' if a[:2] == b[:2] else 'nontarget'}\n" for a, b in TRIALS]
    (folder / "trials").write_text("".join(lines))
    return folder


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "scores" / "eval.cosine"
    path.parent.mkdir()
    values = {pair: rng.normal(2.0 * (pair[0][:2] == pair[1][:2]), 1) for pair in TRIALS}
    values = {pair: value - 3 * (pair[0][:2] == pair[1][:2] == "03") for pair, value in values.items()}
    values["03-0", "03-1"] = -9.5
    path.write_text("".join(f"{a} {b} {value:.6f}\n" for (a, b), value in values.items()))
    return path


def test_groups_have_the_error_rates_of_their_trials(data: Path, scores: Path, tmp_path: Path) -> None:
    analyze_trials(data / "trials", scores, tmp_path / "exp", draws=60, nj=1)
    content = json.loads((tmp_path / "exp" / "analysis" / "eval.cosine.json").read_text())
    groups = {(group["condition"], group["group"]): group for group in content["groups"]}
    value = {tuple(line.split()[:2]): float(line.split()[2]) for line in scores.read_text().splitlines()}
    dur = durations()
    gender = {f"{spk:02d}": "fm"[spk % 2] for spk in range(SPEAKERS - 1)}  # of speaker 15 it is not known

    def sexes(pair: tuple[str, str]) -> set[str]:
        return {gender.get(side[:2], "?") for side in pair}

    expected = {
        ("", "all trials"): lambda pair: True,
        ("gender", "same"): lambda pair: len(sexes(pair)) == 1 and "?" not in sexes(pair),
        ("gender", "both f"): lambda pair: sexes(pair) == {"f"},
        ("gender", "different"): lambda pair: sexes(pair) == {"f", "m"},
        ("gender", "unknown"): lambda pair: "?" in sexes(pair),
        ("dur", "below 1 s"): lambda pair: min(dur[side] for side in pair) < 1,
        ("dur", "2 to 3 s"): lambda pair: 2 <= min(dur[side] for side in pair) < 3,
        ("session", "same"): lambda pair: pair[0][:2] == pair[1][:2] and int(pair[0][3]) // 2 == int(pair[1][3]) // 2,
    }
    classes = [np.array([value[p] for p in TRIALS if (p[0][:2] == p[1][:2]) == kind]) for kind in (True, False)]
    threshold = roc(*classes).eer_threshold()
    for key, belongs in expected.items():
        pairs = [pair for pair in TRIALS if belongs(pair)]
        targets = np.array([value[pair] for pair in pairs if pair[0][:2] == pair[1][:2]])
        nontargets = np.array([value[pair] for pair in pairs if pair[0][:2] != pair[1][:2]])
        group = groups[key]
        assert (group["num_target"], group["num_nontarget"]) == (len(targets), len(nontargets)), key
        assert group["miss_rate"] == (pytest.approx((targets < threshold).mean()) if len(targets) else None)
        assert group["false_alarm_rate"] == (
            pytest.approx((nontargets >= threshold).mean()) if len(nontargets) else None
        )
        assert group["borrowed"] == ("" if len(targets) and len(nontargets) else "non" * bool(len(targets)) + "targets")
        curve = roc(*(part if len(part) else whole for part, whole in zip((targets, nontargets), classes, strict=True)))
        assert group["eer"] == curve.eer()
        assert group["min_dcf"] == pytest.approx(curve.min_dcf(0.01))
        assert group["min_dcf"] <= group["dcf"] + 1e-12
    assert ("session", "both 00-day0") not in groups and not any(name == "text" for name, _ in groups)
    whole = groups["", "all trials"]
    assert whole["dcf"] == pytest.approx(whole["min_dcf"])
    assert whole["eer_ci"][0] < whole["eer"] < whole["eer_ci"][1]
    assert groups["gender", "unknown"]["miss_rate_ci"] is None  # one speaker has targets there
    assert sum(group["num_target"] for (name, _), group in groups.items() if name == "dur") == whole["num_target"]
    assert (tmp_path / "exp" / "plots" / "conditions_eval_cosine.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "exp" / "plots" / "conditions_eval_cosine.svg").stat().st_size > 3000

    worst = content["worst"]
    assert worst["speakers"]["goats"] == []  # six targets a speaker are too few to rank
    assert worst["targets"][0]["enroll_audio"] == ["sph2pipe 03-0.sph |"]
    assert worst["targets"][0]["test_audio"] == ["/audio/03-1.flac"]
    highest = max((pair for pair in TRIALS if pair[0][:2] != pair[1][:2]), key=lambda pair: value[pair])
    assert (worst["nontargets"][0]["enroll"], worst["nontargets"][0]["test"]) == highest
    lamb = worst["speakers"]["lambs"][0]
    own = [value[pair] >= threshold for pair in TRIALS if pair[0][:2] == lamb["speaker"] != pair[1][:2]]
    assert (lamb["errors"], lamb["trials"]) == (sum(own), len(own))
    page = (tmp_path / "exp" / "analysis" / "eval.cosine.md").read_text()
    assert "| channel: both a&#124;b |" in page
    assert "| gender: both f |" in page and "sph2pipe 03-0.sph \\|" in page


def test_tables_that_tell_nothing_and_tables_given(data: Path, scores: Path, tmp_path: Path) -> None:
    utts = [line.split()[0] for line in (data / "utt2spk").read_text().splitlines()]
    for name in ("gender", "session", "channel"):
        next(data.glob(f"???2{name}")).unlink()
    (data / "utt2dur").write_text("".join(f"{utt} 1.0\n" for utt in utts))  # all are in one bin
    (data / "utt2lang").write_text("".join(f"{utt} zh\n" for utt in utts))
    (tmp_path / "utt2lang").write_text("".join(f"{utt} {('zh', 'en')[int(utt[3]) % 2]}\n" for utt in utts))
    (tmp_path / "utt2snr").write_text("".join(f"{utt} {('7', '12')[int(utt[3]) % 2]}\n" for utt in utts))
    tables = [tmp_path / "utt2lang", tmp_path / "utt2snr"]
    analyze_trials(data / "trials", scores, tmp_path / "exp", tables=tables, draws=0, nj=1)
    groups = json.loads((tmp_path / "exp" / "analysis" / "eval.cosine.json").read_text())["groups"]
    assert [(group["condition"], group["group"]) for group in groups] == [
        ("", "all trials"),
        *(("lang", label) for label in ("same", "different", "both en", "both zh")),
        *(("snr", label) for label in ("5 to 10 dB", "10 to 15 dB")),
    ]


def test_goats_are_found(data: Path, scores: Path, tmp_path: Path) -> None:
    for speaker, score in (("03", -8), ("04", 5)):  # the same targets the other way round: twelve each
        pairs = [f"{speaker}-{a} {speaker}-{b}" for a in range(UTTS) for b in range(a)]
        for path, word in ((data / "trials", "target"), (scores, str(score))):
            path.write_text(path.read_text() + "".join(f"{pair} {word}\n" for pair in pairs))
    analyze_trials(data / "trials", scores, tmp_path / "exp", draws=0, nj=1)
    content = json.loads((tmp_path / "exp" / "analysis" / "eval.cosine.json").read_text())
    assert content["worst"]["speakers"]["goats"][0]["speaker"] == "03"
    assert all(group["eer_ci"] is None for group in content["groups"])


def test_rates_of_draws_are_those_of_the_bootstrap() -> None:
    """actDCF at even odds is half the sum of both rates, of the same draws."""
    rng = np.random.default_rng(0)
    enroll, test = rng.integers(0, 9, (2, 500))
    target = np.where(np.arange(500) < 200, True, False)
    test[:200] = enroll[:200]
    scores = rng.normal(1.0 * target, 1)
    # speakers must be numbered alike in both classes, or the draws would be of other speakers
    assert len(set(enroll[:200])) == len(set(enroll[200:]) | set(test[200:])) == 9
    draws = bootstrap(scores, target, enroll, test, num_draws=40, seed=3, priors=[0.5], llr=True)
    misses = rate_draws(scores[target] < 0, enroll[target], test[target], 40, 3)
    alarms = rate_draws(scores[~target] >= 0, enroll[~target], test[~target], 40, 3)
    assert draws.act_dcf[0.5] == pytest.approx(misses + alarms)


def test_bad_input(
    data: Path, scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "utt2lang").write_text("00-0 zh\n00-0 en\n")
    words = [str(data / "trials"), str(scores), str(tmp_path / "exp"), "--draws", "0"]
    monkeypatch.setattr(sys, "argv", ["analyze_trials.py", *words])
    with pytest.raises(SystemExit):
        run_step(analyze_trials)
    assert f"{data}/utt2lang:2: '00-0' is already on line 1" in capsys.readouterr().err
    assert not (tmp_path / "exp").exists()
    (data / "utt2lang").unlink()
    with pytest.raises(DataError, match="named utt2X"):
        analyze_trials(data / "trials", scores, tmp_path / "exp", tables=[data / "wav.scp"], draws=0)
    with pytest.raises(DataError, match="prior must be between 0 and 1"):
        analyze_trials(data / "trials", scores, tmp_path / "exp", prior=1.0)
