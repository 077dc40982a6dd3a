"""People who hum, each in a way of their own, and what tells them apart without a trained network: for tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

RATE = 16000
Samples = NDArray[np.float32]
BANDS = 40


def hum(person: int, seconds: float, seed: int = 0, rate: int = RATE) -> Samples:
    """Syllables of PERSON: harmonics of a wandering pitch through resonances of her own."""
    own = np.random.default_rng(1000 + person)
    pitch, resonances = own.uniform(90, 240), own.uniform([300, 900, 2000], [800, 1900, 3500])
    rng = np.random.default_rng([person, seed])
    time = np.arange(round(seconds * rate)) / rate
    wander = 1 + 0.05 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * time + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch * wander) / rate
    wave = np.zeros(len(time))
    for harmonic in range(1, 30):
        gain = sum(1 / (1 + ((harmonic * pitch - one) / 120) ** 2) for one in resonances)
        wave += gain * np.sin(harmonic * phase)
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * time + rng.uniform(0, 6))
    wave = wave * syllables + 0.001 * rng.standard_normal(len(time))
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def conversation(
    order: Sequence[tuple[int, float]], pause: float = 0.4, rate: int = RATE
) -> tuple[Samples, list[tuple[float, float, int]]]:
    """Turns (person, seconds) one after another, with noise and PAUSE seconds between; and who speaks when."""
    parts, turns, at = [], [], 0.5
    rng = np.random.default_rng(7)
    silence = np.zeros(round(at * rate), np.float32)
    for number, (person, seconds) in enumerate(order):
        parts += [silence if number == 0 else np.zeros(round(pause * rate), np.float32)]
        parts += [hum(person, seconds, number, rate)]
        turns.append((at, at + seconds, person))
        at += seconds + pause
    wave = np.concatenate([*parts, silence])
    return (wave + 3e-4 * rng.standard_normal(len(wave))).astype(np.float32), turns


@dataclass
class HumEncoder:
    """Embeddings are levels in bands of frequency; speech is what is loud."""

    rate: int = RATE
    calls: int = field(default=0)

    def voiced(self, samples: Samples) -> NDArray[np.bool_]:
        frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
        return np.sqrt(np.mean(frames.astype(np.float64) ** 2, axis=1)) > 0.01

    def band(self, samples: Samples) -> float | None:
        return -3.0

    def windows(self, samples: Samples, spans: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        self.calls += 1
        return np.stack([self._vector(samples[start:end]) for start, end in spans])

    @staticmethod
    def _vector(samples: Samples) -> NDArray[np.float32]:
        spectrum = np.abs(np.fft.rfft(np.pad(samples, (0, max(0, 4096 - len(samples)))))) ** 2
        frequency = np.linspace(0, RATE / 2, len(spectrum))
        bands = np.array_split(spectrum[frequency < 5000], BANDS)
        levels = np.log(np.array([band.mean() for band in bands]) / spectrum.sum() + 1e-8)
        return (levels - levels.mean()).astype(np.float32)


class HumScorer:
    """Cosines, and a line that makes them log-likelihood ratios."""

    centre = np.zeros(BANDS)

    def score(
        self, enroll: NDArray[np.float32], num_utts: NDArray[np.int64], test: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        first, second = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (enroll, test))
        return first @ second.T

    def llr(
        self, scores: NDArray[np.float64], enroll: Sequence[Mapping[str, float]], test: Sequence[Mapping[str, float]]
    ) -> NDArray[np.float64]:
        assert len(scores) == len(enroll) == len(test)
        assert all({"logdur", "magnitude", "snr", "band"} <= one.keys() for one in (*enroll, *test))
        return 400 * (np.asarray(scores, np.float64) - 0.98)

    def supported(self, llr: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(llr, -8, 8)


@dataclass
class HumGallery:
    """People who are known by name."""

    people: Mapping[str, int]

    def entries(
        self,
    ) -> tuple[list[str], NDArray[np.float32], NDArray[np.int64], list[Mapping[str, float]]]:
        encoder = HumEncoder()
        vectors = [encoder.windows(hum(person, 4.0, 99), [(0, 4 * RATE)])[0] for person in self.people.values()]
        one: Mapping[str, float] = {"logdur": 1.4, "snr": 30.0, "band": -3.0, "magnitude": 0.0}
        return list(self.people), np.stack(vectors), np.ones(len(vectors), np.int64), [one] * len(vectors)
