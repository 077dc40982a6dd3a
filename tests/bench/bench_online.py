#!/usr/bin/env python3
"""Waveform egs to normalised features, on one core, beside WeSpeaker's order of operations written plainly.

Prints one JSON line: examples a second of 2-s crops of 8-s utterances at 16 kHz as 80 log mel energies with CMN, in
batches of 64; `plain`, and `noise` with a noise added to each example (ten files of a minute). The plain way, sample by
sample: read the whole utterance, cut a crop, read a whole noise and add a piece, torchaudio's kaldi.fbank without
dither, subtract the mean. Ours: EgsReader with next to no read-ahead, its process that augments on the same core, and
FrontEnd. The two run in turn, and `ratio` is the median over the turns; all files are in the page cache.
`effects` is conf/augment/online.yaml: a fifth of the examples each; `rooms` and `bands` a reverberation and a band-pass
on each. `on_device` makes them for whole batches (augment_on), here on the same core, and `device_ratio` is its gain
over the processes'; `process_ratio`: how many times as many examples a process then does in a second of its CPU time.
"""

import itertools
import json
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
import torch
from torchaudio.compliance import kaldi

from timbre.datadir.datadir import DataDir
from timbre.egs import egs_reader
from timbre.egs.crop_effects import Augmentation, Augmenter
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import EgsReader
from timbre.egs.egs_writer import write_egs
from timbre.egs.options import BatchOptions, EgsOptions
from timbre.feats.dump_feats import dump_features
from timbre.feats.dump_vad import dump_vad
from timbre.feats.options import FbankOptions
from timbre.feats.vad import VadOptions
from timbre.runtime.normalize import NormalizeOptions
from timbre.training.front_end import FrontEnd

ROOT = Path(__file__).resolve().parent.parent.parent
RATE, SPEAKERS, UTTS, SECONDS, CROP, BATCH, ROUNDS = 16000, 20, 160, 8, 2, 64, 5
FBANK = FbankOptions(num_mel_bins=80, snip_edges=True)
GOAL = 1.5  # of the ratio with noise


def write_waves(folder: Path, number: int, seconds: float) -> list[Path]:
    """Noise that comes and goes as syllables do."""
    folder.mkdir()
    rng, paths = np.random.default_rng(number), []
    for index in range(number):
        wave = 0.1 * rng.standard_normal(round(seconds * RATE))
        wave *= 0.3 + np.sin(np.arange(len(wave)) * 2 * np.pi * 2 / RATE) ** 2
        paths.append(folder / f"{index:03d}.wav")
        soundfile.write(paths[-1], wave, RATE, subtype="PCM_16")
    return paths


