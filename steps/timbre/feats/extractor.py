"""Fbank, MFCC and spectrograms of many signals in one pass, as Kaldi or other toolkits compute them, on CPU or GPU.

Called by dump_feats.py for whole data directories, and by anything that computes features on the fly.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from timbre.feats.heads import MULTIPLE, cosine_matrix, log_energy, make_head
from timbre.feats.mel import frame_window
from timbre.feats.options import FrameOptions, MelspecOptions
from timbre.utils.errors import DataError

STANDARD_FLOOR = 1e-6  # of the deviation that signals are divided by
INT16_SCALE = 32768.0  # audio is read into [-1, 1); Kaldi's features are of samples in the range of int16
BLOCK = {"cpu": 512, "cuda": 65536}  # frames: on a CPU what its cache holds, on a GPU what fills it


class FeatureExtractor:
    """Features of waveforms, equal to Kaldi's (mel spectrograms: to those of their toolkits) within float32 rounding.

    All signals of a call are laid one after the other into one buffer, each beginning at a whole frame shift, so that
    every frame of every signal is a row of one strided view. The rows are computed in blocks; a row does not depend on
    the other rows of its block, so a signal gets the same features in any company.

    Args:
        options: what to compute
        device: where to compute it; the results stay there

    Raises:
        DataError: options that do not fit together, or no such device
    """

    def __init__(self, options: FrameOptions, device: str | torch.device = "cpu") -> None:
        self.options = options
        self.device = torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise DataError("no GPU that torch can use; compute on the cpu")
        self._head = make_head(options, self.device)
        self._columns = options.dim  # of the head
        if isinstance(options, MelspecOptions):
            self._columns = options.num_mel_bins
            self._transform = cosine_matrix(options, self.device) if options.num_ceps else None
        self._window = torch.tensor(frame_window(options), dtype=torch.float32, device=self.device)
        self._block = BLOCK.get(self.device.type, BLOCK["cpu"])
        self._frames = self._empty(self._block, options.length)
        self._padded = torch.zeros(self._block, options.fft_length, device=self.device)
        self._spectrum = self._empty(self._block, options.fft_length // 2 + 1, dtype=torch.complex64)
        self._power = self._empty(self._block, options.fft_length // 2 + 1)

    def __call__(self, waves: Sequence[NDArray[np.float32] | Tensor], seeds: Sequence[int] = ()) -> list[Tensor]:
        """Features of each signal: (num_frames, dim) float32; no rows where a signal is shorter than a frame.

        Args:
            waves: (num_samples,) each, in [-1, 1)
            seeds: one a signal for the dither; 0, 1, 2, ... when there are none
        """
        return self.with_energy(waves, seeds)[0]

    @torch.no_grad()
    def with_energy(
        self, waves: Sequence[NDArray[np.float32] | Tensor], seeds: Sequence[int] = ()
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Features as above, and the raw log energy of each frame at int16 scale: (num_frames,) each."""
        options = self.options
        tensors = [torch.as_tensor(wave, device=self.device) for wave in waves]
        counts = [options.num_frames(len(wave)) for wave in tensors]
        # the rows a signal takes: its frames, and those that begin in it but would reach into the next signal
        rows = [-(-(count * options.shift + options.length) // options.shift) if count else 0 for count in counts]
        starts = [0, *accumulate(rows)]
        total = -(-starts[-1] // MULTIPLE) * MULTIPLE
        signal = torch.zeros(total * options.shift + options.length, device=self.device)
        plain = torch.zeros_like(signal) if options.unit_scale else signal  # what raw energies are of
        for index, (wave, count) in enumerate(zip(tensors, counts, strict=True)):
            if count:
                start = starts[index] * options.shift
                if options.dither:
                    generator = torch.Generator().manual_seed(seeds[index] if seeds else index)
                    noise = torch.randn(len(wave), generator=generator).to(self.device)
                    wave = wave + noise * (options.dither / INT16_SCALE)
                if options.unit_scale:
                    self._lay(self._prepared(wave), signal[start:], count, 1.0)
                self._lay(wave, plain[start:], count, INT16_SCALE)
        feats, energies = self._all_frames(signal, total)
        if options.unit_scale:
            frames = plain.as_strided((total, options.length), (options.shift, 1))
            energies = torch.cat([log_energy(frames[row : row + self._block]) for row in range(0, total, self._block)])
        parts = [slice(start, start + count) for start, count in zip(starts, counts, strict=False)]
        return [self._finished(feats[part]) for part in parts], [energies[part] for part in parts]

    @torch.no_grad()
    def batch(self, waves: Tensor) -> Tensor:
        """Features of signals of one length, the same as they get one by one: (B, num_frames, dim) float32.

        Args:
            waves: (B, num_samples) int16 on this device; without dither
        """
        options, (number, size) = self.options, waves.shape
        count = options.num_frames(size)
        if not count:
            return self._empty(number, 0, options.dim)
        rows = -(-(count * options.shift + options.length) // options.shift)
        total = -(-number * rows // MULTIPLE) * MULTIPLE
        signal = torch.zeros(total * options.shift + options.length, device=self.device)
        places = signal[: number * rows * options.shift].view(number, -1)
        first, inside, mirrored = self._span(size, count)
        samples = self._prepared(waves / INT16_SCALE) if options.unit_scale else waves
        places[:, first + inside.start : first + inside.stop] = samples[:, inside]
        for start, stop in mirrored:
            places[:, first + start : first + stop] = samples[:, self._mirror(start, stop, size)]
        feats = self._all_frames(signal, total)[0][: number * rows].view(number, rows, -1)[:, :count]
        return self._finished(feats)

    def _prepared(self, wave: Tensor) -> Tensor:
        """WAVE (..., num_samples) in [-1, 1) with what is done to a whole signal: scale and pre-emphasis."""
        options = self.options
        if not isinstance(options, MelspecOptions):
            return wave
        if options.standardize:
            deviation = wave.std(-1, correction=0, keepdim=True)
            wave = (wave - wave.mean(-1, keepdim=True)) / (deviation + STANDARD_FLOOR)
        if options.level is not None:
            level = wave.double().square().mean(-1, keepdim=True).sqrt()
            wave = wave * (10 ** (options.level / 20) / level.clamp(min=1e-10)).clamp(min=1).float()
        if options.preemphasis_coefficient:
            before = torch.cat((wave[..., 1:2] if wave.shape[-1] > 1 else wave, wave[..., :-1]), -1)
            wave = wave - options.preemphasis_coefficient * before
        return wave

    def _finished(self, feats: Tensor) -> Tensor:
        """FEATS (..., num_frames, dim) of whole utterances with what is done to them last."""
        options = self.options
        if not feats.numel():
            return feats
        if isinstance(options, MelspecOptions):
            if options.range_db and options.log == "decibel":
                feats = torch.maximum(feats, feats.amax((-2, -1), keepdim=True) - options.range_db)
            if self._transform is not None:
                feats = self._cepstra(feats, self._transform)
        return feats - feats.mean(-2, keepdim=True) if options.subtract_mean else feats

    def _cepstra(self, feats: Tensor, transform: Tensor) -> Tensor:
        """The cosine TRANSFORM of FEATS (..., num_frames, num_mel_bins), each utterance by itself to the bit."""
        number = feats.shape[-2]
        padded = torch.nn.functional.pad(feats, (0, 0, 0, -number % MULTIPLE))
        rows = torch.mm(padded.reshape(-1, feats.shape[-1]), transform)[:, : self.options.dim]
        return rows.reshape(*padded.shape[:-1], -1)[..., :number, :]

    def _all_frames(self, signal: Tensor, total: int) -> tuple[Tensor, Tensor]:
        """Features and raw log energies of the TOTAL frames that begin at every frame shift of SIGNAL."""
        options = self.options
        frames = signal.as_strided((total, options.length), (options.shift, 1))
        feats, energies = self._empty(total, self._columns), self._empty(total)
        for start in range(0, total, self._block):
            block = slice(start, min(start + self._block, total))
            self._compute(frames[block], feats[block], energies[block])
        return feats, energies

    def _span(self, size: int, count: int) -> tuple[int, slice, list[tuple[int, int]]]:
        """Where sample 0 of a signal is in its first frame, which samples COUNT frames have, and where they stick out.

        Without snipping they stick out at both ends.
        """
        options = self.options
        first = options.lead
        end = (count - 1) * options.shift + options.length - first
        out = [(start, stop) for start, stop in ((-first, 0), (size, end)) if start < stop]
        silent = isinstance(options, MelspecOptions) and options.edges == "zeros"
        return first, slice(max(-first, 0), min(size, end)), [] if silent else out

    def _mirror(self, start: int, stop: int, size: int) -> Tensor:
        """Indices of the samples that stand at places START to STOP, outside of a signal mirrored at its ends.

        Kaldi has the samples at the ends twice, the others once.
        """
        index = torch.arange(start, stop, device=self.device)
        if isinstance(self.options, MelspecOptions):
            index = index.remainder(max(1, 2 * size - 2))
            return torch.minimum(index, (2 * size - 2 - index).abs())
        index = index.remainder(2 * size)
        return torch.minimum(index, 2 * size - 1 - index)

    def _lay(self, wave: Tensor, place: Tensor, count: int, scale: float) -> None:
        """Writes a signal where its frames are cut from, times SCALE, mirrored at its ends where they stick out."""
        first, inside, mirrored = self._span(len(wave), count)
        torch.mul(wave[inside], scale, out=place[first + inside.start : first + inside.stop])
        for start, stop in mirrored:
            index = self._mirror(start, stop, len(wave))
            torch.mul(wave[index], scale, out=place[first + start : first + stop])

    def _compute(self, raw: Tensor, feats: Tensor, energy: Tensor) -> None:
        """One block: RAW (n, length) samples -> FEATS (n, dim), raw log ENERGY (n,)."""
        options, n = self.options, len(raw)
        frames, padded, power = self._frames[:n], self._padded[:n], self._power[:n]
        if options.remove_dc_offset:
            torch.sub(raw, raw.mean(1, keepdim=True), out=frames)
        else:
            frames.copy_(raw)
        energy.copy_(log_energy(frames))
        signal = padded[:, : options.length]
        emphasis = 0.0 if isinstance(options, MelspecOptions) else options.preemphasis_coefficient
        torch.sub(frames[:, 1:], frames[:, :-1], alpha=emphasis, out=signal[:, 1:])
        torch.mul(frames[:, 0], 1 - emphasis, out=signal[:, 0])
        signal.mul_(self._window)
        spectrum = torch.view_as_real(torch.fft.rfft(padded, out=self._spectrum[:n]))
        spectrum.square_()
        torch.add(spectrum[..., 0], spectrum[..., 1], out=power)
        self._head(power, energy, signal, feats)

    def _empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self.device)
