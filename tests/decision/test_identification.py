"""Identification against the whole matrix of scores, rates counted by hand, and faiss against exact search."""

import json
from pathlib import Path

import numpy as np
import pytest

from steps.identify_probes import identify_probes
from steps.make_gallery import make_gallery
from timbre.backend.backends import CosineBackend, PldaBackend
from timbre.backend.plda import Plda
from timbre.backend.vectors import Projection, Side, Vectors
from timbre.datadir.ark import write_vectors
from timbre.datadir.tables import read_lists, read_table, write_table
from timbre.decision import gallery_search
from timbre.decision.faiss_search import faiss_search
from timbre.decision.gallery_search import Matches, search
from timbre.decision.pack import Scorer
from timbre.evaluation.identification_rates import measure
from timbre.utils.errors import DataError

DIM = 8


def draw(number: int, seed: int) -> Vectors:
    return np.random.default_rng(seed).normal(size=(number, DIM)).astype(np.float32)


def plda() -> PldaBackend:
    random = np.random.default_rng(5)
    return PldaBackend(
        Projection(random.normal(size=DIM), None, "sqrt_dim"),
        Plda(np.zeros(DIM), np.eye(DIM), np.linspace(4, 0.5, DIM)),
    )


BACKENDS = {"cosine": CosineBackend(Projection(None, None, "unit")), "plda": plda()}


def side(vectors: Vectors, name: str, num_utts: np.ndarray | None = None) -> Side:
    ids = [f"{name}{row}" for row in range(len(vectors))]
    return Side(ids, vectors, np.ones(len(ids), np.int64) if num_utts is None else num_utts)


@pytest.mark.parametrize("tile", [7, 1000])
@pytest.mark.parametrize("cohort", [False, True], ids=["raw", "asnorm"])
@pytest.mark.parametrize("name", BACKENDS)
def test_the_best_of_all_scores(name: str, cohort: bool, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_search, "_TILE", tile)
    gallery, probes = side(draw(40, 0), "g", 1 + np.arange(40) % 3), side(draw(90, 1), "p")
    scorer = Scorer(BACKENDS[name], side(draw(30, 2), "c") if cohort else None, 10)
    truth = np.arange(90) % 45
    truth[truth >= 40] = gallery_search.UNKNOWN
    found = search(scorer, gallery, probes, 6, truth, nj=2)
    pairs = np.repeat(np.arange(40), 90), np.tile(np.arange(90), 40)
    matrix = scorer.pairs(gallery, probes, *pairs).reshape(40, 90).T
    order = np.argsort(-matrix, axis=1)
    assert np.array_equal(found.rows, order[:, :6])
    assert np.allclose(found.scores, np.take_along_axis(matrix, order, axis=1)[:, :6], atol=1e-4)
    for probe, entry in enumerate(truth.tolist()):
        assert found.rank[probe] == (0 if entry < 0 else 1 + order[probe].tolist().index(entry))
    again = search(scorer, gallery, probes, 6, truth)
    assert np.array_equal(again.rows, found.rows) and np.array_equal(again.rank, found.rank)


