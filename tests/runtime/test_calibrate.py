"""A pack fitted to own recordings: what is wrong with them is told, errors are of speakers not seen, no promises."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.made_voices import made_voice, samples_of, write_takes
from timbre.people.calibration_report import fitted_pack, report_content, report_text
from timbre.people.commands.command_line import folders_of
from timbre.people.own_calibration import cllr, fit_own
from timbre.people.own_recordings import Heard, Recordings, listen
from timbre.people.voice import Voice
from timbre.runtime.logistic import expit, fit_logistic
from timbre.runtime.pack_file import PackFile
from timbre.runtime.pack_zip import write_zip
from timbre.runtime.scorer import Scorer
from timbre.utils.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve speakers of three recordings, lengths from 1 to 3 s."""
    path = tmp_path_factory.mktemp("own")
    for speaker in range(12):
        for take in range(3):
            write_takes(path / f"p{speaker:02d}", speaker, range(take, take + 1), 1.0 + take)
    return path


@pytest.fixture(scope="module")
def voice() -> Voice:
    return made_voice("cosine-mean-lda")


@pytest.fixture(scope="module")
def heard(folder: Path, voice: Voice) -> Recordings:
    return listen(voice, folders_of(folder))


def test_the_regression_is_scipys() -> None:
    """With numpy's functions as with those that the recipe's calibration gives it."""
    from scipy import special

    random = np.random.default_rng(0)
    target = np.arange(2000) % 10 == 0
    values = random.normal(size=(2000, 2)) + 1.5 * target[:, None]
    for prior in (0.05, 0.5):
        ours = fit_logistic(values, target, prior)
        scipys = fit_logistic(values, target, prior, 1e-6, special.expit, special.logit)
        assert ours[0] == pytest.approx(scipys[0], abs=1e-9) and np.allclose(ours[1], scipys[1], atol=1e-9)
    assert np.array_equal(expit(np.array([-1e4, 0, 1e4])), [0, 0.5, 1])


def test_a_fit_and_what_it_can_show(voice: Voice, heard: Recordings) -> None:
    fitted = fit_own(voice.scorer, heard, draws=100)
    assert (fitted.speakers, fitted.recordings, fitted.targets, fitted.nontargets) == (12, 36, 36, 594)
    assert fitted.after < min(1, fitted.before + 0.1) and not heard.left_out and not heard.doubts
    counts = fitted.calibration.trained_on
    assert (counts["targets"], counts["nontargets"]) == (24, 66)
    assert [point.value for point in fitted.points if point.kind == "prior"] == [0.5, 0.05]  # log 66 is 4.2
    assert [point.value for point in fitted.points if point.kind != "prior"] == [0.05]  # a 66th is 0.015
    refused = dict(fitted.refused)
    assert set(refused) == {
        "prior 0.01",
        "prior 0.001",
        *(f"false-alarm rate {rate}" for rate in ("0.01", "0.001", "0.0001")),
    }
    assert (
        "66 pairs of speakers" in refused["false-alarm rate 0.001"]
        and "46 speakers" in refused["false-alarm rate 0.001"]
    )
    assert {group.name for group in fitted.groups} >= {"0 to 2 s of speech", "2 to 4 s of speech", "WAV narrow band"}
    text, content = report_text(heard, fitted), report_content(heard, fitted)
    assert "not promised" in text and len(content["refused"]) == 5 and content["speakers"] == 12
    again = fit_own(voice.scorer, heard, draws=100)
    assert again == fitted


def test_no_error_rate_is_of_speakers_that_were_fitted_to(voice: Voice) -> None:
    """Embeddings without a voice in them: fitted to all it looks better than nothing, cross-validated it must not."""
    random = np.random.default_rng(0)
    losses = []
    for draw in range(4):
        recordings = listen(voice, {f"p{one}": [] for one in range(2)})
        made = [voice.embed((samples_of(one % 20, 100 * draw + one), 8000)) for one in range(36)]
        recordings.heard = [
            Heard(f"p{row // 3}", f"{row}.wav", replace(one, vector=random.normal(size=16).astype(np.float32)), "WAV")
            for row, one in enumerate(made)
        ]
        try:
            losses.append(fit_own(voice.scorer, recordings, draws=10).after)
        except DataError as error:
            assert "no higher" in str(error)
    assert all(loss > 0.98 for loss in losses)


