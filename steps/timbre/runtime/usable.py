"""Whether a recording can be used at all, and what is measured of it: for encoder.py, and the recipe's embedder.py."""

import numpy as np
from numpy.typing import NDArray

from timbre.runtime.facts import AudioFacts, Samples, measure
from timbre.runtime.sound import Unusable
from timbre.runtime.speech_measures import Bins, high_band, signal_to_noise

_CLIPPED = 0.001  # share of clipped samples that is worth a word
_RUINED = 0.1  # share of clipped samples from which on errors are over 1.5 times what they are (README of steps)


def check_samples(samples: Samples, rate: int, name: str) -> tuple[AudioFacts, tuple[str, ...]]:
    """Facts of SAMPLES (N,), and warnings in words.

    Raises:
        Unusable: they are constant, or clipped beyond recognition
    """
    if samples.min() == samples.max():
        raise Unusable("all of its samples are the same: silence, or a channel that was not connected", name)
    facts = measure(samples, rate)
    if facts.clipped > _RUINED:
        raise Unusable(f"{100 * facts.clipped:.0f} % of the samples are clipped", name)
    loud = facts.clipped > _CLIPPED
    return facts, (f"{100 * facts.clipped:.1f} % of the samples are clipped",) if loud else ()


def check_speech(speech: float, least: float, name: str) -> None:
    """Refuses too little SPEECH, in seconds.

    Raises:
        Unusable: there is none, or less than LEAST
    """
    if not speech or speech < least:
        found = f"only {speech:.2f} s of speech" if speech else "no speech"
        raise Unusable(f"{found} is found in it, and {max(least, 0.01):g} s are needed", name)


def measures_of(
    feats: NDArray[np.float32],
    energy: NDArray[np.float32],
    voiced: NDArray[np.bool_],
    shift: float,
    vector: NDArray[np.float32],
    bins: Bins | None,
) -> dict[str, float]:
    """The measures of make_quality.py by name, and `band` where there are BINS of it.

    Args:
        feats: (num_frames, dim), not normalised
        energy: (num_frames,) log energy
        voiced: (num_frames,) VAD decision, some of it True
        shift: seconds from one frame to the next
        vector: the embedding
        bins: columns of FEATS
    """
    measures = {
        "logdur": float(np.log(np.count_nonzero(voiced) * shift)),
        "snr": signal_to_noise(energy, voiced),
        "magnitude": float(np.log(np.linalg.norm(vector.astype(np.float64)) + 1e-30)),
    }
    if bins is not None:
        measures["band"] = high_band(feats, voiced, bins)
    return measures
