"""A pack scores as the recipe does: every back-end, with AS-norm, several enrolment recordings, calibration."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.tables import DIM, UTTS, TablePack, decision_pack, speakers_vectors
from timbre.backend.vectors import Embeddings, Side
from timbre.runtime.scorer import Scorer
from timbre.utils.errors import DataError

KINDS = ["cosine", "cosine-mean-lda-wccn", "cosine-norm-mean-lda", "plda-mean", "plda-norm-mean-lda-norm"]


@pytest.mark.parametrize("cohort", [False, True], ids=["raw", "as-norm"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_llrs_are_the_recipes(kind: str, cohort: bool) -> None:
    pack = decision_pack(kind, cohort)
    scorer = Scorer.of(TablePack.of(pack))
    enroll, test = speakers_vectors(8, seed=5), speakers_vectors(3, seed=6)
    lists = {f"m{one}": [f"e{UTTS * one + row}" for row in range(1 + one % 4)] for one in range(8)}
    side = Embeddings(Path("x"), [f"e{row}" for row in range(len(enroll))], enroll).average(lists, "lists")
    right = Side.single([f"t{row}" for row in range(len(test))], test)
    rows, columns = np.indices((8, len(test))).reshape(2, -1)
    wanted = pack.scorer.pairs(side, right, rows, columns)
    scores = scorer.score(side.vectors, side.num_utts, test)
    assert np.abs(scores.ravel() - wanted).max() < 1e-5 * max(1, np.abs(wanted).max())
    parts = [scorer.enrolled(side.vectors[part], side.num_utts[part]) for part in (slice(3), slice(3, 8))]
    order = np.array([3, 1, 4, 2, 5, 0])  # of rows 0 and 2 of the first part, and then the second's
    woven = parts[0].merged(np.array([0, 2]), parts[1], order)
    for column, one in enumerate(test):
        first, second, third = scorer.score_one([*parts, woven], one)
        wanted_here = scores[:, column]
        assert np.allclose(np.append(first, second), wanted_here, rtol=0, atol=1e-5 * np.abs(scores).max())
        assert np.allclose(third, np.concatenate([first[[0, 2]], second])[order], rtol=1e-6, atol=1e-6)
    random = np.random.default_rng(0)
    measures = [{"logdur": random.normal(), "snr": random.normal(20, 5)} for _ in range(8 + len(test))]
    pairs = [measures[row] for row in rows], [measures[8 + column] for column in columns]
    expected = pack.llr(wanted, *pairs)
    found = scorer.llr(scores.ravel(), *pairs)
    assert np.abs(found - expected).max() < 1e-5 * max(1, np.abs(expected).max())
    assert np.allclose(scorer.supported(found), [pack.supported(llr) for llr in expected.tolist()], atol=1e-4)
    assert np.abs(scorer.supported(1e3 * found)).max() < 20 < np.abs(1e3 * found).max()


def test_thresholds_are_those_of_the_pack() -> None:
    pack = decision_pack("cosine")
    scorer = Scorer.of(TablePack.of(pack))
    for prior in (0.5, 0.01, 0.3):
        threshold, point = scorer.threshold(prior, None)
        assert threshold == pytest.approx(np.log((1 - prior) / prior)) and point == pack.point(prior, None)
    assert scorer.threshold(0.5, 0.01) == (pack.point(0.5, 0.01).threshold, pack.point(0.5, 0.01))  # type: ignore[union-attr]
    for prior, rate, text in ((0.0, None, "a prior of 0"), (float("nan"), None, "prior"), (0.5, 0.2, "only for 0.05")):
        with pytest.raises(DataError, match=text):
            scorer.threshold(prior, rate)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s, a: s.pop("measures"), "no 'measures'"),
        (lambda s, a: s.update(dim=DIM + 1), "shape"),
        (lambda s, a: s.update(dim=-1), "dimension"),
        (lambda s, a: s.update(top_n="many"), "top_n"),
        (lambda s, a: s.update(measures=["snr"]), "not for the measures"),
        (lambda s, a: s["backend"].update(kind="magic"), "neither cosine nor plda"),
        (
            lambda s, a: s["backend"]["projection"].append({"mean": None, "transform": "cohort", "length": "unit"}),
            "cohort has",
        ),
        (lambda s, a: s["backend"]["projection"][0].update(length="long"), "length"),
        (lambda s, a: s["calibration"].update(offset=float("nan")), "finite"),
        (lambda s, a: s["calibration"]["trained_on"].update(targets=0), "finite weights"),
        (lambda s, a: s["points"][0].update(kind="price"), "price"),
        (lambda s, a: s.update(tested={"weight": [1, 2]}), "tested"),
        (lambda s, a: s.update(min_speech=-1), "min_speech"),
        (lambda s, a: s.update(backend=[]), "indices"),
        (lambda s, a: a["plda_psi"].__isub__(1e9), "below 0"),
        (lambda s, a: a.update(plda_mean=np.zeros(3)), "plda_mean has the shape"),
        (lambda s, a: a.update(plda_mean=np.full(10, np.nan)), "finite"),
        (lambda s, a: a.update(cohort=np.array(["a"])), "cohort"),
        (lambda s, a: a.pop("plda_transform"), "no 'plda_transform'"),
    ],
)
def test_damaged_tables_are_one_line(change: Any, text: str) -> None:
    pack = TablePack.of(decision_pack("plda-mean-lda"))
    change(pack.settings, pack.arrays)
    with pytest.raises(DataError, match=text) as caught:
        Scorer.of(pack)
    assert str(caught.value).startswith("made.timbre: its tables are damaged: ") and "\n" not in str(caught.value)


def test_embeddings_that_do_not_fit() -> None:
    scorer = Scorer.of(TablePack.of(decision_pack("cosine")))
    for wrong, text in ((np.zeros((1, DIM), np.float32), "no direction"), (np.ones((1, 3), np.float32), "dimension")):
        with pytest.raises(DataError, match=text):
            scorer.score(wrong, np.ones(1, np.int64), np.ones((1, DIM), np.float32))
