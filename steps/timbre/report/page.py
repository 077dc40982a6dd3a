"""The page of a run: one HTML file that needs nothing else, for any browser. Called by make_report.py."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

from timbre.report import page_results, page_run
from timbre.report.markup import Html, join, tag
from timbre.report.run_files import RunFiles
from timbre.utils.files import atomic_write

_STYLE = Path(__file__).with_name("report.css")
_SCRIPT = Path(__file__).with_name("report.js")
_TERMS = (
    ("EER", "rate of misses and of false alarms at the threshold where they are equal, by linear interpolation"),
    (
        "minDCF",
        "normalised detection cost at the best threshold, both costs 1, at the target prior given; 1 is useless",
    ),
    ("actDCF, Cllr", "cost of scores taken as log-likelihood ratios as they are; minCllr: once calibrated at best"),
    ("[ , ]", "95 % interval by bootstrap over speakers: what other speakers of the same kind could have given"),
)


class Section(NamedTuple):
    """A part of the page; LEVEL 2 is in the table of contents below one of LEVEL 1."""

    anchor: str
    title: str
    body: Html
    level: int = 1


def write_report(run: RunFiles, path: Path) -> None:
    """Writes the page of RUN to PATH.

    Raises:
        DataError: a file of the run is damaged
    """
    page = _page(run)
    with atomic_write(path) as file:
        file.write(page)


def _page(run: RunFiles) -> str:
    sections = _sections(run)
    style, script = _STYLE.read_text(encoding="utf-8"), _SCRIPT.read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    links = [tag("li", tag("a", part.title, href=f"#{part.anchor}"), class_=f"level{part.level}") for part in sections]
    contents = tag("details", tag("summary", "Contents"), tag("ul", *links), open=True)
    bodies = [
        tag(
            "section",
            tag(f"h{part.level + 1}", part.title),
            part.body,
            id=part.anchor,
            class_=f"level{part.level}",
        )
        for part in sections
    ]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{run.name}: speaker recognition results"),
        tag("style", Html(style)),
    )
    body = tag(
        "body",
        tag("a", "To the results", href="#summary", class_="skip"),
        _header(run),
        tag("div", tag("nav", contents, aria_label="Contents"), tag("main", *bodies), class_="columns"),
        tag("footer", "Made by Timbre, steps/make_report.py."),
        tag("script", Html(script)),
    )
    return "<!DOCTYPE html>\n" + tag("html", head, body, lang="en") + "\n"


def _header(run: RunFiles) -> Html:
    facts = _facts(run)
    items = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()]
    return tag(
        "header",
        tag("p", "Speaker recognition, results of a run", class_="eyebrow"),
        tag("h1", run.name),
        tag("dl", *items, class_="facts") if items else "",
    )


def _facts(run: RunFiles) -> dict[str, str]:
    """What was run, in a few words."""
    model, options = run.model, run.settings
    train = model.get("train")
    facts = {
        "corpus": " ".join(options.get(key, "") for key in ("corpus", "corpus-dir")).strip(),
        "network": _class(_inner(model, "network", "trunk")) or Path(options.get("network", "")).stem,
        "pooling": _class(_inner(model, "network", "pooling")),
        "objective": _class(model.get("objective")) or Path(options.get("objective", "")).stem,
        "features": Path(options.get("feats-conf", "")).stem,
        "fine-tuned from": str(_inner(model, "start", "init_model") or ""),
        "training speakers": f"{model['num_speakers']:,}" if isinstance(model.get("num_speakers"), int) else "",
        "embedding": f"{dim} numbers" if (dim := _inner(model, "network", "embedding_dim")) else "",
        "device": str(train.get("device", "")) if isinstance(train, dict) else "",
        "begun": _date(run.text("command")),
    }
    return {name: value for name, value in facts.items() if value}


def _inner(content: dict[str, Any], *keys: str) -> Any:
    value: Any = content
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _class(value: Any) -> str:
    """Name of the class that a part of a configuration is of."""
    return str(value.get("class_path", "")).rpartition(".")[2] if isinstance(value, dict) else ""


def _date(commands: str) -> str:
    match = re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d", commands)
    return match[0] if match else ""


def _sections(run: RunFiles) -> list[Section]:
    owned, rest = page_results.find_pictures(run)
    results = run.results
    top = [tag("li", text) for text in page_results.warnings(run)]
    notes = tag("aside", tag("h3", "Before you rely on this"), tag("ul", *top), class_="notes") if top else Html("")
    terms = tag("dl", *(join([tag("dt", name), tag("dd", text)]) for name, text in _TERMS), class_="terms")
    figures = page_results.summary(results) if results else page_results.missing("Results", "results.json")
    sections = [Section("summary", "Summary", join([figures, notes, terms if results else ""]))]
    if results:
        sections.append(Section("lists", "Trial lists", Html("")))
        sections += [
            Section(page_results.anchor(name), name, page_results.list_section(run, name, owned[name]), 2)
            for name in results.lists
        ]
    sections.append(Section("training", "Training", page_run.training(run)))
    maps = page_run.maps(run)
    if maps:
        sections.append(Section("maps", "Maps of embeddings", maps))
    sections.append(Section("corpus", "Corpus", page_run.corpus(run)))
    known = (*page_run.MAPS, "training")
    left = [(name, path) for name, path in rest.items() if not name.startswith(known)]
    if body := page_run.others(run, left):
        sections.append(Section("more", "More", body))
    return [
        *sections,
        Section("stages", "Stages", page_run.stages(run)),
        Section("settings", "Settings", page_run.settings(run)),
        Section("environment", "Environment", page_run.environment(run)),
    ]
