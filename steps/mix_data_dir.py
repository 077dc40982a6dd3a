#!/usr/bin/env python3
"""The speech that a model is trained further on: a data directory, with a share of what it was trained on before."""

from pathlib import Path

from timbre.datadir.contents import Contents
from timbre.egs.mixture import mix, without_altered
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def mix_data_dir(
    data_dir: Path,
    out_dir: Path,
    mix_dir: Path | None = None,
    share: float = 0.5,
    model_dir: Path | None = None,
    altered_speakers: bool = True,
    seed: int = 0,
) -> None:
    """Write OUT_DIR, a data directory: DATA_DIR, with utterances of MIX_DIR, or without copies of changed speed.

    Old speech beside the new keeps a model from forgetting. Training examples in proportion to the speech
    (--egs.balance 0 of steps/get_egs.py) have the share that is asked for.

    Args:
        data_dir: data directory, with features and utt2dur or utt2num_frames
        out_dir: the new data directory
        mix_dir: data directory with the old speech and features of the same kind
        share: of all the time, 0 to 1, that is to be of mix_dir; evenly over its speakers, as far as it goes
        model_dir: model that was trained on mix_dir: speakers that it does not know were held out, and stay so
        altered_speakers: keep copies that count as said by others than their originals (speed perturbation)
        seed: of the draw
    """
    contents = Contents.read(data_dir)
    if not altered_speakers:
        contents = without_altered(contents)
    if mix_dir is not None:
        if model_dir is None or not 0 < share < 1:
            raise DataError("--mix-dir goes with --model-dir, and a --share between 0 and 1")
        contents = mix(data_dir, contents, mix_dir, share, model_dir, seed)
    contents.write(out_dir)


if __name__ == "__main__":
    run_step(mix_data_dir)
