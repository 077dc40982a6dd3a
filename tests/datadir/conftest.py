"""Small data directories."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from timbre.datadir.ark import ArkWriter, write_vectors
from timbre.datadir.tables import write_table


@pytest.fixture
def make_dir(tmp_path: Path) -> Callable[..., Path]:
    """make_dir({"utt2spk": text, ...}, name) writes these files as they are."""

    def make(files: dict[str, str | bytes], name: str = "data") -> Path:
        for file, text in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path / name

    return make


@pytest.fixture
def whole_dir(tmp_path: Path) -> Callable[..., Path]:
    """whole_dir(name, speakers) writes a valid directory with everything: three seconds of audio a speaker, features,
    VAD, tables of every kind, trials."""

    def write(name: str = "whole", speakers: str = "abc", frames: int = 98) -> Path:
        path, generator = tmp_path / name, np.random.default_rng(0)
        utt2spk = {f"{spk}-{part}": spk for spk in speakers for part in range(3)}
        (path / "audio").mkdir(parents=True)
        for utt in utt2spk:
            soundfile.write(path / "audio" / f"{utt}.wav", generator.normal(0, 0.1, 16000), 16000)
        with ArkWriter(path / "arks" / "feats.ark") as ark:
            for utt in utt2spk:
                ark.write(utt, generator.normal(size=(frames, 4)))
        write_vectors(path / "arks" / "vad", list(utt2spk), np.ones((len(utt2spk), frames)))
        tables = {
            "wav.scp": {utt: f"{path}/audio/{utt}.wav" for utt in utt2spk},
            "utt2spk": utt2spk,
            "spk2utt": {spk: f"{spk}-0 {spk}-1 {spk}-2" for spk in speakers},
            "spk2gender": {spk: "mf"[index % 2] for index, spk in enumerate(speakers)},
            "utt2session": {utt: f"s{utt[-1] != '0':d}" for utt in utt2spk},
            "utt2dur": dict.fromkeys(utt2spk, "1.0"),
            "utt2num_frames": dict.fromkeys(utt2spk, str(frames)),
            "feats.scp": ark.scp,
        }
        for file, table in tables.items():
            write_table(path / file, table)
        (path / "arks" / "vad.scp").rename(path / "vad.scp")
        trials = [f"{spk}-0 {spk}-1 target\n" for spk in speakers]
        trials += [f"{speakers[0]}-0 {spk}-2 nontarget\n" for spk in speakers[1:]]
        (path / "trials").write_text("".join(trials))
        (path / "frame_shift").write_text("0.01\n")
        (path / "conf").mkdir()
        (path / "conf" / "feats.yaml").write_text("num_mel_bins: 4\n")
        return path

    return write
