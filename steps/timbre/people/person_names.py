"""Names of people in a gallery: any script, one line, one spelling. For gallery.py and its archives."""

import re
import unicodedata

from timbre.runtime.answers import UNKNOWN
from timbre.utils.errors import DataError

LONGEST = 200  # characters
_TURNS_TEXT = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # make text read backwards


def clean(name: str) -> str:
    """NAME as it is kept: NFC, without space around it, one space where there are several.

    Raises:
        DataError: it is empty or too long, has a line break, NUL or another character that is not to be seen, or is
            what nobody is called
    """
    if not isinstance(name, str):
        raise DataError(f"a name is text, not {type(name).__name__}")
    if bad := [char for char in name if unicodedata.category(char) in ("Cc", "Cs", "Cn", "Co", "Zl", "Zp")]:
        raise DataError(f"the name {name[:60]!a} has the character {bad[0]!a} in it, which cannot be shown")
    if any(char in _TURNS_TEXT for char in name):
        raise DataError(f"the name {name[:60]!a} has a character in it that turns the direction of text")
    text = " ".join(unicodedata.normalize("NFC", name).split())
    if len(text) > LONGEST:
        raise DataError(f"the name '{text[:40]}...' has {len(text):,} characters; at most {LONGEST} are kept")
    folded = fold(text)
    if not folded:
        raise DataError(f"the name {name!a} is empty")
    if re.fullmatch(rf"{UNKNOWN}( \d+)?", folded):
        raise DataError(f"'{text}' is what strangers are called: choose another name")
    return text


def fold(name: str) -> str:
    """By what two names are one: Ann and ANN, full-width letters and others, whatever takes no room."""
    seen = "".join(char for char in unicodedata.normalize("NFKC", name) if unicodedata.category(char) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", seen.casefold()).split())
