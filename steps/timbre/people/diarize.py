"""Who speaks when in a recording: windows of its speech, clustered by log-likelihood ratio, named by a gallery.

Called by Voice.diarize, commands/diarize_file.py and serve/. Stage 10 of the recipe does the same with files.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.people.people_heard import Entries, Scores, llr_matrix
from timbre.people.speech_stream import FRAME, as_float, resampled, snr_of
from timbre.people.stream import Embeds
from timbre.people.window_clusters import ClusterOptions, Ints, Windows, speakers_of
from timbre.runtime.silero import RATE, SileroVad, speech_stretches
from timbre.runtime.spans import WindowOptions, cut, joined, smooth, speech_of_vad
from timbre.runtime.turns import Turn

_BATCH = 64  # windows that are embedded at a time
_BANDS = 40  # windows whose band is measured, evenly over a recording


@dataclass(frozen=True)
class DiarizeOptions(ClusterOptions):
    """How a recording is diarized.

    Args:
        speakers: how many there are, where that is known
        threshold, centring, min_windows: of ClusterOptions
        window: seconds of speech that an embedding is of
        period: seconds from one to the next
        max_gap: pauses up to this length, in seconds, do not end a turn
    """

    window: float = 3.0
    period: float = 0.75
    max_gap: float = 0.3


def diarize(
    samples: NDArray[Any],
    rate: int,
    encoder: Embeds,
    scorer: Scores,
    gallery: Entries | None = None,
    vad: SileroVad | None = None,
    options: DiarizeOptions = DiarizeOptions(),
) -> list[Turn]:
    """The turns of SAMPLES (N,) at RATE, by time; strangers are numbered in the order in which they speak.

    Args:
        samples: floats in [-1, 1] or integers
        rate: of the samples, in Hz
        encoder: of a pack
        scorer: of the same pack
        gallery: who may speak by name
        vad: the network VAD; without it that of the pack, by energy
        options: how

    Raises:
        DataError: several channels, numbers that are not finite
    """
    heard = resampled(as_float(samples), rate, encoder.rate)
    windowing = WindowOptions(options.window, options.period, max_rest=0.5, max_gap=options.max_gap)
    speech = _speech(heard, encoder, vad, windowing)
    spans = [span for stretch in speech for span in cut(*stretch, windowing)]
    if not spans:
        return []
    edges = [(round(start * encoder.rate), min(len(heard), round(end * encoder.rate))) for start, end in spans]
    batches = [edges[start : start + _BATCH] for start in range(0, len(edges), _BATCH)]
    vectors = np.concatenate([encoder.windows(heard, batch) for batch in batches])
    seconds = np.array([end - start for start, end in spans])
    voiced = np.zeros(int(len(heard) / encoder.rate / FRAME), bool)
    for start, end in speech:
        voiced[round(start / FRAME) : round(end / FRAME)] = True
    common = {"snr": snr_of(heard, encoder.rate, voiced)}
    bands = [encoder.band(heard[slice(*edge)]) for edge in edges[:: -(-len(edges) // _BANDS)]]
    common |= {"band": float(np.mean(found))} if (found := [one for one in bands if one is not None]) else {}
    windows = Windows.of_vectors(vectors, seconds, common)
    labels = speakers_of(windows, scorer, options)
    names = _names(windows, labels, scorer, gallery)
    turns = joined(spans, [names[label] for label in labels.tolist()])
    return [
        Turn(start, end, name, llr, known, number) for number, (start, end, (name, llr, known)) in enumerate(turns, 1)
    ]


def _speech(
    heard: NDArray[np.float32], encoder: Embeds, vad: SileroVad | None, options: WindowOptions
) -> list[tuple[float, float]]:
    duration = len(heard) / encoder.rate
    if vad is None:
        found = speech_of_vad(np.asarray(encoder.voiced(heard), bool), FRAME, duration)
    else:
        at_rate = resampled(heard, encoder.rate, RATE)
        stretches = speech_stretches(vad.probabilities(at_rate), len(at_rate))
        found = [(start / RATE, end / RATE) for start, end in stretches]
    return smooth(found, duration, options)


def _names(windows: Windows, labels: Ints, scorer: Scores, gallery: Entries | None) -> list[tuple[str, float, bool]]:
    """(name, LLR, whether it is of the gallery) of each cluster; one of the gallery where that is more likely than
    anybody else, all of its people together being as likely before as a stranger."""
    number = labels.max() + 1
    found = [("", float("nan"), False)] * number
    if gallery is not None:
        names, means, num_utts, measures = gallery.entries()
        if len(names):
            heard = windows.of(labels)
            llr = llr_matrix(scorer, (means, num_utts, measures), (heard.vectors, heard.measures()))
            for label, best in enumerate(llr.argmax(axis=0)):
                if llr[best, label] > np.log(len(names)):
                    found[label] = names[best], float(llr[best, label]), True
    strangers = iter(range(1, number + 1))
    return [one if one[2] else (f"unknown {next(strangers)}", one[1], False) for one in found]
