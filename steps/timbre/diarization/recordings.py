"""How long recordings are, and how far their frames are apart. For make_windows.py and extract_windows.py."""

import math

from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_bytes
from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float

_SHIFT = 0.01  # seconds, where no file says it


def durations(data: DataDir) -> dict[str, float]:
    """Seconds of each recording (utt2dur).

    Raises:
        DataError: no such file, a recording that it lacks, something that is not a number of seconds
    """
    seconds = {}
    for line, (name, text) in enumerate(data.table("utt2dur").items(), start=1):
        seconds[name] = _positive(text)
        if math.isnan(seconds[name]):
            raise DataError(f"the length of '{name}' is '{text}', not a number of seconds", data.path / "utt2dur", line)
    if missing := [name for name in data.utts if name not in seconds]:
        raise DataError(f"recording '{missing[0]}' is not in it", data.path / "utt2dur")
    return seconds


def frame_shift(data: DataDir) -> float:
    """Seconds from one frame to the next; DataError where the file frame_shift is no such number."""
    if not data.has("frame_shift"):
        return _SHIFT
    text = read_bytes(data.path / "frame_shift").decode(errors="replace").strip()
    if math.isnan(shift := _positive(text)):
        raise DataError(f"'{text}' is not a number of seconds", data.path / "frame_shift")
    return shift


def _positive(text: str) -> float:
    """A finite number above 0, or NaN."""
    try:
        value = to_float(text)
    except ValueError:
        return math.nan
    return value if 0 < value < math.inf else math.nan
