"""Noise, music and babble: the ratio achieved is the one asked for, from pieces that are read by seeking."""

import math
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from timbre.audio.effects import AddForegroundNoise, AddNoise, Babble, GaussianNoise, Sources, generator
from timbre.audio.effects.noise import level
from timbre.audio.effects.sources import Pool
from timbre.audio.reading import AUDIO_SUFFIXES
from timbre.datadir.datadir import DataDir, Segment
from timbre.utils.errors import DataError
from waves import RATE, Make, Wave, noise


def snr(speech: Wave, mixed: Wave) -> float:
    return float(10 * np.log10((speech.astype(float) ** 2).mean() / ((mixed - speech).astype(float) ** 2).mean()))


def sources(**kinds: DataDir) -> Sources:
    return Sources({kind: [data.path] for kind, data in kinds.items()})


@pytest.mark.parametrize("wanted", [-5.0, 0.0, 15.0])
@pytest.mark.parametrize("amplitude", [0.5, 1e-4])
def test_the_ratio_is_the_one_asked_for(make: Make, wanted: float, amplitude: float) -> None:
    """Of loud and of soft noise: on a scale of 1, the floor of 1e-4 would leave 1e-4 rms of noise as it is."""
    data = make("noise", {"n": noise(5, 1, amplitude)}, subtype="FLOAT")
    speech = noise(2, 2, 0.1)
    mixed = AddNoise(sources(noise=data), snrs=[wanted])(speech, RATE, generator(0, 0, "u"))
    assert snr(speech, mixed) == pytest.approx(wanted, abs=0.02)


def test_levels_are_those_of_16_bit_integers() -> None:
    assert level(np.zeros(10, np.float32)) == pytest.approx(-40)
    assert level(np.ones(10, np.float32)) == pytest.approx(20 * math.log10(32768))


