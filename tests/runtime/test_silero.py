"""The network VAD of the run-time: block by block as in one go, in both forms of the model; files that are none."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from timbre.runtime.silero import SileroVad, package_model
from timbre.utils.errors import DataError

WAV = Path(__file__).parents[1] / "data" / "kaldi" / "wav" / "utt1.wav"


@pytest.mark.parametrize("name", ["silero_vad_16k_sequence.onnx", "silero_vad.onnx"])
def test_blocks_of_any_size_give_what_the_whole_gives(name: str) -> None:
    samples = soundfile.read(WAV, dtype="float32")[0]
    whole = SileroVad(package_model()).probabilities(samples[: len(samples) // 512 * 512])
    vad = SileroVad((package_model().parent / name).read_bytes())
    rng, start, found = np.random.default_rng(0), 0, []
    while start < len(samples):
        size = int(rng.integers(0, 3000))
        found.append(vad.push(samples[start : start + size]))
        start += size
    np.testing.assert_allclose(np.concatenate(found), whole, atol=2e-5)
    assert 0.5 < (whole > 0.5).mean() < 0.9


def test_what_was_heard_is_forgotten_when_asked() -> None:
    samples = soundfile.read(WAV, dtype="float32")[0][:16384]
    vad = SileroVad(package_model())
    first = vad.push(samples)
    assert not np.array_equal(vad.push(samples), first)
    vad.reset()
    np.testing.assert_array_equal(vad.push(samples), first)


def test_what_is_no_model_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a network that can be run") as caught:
        SileroVad(b"nothing of the kind")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="not a network that can be run"):
        SileroVad(tmp_path / "missing.onnx")
