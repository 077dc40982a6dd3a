"""What the page of a run says of its trial lists: the summary, the warnings, and a section for each list."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from timbre.evaluation.results import cost_interval, percent, percent_interval
from timbre.report.markup import Cell, Html, cell, details, figure, image, join, markdown, table, tag
from timbre.report.run_files import Results, RunFiles
from timbre.utils.documents import read_json
from timbre.utils.names import natural_key

_FEW_ERRORS = 30  # Doddington's rule: fewer, and the rate is known to no better than 30 % with 90 % confidence
_FEW_SPEAKERS = 20
_FEW_DRAWS = 200
_BASELINE = "statistics"  # the back-end of run.sh that has no network
_KINDS = {
    "det": "DET curves",
    "scores": "Score densities",
    "tippett": "Tippett plot",
    "ece": "Empirical cross-entropy",
    "conditions": "Error rates by condition",
}
_KNOWN = {"eer", "rocch_eer", "cllr", "min_cllr", "num_target", "num_nontarget", "num_speakers"}


class Picture(NamedTuple):
    """A plot of a trial list, of one back-end or (backend "") of all."""

    kind: str
    backend: str
    path: Path


def warnings(run: RunFiles) -> list[Html]:
    """What has to be known before a figure of this run is believed."""
    found: list[Html] = []
    if not run.results:
        found.append(join(["This run has no results yet: ", tag("code", "results.json"), " is written by stage 9."]))
        if run.training and not (run.model_dir / "final.pt").exists():
            found.append(
                join(["Training has not ended: there is no ", tag("code", f"{run.model_dir.name}/final.pt"), "."])
            )
    for audit in [run.audit] if run.audit else []:
        for finding in audit["findings"]:
            if finding["serious"]:
                text = f" in {finding['sets']}: {finding['count']:,} of {finding['total']:,} {finding['what']}."
                found.append(join([tag("strong", f"Audit, {finding['kind']}"), text]))
        for leak in audit["channel"]:
            if leak["leaks"]:
                found.append(join([tag("strong", f"Audit, channel leak on {leak['trials']}"), f": {leak['verdict']}"]))
    if run.results:
        if run.audit is None:
            text = "): speakers or recordings in common, or a channel that gives speakers away, would not be known."
            found.append(join(["The corpus was not audited (", tag("code", "./run.sh --audit"), text]))
        found += _of_lists([run.results.of(name) for name in run.results.lists])
        if run.draws is not None and run.draws < _FEW_DRAWS:
            found.append(join([f"Intervals are of {run.draws} draws of speakers only; 1,000 are usual."]))
    return found


def _of_lists(lists: Sequence[Sequence[dict[str, Any]]]) -> list[Html]:
    """A warning a kind, with the lists that it is of; LISTS are the records of each, the best first."""
    errors: list[str] = []
    speakers: list[str] = []
    beaten: list[str] = []
    close: list[str] = []
    costly: list[str] = []
    for records in lists:
        best, name = records[0], records[0]["trials"]
        misses = best["eer"] * best["num_target"]
        if misses < _FEW_ERRORS:
            errors.append(f"{name} ({best['backend']}, about {misses:.0f})")
        if best["num_speakers"] < _FEW_SPEAKERS:
            speakers.append(f"{name} ({best['num_speakers']})")
        baseline = next((record for record in records if record["backend"] == _BASELINE), None)
        if baseline is best and len(records) > 1:
            beaten.append(name)
        elif baseline and (ends := best.get("eer_ci")) and (others := baseline.get("eer_ci")) and ends[1] >= others[0]:
            close.append(f"{name} ({best['backend']})")
        costly += [f"{r['backend']} on {name} ({r['cllr']:.2f})" for r in records if (r.get("cllr") or 0) > 1]
    kinds = (
        (errors, "Few errors", f": an EER of fewer than {_FEW_ERRORS} misses says little"),
        (speakers, "Few speakers", ": another choice of speakers may well give other results"),
        (beaten, "Nothing gained", f": mean and standard deviation of the features, {_BASELINE}, do as well"),
        (close, "Close to the baseline", f": the intervals of the best back-end and of {_BASELINE} overlap"),
        (costly, "Not calibrated", ": as log-likelihood ratios these scores are worse than none, Cllr above 1 bit"),
    )
    return [join([tag("strong", title), f"{text}: {', '.join(places)}."]) for places, title, text in kinds if places]


def summary(results: Results) -> Html:
    """A card for each trial list with its best back-end, and the table of all EERs."""
    cards = []
    for name in results.lists:
        best = results.of(name)[0]
        cards.append(
            tag(
                "a",
                tag("span", name, class_="name"),
                tag("span", percent(best["eer"]), tag("small", " % EER"), class_="figure"),
                tag("span", f"{percent_interval(best.get('eer_ci'))} ", tag("b", best["backend"]), class_="by"),
                tag("span", _sizes(best), class_="sizes"),
                href=f"#{anchor(name)}",
                class_="card",
            )
        )
    parts = [tag("div", *cards, class_="cards")]
    if len(results.lists) > 1 or len(results.backends) > 1:
        parts.append(_all_eers(results))
    return join(parts)


def _all_eers(results: Results) -> Html:
    found = {(record["trials"], record["backend"]): record for record in results.records}
    best = {name: results.of(name)[0]["eer"] for name in results.lists}
    rows: list[list[Cell]] = []
    for backend in results.backends:
        row = [cell(backend, header=True)]
        for name in results.lists:
            record = found.get((name, backend))
            row.append(_rate(record, record["eer"] == best[name]) if record else cell("–"))
        rows.append(row)
    return table("EER in % of every back-end on every trial list", ["back-end", *results.lists], rows)


def list_section(run: RunFiles, name: str, pictures: Sequence[Picture]) -> Html:
    """Tables and plots of the trial list NAME."""
    assert run.results is not None
    records = run.results.of(name)
    protocols = sorted({record["protocol"] for record in records})
    made = protocols[0] if len(protocols) == 1 else "several protocols, see the table"
    of_all = [part for part in pictures if not part.backend]
    single = [part for part in pictures if part.backend]
    extra = [_heading(part, run.sections(name)) for part in _other_tables(run.sections(name))]
    parts: list[Html] = [
        tag("p", f"{_sizes(records[0])}. Embeddings: {made}.", class_="sizes"),
        _metrics(name, records),
        *extra,
    ]
    shown = [figure(image(part.path, _alt(part, name, records)), _title(part), "wide") for part in of_all]
    if shown:
        parts.append(tag("div", *shown, class_="gallery"))
    else:
        parts.append(missing(f"Plots of {name}", "plots/"))
    for kind in dict.fromkeys(part.kind for part in single):
        shown = [
            figure(image(part.path, _alt(part, name, records)), part.backend) for part in single if part.kind == kind
        ]
        parts.append(
            details(f"{_KINDS.get(kind, kind.capitalize())}, each back-end", tag("div", *shown, class_="gallery large"))
        )
    return join([*parts, *_analyses(run, name), *_explanations(run, name)])


def find_pictures(run: RunFiles) -> tuple[dict[str, list[Picture]], dict[str, Path]]:
    """Plots of each trial list, and those that are of none: <kind>_<list>[_<backend>] in plots/ or analysis/."""
    lists = run.results.lists if run.results else []
    backends = sorted(run.results.backends, key=len, reverse=True) if run.results else []
    owned: dict[str, list[Picture]] = {name: [] for name in lists}
    others: dict[str, Path] = {}
    ends = [(f"_{name}_{backend}", name, backend) for name in lists for backend in backends]
    ends += [(f"_{name}", name, "") for name in lists]
    ends.sort(key=lambda end: -len(end[0]))
    for stem, path in (run.pictures(run.folder / "analysis") | run.plots("")).items():
        end = next((end for end in ends if stem.endswith(end[0]) and stem != end[0]), None)
        if end:
            owned[end[1]].append(Picture(stem.removesuffix(end[0]), end[2], path))
        else:
            others[stem] = path
    for name, found in owned.items():
        order = [""] + [record["backend"] for record in run.results.of(name)] if run.results else []
        places = [*_KINDS, *sorted({part.kind for part in found} - _KINDS.keys())]
        found.sort(key=lambda part: (places.index(part.kind), order.index(part.backend)))
    return owned, others


def anchor(name: str) -> str:
    """Where the section of the trial list NAME is."""
    return "list-" + re.sub(r"[^\w-]", lambda match: f".{ord(match[0]):x}", name)


def missing(what: str, where: str) -> Html:
    """Says that a part is not there."""
    return tag("p", f"{what}: not there (", tag("code", where), ").", class_="missing")


def _sizes(record: dict[str, Any]) -> str:
    return (
        f"{record['num_target']:,} target and {record['num_nontarget']:,} nontarget trials of "
        f"{record['num_speakers']:,} speakers"
    )


def _metrics(name: str, records: Sequence[dict[str, Any]]) -> Html:
    """Every figure of every back-end, with the interval of the EER drawn on a scale that they share."""
    ends = [end for record in records for end in (record.get("eer_ci") or [record["eer"]])]
    low, high = min(ends), max(ends)
    margin = 0.05 * (high - low) or 0.005
    low, high = max(low - margin, 0.0), high + margin
    priors = list(dict.fromkeys(prior for record in records for prior in record["min_dcf"]))
    actual = list(dict.fromkeys(prior for record in records for prior in (record.get("act_dcf") or {})))
    others = [key for key in ("min_cllr", "cllr") if any(isinstance(record.get(key), float) for record in records)]
    others += sorted(
        {
            key
            for record in records
            for key, value in record.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and key not in _KNOWN
        }
    )
    columns = ["back-end", "EER %", f"{percent(low)} to {percent(high)} %", "ROCCH-EER %"]
    columns += [f"minDCF {prior}" for prior in priors] + [f"actDCF {prior}" for prior in actual]
    columns += [{"min_cllr": "minCllr", "cllr": "Cllr"}.get(key, key.replace("_", " ")) for key in others]
    protocols = len({record["protocol"] for record in records}) > 1
    columns += ["protocol"] if protocols else []
    rows = []
    for record in records:
        row = [cell(record["backend"], header=True), _rate(record, record is records[0]), _strip(record, low, high)]
        rocch = record.get("rocch_eer")
        row.append(cell("–") if rocch is None else cell(percent(rocch), rocch))
        row += [_cost(record["min_dcf"].get(prior), (record.get("min_dcf_ci") or {}).get(prior)) for prior in priors]
        costs, intervals = record.get("act_dcf") or {}, record.get("act_dcf_ci") or {}
        row += [_cost(costs.get(prior), intervals.get(prior)) for prior in actual]
        row += [_cost(record.get(key), record.get(f"{key}_ci")) for key in others]
        row += [cell(record["protocol"], class_="text")] if protocols else []
        rows.append(row)
    return table(f"Error rates on {name}, the lowest EER first", columns, rows)


def _rate(record: dict[str, Any], best: bool) -> Cell:
    text = tag("strong" if best else "span", percent(record["eer"]))
    mark = tag("span", "lowest", class_="mark") if best else ""
    return cell(_with_interval(text, percent_interval(record.get("eer_ci")), mark), record["eer"])


def _cost(value: float | None, ends: Any) -> Cell:
    if value is None:
        return cell("–")
    return cell(_with_interval(Html(f"{value:.3f}"), cost_interval(ends)), value)


def _with_interval(value: Html, ends: str, mark: str = "") -> Html:
    return join([mark, " " if mark else "", value, tag("span", ends, class_="interval") if ends else ""])


def _strip(record: dict[str, Any], low: float, high: float) -> Cell:
    """The EER as a dot, its interval as a line."""

    def place(rate: float) -> float:
        return 100 * (rate - low) / (high - low)

    first, last = record.get("eer_ci") or (record["eer"], record["eer"])
    line = tag("i", style=f"left:{place(first):.2f}%;width:{place(last) - place(first):.2f}%")
    dot = tag("b", style=f"left:{place(record['eer']):.2f}%")
    return cell(tag("span", line, dot, class_="strip", aria_hidden="true"), record["eer"], class_="strips")


def _title(part: Picture) -> str:
    return _KINDS.get(part.kind, part.kind.replace("_", " ").capitalize())


def _alt(part: Picture, name: str, records: Sequence[dict[str, Any]]) -> str:
    shown = [record for record in records if part.backend in ("", record["backend"])]
    rates = "; ".join(f"{record['backend']} {percent(record['eer'])} %" for record in shown)
    return f"{_title(part)} of {name}{', ' if part.backend else ''}{part.backend}. EER: {rates}."


def _other_tables(section: str) -> list[str]:
    """Tables under a list in RESULTS.md that results.json does not have, such as differences."""
    blocks = re.split(r"\n\s*\n", section)
    return [block for block in blocks if block.startswith("|") and not block.startswith("| back-end |")]


def _heading(block: str, section: str) -> Html:
    head = block.split("|")[1].strip()
    titles = {"difference": "Differences to the best back-end, over the same draws of speakers"}
    return markdown(f"# {titles.get(head, head.capitalize())}\n{block}", level=4)


def _analyses(run: RunFiles, name: str) -> list[Html]:
    """What exp/RUN/analysis has of the list: Markdown as it is, JSON where there is no such Markdown."""
    parts = []
    folder = run.folder / "analysis"
    for path in sorted(folder.glob("*"), key=lambda path: natural_key(path.name)):
        if not path.name.startswith(f"{name}.") or path.suffix not in (".md", ".json"):
            continue
        title = f"Analysis: {path.stem.removeprefix(f'{name}.')}"
        if path.suffix == ".md":
            parts.append(details(title, markdown(path.read_text(encoding="utf-8", errors="replace"), level=4)))
        elif not path.with_suffix(".md").exists():
            text = json.dumps(read_json(path), indent=1, ensure_ascii=False)
            parts.append(details(title, tag("pre", text, tabindex=0)))
    return parts


def _explanations(run: RunFiles, name: str) -> list[Html]:
    """What stage 11 says of the worst trials of the list."""
    parts = []
    for stem, path in run.pictures(run.folder / "explain" / name).items():
        told = path.with_suffix(".json")
        content = read_json(told) if told.exists() else {}
        says = str(content.get("caption", "")) if isinstance(content, dict) else ""
        title = f"The worst {stem.replace('_', ' ')}, and what in both recordings its score comes from"
        parts += [tag("h4", title), figure(image(path, f"{title}. {says}"), says, "wide")]
    return parts
