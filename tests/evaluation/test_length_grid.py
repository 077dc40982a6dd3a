"""Systems by the length of test speech: what the tables, the TSV and the plot say, and what is refused."""

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from steps.compare_runs import compare_runs
from timbre.evaluation.compare import Measured, differences, system_of
from timbre.evaluation.length_grid import read_grid
from timbre.evaluation.plots_lengths import plot_lengths
from timbre.evaluation.results import Evaluation, write_json
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

PROTOCOLS = {"@len1s": 1.0, "@len1.5s": 0.7, "@len1s_seen_whole": 0.6, "": 0.3, "@tta10x400": 0.2}  # and their noise


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A trial list of all pairs of 12 speakers with three utterances each."""
    folder = tmp_path / "data" / "eval"
    folder.mkdir(parents=True)
    utts = [(f"s{spk:02d}-{utt}", f"s{spk:02d}") for spk in range(12) for utt in range(3)]
    (folder / "utt2spk").write_text("".join(f"{utt} {spk}\n" for utt, spk in utts))
    pairs = [(one, other) for place, one in enumerate(utts) for other in utts[place + 1 :]]
    lines = [f"{a} {b} {'target' if i == j else 'nontarget'}\n" for (a, i), (b, j) in pairs]
    (folder / "trials").write_text("".join(lines))
    return folder


def write_run(
    data: Path, exp: Path, seed: int, systems: tuple[str, ...] = ("cosine", "plda"), noise: float = 1
) -> Path:
    """Scores of SYSTEMS under every protocol, or, of a name with an @ or a dot at its end, under that alone."""
    (exp / "scores").mkdir(parents=True)
    lines = (data / "trials").read_text().splitlines()
    rng = np.random.default_rng(seed)
    for system in systems:
        endings = PROTOCOLS if "@" not in system and not system.endswith(".") else {"": 0.5}
        for ending, spread in endings.items():
            scores = [2 * line.endswith(" target") + (noise + spread) * rng.normal() for line in lines]
            text = "".join(
                f"{line.rpartition(' ')[0]} {score:.6f}\n" for line, score in zip(lines, scores, strict=True)
            )
            (exp / "scores" / f"eval.{system.rstrip('.')}{ending}").write_text(text)
    evaluations = [Evaluation(data / "trials", path, num_draws=30) for path in sorted((exp / "scores").iterdir())]
    write_json(exp / "results.json", [evaluation.run().record.as_json() for evaluation in evaluations])
    return exp


def records_of(exp: Path) -> dict[str, dict[str, object]]:
    return {record["backend"]: record for record in json.loads((exp / "results.json").read_text())}


def tables(page: str) -> list[dict[str, dict[str, str]]]:
    """Each table of PAGE: row -> column -> cell."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", page, re.MULTILINE):
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()]
        found.append({row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]})
    return found


def entry(value: object, ends: object, digits: int, scale: int = 1) -> str:
    low, high = ends  # type: ignore[misc]
    return f"{scale * value:.{digits}f} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"  # type: ignore[operator]


