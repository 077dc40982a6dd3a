"""Explanations of the trials that evaluation/worst.py found the worst. Called by explain_worst.py."""

import logging
from pathlib import Path
from typing import Any

from timbre.explain.explained_score import Explainer
from timbre.explain.map_files import Explanation
from timbre.explain.methods import Method
from timbre.explain.time_cells import CellOptions
from timbre.feats.protocols import frame_shift_of
from timbre.utils.documents import read_json
from timbre.utils.errors import DataError

KINDS = {"false_alarm": "nontargets", "miss": "targets"}  # of trials, and where an analysis lists them

log = logging.getLogger(__name__)


def explain_trials(explainer: Explainer, analysis: Path, out_dir: Path, method: Method, cells: CellOptions) -> None:
    """Writes OUT_DIR/false_alarm and OUT_DIR/miss, of the first trial of each kind that ANALYSIS lists.

    Raises:
        DataError: ANALYSIS is none of analyze_trials.py, or none of its trials can be explained
    """
    content = read_json(analysis)
    try:
        worst = {kind: list(content["worst"][listed]) for kind, listed in KINDS.items()}
        threshold, backend = float(content["worst"]["threshold"]), str(content["backend"])
        known = [
            (kind, str(one["enroll"]), str(one["test"]), float(one["score"])) for kind in worst for one in worst[kind]
        ]
    except (TypeError, KeyError, ValueError) as error:
        raise DataError("not an analysis of steps/analyze_trials.py", analysis) from error
    made: set[str] = set()
    for kind, enroll, test, score in known:
        if kind in made:
            continue
        wrong = score >= threshold if kind == "false_alarm" else score < threshold
        label = "nontarget" if kind == "false_alarm" else "target"
        says = f" ({label}, {'wrongly' if wrong else 'rightly'} {'accepted' if score >= threshold else 'rejected'}"
        says += f" by {backend}: {score:.4g}, threshold {threshold:.4g})"
        more: dict[str, Any] = {"enroll": enroll, "test": test, "label": label, "backend": backend}
        more |= {"score": score, "threshold": threshold}
        shift = frame_shift_of(explainer.data)
        try:
            Explanation.make(explainer.pair(enroll, test), method, "", cells, shift).write(
                out_dir / kind, shift, says, more
            )
        except DataError as error:
            log.warning("trial %s %s passed over: %s", enroll, test, error)
            continue
        made.add(kind)
    if not made:
        raise DataError("none of its trials can be explained", analysis)
