"""`timbre enroll`: people into a gallery."""

import argparse
import json
from pathlib import Path

from timbre.people.commands.command_line import add_voice, expanded, folders_of, open_voice, progress, warn
from timbre.utils.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    add_voice(parser)
    parser.add_argument("gallery", metavar="GALLERY", help="a file, made where there is none")
    parser.add_argument("name", nargs="?", metavar="NAME", help="who it is, new or not")
    parser.add_argument("recordings", nargs="*", metavar="AUDIO", help="of that person; - is standard input")
    parser.add_argument("--folders", type=Path, help="instead: a folder with a folder, or a file, a person")
    parser.add_argument(
        "--keep", choices=("none", "path", "audio"), default="none",
        help="of recordings, beside embeddings, for another network some day (default none)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(args: argparse.Namespace) -> int:
    """Exit status 0: enrolled; 3: a recording cannot be used, and of its person none is enrolled."""
    if args.folders is not None:
        if args.name is not None:
            raise DataError("--folders goes without NAME and recordings")
        people: dict[str, list[str]] = {
            name: [str(path) for path in files] for name, files in folders_of(args.folders).items()
        }
    elif args.name is None or not args.recordings:
        raise DataError("a name and recordings of that person, or --folders")
    else:
        people = {args.name: expanded(args.recordings)}
    failed = []
    with open_voice(args).gallery(args.gallery) as gallery:
        for name, files in progress(people.items(), len(people), "enroll"):
            try:
                warn(gallery.enroll(name, files, args.keep))
            except DataError as error:
                if args.folders is None or error.status != 3:
                    raise
                failed.append(name)
                warn([f"'{name}' is not enrolled: {error}"])
        total = len(gallery)
    done = [name for name in people if name not in failed]
    if args.json:
        print(json.dumps({"enrolled": done, "left_out": failed}, ensure_ascii=False, indent=2))
    else:
        number = sum(len(people[name]) for name in done)
        who = done[0] if len(done) == 1 else f"{len(done)} people"
        heard = f"{number} recording{'s' * (number != 1)} of {who}" + f", {len(failed)} left out" * bool(failed)
        print(f"{args.gallery}: {heard}; it has {total} {'person' if total == 1 else 'people'}")
    return 3 if failed else 0
