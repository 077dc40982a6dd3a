#!/usr/bin/env python3
"""make_fbank end to end (wav in, ark out) on one core, beside torchaudio's fbank (computation alone) in the same run.

Prints one JSON line. 600 s of 16 kHz audio in 60 files of 10 s, 80 bins, no dither. `rate` is times real time, `ratio`
torchaudio's best wall time over ours, reading and writing included; the two run in turn, so that whatever else the
machine does meets both. `process_wall_s` is the script from the shell, most of it the import of torch. Kaldi's figure
is a quotation from another run of the same work.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import soundfile
import torch
import torchaudio

from timbre.datadir.datadir import DataDir
from timbre.feats.dump_feats import dump_features
from timbre.feats.options import FbankOptions

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS, FILES, RATE, ROUNDS = 600, 60, 16000, 10
GOAL = 1.5
KALDI_RATE = (
    1260  # compute-fbank-feats, 80 bins, dither 0, stock build, one core (../shared/reference/kaldi/timings.md)
)


def speech_like(num_samples: int, seed: int) -> np.ndarray:
    """Noise that comes and goes as syllables do, int16."""
    noise = np.random.default_rng(seed).standard_normal(num_samples)
    envelope = np.sin(np.arange(num_samples) * 2 * np.pi * 2 / RATE) ** 2
    return (3000 * noise * envelope).astype(np.int16)


def make_data(path: Path, wavs: dict[str, str]) -> DataDir:
    data = DataDir(path, wavs, {utt: utt for utt in wavs})
    data.write(path)
    return data


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """(wall, CPU) seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        wavs, waves = {}, []
        for number in range(FILES):
            samples = speech_like(SECONDS // FILES * RATE, number)
            wavs[f"utt{number:02d}"] = f"{folder}/{number:02d}.wav"
            soundfile.write(wavs[f"utt{number:02d}"], samples, RATE)
            waves.append(torch.from_numpy(samples.astype(np.float32))[None])

        def peer() -> None:
            for wave in waves:
                torchaudio.compliance.kaldi.fbank(wave, num_mel_bins=80, dither=0.0)

        ours, theirs = [], []
        for number in range(ROUNDS):
            data = make_data(Path(folder) / f"round{number}", wavs)
            ours.append(timed(lambda data=data: dump_features(data, FbankOptions(num_mel_bins=80), nj=1)))
            theirs.append(timed(peer))
        data = make_data(Path(folder) / "process", wavs)
        step = [sys.executable, str(ROOT / "steps" / "make_fbank.py"), str(data.path)]
        options = ["--fbank.num_mel_bins", "80", "--nj", "1"]
        process, _ = timed(lambda: subprocess.run([*step, *options], check=True, cwd=ROOT, capture_output=True))

    wall, cpu = min(times[0] for times in ours), median(times[1] for times in ours)
    peer_wall, peer_cpu = min(times[0] for times in theirs), median(times[1] for times in theirs)
    report = {
        "bench": "make_fbank",
        "rate": round(SECONDS / wall),
        "wall_s": round(wall, 4),
        "cpu_s": round(cpu, 4),
        "torchaudio_wall_s": round(peer_wall, 4),
        "torchaudio_cpu_s": round(peer_cpu, 4),
        "ratio": round(peer_wall / wall, 2),
        "ratio_cpu": round(peer_cpu / cpu, 2),
        "goal": GOAL,
        "ok": peer_wall / wall >= GOAL,
        "process_wall_s": round(process, 2),
        "kaldi_rate_quoted": KALDI_RATE,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