@pytest.mark.parametrize("tile", [4, 1000])
@pytest.mark.parametrize("name", BACKENDS)
def test_equal_scores_are_no_skill(name: str, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten entries with the same vector: the true one has rank 10, whichever of them it is."""
    monkeypatch.setattr(gallery_search, "_TILE", tile)
    probes = side(draw(10, 3), "p")
    same = np.repeat(draw(1, 4), 10, axis=0)
    found = search(Scorer(BACKENDS[name]), side(same, "g"), probes, 3, np.arange(10))
    assert found.rank.tolist() == [10] * 10


def test_a_gallery_of_one_and_of_nobody() -> None:
    scorer = Scorer(BACKENDS["cosine"])
    found = search(scorer, side(draw(1, 0), "g"), side(draw(5, 1), "p"), 3, np.zeros(5, np.int64))
    assert found.rows.tolist() == [[0]] * 5 and found.rank.tolist() == [1] * 5
    for k, size in ((0, 3), (1, 0)):
        with pytest.raises(DataError, match=f"{k} of a gallery of {size} cannot be found"):
            search(scorer, side(draw(size, 0), "g"), side(draw(5, 1), "p"), k)


def test_rates_counted_by_hand() -> None:
    #                 0    1    2    3    4    5  | strangers
    rank = np.array([1, 1, 2, 7, 1, 1, 0, 0, 0, 0])
    best = np.array([9, 3, 8, 8, 5, 6, 7, 4, 4, 1.0])
    speakers = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    result = measure(rank, best, speakers, gallery=8, rates=(0.25, 0.2, 0.75), num_draws=300)
    assert (result.probes, result.strangers, result.gallery) == (6, 4, 8)
    assert result.top[1][0] == 4 / 6 and result.top[5][0] == 5 / 6
    assert np.allclose(result.curve * 6, [4, 5, 5, 5, 5, 5, 6, 6])
    limits = [item.threshold for item in result.open_set]
    assert 4 < limits[0] < 4.0001 and 7 < limits[1] < 7.0001  # of the two equal fours neither or both
    assert 1 < limits[2] < 4  # three of four
    assert [item.rate for item in result.open_set] == [3 / 6, 1 / 6, 4 / 6]
    for rate, ends in result.top.values():
        assert ends is not None and ends[0] <= rate <= ends[1]
    draws = []
    for index in range(300):
        counts = np.bincount(np.random.default_rng([0, index]).integers(0, 5, 5), minlength=5)
        weights = counts[speakers[:6]]
        draws.append(np.average(rank[:6] == 1, weights=weights) if weights.sum() else np.nan)
    assert result.top[1][1] == pytest.approx(np.nanquantile(draws, [0.025, 0.975]))


def test_faiss_finds_what_exact_search_finds(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("faiss")
    random = np.random.default_rng(0)
    centers = random.normal(size=(4000, 16)).astype(np.float32)
    probes = side(centers[:300] + random.normal(0, 0.5, (300, 16)).astype(np.float32), "p")
    truth = np.arange(300)
    model = PldaBackend(Projection(None, None, "as_is"), Plda(np.zeros(16), np.eye(16) * 2, np.full(16, 4.0)))
    for backend in (BACKENDS["cosine"], model):
        scorer = Scorer(backend)
        caplog.clear()
        with caplog.at_level("INFO"):
            found = faiss_search(scorer, side(centers, "g"), probes, 5, truth)
        exact = search(scorer, side(centers, "g"), probes, 5, truth)
        same = found.rows[:, 0] == exact.rows[:, 0]
        assert same.mean() > 0.9
        assert np.allclose(found.scores[same, 0], exact.scores[same, 0], atol=1e-3)
        assert (np.diff(found.scores, axis=1) <= 0).all()
        assert np.mean((found.rank == exact.rank) | (exact.rank > 5)) > 0.85
        assert set(found.rank[found.rank > 5]) <= {4001}
        assert "the best of 4000 entries is found for " in caplog.text
    with pytest.raises(DataError, match="as many utterances in every entry"):
        faiss_search(Scorer(model), side(centers[:50], "g", 1 + np.arange(50) % 2), probes, 5, truth)
    with pytest.raises(DataError, match="cannot normalise scores"):
        faiss_search(Scorer(model, side(centers[:9], "c")), side(centers, "g"), probes, 5, truth)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Embeddings x and utt2spk of 20 speakers with 6 utterances each, in data/, and a cosine back-end."""
    path, random = tmp_path / "data", np.random.default_rng(0)
    utt2spk = {f"s{spk:02d}-{number}": f"s{spk:02d}" for spk in range(20) for number in range(6)}
    centers = {spk: random.normal(size=DIM) for spk in sorted(set(utt2spk.values()))}
    write_vectors(
        path / "x", list(utt2spk), np.stack([centers[spk] + random.normal(0, 0.6, DIM) for spk in utt2spk.values()])
    )
    write_table(path / "utt2spk", utt2spk)
    write_table(path / "feats.scp", dict.fromkeys(utt2spk, "x.ark:1"))
    BACKENDS["cosine"].write(tmp_path / "cosine")
    return path


def test_the_steps(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_gallery(corpus, tmp_path / "gallery", num_enroll=2, known=0.6)
    lists, probes = read_lists(tmp_path / "gallery" / "enroll.spk2utt"), read_table(tmp_path / "gallery" / "utt2spk")
    assert len(lists) == 12 and {len(utts) for utts in lists.values()} == {2}
    enrolled = {utt for utts in lists.values() for utt in utts}
    assert not enrolled & probes.keys() and len(probes) == 120 - 24
    x = corpus / "x.scp"
    words = (tmp_path / "gallery" / "enroll.spk2utt", tmp_path / "gallery" / "utt2spk", x, x, tmp_path / "cosine")
    identify_probes(*words, tmp_path / "out", top_k=3, draws=50, nj=1)
    result = json.loads((tmp_path / "out" / "identification.json").read_text())
    assert (result["gallery"], result["probes"], result["strangers"]) == (12, 48, 48)
    lines = [line.split() for line in (tmp_path / "out" / "matches").read_text().splitlines()]
    assert len(lines) == 3 * 96
    best = {probe: entry for probe, entry, _ in reversed(lines)}
    right = [best[utt] == spk for utt, spk in probes.items() if spk in lists]
    assert result["top"]["1"]["rate"] == pytest.approx(np.mean(right)) and np.mean(right) > 0.6
    assert result["rank_curve"][0] == result["top"]["1"]["rate"] and result["rank_curve"][-1] == 1
    assert f"top-1 {100 * np.mean(right):11.2f} %" in capsys.readouterr().out
    assert (tmp_path / "out" / "rank_curve.png").read_bytes().startswith(b"\x89PNG")
    assert [item["false_alarm_rate"] for item in result["open_set"]] == [0.1, 0.01, 0.001]
    rates = [item["rate"] for item in result["open_set"]]
    assert rates == sorted(rates, reverse=True) and rates[0] <= result["top"]["1"]["rate"]


def test_bad_input(corpus: Path, tmp_path: Path) -> None:
    make_gallery(corpus, tmp_path / "gallery", num_enroll=2)
    lists, probes, x = tmp_path / "gallery" / "enroll.spk2utt", tmp_path / "gallery" / "utt2spk", corpus / "x.scp"

    def refused(message: str, spk2utt: Path = lists, utt2spk: Path = probes, **more: str) -> None:
        with pytest.raises(DataError, match=message):
            identify_probes(spk2utt, utt2spk, x, x, tmp_path / "cosine", tmp_path / "out", draws=5, **more)
        assert not (tmp_path / "out").exists()

    refused(r"utt2spk: 's\d\d-\d' is in the gallery too \(40 of 120 probes\)", utt2spk=corpus / "utt2spk")
    (tmp_path / "bad").write_text("s00 s00-0 nobody\n")
    refused("no vector for 'nobody'", spk2utt=tmp_path / "bad")
    (tmp_path / "bad").write_text("x s00-0\n")
    (tmp_path / "few").write_text("s01-1 s01\n")
    refused("bad: no probe is of anybody in the gallery", spk2utt=tmp_path / "bad", utt2spk=tmp_path / "few")
    (tmp_path / "bad").write_text("")
    refused("bad: nobody is in it", spk2utt=tmp_path / "bad")
    refused("bad: no probes in it", utt2spk=tmp_path / "bad")
    for words, message in (
        ({"num_enroll": 6}, "no speaker has more than 6 utterances"),
        ({"known": 0}, "a share of 0"),
    ):
        with pytest.raises(DataError, match=message):
            make_gallery(corpus, tmp_path / "other", **words)


def test_matches_of_no_truth_have_no_rank() -> None:
    found: Matches = search(Scorer(BACKENDS["plda"]), side(draw(9, 0), "g"), side(draw(5, 1), "p"), 2)
    assert found.rank.tolist() == [0] * 5 and found.rows.shape == (5, 2)
