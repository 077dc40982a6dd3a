"""What was meant by a name that does not exist. Called by cli.py and the recipe, and by run.sh:

python3 spelling.py WORD NAME...
"""

import difflib
import sys
from collections.abc import Iterable
from pathlib import PurePath


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """'; did you mean NAME?' with the one of NAMES that is most like WORD, or '' when none is.

    Of files the name without folder and suffix will do.
    """
    names = list(names)
    by_stem = {PurePath(name).stem: name for name in reversed(names)}
    close = difflib.get_close_matches(word, names, 1, 0.7)
    close = close or [by_stem[stem] for stem in difflib.get_close_matches(PurePath(word).stem, by_stem, 1, 0.7)]
    return f"; did you mean {close[0]}?" if close else ""


if __name__ == "__main__":
    print(did_you_mean(sys.argv[1], sys.argv[2:]))
