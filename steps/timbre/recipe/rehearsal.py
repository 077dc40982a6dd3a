"""A dress rehearsal of a run: the same options on a small made corpus in the layout of the true one, for a few updates.

    python -m timbre.recipe.rehearsal [--keep-batches] < SETTINGS    # options of run.sh, as `some-option=value` lines

makes the corpora (data/rehearsal_trees) and the options of training (exp/NAME_rehearsal/conf) and prints, in such
lines, the options that are others than in the run itself; lines `say=...` tell a person what is reduced.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from timbre.corpora.small_trees import make_trees
from timbre.utils.documents import read_yaml
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

CORPORA = ("voxceleb", "cnceleb")  # of which there are small ones
TREES = Path("data/rehearsal_trees")
SOURCES = {  # options of augmentation, and what is made for them by local/prepare_musan.py and prepare_rirs.py
    "noise-dir": "data/rehearsal_musan/noise",
    "music-dir": "data/rehearsal_musan/music",
    "speech-dir": "data/rehearsal_musan/speech",
    "rir-dir": "data/rehearsal_rirs/rir",
    "test-noise-dir": "data/rehearsal_musan/noise",
}
UPDATES, TUNING_UPDATES, BATCH = 6, 4, 8
SUFFIX = "_rehearsal"


def rehearsed(given: dict[str, str], keep_batches: bool) -> Iterator[tuple[str, str]]:
    """The options that differ from GIVEN, and what is to be said of them.

    Args:
        given: options of run.sh by their names
        keep_batches: batches are as large as in the run: there are GPUs

    Raises:
        DataError: there is no small corpus for it, or a file of options that cannot be read
    """
    corpus = given.get("corpus", "")
    if corpus not in CORPORA:
        raise DataError(f"--dress-rehearsal: small corpora are made for {' and '.join(CORPORA)}, not for {corpus}")
    if given.get("model") or given.get("init-model"):
        raise DataError("--dress-rehearsal trains from the beginning: without --model and --init-model")
    name = given.get("name") or f"{corpus}_{Path(given.get('network', '')).stem}"
    if not name.endswith(SUFFIX):
        name += SUFFIX
    yield "name", name
    yield "corpus-dir", str(TREES / corpus)
    for option in ("download-dir", "eval-corpora"):
        if given.get(option):
            yield option, ""
            yield "say", f"a dress rehearsal: without --{option}"
    if any(given.get(f"{option}-conf") for option in ("augment", "test", "dev")) or given.get("train-augment"):
        yield from ((option, path) for option, path in SOURCES.items() if given.get(option))
    conf = Path("exp") / name / "conf"
    for option, updates in (("train-conf", UPDATES), ("fine-tune-conf", TUNING_UPDATES)):
        path = Path(given.get(option, ""))
        if not given.get(option) or path.parent == conf:  # none, or from the settings of a rehearsal
            continue
        options = _mapping(read_yaml(path), path)
        training = options if option == "train-conf" else _mapping(options.get("train") or {}, path)
        batch = _reduce(training, updates, keep_batches)
        if option == "fine-tune-conf":
            options["train"] = training
        target = conf / f"{option.removesuffix('-conf').replace('-', '_')}_{path.stem}.yaml"
        with atomic_write(target) as file:
            file.write(f"# {path} for a dress rehearsal\n{yaml.safe_dump(options, sort_keys=False)}")
        yield option, str(target)
        yield "say", f"a dress rehearsal: {updates} updates of {batch} examples instead of those of {path}"


def _mapping(content: Any, path: Path) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise DataError("not a mapping of options", path)
    return content


def _reduce(training: dict[str, Any], updates: int, keep_batches: bool) -> int:
    """Leaves of TRAINING so many UPDATES, a checkpoint and a validation every other one; the size of its batches."""
    training.pop("num_epochs", None)
    training |= {"num_steps": updates, "log_interval": 1, "valid_interval": 2, "checkpoint_interval": 2}
    batch = training.get("batch_size", 64)
    if not keep_batches and isinstance(batch, int) and batch > BATCH:
        training |= {"batch_size": BATCH, "accumulation": 1}
    return int(training.get("batch_size", 64))


def main() -> None:
    """The command above."""
    try:
        lines = (line.partition("=") for line in sys.stdin.read().splitlines())
        given = {name: value for name, _, value in lines}
        found = list(rehearsed(given, "--keep-batches" in sys.argv[1:]))
        make_trees(TREES)
        for name, value in found:
            print(f"{name}={value}")
    except DataError as error:
        sys.exit(f"run.sh: error: {error}")


if __name__ == "__main__":
    main()
