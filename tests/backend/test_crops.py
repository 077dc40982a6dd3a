"""Scores over all pairs of crops, against loops over the pairs."""

import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from steps.score_crops import score_crops
from steps.score_trials import score_trials
from timbre.datadir.ark import write_vectors
from timbre.datadir.trials import read_scores, read_trials
from timbre.utils.cli import run_step

UTTS = ["a-1", "a-2", "b-1", "b#2"]  # one with the mark of a crop in its name
PAIRS = [(one, other) for one in UTTS for other in UTTS if one != other]


def vectors(num_crops: int, whole: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    names = [f"#{number:02d}" for number in range(num_crops)] + ["#full"] * whole
    return {utt + name: rng.normal(size=6).astype(np.float32) for utt in UTTS for name in names}


def unit(vector: np.ndarray) -> np.ndarray:
    return vector.astype(np.float64) / np.linalg.norm(vector)


@pytest.fixture
def score(tmp_path: Path) -> Callable[..., np.ndarray]:
    """Scores PAIRS with a set of vectors."""
    (tmp_path / "trials").write_text(
        "".join(f"{a} {b} {'target' if a[0] == b[0] else 'nontarget'}\n" for a, b in PAIRS)
    )

    def call(table: dict[str, np.ndarray], **options: object) -> np.ndarray:
        ids = sorted(table)
        write_vectors(tmp_path / "crops", ids, np.stack([table[key] for key in ids]))
        scp = tmp_path / "crops.scp"
        score_crops(tmp_path / "trials", scp, scp, tmp_path / "trials.cosine", **options)
        return read_scores(tmp_path / "trials.cosine", read_trials(tmp_path / "trials"))

    return call


@pytest.mark.parametrize("whole", [False, True])
def test_means_over_all_pairs(score: Callable[..., np.ndarray], whole: bool) -> None:
    table = vectors(4, whole)

    def crops(utt: str) -> list[np.ndarray]:
        return [table[f"{utt}#{number:02d}"] for number in range(4)]

    for measure, of_pair in (
        ("cosine", lambda a, b: unit(a) @ unit(b)),
        ("euclidean", lambda a, b: -np.linalg.norm(unit(a) - unit(b))),
    ):
        expected = []
        for one, other in PAIRS:
            mean = np.mean([of_pair(a, b) for a, b in product(crops(one), crops(other))])
            expected.append((mean + of_pair(table[f"{one}#full"], table[f"{other}#full"])) / 2 if whole else mean)
        scores = score(table, measure=measure)
        assert scores == pytest.approx(np.array(expected), abs=1e-6)
        swapped = dict(zip(PAIRS, scores, strict=True))
        assert all(swapped[a, b] == pytest.approx(swapped[b, a], abs=1e-6) for a, b in PAIRS)
    raw = score(table, normalize=False)
    if not whole:
        expected = [-np.mean([np.linalg.norm(a - b) for a, b in product(crops(x), crops(y))]) for x, y in PAIRS]
        assert raw == pytest.approx(np.array(expected), abs=1e-5)


def test_equal_crops_and_one_crop_score_as_the_whole(score: Callable[..., np.ndarray], tmp_path: Path) -> None:
    one = {utt: vectors(1, False)[f"{utt}#00"] for utt in UTTS}
    scores = score(one, measure="cosine")
    score_trials(tmp_path / "trials", tmp_path / "crops.scp", tmp_path / "crops.scp", tmp_path / "plain.cosine")
    assert scores == pytest.approx(read_scores(tmp_path / "plain.cosine", read_trials(tmp_path / "trials")), abs=1e-6)
    distances = score(one)
    assert distances == pytest.approx(-np.sqrt(2 - 2 * scores), abs=1e-6)
    many = {f"{utt}#{number:02d}": vector for utt, vector in one.items() for number in range(10)}
    assert score(many, measure="cosine") == pytest.approx(scores, abs=1e-6)
    assert score(many) == pytest.approx(distances, abs=1e-6)
    assert score(dict.fromkeys(many, one["a-1"])) == pytest.approx(0, abs=1e-6)


def test_a_model_has_the_crops_of_all_its_utterances(score: Callable[..., np.ndarray], tmp_path: Path) -> None:
    table = vectors(3, False)
    (tmp_path / "models").write_text("a-1 a-1 a-2\n")
    scores = dict(zip(PAIRS, score(table, enroll_spk2utt=tmp_path / "models"), strict=True))
    crops = [table[f"{utt}#{number:02d}"] for utt in ("a-1", "a-2") for number in range(3)]
    expected = [-np.linalg.norm(unit(a) - unit(table[f"b-1#{n:02d}"])) for a in crops for n in range(3)]
    assert scores["a-1", "b-1"] == pytest.approx(np.mean(expected), abs=1e-6)
    alone = dict(zip(PAIRS, score(table), strict=True))
    assert scores["b-1", "a-1"] == alone["b-1", "a-1"]


def test_bad_input(
    score: Callable[..., np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(table: dict[str, np.ndarray], *words: str) -> str:
        ids = sorted(table)
        write_vectors(tmp_path / "crops", ids, np.stack([table[key] for key in ids]))
        paths = [tmp_path / name for name in ("trials", "crops.scp", "crops.scp", "trials.cosine")]
        monkeypatch.setattr(sys, "argv", ["score_crops.py", *map(str, paths), *words])
        with pytest.raises(SystemExit):
            run_step(score_crops)
        assert not (tmp_path / "trials.cosine").exists()
        return capsys.readouterr().err

    table = vectors(2, True)
    assert "--normalize false goes with" in fails(table, "--normalize", "false", "--measure", "cosine")
    some = {key: vector for key, vector in table.items() if key != "b-1#full"}
    assert "crops.scp: 'b-1' has no vector of the whole utterance, others have one" in fails(some)
    none = {key: vector for key, vector in table.items() if not key.startswith("a-2")}
    assert "crops.scp: no vectors for 'a-2'" in fails(none)
    table["a-1#00"] = np.zeros(6, np.float32)
    assert "the vector of 'a-1#00' is zero" in fails(table)
