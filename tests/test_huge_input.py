"""Long lists and long audio: bounded time and memory."""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile

from step_calls import ROOT, works, write_wav
from timbre.datadir.datadir import DataDir

FBANK = ("--fbank.sample_frequency", 8000, "--nj", 1)


def test_long_lists_are_validated_in_seconds(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav")
    utt2spk = {f"s{number // 100:04d}-{number:06d}": f"s{number // 100:04d}" for number in range(100_000)}
    DataDir(tmp_path, dict.fromkeys(utt2spk, "a.wav"), utt2spk).write(tmp_path / "data")
    began = time.monotonic()
    assert "100000 utterances of 1000 speakers" in works(tmp_path, "steps/validate_data_dir.py", "data").stdout
    assert time.monotonic() - began < 15


def test_an_hour_of_audio_needs_little_memory(tmp_path: Path) -> None:
    samples = np.zeros(3600 * 8000, np.int16)
    samples[: len(samples) // 2] = np.random.default_rng(0).integers(-1000, 1000, len(samples) // 2)
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    DataDir(tmp_path, {"a": "a.wav"}, {"a": "a"}).write(tmp_path / "data")
    command = [sys.executable, str(ROOT / "steps" / "make_fbank.py"), "data", *map(str, FBANK)]
    _, status, usage = os.wait4(subprocess.Popen(command, cwd=tmp_path).pid, 0)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a fork begins with what its parent has
    assert status == 0 and usage.ru_maxrss < max(1.3e6, 1.1 * own)  # kB, half of which torch takes for itself
    assert "50.0 % of 359998 frames are voiced" in works(tmp_path, "steps/compute_vad.py", "data").stderr
    works(tmp_path, "steps/extract_statistics.py", "data", "x", "--nj", 1)
