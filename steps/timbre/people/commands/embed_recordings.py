"""`timbre embed`: embeddings of recordings, as JSON lines or an .npz file."""

import argparse
import json
from pathlib import Path
from typing import Any

from timbre.people.commands.command_line import add_voice, expanded, open_voice, progress, warn
from timbre.utils.errors import DataError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    add_voice(parser)
    parser.add_argument("recordings", nargs="+", metavar="AUDIO", help="one by one; - is standard input")
    parser.add_argument("--output", type=Path, help="an .npz file: names (N,), vectors (N, D), seconds and speech (N,)")


def run(args: argparse.Namespace) -> int:
    """Exit status 0: all are embedded, 3: some cannot be used."""
    files, voice = expanded(args.recordings), open_voice(args)
    rows: list[tuple[str, Any]] = []
    for file in progress(files, len(files), "embed"):
        try:
            one = voice.embed(file)
        except DataError as error:
            if error.status != 3:
                raise
            warn([str(error)])
            continue
        warn(f"{file}: {text}" for text in one.warnings)
        rows.append((file, one))
        if args.output is None:
            content = {"recording": file, "seconds": one.seconds, "speech": one.speech, "measures": dict(one.measures)}
            print(json.dumps({**content, "vector": one.vector.tolist()}, ensure_ascii=False))
    if args.output is not None:
        _write(args.output, rows, voice.encoder.dim)
    return 0 if len(rows) == len(files) else 3


def _write(path: Path, rows: list[tuple[str, Any]], dim: int) -> None:
    import numpy as np

    from timbre.runtime.whole_file import whole_file

    vectors = np.array([one.vector for _, one in rows], np.float32).reshape(-1, dim)
    seconds, speech = (np.array([getattr(one, name) for _, one in rows]) for name in ("seconds", "speech"))
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, names=np.array([name for name, _ in rows], str), vectors=vectors, seconds=seconds, speech=speech)
