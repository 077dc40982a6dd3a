"""Quality measures: known signal-to-noise ratios and lengths, a cohort by hand, and one clear line for bad input."""

from pathlib import Path

import numpy as np
import pytest

from steps.make_quality import make_quality
from timbre.datadir.ark import ArkWriter, read_vectors, write_vectors
from timbre.datadir.tables import read_numbers, read_table, write_table
from timbre.runtime.speech_measures import signal_to_noise
from timbre.utils.errors import DataError


@pytest.mark.parametrize("snr", [0, 10, 30])
def test_signal_to_noise_ratio_of_a_known_mixture(snr: float) -> None:
    """Frame energies of noise, and of noise with a signal of that many dB above it; the level does not matter."""
    random = np.random.default_rng(0)
    voiced = np.arange(2000) % 4 > 0
    power = random.chisquare(100, 2000) / 100 * np.where(voiced, 1 + 10 ** (snr / 10), 1)
    for level in (-20, 3, 25):
        assert abs(signal_to_noise((np.log(power) + level).astype(np.float32), voiced) - snr) < 0.3
    loud = np.log(np.append(power[voiced], np.ones(300)))  # all is called speech, a tenth is as quiet as the noise
    assert abs(signal_to_noise(loud, np.ones(len(loud), bool)) - snr) < 1.5


def test_it_is_bounded() -> None:
    voiced = np.arange(100) < 50
    assert signal_to_noise(np.where(voiced, 20, -200), voiced) == 80
    assert signal_to_noise(np.where(voiced, 1, 2), voiced) == -20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """data/ with energies, VAD and embeddings of three speakers; a cohort of which one is a speaker of data/."""
    path, random = tmp_path / "data", np.random.default_rng(0)
    utt2spk = {f"{spk}{number}": spk for spk in "abc" for number in range(2)}
    with ArkWriter(path / "energy.ark") as energy, ArkWriter(path / "vad.ark") as vad:
        for number, utt in enumerate(utt2spk):
            voiced = np.arange(100) >= 40 - number
            energy.write(utt, np.where(voiced, 12.0, 5.0))
            vad.write(utt, voiced.astype(np.float32))
    tables = {"utt2spk": utt2spk, "energy.scp": energy.scp, "vad.scp": vad.scp, "feats.scp": energy.scp}
    for name, table in tables.items():
        write_table(path / name, table)
    write_table(path / "spk2gender", {"a": "f", "b": "m"})
    write_vectors(path / "x", sorted(utt2spk), random.normal(size=(6, 4)))
    cohort = {f"{spk}{number}": spk for spk in "cdef" for number in range(3)}
    write_vectors(tmp_path / "cohort", sorted(cohort), random.normal(size=(12, 4)))
    write_table(tmp_path / "cohort_utt2spk", cohort)
    return path


def test_the_measures(data: Path, tmp_path: Path) -> None:
    make_quality(
        data, tmp_path / "out", data / "x.scp", tmp_path / "cohort.scp", tmp_path / "cohort_utt2spk", top_n=2, nj=1
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "utt2logdur", "utt2snr", "utt2magnitude", "utt2cohort", "utt2sex",
    }  # fmt: skip
    assert np.isclose(np.exp(read_numbers(tmp_path / "out" / "utt2logdur")["b1"]), 0.63, atol=1e-5)
    assert abs(read_numbers(tmp_path / "out" / "utt2snr")["a0"] - 10 * np.log10(np.exp(7) - 1)) < 1e-3
    assert read_table(tmp_path / "out" / "utt2sex") == {"a0": "f", "a1": "f", "b0": "m", "b1": "m"}
    ids, vectors = read_vectors(data / "x.scp")
    magnitude = read_numbers(tmp_path / "out" / "utt2magnitude")
    assert np.allclose([magnitude[utt] for utt in ids], np.log(np.linalg.norm(vectors, axis=1)), atol=1e-5)
    _, others = read_vectors(tmp_path / "cohort.scp")
    means = others.reshape(4, 3, 4).mean(1)[1:]  # without c, who is in data/
    cosines = vectors @ means.T / np.linalg.norm(vectors, axis=1)[:, None] / np.linalg.norm(means, axis=1)
    expected = np.sort(cosines, axis=1)[:, -2:].mean(1)
    found = read_numbers(tmp_path / "out" / "utt2cohort")
    assert np.allclose([found[utt] for utt in ids], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("vad.scp", "a0 data/vad.ark:3\n", "data/vad.scp: 'a1' is not in it "),
        ("frame_shift", "ten\n", "data/frame_shift: not a number of seconds: 'ten'"),
        ("vad.scp", None, "has 100 frames of energy and a VAD decision for 99"),
    ],
)
def test_bad_input(data: Path, tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is None:
        with ArkWriter(data / "short.ark") as short:
            for utt in read_table(data / "utt2spk"):
                short.write(utt, np.ones(99, np.float32))
        write_table(data / name, short.scp)
    else:
        (data / name).write_text(text)
    with pytest.raises(DataError, match=message):
        make_quality(data, tmp_path / "out", nj=1)
    assert not (tmp_path / "out").exists()
