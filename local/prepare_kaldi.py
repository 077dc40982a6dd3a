#!/usr/bin/env python3
"""A corpus that comes as Kaldi data directories, DIR/data/<set>/: checked, with paths that hold from anywhere."""

import logging
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.datadir.contents import Contents
from timbre.datadir.validate import validate
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

logger = logging.getLogger(__name__)


def prepare_kaldi(corpus_dir: Path, out_dir: Path, sets: list[str] | None = None) -> None:
    """Write OUT_DIR/<set>/ for every set of CORPUS_DIR/data that is a data directory.

    `train` is the training set; `eval*` are evaluation sets, and so is every other set that has trials: it is written
    as eval_<set>. Sets without speakers (no utt2spk), such as noises, are passed over with a line that says so.
    Relative paths in wav.scp and the other .scp files start at CORPUS_DIR and are made absolute; commands stay.
    Every problem of every set is listed, and nothing is written when there is one.

    Args:
        corpus_dir: the corpus
        out_dir: where the data directories go
        sets: names of the sets to take, such as [train,eval_x]; by default all
    """
    data, root = corpus_dir / "data", corpus_dir.resolve()
    if not data.is_dir():
        raise DataError("no such directory; it should hold a Kaldi data directory for each set", data)
    names = sets or sorted(entry.name for entry in data.iterdir() if entry.is_dir())
    for name in names:
        if sets is None and not (data / name / "utt2spk").exists():
            logger.warning("%s: no utt2spk in it; passed over", data / name)
    names = [name for name in names if sets or (data / name / "utt2spk").exists()]
    if not names:
        raise DataError("no data directory with a utt2spk", data)
    if "train" not in names:
        logger.warning("%s: no set `train` with a utt2spk, only sets to test on", data)
    problems = [problem for name in names for problem in validate(data / name, root=root)]
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise DataError(f"{len(problems)} problems, listed above; steps/fix_data_dir.py mends many", data)
    for name in names:
        contents = Contents.read(data / name).relocate(root)
        is_eval = bool(contents.trials) and name != "train" and not name.startswith("eval")
        if name.startswith("eval") and not contents.trials:
            logger.warning("%s: no trials in it; make some with steps/make_trials.py", data / name)
        target = out_dir / (f"eval_{name}" if is_eval else name)
        contents.write(target)
        logger.info("%s: %d utterances of %d speakers", target, *contents.counts())


if __name__ == "__main__":
    run_step(prepare_kaldi)
