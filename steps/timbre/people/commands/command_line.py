"""What the subcommands share: patterns of file names, options of a voice, one line of progress. No command itself."""

import argparse
import glob
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from timbre.utils.errors import DataError

T = TypeVar("T")

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".sph", ".au", ".caf", ".w64")


def add_voice(parser: argparse.ArgumentParser) -> None:
    """The pack, and how it is run."""
    parser.add_argument("pack", metavar="PACK", help="a .timbre file, or the folder of a pack")
    parser.add_argument("--threads", type=int, default=1, help="of the network (default 1)")
    parser.add_argument(
        "--variant", choices=("fp32", "int8", "fp16"), default="fp32", help="of the network (default fp32)"
    )


def open_voice(args: argparse.Namespace) -> Any:
    """The voice that `add_voice` asks for."""
    from timbre.people.voice import load

    if args.threads < 1:
        raise DataError(f"--threads is {args.threads}; it must be at least 1")
    return load(args.pack, args.threads, args.variant)


def expanded(words: Sequence[str]) -> list[str]:
    """WORDS with the files that patterns among them stand for, where no shell has done that already.

    Raises:
        DataError: a pattern that no file fits, or standard input (-) twice
    """
    found: list[str] = []
    for word in words:
        if word == "-" or not glob.has_magic(word) or Path(word).exists():
            found.append(word)
        elif files := sorted(glob.glob(word, recursive=True)):
            found += [file for file in files if Path(file).is_file()]
        else:
            raise DataError("no file is called so", word)
    if found.count("-") > 1:
        raise DataError("standard input (-) can be read only once")
    return found


def folders_of(folder: Path) -> dict[str, list[Path]]:
    """Person -> recordings: each folder in FOLDER is a person with the audio below it, each audio file another.

    Raises:
        DataError: it is none, or there is no audio in it
    """
    if not folder.is_dir():
        raise DataError("no such folder", folder)
    found: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        files = sorted(path for path in entry.rglob("*") if _is_audio(path)) if entry.is_dir() else [entry]
        if files := [path for path in files if _is_audio(path)]:
            found.setdefault(entry.name if entry.is_dir() else entry.stem, []).extend(files)
    if not found:
        raise DataError(f"no audio in it: PERSON/FILE or PERSON.SUFFIX ({', '.join(SUFFIXES)})", folder)
    return found


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def progress(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """ITEMS, with a line on stderr that says how far it is, where somebody looks at it."""
    shown, begun, last = sys.stderr.isatty() and total > 1, time.monotonic(), 0.0
    for number, item in enumerate(items):
        now = time.monotonic()
        if shown and now - last > 0.1:
            last = now
            left = f", {(now - begun) / number * (total - number):.0f} s left" if number else ""
            bar = "#" * (20 * number // total)
            print(f"\r{what} [{bar:<20}] {number}/{total}{left}\x1b[K", end="", file=sys.stderr, flush=True)
        yield item
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def warn(texts: Iterable[str]) -> None:
    """A line each on stderr."""
    for text in texts:
        print(f"warning: {' '.join(text.split())}", file=sys.stderr)
