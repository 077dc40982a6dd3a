"""From the power spectrum of frames to fbank, MFCC, log or mel spectrum: where they differ. Used by extractor.py."""

import math
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from timbre.feats.mel import cepstral_transform, mel_filters, melspec_filters
from timbre.feats.options import (
    FbankOptions,
    FrameOptions,
    MelOptions,
    MelspecOptions,
    MfccOptions,
    SpectrogramOptions,
)

EPSILON = float(np.finfo(np.float32).eps)  # the floor of energies before the log, Kaldi's too
# Matrix products take rows and columns in multiples of this: the odd ones at the end of a matrix go through other code,
# which may round differently, and a frame must not depend on where it stands. Mel filters are grouped by it, too.
MULTIPLE = 16


class Head(Protocol):
    """The last part of a feature."""

    def __call__(self, power: Tensor, raw_energy: Tensor, signal: Tensor, feats: Tensor) -> None:
        """Fills FEATS.

        Args:
            power: (n, num_fft_bins) power spectrum; may be overwritten
            raw_energy: (n,) log energy before pre-emphasis and window
            signal: (n, length) samples after them
            feats: (n, dim), the result
        """


def make_head(options: FrameOptions, device: torch.device) -> Head:
    """The last part of the feature that OPTIONS describe, its matrices on DEVICE."""
    match options:
        case FbankOptions():
            return Fbank(options, device)
        case MfccOptions():
            return Mfcc(options, device)
        case SpectrogramOptions():
            return Spectrogram(options)
        case MelspecOptions():
            return Melspec(options, device)
        case _:
            raise TypeError(f"{type(options).__name__} describes no feature")


class Fbank:
    """Log energies of mel filters."""

    def __init__(self, options: FbankOptions, device: torch.device) -> None:
        self._options = options
        self._filters = MelFilters(mel_filters(options), device)

    def __call__(self, power: Tensor, raw_energy: Tensor, signal: Tensor, feats: Tensor) -> None:
        options = self._options
        mel = self._filters(power if options.use_power else power.sqrt_())
        first = 1 if options.use_energy and not options.htk_compat else 0
        columns = feats[:, first : first + options.num_mel_bins]
        if options.use_log_fbank:
            torch.log(mel.clamp_(min=EPSILON), out=columns)
        else:
            columns.copy_(mel)
        if options.use_energy:
            feats[:, -1 if options.htk_compat else 0] = _energy(options, raw_energy, signal)


class Mfcc:
    """Cosine transform of the log energies of mel filters."""

    def __init__(self, options: MfccOptions, device: torch.device) -> None:
        self._options = options
        self._filters = MelFilters(mel_filters(options), device)
        self._transform = cosine_matrix(options, device)

    def __call__(self, power: Tensor, raw_energy: Tensor, signal: Tensor, feats: Tensor) -> None:
        options = self._options
        mel = self._filters(power).clamp_(min=EPSILON).log_()
        feats.copy_(torch.mm(mel, self._transform)[:, : options.num_ceps])
        if options.use_energy:
            feats[:, 0] = _energy(options, raw_energy, signal)
        elif options.htk_compat:
            feats[:, 0] *= math.sqrt(2)
        if options.htk_compat:
            feats.copy_(feats.roll(-1, dims=1))


class Spectrogram:
    """Log power spectrum with the log energy in place of bin 0."""

    def __init__(self, options: SpectrogramOptions) -> None:
        self._options = options

    def __call__(self, power: Tensor, raw_energy: Tensor, signal: Tensor, feats: Tensor) -> None:
        torch.clamp(power, min=EPSILON, out=feats).log_()
        feats[:, 0] = _energy(self._options, raw_energy, signal)


class Melspec:
    """Energies of mel filters, or the log of them."""

    def __init__(self, options: MelspecOptions, device: torch.device) -> None:
        self._options = options
        self._filters = MelFilters(melspec_filters(options), device)

    def __call__(self, power: Tensor, raw_energy: Tensor, signal: Tensor, feats: Tensor) -> None:
        options, mel = self._options, self._filters(power)
        if options.log == "natural":
            torch.log(mel + options.log_floor, out=feats)
        elif options.log == "decibel":
            torch.log10(mel.clamp_(min=options.log_floor), out=feats).mul_(10)
        else:
            feats.copy_(mel)


class MelFilters:
    """The product with the mel filters, without most of its zeros."""

    def __init__(self, filters: NDArray[np.float64], device: torch.device) -> None:
        self._num_bins = filters.shape[1]
        self._groups: list[tuple[slice, Tensor]] = []
        width = MULTIPLE if device.type == "cpu" else self._num_bins
        for start in range(0, self._num_bins, width):
            group = filters[:, start : start + width]
            used = [*np.flatnonzero(group.any(axis=1)), 0]
            rows = slice(int(used[0]), int(max(used)) + 1)
            self._groups.append((rows, _matrix(group[rows], device)))

    def __call__(self, power: Tensor) -> Tensor:
        """(n, num_mel_bins) energies of the (n, num_fft_bins) spectrum POWER."""
        width = self._groups[0][1].shape[1]
        mel = power.new_empty(len(power), width * len(self._groups))
        for index, (rows, weights) in enumerate(self._groups):
            torch.mm(power[:, rows], weights, out=mel[:, index * width : (index + 1) * width])
        return mel[:, : self._num_bins]


def _matrix(values: NDArray[np.float64], device: torch.device) -> Tensor:
    """VALUES on DEVICE, with columns of zeros up to the next MULTIPLE."""
    padded = np.pad(values, [(0, 0), (0, -values.shape[1] % MULTIPLE)])
    return torch.tensor(padded, dtype=torch.float32, device=device)


def cosine_matrix(options: MfccOptions | MelspecOptions, device: torch.device) -> Tensor:
    """The cosine transform of OPTIONS on DEVICE, with columns of zeros up to the next MULTIPLE."""
    return _matrix(cepstral_transform(options), device)


def log_energy(signal: Tensor) -> Tensor:
    """(n,) log energy of the frames in SIGNAL (n, length)."""
    norm: Tensor = torch.linalg.vector_norm(signal, dim=1)
    return norm.square_().clamp_(min=EPSILON).log_()


def _energy(options: MelOptions | SpectrogramOptions, raw_energy: Tensor, signal: Tensor) -> Tensor:
    energy = raw_energy if options.raw_energy else log_energy(signal)
    return energy.clamp(min=math.log(options.energy_floor)) if options.energy_floor > 0 else energy
