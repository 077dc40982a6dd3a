"""Names in Markdown: of speakers, sets, runs and files, which may hold anything; for every page this project writes.

Character references are read as text by every reader of Markdown, inside a table too; report/markup.py reads them.
"""

import re

_SPECIAL = re.compile(r"[|<>`*\[\]\\&#]")
_BREAKS = re.compile(r"[\s\x00-\x1f\x7f\u0085\u2028\u2029]+")


def escaped(name: str) -> str:
    """NAME on one line, without a character that Markdown or HTML would take for its own."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", _BREAKS.sub(" ", name))
