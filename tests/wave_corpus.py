"""Short utterances of speakers that can be told apart, and egs of their waveforms, for the tests of online training."""

from pathlib import Path

import numpy as np
import soundfile

from timbre.datadir.datadir import DataDir
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_writer import write_egs
from timbre.egs.options import EgsOptions
from timbre.feats.dump_feats import dump_features
from timbre.feats.dump_vad import dump_vad
from timbre.feats.options import FbankOptions
from timbre.feats.vad import VadOptions
from timbre.runtime.normalize import NormalizeOptions

RATE = 8000
FBANK = FbankOptions(sample_frequency=RATE, num_mel_bins=20, snip_edges=False)


def write_noise(path: Path, seconds: float, seed: int = 0) -> Path:
    """A folder with one file of white noise."""
    path.mkdir(parents=True)
    wave = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    soundfile.write(path / "noise.wav", wave, RATE, subtype="PCM_16")
    return path


def write_wave_dir(path: Path, speakers: int = 12, utts: int = 6, features: FbankOptions = FBANK) -> DataDir:
    """Utterances of 0.5 to 1 s, after a tenth of a second of near silence.

    Each speaker has three tones, which come and go, since CMN takes away what stays.
    """
    rng = np.random.default_rng(0)
    path.mkdir(parents=True)
    wavs, utt2spk = {}, {}
    for speaker in range(speakers):
        centers = rng.uniform(300, 3500, 3)
        for number in range(utts):
            utt = f"spk{speaker:02d}-utt{number}"
            time = np.arange(int(rng.integers(RATE // 2, RATE))) / RATE
            wave = 0.03 * rng.standard_normal(len(time))
            for center in centers:
                swelling = (1 + np.sin(2 * np.pi * rng.uniform(4, 8) * time + rng.uniform(0, 6))) / 2
                wave += 0.2 * swelling * np.sin(2 * np.pi * center * time)
            wave[: RATE // 10] *= 0.001
            wavs[utt], utt2spk[utt] = str(path / f"{utt}.wav"), f"spk{speaker:02d}"
            soundfile.write(wavs[utt], wave, RATE, subtype="PCM_16")
    data = DataDir(path, wavs, utt2spk)
    data.write(path)
    dump_features(data, features, nj=1)
    dump_vad(data, VadOptions(), nj=1)
    return data


def write_wave_egs(path: Path, normalization: NormalizeOptions = NormalizeOptions(), **options: object) -> Manifest:
    """Egs of write_wave_dir's waveforms, of 30 to 40 frame shifts unless OPTIONS say otherwise."""
    data_dir = path.parent / f"{path.name}_data"
    data = DataDir.read(data_dir) if data_dir.exists() else write_wave_dir(data_dir)
    settings = {"min_frames": 30, "max_frames": 40, "num_repeats": 3.0, "num_valid_speakers": 0, "num_valid_utts": 6}
    settings |= {"kind": "waveform", "ark_megabytes": 1.0, **options}
    return write_egs(data, path, EgsOptions(**settings), normalization, nj=1, seed=0)
