"""Arks in parts, and the tables that point into them; for features and VAD decisions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from timbre.datadir.ark import ArkWriter, split_rx
from timbre.datadir.tables import read_table
from timbre.utils.parts import Part, Result


def offsets(writers: Mapping[str, ArkWriter]) -> Result:
    """{name: {utterance: offset}} of what each of WRITERS has written: true wherever the ark lies."""
    return {
        name: {utt: int(place.rpartition(":")[2]) for utt, place in writer.scp.items()}
        for name, writer in writers.items()
    }


def places(parts: Sequence[Part[Any]], results: Sequence[Result], name: str) -> dict[str, str]:
    """The table of the arks NAME.ark in PARTS, of what `offsets` told."""
    return {
        utt: f"{part.folder / name}.ark:{offset}"
        for part, result in zip(parts, results, strict=True)
        for utt, offset in result[name].items()
    }


def merge(results: Sequence[Result], name: str) -> dict[str, str]:
    """What all RESULTS have under NAME."""
    return {key: value for result in results for key, value in result[name].items()}


def arks_named(folder: Path, *tables: Path) -> set[Path]:
    """The arks right in FOLDER, not in a part, that TABLES name: made before there were parts."""
    found = {split_rx(place)[0] for table in tables if table.is_file() for place in read_table(table).values()}
    return {path for path in map(Path, found) if path.parent == folder}
