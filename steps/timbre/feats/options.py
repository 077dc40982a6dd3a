"""Options of the features with Kaldi's names and defaults (but no dither): what the YAML files of conf/feats/ hold.

Used by the make_*.py steps, which must show their --help fast, and by everything that computes features: no torch here.
"""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from timbre.utils.configure import check
from timbre.utils.errors import DataError

WindowType = Literal["hamming", "hanning", "povey", "rectangular", "sine", "blackman"]


@dataclass(frozen=True, kw_only=True)
class FrameOptions(ABC):
    """How the signal is cut into windowed frames (Kaldi's FrameExtractionOptions, and the options of its binaries).

    Args:
        sample_frequency: of the waveform, in Hz; a file with another is refused unless it may be resampled
        frame_length: in milliseconds
        frame_shift: in milliseconds
        dither: standard deviation of the noise added to the samples (int16 scale), seeded by the utterance's id
        preemphasis_coefficient: of the first difference, 0 for none
        remove_dc_offset: subtract the mean of each frame
        window_type: hamming, hanning, povey (hanning to the power 0.85), rectangular, sine or blackman
        blackman_coeff: constant coefficient of the generalised Blackman window
        round_to_power_of_two: pad the frame with zeros to a power of two before the FFT
        snip_edges: only frames that lie wholly in the signal; otherwise it is reflected at both ends and the number
            of frames depends on the frame shift alone
        allow_downsample: resample files of a higher sample frequency
        allow_upsample: resample files of a lower sample frequency
        channel: of audio with several channels, from 0; -1: only mono is accepted
        subtract_mean: subtract the mean over the utterance from every column
        unit_scale: of samples in [-1, 1), as other toolkits compute them, instead of the range of int16
    """

    sample_frequency: float = 16000.0
    frame_length: float = 25.0
    frame_shift: float = 10.0
    dither: float = 0.0
    preemphasis_coefficient: float = 0.97
    remove_dc_offset: bool = True
    window_type: WindowType = "povey"
    blackman_coeff: float = 0.42
    round_to_power_of_two: bool = True
    snip_edges: bool = True
    allow_downsample: bool = False
    allow_upsample: bool = False
    channel: int = -1
    subtract_mean: bool = False
    unit_scale: bool = False

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        require(self.sample_frequency > 0, f"sample_frequency is {self.sample_frequency}; it must be above 0")
        require(self.shift >= 1, f"frame_shift of {self.frame_shift} ms is less than one sample")
        require(self.length >= 2, f"frame_length of {self.frame_length} ms is less than two samples")
        require(self.fft_length % 2 == 0, f"the frame has {self.length} samples; without padding it must be even")
        require(0 <= self.preemphasis_coefficient <= 1, "preemphasis_coefficient must lie between 0 and 1")
        require(self.dither >= 0, f"dither is {self.dither}; it must not be negative")
        require(self.channel >= -1, f"channel is {self.channel}; it must be -1 or more")

    @property
    def length(self) -> int:
        """Samples in a frame (cut, not rounded, as in Kaldi)."""
        return int(self.sample_frequency * 0.001 * self.frame_length)

    @property
    def shift(self) -> int:
        """Samples from one frame to the next."""
        return int(self.sample_frequency * 0.001 * self.frame_shift)

    @property
    def fft_length(self) -> int:
        """Samples in a frame as the FFT sees it."""
        return 1 << (self.length - 1).bit_length() if self.round_to_power_of_two else self.length

    @property
    @abstractmethod
    def dim(self) -> int:
        """Columns of the features."""

    @property
    @abstractmethod
    def energy_first(self) -> bool:
        """Whether column 0 is the log energy of the frame, which the energy VAD needs."""

    @property
    def lead(self) -> int:
        """Samples of the first frame that lie before the signal."""
        return 0 if self.snip_edges else self.length // 2 - self.shift // 2

    def num_frames(self, num_samples: int) -> int:
        """Frames in a signal of NUM_SAMPLES samples."""
        if self.snip_edges:
            return max(0, 1 + (num_samples - self.length) // self.shift)
        return (num_samples + self.shift // 2) // self.shift

    def is_wrong_rate(self, rate: int) -> bool:
        """Whether audio of RATE Hz is refused."""
        wanted = int(self.sample_frequency)
        return rate != wanted and not (self.allow_downsample if rate > wanted else self.allow_upsample)

    def to_dict(self) -> dict[str, Any]:
        """As YAML that builds the same object again: {class_path: ..., init_args: {...}}."""
        return {"class_path": f"{type(self).__module__}.{type(self).__name__}", "init_args": asdict(self)}


@dataclass(frozen=True, kw_only=True)
class MelOptions(FrameOptions):
    """How mel filters are laid over the spectrum (Kaldi's MelBanksOptions).

    Args:
        num_mel_bins: number of triangular filters
        low_freq: lower edge of the first filter, in Hz
        high_freq: upper edge of the last filter, in Hz; 0 or less: that much below the Nyquist frequency
        vtln_low: where the piecewise linear warp bends, in Hz
        vtln_high: the same at the upper end; negative: below the Nyquist frequency
        vtln_warp: warp factor of vocal tract length normalisation; 1 for none
        use_energy: add (fbank) or put in place of C0 (MFCC) the log energy of the frame
        energy_floor: floor of that energy (int16 scale, not log); 0 for none
        raw_energy: energy before pre-emphasis and window
        htk_compat: energy or C0 in the last column; C0 scaled as in HTK
    """

    num_mel_bins: int = 23
    low_freq: float = 20.0
    high_freq: float = 0.0
    vtln_low: float = 100.0
    vtln_high: float = -500.0
    vtln_warp: float = 1.0
    use_energy: bool = False
    energy_floor: float = 0.0
    raw_energy: bool = True
    htk_compat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.num_mel_bins >= 3, f"num_mel_bins is {self.num_mel_bins}; it must be at least 3")
        nyquist, (low, high) = self.sample_frequency / 2, self.band
        wanted = f"0 <= low_freq < high_freq <= {nyquist:g} Hz is wanted, not low_freq {self.low_freq:g}"
        require(0 <= low < high <= nyquist, f"{wanted}, high_freq {self.high_freq:g}")
        require(self.energy_floor >= 0, f"energy_floor is {self.energy_floor}; it must not be negative")
        require(self.vtln_warp > 0, f"vtln_warp is {self.vtln_warp}; it must be above 0")
        if self.vtln_warp != 1:
            bend_low, bend_high = self.vtln_bends
            text = f"low_freq < vtln_low < vtln_high < high_freq is wanted, not {low:g}, {bend_low:g}, {bend_high:g}, "
            require(low < bend_low < bend_high < high, f"{text}{high:g}")

    @property
    def band(self) -> tuple[float, float]:
        """(low, high) edge of the filters in Hz."""
        high = self.high_freq if self.high_freq > 0 else self.sample_frequency / 2 + self.high_freq
        return self.low_freq, high

    @property
    def vtln_bends(self) -> tuple[float, float]:
        """The two frequencies where the warp bends, in Hz."""
        high = self.vtln_high if self.vtln_high >= 0 else self.sample_frequency / 2 + self.vtln_high
        return self.vtln_low, high

    @property
    def energy_first(self) -> bool:
        return self.use_energy and not self.htk_compat and not self.subtract_mean


@dataclass(frozen=True, kw_only=True)
class FbankOptions(MelOptions):
    """Mel filter banks (Kaldi's compute-fbank-feats).

    Args:
        use_log_fbank: the log of the energies
        use_power: energies of the power spectrum; of the magnitude spectrum otherwise
    """

    use_log_fbank: bool = True
    use_power: bool = True

    kind: ClassVar[str] = "fbank"

    @property
    def dim(self) -> int:
        return self.num_mel_bins + self.use_energy


@dataclass(frozen=True, kw_only=True)
class MfccOptions(MelOptions):
    """Mel-frequency cepstral coefficients (Kaldi's compute-mfcc-feats).

    Args:
        num_ceps: number of coefficients, C0 or the energy included
        cepstral_lifter: constant that scales the higher coefficients up; 0 for none
    """

    use_energy: bool = True
    num_ceps: int = 13
    cepstral_lifter: float = 22.0

    kind: ClassVar[str] = "mfcc"

    def __post_init__(self) -> None:
        super().__post_init__()
        text = f"num_ceps is {self.num_ceps}; it must lie between 1 and num_mel_bins, which is {self.num_mel_bins}"
        require(1 <= self.num_ceps <= self.num_mel_bins, text)

    @property
    def dim(self) -> int:
        return self.num_ceps


@dataclass(frozen=True, kw_only=True)
class SpectrogramOptions(FrameOptions):
    """Log power spectrum with the log energy in place of bin 0 (Kaldi's compute-spectrogram-feats).

    Args:
        energy_floor: floor of that energy (int16 scale, not log); 0 for none
        raw_energy: energy before pre-emphasis and window
    """

    energy_floor: float = 0.0
    raw_energy: bool = True

    kind: ClassVar[str] = "spectrogram"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.energy_floor >= 0, f"energy_floor is {self.energy_floor}; it must not be negative")

    @property
    def dim(self) -> int:
        return self.fft_length // 2 + 1

    @property
    def energy_first(self) -> bool:
        return not self.subtract_mean


