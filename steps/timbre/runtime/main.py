"""The command `timbre`: subcommands, each a module of commands/ that is imported when it is called.

A bad input is one line on stderr. Exit status 0 is yes or done; see EPILOG.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from timbre.utils.errors import DataError

COMMANDS = {  # name -> module of commands/, what it does
    "diarize": ("diarize_file", "say who speaks when in a recording"),
    "serve": ("serve_page", "show a page to try a pack on"),
}
EPILOG = """exit status: 0 done; verify: the same speaker; identify: somebody of the gallery
             1 verify: different speakers; identify: nobody of the gallery
             2 an error: wrong options, a file that cannot be read, a pack or gallery that does not fit
             3 no decision: too little speech, a constant or ruined recording"""


def main(words: Sequence[str] | None = None) -> int:
    """Runs the subcommand that WORDS, by default those of the command line, ask for; returns the exit status."""
    words = list(sys.argv[1:] if words is None else words)
    parser = argparse.ArgumentParser(
        "timbre",
        description="Speakers, by a pack.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    asked = next((word for word in words if not word.startswith("-")), None)
    for name, (module, text) in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name == asked:
            command = import_module(f"timbre.runtime.commands.{module}")
            command.add_arguments(sub)
            sub.set_defaults(run=command.run)
    args = parser.parse_args(words)
    try:
        status: int = args.run(args)
    except DataError as error:
        print(f"timbre: error: {error}", file=sys.stderr)
        return 3 if error.status == 3 else 2
    return status
