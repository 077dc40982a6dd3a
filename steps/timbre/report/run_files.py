"""Everything that run.sh leaves in exp/RUN, read for the page: what is there, and what is not. Called by page.py."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from timbre.training.train_log import read_log
from timbre.utils.documents import read_json, read_yaml
from timbre.utils.errors import DataError
from timbre.utils.names import natural_key

_STAGE = re.compile(
    r"(\d\d:\d\d:\d\d) stage (\d+) ([^:]+): (running|done in|up to date)(?: \((.*)\)$| (\d+):(\d\d)$|$)"
)
_PLOT_ENDS = (".svg", ".png")  # the sharper one first
_LARGEST_SVG = 400_000  # bytes; a larger drawing goes into the page as pixels
_RESULT_KEYS: dict[str, type | tuple[type, ...]] = {
    "trials": str,
    "backend": str,
    "trials_file": str,
    "num_target": int,
    "num_nontarget": int,
    "num_speakers": int,
    "protocol": str,
    "eer": (int, float),
    "min_dcf": dict,
}
_AUDIT_KEYS = {
    "findings": {"kind", "serious", "sets", "count", "total", "what", "advice"},
    "channel": {"trials", "leaks", "verdict"},
}


@dataclass(frozen=True)
class Stage:
    """What run.log says of a stage, the last time it ran: when, why, for how many seconds (None: it did not end)."""

    number: int
    name: str
    began: str
    why: str
    seconds: int | None


@dataclass(frozen=True)
class Results:
    """Records of results.json, dictionaries as `Record.as_json` makes them."""

    records: list[dict[str, Any]]

    @property
    def lists(self) -> list[str]:
        """Trial lists, as a person sorts them."""
        return sorted({record["trials"] for record in self.records}, key=natural_key)

    @property
    def backends(self) -> list[str]:
        """Back-ends, by their mean EER."""
        eers: dict[str, list[float]] = {}
        for record in self.records:
            eers.setdefault(record["backend"], []).append(record["eer"])
        return sorted(eers, key=lambda name: (sum(eers[name]) / len(eers[name]), name))

    def of(self, trials: str) -> list[dict[str, Any]]:
        """Of one trial list, the lowest EER first."""
        return sorted(
            (record for record in self.records if record["trials"] == trials),
            key=lambda record: (record["eer"], record["backend"]),
        )


class RunFiles:
    """The files of the experiment FOLDER.

    Args:
        folder: what run.sh calls exp/NAME
        audit: audit.json of its corpus; None: where run.sh puts it

    Raises:
        DataError: no such folder, or nothing of a run is in it; later, a file that is damaged
    """

    def __init__(self, folder: Path, audit: Path | None = None) -> None:
        self.folder, self._audit = folder, audit
        if not folder.is_dir():
            raise DataError("no such directory", folder)
        if not any((folder / name).exists() for name in ("settings.conf", "results.json", "model", "scores", "log")):
            raise DataError("not the directory of a run: it has no settings.conf, model/, scores/, log/", folder)
        if audit and not audit.is_file():
            raise DataError("no such file", audit)

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.resolve().name

    @cached_property
    def results(self) -> Results | None:
        """results.json."""
        path = self.folder / "results.json"
        if not path.exists():
            return None
        records = read_json(path)
        if not isinstance(records, list):
            raise DataError("not a list of results", path)
        for number, record in enumerate(records, start=1):
            for key, kind in _RESULT_KEYS.items():
                if not isinstance(record, dict) or not isinstance(record.get(key), kind) or record[key] is True:
                    raise DataError(
                        f"record {number} has no '{key}' as this version writes it: make the results anew with "
                        "./run.sh --stage 9 --force",
                        path,
                    )
        return Results(records)

    @cached_property
    def settings(self) -> dict[str, str]:
        """Options of run.sh; empty where they were not saved."""
        pairs = {}
        for number, line in enumerate(self.lines("settings.conf"), start=1):
            name, equals, value = line.partition("=")
            if not equals:
                raise DataError(f"expected some-option=value, found {line!r}", self.folder / "settings.conf", number)
            pairs[name] = value
        return pairs

    @property
    def model_dir(self) -> Path:
        """The model that the run is of: the fine-tuned one, where there is one."""
        return self.folder / ("fine_tuned" if self.settings.get("fine-tune-conf") else "model")

    @cached_property
    def model(self) -> dict[str, Any]:
        """The resolved configuration, model/config.yaml; empty where there is none."""
        path = self.model_dir / "config.yaml"
        content = read_yaml(path) if path.is_file() else None
        if content is not None and not isinstance(content, dict):
            raise DataError("not the configuration of a model", path)
        return content or {}

    @cached_property
    def training(self) -> list[dict[str, Any]]:
        """Lines of model/log.jsonl; none where nothing was trained."""
        path = self.model_dir / "log.jsonl"
        lines = read_log(path)
        for number, line in enumerate(lines, start=1):
            if not isinstance(line, dict) or not isinstance(line.get("step"), int):
                raise DataError("not a line of a training log", path, number)
        return lines

    @cached_property
    def stages(self) -> list[Stage]:
        """Stages that have run, in the order of their numbers; by the last time that each ran."""
        found: dict[tuple[int, str], Stage] = {}
        for line in self.lines("log/run.log"):
            if not (match := _STAGE.fullmatch(line)):
                continue
            began, number, name, event, why, minutes, seconds = match.groups()
            key = int(number), name
            if event == "running":
                found[key] = Stage(*key, began, why or "", None)
            elif event == "done in" and key in found:
                spent = 60 * int(minutes) + int(seconds)
                found[key] = Stage(*key, found[key].began, found[key].why, spent)
        return [found[key] for key in sorted(found, key=lambda key: key[0])]

    @cached_property
    def environment(self) -> dict[str, str]:
        """What environment.json recorded during the run; empty where there is none."""
        path = self.folder / "environment.json"
        content = read_json(path) if path.exists() else {}
        if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
            raise DataError("not a table of names and values", path)
        return content

    @cached_property
    def audit_path(self) -> Path | None:
        """audit.json of the corpus, if it was audited: beside its sets, before or after audio processing."""
        if self._audit:
            return self._audit
        corpora = (
            {Path(record["trials_file"]).parent.parent for record in self.results.records} if self.results else set()
        )
        conf = Path(self.settings.get("audio-conf", "")).stem
        places = [self.folder / "audit"]
        for corpus in sorted(corpora):
            for root in (corpus, self.folder.resolve().parent.parent / corpus):
                places += [root / conf / "audit", root / "audit"]
        return next((place / "audit.json" for place in places if (place / "audit.json").is_file()), None)

    @cached_property
    def audit(self) -> dict[str, Any] | None:
        """The audit of the corpus."""
        if not self.audit_path:
            return None
        content = read_json(self.audit_path)
        for part, keys in _AUDIT_KEYS.items():
            entries = content.get(part) if isinstance(content, dict) else None
            if not isinstance(entries, list) or not all(isinstance(e, dict) and keys <= e.keys() for e in entries):
                raise DataError("not an audit of this version: make it anew with steps/audit_data.py", self.audit_path)
        return dict(content)

    @cached_property
    def draws(self) -> int | None:
        """How many draws of speakers the intervals are of, as RESULTS.md says."""
        match = re.search(r"bootstrap over speakers \((\d+) draws\)", self.text("RESULTS.md"))
        return int(match[1]) if match else None

    def sections(self, name: str) -> str:
        """What RESULTS.md says under the head NAME."""
        text = re.split(r"^## ", self.text("RESULTS.md"), flags=re.MULTILINE)
        return next((part.partition("\n")[2] for part in text[1:] if part.partition("\n")[0].strip() == name), "")

    def plots(self, start: str) -> dict[str, Path]:
        """Plots whose name begins with START: what comes after it -> the file to show."""
        return self.pictures(self.folder / "plots", start)

    @staticmethod
    def pictures(folder: Path, start: str = "") -> dict[str, Path]:
        """Pictures of FOLDER, one a name: as drawing, or as pixels where the drawing is large or there is none."""
        found: dict[str, Path] = {}
        for end in _PLOT_ENDS:
            for path in sorted(folder.glob(f"*{end}")):
                stem = path.name.removesuffix(end)
                pixels = path.with_name(f"{stem}.png")
                if stem.startswith(start) and stem not in found:
                    large = end == ".svg" and path.stat().st_size > _LARGEST_SVG and pixels.exists()
                    found[stem] = pixels if large else path
        return {stem.removeprefix(start): found[stem] for stem in sorted(found, key=natural_key)}

    def lines(self, name: str) -> list[str]:
        """Lines of the text file NAME; none where there is no such file."""
        return self.text(name).splitlines()

    def text(self, name: str) -> str:
        """The text file NAME, what is not UTF-8 in it replaced; empty where there is no such file."""
        path = self.folder / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