def test_each_voice_has_its_ratio_and_none_is_the_speaker(make: Make) -> None:
    names = [f"s{number}-{utt}" for number in range(6) for utt in "ab"]
    data = make("speech", {name: np.full(RATE, 0.01 * (1 + index), np.float32) for index, name in enumerate(names)})
    pool = Pool([data.path])
    levels = {round(0.01 * (1 + index), 2): name for index, name in enumerate(names)}
    for seed in range(50):
        voices = pool.voices(generator(seed, 0, "u"), 5, RATE // 2, RATE, "s3")
        heard = [levels[round(float(voice[0]), 2)].split("-")[0] for voice in voices]
        assert "s3" not in heard and len(set(heard)) == 5
    two_left = pool.voices(generator(0, 0, "u"), 7, 100, RATE, "s3")
    assert len(two_left) == 7, "five speakers cannot be seven, but none is the one who must not be"
    waves = {f"t{number}-a": noise(1, number) for number in range(7)}
    babble = Babble(sources(speech=make("other", waves)), snrs=[20], min_count=5, max_count=5)
    speech = noise(1, 99, 0.2)
    heard = babble(speech, RATE, generator(0, 0, "u"), "t0")
    assert snr(speech, heard) == pytest.approx(20 - 10 * math.log10(5), abs=0.3)


def test_babble_of_the_speaker_alone_is_refused(make: Make) -> None:
    babble = Babble(sources(speech=make("speech", {"s-a": noise(1), "s-b": noise(1)})))
    with pytest.raises(DataError, match="babble for 's': the speech is all of the same speaker"):
        babble(noise(1), RATE, generator(0, 0, "u"), "s")


def test_short_noise_is_repeated(make: Make) -> None:
    data = make("noise", {"n": noise(0.3, 1)})
    piece = Pool([data.path]).piece(generator(0, 0, "u"), RATE, RATE)
    period = round(0.3 * RATE)
    assert len(piece) == RATE
    np.testing.assert_array_equal(piece[period : 2 * period], piece[:period])


def test_foreground_noises_come_one_after_the_other(make: Make) -> None:
    data = make("noise", {"n": noise(0.5, 1)})
    speech = noise(4, 2)
    added = AddForegroundNoise(sources(noise=data), snrs=[5], gap=1.0)(speech, RATE, generator(0, 0, "u")) - speech
    heard = np.abs(added).reshape(-1, RATE // 10).max(axis=1) > 1e-6
    assert heard.tolist() == ([True] * 5 + [False] * 10) * 2 + [True] * 5 + [False] * 5
    first = added[: RATE // 2]
    ratio = 10 * np.log10((speech**2).mean() / (first**2).mean())
    assert ratio == pytest.approx(5, abs=0.01)


@pytest.mark.parametrize(("suffix", "rate"), [("wav", RATE), ("flac", RATE), ("opus", RATE), ("wav", 8000)])
def test_only_the_piece_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, rate: int) -> None:
    kind = {"format": "OGG", "subtype": "OPUS"} if suffix == "opus" else {}
    soundfile.write(tmp_path / f"long.{suffix}", noise(20, rate=rate), rate, **kind)
    counts: list[int] = []
    read = soundfile.SoundFile.read

    def counting(self: soundfile.SoundFile, *args: object, **kwargs: object) -> object:
        block = read(self, *args, **kwargs)
        counts.append(len(block))
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    pool = Pool([tmp_path])
    for seed in range(5):
        assert len(pool.piece(generator(seed, 0, "u"), 2 * RATE, RATE)) == 2 * RATE
    assert counts == [2 * rate] * 5


def test_pieces_are_of_their_segment(make: Make, tmp_path: Path) -> None:
    ramp = np.arange(RATE * 4, dtype=np.float32) / (RATE * 4)
    data = make("long", {"r-a": ramp})
    DataDir(data.path, data.wavs, {"r-x": "r"}, {"r-x": Segment("r-a", 1.0, 2.0)}).write(data.path)
    pieces = [Pool([data.path]).piece(generator(seed, 0, "u"), RATE // 4, RATE) for seed in range(20)]
    assert min(piece.min() for piece in pieces) >= 0.25 - 1e-3
    assert max(piece.max() for piece in pieces) <= 0.5 + 1e-3
    assert len({float(piece[0]) for piece in pieces}) == 20


def test_several_directories_are_equally_likely(make: Make) -> None:
    one = make("one", {"a": np.full(100, 0.1, np.float32)})
    many = make("many", {f"b{number}": np.full(100, 0.2, np.float32) for number in range(30)})
    pool = Pool([one.path, many.path])
    rng = generator(0, 0, "u")
    of_one = sum(pool.piece(rng, 10, RATE)[0] < 0.15 for _ in range(400))
    assert 150 < of_one < 250


def test_silent_parts_of_noise_are_passed_over(make: Make) -> None:
    padded = np.concatenate([noise(1), np.zeros(RATE, np.float32)])
    pool = Pool([make("noise", {"n": padded}).path])
    assert all(pool.piece(generator(seed, 0, "u"), RATE // 10, RATE).any() for seed in range(20))


def test_silence_stays_silent_and_silent_noise_changes_nothing(make: Make) -> None:
    loud, silent = make("loud", {"n": noise(1)}), make("silent", {"n": np.zeros(RATE, np.float32)})
    still = AddNoise(sources(noise=loud))(np.zeros(RATE, np.float32), RATE, generator(0, 0, "u"))
    assert np.abs(still).max() < 1e-5
    speech = noise(1, 5)
    np.testing.assert_array_equal(AddNoise(sources(noise=silent))(speech, RATE, generator(0, 0, "u")), speech)


def test_the_samples_given_are_not_changed(make: Make) -> None:
    speech = noise(1, 5)
    before = speech.copy()
    AddNoise(sources(noise=make("noise", {"n": noise(1)})))(speech, RATE, generator(0, 0, "u"))
    np.testing.assert_array_equal(speech, before)


def test_gaussian_noise_has_its_amplitude() -> None:
    added = GaussianNoise(0.01, 0.01)(np.zeros(RATE, np.float32), RATE, generator(0, 0, "u"))
    assert added.dtype == np.float32 and added.std() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "empty"), (b"RIFF nonsense", "not audio"), ("nan", "NaN or infinite")],
)
def test_bad_noise_is_named(make: Make, content: bytes | str | None, message: str) -> None:
    data = make("noise", {"n": noise(1)})
    file = Path(data.wavs["n"])
    file.unlink()
    if content == "nan":
        soundfile.write(file, np.full(RATE, np.nan, np.float32), RATE, subtype="FLOAT")
    elif isinstance(content, bytes):
        file.write_bytes(content)
    with pytest.raises(DataError, match=rf"n\.wav: .*{message}"):
        Pool([data.path]).piece(generator(0, 0, "u"), 100, RATE)


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="an effect needs music: give its data directory with --music-dir"):
        AddNoise(Sources(), source="music")
    with pytest.raises(DataError, match="no such directory"):
        AddNoise(Sources({"noise": [tmp_path / "absent"]}))
    with pytest.raises(DataError, match=r"neither wav\.scp nor any audio file"):
        AddNoise(Sources({"noise": [tmp_path]}))


def test_stereo_noise_gives_its_first_channel(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "s.wav", np.stack([np.full(100, 0.5), np.full(100, -0.5)], axis=1), RATE)
    assert (Pool([tmp_path]).piece(generator(0, 0, "u"), 50, RATE) > 0).all()


def test_noise_from_a_pipe(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "n.wav", noise(2), RATE)
    (tmp_path / "wav.scp").write_text(f"n cat {tmp_path}/n.wav |\n")
    assert len(Pool([tmp_path]).piece(generator(0, 0, "u"), 1000, RATE)) == 1000


@pytest.mark.parametrize("suffix", [one[1:] for one in AUDIO_SUFFIXES])
def test_a_folder_may_hold_any_kind_of_audio(tmp_path: Path, suffix: str) -> None:
    wave = (0.1 * np.sin(2 * np.pi * 440 / RATE * np.arange(2 * RATE))).astype(np.float32)
    path = tmp_path / f"Noise.{suffix.upper()}"
    if suffix in ("m4a", "aac", "webm"):
        kind, codec = {"m4a": ("ipod", "aac"), "aac": ("adts", "aac"), "webm": ("webm", "libopus")}[suffix]
        with av.open(str(path), "w", format=kind) as media:
            stream = media.add_stream(codec, rate=RATE, layout="mono")
            frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            frames = av.AudioResampler(format=stream.format, frame_size=0).resample(frame)
            for packet in [packet for one in [*frames, None] for packet in stream.encode(one)]:
                media.mux(packet)
    else:
        how = {"sph": ("NIST", "PCM_16"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III")}
        kind, subtype = how.get(suffix, (suffix.upper(), None))
        soundfile.write(path, wave, RATE, format=kind, subtype=subtype)
    piece = Pool([tmp_path]).piece(generator(0, 0, "u"), RATE, RATE)
    assert len(piece) == RATE and np.abs(np.fft.rfft(piece * np.hanning(RATE))).argmax() == 440
