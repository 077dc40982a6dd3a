"""Names that hold Markdown or HTML stay names: in tables, headings and lists, and in the page of a run."""

import html
from pathlib import Path

import pytest

from timbre.audit.audit_page import _groups, _section
from timbre.audit.audited import Group
from timbre.audit.findings import Finding
from timbre.decision.calibration import Calibration
from timbre.decision.pack_page import write_page
from timbre.evaluation.breakdown import Group as ConditionGroup
from timbre.evaluation.breakdown import page
from timbre.evaluation.results_page import table
from timbre.evaluation.worst import _code
from timbre.report.markup import markdown
from timbre.runtime.llr import Term
from timbre.runtime.thresholds import ErrorRate, OperatingPoint
from timbre.utils.escape import escaped

NAME = "a|b <img src=x onerror=alert(1)> `c` *d* **e** [f](g) h\\|i &amp; &#124; end"


def test_a_name_is_one_line_without_markup() -> None:
    assert not set(escaped(NAME + "\n# new\u2028|")) & set("|<>`*[]\\\n\u2028")
    assert html.unescape(escaped(NAME)) == NAME and escaped("eval_1, Zoë 한국어") == "eval_1, Zoë 한국어"


def test_the_page_of_a_run_shows_it_as_it_is() -> None:
    name = escaped(NAME)
    made = markdown(f"# {name}\n\n{table(['set', 'n'], [[name, '1']])}\n\n- **{name}**: x\n\nsee {name}")
    assert (
        "<img" not in made and made.count(html.escape(NAME)) == 6
    )  # heading, caption and label of the table, cell, ...
    assert made.count("<td") == 1


@pytest.mark.parametrize("kind", ["groups", "finding", "conditions", "code", "pack"])
def test_pages_escape_names(kind: str, tmp_path: Path) -> None:
    name = NAME + "\n| injected | 1 |"
    if kind == "groups":
        text = _groups("set", [("", Group(name, 1, 2, 3.0, 1.0, 1.0, 1.0))])
    elif kind == "finding":
        text = _section(Finding("clipping", True, name, 1, 2, name, "mend it", [name]))
    elif kind == "conditions":
        group = ConditionGroup.__new__(ConditionGroup)
        values = dict.fromkeys(ConditionGroup.__dataclass_fields__, None) | {
            "condition": name, "group": name, "borrowed": False, "num_target": 1, "num_nontarget": 1, "num_speakers": 1,
            "eer": 0.1, "min_dcf": 0.1, "dcf": 0.1, "miss_rate": 0.1, "false_alarm_rate": 0.1,
        }  # fmt: skip
        group.__dict__.update(values)
        text = page(name, [group], 0.05, "../plots/x.png")
    elif kind == "code":
        text = table(["trial"], [[_code(name, [name])]])
    else:
        rate = ErrorRate(3, 30, 0.05, 0.2)
        calibration = Calibration(0.0, (Term("score", "score", 1.0),), 0.5, {})
        points = [OperatingPoint("prior", 0.5, 0.0, rate, rate)]
        write_page(tmp_path / "x.md", Path(name), name, calibration, points, name, 5, True, [])
        text = (tmp_path / "x.md").read_text()
    assert "<img" not in text and "\n| injected" not in text and "a|b" not in text and "`c`" not in text
