"""Small corpora for the audit: bursts of a voice over a noise floor, each of a colour that may be the speaker's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from timbre.datadir.datadir import DataDir
from timbre.datadir.pairs import Pairing
from timbre.datadir.tables import write_table
from timbre.datadir.trials import write_trials

RATE = 8000
SMALL = ("--mfcc.sample_frequency", 8000, "--mfcc.high_freq", 3700, "--mfcc.num_ceps", 10, "--nj", 1, "--draws", 100)
Owner = Literal["speaker", "utterance"]


def coloured_noise(colour: int, seed: int, num_samples: int, scale: float) -> NDArray[np.float64]:
    """Noise through a filter that COLOUR draws."""
    taps = np.random.default_rng([1, colour]).normal(size=8) * 0.75 ** np.arange(8)
    noise = np.convolve(np.random.default_rng([2, seed]).normal(size=num_samples + 7), taps, "valid")
    return np.asarray(noise * scale / np.sqrt(np.square(taps).sum()))


def spoken(speaker: int, utt: int, voice: Owner, floor: Owner, seconds: float = 1.0) -> NDArray[np.float64]:
    """One utterance: the floor throughout, the voice in the second and the last quarter."""
    unique = 1000 * speaker + utt
    size = int(seconds * RATE)
    talking = np.arange(size) * 4 // size % 2 == 1
    colours = [100 + speaker if owner == "speaker" else 10_000 + unique for owner in (voice, floor)]
    over = coloured_noise(colours[0], 2 * unique, size, 0.1) * talking
    return over + coloured_noise(colours[1] + 50_000, 2 * unique + 1, size, 0.0006)


def write_set(
    folder: Path, speakers: Sequence[int], num_utts: int, voice: Owner = "speaker", floor: Owner = "utterance"
) -> DataDir:
    """A data directory of SPEAKERS, NUM_UTTS utterances each, half of them in either of two sessions, all pairs as
    trials. Speakers of odd number are male."""
    waves, utt2spk = {}, {}
    for speaker in speakers:
        for utt in range(num_utts):
            waves[f"s{speaker:03}-{utt:02}"] = spoken(speaker, utt, voice, floor)
            utt2spk[f"s{speaker:03}-{utt:02}"] = f"s{speaker:03}"
    return write_waves(folder, waves, utt2spk)


def write_waves(folder: Path, waves: Mapping[str, NDArray[np.float64]], utt2spk: Mapping[str, str]) -> DataDir:
    """The same of any WAVES."""
    wavs = {utt: str(folder / "wav" / f"{utt}.wav") for utt in sorted(waves)}
    (folder / "wav").mkdir(parents=True)
    for utt, place in wavs.items():
        soundfile.write(place, waves[utt], RATE, subtype="PCM_16")
    data = DataDir(folder, wavs, dict(sorted(utt2spk.items())))
    data.write(folder)
    write_table(folder / "utt2session", {utt: f"day{int(utt[-2:]) % 2}" for utt in wavs})
    write_table(folder / "spk2gender", {spk: "fm"[int(spk[1:]) % 2] for spk in set(utt2spk.values())})
    write_trials(folder / "trials", Pairing(utt2spk).all())
    return data
