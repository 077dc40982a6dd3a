#!/usr/bin/env python3
"""Effects on waveforms, and offline augmentation, on one core; effects beside audiomentations' own in the same run.

Prints one JSON line. `offline_rate` is times real time for writing the reverberated, the noise and the babble copy of
60 files of 5 s, reading and writing included. `effects`: times real time of an effect on 5 s of audio in memory, and
`ratio`, audiomentations' (of loudness: pyloudnorm's) median wall time over ours; the two run in turn. Noise and impulse
responses lie in the same ten files for both, noise a minute in each: audiomentations reads whole files and keeps two.
"""

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import audiomentations as am
import numpy as np
import pyloudnorm
import soundfile

from timbre.audio import effects as ours
from timbre.audio.augmented_copies import augment, read_copies
from timbre.audio.effects import Effect, Sources, generator
from timbre.datadir.datadir import DataDir

ROOT = Path(__file__).resolve().parent.parent.parent
RATE, SECONDS, FILES, ROUNDS = 16000, 5, 60, 31
GOAL = 1.0  # of the median ratio: no slower than the library
Wave = np.ndarray


def speech_like(seconds: float, seed: int) -> Wave:
    """Noise that comes and goes as syllables do, float32."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (0.1 * noise * np.sin(np.arange(len(noise)) * 2 * np.pi * 2 / RATE) ** 2).astype(np.float32)


def response(seed: int) -> Wave:
    """Half a second of a decaying tail behind a direct path."""
    tail = np.random.default_rng(seed).standard_normal(RATE // 2) * np.exp(-np.arange(RATE // 2) / 1500)
    return np.concatenate([[0.9], 0.1 * tail]).astype(np.float32)


def pyloudnorm_to(target: float) -> Callable[[Wave, int], Wave]:
    """What audiomentations would call: its own needs a package of another name, with the same code."""

    def normalize(wave: Wave, rate: int) -> Wave:
        return pyloudnorm.normalize.loudness(wave, pyloudnorm.Meter(rate).integrated_loudness(wave), target)

    return normalize


def pairs(noise: Path, rir: Path) -> dict[str, tuple[Effect, Callable[[Wave, int], Wave]]]:
    """Name -> our effect, and audiomentations' of the same kind."""
    sources = Sources({"noise": [noise], "rir": [rir]})
    return {
        "noise": (
            ours.AddNoise(sources, snr_low=0, snr_high=15),
            am.AddBackgroundNoise(str(noise), min_snr_db=0, max_snr_db=15, p=1),
        ),
        "reverberation": (ours.Reverberate(sources), am.ApplyImpulseResponse(str(rir), p=1)),
        "gaussian_noise": (ours.GaussianNoise(), am.AddGaussianNoise(p=1)),
        "band_pass": (
            ours.BandPass(300, 3400, order=4),
            am.BandPassFilter(min_center_freq=1000, max_center_freq=1010, min_rolloff=24, max_rolloff=24, p=1),
        ),
        "gain": (ours.Gain(), am.Gain(p=1)),
        "loudness": (ours.Loudness(), pyloudnorm_to(-23)),
        "trim": (ours.TrimSilence(), am.Trim(top_db=60, p=1)),
        "speed": (ours.Speed([1.1]), am.Resample(min_sample_rate=14545, max_sample_rate=14545, p=1)),
        "time_stretch": (ours.Audiomentations("TimeStretch"), am.TimeStretch(p=1)),
        "pitch_shift": (ours.Audiomentations("PitchShift"), am.PitchShift(p=1)),
    }


def alone() -> dict[str, Effect]:
    """Effects that audiomentations lacks, or has through a further package."""
    telephone = [{"class_path": "BandPass"}, {"class_path": "MuLaw"}]
    return {
        "nlms": ours.Nlms(),
        "gsm": ours.Gsm(),
        "mp3_32": ours.Mp3([32]),
        "opus_12": ours.Opus([12]),
        "telephone": ours.AtRate(Sources(), 8000, telephone),
    }


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def offline_rate(folder: Path, noise: Path, rir: Path) -> float:
    path = folder / "data"
    path.mkdir()
    utts = [f"s{number % 10}-{number:02d}" for number in range(FILES)]
    for number, utt in enumerate(utts):
        soundfile.write(path / f"{utt}.wav", speech_like(SECONDS, number), RATE)
    data = DataDir(path, {utt: str(path / f"{utt}.wav") for utt in utts}, {utt: utt.split("-")[0] for utt in utts})
    data.write(path)
    copies = read_copies(ROOT / "conf" / "augment" / "offline_no_music.yaml")
    sources = Sources({"noise": [noise], "rir": [rir], "speech": [path]})
    walls = [timed(lambda n=n: augment(data, folder / f"out{n}", copies, sources, nj=1)) for n in range(3)]
    return len(copies) * FILES * SECONDS / min(walls)


def main() -> None:
    warnings.simplefilter("ignore")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    wave = speech_like(SECONDS, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise, rir = folder / "noise", folder / "rir"
        for kind in (noise, rir):
            kind.mkdir()
        for number in range(10):
            soundfile.write(noise / f"{number}.wav", speech_like(60, 100 + number), RATE)
            soundfile.write(rir / f"{number}.wav", response(number), RATE)
        walls: dict[str, tuple[float, float | None]] = {}
        for label, (effect, peer) in pairs(noise, rir).items():
            rng = generator(0, 0, label)
            times = [
                (timed(lambda: effect(wave, RATE, rng)), timed(lambda: peer(wave, RATE)))  # noqa: B023
                for _ in range(ROUNDS)
            ]
            walls[label] = median(one for one, _ in times), median(other for _, other in times)
        for label, effect in alone().items():
            rng = generator(0, 0, label)
            walls[label] = median(timed(lambda: effect(wave, RATE, rng)) for _ in range(ROUNDS)), None  # noqa: B023
        rate = offline_rate(folder, noise, rir)
    ratios = {label: round(other / one, 2) for label, (one, other) in walls.items() if other is not None}
    report = {
        "bench": "augment",
        "offline_rate": round(rate),
        "effects": {label: round(SECONDS / one) for label, (one, _) in walls.items()},
        "ratio": ratios,
        "median_ratio": median(ratios.values()),
        "goal": GOAL,
        "ok": median(ratios.values()) >= GOAL,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
