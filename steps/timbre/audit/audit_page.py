"""The audit of a corpus for people, AUDIT.md with its plots, and for programs, audit.json. Called by audit_data.py."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from timbre.audit.audited import AuditedSet, Group, Labels
from timbre.audit.channel_leak import Leak, enough_frames
from timbre.audit.findings import Finding
from timbre.audit.plots import plot_audit
from timbre.evaluation.results import percent, percent_interval, write_json
from timbre.evaluation.results_page import table
from timbre.utils.files import atomic_write

_NOT_SEEN = (
    "Not seen by this audit: the same person under two names; the same recording in another gain, codec or sampling "
    "rate, or cut elsewhere; wrong sex or language labels; music, or several voices, in an utterance."
)
_METHOD = (
    "An utterance is the means and deviations of its MFCC, raw, over the frames that the energy VAD calls speech, or "
    "over the others; LDA on the training set, cosine. In brackets: 95 % intervals by bootstrap over speakers. The "
    "voice cannot be in frames without speech (its last echoes can): what they tell is room, noise and microphone. The "
    "EER by speech is that of this crude system, not of a network; a network hears the channel too."
)


@dataclass(frozen=True)
class Audit:
    """All that is said of a corpus; sets: the training set, then the others; notes: what could not be checked."""

    title: str
    sets: Sequence[AuditedSet]
    findings: Sequence[Finding]
    leaks: Sequence[Leak]
    notes: Sequence[str]
    min_frames: int

    @property
    def num_serious(self) -> int:
        """How many findings are serious."""
        return sum(finding.serious for finding in self.findings)

    def summary(self) -> str:
        """The findings and the channel check, a line each."""
        lines = [f"{'serious' if finding.serious else 'minor'}: {finding}" for finding in self.findings]
        lines += [f"channel: {leak}" for leak in self.leaks] + [f"note: {note}" for note in self.notes]
        return "\n".join(lines or ["nothing found"])

    def write(self, out_dir: Path) -> None:
        """Writes OUT_DIR/AUDIT.md, audit.json and plots/."""
        plots = plot_audit(self.sets, self.leaks, out_dir / "plots")
        for name in _plots_of(out_dir / "audit.json") - set(plots):  # of lists that are no more
            (out_dir / "plots" / name).unlink(missing_ok=True)
        write_json(out_dir / "audit.json", self._as_json() | {"plots": plots})
        sections = [
            f"# Audit of {self.title}",
            self._opening(),
            *self._counts(),
            "## Findings",
            *([_section(finding) for finding in self.findings] or ["None."]),
            "## Channel leak: do the frames without speech tell the speakers apart?",
            *self._channel(),
            "## What was not checked",
            "\n".join(f"- {note}" for note in [*self.notes, _NOT_SEEN]),
            "## Plots",
            "\n".join(f"![{name}](plots/{name})" for name in plots),
        ]
        with atomic_write(out_dir / "AUDIT.md") as file:
            file.write("\n\n".join(sections) + "\n")

    def _opening(self) -> str:
        serious, others = self.num_serious, len(self.findings) - self.num_serious
        leaking = [leak.name for leak in self.leaks if leak.leaks]
        text = f"**{serious} serious finding{'s'[: serious != 1]}, {others} other{'s'[: others != 1]}.**"
        if leaking:
            text += (
                f" **Results on {', '.join(leaking)} must not be read as speaker recognition** (channel leak, below)."
            )
        return text + " A line for each utterance: <set>/utt2audit.tsv."

    def _counts(self) -> list[str]:
        """Tables of how much there is, by set, sex and language."""
        parts = ["## Sets", _groups("set", [("", audited.whole()) for audited in self.sets])]
        for what in ("sex", "language"):
            rows = [
                (audited.name, group)
                for audited in self.sets
                if (labels := _labels(audited, what)) is not None
                for group in audited.by(labels)
            ]
            parts += [_groups(what, rows)] if rows else []
        return parts

    def _channel(self) -> list[str]:
        if not self.leaks:
            return ["Not measured: see below."]
        rows = []
        for leak in self.leaks:
            cells = [
                f"{percent(record.eer)} {percent_interval(record.eer_ci)}"
                for record in (leak.nonspeech.record, leak.speech.record)
            ]
            rows.append(
                [leak.name, *cells, percent_interval(leak.difference), f"{leak.num_left_out:,} of {leak.num_trials:,}"]
            )
        columns = ["trial list", "EER %, non-speech", "EER %, speech", "difference", "trials left out"]
        left_out = ", ".join(
            f"{int((~enough_frames(audited, self.min_frames)).sum()):,} of {len(audited.table):,} in {audited.name}"
            for audited in self.sets
        )
        return [
            _METHOD,
            table(columns, rows),
            f"Utterances with fewer than {self.min_frames} frames of either kind are left out of both: {left_out}.",
            "\n".join(f"- **{leak.name}**: {leak.verdict}" for leak in self.leaks),
        ]

    def _as_json(self) -> dict[str, Any]:
        return {
            "sets": [
                asdict(audited.whole())
                | {
                    what: [asdict(group) for group in audited.by(labels)]
                    for what in ("sex", "language")
                    if (labels := _labels(audited, what)) is not None
                }
                for audited in self.sets
            ],
            "findings": [asdict(finding) for finding in self.findings],
            "channel": [
                {
                    "trials": leak.name,
                    "nonspeech": leak.nonspeech.record.as_json(),
                    "speech": leak.speech.record.as_json(),
                    "difference_ci": leak.difference,
                    "share": leak.share,
                    "leaks": leak.leaks,
                    "num_trials_left_out": leak.num_left_out,
                    "verdict": leak.verdict,
                }
                for leak in self.leaks
            ],
            "notes": list(self.notes),
        }


def _plots_of(path: Path) -> set[str]:
    """The plots that an earlier audit made, by its audit.json."""
    try:
        return {Path(name).name for name in json.loads(path.read_text(encoding="utf-8"))["plots"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _labels(audited: AuditedSet, what: str) -> Labels | None:
    return audited.sex if what == "sex" else audited.language


def _groups(what: str, rows: Sequence[tuple[str, Group]]) -> str:
    columns = [what, "speakers", "utterances", "hours", "shortest s", "median s", "longest s"]
    cells = [
        [
            f"{name}, {group.name}" if name else group.name,
            f"{group.num_speakers:,}",
            f"{group.num_utts:,}",
            f"{group.seconds / 3600:.2f}",
            *(f"{seconds:.2f}" for seconds in (group.shortest, group.median, group.longest)),
        ]
        for name, group in rows
    ]
    return table(columns, cells)


def _section(finding: Finding) -> str:
    more = finding.count - len(finding.examples)
    lines = [
        f"### {'Serious: ' if finding.serious else ''}{finding.kind} in {finding.sets}",
        f"**{finding.count:,} of {finding.total:,}** {finding.what}. What to do: {finding.advice}.",
        "\n".join([f"- {example}" for example in finding.examples] + ([f"- and {more:,} more"] if more else [])),
    ]
    return "\n\n".join(lines)
