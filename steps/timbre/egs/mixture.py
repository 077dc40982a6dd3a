"""Which speech a model is trained further on: a data directory, with some of another. Called by mix_data_dir.py."""

import logging
import random
from pathlib import Path

from timbre.datadir.combine import combine
from timbre.datadir.contents import ORIGINALS, Contents
from timbre.datadir.datadir import DataDir, invert
from timbre.datadir.tables import read_table
from timbre.feats.protocols import utterance_seconds
from timbre.utils.errors import DataError

log = logging.getLogger(__name__)


def without_altered(contents: Contents) -> Contents:
    """CONTENTS without copies that count as said by other speakers than their originals, as those of changed speed."""
    speakers, originals = contents.utt2spk, contents.tables.get(ORIGINALS, {})
    altered = {utt for utt, of in originals.items() if of in speakers and speakers[of] != speakers.get(utt)}
    log.info("%d of %d utterances are copies by altered speakers, and left out", len(altered), len(speakers))
    return contents.select(speakers.keys() - altered)


def mix(own: Path, contents: Contents, other: Path, share: float, model_dir: Path, seed: int) -> Contents:
    """CONTENTS of OWN together with utterances of OTHER, such that SHARE of the time is OTHER's.

    They are drawn evenly over the speakers, as far as each has them, of those alone that the model knows: the others
    may have been held out.

    Args:
        own: data directory; lengths by utt2dur or utt2num_frames
        contents: what is used of it
        other: data directory with features of the same kind
        share: above 0, below 1
        model_dir: of the model
        seed: of the draw

    Raises:
        DataError: the model knows nobody in OTHER, lengths are unknown, or the two do not go together
    """
    data = DataDir.read(other)
    known = read_table(model_dir / "spk2int").keys()
    speakers = {utt: spk for utt, spk in data.utt2spk.items() if spk in known}
    if not speakers:
        raise DataError(f"{model_dir} knows none of its speakers", other / "utt2spk")
    seconds = utterance_seconds(data, speakers)
    mine = sum(utterance_seconds(DataDir.read(own), contents.utt2spk).values())
    chosen, total = draw_evenly(speakers, seconds, mine * share / (1 - share), seed)
    got = 100 * total / (total + mine)
    text = "%.1f h of %s (%d utterances of %d speakers) and %.1f h of %s: %.0f %% is old"
    numbers = total / 3600, other, len(chosen), len({speakers[utt] for utt in chosen}), mine / 3600, own, got
    log.log(logging.INFO if got > 90 * share else logging.WARNING, text, *numbers)
    return combine({str(own): contents, str(other): Contents.read(other).select(chosen)})


def draw_evenly(utt2spk: dict[str, str], seconds: dict[str, float], wanted: float, seed: int) -> tuple[set[str], float]:
    """Utterances of UTT2SPK of WANTED seconds in all, and how many they are: one of each speaker after the other."""
    queues = []
    for spk, utts in sorted(invert(utt2spk).items()):
        drawn = random.Random(f"{seed} {spk}")
        queues.append((drawn.random(), drawn.sample(sorted(utts), len(utts))))
    chosen: set[str] = set()
    total, turn = 0.0, 0
    queues.sort()
    while total < wanted and (row := [utts[turn] for _, utts in queues if turn < len(utts)]):
        for utt in row:
            if total < wanted:
                chosen.add(utt)
                total += seconds[utt]
        turn += 1
    return chosen, total
