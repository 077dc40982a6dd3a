"""Maps of embeddings: places, figures and pictures, against brute force, closed form and what was put in."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from steps.plot_embeddings import plot_embeddings
from timbre.datadir.ark import write_vectors
from timbre.explain.embedding_map import Labelled, MapOptions, measure, project, read_labelled
from timbre.explain.plots import plot_map
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

SPEAKERS, UTTS, DIM = 6, 8, 12


def make_vectors(speakers: int = SPEAKERS, utts: int = UTTS, spread: float = 0.3) -> tuple[np.ndarray, list[str]]:
    random = np.random.default_rng(1)
    centres = random.normal(size=(speakers, DIM))
    vectors = np.repeat(centres, utts, axis=0) + spread * random.normal(size=(speakers * utts, DIM))
    return vectors.astype(np.float32), [f"s{number // utts}" for number in range(speakers * utts)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """x.scp, utt2spk and spk2gender of six speakers."""
    vectors, labels = make_vectors()
    utts = [f"{spk}-{place % UTTS}" for place, spk in enumerate(labels)]
    write_vectors(tmp_path / "x", utts, vectors)
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {spk}\n" for utt, spk in zip(utts, labels, strict=True)))
    (tmp_path / "spk2gender").write_text("".join(f"s{n} {'fm'[n % 2]}\n" for n in range(SPEAKERS)))
    return tmp_path


def test_neighbours_are_those_of_a_brute_force() -> None:
    random = np.random.default_rng(0)
    vectors, places = random.normal(size=(60, 5)), random.normal(size=(60, 2)) + 100
    labels = [f"l{n}" for n in random.integers(0, 7, 59)] + ["alone"]

    def brute(distance: np.ndarray, neighbors: int) -> float:
        shares = []
        for row, label in enumerate(labels):
            count = min(neighbors, labels.count(label) - 1)
            if count:
                order = sorted((n for n in range(60) if n != row), key=lambda n: distance[row, n])
                shares.append(sum(labels[n] == label for n in order[:count]) / count)
        return sum(shares) / len(shares)

    unit = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    on_map = np.linalg.norm(places[:, None] - places[None], axis=2)
    for neighbors in (1, 4, 30):
        found = measure(vectors, places, labels, neighbors)
        assert found.embeddings == pytest.approx(brute(1 - unit @ unit.T, neighbors))
        assert found.map == pytest.approx(brute(on_map, neighbors))
        counts = [labels.count(label) - 1 for label in labels if labels.count(label) > 1]
        assert found.chance == pytest.approx(sum(counts) / 59 / len(counts))


def test_figures_of_labels_that_are_seen_and_of_labels_that_are_not() -> None:
    vectors, labels = make_vectors(spread=0.01)
    found = measure(vectors, vectors[:, :2], labels)
    assert found.embeddings == 1 and found.silhouette is not None and found.silhouette > 0.95
    shuffled = list(np.random.default_rng(0).permutation(labels))
    found = measure(vectors, vectors[:, :2], shuffled)
    assert abs(found.embeddings - found.chance) < 0.1 and found.silhouette is not None and found.silhouette < 0
    one = measure(vectors, vectors[:, :2], ["a"] * len(labels))
    assert (one.embeddings, one.chance, one.silhouette) == (1, 1, None)


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_a_map_keeps_speakers_together_and_is_the_same_again(method: str) -> None:
    vectors, labels = make_vectors()
    options = MapOptions(method, perplexity=8)  # type: ignore[arg-type]
    places = project(vectors, options)
    assert places.shape == (SPEAKERS * UTTS, 2)
    assert measure(vectors, places, labels, 5).map > (0.95 if method == "tsne" else 0.6)
    assert np.array_equal(places, project(vectors, options))


def test_pca_is_that_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    vectors, _ = make_vectors()
    wanted = PCA(2).fit_transform(vectors.astype(np.float64))
    places = project(vectors + 3, MapOptions("pca"))
    for column in range(2):
        sign = np.sign(wanted[0, column] * places[0, column])
        np.testing.assert_allclose(places[:, column], sign * wanted[:, column], atol=1e-4)


def test_what_is_drawn_or_kept_is_what_was_asked_for() -> None:
    data = Labelled(list("abcdefg"), np.arange(14.0).reshape(7, 2), {"spk": list("xxyyyzw")})
    assert data.of_most(2).utts == list("abcde") and data.of_most(3).labels["spk"] == list("xxyyyw")  # w before z
    drawn = data.sample(4, seed=0)
    assert len(drawn) == 4 and drawn.utts == sorted(drawn.utts) and data.sample(4, seed=0).utts == drawn.utts
    for utt, vector, spk in zip(drawn.utts, drawn.vectors, drawn.labels["spk"], strict=True):
        row = data.utts.index(utt)
        assert list(vector) == [2.0 * row, 2.0 * row + 1] and spk == "xxyyyzw"[row]
    assert data.sample(7, seed=0) is data


def test_step_writes_pictures_figures_and_places(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = [folder / "utt2spk", folder / "spk2gender"]
    plot_embeddings(
        folder / "x.scp", folder / "out" / "tsne_x", tables, MapOptions(perplexity=5), max_labels=4, legend=3
    )
    names = sorted(path.name for path in (folder / "out").iterdir())
    assert names == sorted(
        ["tsne_x.tsv", *(f"tsne_x_{label}.{end}" for label in ("spk", "gender") for end in ("png", "svg", "json"))]
    )
    head, *rows = [line.split("\t") for line in (folder / "out" / "tsne_x.tsv").read_text().splitlines()]
    assert head == ["utt", "x", "y", "spk", "gender"] and len(rows) == 4 * UTTS
    assert {(row[3], row[4]) for row in rows} == {("s0", "f"), ("s1", "m"), ("s2", "f"), ("s3", "m")}
    figures = json.loads((folder / "out" / "tsne_x_spk.json").read_text())
    assert figures["num_labels"] == 4 and figures["num_utts"] == 32 and figures["options"]["perplexity"] == 5
    assert figures["caption"] == capsys.readouterr().out.splitlines()[0].removeprefix("spk: ") + "."
    svg = (folder / "out" / "tsne_x_spk.svg").read_text()
    for text in ("s0 (8)", "s2 (8)", "1 others (8)", "t-SNE of", "by spk (32 utterances)"):
        assert text in svg
    assert "s3 (8)" not in svg


def test_hundreds_of_labels_leave_a_legend_of_the_most_frequent(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = [f"spk{n % 600:03d}" for n in range(1200)] + ["spk007"] * 9 + ["spk008"] * 5
    plot_map(random.normal(size=(len(labels), 2)), labels, [tmp_path / "map.svg"], "title", "note", most=2)
    svg = (tmp_path / "map.svg").read_text()
    assert "spk007 (11)" in svg and "spk008 (7)" in svg and "598 others (1,196)" in svg and svg.count("(") < 60


def test_without_labels_there_is_a_map_all_the_same(folder: Path) -> None:
    plot_embeddings(folder / "x.scp", folder / "plain", map=MapOptions("pca"))
    assert (folder / "plain.png").exists() and (folder / "plain.svg").exists()
    assert not list(folder.glob("plain*.json"))


def test_bad_input_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*words: object) -> str:
        monkeypatch.setattr(
            sys, "argv", ["plot_embeddings.py", str(folder / "x.scp"), str(folder / "o"), *map(str, words)]
        )
        capsys.readouterr()
        with pytest.raises(SystemExit):
            run_step(plot_embeddings)
        message = capsys.readouterr().err
        assert message.count("error:") == 1 and not list(folder.glob("o*")), message
        return message

    labels = folder / "utt2spk"
    assert "perplexity is 48; it must be less than the 48 embeddings" in fails(
        "--labels", labels, "--map.perplexity", 48
    )
    assert "perplexity is 0.5; it must be at least 1" in fails("--map.perplexity", 0.5)
    assert "pca_dim is 1" in fails("--map.pca_dim", 1)
    assert "a PCA to 20 dimensions" in fails("--map.pca_dim", 20)
    assert "method" in fails("--map.method", "mds")
    assert "legend from 1 to 24" in fails("--legend", 25)
    assert "two tables of spk" in fails("--labels", f"[{labels},{labels}]")
    lines = labels.read_text().splitlines(keepends=True)
    labels.write_text("".join(lines[:-2]))
    assert f"{labels}: no label for 2 of 48 embeddings, such as 's5-6'" in fails("--labels", labels)
    labels.write_text("".join(lines[:3]) + "broken\n")
    assert f"{labels}:4: 'broken' has no value" in fails("--labels", labels)
    labels.write_text("".join(lines))
    (folder / "spk2gender").write_text("s0 f\n")
    assert f"{labels}:9: speaker 's1' is not in spk2gender" in fails("--labels", folder / "spk2gender")
    (folder / "x.scp").write_text("")
    assert f"{folder}/x.scp: no vectors in it" in fails("--labels", labels)


def test_lines_of_a_table_that_are_of_no_embedding_are_told(folder: Path) -> None:
    table = folder / "utt2lang"
    text = (folder / "utt2spk").read_text()
    table.write_text("a-1 en\n" + text + "z-1 en\nz-2 en\n")
    data, notes = read_labelled(folder / "x.scp", [table])
    assert notes == [f"{table}:1: 'a-1' has no embedding (nor have 2 more)"] and len(data) == SPEAKERS * UTTS


def test_umap_puts_speakers_together_or_says_that_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = make_vectors()
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(DataError, match="pip install umap-learn"):
        project(vectors, MapOptions("umap"))
    monkeypatch.undo()
    numba = pytest.importorskip("numba", reason="umap-learn, an optional extra, is not installed")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)  # compiling takes longer than all the rest
    pytest.importorskip("umap", reason="umap-learn, an optional extra, is not installed")
    places = project(vectors, MapOptions("umap", neighbors=5))
    assert measure(vectors, places, labels, 5).map > 0.9