def write_rooms(folder: Path) -> None:
    folder.mkdir()
    for index in range(10):
        tail = np.random.default_rng(index).standard_normal(RATE // 2) * np.exp(-np.arange(RATE // 2) / 1500)
        soundfile.write(folder / f"{index}.wav", np.concatenate([[0.9], 0.1 * tail]), RATE)


def plainly(waves: list[Path], noises: list[Path]) -> Iterator[torch.Tensor]:
    """Batches, sample by sample; without NOISES nothing is added."""
    rng = np.random.default_rng(0)
    while True:
        batch = []
        for _ in range(BATCH):
            wave, _ = soundfile.read(waves[rng.integers(len(waves))], dtype="float32")
            wave = _chunk(wave, rng)
            if noises:
                noise = _chunk(soundfile.read(noises[rng.integers(len(noises))], dtype="float32")[0], rng)
                clean_db, noise_db = (10 * np.log10(np.mean(one**2) + 1e-4) for one in (wave, noise))
                wave = wave + 10 ** ((clean_db - noise_db - rng.uniform(0, 15)) / 20) * noise
            signal = torch.from_numpy(np.float32(wave))[None] * 32768
            feats = kaldi.fbank(signal, num_mel_bins=80, sample_frequency=RATE, dither=0.0, window_type="povey")
            batch.append(feats - feats.mean(0))
        yield torch.stack(batch)


def _chunk(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    start = rng.integers(0, len(wave) - CROP * RATE + 1)
    return wave[start : start + CROP * RATE]


def write_corpus(folder: Path) -> tuple[list[Path], Path, Manifest]:
    waves = write_waves(folder / "waves", UTTS, SECONDS)
    utts = {f"s{index % SPEAKERS:02d}-{path.stem}": str(path) for index, path in enumerate(waves)}
    (folder / "data").mkdir()
    data = DataDir(folder / "data", dict(sorted(utts.items())), {utt: utt[:3] for utt in sorted(utts)})
    data.write(data.path)
    dump_features(data, FBANK, nj=1)
    dump_vad(data, VadOptions(), nj=1)
    options = EgsOptions(300, 300, num_repeats=1.5, num_valid_speakers=0, num_valid_utts=0, kind="waveform")
    manifest = write_egs(data, folder / "egs", options, NormalizeOptions(vad=False), nj=1, seed=0)
    return waves, folder / "egs", manifest


def rate(batches: Iterator[object], number: int, use: Callable[[object], object] = lambda batch: batch) -> float:
    """Examples a second of NUMBER of the batches."""
    start = time.perf_counter()
    for batch in itertools.islice(batches, number):
        use(batch)
    return BATCH * number / (time.perf_counter() - start)


def our_rate(
    egs: Path, manifest: Manifest, augmentation: Augmentation | None, defers: bool, front_end: FrontEnd
) -> float:
    """Examples a second, with the effects in a process or, where it DEFERS, on the device."""
    augmenter = augmentation and Augmenter(egs, manifest, augmentation, 0, defers=defers)
    batches = BatchOptions(min_frames=CROP * 100, max_frames=CROP * 100)
    reader = iter(EgsReader(egs, manifest, BATCH, 0, batches=batches, augmenter=augmenter))
    rate(reader, 3, front_end)  # starts the process
    measured = rate(reader, 12, front_end)
    reader.close()
    return measured


def process_rate(egs: Path, manifest: Manifest, augmentation: Augmentation, defers: bool) -> float:
    """Examples that a process augments and sends in a second of CPU time."""
    augmenter, seconds = Augmenter(egs, manifest, augmentation, 0, defers=defers), []
    examples, starts = np.arange(BATCH), np.zeros(BATCH, np.int64)
    out = np.empty((BATCH, CROP * 100, FBANK.shift), np.int16)
    for epoch in range(1 + ROUNDS):  # the first reads the impulse responses
        start = time.process_time()
        pickle.dumps((out, augmenter.fill(epoch, examples, starts, out)), pickle.HIGHEST_PROTOCOL)
        seconds.append(time.process_time() - start)
    return BATCH / median(seconds[1:])


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    egs_reader.PREFETCH = 1  # else the clock would miss what was read before it ran
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        waves, egs, manifest = write_corpus(folder)
        noises = write_waves(folder / "noise", 10, 60)
        write_rooms(folder / "rir")
        sources = {"noise": (folder / "noise",), "music": (folder / "noise",), "rir": (folder / "rir",)}
        sources["speech"] = (folder / "data",)
        front_end = FrontEnd(manifest, None, torch.device("cpu"))
        augmentations = {
            "plain": None,
            "noise": Augmentation([{"class_path": "AddNoise"}], sources),
            "effects": Augmentation.read(ROOT / "conf" / "augment" / "online.yaml", sources),
            "rooms": Augmentation([{"class_path": "Reverberate"}], sources),
        }
        augmentations["bands"] = Augmentation([{"class_path": "RandomBandPass"}], sources)
        deferred: dict[str, list[float]] = {kind: [] for kind in augmentations}
        in_process = {
            kind: process_rate(egs, manifest, one, True) / process_rate(egs, manifest, one, False)
            for kind, one in augmentations.items()
            if one
        }
        rates: dict[str, list[tuple[float, float]]] = {}
        for kind, augmentation in augmentations.items():
            rates[kind] = []
            for _ in range(ROUNDS):
                ours = our_rate(egs, manifest, augmentation, False, front_end)
                if augmentation:
                    deferred[kind].append(our_rate(egs, manifest, augmentation, True, front_end))
                theirs = plainly(waves, noises if kind == "noise" else [])
                rates[kind].append((ours, rate(theirs, 3)))
    ratio = {kind: round(median(one / other for one, other in rates[kind]), 2) for kind in ("plain", "noise")}
    report = {
        "bench": "online",
        "examples_per_s": {kind: round(median(one for one, _ in pairs)) for kind, pairs in rates.items()},
        "on_device_per_s": {kind: round(median(rates)) for kind, rates in deferred.items() if rates},
        "device_ratio": {
            kind: round(median(one / other for one, (other, _) in zip(ones, rates[kind], strict=True)), 2)
            for kind, ones in deferred.items()
            if ones
        },
        "process_ratio": {kind: round(gain, 2) for kind, gain in in_process.items()},
        "plainly_per_s": {kind: round(median(other for _, other in rates[kind])) for kind in ("plain", "noise")},
        "ratio": ratio,
        "goal": GOAL,
        "ok": ratio["noise"] >= GOAL,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
