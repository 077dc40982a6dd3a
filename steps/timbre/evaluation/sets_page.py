"""The table of several test sets: EER, its threshold, minDCF, date. Called by make_results.py."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from timbre.evaluation.results import Record, percent
from timbre.evaluation.results_page import table
from timbre.utils.escape import escaped
from timbre.utils.files import atomic_write


def write_sets(path: Path, records: Sequence[Record], scores: Sequence[Path]) -> None:
    """Writes a table for each back-end, a row for each trial list, to PATH.

    RECORDS are of the files SCORES, in the same order; the date (UTC) is that on which the scores were written. The
    threshold is that of the EER.
    """
    parts = ["# Test sets", "Threshold: where the EER is. Date: of the scores, UTC."]
    for backend in sorted({record.backend for record in records}):
        pairs = [pair for pair in zip(records, scores, strict=True) if pair[0].backend == backend]
        columns = ["test set", "EER %", "threshold", *(f"minDCF {point}" for point in pairs[0][0].min_dcf), "date"]
        parts += [f"## {escaped(backend)}", table(columns, [_row(record, file) for record, file in pairs])]
    with atomic_write(path) as out:
        out.write("\n\n".join(parts) + "\n")


def _row(record: Record, scores: Path) -> list[str]:
    date = datetime.fromtimestamp(scores.stat().st_mtime, UTC).date().isoformat()
    costs = [f"{cost:.3f}" for cost in record.min_dcf.values()]
    return [escaped(record.trials), percent(record.eer), f"{record.eer_threshold:.4f}", *costs, date]
