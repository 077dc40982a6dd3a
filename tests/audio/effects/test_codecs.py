"""Codecs: what comes back is in its place, as long, as loud, and as good as the codec is."""

from pathlib import Path

import numpy as np
import pytest

from timbre.audio.effects import G722, ALaw, AmrNb, Effect, Gsm, Mp3, MuLaw, Opus, Sources, build_chain, generator
from timbre.utils.configure import read_config
from timbre.utils.errors import DataError
from waves import RATE, Wave, noise, tone

CODECS: dict[str, Effect] = {
    "mu-law": MuLaw(),
    "A-law": ALaw(),
    "GSM": Gsm(),
    "Opus 6": Opus([6]),
    "Opus 24": Opus([24]),
    "Opus 24, fast": Opus([24], complexity=0),
    "AMR 4.75": AmrNb([4.75]),
    "AMR 12.2": AmrNb([12.2]),
    "G.722": G722(),
    "MP3 16": Mp3([16]),
    "MP3 64": Mp3([64]),
}
LEAST_SNR = {"mu-law": 35, "A-law": 35, "GSM": 8, "MP3 16": 9, "MP3 64": 14}  # dB
LEAST_SNR |= {"Opus 6": 4, "Opus 24": 7, "Opus 24, fast": 7, "AMR 4.75": 4, "AMR 12.2": 5, "G.722": 25}


def voiced(seconds: float, rate: int) -> Wave:
    """Harmonics of a voice that glides, with a formant or two, coming and going as syllables do."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / rate
    wave = sum(np.sin(k * phase) / (1 + ((k * 120 - 600) / 400) ** 2) for k in range(1, int(rate / 2 / 160)))
    wave = wave * (0.05 + np.sin(2 * np.pi * 2 * time) ** 2)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def delay(before: Wave, after: Wave) -> int:
    """Samples by which AFTER lags, where the correlation of the two is highest."""
    size = 2 * len(before)
    product = np.fft.rfft(after, size) * np.fft.rfft(before, size).conj()
    lag = int(np.fft.irfft(product).argmax())
    return lag if lag < len(before) else lag - size


@pytest.mark.parametrize("rate", [8000, 11025, RATE, 44100])
@pytest.mark.parametrize("name", CODECS)
def test_the_delay_is_compensated(name: str, rate: int) -> None:
    speech = voiced(2.0, rate)
    heard = CODECS[name](speech, rate, generator(0, 0, "u"))
    assert heard.shape == speech.shape and heard.dtype == np.float32
    assert abs(delay(speech, heard)) <= max(1, rate // 11025)
    snr = 10 * np.log10((speech**2).mean() / ((speech - heard) ** 2).mean())
    assert snr > LEAST_SNR[name]


def magnitudes(wave: Wave) -> Wave:
    """Of spectra of 32 ms: what is heard, without the phase that codecs are free to change."""
    return np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(wave, 512)[::256] * np.hanning(512)))


def test_more_bits_are_better() -> None:
    speech = voiced(2.0, RATE)
    for kind, rates in ((Opus, (6, 12, 24)), (AmrNb, (4.75, 7.95, 12.2))):
        heard = [kind([kbps])(speech, RATE, generator(0, 0, "u")) for kbps in rates]
        errors = [float(((magnitudes(one) - magnitudes(speech)) ** 2).mean()) for one in heard]
        assert errors == sorted(errors, reverse=True)
    for telephone in (Gsm(), AmrNb()):
        spectrum = np.abs(np.fft.rfft(telephone(noise(1), RATE, generator(0, 0, "u"))))
        assert spectrum[4200:].mean() < 0.01 * spectrum[500:3500].mean(), "nothing above 4 kHz"


@pytest.mark.parametrize("length", [1, 7, 100, 1000])
@pytest.mark.parametrize("name", CODECS)
def test_short_silent_and_loud_signals(name: str, length: int) -> None:
    for wave in (np.zeros(length, np.float32), noise(1)[:length]):
        heard = CODECS[name](wave, RATE, generator(0, 0, "u"))
        assert len(heard) == length and np.isfinite(heard).all()


@pytest.mark.parametrize("name", ["mu-law", "GSM", "Opus 24", "AMR 12.2", "G.722", "MP3 64"])
def test_above_full_scale_nothing_is_clipped(name: str) -> None:
    loud = tone(440, 1, amplitude=4.0)
    heard = CODECS[name](loud, RATE, generator(0, 0, "u"))
    assert float(np.abs(heard[2000:-2000]).max()) == pytest.approx(4, rel=0.25)
    harmonics = np.abs(np.fft.rfft(heard[: RATE // 2 * 2]))
    assert harmonics[3 * 440] < 0.05 * harmonics[440]


def test_the_telephone_of_the_conf(root: Path) -> None:
    config = read_config(root / "conf" / "audio" / "telephone.yaml")
    assert config["rate"] == 8000
    chain = build_chain(config["effects"], Sources())
    calls = [chain(noise(1, rate=8000), 8000, generator(0, 0, str(utt))) for utt in range(30)]
    assert len({call.tobytes() for call in calls}) >= 4, "several codecs"
    for call in calls:
        spectrum = np.abs(np.fft.rfft(call))
        assert spectrum[:150].mean() < 0.5 * spectrum[500:3000].mean()


def test_impossible_bit_rates_are_refused() -> None:
    with pytest.raises(DataError, match="Opus: kbps must be from 6 to 256"):
        Opus([5])
    with pytest.raises(DataError, match="Opus: complexity must be from 0 to 10, not 11"):
        Opus(complexity=11)
    with pytest.raises(DataError, match="AmrNb: kbps 6 is none of its modes"):
        AmrNb([6])
    with pytest.raises(DataError, match="Mp3: kbps"):
        Mp3([])
