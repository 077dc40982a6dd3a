"""What the page of a run says of how it was made: training, maps of embeddings, corpus, stages, settings, machine."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timbre.report.markup import Html, cell, details, figure, image, join, markdown, table, tag
from timbre.report.page_results import missing
from timbre.report.run_files import RunFiles
from timbre.utils.documents import read_json

MAPS = {"tsne_": "t-SNE", "umap_": "UMAP", "pca_": "PCA"}  # plots of steps/plot_embeddings.py
_TAIL = 40  # lines of a log


def training(run: RunFiles) -> Html:
    """Curves, and the figures at the end."""
    if not run.training:
        return missing("Training log", f"{run.model_dir.name}/log.jsonl")
    from timbre.training.plots import PANELS, plot_panel

    last = run.training[-1]
    panels = []
    with tempfile.TemporaryDirectory() as folder:
        for title, factor, _, curves in PANELS:
            key = curves[0][0]
            values = [line[key] for line in run.training if isinstance(line.get(key), int | float)]
            if not values:
                continue
            path = Path(folder) / "panel.svg"
            plot_panel(title, run.training, [path])
            ends = f"from {factor * values[0]:.4g} to {factor * values[-1]:.4g}"
            alt = f"{title} by step, {ends}, in {len(values)} points up to step {last['step']:,}."
            panels.append(figure(image(path, alt), ends))
    sentence = f"{last['step']:,} steps"
    steps = run.model.get("train", {}).get("num_steps") if isinstance(run.model.get("train"), dict) else None
    if isinstance(steps, int) and steps > last["step"]:
        sentence += f" of {steps:,}"
    if isinstance(last.get("epoch"), int | float):
        sentence += f", {last['epoch']:.2f} epochs"
    return join([tag("p", f"{sentence}.", class_="sizes"), tag("div", *panels, class_="gallery")])


def maps(run: RunFiles) -> Html | None:
    """Maps of embeddings, with the figures that go with them."""
    found = [(start, name, path) for start in MAPS for name, path in run.plots(start).items()]
    if not found:
        return None
    parts = []
    for start, name, path in found:
        figures = path.with_name(f"{start}{name}.json")
        content = read_json(figures) if figures.exists() else {}
        says = str(content.get("caption", "")) if isinstance(content, dict) else ""
        parts.append(figure(image(path, f"{MAPS[start]} of embeddings, {name}. {says}"), says or name, "wide"))
    warning = "A map shows who is near whom; distances between far groups, and their sizes, mean nothing."
    return join([tag("p", warning, class_="sizes"), *parts])


def corpus(run: RunFiles) -> Html:
    """What the audit found."""
    audit = run.audit
    if audit is None:
        return missing("Audit of the corpus, by ./run.sh --audit or steps/audit_data.py", "audit/audit.json")
    parts: list[Html] = []
    rows = [_set_row(part) for part in audit.get("sets", []) if isinstance(part, dict)]
    if rows:
        parts.append(table("Sets of the corpus", ["set", "speakers", "utterances", "hours"], rows))
    findings = [
        [
            cell(f"{finding['kind']} in {finding['sets']}", header=True),
            cell("serious" if finding["serious"] else "minor"),
            cell(f"{finding['count']:,} of {finding['total']:,}", finding["count"]),
            cell(f"{_sentence(finding['what'])}. {_sentence(finding['advice'])}.", class_="text"),
        ]
        for finding in audit["findings"]
    ]
    parts.append(
        table("Findings of the audit", ["finding", "weight", "count", "what, and what to do"], findings)
        if findings
        else tag("p", "The audit found nothing wrong.")
    )
    leaks = [
        [
            cell(leak["trials"], header=True),
            cell("yes" if leak["leaks"] else "no"),
            cell(_sentence(leak["verdict"]), class_="text"),
        ]
        for leak in audit["channel"]
    ]
    if leaks:
        parts.append(table("Do frames without speech tell the speakers apart?", ["list", "leak", "verdict"], leaks))
    return join(parts)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _set_row(part: dict[str, Any]) -> list[Html]:
    numbers = part.get("num_speakers", 0), part.get("num_utts", 0), part.get("seconds", 0.0) / 3600
    texts = f"{numbers[0]:,}", f"{numbers[1]:,}", f"{numbers[2]:.2f}"
    return [
        cell(str(part.get("name", "")), header=True),
        *(cell(text, number) for text, number in zip(texts, numbers, strict=True)),
    ]


def stages(run: RunFiles) -> Html:
    """How long each stage took the last time it ran, what was typed, and the end of the log."""
    if not run.stages:
        return missing("Log of the stages", "log/run.log")
    longest = max((stage.seconds or 0 for stage in run.stages), default=0) or 1
    rows = []
    for stage in run.stages:
        bar = tag("i", style=f"width:{100 * (stage.seconds or 0) / longest:.1f}%")
        spent = "had not ended" if stage.seconds is None else _duration(stage.seconds)
        rows.append(
            [
                cell(f"{stage.number} {stage.name}", header=True),
                cell(stage.began),
                cell(spent, stage.seconds or 0),
                cell(tag("span", bar, class_="bar", aria_hidden="true"), class_="strips"),
                cell(stage.why, class_="text"),
            ]
        )
    total = sum(stage.seconds or 0 for stage in run.stages)
    caption = f"Stages, the last time that each ran: {_duration(total)} together"
    parts = [table(caption, ["stage", "began", "took", "", "because"], rows, sortable=False)]
    if commands := run.text("command").strip():
        parts += [tag("h3", "Commands"), tag("pre", commands, class_="wrap")]
    for stage in run.stages:
        if stage.seconds is None and stage.name != "results":
            parts.append(_tail(run, f"log/{stage.number}-{stage.name}.log", open_=True))
    return join([*parts, _tail(run, "log/run.log")])


def _tail(run: RunFiles, name: str, open_: bool = False) -> Html:
    lines = run.lines(name)
    title = name if len(lines) <= _TAIL else f"{name}: the last {_TAIL} of {len(lines):,} lines"
    return details(title, tag("pre", "\n".join(lines[-_TAIL:]) or "(empty)", tabindex=0), open_=open_)


def _duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def settings(run: RunFiles) -> Html:
    """Options of run.sh, and the resolved configurations."""
    parts: list[Html] = []
    if run.settings:
        given = [[name, cell(value, class_="text")] for name, value in run.settings.items() if value]
        parts.append(table("Options of run.sh", ["option", "value"], given))
        if unset := [name for name, value in run.settings.items() if not value]:
            parts.append(tag("p", f"Not set: {', '.join(unset)}.", class_="sizes"))
    else:
        parts.append(missing("Options of run.sh", "settings.conf"))
    for name, title in ((f"{run.model_dir.name}/config.yaml", "Model"), ("backend/backend.yaml", "Back-end")):
        text = run.text(name)
        parts.append(
            details(f"{title}: {name}", tag("pre", text, tabindex=0))
            if text
            else missing(f"{title} configuration", name)
        )
    return join(parts)


def environment(run: RunFiles) -> Html:
    """What was recorded during the run; else what this page was made with, and that it is that."""
    from timbre.utils.environment import describe_environment

    found = run.environment
    caption = "As recorded during the run"
    parts: list[Html] = []
    if not found:
        parts.append(missing("Record of the environment of the run", "environment.json"))
        found, caption = describe_environment(), "Where this page was made, which may not be where the run was"
    rows = [[name, cell(value, class_="text")] for name, value in found.items()]
    return join([*parts, table(caption, ["", ""], rows, sortable=False)])


def others(run: RunFiles, pictures: Sequence[tuple[str, Path]]) -> Html | None:
    """Plots and pages that belong to no trial list."""
    parts = [figure(image(path, f"Plot {name}"), name.replace("_", " ")) for name, path in pictures]
    body = [tag("div", *parts, class_="gallery")] if parts else []
    pages = [run.folder / "decision" / "README.md", *sorted(run.folder.glob("*/*.md"))]
    for path in dict.fromkeys(pages):
        if path.is_file() and path.parent.name not in ("analysis", "audit"):
            name = str(path.relative_to(run.folder))
            body.append(details(name, markdown(path.read_text(encoding="utf-8", errors="replace"))))
    return join(body) if body else None
