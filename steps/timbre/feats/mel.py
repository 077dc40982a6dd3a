"""The constant vectors and matrices of the features: window, mel filters, cosine transform. Called by extractor.py."""

import numpy as np
from numpy.typing import NDArray

from timbre.feats.options import FrameOptions, MelOptions, MelspecOptions, MfccOptions
from timbre.utils.errors import DataError

Array = NDArray[np.float64]


def frame_window(options: FrameOptions) -> Array:
    """(length,) the window function (Kaldi's FeatureWindowFunction; of a mel spectrogram, the periodic one)."""
    period = options.length if isinstance(options, MelspecOptions) else options.length - 1
    phase = 2 * np.pi * np.arange(options.length) / period
    match options.window_type:
        case "rectangular":
            return np.ones(options.length)
        case "hanning":
            return 0.5 - 0.5 * np.cos(phase)
        case "povey":  # like hamming, but it goes to zero at the edges
            return np.asarray((0.5 - 0.5 * np.cos(phase)) ** 0.85)
        case "hamming":
            return 0.54 - 0.46 * np.cos(phase)
        case "sine":
            return np.asarray(np.sin(phase / 2))
        case "blackman":
            coefficient = options.blackman_coeff
            return coefficient - 0.5 * np.cos(phase) + (0.5 - coefficient) * np.cos(2 * phase)


def mel_scale(frequency: Array) -> Array:
    """Mel of a frequency in Hz, as in HTK and Kaldi."""
    return np.asarray(1127 * np.log1p(frequency / 700))


def inverse_mel_scale(mel: Array) -> Array:
    """Frequency in Hz of a mel value."""
    return np.asarray(700 * np.expm1(mel / 1127))


def mel_filters(options: MelOptions) -> Array:
    """(fft_length // 2 + 1, num_mel_bins): triangular filters of height one, a column each (Kaldi's MelBanks).

    Raises:
        DataError: a filter is narrower than the resolution of the FFT, so that it would be empty
    """
    low, high = mel_scale(np.array(options.band))
    edges = np.linspace(low, high, options.num_mel_bins + 2)
    if options.vtln_warp != 1:
        edges = mel_scale(_vtln(inverse_mel_scale(edges), options))
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    bins = options.fft_length // 2  # the bin at the Nyquist frequency has no weight, as in Kaldi
    mel = mel_scale(np.arange(bins) * options.sample_frequency / options.fft_length)[:, None]
    filters = np.minimum((mel - left) / (center - left), (right - mel) / (right - center))
    filters = np.pad(np.maximum(filters, 0), [(0, 1), (0, 0)])
    empty = np.flatnonzero(~filters.any(axis=0))
    if len(empty):
        problem = f"mel filter {empty[0]} lies between two bins of the {options.fft_length}-point FFT"
        raise DataError(f"num_mel_bins {options.num_mel_bins} is too many for this band: {problem}")
    return filters


def melspec_filters(options: MelspecOptions) -> Array:
    """(fft_length // 2 + 1, num_mel_bins): triangular filters over Hz, a column each; one may be all zeros."""
    is_slaney = options.filters == "slaney"
    low, high = (_slaney if is_slaney else mel_scale)(np.array(options.band))
    edges = (_inverse_slaney if is_slaney else inverse_mel_scale)(np.linspace(low, high, options.num_mel_bins + 2))
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    frequency = np.arange(options.fft_length // 2 + 1)[:, None] * options.sample_frequency / options.fft_length
    falling = center - left if options.filters == "even" else right - center
    filters = np.minimum((frequency - left) / (center - left), (center + falling - frequency) / falling)
    filters = np.maximum(filters, 0)
    return filters * (2 / (right - left)) if is_slaney else filters


# Slaney's mel scale (Auditory Toolbox, 1998): linear below 1000 Hz, where it is 15, 27 steps a factor of 6.4 above
def _slaney(frequency: Array) -> Array:
    log_part = 15 + 27 * np.log(np.maximum(frequency, 1000) / 1000) / np.log(6.4)
    return np.where(frequency < 1000, frequency * 3 / 200, log_part)


def _inverse_slaney(mel: Array) -> Array:
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def _vtln(frequency: Array, options: MelOptions) -> Array:
    """The piecewise linear warp of vocal tract length normalisation (Kaldi's VtlnWarpFreq)."""
    low, high = options.band
    bend_low, bend_high = options.vtln_bends
    scale = 1 / options.vtln_warp
    below, above = bend_low * max(1, options.vtln_warp), bend_high * min(1, options.vtln_warp)
    # three straight lines that meet at the bends; the ends of the band stay where they are
    return np.asarray(np.interp(frequency, [low, below, above, high], [low, scale * below, scale * above, high]))


def cepstral_transform(options: MfccOptions | MelspecOptions) -> Array:
    """(num_mel_bins, num_ceps): orthonormal type-II cosine transform, with the lifter of MFCC multiplied in."""
    bins = options.num_mel_bins
    order = np.arange(options.num_ceps)
    transform = np.sqrt(2 / bins) * np.cos(np.pi / bins * (np.arange(bins)[:, None] + 0.5) * order)
    transform[:, 0] = np.sqrt(1 / bins)
    if isinstance(options, MfccOptions) and options.cepstral_lifter != 0:
        transform *= 1 + 0.5 * options.cepstral_lifter * np.sin(np.pi * order / options.cepstral_lifter)
    return np.asarray(transform)
