"""Is a stage up to date? Its stamp holds digests of what it read, wrote and was told; stages.sh asks and writes here.

    python -m timbre.utils.fingerprint check STAMP --in FILE... --out FILE... --with TEXT... [--remade FILE...]
    python -m timbre.utils.fingerprint write STAMP --in FILE... --out FILE... --with TEXT...

`check` prints why the stage must run (nothing when it is up to date) and, but with --plan true, keeps what its inputs
are, so that millions of files are looked at once. `write` records it as done.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

_LARGE = 1 << 20  # bytes; contents of larger files are not read again while size, time of change and inode stay

Seen = dict[str, list[int | str]]  # file -> [size, time of change, inode, digest of its content]


class Digests:
    """Digests of files and folders, each looked at once.

    Args:
        known: what an earlier one has SEEN

    Attributes:
        seen: large files that were looked at
    """

    def __init__(self, known: Seen) -> None:
        self.seen: Seen = {}
        self._known = known
        self._digests: dict[str, str | None] = {}

    def of(self, path: str) -> str | None:
        """What tells a file, a table of files (*.scp) or a folder from its changed self; None when it does not exist.

        A file counts by its content; a *.scp together with the files that it names, a folder with all files below it
        but hidden ones (both by size and time of change).
        """
        if path not in self._digests:
            self._digests[path] = self._digest(Path(path))
        return self._digests[path]

    def _digest(self, path: Path) -> str | None:
        if not path.exists():
            return None
        if path.is_dir():
            state = hashlib.sha256()
            for name in sorted(_files_below(path)):
                state.update(_stat_line(name))
            return state.hexdigest()
        if path.suffix != ".scp":
            return self._content(path)
        state = hashlib.sha256(path.read_bytes())
        for name in sorted(_files_named(path)):
            state.update(_stat_line(name))
        return state.hexdigest()

    def _content(self, path: Path) -> str:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            look: list[int | str] = [status.st_size, status.st_mtime_ns, status.st_ino]
            known = self._known.get(str(path), [])
            content = str(known[3]) if known[:3] == look else hashlib.file_digest(file, "sha256").hexdigest()
        if status.st_size > _LARGE:
            self.seen[str(path)] = [*look, content]
        return content


def digest(path: Path) -> str | None:
    """See `Digests`."""
    return Digests({}).of(str(path))


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
    stamp: Path,
    inputs: Sequence[str],
    outputs: Sequence[str],
    options: Sequence[str],
    remade: Sequence[str] = (),
    keeps: bool = False,
) -> str | None:
    """The first reason why the stage must run, or None when it is up to date.

    Args:
        stamp: the file that `record` wrote when the stage last ended
        inputs: files and folders that the stage reads
        outputs: files that it makes
        options: what it was told, as text
        remade: inputs that an earlier stage of the same plan would make again
        keeps: the stage will run, if it must: its inputs as they are now are kept for `record`
    """
    before = _read(stamp)
    digests = Digests(before.get("seen", {}) if isinstance(before, dict) else {})
    reason = _reason(stamp, before, digests, inputs, outputs, options, remade)
    if not keeps:
        return reason
    with suppress(OSError, DataError):  # where nothing can be written they are looked at again
        if not reason:
            _kept(stamp).unlink(missing_ok=True)
        else:
            content = {"inputs": {path: digests.of(path) for path in inputs}, "seen": digests.seen}
            with atomic_write(_kept(stamp)) as file:
                json.dump(content, file, ensure_ascii=False)
    return reason


def _reason(
    stamp: Path,
    before: Any,
    digests: Digests,
    inputs: Sequence[str],
    outputs: Sequence[str],
    options: Sequence[str],
    remade: Sequence[str],
) -> str | None:
    for path in inputs:
        if path in remade:
            return f"{path} would be made again"
    for path in outputs:
        if not Path(path).exists():
            return f"{path} does not exist"
    if before is None:
        return "it has not run to its end"
    try:
        was_inputs, was_outputs, was_options = before["inputs"], before["outputs"], before["options"]
    except (KeyError, TypeError):
        return f"{stamp} cannot be read"
    if was_options != list(options):
        changed = sorted(set(options) ^ set(was_options))
        return "options changed: " + ", ".join(changed) if changed else "options changed their order"
    for name, paths, was in (("input", inputs, was_inputs), ("output", outputs, was_outputs)):
        if sorted(was) != sorted(set(paths)):
            return f"other {name}s than last time: " + ", ".join(sorted(set(was) ^ set(paths)))
        for path in paths:
            if digests.of(path) != was[path] and ("seen" in before or _digest_by_time(path) != was[path]):
                return f"{path} changed"
    return None


def _digest_by_time(path: str) -> str | None:
    """What stood for a file of more than 16 MB in stamps that have no "seen"."""
    if not os.path.isfile(path) or os.path.getsize(path) <= 1 << 24:
        return None
    names = sorted(_files_named(Path(path))) if path.endswith(".scp") else []
    return hashlib.sha256(b"".join(map(_stat_line, [path, *names]))).hexdigest()


def _kept(stamp: Path) -> Path:
    return stamp.with_name(f"{stamp.name}.inputs")


def _read(path: Path) -> Any:
    """The JSON in PATH; None where there is no such file, an empty list where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return []


def record(stamp: Path, inputs: Sequence[str], outputs: Sequence[str], options: Sequence[str]) -> None:
    """Writes the stamp of a stage that has just ended; of its inputs as they were when `why_run` kept them.

    Raises:
        DataError: an output that the stage promises does not exist
    """
    for path in outputs:
        if not Path(path).exists():
            raise DataError("the stage ended without making it", path)
    kept = _read(_kept(stamp)) or {"inputs": {}, "seen": {}}
    digests = Digests(kept["seen"])
    content = {
        "options": list(options),
        "inputs": {path: kept["inputs"][path] if path in kept["inputs"] else digests.of(path) for path in inputs},
        "outputs": {path: digests.of(path) for path in outputs},
        "seen": {path: kept["seen"][path] for path in inputs if path in kept["seen"]} | digests.seen,
    }
    with atomic_write(stamp) as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.write("\n")
    _kept(stamp).unlink(missing_ok=True)


def main() -> None:
    """The two commands above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["check", "write"])
    parser.add_argument("stamp", type=Path)
    parser.add_argument("--in", dest="inputs", nargs="*", default=[])
    parser.add_argument("--out", dest="outputs", nargs="*", default=[])
    parser.add_argument("--with", dest="options", nargs="*", default=[])
    parser.add_argument("--remade", nargs="*", default=[])
    parser.add_argument("--plan", choices=["true", "false"], default="false")
    given = parser.parse_args()
    try:
        if given.command == "write":
            record(given.stamp, given.inputs, given.outputs, given.options)
        else:
            keeps = given.plan == "false"
            reason = why_run(given.stamp, given.inputs, given.outputs, given.options, given.remade, keeps)
            print(reason or "", end="\n" if reason else "")
    except (DataError, OSError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
