"""README.md of a decision pack: what is in it, what it was measured on, thresholds and errors. For people."""

from collections.abc import Sequence
from pathlib import Path

from timbre.decision.calibration import Calibration
from timbre.decision.least_speech import WORSE, CutError
from timbre.decision.tested import Condition
from timbre.evaluation.results_page import table
from timbre.runtime.tested_ranges import Ranges
from timbre.runtime.thresholds import ENOUGH, OperatingPoint
from timbre.utils.escape import escaped
from timbre.utils.files import atomic_write

TERMS = ("ORIGIN.md", "LICENSE")  # what a model of weights of other hands has, and goes where they go
_SHOWN = (("prior", 0.5), ("prior", 0.05), ("false_alarm_rate", 0.01))  # points that each condition has columns of
_WHAT = {"prior": "target prior {0:g}", "false_alarm_rate": "false-alarm rate {0:.3g} %"}


def write_page(
    path: Path,
    pack: Path,
    system: str,
    calibration: Calibration,
    points: Sequence[OperatingPoint],
    measured_on: str,
    num_speakers: int,
    same_list: bool,
    speech: Sequence[str],
) -> None:
    """Writes PATH.

    Args:
        path: the file
        pack: the folder that it will be in
        system: what makes the score, in words
        calibration: of the pack
        points: of its thresholds
        measured_on: the list on which the errors were counted
        num_speakers: of that list
        same_list: whether the calibration was trained on it
        speech: paragraphs on how much speech it takes
    """
    rows = [
        [
            _title(point),
            f"{point.threshold:.3f}",
            str(point.miss),
            str(point.false_alarm),
            point.word,
        ]
        for point in points
    ]
    trials = points[0]
    caution = (
        "The calibration was trained on the same list: it fits its few numbers to it, so errors may be a little higher."
        if same_list
        else "The calibration was trained on other speakers."
    )
    lines = [
        "# Decision pack",
        f"{escaped(system)}. Same speaker or not: `steps/verify.py enroll.wav test.wav --pack` {escaped(str(pack))}. "
        "Who of several: `steps/enroll_gallery.py`, `steps/identify.py`.",
        f"    {calibration}",
        "The log-likelihood ratio (llr, natural logarithm) says how much more likely the two recordings are if one "
        "speaker made both. It is a probability only together with a prior: 1 / (1 + exp(-llr) * (1 - prior) / prior).",
        "## Thresholds",
        f"Accept where the llr is at least the threshold. Errors were counted on {escaped(measured_on)}: "
        f"{trials.miss.trials:,} target and {trials.false_alarm.trials:,} nontarget trials of {num_speakers} speakers. "
        f"{caution} In brackets: 95 % intervals by bootstrap over speakers, at a fixed threshold; where nothing was "
        "wrong, by the rule of three.",
        table(["for a", "threshold", "misses", "false alarms", "is the list large enough?"], rows),
        f"Large enough: {ENOUGH} errors of either kind (the rule of 30: were trials independent, the true rate would "
        "be within 30 % of the one counted, with 90 % confidence), and an interval over speakers no wider than that. "
        "All of this holds for speech like that of the list. In another language, channel or length of recording, "
        "measure again: `steps/make_decision_pack.py` takes your own trials.",
        *speech,
    ]
    with atomic_write(path) as file:
        file.write("\n\n".join(lines) + "\n")


def condition_paragraphs(conditions: Sequence[Condition], ranges: Ranges) -> list[str]:
    """Errors under CONDITIONS at the thresholds above, and the RANGES of the recordings that all was counted on."""
    lines = []
    if conditions:
        shown = [place for place, point in enumerate(conditions[0].points) if (point.kind, point.value) in _SHOWN]
        titles = [_title(conditions[0].points[place]) for place in shown]
        columns = [
            "recordings",
            "EER %",
            *(f"{kind} ({title})" for title in titles for kind in ("misses", "false alarms")),
        ]
        rows = [
            [
                escaped(one.name),
                f"{100 * one.eer:.2f}",
                *(str(rate) for place in shown for rate in (one.points[place].miss, one.points[place].false_alarm)),
            ]
            for one in conditions
        ]
        lines += [
            "## By condition",
            "The same thresholds, on recordings of other kinds (`conf/condition/`): the speakers of the calibration, "
            "whose recordings were changed as drawn for each, so that no two sides of a trial are alike. Where these "
            "errors are far above those of the thresholds, decide with care on such recordings.",
            table(columns, rows),
        ]
    words = {"seconds": "{:z.1f} to {:z.1f} s of speech", "snr": "signal-to-noise ratios of {:z.0f} to {:z.0f} dB"}
    words["band"] = "{:z.0f} to {:z.0f} dB of power above 4 kHz, over that of 1 to 3.3 kHz (a telephone has less)"
    if told := [words[name].format(*ends) for name, ends in ranges.items()]:
        lines.append(f"Tested were recordings with {', '.join(told)}. `verify.py` warns of others.")
    return lines


def speech_paragraphs(min_speech: float, errors: Sequence[CutError] | None) -> list[str]:
    """How much speech the pack asks for, and by which ERRORS that was chosen (None: by whoever made it)."""
    rule = (
        f"With less than {min_speech:g} s of speech in a recording (voiced frames of the energy VAD), with constant "
        "audio, with NaN, or with more than a tenth of the samples clipped there is no decision: `same: null`, a "
        "reason, exit status 3."
    )
    if errors is None:
        return ["## Least speech", f"{rule} The number was given."]
    if not errors:
        return [
            "## Least speech",
            f"{rule} Nothing could be measured (no features of the list): it is the usual number.",
        ]
    knows = any(one.promised for one in errors)
    chosen = (
        "Measured on the list that the calibration was trained on: its test recordings, cut to so much speech from "
        "their middle, against whole enrolments, at even odds. The least is where, from there on, the mean of the "
        f"rates of misses and false alarms is at most {WORSE:g} times that of the same trials with whole recordings"
        + (", or that which their own log-likelihood ratios promise, as these know of the length" if knows else "")
        + ", or 0.01 more."
    )
    rows = [
        [
            f"{one.seconds:g} s",
            f"{one.trials:,}",
            f"{100 * one.error:.2f}",
            f"{100 * one.whole:.2f}",
            *([f"{100 * one.promised:.2f}"] if knows else []),
            "yes" if one.kept else "no",
        ]
        for one in errors
    ]
    promised = ["error % promised"] if knows else []
    columns = ["speech", "trials", "error %", "error % of whole recordings", *promised, "kept?"]
    return ["## Least speech", rule, chosen, table(columns, rows)]


def _title(point: OperatingPoint) -> str:
    return _WHAT[point.kind].format(100 * point.value if point.kind == "false_alarm_rate" else point.value)


def origin(model_dir: Path) -> list[str]:
    """Where the weights in MODEL_DIR are from, if they were imported."""
    path = model_dir / TERMS[0]
    if not path.is_file():
        return []
    return ["## Origin of the network", *path.read_text(encoding="utf-8").strip().split("\n\n")[1:]]
