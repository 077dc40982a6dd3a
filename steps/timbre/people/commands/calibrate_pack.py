"""`timbre calibrate`: a pack fitted to one's own recordings, and what errors to expect of it."""

import argparse
import json
from pathlib import Path

from timbre.people.commands.command_line import add_voice, folders_of, open_voice, progress
from timbre.utils.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    add_voice(parser)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a folder a speaker, two or more recordings each")
    parser.add_argument("output", metavar="OUT.timbre", type=Path, nargs="?", help="the new pack; without it only say")
    parser.add_argument(
        "--min-speech", type=float, help="seconds: take shorter recordings than the pack does, and so the new pack"
    )
    parser.add_argument("--draws", type=int, default=1000, help="of speakers, for the intervals (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default 0)")
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(args: argparse.Namespace) -> int:
    """Exit status 0: done; 2: too few recordings, or they tell nothing."""
    from timbre.people.calibration_report import fitted_pack, report_content, report_text
    from timbre.people.own_calibration import fit_own
    from timbre.people.own_recordings import listen
    from timbre.runtime.pack_file import SUFFIX
    from timbre.runtime.pack_zip import write_zip

    if args.output is not None and args.output.suffix != SUFFIX:
        raise DataError(f"the new pack is a file NAME{SUFFIX}", args.output)
    if not 1 <= args.draws <= 100_000 or args.seed < 0:
        raise DataError("--draws must be between 1 and 100,000, --seed at least 0")
    if args.min_speech is not None and not 0 <= args.min_speech < 3600:
        raise DataError("--min-speech is a number of seconds")
    voice = open_voice(args)
    recordings = listen(
        voice, folders_of(args.folder), args.min_speech, lambda items, total: progress(items, total, "listen")
    )
    try:
        fitted = fit_own(voice.scorer, recordings, args.draws, args.seed)
    except DataError as error:
        left = f" ({len(recordings.left_out)} left out, the first: {': '.join(recordings.left_out[0])})"
        raise DataError(f"{error.message}{left if recordings.left_out else ''}", error.path or args.folder) from error
    if args.output is not None:
        write_zip(args.output, *fitted_pack(voice.pack, fitted, args.min_speech))
    content = report_content(recordings, fitted)
    print(json.dumps(content, ensure_ascii=False, indent=2) if args.json else report_text(recordings, fitted))
    return 0
