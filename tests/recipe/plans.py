"""Plans of given options, for the tests here."""

from collections.abc import Callable
from pathlib import Path

from timbre.recipe.plan import Plan
from timbre.recipe.scoring_rows import Row
from timbre.recipe.settings import Settings

GIVEN = {"network": "conf/network/ecapa128.yaml", "egs_conf": "conf/egs/cpu.yaml"}
MakeSet = Callable[..., Path]


def plan(**options: str) -> Plan:
    return Plan.of(Settings.read([f"{name}={value}" for name, value in (BACKEND | GIVEN | options).items()]))


BACKEND = {"backend-conf": "conf/backend/plda.yaml"}


def rows(made: Plan, unit: str) -> list[Row]:
    return [row for row in made.rows() if row.unit == unit]


def variables(made: Plan) -> dict[str, str]:
    return dict(made.variables())


def said(made: Plan) -> list[str]:
    return [value for name, value in made.variables() if name == "say"]
