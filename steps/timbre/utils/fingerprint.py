"""Is a stage up to date? Its stamp holds digests of what it read, wrote and was told; stages.sh asks and writes here.

    python -m timbre.utils.fingerprint check STAMP --in FILE... --out FILE... --with TEXT... [--remade FILE...]
    python -m timbre.utils.fingerprint write STAMP --in FILE... --out FILE... --with TEXT...

`check` prints why the stage must run (nothing when it is up to date). `write` records it as done.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

SMALL = 1 << 24  # bytes; larger files are told apart by size and time of change, smaller ones by content


def digest(path: Path) -> str | None:
    """What tells a file, a table of files (*.scp) or a folder from its changed self; None when it does not exist.

    A *.scp counts together with the files that it names, a folder with all files below it but hidden ones
    (both by size and time of change).
    """
    if not path.exists():
        return None
    state = hashlib.sha256()
    if path.is_dir():
        for name in sorted(_files_below(path)):
            state.update(_stat_line(name))
        return state.hexdigest()
    if path.stat().st_size > SMALL:
        state.update(_stat_line(str(path)))
    else:
        state.update(path.read_bytes())
    if path.suffix == ".scp":
        for name in sorted(_files_named(path)):
            state.update(_stat_line(name))
    return state.hexdigest()


def _files_below(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(parent, name) for name in names if not name.startswith("."))


def _files_named(table: Path) -> set[str]:
    names = set()
    with table.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            value = line.rstrip("\n").partition(" ")[2].strip()
            if value and not value.endswith("|"):
                stem, colon, offset = value.rpartition(":")
                names.add(stem if colon and offset.isdigit() else value)
    return names


def _stat_line(name: str) -> bytes:
    try:
        status = os.stat(name)
    except OSError:
        return f"{name} absent\n".encode("utf-8", "surrogateescape")
    return f"{name} {status.st_size} {status.st_mtime_ns}\n".encode("utf-8", "surrogateescape")


def why_run(
    stamp: Path, inputs: Sequence[str], outputs: Sequence[str], options: Sequence[str], remade: Sequence[str] = ()
) -> str | None:
    """The first reason why the stage must run, or None when it is up to date.

    Args:
        stamp: the file that `record` wrote when the stage last ended
        inputs: files and folders that the stage reads
        outputs: files that it makes
        options: what it was told, as text
        remade: inputs that an earlier stage of the same plan would make again
    """
    for path in inputs:
        if path in remade:
            return f"{path} would be made again"
    for path in outputs:
        if not Path(path).exists():
            return f"{path} does not exist"
    try:
        before = json.loads(stamp.read_text(encoding="utf-8"))
        was_inputs, was_outputs, was_options = before["inputs"], before["outputs"], before["options"]
    except FileNotFoundError:
        return "it has not run to its end"
    except (ValueError, KeyError, TypeError):
        return f"{stamp} cannot be read"
    if was_options != list(options):
        changed = sorted(set(options) ^ set(was_options))
        return "options changed: " + ", ".join(changed) if changed else "options changed their order"
    for name, paths, was in (("input", inputs, was_inputs), ("output", outputs, was_outputs)):
        if sorted(was) != sorted(set(paths)):
            return f"other {name}s than last time: " + ", ".join(sorted(set(was) ^ set(paths)))
        for path in paths:
            if digest(Path(path)) != was[path]:
                return f"{path} changed"
    return None


def record(stamp: Path, inputs: Sequence[str], outputs: Sequence[str], options: Sequence[str]) -> None:
    """Writes the stamp of a stage that has just ended.

    Raises:
        DataError: an output that the stage promises does not exist
    """
    for path in outputs:
        if not Path(path).exists():
            raise DataError("the stage ended without making it", path)
    content = {
        "options": list(options),
        "inputs": {path: digest(Path(path)) for path in inputs},
        "outputs": {path: digest(Path(path)) for path in outputs},
    }
    with atomic_write(stamp) as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.write("\n")


def main() -> None:
    """The two commands above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["check", "write"])
    parser.add_argument("stamp", type=Path)
    parser.add_argument("--in", dest="inputs", nargs="*", default=[])
    parser.add_argument("--out", dest="outputs", nargs="*", default=[])
    parser.add_argument("--with", dest="options", nargs="*", default=[])
    parser.add_argument("--remade", nargs="*", default=[])
    given = parser.parse_args()
    try:
        if given.command == "write":
            record(given.stamp, given.inputs, given.outputs, given.options)
        else:
            reason = why_run(given.stamp, given.inputs, given.outputs, given.options, given.remade)
            print(reason or "", end="\n" if reason else "")
    except (DataError, OSError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
