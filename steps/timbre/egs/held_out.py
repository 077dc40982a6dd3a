"""Who is kept out of training, and who was, so that scores can be calibrated on them.

Called by get_egs.py and make_calibration_trials.py.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_ids, read_table
from timbre.egs.egs_format import Manifest
from timbre.egs.options import EgsOptions
from timbre.utils.errors import DataError


class Unknown(NamedTuple):
    """SPEAKERS that a model was not trained on; as many of them are held out as would be of COUNTED speakers."""

    speakers: set[str]
    counted: int


def unknown_speakers(data: DataDir, model_dir: Path) -> Unknown:
    """Those of DATA that MODEL_DIR does not know."""
    speakers = set(data.utt2spk.values())
    return Unknown(speakers - read_table(model_dir / "spk2int").keys(), len(speakers))


def held_out_speakers(
    data: DataDir, egs_dir: Path | None, spk_list: Path | None, model_dir: Path | None, seed: int = 0
) -> set[str]:
    """Speakers of DATA that the network was not trained on: those that EGS_DIR keeps out, or SPK_LIST names, or a draw.

    A draw is of the speakers whom MODEL_DIR does not know, as many as EgsOptions keep out of a corpus of this size.

    Raises:
        DataError: not exactly one of the three is given, they are fewer than two, or not all in DATA
    """
    given = [path for path in (egs_dir, spk_list, model_dir) if path is not None]
    if len(given) != 1:
        raise DataError("give one of --egs-dir, --spk-list and --model-dir")
    known = set(data.utt2spk.values())
    if egs_dir:
        speakers = set(Manifest.read(egs_dir).valid_speakers)
    elif spk_list:
        speakers = set(read_ids(spk_list))
    else:
        unseen = sorted(known - read_table(given[0] / "spk2int").keys())
        order = np.random.default_rng(seed).permutation(len(unseen))[: EgsOptions().num_held_out(len(known))]
        speakers = {unseen[place] for place in order}
    if len(speakers) < 2:
        raise DataError(f"{len(speakers)} speakers cannot make trials: num_valid_speakers of the egs", given[0])
    if unknown := sorted(speakers - known):
        raise DataError(f"no speaker '{unknown[0]}' ({len(unknown)} of {len(speakers)})", data.path / "utt2spk")
    return speakers