def test_the_tables_have_what_the_results_say(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        write_run(data, tmp_path / "b|run", 1),
        write_run(data, tmp_path / "a", 2, ("cosine", "plda.", "fusion.", "euclidean@tta10x400")),
    ]
    capsys.readouterr()
    compare_runs(runs, grid=tmp_path / "out" / "grid.md", nj=1)
    page = (tmp_path / "out" / "grid.md").read_text()
    assert page.partition("\n\n")[2].partition("\n\n![")[0] in capsys.readouterr().out
    eer, *costs = tables(page)
    columns = ["1 s", "1.5 s", "1 s, seen whole", "full (tta10x400)"]
    assert list(eer) == ["b&#124;run, cosine", "b&#124;run, plda", "a, cosine", "a, plda"], "as given; no fusion"
    assert len(costs) == 2 and all(list(row) == columns for table in (eer, *costs) for row in table.values())
    records = records_of(runs[0])
    for backend in ("cosine", "plda"):
        row = eer[f"b&#124;run, {backend}"]
        one, whole, crops = (records[backend + end] for end in ("@len1.5s", "", "@tta10x400"))
        assert row["1.5 s"] == entry(one["eer"], one["eer_ci"], 2, 100)
        assert row["full (tta10x400)"] == " ".join(
            [entry(whole["eer"], whole["eer_ci"], 2, 100), f"({entry(crops['eer'], crops['eer_ci'], 2, 100)})"]
        )
        for prior, table in zip(("0.05", "0.01"), costs, strict=True):
            value, ends = (one[key][prior] for key in ("min_dcf", "min_dcf_ci"))  # type: ignore[index]
            assert table[f"b&#124;run, {backend}"]["1.5 s"] == entry(value, ends, 3)
    plda = records_of(runs[1])["plda"]
    whole = entry(plda["eer"], plda["eer_ci"], 2, 100)
    assert list(eer["a, plda"].values()) == ["–", "–", "–", f"{whole} (–)"]
    assert page.count("\n- ") == 1
    assert "- a has no scores of plda for len1s, len1.5s, len1s_seen_whole, tta10x400 (run.sh --protocols)\n" in page
    assert "36 target and 594 nontarget trials of 12 speakers" in page
    with (tmp_path / "out" / "grid.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == 4 * 5
    for row in rows:
        name = row["backend"] + ("" if row["protocol"] == "full" else f"@{row['protocol']}")
        record = records_of(runs[row["run"] == "a"]).get(name)
        assert (record is None) == (row["eer"] == "") == bool(row["missing"])
        if record:
            low, high = record["eer_ci"]  # type: ignore[misc]
            found = [float(row[key]) for key in ("eer", "eer_low", "eer_high", "min_dcf_0.05")]
            assert found == pytest.approx([record["eer"], low, high, record["min_dcf"]["0.05"]])  # type: ignore[index]
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["grid.md", "grid.tsv", "grid_eval.png", "grid_eval.svg"] and "](grid_eval.png)" in page
    compare_runs(runs[:1], grid=tmp_path / "one.md", backends=["plda"], nj=1)
    assert list(tables((tmp_path / "one.md").read_text())[0]) == ["b&#124;run, plda"]


def test_differences_to_a_reference_are_those_of_pairs(data: Path, tmp_path: Path) -> None:
    """On the same draws, corrected for as many as the table has; asterisks where they can be told from 0."""
    runs = [
        write_run(data, tmp_path / name, seed, ("cosine",), noise)
        for name, seed, noise in (("ref", 1, 0.2), ("same", 1, 0.2), ("worse", 2, 3))
    ]
    compare_runs(runs, grid=tmp_path / "grid.md", reference="ref", draws=50, nj=1)
    table = tables((tmp_path / "grid.md").read_text())[-1]
    assert list(table) == ["same, cosine", "worse, cosine"]
    assert set(table["same, cosine"].values()) == {"+0.00 [0.00, 0.00]", "+0.00 [0.00, 0.00] (+0.00 [0.00, 0.00])"}
    assert all("*" in cell for cell in table["worse, cosine"].values())
    pair = []
    for run in (runs[0], runs[2]):
        system = system_of(run, records_of(run)["cosine@len1s"], 50, 0)
        pair.append(Measured(system, system.evaluation.run()))
    (expected,) = differences(pair)
    assert expected.eer_ci is not None
    low, high = (100 * end for end in expected.eer_ci)
    assert table["worse, cosine"]["1 s"] == f"{100 * expected.eer:+.2f} [{low:.2f}, {high:.2f}]*"
    with (tmp_path / "grid.tsv").open(newline="") as file:
        rows = {(row["run"], row["protocol"]): row for row in csv.DictReader(file, delimiter="\t")}
    found = rows["worse", "len1s"]
    assert float(found["eer_less_ref"]) == pytest.approx(expected.eer)
    ps = sorted(float(row["eer_less_ref_p"]) for row in rows.values() if row["eer_less_ref_p"])
    assert len(ps) == 10
    rank = ps.index(float(found["eer_less_ref_p"]))
    assert float(found["eer_less_ref_p_holm"]) >= (10 - rank) * float(found["eer_less_ref_p"]) * 0.999


def test_runs_of_whole_utterances_alone_have_all_their_back_ends_beside_each_other(data: Path, tmp_path: Path) -> None:
    runs = [write_run(data, tmp_path / name, seed, ("cosine.", "siamese.")) for seed, name in enumerate("ab")]
    compare_runs(runs, grid=tmp_path / "grid.md", nj=1)
    page = (tmp_path / "grid.md").read_text()
    assert page.startswith("# Error rates\n") and "are cut" not in page
    table = tables(page)[0]
    assert list(table) == ["a, cosine", "a, siamese", "b, cosine", "b, siamese"]
    assert all(list(cells) == ["full"] for cells in table.values())


def test_what_cannot_be_shown_is_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, plain = write_run(data, tmp_path / "a", 1, ("cosine",)), write_run(data, tmp_path / "b", 2, ("cosine.",))
    lines = (data / "trials").read_text().splitlines(keepends=True)
    other_data = tmp_path / "short" / "eval"
    other_data.mkdir(parents=True)
    (other_data / "trials").write_text("".join(lines[:-5]))
    (other_data / "utt2spk").write_text((data / "utt2spk").read_text())
    other = write_run(other_data, tmp_path / "c", 3, ("cosine",))
    out = tmp_path / "out" / "grid.md"

    def fails(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["compare_runs.py", *map(str, words), "--nj", "1"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            run_step(compare_runs, takes_list=True)
        message = capsys.readouterr().err
        assert exit_info.value.code == 1 and message.count("\n") == 1, message
        assert not out.parent.exists()
        return message

    assert "a and c have different lists eval" in fails(first, other, "--grid", out)
    assert "no run has a back-end 'plda', only cosine" in fails(first, "--grid", out, "--backends", "[plda]")
    assert "a name that ends in .md is wanted" in fails(first, "--grid", out.with_suffix(".tsv"))
    assert "--reference b: not one of several runs a" in fails(first, "--grid", out, "--reference", "b")
    assert "--reference a: not one of several runs a" in fails(first, "--grid", out, "--reference", "a")
    assert "--reference needs --grid" in fails(first, plain, "--reference", "a")
    assert "two runs at least" in fails(first, "--grid", out, "--out-dir", tmp_path / "pairs")
    assert "runs of the same name" in fails(first, first, "--grid", out)
    good = json.loads((first / "results.json").read_text())
    for key, value in (
        ("eer", "nan"),
        ("eer", None),
        ("eer_ci", [1]),
        ("min_dcf", []),
        ("min_dcf_ci", {}),
        ("eer", True),
    ):
        (first / "results.json").write_text(json.dumps([{**good[0], key: value}]))
        assert "results.json: what it says of eval.cosine" in fails(first, "--grid", out)
    (first / "results.json").write_text(json.dumps([{**good[0], "trials": "../eval"}]))
    assert "'../eval' is no name of a trial list" in fails(first, "--grid", out)
    (first / "results.json").write_text(json.dumps([{**good[0], "backend": "cosine@lenXs"}, *good]))
    assert "protocol 'lenXs' is none of full" in fails(first, "--grid", out)
    (first / "results.json").write_text(json.dumps([{**record, "trials": "elsewhere"} for record in good]))
    assert "a, b share no trial list" in fails(first, plain, "--grid", out)


def test_the_plot_has_lengths_apart_and_is_the_same_again(data: Path, tmp_path: Path) -> None:
    runs = [write_run(data, tmp_path / name, seed) for seed, name in enumerate(("one", "other"))]
    (grid,) = read_grid(runs)
    assert plot_lengths(grid, [tmp_path / "a.svg"]) and plot_lengths(grid, [tmp_path / "b.svg"])
    svg = (tmp_path / "a.svg").read_text()
    assert svg == (tmp_path / "b.svg").read_text()
    words = re.findall(r'<text style="[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)<', svg)
    texts = [word for *_, word in words]
    assert texts.count("one") == texts.count("other") == 1, "a legend, for the panels of both back-ends"
    assert {"eval, cosine", "eval, plda", "1", "1.5", "full"} <= set(texts) and "1 s, seen whole" not in texts
    ticks = [float(x) for x, _, word in words if word in ("1", "1.5", "full")]
    assert len(ticks) == 6 and min(np.diff(sorted(ticks))) > 20
    for line in grid.lines:
        assert isinstance(line.cells, dict)
        for name in ("len1s", "len1.5s"):
            del line.cells[name]
    (bare,) = read_grid(runs)
    bare = type(bare)(bare.trials, bare.lines, ["len1s_seen_whole"], bare.crops, bare.priors, "")
    assert not plot_lengths(bare, [tmp_path / "c.svg"]) and not (tmp_path / "c.svg").exists()


def test_other_sides_and_names(data: Path, tmp_path: Path) -> None:
    """A test of two protocols, enrolment whole and test cut, has a column of its own; no crops, no brackets."""
    run = write_run(data, tmp_path / "run", 1, ("cosine.", "cosine@full-len1s", "cosine@len2s"))
    (grid,) = read_grid([run])
    assert grid.lengths == ["len2s", "full-len1s"] and grid.crops == []
    compare_runs([run], grid=tmp_path / "grid.md", nj=1)
    (row,) = tables((tmp_path / "grid.md").read_text())[0].values()
    assert list(row) == ["2 s", "full-len1s", "full"] and "(" not in row["full"]
    with pytest.raises(DataError, match="share no trial list"):
        (run / "results.json").write_text("[]")
        read_grid([run])
