"""`timbre verify`: are recordings of the same speaker?"""

import argparse

from timbre.people.commands.command_line import add_voice, expanded, open_voice, warn
from timbre.utils.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    add_voice(parser)
    parser.add_argument("recordings", nargs="+", metavar="AUDIO", help="those of the speaker, then the one to test")
    parser.add_argument(
        "--prior", type=float, default=0.5, help="how probable it was, before listening, that they are one (default .5)"
    )
    parser.add_argument("--far", type=float, help="instead take the threshold for this false-alarm rate of the pack")
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(args: argparse.Namespace) -> int:
    """Exit status 0: the same speaker, 1: different ones, 3: nobody can say."""
    files = expanded(args.recordings)
    if len(files) < 2:
        raise DataError("two recordings at least: those of the speaker, and the one to test")
    verdict = open_voice(args).verify(files[:-1], files[-1], args.prior, args.far)
    warn(verdict.warnings)
    print(verdict.as_json() if args.json else verdict)
    return 3 if verdict.same is None else 0 if verdict.same else 1
