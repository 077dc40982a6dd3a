"""Values of options that no step can want: checked here once, for command lines (cli.py) and YAML (configure.py)."""

import math
from collections.abc import Mapping

# of these there must be one at least; any other whole number may be 0
_ONE = {
    "batch_size", "depth", "nj", "num_frames", "num_iters", "num_speakers", "num_trials", "rate", "top",
    "top_k", "top_n", "tries",
}  # fmt: skip


def nonsense(
    values: Mapping[str, object], defaults: Mapping[str, object], given: Mapping[str, object], own: bool = False
) -> str | None:
    """What is wrong with the first of VALUES, by their names, that makes no sense; None: all may pass.

    Not a number makes none, nor does an infinite one (but of a limit), a line break in a word, a whole number below 0
    (below 1 for some). What may be so has a default that is.

    Args:
        values: of options
        defaults: of the same
        given: what some of them were read from: the text 1_0 is no number, whatever Python says
        own: numbers with a fraction, too, may not be negative: a step's own options are lengths, shares and the like
    """
    for name, value in values.items():
        default = defaults.get(name)
        last = name.rpartition(".")[2]
        if isinstance(value, str):
            if {"\n", "\r", "\0"} & set(value) and value != default:
                return f"{name} has a line break or a NUL in it: {value[:100]!r}"
            continue
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if isinstance(text := given.get(name), str) and ("_" in text or not text.isascii()):
                return f"{name} is '{text}'; a number is wanted"
            if number == default:
                continue
            if isinstance(number, int) and abs(number) >= 1 << 70:  # which is no longer a float, either
                return f"{name} is a number of {len(str(number))} digits"
            if math.isnan(number) or (math.isinf(number) and not last.endswith("limit")):
                return f"{name} is {number}; a number is wanted"
            if isinstance(value, list | tuple) or (isinstance(default, int | float) and default < 0):
                continue
            least = 1 if last in _ONE and default != 0 else 0
            if number < least and (isinstance(number, int) or (own and "." not in name)):
                return f"{name} is {number}; it must be at least {least}"
    return None
