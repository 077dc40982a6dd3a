"""Features as ONNX: from samples to what a network is given, as feats/extractor.py, vad.py and normalize.py compute it.

Called by whole_graph.py and packing; the numbers are those of the recipe to float32 rounding, without dither.
"""

import math

import numpy as np

from timbre.export.onnx_graph import DOUBLE, FLOAT, INT64, Graph
from timbre.feats.extractor import INT16_SCALE, STANDARD_FLOOR
from timbre.feats.heads import EPSILON
from timbre.feats.mel import cepstral_transform, frame_window, mel_filters, melspec_filters
from timbre.feats.options import (
    FbankOptions,
    FrameOptions,
    MelOptions,
    MelspecOptions,
    MfccOptions,
    SpectrogramOptions,
)
from timbre.feats.vad import VadOptions
from timbre.runtime.normalize import NormalizeOptions


def frame_feats(g: Graph, signal: str, plain: str, options: FrameOptions) -> tuple[str, str]:
    """Features (T, C) before what is done to whole utterances, and raw log energies (T,), of frames of a signal.

    Args:
        g: the graph that they are computed in
        signal: (S,) float32 samples, a frame of which begins at every frame shift
        plain: the same at int16 scale, what the energies are of, where features are of samples in [-1, 1)
        options: of the features
    """
    frames = _frames(g, signal, options)
    if options.remove_dc_offset:
        frames = g("Sub", frames, g("ReduceMean", frames, [1], keepdims=1))
    raw = _log_energy(g, _frames(g, plain, options) if options.unit_scale else frames)
    windowed = frames
    if not isinstance(options, MelspecOptions) and options.preemphasis_coefficient:
        factor = float(options.preemphasis_coefficient)
        first = g("Mul", g.part(frames, 0, 1, 1), 1 - factor)
        later = g("Mul", g.part(frames, 0, -1, 1), factor)
        windowed = g("Concat", first, g("Sub", g.part(frames, 1, options.length, 1), later), axis=1)
    windowed = g("Mul", windowed, frame_window(options).astype(np.float32))
    bins = options.fft_length // 2 + 1
    phase = 2 * np.pi * np.outer(np.arange(options.length), np.arange(bins)) / options.fft_length
    spectrum = g("MatMul", windowed, np.hstack([np.cos(phase), np.sin(phase)]).astype(np.float32))
    squares = g("Mul", spectrum, spectrum)
    power = g("Add", g.part(squares, 0, bins, 1), g.part(squares, bins, 2 * bins, 1))
    return _head(g, power, raw, windowed, options), raw


