"""Who speaks when in a recording: windows of its speech, clustered by log-likelihood ratio, named by a gallery.

Called by Voice.diarize, commands/diarize_file.py and serve/. Stage 10 of the recipe does the same with files.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.people.people_heard import Entries, Floats, Measures, Scores, Vectors, llr_matrix, measures_of
from timbre.people.speech_stream import FRAME, as_float, resampled, snr_of
from timbre.people.stream import Embeds
from timbre.runtime.ahc import AhcOptions, cluster
from timbre.runtime.silero import RATE, SileroVad, speech_stretches
from timbre.runtime.spans import WindowOptions, cut, joined, smooth, speech_of_vad
from timbre.runtime.turns import Turn
from timbre.utils.errors import DataError

_BATCH = 64  # windows that are embedded at a time
_BANDS = 40  # windows whose band is measured, evenly over a recording
_PART = 3000  # windows that are clustered at a time: half an hour of speech, 36 MB of scores

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class DiarizeOptions:
    """How a recording is diarized.

    Args:
        speakers: how many there are, where that is known
        threshold: log-likelihood ratio, averaged over windows, above which two clusters are one
        min_windows: speakers with fewer windows are taken for one of the others
        window: seconds of speech that an embedding is of
        period: seconds from one to the next
        max_gap: pauses up to this length, in seconds, do not end a turn
    """

    speakers: int | None = None
    threshold: float = 1.0
    min_windows: int = 3
    window: float = 1.5
    period: float = 0.75
    max_gap: float = 0.3

    def __post_init__(self) -> None:
        if self.speakers is not None and self.speakers < 1:
            raise DataError(f"{self.speakers} speakers; it must be at least 1")


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
    windows = _Windows(vectors, seconds, common)
    labels = _labels(windows, scorer, options)
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


@dataclass(frozen=True)
class _Windows:
    """Embeddings (N, D), seconds of speech of each (N,), and measures of their recording: noise and band in dB."""

    vectors: Vectors
    seconds: Floats
    common: Measures

    def of(self, labels: Ints) -> "_Windows":
        """The means of those with each label, from 0, and their seconds together."""
        chosen = [labels == label for label in range(labels.max() + 1)]
        means = np.stack([self.vectors[rows].mean(axis=0) for rows in chosen])
        return _Windows(means, np.array([self.seconds[rows].sum() for rows in chosen]), self.common)

    def part(self, rows: slice) -> "_Windows":
        return _Windows(self.vectors[rows], self.seconds[rows], self.common)

    def measures(self) -> list[dict[str, float]]:
        return measures_of(self.vectors, self.seconds, self.common)


def _labels(windows: _Windows, scorer: Scores, options: DiarizeOptions) -> Ints:
    """Cluster (N,) of each window, from 0 in the order in which they speak; of many windows in parts, then of these."""
    if len(windows.vectors) <= _PART:
        whole = _cluster(windows, scorer, options)
    else:
        labels, number = list[Ints](), 0
        for start in range(0, len(windows.vectors), _PART):
            part = windows.part(slice(start, start + _PART))
            labels.append(number + _cluster(part, scorer, replace(options, speakers=None, min_windows=1)))
            number = int(labels[-1].max()) + 1
        of_windows = np.concatenate(labels)
        whole = _cluster(windows.of(of_windows), scorer, options, np.bincount(of_windows))[of_windows]
    _, places, inverse = np.unique(whole, return_index=True, return_inverse=True)
    order: Ints = np.argsort(np.argsort(places))[inverse].astype(np.int64)
    return order


def _cluster(windows: _Windows, scorer: Scores, options: DiarizeOptions, counts: Ints | None = None) -> Ints:
    """Labels (N,) from 0 on; COUNTS (N,): windows that each of WINDOWS stands for."""
    vectors = windows.vectors
    scores = np.asarray(scorer.score(vectors, np.ones(len(vectors), np.int64), vectors), np.float64)
    scale, offset = _line(scorer, windows)
    llr = (scale * (scores + scores.T) / 2 + offset).astype(np.float32)
    if options.speakers is not None:
        return cluster(-llr, AhcOptions(), min(options.speakers, len(llr))) - 1
    labels = cluster(-llr, AhcOptions(options.threshold)) - 1
    sizes = np.bincount(labels, counts)
    large = np.flatnonzero(sizes >= options.min_windows)
    lost = np.flatnonzero(sizes[labels] < options.min_windows)
    if len(large) and len(lost):
        means = np.stack([llr[:, labels == label].mean(axis=1) for label in large])
        labels[lost] = large[means[:, lost].argmax(axis=0)]
    numbers: Ints = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return numbers


def _line(scorer: Scores, windows: _Windows) -> tuple[float, float]:
    """Scale and offset of the line from scores to log-likelihood ratios, for windows such as these."""
    listed = windows.measures()
    middle = {name: float(np.median([one[name] for one in listed])) for name in listed[0]}
    pair = [middle, middle]
    low, high = np.asarray(scorer.llr(np.array([0.0, 1.0]), pair, pair), np.float64)
    return float(high - low), float(low)


def _names(windows: _Windows, labels: Ints, scorer: Scores, gallery: Entries | None) -> list[tuple[str, float, bool]]:
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