@dataclass(frozen=True, kw_only=True)
class MelspecOptions(FrameOptions):
    """Mel spectrograms as torchaudio, librosa and SpeechBrain compute them: frame t is centred on sample t * shift.

    Args:
        preemphasis_coefficient: of the first difference of the whole signal, 0 for none
        window_type: as above, of the period of the frame (symmetric windows are Kaldi's)
        num_mel_bins: number of triangular filters
        low_freq: lower edge of the first filter, in Hz
        high_freq: upper edge of the last filter, in Hz; 0: the Nyquist frequency
        filters: triangles over Hz between the points of HTK's mel scale (htk, torchaudio's default), of Slaney's, with
            area 1 (slaney, librosa's default), or of HTK's with the left width on both sides (even, SpeechBrain's)
        edges: of the signal: mirrored around its first and last sample (reflect), or silence (zeros)
        log: none; natural: log(energy + log_floor); decibel: 10 log10(max(energy, log_floor))
        log_floor: see `log`
        range_db: of decibel: what is more below the loudest value of the utterance is raised to that; 0: no limit
        level: RMS of the utterance in dB of full scale that quieter ones are raised to; None: no gain
        standardize: the utterance is brought to mean 0 and variance 1 before that (ReDimNet)
        trailing_frames: so many frames more, of the silence after the signal; needs edges: zeros
        num_ceps: so many coefficients of the cosine transform of these (librosa's MFCC, of decibels); 0: no transform
    """

    preemphasis_coefficient: float = 0.0
    remove_dc_offset: bool = False
    window_type: WindowType = "hamming"
    snip_edges: bool = False
    unit_scale: bool = True
    num_mel_bins: int = 80
    low_freq: float = 0.0
    high_freq: float = 0.0
    filters: Literal["htk", "slaney", "even"] = "htk"
    edges: Literal["reflect", "zeros"] = "reflect"
    log: Literal["none", "natural", "decibel"] = "natural"
    log_floor: float = 1e-6
    range_db: float = 0.0
    level: float | None = None
    standardize: bool = False
    trailing_frames: int = 0
    num_ceps: int = 0

    kind: ClassVar[str] = "melspec"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(not self.snip_edges, "snip_edges: frames of a mel spectrogram are centred, also the first and the last")
        require(self.num_mel_bins >= 1, f"num_mel_bins is {self.num_mel_bins}; it must be at least 1")
        nyquist, (low, high) = self.sample_frequency / 2, self.band
        wanted = f"0 <= low_freq < high_freq <= {nyquist:g} Hz is wanted, not low_freq {low:g}, high_freq {high:g}"
        require(0 <= low < high <= nyquist, wanted)
        require(self.log_floor > 0, f"log_floor is {self.log_floor}; it must be above 0")
        require(self.range_db >= 0, f"range_db is {self.range_db}; it must not be negative")
        require(self.level is None or self.level <= 0, f"level is {self.level} dB; it must not be above 0, full scale")
        text = f"trailing_frames is {self.trailing_frames}; it must be 0 or more, and needs edges: zeros if it is more"
        require(self.trailing_frames == 0 or (self.trailing_frames > 0 and self.edges == "zeros"), text)
        text = f"num_ceps is {self.num_ceps}; it must lie between 0 and num_mel_bins, which is {self.num_mel_bins}"
        require(0 <= self.num_ceps <= self.num_mel_bins, text)

    @property
    def band(self) -> tuple[float, float]:
        """(low, high) edge of the filters in Hz."""
        return self.low_freq, self.high_freq or self.sample_frequency / 2

    @property
    def dim(self) -> int:
        return self.num_ceps or self.num_mel_bins

    @property
    def energy_first(self) -> bool:
        return False

    @property
    def lead(self) -> int:
        return self.length // 2

    def num_frames(self, num_samples: int) -> int:
        return 1 + num_samples // self.shift + self.trailing_frames if num_samples else 0


def options_from(config: object) -> FrameOptions:
    """The options that `to_dict` made CONFIG of.

    Raises:
        DataError: it is of another form, names no features, or an option that there is not
    """
    kinds: dict[str, type[FrameOptions]] = {
        kind.__name__: kind for kind in (FbankOptions, MfccOptions, SpectrogramOptions, MelspecOptions)
    }
    try:
        if not isinstance(config, dict):
            raise TypeError("must hold class_path and init_args")
        return check(kinds[str(config["class_path"]).rpartition(".")[2]], config["init_args"], set())()
    except (KeyError, TypeError) as error:
        raise DataError(f"not options of features: {error}") from error


def require(condition: bool, message: str) -> None:
    """Refuses a wrong option value.

    Raises:
        DataError: MESSAGE, when CONDITION does not hold
    """
    if not condition:
        raise DataError(message)
