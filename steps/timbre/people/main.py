"""The command `timbre`: subcommands, each a module that is imported when it is called.

A bad input is one line on stderr. Exit status 0 is yes or done; see EPILOG.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

from timbre.utils.errors import DataError

COMMANDS = {  # name -> module, of commands/ if no more is said; what it does
    "verify": ("verify_recordings", "say whether recordings are of the same speaker"),
    "enroll": ("enroll_people", "put people into a gallery, by their recordings"),
    "identify": (
        "identify_recordings",
        "say who of a gallery speaks in recordings, or that it is nobody of it",
    ),
    "embed": ("embed_recordings", "write embeddings of recordings"),
    "diarize": ("diarize_file", "say who speaks when in a recording"),
    "calibrate": (
        "calibrate_pack",
        "fit a pack to your own recordings, and say what errors to expect",
    ),
    "info": ("show_info", "say what a pack or a gallery is"),
    "gallery": (
        "manage_gallery",
        "list, rename, remove, export, import or check the people of a gallery",
    ),
    "serve": ("timbre.serve.serve_page", "show a page to try a pack on"),
}
EPILOG = """exit status: 0 done; verify: the same speaker; identify: somebody of the gallery
             1 verify: different speakers; identify: nobody of the gallery
             2 an error: wrong options, a file that cannot be read, a pack or gallery that does not fit
             3 no decision: too little speech, a constant or ruined recording"""


class _Parser(argparse.ArgumentParser):
    """Wrong options are one line."""

    def error(self, message: str) -> NoReturn:
        print(f"timbre: error: {' '.join(message.split())} ({self.prog} --help lists the options)", file=sys.stderr)
        sys.exit(2)


def main(words: Sequence[str] | None = None) -> int:
    """Runs the subcommand that WORDS, by default those of the command line, ask for; returns the exit status."""
    words = list(sys.argv[1:] if words is None else words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names of any script, on a terminal of any code page
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    args = _parser(words).parse_args(words)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
        return status
    except DataError as error:
        print(f"timbre: error: {error}", file=sys.stderr)
        return 3 if error.status == 3 else 2
    except KeyboardInterrupt:
        print("timbre: error: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who read has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """With the options of the subcommand that is asked for."""
    parser = _Parser(
        "timbre",
        description="Speakers, by a pack.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    asked = next((word for word in words if not word.startswith("-")), None)
    for name, (module, text) in COMMANDS.items():
        if name != asked:
            subparsers.add_parser(name, help=text)
            continue
        command = import_module(module if "." in module else f"timbre.people.commands.{module}")
        sub = subparsers.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        )  # fmt: skip
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
