"""Numbers out of text that a person or another program wrote: as C reads them, not as Python does."""


def to_float(text: str | bytes) -> float:
    """TEXT as a number: 1, -2.5, 1e-3, inf, nan.

    Raises:
        ValueError: it is none, be it one that float() takes, such as 1_0 and digits of other scripts
    """
    if (b"_" if isinstance(text, bytes) else "_") in text or not text.isascii():  # type: ignore[operator]
        raise ValueError(f"not a number: {text!r}")
    return float(text)


def to_int(text: str) -> int:
    """TEXT as a whole number of at most 18 digits; raises as `to_float`."""
    if "_" in text or not text.isascii() or len(text) > 18:
        raise ValueError(f"not a whole number: {text[:40]!r}")
    return int(text)
