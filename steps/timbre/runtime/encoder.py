"""From sound to embeddings by a pack, as the recipe's Embedder gives them to float32 rounding, without torch.

Called by voice.py, gallery.py, stream.py and diarize.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.runtime.band_pass import BandPass
from timbre.runtime.energy_vad import energy_frames
from timbre.runtime.framing import Framing, in_stretches
from timbre.runtime.kaldi_resampling import kaldi_resample
from timbre.runtime.normalize import Normalized, NormalizeOptions
from timbre.runtime.pack_file import PackError, PackFile
from timbre.runtime.silero import RATE, SileroVad, StretchOptions, speech_stretches
from timbre.runtime.sound import Samples, Sound, Unusable, resample
from timbre.runtime.speech_measures import Bins, high_band
from timbre.runtime.usable import check_samples, check_speech, measures_of
from timbre.utils.errors import DataError

Vectors = NDArray[np.float32]

INT16_SCALE = 32768.0
_BLOCK = 3000  # frames whose features are computed at a time
_BATCH_FRAMES = 6000  # of windows that are embedded at a time
_FRAME = 0.01  # seconds: what `voiced` tells of


@dataclass(frozen=True)
class Encoding:
    """What a recording is to a pack.

    vector: (D,) float32; seconds: of audio; speech: seconds of it; measures: logdur, snr, magnitude and, where features
    reach so high, band; warnings: what may spoil it, in words; content: a hash of the samples; name: for messages.
    """

    vector: NDArray[np.float32]
    seconds: float
    speech: float
    measures: dict[str, float]
    warnings: tuple[str, ...]
    content: int
    name: str


class Encoder:
    """The network of a pack, with all that comes before it.

    Args:
        pack: where it is from
        threads: of onnxruntime
        variant: fp32, or another that the pack has: int8, int8_weights, fp16

    Attributes:
        rate: of the samples that `windows` and `voiced` take, in Hz
        channel: of sound with several that is listened to; -1: it must be mono
        dim: of embeddings
        min_speech: seconds; recordings with less are unusable

    Raises:
        PackError: the pack has no such variant, or what is in it does not fit together
    """

    def __init__(self, pack: PackFile, threads: int = 1, variant: str = "fp32") -> None:
        settings = pack.settings
        if not isinstance(files := settings["models"].get(variant), dict):
            known = ", ".join(sorted(settings["models"]))
            raise PackError(f"it has no variant '{variant}', only {known}", pack.path)
        try:
            front = settings["front"]
            self._framing = Framing.read(front["framing"])
            self._normalize = NormalizeOptions(**front["normalize"])
            self._vad = {name: value for name, value in front["vad"].items() if name != "method"}
            self._min_frames, self._max_frames = int(front["min_frames"]), int(front["max_frames"])
            self._energy_first = bool(front["energy_first"])
            self.channel = int(front["channel"])
            self._kaldi_down, self._kaldi_up = bool(front["kaldi_down"]), bool(front["kaldi_up"])
            self._audio = None if front["audio"] is None else {"rate": front["audio"]["rate"]}
            self._bands = [BandPass(**band) for band in (front["audio"] or {}).get("bands", [])]
            self._transform = pack.arrays[front["transform"]] if front["transform"] else None
            bins = front["bins"]
            self._bins = (
                None if bins is None else Bins(slice(*bins["voice"]), slice(*bins["high"]), bool(bins["power"]))
            )
            self.rate, self.dim = int(settings["rate"]), int(settings["dim"])
            self.min_speech = float(settings.get("min_speech", 0.0))
            self._front = _session(pack.bytes(files["front"]), threads)
            self._network = _session(pack.bytes(files["network"]), threads)
            _check_ends(self._front, {"signal", "plain"}, ["feats", "energy"])
            _check_ends(self._network, {"feats"}, ["embedding"])
            if self._network.get_outputs()[0].shape[-1] != self.dim:
                raise ValueError(f"a network whose embeddings have not {self.dim} dimensions")
            self._silero = None
            if settings["vad"] == "silero":
                self._silero = SileroVad(pack.bytes(front["silero"]))
                self._stretches = StretchOptions(**self._vad)
            if min(self.rate, self.dim, self._min_frames, self._max_frames) < 1:
                raise ValueError("sizes below 1")
        except PackError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, DataError) as error:
            raise PackError(f"what is in it does not fit together: {error!r}", pack.path) from error
        self._path = pack.path

    def __call__(self, sound: Sound, min_speech: float | None = None) -> Encoding:
        """What SOUND, of any rate, is.

        Raises:
            Unusable: it has less than MIN_SPEECH seconds of speech (None: what the pack asks for), is constant or
                clipped beyond recognition
            DataError: it has no samples
        """
        name = sound.name
        if not len(sound.samples):
            raise DataError("no samples in it", name)
        facts, warnings = check_samples(sound.samples, sound.rate, name)
        feats, energy, voiced = self._heard(sound)
        shift = self._framing.shift / self.rate
        speech = float(np.count_nonzero(voiced)) * shift
        check_speech(speech, self.min_speech if min_speech is None else min_speech, name)
        vector = self._embed(Normalized(feats, voiced, self._normalize))
        if not np.isfinite(vector).all():
            raise DataError("its embedding is not finite: NaN or huge features?", name)
        measures = measures_of(feats, energy, voiced, shift, vector, self._bins)
        return Encoding(vector, facts.seconds, speech, measures, warnings, facts.content, name)

    def rows(self, sound: Sound) -> NDArray[np.float32]:
        """What the network is given of SOUND, of any rate: (T, C) normalised features of its speech.

        Raises:
            Unusable: there is none
        """
        feats, _, voiced = self._heard(sound)
        check_speech(float(np.count_nonzero(voiced)), 0.0, sound.name)
        return self._repeated(Normalized(feats, voiced, self._normalize).rows())

    def _heard(self, sound: Sound) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Features (T, C) of SOUND, not normalised, log energies (T,), and which frames are speech (T,)."""
        heard = self.at_rate(sound)
        feats, energy = self._features(heard)
        if not len(feats):
            raise Unusable(f"{len(sound.samples)} samples at {sound.rate} Hz are less than one frame", sound.name)
        return feats, energy, self._decide(heard, energy)

    def windows(self, samples: Samples, spans: Sequence[tuple[int, int]]) -> Vectors:
        """Embeddings (len(SPANS), dim) of parts [start, end) of SAMPLES (N,) at `rate`, all of each taken as speech.

        Raises:
            DataError: a part is shorter than a frame, or not in the samples
        """
        vectors = np.empty((len(spans), self.dim), np.float32)
        groups: dict[int, list[tuple[int, NDArray[np.float32]]]] = {}
        for row, (start, end) in enumerate(spans):
            if not 0 <= start < end <= len(samples):
                raise DataError(f"samples {start} to {end} of {len(samples)}")
            feats, _ = self._features(self._in_band(samples[start:end], self.rate))
            if not len(feats):
                raise DataError(f"{end - start} samples are less than one frame")
            rows = Normalized(feats, np.ones(len(feats), bool), self._normalize).rows()
            if len(rows) > self._max_frames:
                vectors[row] = self._embed(Normalized(feats, np.ones(len(feats), bool), self._normalize))
                continue
            rows = self._repeated(rows)
            groups.setdefault(len(rows), []).append((row, rows))
        for length, members in groups.items():
            size = max(1, _BATCH_FRAMES // length)
            for begin in range(0, len(members), size):
                part = members[begin : begin + size]
                vectors[[row for row, _ in part]] = self._run(np.stack([rows for _, rows in part]))
        return vectors

    def band(self, samples: Samples) -> float | None:
        """The measure `band` of SAMPLES (N,) at `rate`, all of which is taken as speech; None where there is none."""
        feats, _ = self._features(self._in_band(samples, self.rate))
        if self._bins is None or not len(feats):
            return None
        return high_band(feats, np.ones(len(feats), bool), self._bins)

    def voiced(self, samples: Samples) -> NDArray[np.bool_]:
        """Which frames of 10 ms of SAMPLES (N,) at `rate` are speech, by the pack's VAD."""
        number = int(len(samples) / self.rate / _FRAME)
        samples = self._in_band(samples, self.rate)
        decided = self._decide(samples, self._features(samples)[1])
        shift = self._framing.shift / self.rate
        if not len(decided) or not number:
            return np.zeros(number, bool)
        place = ((np.arange(number) + 0.5) * _FRAME / shift).astype(np.int64)
        found: NDArray[np.bool_] = decided[np.minimum(place, len(decided) - 1)]
        return found

    def at_rate(self, sound: Sound) -> Samples:
        """The samples of SOUND at `rate`, resampled as the recipe does it."""
        samples, rate = sound.samples, sound.rate
        if self._audio is not None:  # stage 1 of the recipe, which goes through 16-bit files
            if (wanted := self._audio["rate"] or rate) != rate:
                samples, rate = resample(samples, rate, wanted), wanted
            samples = self._in_band(samples, rate)
            peak = float(np.abs(samples).max()) * INT16_SCALE
            scaled = samples * np.float32(INT16_SCALE)
            if peak >= 32768.5:
                scaled *= np.float32(32767 / peak)
            samples = np.clip(np.rint(scaled), -32768, 32767).astype(np.float32) * np.float32(1 / INT16_SCALE)
        if rate == self.rate:
            return samples
        by_kaldi = self._kaldi_down if rate > self.rate else self._kaldi_up
        return kaldi_resample(samples, rate, self.rate) if by_kaldi else resample(samples, rate, self.rate)

    def _in_band(self, samples: Samples, rate: int) -> Samples:
        """SAMPLES (N,) at RATE through the band-passes of stage 1."""
        for band in self._bands:
            samples = band(samples, rate)
        return samples

    def _features(self, samples: Samples) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features (T, C), not normalised, and log energies (T,) of SAMPLES (N,), some frames at a time."""
        framing = self._framing
        number = framing.num_frames(len(samples))
        prepared = framing.prepared(samples) if framing.unit_scale else samples
        feats: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        energy = np.empty(number, np.float32)
        for first in range(0, number, _BLOCK):
            last = min(first + _BLOCK, number)
            plain = framing.laid(samples, first, last, INT16_SCALE)
            inputs = {"signal": framing.laid(prepared, first, last), "plain": plain}
            block, energy[first:last] = self._front.run(
                ["feats", "energy"], inputs if framing.unit_scale else {"signal": plain}
            )
            if not len(feats):
                feats = np.empty((number, block.shape[1]), np.float32)
            feats[first:last] = block
        feats = framing.finished(feats, self._transform)
        return feats, feats[:, 0].copy() if self._energy_first and number else energy

    def _decide(self, samples: Samples, energy: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which frames (T,) are speech, of samples with their log ENERGY (T,)."""
        if self._silero is None:
            return energy_frames(energy, **self._vad)
        heard = samples if self.rate == RATE else resample(samples, self.rate, RATE)
        found = speech_stretches(self._silero.probabilities(heard), len(heard), self._stretches)
        framing = self._framing
        return in_stretches(found, len(energy), (framing.shift, framing.lead, framing.length), RATE / self.rate)

    def _embed(self, rows: Normalized) -> NDArray[np.float32]:
        """The embedding (dim,) of features: the mean of those of windows of equal length, if they are many."""
        longest = max(self._max_frames, 2 * self._min_frames)
        number = -(-rows.number // longest)
        each, more = divmod(rows.number, number)
        total = np.zeros(self.dim)
        for window in range(number):
            start = window * each + min(window, more)
            end = start + each + (window < more)
            total += (end - start) * self._run(self._repeated(rows.rows(start, end))[None])[0].astype(np.float64)
        return (total / rows.number).astype(np.float32)

    def _repeated(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """ROWS or, if they are fewer than the network takes, ROWS over and over."""
        return rows if len(rows) >= self._min_frames else np.resize(rows, (self._min_frames, rows.shape[1]))

    def _run(self, feats: NDArray[np.float32]) -> NDArray[np.float32]:
        embeddings: NDArray[np.float32] = self._network.run(["embedding"], {"feats": feats})[0]
        return embeddings


def _check_ends(session: Any, inputs: set[str], outputs: list[str]) -> None:
    """Refuses a graph that takes or gives something else."""
    taken, given = {one.name for one in session.get_inputs()}, [one.name for one in session.get_outputs()]
    if not taken <= inputs or given != outputs:
        raise ValueError(f"a graph from {', '.join(sorted(taken))} to {', '.join(given)}")


def _session(content: bytes, threads: int) -> Any:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # no warnings to stderr
    options.enable_mem_pattern = False  # lengths vary
    try:
        return InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception a kind of damage, none of them public
        raise ValueError(f"a network that cannot be run: {str(error).splitlines()[0]}") from error
