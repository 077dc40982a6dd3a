"""A corpus in the layout of HW4 (NTU ML 2023) whose features are made: tests/run and bench/bench_hw4.py use it.

An utterance is a row of segments of a few frames, each of one of eight sounds that all speakers share. Who speaks shows
in three ways, of which each needs more of a network: a shift of each sound, different for each sound, which the mean
over frames of the utterance hides (the shifts of a speaker add up to nothing); whether a ridge climbs or falls within
the sound, which only the order of frames tells; and a share of the segments is noise, which pooling has to pass over.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float64]
SOUNDS = 8


@dataclass(frozen=True)
class Made:
    """Sizes of the corpus.

    Args:
        speakers, utts, tests: speakers, utterances of each, utterances of the test set
        frames: shortest and longest utterance
        shift: size of the shifts of sounds, in deviations of the noise of a frame
        ridge: size of the ridge
        junk: share of segments that are noise
        seed: of everything
    """

    speakers: int = 40
    utts: int = 60
    tests: int = 100
    frames: tuple[int, int] = (100, 400)
    shift: float = 0.6
    ridge: float = 1.5
    junk: float = 0.4
    seed: int = 8590


def make_hw4(folder: Path, made: Made) -> dict[str, str]:
    """Writes metadata.json, mapping.json, testdata.json and uttr-*.pt; the speaker of each file of the test set."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(made.seed)
    sounds = rng.normal(0, 1.5, (SOUNDS, 40))
    shifts = rng.normal(0, made.shift, (made.speakers, SOUNDS, 40))
    shifts -= shifts.mean(1, keepdims=True)
    climbs = rng.choice([-1, 1], (made.speakers, SOUNDS))
    names = sorted(f"id{number:05d}" for number in rng.choice(20_000, made.speakers, replace=False))

    def write(speaker: int) -> tuple[str, int]:
        name = f"uttr-{rng.bytes(16).hex()}.pt"
        feats = _utterance(sounds, shifts[speaker], climbs[speaker], made, rng)
        torch.save(torch.from_numpy(feats.astype(np.float32)), folder / name)
        return name, len(feats)

    listed = {}
    for speaker, name in enumerate(names):
        entries = [write(speaker) for _ in range(made.utts)]
        listed[name] = [{"feature_path": path, "mel_len": length} for path, length in entries]
    truth = {}
    for _ in range(made.tests):
        speaker = int(rng.integers(made.speakers))
        truth[write(speaker)[0]] = names[speaker]
    test = [{"feature_path": path, "mel_len": 0} for path in truth]
    ids = dict(zip(names, range(made.speakers), strict=True))
    mapping = {"speaker2id": ids, "id2speaker": {str(number): name for name, number in ids.items()}}
    for file, content in (
        ("metadata.json", {"n_mels": 40, "speakers": listed}),
        ("mapping.json", mapping),
        ("testdata.json", {"n_mels": 40, "utterances": test}),
    ):
        (folder / file).write_text(json.dumps(content))
    return truth


def _utterance(sounds: Floats, shifts: Floats, climbs: Floats, made: Made, rng: np.random.Generator) -> Floats:
    """(T, 40), about as log mel energies lie."""
    total, parts, bins = int(rng.integers(*made.frames, endpoint=True)), [], np.arange(40)
    channel = rng.normal(0, 0.3, 40)
    while sum(map(len, parts)) < total:
        length = int(rng.integers(6, 13))
        if rng.random() < made.junk:
            parts.append(np.tile(rng.normal(0, 2, 40), (length, 1)))
            continue
        sound = int(rng.integers(SOUNDS))
        way = np.linspace(0, 1, length) if climbs[sound] > 0 else np.linspace(1, 0, length)
        ridge = made.ridge * np.exp(-(((bins - 5 - 30 * way[:, None]) / 3) ** 2))
        parts.append(sounds[sound] + shifts[sound] + ridge)
    frames: Floats = np.concatenate(parts)[:total]
    return 2 * (frames + channel + rng.normal(0, 1, frames.shape)) - 8
