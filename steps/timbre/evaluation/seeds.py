"""Systems that were trained several times, from several seeds, compared by their means. Called by compare_runs.py.

What a difference can be told by has two parts: other speakers, and other seeds.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr

from timbre.evaluation.compare import PRIOR, Difference, Measured, difference_table, holm
from timbre.evaluation.metrics import Floats
from timbre.evaluation.results import cost_interval, percent, percent_interval, write_json
from timbre.evaluation.results_page import table
from timbre.runtime.thresholds import interval
from timbre.utils.errors import DataError
from timbre.utils.escape import escaped
from timbre.utils.files import atomic_write

_SEED = re.compile(r"[._-]seed\d+$")


@dataclass(frozen=True)
class Seeds:
    """A system on a list: error rates (seeds,) of its runs, and of their mean in each draw of speakers (draws,)."""

    name: str
    eers: Floats
    min_dcfs: Floats
    eer_draws: Floats
    min_dcf_draws: Floats

    @property
    def eer(self) -> float:
        """The mean."""
        return float(self.eers.mean())

    def as_json(self) -> dict[str, Any]:
        """Rates as fractions."""
        found: dict[str, Any] = {"system": self.name, "num_seeds": len(self.eers)}
        for name, rates, draws in (
            ("eer", self.eers, self.eer_draws),
            ("min_dcf", self.min_dcfs, self.min_dcf_draws),
        ):
            found[name] = float(rates.mean())
            found |= {f"{name}_of_seeds": rates.tolist(), f"{name}_ci": interval(draws)}
        return found


def over_seeds(measured: Sequence[Measured]) -> list[Seeds]:
    """MEASURED, runs on one list by one back-end, as systems, the lowest mean EER first.

    Raises:
        DataError: they were scored on lists of the same name that differ
    """
    by_name: dict[str, list[Measured]] = {}
    for one in measured:
        if one.result.trials != measured[0].result.trials:
            raise DataError(f"{measured[0].system.run} and {one.system.run} have different lists {one.system.trials}")
        by_name.setdefault(_SEED.sub("", one.system.run), []).append(one)
    systems = []
    for name, runs in by_name.items():
        records, draws = [one.result.record for one in runs], [one.result.draws for one in runs]
        eers, costs = [record.eer for record in records], [record.min_dcf[f"{PRIOR:g}"] for record in records]
        means = [np.mean([one.eer for one in draws], axis=0), np.mean([one.min_dcf[PRIOR] for one in draws], axis=0)]
        systems.append(Seeds(name, np.array(eers), np.array(costs), *means))
    return sorted(systems, key=lambda system: system.eer)


def seed_differences(systems: Sequence[Seeds]) -> list[Difference]:
    """Mean EERs of all pairs of SYSTEMS, which are in order; by ascending p, corrected by Holm's method.

    The standard error is that of the mean's difference over draws of speakers, and of means of so many seeds; the
    variance between seeds is pooled over the systems. The interval is over speakers alone.
    """
    spare = sum(len(system.eers) - 1 for system in systems)
    pooled = sum(float(((system.eers - system.eer) ** 2).sum()) for system in systems) / max(spare, 1)
    found = []
    for one, other in combinations(systems, 2):
        draws = other.eer_draws - one.eer_draws
        variance = float(np.nanvar(draws)) if np.isfinite(draws).any() else 0.0
        error = np.sqrt(variance + pooled / len(one.eers) + pooled / len(other.eers))
        gap = other.eer - one.eer
        p = float(2 * ndtr(-abs(gap) / error)) if error else 1.0
        found.append(Difference(one.name, other.name, gap, interval(draws), p))
    return holm(found)


def print_seeds(measured: Sequence[Measured], out_dir: Path | None) -> None:
    """Prints a table of systems for each list and back-end of MEASURED, and writes them into OUT_DIR."""
    sections, contents = [], []
    for (trials, backend), group in groupby(measured, lambda entry: (entry.system.trials, entry.system.backend)):
        members = list(group)
        systems = over_seeds(members)
        pairs = seed_differences(systems)
        sections.append(_section(f"{trials}, {backend}", members[0].result.record.num_speakers, systems, pairs))
        print(sections[-1], end="\n\n")
        contents.append(
            {
                "trials": trials,
                "backend": backend,
                "systems": [system.as_json() for system in systems],
                "differences": [asdict(pair) for pair in pairs],
            }
        )
    if out_dir:
        out_dir.mkdir(parents=True, exist_ok=True)
        write_json(out_dir / "seeds.json", contents)
        with atomic_write(out_dir / "SEEDS.md") as file:
            file.write("\n\n".join(["# Systems over seeds", *sections]) + "\n")


def _section(title: str, num_speakers: int, systems: Sequence[Seeds], pairs: Sequence[Difference]) -> str:
    rows = [
        [
            escaped(system.name),
            str(len(system.eers)),
            percent(system.eer),
            f"{percent(system.eers.min())} to {percent(system.eers.max())}",
            percent_interval(interval(system.eer_draws)),
            f"{system.min_dcfs.mean():.3f}",
            f"{system.min_dcfs.min():.3f} to {system.min_dcfs.max():.3f}",
            cost_interval(interval(system.min_dcf_draws)),
        ]
        for system in systems
    ]
    dcf = f"minDCF {PRIOR:g}"
    columns = ["system", "seeds", "EER %, mean", "range", "over speakers", f"{dcf}, mean", "range", "over speakers"]
    parts = [f"## {escaped(title)}", f"{num_speakers:,} speakers.", table(columns, rows)]
    if pairs:
        parts.append(difference_table(pairs, "EER %, difference of means"))
    return "\n\n".join(parts)
