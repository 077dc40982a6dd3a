"""`timbre identify`: who of a gallery speaks?"""

import argparse
import json

from timbre.people.commands.command_line import add_voice, expanded, open_voice, progress, warn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    add_voice(parser)
    parser.add_argument("gallery", metavar="GALLERY", help="what `timbre enroll` made")
    parser.add_argument("recordings", nargs="+", metavar="AUDIO", help="one by one; - is standard input")
    parser.add_argument(
        "--prior", type=float, default=0.5, help="how probable it was that it is one of them; 1: surely (default .5)"
    )
    parser.add_argument("--top", type=int, default=5, help="how many to tell (default 5)")
    parser.add_argument("--json", action="store_true", help="write JSON, an object a line where there are several")


def run(args: argparse.Namespace) -> int:
    """Exit status 0: all are somebody of the gallery, 1: one is nobody of it, 3: of one nobody can say."""
    files = expanded(args.recordings)
    statuses = []
    with open_voice(args).gallery(args.gallery, create=False) as people:
        for file in progress(files, len(files), "identify"):
            found = people.identify(file, args.prior, max(1, args.top))
            warn(f"{file}: {text}" for text in found.warnings)
            statuses.append(3 if found.llr is None else 1 if found.name is None else 0)
            if args.json:
                content = {"recording": file, **found.as_dict()}
                print(json.dumps(content, ensure_ascii=False, indent=2 if len(files) == 1 else None))
            else:
                print(f"{file}: {found}" if len(files) > 1 else found)
    return max(statuses)
