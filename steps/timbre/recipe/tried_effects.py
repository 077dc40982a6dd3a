"""Effects of a run, tried on a second of noise before its first stage: what fails fails at once. Called by plan.py."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from timbre.audio.augmented_copies import read_copies, read_drawn
from timbre.audio.effects import Sources, build_chain
from timbre.audio.effects.base import Rng
from timbre.audio.effects.sources import Pool
from timbre.egs.crop_effects import Augmentation
from timbre.recipe.settings import Settings
from timbre.recipe.systems import egs_options
from timbre.runtime.sound import Samples
from timbre.utils.configure import read_config
from timbre.utils.errors import DataError
from timbre.utils.missing import count_allowed

_RATE = 16000  # of features that do not say
_HIGHEST = 1_000_000


def try_effects(settings: Settings, feats_conf: str) -> None:
    """Tries every effect that SETTINGS name, at the sample rate of the audio after --audio-conf, or of the features.

    Raises:
        DataError: a file of effects cannot be used; it says which, and why
    """
    rate = _rate_of(Path(feats_conf), "sample_frequency", _RATE)
    given = {"noise": settings.noise_dir, "music": settings.music_dir}
    for option, path in _files(settings):
        try:
            if option == "augment-conf":
                chains = [copy.effects for copy in read_copies(path).values()]
            elif option == "backend-augment":
                chains = [copy.effects for copy in read_drawn(path).values()]
            elif option == "train-augment":
                chains = [Augmentation.read(path, {}).effects]
            else:
                chains = [_effects(path)]
                given |= {"noise": settings.test_noise_dir or settings.noise_dir}
            sources = StandIns(() if option == "audio-conf" else _kinds(given))
            if option == "audio-conf":
                rate = _rate_of(path, "rate", rate)
            for effects in chains:
                build_chain(effects, sources).try_at(rate)
        except DataError as error:
            message = error.message if error.path in (None, path, str(path)) else str(error)
            raise DataError(f"--{option} {path}: {message}") from error
    _check_backend_copies(settings)
    if settings.train_augment:
        for option, file, kind in _egs(settings):
            if kind != "waveform":
                text = f"such as conf/egs/waveform_cpu.yaml, and --{option} {file} is not"
                raise DataError(f"--train-augment is for egs of waveforms, {text}")


def _check_backend_copies(settings: Settings) -> None:
    """Copies that cannot be drawn, or that the training set has already, under the same ids."""
    if not settings.backend_augment:
        return
    option, number = f"--backend-augment {settings.backend_augment}", settings.backend_copies
    names = read_drawn(Path(settings.backend_augment)).keys()
    if number.endswith("%") and count_allowed(number, 100) > 100 * len(names):
        raise DataError(f"{option}: --backend-copies {number} takes more than the {len(names)} copies that it names")
    if settings.augment_conf and (both := sorted(names & read_copies(Path(settings.augment_conf)).keys())):
        raise DataError(f"{option}: the training set has copies '{both[0]}' already (--augment-conf)")


def _egs(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """(option, file, kind) of the egs that are trained on."""
    if not settings.init_model:
        yield "egs-conf", settings.egs_conf, egs_options(settings.egs_conf).kind
    if settings.fine_tune_conf and (own := read_config(Path(settings.fine_tune_conf)).get("egs")):
        yield "fine-tune-conf", settings.fine_tune_conf, own.get("kind", "feats") if isinstance(own, dict) else ""


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    for option in ("audio-conf", "augment-conf", "train-augment", "backend-augment"):
        if path := getattr(settings, option.replace("-", "_")):
            yield option, Path(path)
    yield from settings.named_conditions


def _effects(path: Path) -> list[dict[str, Any]]:
    found = read_config(path).get("effects") or []
    if not isinstance(found, list):
        raise DataError("effects must be a list of class_path and init_args", path)
    return found


def _rate_of(path: Path, name: str, default: int) -> int:
    rate = read_config(path).get(name) or default
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 100 <= rate <= _HIGHEST:
        raise DataError(f"{name} is {rate!r}; 100 to {_HIGHEST:,} Hz is wanted", path)
    return int(rate)


def _kinds(given: dict[str, str]) -> Sequence[str]:
    """What there is to draw from: rooms are simulated, and babble is made of the training set, where none are given."""
    return ["speech", "rir", *(kind for kind, folder in given.items() if folder)]


class StandIns(Sources):
    """Sources of KINDS that are not read, which give noise, and impulse responses of two samples."""

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__({kind: (Path(kind),) for kind in kinds})
        self._pools = {kind: _Noise() for kind in kinds}


class _Noise(Pool):
    def __init__(self) -> None:
        super().__init__(())

    def piece(self, rng: Rng, num_samples: int, rate: int, loop: bool = True) -> Samples:
        return rng.standard_normal(num_samples, dtype=np.float32)

    def voices(self, rng: Rng, count: int, num_samples: int, rate: int, speaker: str) -> list[Samples]:
        return [self.piece(rng, num_samples, rate) for _ in range(count)]

    def whole(self, rng: Rng, rate: int, longest: float) -> tuple[Samples, str]:
        return np.array([1, 0.1], np.float32), "room"
