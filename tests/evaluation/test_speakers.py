"""Whose trials they are: by utt2spk, by models, by what target trials tie together."""

from pathlib import Path

import numpy as np
import pytest

from timbre.datadir.trials import Trials, read_trials
from timbre.evaluation.speakers import trial_speakers
from timbre.utils.errors import DataError


def read(folder: Path, lines: list[str]) -> tuple[Path, Trials]:
    path = folder / "trials"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path, read_trials(path)


def test_ties_of_target_trials(tmp_path: Path) -> None:
    path, trials = read(tmp_path, ["m z nontarget", "c d target", "a b target", "b c nontarget", "b e target"])
    speakers = trial_speakers(path, trials)
    assert speakers.names == ["a", "c", "m", "z"]
    assert speakers.source == "target trials"
    by_id = dict(
        zip(trials.enroll_ids + trials.test_ids, np.append(speakers.enroll, speakers.test).tolist(), strict=True)
    )
    assert by_id == {"a": 0, "b": 0, "e": 0, "c": 1, "d": 1, "m": 2, "z": 3}


def test_numbers_do_not_depend_on_the_order_of_trials(tmp_path: Path) -> None:
    lines = ["c d target", "a b target", "b c nontarget", "b e target", "f g target"]
    tables = []
    for order in (lines, lines[::-1]):
        path, trials = read(tmp_path, order)
        speakers = trial_speakers(path, trials)
        tables.append(dict(zip(trials.test_ids, speakers.test.tolist(), strict=True)))
    assert tables[0] == tables[1]


def test_utt2spk_beside_the_trials_and_models(tmp_path: Path) -> None:
    path, trials = read(tmp_path, ["model1 b-1 target", "a b-1 nontarget", "c-1 b-1 nontarget"])
    (tmp_path / "utt2spk").write_text("a-1 a\nb-1 b\nb-2 b\nb-3 b\nc-1 c\n")
    (tmp_path / "enroll.spk2utt").write_text("model1 b-2 b-3\n")
    speakers = trial_speakers(path, trials)
    assert speakers.names == ["a", "b", "c"]
    assert speakers.enroll.tolist() == [1, 0, 2]  # a model, a speaker's name, an utterance
    assert speakers.test.tolist() == [1]
    assert speakers.source == str(tmp_path / "utt2spk")


def test_labels_that_contradict_utt2spk_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, trials = read(tmp_path, ["a-1 a-2 nontarget", "a-1 b-1 target", "a-1 b-2 nontarget"])
    (tmp_path / "utt2spk").write_text("a-1 a\na-2 a\nb-1 b\nb-2 b\n")
    trial_speakers(path, trials)
    assert "2 trials are labelled otherwise" in caplog.text


def test_what_utt2spk_lacks_is_named(tmp_path: Path) -> None:
    path, trials = read(tmp_path, ["a-1 b-1 target"])
    other = tmp_path / "other"
    other.write_text("a-1 a\n")
    with pytest.raises(DataError, match="no utterance 'b-1', which the trials name"):
        trial_speakers(path, trials, other)
    with pytest.raises(DataError, match="missing"):
        trial_speakers(path, trials, tmp_path / "missing")
    (tmp_path / "utt2spk").write_text("a-1 a\nb-1 b\nb-2 c\n")
    (tmp_path / "enroll.spk2utt").write_text("a-1 b-1 b-2\n")
    with pytest.raises(DataError, match="model 'a-1' has utterances of 2 speakers"):
        trial_speakers(path, trials)
