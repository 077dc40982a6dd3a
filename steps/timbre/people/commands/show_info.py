"""`timbre info`: what a pack or a gallery is."""

import argparse
import json
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    parser.add_argument("path", metavar="PACK|GALLERY", help="a .timbre file, the folder of a pack, or a gallery")
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(args: argparse.Namespace) -> int:
    """Exit status 0: it is whole."""
    path = Path(args.path)
    content = _gallery(path) if _is_database(path) else _pack(path)
    if args.json:
        print(json.dumps(content, ensure_ascii=False, indent=2))
        return 0
    width = max(map(len, content))
    for name, value in content.items():
        if isinstance(value, list):
            print(f"{name}:")
            print("\n".join(f"  {item}" for item in value))
        else:
            print(f"{name:<{width}}  {value}")
    return 0


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(15) == b"SQLite format 3"
    except OSError:
        return False


def _gallery(path: Path) -> dict[str, Any]:
    from timbre.people.gallery import Gallery

    with Gallery(path, None, create=False) as gallery:
        gallery.check()
        people = gallery.people()
        about = gallery.about()
    recordings = sum(one.recordings for one in people)
    kept = sum(one.audio + one.paths for one in people)
    return {
        "kind": "gallery", "network": about.get("network"), "dim": int(about.get("dim", 0)), "people": len(people),
        "recordings": recordings, "kept": kept,
    }  # fmt: skip


def _pack(path: Path) -> dict[str, Any]:
    from timbre.runtime.pack_file import PackFile
    from timbre.runtime.scorer import Scorer

    pack = PackFile.open(path)
    scorer = Scorer.of(pack)
    settings = pack.settings
    counts = scorer.calibration.trained_on
    return {
        "kind": "pack", "name": settings.get("name"), "checksum": pack.checksum, "network": pack.network_checksum,
        "rate": settings.get("rate"), "dim": scorer.dim, "vad": settings.get("vad"),
        "variants": sorted(settings["models"]),
        "backend": settings["backend"]["kind"], "cohort": 0 if scorer.cohort is None else len(scorer.cohort),
        "min_speech": scorer.min_speech, "calibration": str(scorer.calibration),
        "calibrated_on": f"{counts['targets']:,} targets, {counts['nontargets']:,} nontargets",
        "thresholds": [
            f"{one.kind.replace('_', ' ')} {one.value:g}: llr {one.threshold:.3f}, misses {one.miss},"
            f" false alarms {one.false_alarm}"
            for one in scorer.points
        ],
    }  # fmt: skip