def test_what_is_wrong_with_recordings(folder: Path, voice: Voice, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    shutil.copy(own / "p00" / "s00-0.wav", own / "p00" / "copy.wav")
    shutil.copy(own / "p01" / "s01-0.wav", own / "p02" / "of_p01.wav")
    (own / "p03" / "s03-2.wav").rename(own / "p04" / "s03-2.wav")
    (own / "p05" / "broken.wav").write_bytes(b"RIFF....")
    (own / "p05" / "notes.txt").write_text("not audio")
    write_takes(own / "p06", 6, range(9, 10), 0.1)
    write_takes(own / "single", 15, range(1))
    heard = listen(voice, folders_of(own))
    fit_own(voice.scorer, heard, draws=10)
    out = {Path(what).name: why for what, why in heard.left_out}
    assert out.keys() == {"s00-0.wav", "of_p01.wav", "s01-0.wav", "broken.wav", "s06-9.wav", "single"}
    assert "the same recording as" in out["s00-0.wav"] and "under p01 and p02" in out["s01-0.wav"]
    assert "only 0.10 s" in out["s06-9.wav"] and "two are needed" in out["single"]
    [(what, why)] = heard.doubts
    assert what.endswith("p04/s03-2.wav") and "more like p03" in why and "perhaps under the wrong name" in why


def test_what_cannot_be_fitted(folder: Path, voice: Voice, tmp_path: Path) -> None:
    few = dict(list(folders_of(folder).items())[:4])
    with pytest.raises(DataError, match=r"4 speakers .* 5 are needed"):
        fit_own(voice.scorer, listen(voice, few))
    with pytest.raises(DataError, match="no such folder"):
        folders_of(tmp_path / "none")
    with pytest.raises(DataError, match="no audio in it"):
        folders_of(tmp_path)
    mixed = {f"m{take}": [files[take] for files in folders_of(folder).values()] for take in range(3)}
    halves = {f"{name}{half}": files[half::2] for name, files in mixed.items() for half in range(2)}
    with pytest.raises(DataError, match="is each folder one speaker"):
        fit_own(voice.scorer, listen(voice, halves), draws=10)


def test_the_new_pack_says_it(voice: Voice, heard: Recordings, tmp_path: Path) -> None:
    """Read again, its log-likelihood ratios are a line in the old ones, and its thresholds those of the report."""
    fitted = fit_own(voice.scorer, heard, draws=20)
    pack = voice.pack
    pack.settings["files"] = {}
    settings, members = fitted_pack(pack, fitted, 0.2)
    scorer = Scorer.of(type(pack)(settings, pack.arrays))
    assert scorer.min_speech == 0.2 and list(scorer.points) == list(fitted.points)
    measures = [one.encoding.measures for one in heard.heard[:5]]
    scores = np.linspace(-1, 1, 5)
    old, new = (one.llr(scores, measures, measures[::-1]) for one in (voice.scorer, scorer))
    assert np.allclose(np.polyval(np.polyfit(old, new, 1), old), new, atol=1e-9) and (np.diff(new) > 0).any()
    assert "Fitted to own recordings" in members["README.md"].decode()
    target = np.array([True, False])
    assert cllr(np.zeros(2), target) == pytest.approx(1)
    settings |= {"format": "timbre-pack", "version": 1, "front": {}, "models": {"fp32": {}}}
    write_zip(tmp_path / "own.timbre", settings, members)
    assert PackFile.open(tmp_path / "own.timbre").settings["card"]["fitted"]["speakers"] == 12
