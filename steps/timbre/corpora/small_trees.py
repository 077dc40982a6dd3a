"""Small corpora of made sounds in their published layout, for a dress rehearsal: recipe/rehearsal.py has them made.

Voices are hums, not speech: enough for every stage to have something to work on, and for nothing else.
"""

import io
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.corpora.published_trees import Person, Sound, Tree, cnceleb, musan, rirs, voxceleb
from timbre.utils.files import atomic_folder

RATE = 16000
TRAIN, TEST, UTTS = 20, 4, 4  # speakers to train on and to test, utterances of each: 2 of 20 are held out
NATIONS = ("Ireland", "India")

Samples = NDArray[np.float32]


def hum(speaker: int, seed: int, seconds: float, rate: int = RATE) -> NDArray[np.float64]:
    """A hum (N,) of the speaker's pitch with her resonances, pauses of 0.25 s before and after it, and noise."""
    random, drawn = np.random.default_rng(seed), np.random.default_rng(1000 + speaker)
    time = np.arange(int(seconds * rate)) / rate
    pitch = drawn.uniform(90, 250) * random.uniform(0.97, 1.03)
    gains = drawn.uniform(0, 1, 12) * random.uniform(0.8, 1.2, 12)
    sound = sum(gain * np.sin(2 * np.pi * pitch * (order + 1) * time) for order, gain in enumerate(gains))
    pause = np.zeros(rate // 4)
    samples = np.concatenate([pause, sound, pause])
    return 0.05 * samples + random.normal(0, 0.0005, len(samples))


def make_trees(folder: Path) -> None:
    """FOLDER/voxceleb, FOLDER/cnceleb, FOLDER/musan, FOLDER/RIRS_NOISES, those that are not there yet."""
    trees: dict[str, Callable[[], Tree]] = {
        "voxceleb": _small_voxceleb,
        "cnceleb": _small_cnceleb,
        "musan": lambda: musan(2),
        "rirs": lambda: rirs(2),
    }
    for name, build in trees.items():
        if not (folder / name).exists():
            with atomic_folder(folder / name, "small corpus of a dress rehearsal") as temporary:
                _fill(build(), temporary)


def _small_voxceleb() -> Tree:
    dev1, test1 = [f"id1000{n}" for n in range(2)], [f"id10{270 + n}" for n in range(TEST)]
    dev2, test2 = [f"id{n:05}" for n in range(12, 12 + TRAIN)], ["id00001"]
    speakers = {"vox1_dev": dev1, "vox1_test": test1, "vox2_dev": dev2, "vox2_test": test2}
    people = {
        spk: Person(f"Person_{spk}", "mf"[number % 2], NATIONS[number % 4 // 2])
        for names in speakers.values()
        for number, spk in enumerate(names)
    }
    utts = [f"video{number // 2:06}/{number % 2 + 1:05}" for number in range(UTTS)]
    return voxceleb(
        {part: [f"{spk}/{utt}" for spk in names for utt in utts] for part, names in speakers.items()}, people
    )


def _small_cnceleb() -> Tree:
    dev, second = [f"id{n:05}" for n in range(TRAIN // 2)], [f"id{n:05}" for n in range(10000, 10000 + TRAIN // 2)]
    names = ["singing-01-001", "singing-01-002", "vlog-01-001", "interview-01-001"]
    return cnceleb(dev, [f"id{n:05}" for n in range(800, 800 + TEST)], second, names)


def _fill(tree: Tree, folder: Path) -> None:
    for name, sound in tree.audio.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_encoded(_samples(sound, name), path.suffix))
    for name, text in tree.texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def _samples(sound: Sound, name: str) -> Samples:
    """What file NAME holds: (N,), 3 to 6 s, of a room half a second."""
    seed, who = zlib.crc32(name.encode()), zlib.crc32(sound.who.encode())
    random = np.random.default_rng(seed)
    seconds = 3 + 3 * random.random()
    if sound.kind == "voice":
        samples = hum(who, seed, seconds)
    elif sound.kind == "music":
        samples = 0.5 * (hum(who, seed, seconds) + hum(who + 1, seed, seconds))
    elif sound.kind == "noise":
        samples = 0.05 * random.standard_normal(int(seconds * RATE))
    else:
        samples = random.standard_normal(RATE // 2) * np.exp(-np.arange(RATE // 2) / (0.05 * RATE))
        samples[0] = 5
        samples *= 0.1
    return samples.astype(np.float32)


def _encoded(samples: Samples, suffix: str) -> bytes:
    """SAMPLES (N,) as a file .wav, .flac or .m4a."""
    import av
    import soundfile

    file = io.BytesIO()
    if suffix != ".m4a":
        soundfile.write(file, samples, RATE, format=suffix[1:].upper(), subtype="PCM_16")
        return file.getvalue()
    with av.open(file, "w", format="ipod") as media:
        stream: Any = media.add_stream("aac", rate=RATE, layout="mono")
        stream.time_base = Fraction(1, RATE)
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, stream.time_base
            for packet in stream.encode(frame):
                media.mux(packet)
        for packet in stream.encode(None):
            media.mux(packet)
    return file.getvalue()
