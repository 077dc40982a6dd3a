"""From an audio file to its embedding in one call, as the steps of the recipe make it: for verify.py and the like."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from timbre.audio.audio_files import to_int16
from timbre.audio.effects import Chain, Sources, build_chain, generator
from timbre.audio.reading import AudioReader
from timbre.embedding.extract import ExtractOptions, device_named, extract_embeddings
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import FrameOptions, options_from
from timbre.feats.recorded import voiced_frames
from timbre.feats.speech_quality import high_bins
from timbre.feats.vad import VadOptions
from timbre.nnet.model import load_model
from timbre.runtime.kaldi_resampling import kaldi_resample
from timbre.runtime.normalize import normalize
from timbre.runtime.sound import NotFinite, Samples, Unusable, resample
from timbre.runtime.usable import check_samples, check_speech, measures_of
from timbre.utils.configure import check, read_config
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write


@dataclass(frozen=True)
class AudioOptions:
    """What stage 1 of the recipe does to audio: the YAML files of conf/audio/, without what is random.

    Args:
        rate: sample rate to resample to, in Hz; None: as it is
        effects: of each class_path and init_args
        channel: of audio with several channels, from 0; -1: only mono is accepted
    """

    rate: int | None = None
    effects: tuple[dict[str, Any], ...] = ()
    channel: int = -1

    @classmethod
    def read(cls, path: Path) -> "AudioOptions":
        """Reads a file of conf/audio/."""
        config = {key: value for key, value in read_config(path).items() if key in ("rate", "effects", "channel")}
        return cls(**{**config, "effects": tuple(config.get("effects") or ())})


@dataclass(frozen=True)
class Front:
    """What is between a file and the network: `audio` is None where stage 1 does nothing."""

    feats: FrameOptions
    vad: VadOptions
    audio: AudioOptions | None = None

    def write(self, path: Path) -> None:
        """Writes PATH, YAML."""
        audio = None if self.audio is None else {**asdict(self.audio), "effects": list(self.audio.effects)}
        content = {"feats": self.feats.to_dict(), "vad": asdict(self.vad), "audio": audio}
        with atomic_write(path) as file:
            yaml.safe_dump(content, file, sort_keys=False)

    @classmethod
    def read(cls, path: Path) -> "Front":
        """Reads what `write` wrote.

        Raises:
            DataError: no such file, or it holds something else
        """
        config = read_config(path)
        try:
            vad = check(VadOptions, config["vad"], set())()
            audio = config["audio"]
            if audio is not None:
                audio = AudioOptions(**{**audio, "effects": tuple(audio["effects"])})
            return cls(options_from(config["feats"]), vad, audio)
        except (KeyError, TypeError, DataError) as error:
            raise DataError(f"not the front of a network: {error}", path) from error


@dataclass(frozen=True)
class Embedded:
    """Of a file: vector (D,) float32; seconds of audio and of speech; measures, those of make_quality.py by name;
    warnings, what may spoil it, in words; content: a hash of the samples."""

    path: str
    vector: NDArray[np.float32]
    seconds: float
    speech: float
    measures: Mapping[str, float]
    warnings: tuple[str, ...]
    content: int = 0


class Embedder:
    """Embeddings of audio files: what stages 1, 2 and 6 of the recipe give, to float32 rounding.

    Args:
        model_dir: what steps/train.py wrote
        front: what the recipe does before the network
        device: cpu, cuda or cuda:N
        min_speech: seconds of speech; with less, or none, a recording is unusable
    """

    def __init__(self, model_dir: Path, front: Front, device: str = "cpu", min_speech: float = 1.0) -> None:
        self._network, self._normalization = load_model(model_dir, device_named(device))
        self._front, self._min_speech = front, min_speech
        self._extractor, self._bins = FeatureExtractor(front.feats), high_bins(front.feats)
        audio = front.audio or AudioOptions(channel=front.feats.channel)
        self._audio = audio
        self._chain: Chain | None = build_chain(list(audio.effects), Sources()) if front.audio else None

    def __call__(self, path: str) -> Embedded:
        """The embedding of the file PATH, of any sample rate.

        Raises:
            Unusable: too little speech is in it, it is constant, clipped beyond recognition, or has NaN
            DataError: it cannot be read, or is empty
        """
        try:
            samples, rate = AudioReader(self._audio.channel).read(path)
        except NotFinite as error:
            raise Unusable(error.message, path) from error
        facts, warnings = check_samples(samples, rate, path)
        options = self._front.feats
        heard = self._at_rate(samples, rate)
        feats, energies = self._extractor.with_energy([heard])
        if not len(feats[0]):
            raise Unusable(f"{len(samples)} samples at {rate} Hz are less than one frame", path)
        energy = (feats[0][:, 0] if options.energy_first else energies[0]).numpy()
        voiced = voiced_frames(self._front.vad, energy, lambda: heard, options)
        speech = float(np.count_nonzero(voiced)) * options.frame_shift / 1000
        check_speech(speech, self._min_speech, path)
        normalized = normalize(feats[0].numpy(), voiced, self._normalization)
        result = extract_embeddings(self._network, [(path, normalized)], ExtractOptions())
        if path in result.failures:
            raise DataError(result.failures[path], path)
        vector = result.vectors[path]
        shift = options.frame_shift / 1000
        measures = measures_of(feats[0].numpy(), energy, voiced, shift, vector, self._bins)
        return Embedded(path, vector, facts.seconds, speech, measures, warnings, facts.content)

    def _at_rate(self, samples: Samples, rate: int) -> Samples:
        """SAMPLES after stage 1, at the rate of the features."""
        audio, options = self._audio, self._front.feats
        if self._chain is not None:
            if audio.rate not in (None, rate):
                samples, rate = resample(samples, rate, audio.rate or rate), audio.rate or rate
            changed = self._chain(samples, rate, generator(0, 0, ""), "")
            samples = to_int16(changed)[0] * np.float32(1 / 32768)  # the recipe goes through 16-bit files
        wanted = int(options.sample_frequency)
        if rate == wanted:
            return samples
        if options.is_wrong_rate(rate):
            return resample(samples, rate, wanted)
        return kaldi_resample(samples, rate, wanted)
