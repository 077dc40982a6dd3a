"""Conditions of trials, by the tables beside them: sex, duration, language, channel, session, ... For breakdown.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from timbre.datadir.tables import read_lists, read_table
from timbre.datadir.trials import Trials
from timbre.evaluation.metrics import Bools, Floats, Ints
from timbre.evaluation.speakers import TrialSpeakers
from timbre.utils.errors import DataError

# tables that say nothing of a condition
_OTHERS = {"utt2spk", "utt2uniq", "utt2text", "utt2num_frames", "utt2class", "spk2utt", "spk2int"}
_MANY = 12  # more values than that are told apart only as the same or different; more numbers than that go into bins
_EDGES = {"dur": (1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0), "snr": (0.0, 5.0, 10.0, 15.0, 20.0, 30.0)}
_UNITS = {"dur": " s", "snr": " dB"}
_SUMS = {"dur"}  # of a model of several utterances; others are averaged


@dataclass(frozen=True)
class Condition:
    """What trials are told apart by: a name, and the trials (N,) bool of each group; groups may overlap."""

    name: str
    groups: dict[str, Bools]


def find_conditions(
    data_dir: Path, trials: Trials, speakers: TrialSpeakers, more: Sequence[Path] = ()
) -> list[Condition]:
    """Conditions of TRIALS by the tables utt2X and spk2X of DATA_DIR, and by MORE, which replace those of their names.

    By words: trials whose sides have the same value, different ones, and both the value v; the last only where there
    are few values. By numbers: bins of the lower of the two sides. Trials with a side that has no value are "unknown".

    Raises:
        DataError: a malformed table, or one of MORE whose name is not utt2X or spk2X
    """
    paths = sorted([*data_dir.glob("utt2*"), *data_dir.glob("spk2*")], key=lambda path: path.name.partition("2")[2])
    paths = [path for path in paths if path.name not in _OTHERS and path.is_file() and not path.suffix]
    for path in more:
        if path.name[:4] not in ("utt2", "spk2"):
            raise DataError("a table of utterances is named utt2X, one of speakers spk2X", path)
    models_path = data_dir / "enroll.spk2utt"
    models = read_lists(models_path) if models_path.exists() else {}
    conditions = []
    for path in [*(path for path in paths if path.name not in {other.name for other in more}), *more]:
        table, name = read_table(path), path.name[4:]
        if path.name.startswith("spk2"):
            names = (speakers.names[number] for number in np.concatenate([speakers.enroll, speakers.test]))
            lists = [[key] for key in names]
        else:
            lists = [*(models.get(key, [key]) for key in trials.enroll_ids), *([key] for key in trials.test_ids)]
        groups = _by_number(name, table, lists, trials) if _is_numeric(name, table) else _by_word(table, lists, trials)
        groups = {label: chosen for label, chosen in groups.items() if chosen.any()}
        if not all(chosen.all() for chosen in groups.values()):  # they tell something
            conditions.append(Condition(name, groups))
    return conditions


def _is_numeric(name: str, table: Mapping[str, str]) -> bool:
    values = set(table.values())
    try:
        return all(np.isfinite(float(value)) for value in values) and (len(values) > _MANY or name in _EDGES)
    except ValueError:
        return False


def _by_word(table: Mapping[str, str], lists: Sequence[Sequence[str]], trials: Trials) -> dict[str, Bools]:
    """LISTS are the keys of TABLE of each enrolment id and then of each test id."""
    words = sorted({table[key] for keys in lists for key in keys if key in table})
    number = {word: code for code, word in enumerate(words)}
    found = [{number.get(table.get(key, ""), -1) for key in keys} for keys in lists]
    enroll, test = _sides(np.array([values.pop() if len(values) == 1 else -1 for values in found]), trials)
    known = (enroll >= 0) & (test >= 0)
    groups = {"same": known & (enroll == test), "different": known & (enroll != test)}
    if len(words) <= _MANY:
        groups |= {f"both {word}": groups["same"] & (enroll == code) for word, code in number.items()}
    return groups | {"unknown": ~known}


def _by_number(name: str, table: Mapping[str, str], lists: Sequence[Sequence[str]], trials: Trials) -> dict[str, Bools]:
    combine = np.sum if name in _SUMS else np.mean
    values = np.array([combine([float(table.get(key, "nan")) for key in keys]) for keys in lists])
    lower = np.minimum(*_sides(values, trials))
    known = ~np.isnan(lower)
    edges = _EDGES.get(name) or tuple(np.unique(np.quantile(lower[known], [0.25, 0.5, 0.75]))) if known.any() else ()
    ends = [-np.inf, *edges, np.inf]
    unit = _UNITS.get(name, "")
    groups = {}
    for low, high in pairwise(ends):
        text = f"{low:g} to {high:g}" if high < np.inf else f"{low:g} or more"
        groups[(f"below {high:g}" if low == -np.inf else text) + unit] = known & (lower >= low) & (lower < high)
    return groups | {"unknown": ~known}


def _sides(values: Ints | Floats, trials: Trials) -> tuple[Floats, Floats]:
    """Of each trial (N,), the value of the enrolment id and that of the test id."""
    count = len(trials.enroll_ids)
    return values[:count][trials.enroll], values[count:][trials.test]
