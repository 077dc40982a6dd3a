"""The page of a run: what is on it, what it says is missing, that nothing in a file can act on it, bad input."""

import base64
import io
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_folder import HOSTILE, write_run

from audit_corpus import RATE, write_set
from steps.audit_data import audit_data
from steps.make_report import make_report
from timbre.feats.options import MfccOptions
from timbre.report.markup import image
from timbre.report.page_results import find_pictures
from timbre.report.run_files import RunFiles
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

VOID = {"meta", "img", "br", "hr"}


class Page(HTMLParser):
    """Elements and texts of a page, which must be well formed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that can be read."""
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element TAG."""
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(exp: Path, **options: Path) -> Page:
    make_report(exp, **options)
    return Page((options.get("out") or exp / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that no test changes."""
    return write_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def exp(made: Path, tmp_path: Path) -> Path:
    """A run of a test's own."""
    shutil.copytree(made.parent.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "exp" / "small"


def test_page_has_every_figure_of_the_results_and_says_what_it_is_of(made: Path) -> None:
    page = page_of(made, out=made.parent / "page.html")
    cells = {text.strip() for text in page.texts}
    for record in json.loads((made / "results.json").read_text()):
        assert f"{100 * record['eer']:.2f}" in cells and f"{100 * record['rocch_eer']:.2f}" in cells
        low, high = record["eer_ci"]
        assert f"[{100 * low:.2f}, {100 * high:.2f}]" in cells
        for cost in [*record["min_dcf"].values(), *record.get("act_dcf", {}).values(), record.get("cllr", 0)]:
            assert not cost or f"{cost:.3f}" in cells
    assert "150 target and 4,800 nontarget trials of 25 speakers" in page.text and "whole utterance" in page.text
    assert "5,994" in cells and "EcapaTdnn" in cells and "fbank80" in cells and "2030-01-02 03:04" in cells
    assert "120 steps of 200, 1.20 epochs." in page.text  # it was stopped
    assert "from 5 to 0.4167" in cells and "from 6.667 to 1.667" in cells
    assert "4 train" in cells and "1:02:02" in cells and "had not ended" in cells  # stage 9 itself
    assert "./run.sh --corpus kaldi" in page.text and "--force" in cells
    heads = [name for name, _ in page.elements if re.fullmatch(r"h\d", name)]
    assert heads[0] == "h1" and all(int(b[1]) - int(a[1]) <= 1 for a, b in pairwise(heads))
    lists = [attributes["id"] for attributes in page.all("section")]
    assert lists.index("list-eval_b9") < lists.index("list-eval_b10")
    links = [str(link["href"]) for link in page.all("a")]
    assert {link for link in links if link != "#summary"} <= {f"#{name}" for name in lists}


def test_page_needs_nothing_else_and_pictures_are_described(made: Path) -> None:
    page = page_of(made, out=made.parent / "page.html")
    assert not page.all("link") and not [script for script in page.all("script") if script]
    pictures = page.all("img")
    assert len(pictures) == 2 + 6 + 4 + 6  # DET curves, densities, Tippett and ECE of PLDA, training
    for picture in pictures:
        kind, _, data = str(picture["src"]).partition(";base64,")
        content = base64.b64decode(data, validate=True)
        assert (kind, content[:4]) in (("data:image/png", b"\x89PNG"), ("data:image/svg+xml", b"<?xm"))
        assert len(str(picture["alt"])) > 20 and picture["loading"] == "lazy"
    described = [str(picture["alt"]) for picture in pictures]
    assert any(alt.startswith("DET curves of eval_b9. EER: plda ") for alt in described)
    assert len(page.all("table")) == len(page.all("caption"))
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in page.all("div") if box.get("class") == "scroll")


def test_pictures_are_made_small_and_look_the_same(made: Path) -> None:
    """The pixels of a histogram in at most half of the bytes, and the words of a drawing as they were."""
    plot = made / "plots" / "scores_eval_b9_plda.png"
    data = base64.b64decode(image(plot, "").partition(";base64,")[2].partition('"')[0])
    before, after = (
        np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.int64) for content in (plot.read_bytes(), data)
    )
    assert len(data) < 0.5 * plot.stat().st_size and before.shape == after.shape
    assert np.abs(before - after).mean() < 1 and np.quantile(np.abs(before - after), 0.999) < 32
    plot = made / "plots" / "det_eval_b9.svg"
    drawing = base64.b64decode(image(plot, "").partition(";base64,")[2].partition('"')[0]).decode()
    assert re.findall(r">([^<]+)</text>", drawing) == re.findall(r">([^<]+)</text>", plot.read_text())
    assert len(drawing) < plot.stat().st_size