def _frames(g: Graph, signal: str, options: FrameOptions) -> str:
    """(T, length): rows of pieces of a shift each, beside one another."""
    length, shift = options.length, options.shift
    pieces = -(-length // shift)
    number = g("Div", g("Sub", g.size(signal), [length - shift]), [shift])
    rows = g("Add", number, [pieces - 1])
    lacking = g("Max", g("Sub", g("Mul", rows, [shift]), g.size(signal)), [0])
    padded = g("Pad", signal, g("Concat", [0], lacking, axis=0))
    laid = g("Reshape", g.part(padded, 0, g("Mul", rows, [shift])), [-1, shift])
    parts = [g.part(laid, piece, g("Add", number, [piece])) for piece in range(pieces)]
    whole = parts[0] if pieces == 1 else g("Concat", *parts, axis=1)
    return g.part(whole, 0, length, 1) if pieces * shift > length else whole


def _log_energy(g: Graph, frames: str) -> str:
    return g("Log", g("Max", g("ReduceSumSquare", frames, [1], keepdims=0), EPSILON))


def _head(g: Graph, power: str, raw: str, windowed: str, options: FrameOptions) -> str:
    """What heads.py makes of the power spectrum."""
    match options:
        case FbankOptions():
            mel = g("MatMul", power if options.use_power else g("Sqrt", power), _float(mel_filters(options)))
            feats = g("Log", g("Max", mel, EPSILON)) if options.use_log_fbank else mel
            if options.use_energy:
                energy = _energy_column(g, raw, windowed, options)
                feats = g("Concat", *((feats, energy) if options.htk_compat else (energy, feats)), axis=1)
        case MfccOptions():
            mel = g("Log", g("Max", g("MatMul", power, _float(mel_filters(options))), EPSILON))
            feats = g("MatMul", mel, _float(cepstral_transform(options)))
            first = g.part(feats, 0, 1, 1)
            if options.use_energy:
                first = _energy_column(g, raw, windowed, options)
            elif options.htk_compat:
                first = g("Mul", first, math.sqrt(2))
            rest = g.part(feats, 1, options.num_ceps, 1)
            feats = g("Concat", *((rest, first) if options.htk_compat else (first, rest)), axis=1)
        case SpectrogramOptions():
            rest = g.part(g("Log", g("Max", power, EPSILON)), 1, options.dim, 1)
            feats = g("Concat", _energy_column(g, raw, windowed, options), rest, axis=1)
        case MelspecOptions():
            feats = g("MatMul", power, _float(melspec_filters(options)))
            if options.log == "natural":
                feats = g("Log", g("Add", feats, float(options.log_floor)))
            elif options.log == "decibel":
                feats = g("Mul", g("Log", g("Max", feats, float(options.log_floor))), 10 / math.log(10))
        case _:
            raise TypeError(f"{type(options).__name__} describes no feature")
    return feats


def _energy_column(g: Graph, raw: str, windowed: str, options: MelOptions | SpectrogramOptions) -> str:
    energy = raw if options.raw_energy else _log_energy(g, windowed)
    if options.energy_floor > 0:
        energy = g("Max", energy, math.log(options.energy_floor))
    return g("Unsqueeze", energy, [1])


def _float(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


def lay_samples(g: Graph, samples: str, options: FrameOptions) -> tuple[str, str, str]:
    """(signal, plain, number): of SAMPLES (N,) in [-1, 1) what `frame_feats` takes, and how many frames they have.

    A signal without a frame is laid as one of a single frame.
    """
    size = g.size(samples)
    count = _count(g, size, options)
    scaled = g("Mul", samples, INT16_SCALE)
    plain = _laid(g, scaled, size, count, options)
    if not options.unit_scale:
        return plain, plain, count
    return _laid(g, _prepared(g, samples, options), size, count, options), plain, count


def _count(g: Graph, size: str, options: FrameOptions) -> str:
    """`num_frames` of the options, for SIZE (1,) samples."""
    shift = options.shift
    if isinstance(options, MelspecOptions):
        frames = g("Add", g("Div", size, [shift]), [1 + options.trailing_frames])
        return g("Mul", frames, g("Min", size, [1]))
    if options.snip_edges:
        return g("Div", g("Max", g("Sub", size, [options.length - shift]), [0]), [shift])
    return g("Div", g("Add", size, [shift // 2]), [shift])


def _laid(g: Graph, samples: str, size: str, count: str, options: FrameOptions) -> str:
    """SAMPLES from the first sample of the first frame to the last one of the last: mirrored, or silence, outside."""
    wanted = g("Add", g("Mul", g("Sub", g("Max", count, [1]), [1]), [options.shift]), [options.length])
    padded = g("Pad", samples, [0, 1])  # a zero that is there even if nothing else is
    place = g("Sub", g.range(wanted), [options.lead])
    silent = size  # the place of that zero
    if isinstance(options, MelspecOptions) and options.edges == "reflect":
        round_trip = g("Max", g("Sub", g("Mul", size, [2]), [2]), [1])
        place = g("Mod", place, round_trip)
        place = g("Min", place, g("Abs", g("Sub", g("Sub", g("Mul", size, [2]), [2]), place)))
    elif not isinstance(options, MelspecOptions) and not options.snip_edges:
        twice = g("Max", g("Mul", size, [2]), [1])
        place = g("Mod", place, twice)
        place = g("Min", place, g("Sub", g("Sub", twice, [1]), place))
    outside = g("Or", g("Less", place, [0]), g("GreaterOrEqual", place, size))
    return g("Gather", padded, g("Where", outside, silent, place))


def _prepared(g: Graph, samples: str, options: FrameOptions) -> str:
    """What is done to a whole signal first: `_prepared` of the extractor."""
    if not isinstance(options, MelspecOptions):
        return samples
    if options.standardize:
        centred = g("Sub", samples, g("ReduceMean", samples, [0], keepdims=1))
        deviation = g("Sqrt", g("ReduceMean", g("Mul", centred, centred), [0], keepdims=1))
        samples = g("Div", centred, g("Add", deviation, STANDARD_FLOOR))
    if options.level is not None:
        exact = g.cast(samples, DOUBLE)
        level = g("Sqrt", g("ReduceMean", g("Mul", exact, exact), [0], keepdims=1))
        gain = g("Div", np.float64(10 ** (options.level / 20)), g("Max", level, np.float64(1e-10)))
        samples = g("Mul", samples, g.cast(g("Max", gain, np.float64(1)), FLOAT))
    if options.preemphasis_coefficient:
        both = g("Concat", g.part(samples, 1, 2), g.part(samples, 0, -1), axis=0)
        before = g.part(g("Concat", both, samples, axis=0), 0, g.size(samples))  # of one sample: itself
        samples = g("Sub", samples, g("Mul", before, float(options.preemphasis_coefficient)))
    return samples


def finish_feats(g: Graph, feats: str, options: FrameOptions) -> str:
    """What is done last to the features (T, C) of a whole utterance: `_finished` of the extractor."""
    if isinstance(options, MelspecOptions):
        if options.range_db and options.log == "decibel":
            feats = g("Max", feats, g("Sub", g("ReduceMax", feats, [0, 1], keepdims=1), float(options.range_db)))
        if options.num_ceps:
            feats = g("MatMul", feats, _float(cepstral_transform(options)))
    return g("Sub", feats, g("ReduceMean", feats, [0], keepdims=1)) if options.subtract_mean else feats


def energy_voiced(g: Graph, energy: str, count: str, options: VadOptions) -> str:
    """Which frames are speech (T,) bool, by their log ENERGY (T,); none where COUNT, of frames, is 0."""
    mean = g.cast(g("ReduceMean", g.cast(energy, DOUBLE), [0], keepdims=1), FLOAT)
    threshold = g("Add", g("Mul", mean, float(options.vad_energy_mean_scale)), float(options.vad_energy_threshold))
    above = g.cast(g("Greater", energy, threshold), INT64)
    sums = g("CumSum", g("Pad", above, [1, 0]), g.constant(np.int64(0)))
    size = g.size(energy)
    frame = g.range(size)
    start = g("Max", g("Sub", frame, [options.vad_frames_context]), [0])
    end = g("Min", g("Add", frame, [options.vad_frames_context + 1]), size)
    found = g.cast(g("Sub", g("Gather", sums, end), g("Gather", sums, start)), FLOAT)
    wanted = g("Mul", g.cast(g("Sub", end, start), FLOAT), float(options.vad_proportion_threshold))
    return g("And", g("GreaterOrEqual", found, wanted), g("Greater", count, [0]))


def normalized(g: Graph, feats: str, voiced: str, options: NormalizeOptions) -> str:
    """FEATS (T, dim) as a network is given them, as `normalize` makes them; VOICED (T,) bool."""
    if not options.vad:
        return _centered(g, feats, options)
    if options.voiced_first:
        return _centered(g, g("Compress", feats, voiced, axis=0), options)
    return g("Compress", _centered(g, feats, options), voiced, axis=0)


def _centered(g: Graph, feats: str, options: NormalizeOptions) -> str:
    if options.cmn == "none":
        return feats
    exact = g.cast(feats, DOUBLE)
    if options.cmn == "utterance":
        mean = g("ReduceMean", exact, [0], keepdims=1)
        out = g("Sub", exact, mean)
        if options.norm_vars:
            variance = _variance(g, g("ReduceMean", g.cast(g("Mul", feats, feats), DOUBLE), [0], keepdims=1), mean)
            out = g("Div", out, g("Sqrt", g("Max", variance, np.float64(1e-20))))
        return g.cast(out, FLOAT)
    size = g.size(feats)
    frame, half = g.range(size), options.window // 2
    start = g("Sub", frame, [half])
    end = g("Add", g("Add", start, [options.window]), g("Max", g("Neg", start), [0]))
    start = g("Max", start, [0])
    start = g("Max", g("Sub", start, g("Max", g("Sub", end, size), [0])), [0])
    end = g("Min", end, size)
    count = g.cast(g("Unsqueeze", g("Sub", end, start), [1]), DOUBLE)
    mean = g("Div", _between(g, exact, start, end), count)
    out = g("Sub", exact, mean)
    if options.norm_vars:
        variance = _variance(g, g("Div", _between(g, g("Mul", exact, exact), start, end), count), mean)
        scaled = g("Div", out, g("Sqrt", g("Max", variance, np.float64(1e-10))))
        out = g("Where", g("Greater", count, np.float64(1)), scaled, np.float64(0))
    return g.cast(out, FLOAT)


def _variance(g: Graph, squares: str, mean: str) -> str:
    return g("Sub", squares, g("Mul", mean, mean))


def _between(g: Graph, values: str, start: str, end: str) -> str:
    """Sums of the rows of VALUES (T, dim) from START to before END, (T,) each."""
    sums = g("CumSum", g("Pad", values, [1, 0, 0, 0], np.float64(0)), g.constant(np.int64(0)))
    return g("Sub", g("Gather", sums, end), g("Gather", sums, start))
