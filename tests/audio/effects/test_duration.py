"""Speed and trimming, which change the length; new speakers of speed-perturbed copies."""

from pathlib import Path

import librosa
import numpy as np
import pytest

from timbre.audio.augmented_copies import augment, read_copies
from timbre.audio.effects import Sources, Speed, TrimSilence, build_chain, generator
from timbre.audio.preprocess import preprocess_audio
from timbre.audio.reading import read_audio
from timbre.datadir.datadir import DataDir, Segment
from timbre.datadir.tables import read_table, write_table
from timbre.datadir.validate import validate
from timbre.utils.errors import DataError
from waves import RATE, Make, Wave, noise, tone


def pitch(wave: Wave) -> float:
    """The strongest frequency in Hz."""
    return float(np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 18)).argmax() * RATE / (1 << 18))


@pytest.mark.parametrize("factor", [0.9, 1.1, 0.7331])
def test_speed_scales_time_and_pitch(factor: float) -> None:
    wave = tone(1000, 2)
    wave[RATE] = 5.0  # a click in the middle
    heard = Speed([factor])(wave, RATE, generator(0, 0, "u"))
    assert len(heard) == round(len(wave) / factor)
    assert pitch(heard[1000:10000]) == pytest.approx(1000 * factor, abs=0.5)
    assert np.abs(heard).argmax() == pytest.approx(RATE / factor, abs=1)
    assert float(heard[2000:10000].std()) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


def test_speed_of_nothing_much() -> None:
    assert len(Speed([1.1])(np.ones(1, np.float32), RATE, generator(0, 0, "u"))) == 1
    wave = noise(1)
    assert Speed([1.0])(wave, RATE, generator(0, 0, "u")) is wave


EFFECTS = {
    "speed": {"class_path": "Speed", "init_args": {"factors": [0.8, 1.37]}},
    "slow": {"class_path": "Speed", "init_args": {"factors": [0.8]}},
    "stretch": {
        "class_path": "Audiomentations",
        "init_args": {"transform": "TimeStretch", "arguments": {"min_rate": 1.2, "max_rate": 1.3}},
    },
    "gain": {"class_path": "Gain"},
}
EFFECTS |= {
    "twice": {"class_path": "Chain", "init_args": {"effects": [EFFECTS["speed"], EFFECTS["gain"], EFFECTS["speed"]]}},
    "sometimes": {"class_path": "Sometimes", "init_args": {"effects": [EFFECTS["slow"]]}},
    "one of": {"class_path": "OneOf", "init_args": {"effects": [EFFECTS["gain"], EFFECTS["speed"]]}},
    "at rate": {"class_path": "AtRate", "init_args": {"rate": 8000, "effects": [EFFECTS["speed"]]}},
}


@pytest.mark.parametrize("name", EFFECTS)
@pytest.mark.parametrize("wanted", [1, 4801, 16000])
def test_effects_know_how_much_they_need(name: str, wanted: int) -> None:
    chain = build_chain([EFFECTS[name]], Sources())
    needed = chain.input_length(wanted)
    hum = 0.5 + np.zeros(needed, np.float32)  # what is missing would be zero
    made = [chain(hum, RATE, generator(0, epoch, "u")) for epoch in range(6)]
    assert min(map(len, made)) >= wanted
    if wanted > 1:
        assert min(np.abs(one[:wanted]).reshape(-1, wanted)[:, -60:-20].mean() for one in made) > 0.1
    assert needed < 1.4**2 * wanted + 20


def test_slower_and_faster_speakers_are_others(make: Make, root: Path, tmp_path: Path) -> None:
    data = make("train", {f"s{spk}-{utt}": noise(0.5 + 0.1 * utt, utt) for spk in range(2) for utt in range(2)})
    write_table(data.path / "spk2gender", {"s0": "f", "s1": "m"})
    write_table(data.path / "utt2dur", {"s0-0": "0.5", "s0-1": "0.6", "s1-0": "0.5", "s1-1": "0.6"})
    out = tmp_path / "sp"
    augment(data, out, read_copies(root / "conf" / "augment" / "speed.yaml"), Sources(), nj=1)
    together = DataDir.read(out)
    assert not validate(out) and len(together.utts) == 12
    assert together.utt2spk["sp0.9-s1-0"] == "sp0.9-s1"
    assert read_table(out / "spk2gender")["sp1.1-s0"] == "f"
    assert read_table(out / "utt2uniq")["sp1.1-s0-1"] == "s0-1"
    for utt, seconds in read_table(out / "utt2dur").items():
        samples, rate = read_audio(*together.recording_of(utt))
        assert len(samples) / rate == pytest.approx(float(seconds), abs=1e-4)
    assert float(read_table(out / "utt2dur")["sp0.9-s0-1"]) == pytest.approx(0.6 / 0.9, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("top_db", [20, 60])
def test_trimming_is_that_of_librosa(seed: int, top_db: float) -> None:
    lengths = np.random.default_rng(seed).uniform(0.05, 0.5, 5)
    levels = (1e-5, 1e-3, 0.3, 1e-3, 1e-5)
    wave = np.concatenate([noise(*part) for part in zip(lengths, range(5), levels, strict=True)])
    expected = librosa.effects.trim(wave, top_db=top_db)[0]
    np.testing.assert_array_equal(TrimSilence(top_db)(wave, RATE, generator(0, 0, "u")), expected)


def test_trimming_leaves_silence_and_single_samples() -> None:
    for wave in (np.zeros(5000, np.float32), np.ones(1, np.float32)):
        np.testing.assert_array_equal(TrimSilence()(wave, RATE, generator(0, 0, "u")), wave)


def test_tables_follow_the_new_length_and_segments_forbid_it(make: Make, tmp_path: Path) -> None:
    data = make("train", {"s-a": np.concatenate([np.zeros(RATE, np.float32), noise(0.5)])})
    write_table(data.path / "utt2dur", {"s-a": "1.5"})
    trim = build_chain([{"class_path": "TrimSilence"}], Sources())
    preprocess_audio(data, tmp_path / "new", trim, nj=1)
    assert 0.5 < float(read_table(tmp_path / "new" / "utt2dur")["s-a"]) < 0.7
    DataDir(data.path, data.wavs, {"s-x": "s"}, {"s-x": Segment("s-a", 0.0, 1.0)}).write(data.path)
    (data.path / "utt2dur").unlink()
    with pytest.raises(DataError, match="the effects change the length of 's-a', whose segments would no longer fit"):
        preprocess_audio(DataDir.read(data.path), tmp_path / "newer", trim, nj=1)
    assert not (tmp_path / "newer" / "wav.scp").exists()


@pytest.mark.parametrize("factors", [[], [0.0], [-1.0], [1.0, 20.0]])
def test_impossible_factors_are_refused(factors: list[float]) -> None:
    with pytest.raises(DataError, match="Speed: factors"):
        Speed(factors)
    with pytest.raises(DataError, match="TrimSilence"):
        TrimSilence(top_db=0)