def test_same_run_is_the_same_bytes(exp: Path, tmp_path: Path) -> None:
    make_report(exp)
    first = (exp / "report.html").read_bytes()
    make_report(exp, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == first


def test_text_of_files_cannot_act(exp: Path) -> None:
    """Hostile text in every file that is shown: it is on the page as text, and makes no element."""
    before = [name for name, _ in page_of(exp).elements]
    records = json.loads((exp / "results.json").read_text())
    for record in records:
        record["protocol"] = f"protocol {HOSTILE}"
        if record["backend"] == "plda":
            record["protocol"] = "tta10x400"  # two protocols: a column
        if record["trials"] == "eval_b10":
            record["trials"] = f"list {HOSTILE}"
    (exp / "results.json").write_text(json.dumps(records))
    for name in ("settings.conf", "command", "log/run.log"):
        with (exp / name).open("a") as file:
            file.write(f"{name}={HOSTILE}\n")
    (exp / "environment.json").write_text(json.dumps({f"key {HOSTILE}": f"value {HOSTILE}"}))
    (exp / "analysis").mkdir()
    text = f"# head {HOSTILE}\n\n| a {HOSTILE} | b |\n| --- | ---: |\n| **x** | {HOSTILE} |\n\n- item {HOSTILE}\n\n"
    text += "[t](javascript:x)"
    (exp / "analysis" / "eval_b9.plda.md").write_text(text)
    (exp / "analysis" / "eval_b9.cosine.json").write_text(json.dumps({"utt": HOSTILE}))
    page = page_of(exp)
    assert "tta10x400" in page.text
    for start in ("protocol", "list", "settings.conf", "command=", "log/run.log=", "key", "value", "head", "a", "item"):
        assert re.search(f"{re.escape(start)} ?{re.escape(HOSTILE)}", page.text), start
    assert len(page.all("script")) == before.count("script") == 1
    assert not [a for name, a in page.elements if any(key.startswith("on") for key in a) or a.get("src") == "x"]
    assert not [link for link in page.all("a") if not str(link["href"]).startswith("#")]


def test_unfinished_run_has_a_page_that_says_so(exp: Path, tmp_path: Path) -> None:
    (exp / "results.json").unlink()
    (exp / "RESULTS.md").unlink()
    shutil.rmtree(exp / "plots")
    with (exp / "model" / "log.jsonl").open("a") as file:
        file.write('{"step": 130, "lo')  # a kill in the middle of a line
    page = page_of(exp)
    assert "This run has no results yet" in page.text and "Training has not ended" in page.text
    assert "120 steps of 200" in page.text and len(page.all("img")) == 6
    shutil.rmtree(exp / "model")
    (exp / "settings.conf").write_text("nj=2\n")
    for name in ("log/run.log", "command"):
        (exp / name).unlink()
    page = page_of(exp)
    missing = (
        "results.json",
        "model/log.jsonl",
        "audit/audit.json",
        "log/run.log",
        "model/config.yaml",
        "environment.json",
    )
    for name in missing:
        assert re.search(rf"not there \( ?{re.escape(name)} ?\)", page.text), name
    assert not page.all("img") and "which may not be where the run was" in page.text


def test_missing_plots_are_told(exp: Path) -> None:
    shutil.rmtree(exp / "plots")
    assert "Plots of eval_b9: not there" in page_of(exp).text


def test_warnings_are_those_of_the_figures(exp: Path) -> None:
    (exp / "model" / "log.jsonl").unlink()  # its curves take longest to draw

    def said() -> str:
        text = page_of(exp).text
        return text[text.index("Before you rely on this") : text.index("rate of misses and of false alarms")]

    assert "Intervals are of 20 draws of speakers only" in said() and "not audited" in said()
    records = json.loads((exp / "results.json").read_text())
    for record in records:
        record.update(num_speakers=40, eer_ci=[record["eer"] - 1e-4, record["eer"] + 1e-4], num_target=9000)
        record.pop("cllr", None)
    (exp / "results.json").write_text(json.dumps(records))
    text = said()
    assert "Few" not in text and "baseline" not in text and "calibrated" not in text and "gained" not in text
    best = next(record for record in records if record["trials"] == "eval_b9" and record["backend"] == "plda")
    best.update(num_speakers=19, num_target=int(29 / best["eer"]), cllr=1.5, eer_ci=[0.01, 0.4])
    (exp / "results.json").write_text(json.dumps(records))
    text = said()
    for title, place in (
        ("Few errors", "eval_b9 (plda, about 29)"),
        ("Few speakers", "eval_b9 (19)"),
        ("Close to the baseline", "eval_b9 (plda)"),
        ("Not calibrated", "plda on eval_b9 (1.50)"),
    ):
        assert re.search(rf"{title} : [^.]*: {re.escape(place)}\.", text), (title, text)
    assert "gained" not in text
    baseline = next(
        record for record in records if record["trials"] == "eval_b10" and record["backend"] == "statistics"
    )
    baseline["eer"] = 0.001
    (exp / "results.json").write_text(json.dumps(records))
    assert re.search(r"Nothing gained : [^.]*, do as well: eval_b10\.", said())


def test_audit_is_found_and_its_serious_findings_are_warnings(
    exp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (exp / "model" / "log.jsonl").unlink()  # its curves take longest to draw
    write_set(tmp_path / "corpus" / "train", range(6), 3, floor="speaker")
    write_set(tmp_path / "corpus" / "eval_b9", range(4, 10), 3, floor="speaker")
    mfcc = MfccOptions(sample_frequency=RATE, high_freq=3700, num_ceps=10)
    monkeypatch.setattr("timbre.audit.audit_page.plot_audit", lambda *_: [])
    audit_data(tmp_path / "corpus", tmp_path / "corpus" / "audit", mfcc=mfcc, draws=20, nj=1)
    audit = json.loads((tmp_path / "corpus" / "audit" / "audit.json").read_text())
    assert {finding["kind"] for finding in audit["findings"]} == {"speaker overlap", "duplicate audio"}
    audit["findings"].append(audit["findings"][0] | {"kind": "clipped", "serious": False})
    audit["channel"][0].update(leaks=True, verdict="room and microphone give them away.")
    path = tmp_path / "data" / "audit" / "audit.json"
    path.parent.mkdir()
    path.write_text(json.dumps(audit))
    text = page_of(exp).text
    assert "not audited" not in text
    notes = text[text.index("Before you rely") : text.index("rate of misses")]
    assert "Audit, speaker overlap in train and eval_b9: 2 of 6 speakers" in notes and "clipped" not in notes
    assert "Audit, channel leak on eval_b9 : room and microphone" in notes and "clipped in train" in text
    assert (
        "Room and microphone give them away." in text and "train 6 18 0.01" in text
    )  # sets: speakers, utterances, hours
    shutil.move(path, tmp_path / "elsewhere.json")
    assert "not audited" in page_of(exp).text
    assert "Audit, speaker overlap" in page_of(exp, audit=tmp_path / "elsewhere.json").text


def test_plots_belong_to_the_longest_name_that_fits(exp: Path) -> None:
    records = json.loads((exp / "results.json").read_text())
    records += [record | {"trials": "eval_b9_plda", "backend": "x"} for record in records[:1]]
    (exp / "results.json").write_text(json.dumps(records))
    (exp / "plots" / "ece_eval_b9_plda_x.png").write_bytes((exp / "plots" / "det_eval_b9.png").read_bytes())
    (exp / "plots" / "tsne_eval_spk.png").write_bytes(b"")
    owned, others = find_pictures(RunFiles(exp))
    assert [(part.kind, part.backend) for part in owned["eval_b9_plda"]] == [("ece", "x")]
    assert [(part.kind, part.backend) for part in owned["eval_b10"]] == [
        ("det", ""),
        *(("scores", backend) for backend in ("plda", "cosine", "statistics")),
        ("tippett", "plda"),
        ("ece", "plda"),
    ]
    assert list(others) == ["tsne_eval_spk"] and owned["eval_b10"][0].path.suffix == ".svg"


def test_maps_analyses_and_environment_are_shown(exp: Path) -> None:
    picture = (exp / "plots" / "det_eval_b9.png").read_bytes()
    (exp / "plots" / "tsne_eval_b9_spk.png").write_bytes(picture)
    (exp / "plots" / "tsne_eval_b9_spk.json").write_text('{"caption": "Same label among the 10 nearest: 87 %."}')
    (exp / "analysis").mkdir()
    (exp / "analysis" / "eval_b9.plda.md").write_text("# By sex\n\n| sex | EER % |\n| --- | ---: |\n| f | 12.34 |\n")
    (exp / "environment.json").write_text('{"torch": "9.8.7"}')
    (exp / "decision").mkdir()
    (exp / "decision" / "README.md").write_text(
        "# Thresholds\n\n| prior | threshold |\n| --- | --- |\n| 0.01 | 4.595 |\n"
    )
    (exp / "plots" / "rank_curve.png").write_bytes(picture)
    page = page_of(exp)
    assert "decision/README.md" in page.text and "Thresholds" in page.text and "4.595" in page.text
    assert "Plot rank_curve" in [attributes["alt"] for attributes in page.all("img")]
    assert "Same label among the 10 nearest: 87 %." in page.text and "By sex" in page.text and "12.34" in page.text
    assert "As recorded during the run" in page.text and "9.8.7" in page.text


def test_explained_trials_are_shown_with_their_list(exp: Path) -> None:
    assert "worst" not in page_of(exp).text
    folder = exp / "explain" / "eval_b9"
    folder.mkdir(parents=True)
    for name in ("false_alarm", "miss"):
        (folder / f"{name}.png").write_bytes((exp / "plots" / "det_eval_b9.png").read_bytes())
        (folder / f"{name}.json").write_text(json.dumps({"caption": f"Of <{name}>: 3.21."}))
    page = page_of(exp)
    for name, title in (("false_alarm", "The worst false alarm"), ("miss", "The worst miss")):
        (place,) = (at for at in range(len(page.text)) if page.text.startswith(f"{title}, and what", at))
        assert f"Of <{name}>: 3.21." in page.text[place:]
        assert [alt for one in page.all("img") if (alt := one["alt"]).startswith(title) and name in alt]
    (folder / "miss.json").write_text("[")
    with pytest.raises(DataError, match=r"miss.json"):
        page_of(exp)


def test_bad_input_is_one_line(exp: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (exp / "model" / "log.jsonl").unlink()  # its curves take longest to draw

    def fails(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["make_report.py", *map(str, words or [exp])])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            run_step(make_report)
        message = capsys.readouterr().err
        assert exit_info.value.code == 1 and message.count("\n") == 1 and not (exp / "report.html").exists(), message
        return message

    def broken(name: str, text: str) -> str:
        path = exp / name
        before = path.read_text() if path.exists() else None
        path.write_text(text)
        message = fails()
        path.unlink() if before is None else path.write_text(before)
        return message.replace(str(exp), "EXP")

    assert "no such directory" in fails(exp / "nothing")
    assert "not the directory of a run" in fails(exp / "scores")
    assert "no such file" in fails(exp, "--audit", exp / "nothing.json")
    results = (exp / "results.json").read_text()
    assert "EXP/results.json:4: not JSON" in broken("results.json", "\n".join(results.splitlines()[:4]))
    assert "EXP/results.json: not a list of results" in broken("results.json", "{}")
    assert "EXP/results.json: record 1 has no 'trials'" in broken("results.json", "[3]")
    wrong = json.loads(results)
    wrong[1]["eer"] = "low"
    assert "EXP/results.json: record 2 has no 'eer'" in broken("results.json", json.dumps(wrong))
    assert "EXP/settings.conf:2: expected some-option=value" in broken("settings.conf", "nj=2\nnonsense\n")
    assert "EXP/model/config.yaml:2: not YAML" in broken("model/config.yaml", "a: b\n c: [")
    assert "EXP/model/log.jsonl:1: not a line of a training log" in broken("model/log.jsonl", '{"loss": 3}\n')
    assert "EXP/environment.json:1: not JSON" in broken("environment.json", "{")
    (exp / "plots" / "det_eval_b9.svg").unlink()
    png = (exp / "plots" / "det_eval_b9.png").read_bytes()
    for content in (b"", b"nonsense", png[: len(png) // 2]):
        (exp / "plots" / "det_eval_b9.png").write_bytes(content)
        assert "det_eval_b9.png: not a PNG picture, or cut short" in fails()
    (exp / "plots" / "det_eval_b9.png").write_bytes(png)
    audit = exp / "audit.json"
    audit.write_text('{"findings": [{}], "channel": []}')
    assert "not an audit of this version" in fails(exp, "--audit", audit)
