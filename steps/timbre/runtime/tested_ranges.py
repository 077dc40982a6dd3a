"""The range of the recordings that a pack was tested on, and what lies outside of it; for verdicts.

What is measured: tested.py of the recipe.
"""

from collections.abc import Mapping

Ranges = Mapping[str, tuple[float, float]]  # measure -> its least and greatest value

RANGE_NAMES = ("seconds", "snr", "band")


def read_ranges(content: object) -> dict[str, tuple[float, float]]:
    """What is in pack.yaml as `tested`; ValueError, TypeError or OverflowError where it is something else."""
    ranges = {str(name): (float(low), float(high)) for name, (low, high) in dict(content or {}).items()}  # type: ignore[call-overload]
    if wrong := [name for name, (low, high) in ranges.items() if name not in RANGE_NAMES or not low <= high]:
        raise ValueError(f"tested: '{wrong[0]}' is none of {', '.join(RANGE_NAMES)}, or its range is none")
    return ranges


def outside(measures: Mapping[str, float], ranges: Ranges) -> list[str]:
    """In words, what of a recording with MEASURES (seconds, snr, band) lies outside RANGES."""
    told = []
    for name, (low, high) in ranges.items():
        value = measures.get(name)
        if value is None:
            continue
        if name == "seconds" and not low <= value <= high:
            told.append(f"{value:.1f} s of speech, and tested were {low:.1f} to {high:.1f} s")
        if name == "snr" and value < low:
            told.append(f"a signal-to-noise ratio of {value:z.0f} dB, and tested were {low:z.0f} dB and more")
        if name == "band" and value < low:
            told.append(
                f"little above 4 kHz, as of a telephone ({value:z.0f} dB), and tested were {low:z.0f} dB and more"
            )
    return [f"outside what the pack was tested on: {text}" for text in told]
