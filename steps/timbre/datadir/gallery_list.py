"""A gallery and probes out of a data directory: who is enrolled, with which utterances. Called by make_gallery.py."""

from collections.abc import Mapping

import numpy as np

from timbre.datadir.datadir import invert
from timbre.utils.errors import DataError


def split_gallery(
    utt2spk: Mapping[str, str], num_enroll: int, known: float, seed: int
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """(speaker -> utterances that enrol her, probe -> speaker), of the utterances of UTT2SPK.

    A share KNOWN of the speakers with more than NUM_ENROLL utterances, drawn with SEED, is enrolled with that many;
    all other utterances are probes.

    Raises:
        DataError: nobody can be enrolled, or a number makes no sense
    """
    if num_enroll < 1 or not 0 < known <= 1:
        raise DataError(f"{num_enroll} utterances of a share of {known:g} of the speakers cannot be enrolled")
    generator = np.random.default_rng(seed)
    spk2utt = invert(dict(utt2spk))
    able = [spk for spk, utts in spk2utt.items() if len(utts) > num_enroll]
    if not able:
        raise DataError(f"no speaker has more than {num_enroll} utterances")
    chosen = sorted(generator.permutation(len(able))[: max(1, round(known * len(able)))].tolist())
    gallery = {}
    for spk in (able[row] for row in chosen):
        utts = spk2utt[spk]
        gallery[spk] = [utts[row] for row in sorted(generator.permutation(len(utts))[:num_enroll].tolist())]
    enrolled = {utt for utts in gallery.values() for utt in utts}
    return gallery, {utt: spk for utt, spk in utt2spk.items() if utt not in enrolled}
