"""`timbre gallery`: list, rename, remove, export, import, re-enroll, check."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from timbre.people.commands.command_line import open_voice
from timbre.utils.errors import DataError

_VERBS = {
    "list": ((), "the people: recordings, seconds of speech, what of them is kept"),
    "rename": (("NAME", "NEW"), "call somebody otherwise"),
    "remove": (("NAME",), "forget somebody, with embeddings and audio"),
    "export": (("FILE",), "write all people to one file"),
    "import": (("FILE",), "add the people in a file that was exported; needs --pack"),
    "re-enroll": ((), "make all embeddings anew with another pack, from recordings that were kept; needs --pack"),
    "check": ((), "look the whole file through"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    told = "; ".join(f"{verb} {' '.join(words)}".strip() + f": {text}" for verb, (words, text) in _VERBS.items())
    parser.add_argument("verb", metavar="VERB", choices=tuple(_VERBS), help=told)
    parser.add_argument("gallery", metavar="GALLERY", help="what `timbre enroll` made")
    parser.add_argument("words", nargs="*", metavar="WORD", help="as listed above")
    parser.add_argument("--pack", help="a .timbre file, or the folder of a pack")
    parser.add_argument("--json", action="store_true", help="list as JSON")
    parser.set_defaults(threads=1, variant="fp32")


def run(args: argparse.Namespace) -> int:
    """Exit status 0: done."""
    from timbre.people.gallery import Gallery

    wanted = _VERBS[args.verb][0]
    if len(args.words) != len(wanted):
        raise DataError(f"timbre gallery {args.verb} GALLERY {' '.join(wanted)}: {len(args.words)} words are given")
    if args.verb in ("import", "re-enroll"):
        if args.pack is None:
            raise DataError(f"{args.verb} needs --pack")
        voice = open_voice(args)
        with voice.gallery(args.gallery, create=args.verb == "import", any_voice=args.verb == "re-enroll") as gallery:
            number = gallery.import_(args.words[0]) if args.verb == "import" else gallery.re_enroll()
        print(f"{args.gallery}: {number} recordings")
        return 0
    with Gallery(args.gallery, None, create=False) as gallery:
        if args.verb == "list":
            _show(gallery, args.json)
        elif args.verb == "export":
            gallery.export(args.words[0])
        elif args.verb == "check":
            gallery.check()
        else:
            getattr(gallery, args.verb)(*args.words)
    return 0


def _show(gallery: Any, as_json: bool) -> None:
    people = gallery.people()
    if as_json:
        print(json.dumps([asdict(one) for one in people], ensure_ascii=False, indent=2))
        return
    width = max((len(one.name) for one in people), default=0)
    for one in people:
        kept = ", audio kept" * bool(one.audio) + ", path kept" * bool(one.paths)
        print(f"{one.name:<{width}}  {one.recordings} recordings, {one.speech:.1f} s of speech{kept}")
