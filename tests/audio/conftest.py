"""Small data directories of noise, speech and impulse responses, as files on disk."""

from pathlib import Path

import pytest
import soundfile

from timbre.datadir.datadir import DataDir
from waves import RATE, Make, Wave


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a data directory NAME of {utterance: samples}; the speaker is what stands before the first "-"."""

    def write(name: str, waves: dict[str, Wave], rate: int = RATE, subtype: str = "PCM_16") -> DataDir:
        path = tmp_path / name
        path.mkdir()
        for utt, wave in waves.items():
            soundfile.write(path / f"{utt}.wav", wave, rate, subtype=subtype)
        wavs = {utt: str(path / f"{utt}.wav") for utt in waves}
        data = DataDir(path, wavs, {utt: utt.split("-")[0] for utt in waves})
        data.write(path)
        return data

    return write
