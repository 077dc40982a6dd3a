"""`timbre diarize`: who speaks when, as text, JSON or RTTM."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from timbre.utils.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    parser.add_argument("pack", help="a .timbre file, or the folder of a pack")
    parser.add_argument("recordings", nargs="+", help="audio files; - is standard input")
    parser.add_argument("--gallery", help="people who may speak by name, what `timbre enroll` writes")
    parser.add_argument("--speakers", type=int, help="how many speak, where that is known")
    parser.add_argument("--threshold", type=float, help="log-likelihood ratio above which two are one (default 0.75)")
    parser.add_argument("--format", choices=("text", "json", "rttm"), default="text", help="of what is written")
    parser.add_argument("--output", type=Path, help="a file instead of standard output")


def run(args: argparse.Namespace) -> int:
    """Writes the turns of each recording; exit status 0, also where nobody speaks."""
    from timbre.people.diarize import DiarizeOptions
    from timbre.people.voice import load
    from timbre.runtime.turns import as_json, as_rttm

    options = DiarizeOptions(args.speakers)
    if args.threshold is not None:
        options = replace(options, threshold=args.threshold)
    if args.gallery is not None and not Path(args.gallery).is_file():
        raise DataError("no such gallery; `timbre enroll` makes one", args.gallery)
    voice = load(args.pack)
    gallery = None if args.gallery is None else voice.gallery(args.gallery)
    written = []
    for source in args.recordings:
        turns = voice.diarize(source, gallery, options=options)
        name = "stdin" if source == "-" else Path(source).stem
        if args.format == "rttm":
            written.append(as_rttm(name, turns))
        elif args.format == "json":
            written.append(as_json(name, turns) + "\n")
        else:
            count = len({turn.name for turn in turns})
            head = f"{source}: {count} speaker{'s' * (count != 1)}\n" if len(args.recordings) > 1 else ""
            written.append(head + "".join(f"{turn}\n" for turn in turns))
    text = "".join(written)
    if args.output is None:
        sys.stdout.write(text)
        return 0
    try:
        args.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror}", args.output) from error
    return 0
