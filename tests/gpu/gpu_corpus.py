"""A corpus of tones and noise for prove.py, and networks whose outputs tell one input from another."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import nn

from timbre.datadir.datadir import DataDir
from timbre.egs.egs_writer import write_egs
from timbre.egs.options import EgsOptions
from timbre.feats.dump_feats import dump_features
from timbre.feats.dump_vad import dump_vad
from timbre.feats.options import FbankOptions
from timbre.feats.vad import VadOptions
from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.runtime.normalize import NormalizeOptions

ROOT = Path(__file__).resolve().parents[2]
RATE, BINS = 16000, 40


@dataclass(frozen=True)
class Setting:
    """Where it runs, and how much of it: `folder` for what is written, `small` for a machine without a GPU."""

    device: torch.device
    small: bool
    folder: Path

    def synchronize(self) -> None:
        """Until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def tone(seconds: float, seed: int, speaker: int = 0) -> np.ndarray:
    """(num_samples,) float32: swelling tones of a speaker in noise, after a tenth of a second of near silence."""
    rng = np.random.default_rng((seed, speaker))
    time = np.arange(round(seconds * RATE)) / RATE
    wave = 0.02 * rng.standard_normal(len(time))
    for pitch in np.random.default_rng(speaker).uniform(200, 3500, 3):
        wave += 0.15 * (1 + np.sin(2 * np.pi * rng.uniform(3, 8) * time)) * np.sin(2 * np.pi * pitch * time)
    wave[: RATE // 10] *= 0.001
    return np.clip(wave, -0.99, 0.99).astype(np.float32)


def write_corpus(setting: Setting) -> Path:
    """Egs of features in egs/, of waveforms in wave_egs/, noise in noise/, and the networks' files; the folder."""
    folder = setting.folder
    speakers, utts = (6, 4) if setting.small else (64, 8)
    (folder / "audio").mkdir(parents=True)
    (folder / "noise").mkdir()
    wavs, utt2spk = {}, {}
    for speaker in range(speakers):
        for number in range(utts):
            utt = f"spk{speaker:03d}-{number}"
            wavs[utt], utt2spk[utt] = str(folder / "audio" / f"{utt}.wav"), f"spk{speaker:03d}"
            soundfile.write(wavs[utt], tone(1.5 if setting.small else 4, number, speaker), RATE, subtype="PCM_16")
    noise = 0.1 * np.random.default_rng(0).standard_normal(20 * RATE)
    soundfile.write(folder / "noise" / "noise.wav", noise, RATE, subtype="PCM_16")
    data = DataDir(folder / "data", wavs, utt2spk)
    data.write(folder / "data")
    dump_features(data, FbankOptions(num_mel_bins=BINS), nj=1)
    dump_vad(data, VadOptions(), nj=1)
    data, frames = DataDir.read(folder / "data"), 60 if setting.small else 200
    sizes = {"min_frames": frames, "max_frames": frames, "num_valid_speakers": 0, "num_valid_utts": 4}
    write_egs(data, folder / "egs", EgsOptions(num_repeats=4, **sizes), NormalizeOptions(), nj=1, seed=0)
    settings = EgsOptions(kind="waveform", num_repeats=4, **sizes)
    write_egs(data, folder / "wave_egs", settings, NormalizeOptions(), nj=1, seed=0)
    return folder


def made_to_differ(network: SpeakerNetwork) -> SpeakerNetwork:
    """NETWORK in eval mode with weights as large as trained ones have, so that an error shows."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network.eval()


def network_named(name: str, feat_dim: int) -> SpeakerNetwork:
    """The network of conf/network, the same weights on every machine."""
    torch.manual_seed(0)
    return made_to_differ(build_network(ROOT / "conf" / "network" / f"{name}.yaml", feat_dim))
