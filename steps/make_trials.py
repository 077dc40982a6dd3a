#!/usr/bin/env python3
"""A trial list for a data directory: made from its speakers, or converted from VoxCeleb's form."""

import logging
from pathlib import Path

from timbre.datadir.contents import is_trials
from timbre.datadir.datadir import DataDir
from timbre.datadir.pairs import Pairing, match_utterances
from timbre.datadir.trials import read_trials, write_trials
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

logger = logging.getLogger(__name__)


def make_trials(
    data_dir: Path,
    name: str = "trials",
    same_sex: bool = False,
    cross_session: bool = False,
    nontargets: int | None = None,
    max_targets: int | None = None,
    seed: int = 0,
    convert: Path | None = None,
) -> None:
    """Write DATA_DIR/<name>, lines of "enroll test target|nontarget": every pair of utterances, or a sample of them.

    Args:
        data_dir: data directory
        name: the list's name, trials or trials_<something>; results are reported under it
        same_sex: non-target trials of one sex only (needs spk2gender)
        cross_session: target trials across sessions only (needs utt2session)
        nontargets: number of non-target trials drawn for each target trial; by default all there are
        max_targets: number of target trials drawn, evenly over speakers; by default all. Needs --nontargets
        seed: of the draws
        convert: instead of making trials, take this list, in Kaldi's form or VoxCeleb's "1|0 enroll test"; where it has
            paths, spk/video/part.wav is the utterance spk-video-part
    """
    if not is_trials(name):
        raise DataError(f"a trial list is called trials or trials_<something>, not '{name}'")
    data = DataDir.read(data_dir)
    target = data_dir / name
    if convert is not None:
        write_trials(target, match_utterances(read_trials(convert), data.utt2spk, convert))
    else:
        pairing = Pairing(
            data.utt2spk,
            data.table("spk2gender") if same_sex else None,
            data.table("utt2session") if cross_session else None,
        )
        if missing := len(data.utt2spk) - len(pairing.utts):
            logger.warning("%d utterances are in no trial: their gender or session is not known", missing)
        if nontargets is None:
            if max_targets is not None:
                raise DataError("--max-targets needs --nontargets")
            write_trials(target, pairing.all())
        else:
            write_trials(target, pairing.sample(nontargets, max_targets, seed))
    logger.info("%s: %s", target, read_trials(target).summary())


if __name__ == "__main__":
    run_step(make_trials)
