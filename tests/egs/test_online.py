"""Training on waveforms: crops read by themselves, augmented repeatably, and with the features of the CPU path."""

import dataclasses
import itertools
import math
import os
import signal
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile
import torch

from egs_corpus import write_configs, write_small_egs
from timbre.audio.effects import Sources, build_chain, generator
from timbre.audio.reading import read_audio
from timbre.datadir.datadir import DataDir
from timbre.egs.crop_effects import Augmentation, Augmenter
from timbre.egs.egs_files import EgsFiles
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import Batch, EgsReader, Position, check_egs
from timbre.egs.egs_writer import write_egs
from timbre.egs.options import BatchOptions, EgsOptions
from timbre.egs.waveforms import join_voiced, list_waveforms
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import FbankOptions, FrameOptions, MfccOptions, SpectrogramOptions
from timbre.feats.spec_augment import SpecAugmentOptions
from timbre.nnet import checkpoint
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.training.front_end import FrontEnd, normalize_batch
from timbre.training.loop import Trainer, train
from timbre.training.options import TrainOptions
from timbre.training.train_log import read_log
from timbre.utils.errors import DataError
from wave_corpus import FBANK, RATE, write_noise, write_wave_dir, write_wave_egs

MASKS = SpecAugmentOptions(max_bins=4, time_masks=2, max_frames=5)
KINDS = {"shuffled": BatchOptions(min_frames=15, max_frames=25), "speakers": BatchOptions("speakers", 2)}


class Online:
    """Egs of waveforms, noise for them, and the two networks' files."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.egs = directory, directory / "egs"
        self.manifest = write_wave_egs(self.egs)
        self.data = DataDir.read(directory / "egs_data")
        self.network, self.objective = write_configs(directory / "conf")
        self.noise = write_noise(directory / "noise", 60)
        speech = self.data.path
        effects = [
            {"class_path": "Sometimes", "init_args": {"effects": [{"class_path": "AddNoise"}], "probability": 0.7}},
            {"class_path": "Babble", "init_args": {"min_count": 1, "max_count": 2}},
            {"class_path": "Speed"},
        ]
        self.augmentation = Augmentation(effects, {"noise": (self.noise,), "speech": (speech,)})

    def augmenter(self, scattered: bool = False) -> Augmenter:
        return Augmenter(self.egs, self.manifest, self.augmentation, 1, scattered)

    def reader(self, batches: BatchOptions = BatchOptions(), augmented: bool = False, **options: object) -> EgsReader:
        augmenter = self.augmenter(batches.kind != "shuffled") if augmented else None
        options |= {"batches": batches, "augmenter": augmenter, "spec_augment": MASKS}
        return EgsReader(self.egs, self.manifest, 16, 1, **options)

    def train(self, name: str, **options: object) -> list[dict[str, float]]:
        """Trains with augmentation and masks; the log, without what is measured."""
        settings = dataclasses.replace(OPTIONS, **options)
        train(self.egs, self.directory / name, self.network, self.objective, settings, self.augmentation)
        lines = read_log(self.directory / name / "log.jsonl")
        return [{key: line[key] for key in line if key not in ("examples_per_s", "waiting")} for line in lines]


OPTIONS = TrainOptions(
    batch_size=32,
    num_steps=16,
    warmup_steps=2,
    min_frames=20,
    max_frames=28,
    spec_augment=MASKS,
    log_interval=1,
    valid_interval=8,
    checkpoint_interval=50,
    tensorboard=False,
    amp="auto",
    device="cpu",
)


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Online:
    return Online(tmp_path_factory.mktemp("online"))


def _take(reader: EgsReader, number: int) -> list[Batch]:
    return list(itertools.islice(reader, number))


def _equal(one: list[Batch], other: list[Batch]) -> bool:
    names = ("feats", "labels", "masks")
    return all(
        torch.equal(getattr(a, name), getattr(b, name)) for a, b in zip(one, other, strict=True) for name in names
    )


def test_a_kaldi_archive_holds_the_voiced_samples(online: Online) -> None:
    waves = {wave.utt: wave.read() for wave in list_waveforms(online.data, NormalizeOptions())}
    wav = read_audio(online.data.wavs["spk00-utt0"])[0] * 32768
    whole = list_waveforms(online.data, NormalizeOptions(vad=False))[0].read()
    assert np.array_equal(whole.ravel()[: len(wav)], wav[: whole.size])
    assert len(waves["spk00-utt0"]) < len(whole) - 5, "the silence is left out"
    read = 0
    for path in online.egs.glob("egs.*.ark"):
        for key, matrix in kaldiio.load_ark(str(path)):
            utt, start, _ = key.rsplit("-", 2)
            rows = waves[utt]
            wanted = rows[(int(start) + np.arange(len(matrix))) % len(rows)]
            assert np.abs(matrix - wanted).max() < 0.01
            read += 1
    assert read == online.manifest.num_examples > 100
    assert online.manifest.normalize == NormalizeOptions(voiced_first=True)
    assert online.manifest.waveform == FBANK and Manifest.read(online.egs) == online.manifest


def test_joined_stretches_do_not_click() -> None:
    shift = FBANK.shift
    tone = np.rint(8000 * np.sin(2 * np.pi * 130 / RATE * np.arange(40 * shift))).astype(np.int16)
    rows, voiced = tone.reshape(40, shift), np.ones(40, bool)
    voiced[[5, 10, 11, 13, 30]] = False  # frame 12 is alone
    hard, faded = rows[voiced], join_voiced(rows, voiced)
    assert faded.shape == hard.shape
    changed = np.abs(faded.astype(np.int32) - hard).reshape(-1)
    joins = np.array([5, 9, 10, 26]) * shift
    near = np.abs(np.arange(hard.size)[:, None] - joins + 0.5).min(1) < shift // 4
    assert changed[near].max() > 1000 and not changed[~near].any()

    def high(wave: np.ndarray) -> np.ndarray:
        windows = np.stack([wave.reshape(-1)[join - 80 : join + 80] for join in joins]) * np.hanning(160)
        return 10 * np.log10((np.abs(np.fft.rfft(windows)) ** 2)[:, 20:].sum(1) + 1)  # above 1 kHz

    assert (high(faded) < high(hard) - 10).all()
    assert np.array_equal(join_voiced(rows, np.ones(40, bool)), rows)
    assert join_voiced(rows, np.zeros(40, bool)).shape == (0, shift)


FEATURES: dict[str, FrameOptions] = {
    "fbank": FBANK,
    "snipped": FbankOptions(sample_frequency=RATE, num_mel_bins=24, use_energy=True),
    "mfcc": MfccOptions(sample_frequency=RATE, snip_edges=False),
    "spectrogram": SpectrogramOptions(sample_frequency=RATE, snip_edges=False, subtract_mean=True),
}
NORMALIZATIONS = {
    "sliding": NormalizeOptions(window=30, vad=False),
    "variance": NormalizeOptions(window=25, norm_vars=True, vad=False),
    "utterance": NormalizeOptions(cmn="utterance", norm_vars=True, vad=False),
    "none": NormalizeOptions(cmn="none", vad=False),
}


@pytest.mark.parametrize("kind", FEATURES)
def test_features_of_a_batch_are_those_of_the_cpu_path(kind: str) -> None:
    options = FEATURES[kind]
    waves = np.random.default_rng(0).integers(-20000, 20000, (7, 50 * options.shift), np.int16)
    alone = [FeatureExtractor(options)([wave / np.float32(32768)])[0] for wave in waves]
    together = FeatureExtractor(options).batch(torch.from_numpy(waves))
    assert together.shape == (7, options.num_frames(waves.shape[1]), options.dim)
    assert float((together - torch.stack(alone)).abs().max()) <= 1e-5
    assert FeatureExtractor(options).batch(torch.zeros(3, 10, dtype=torch.int16)).shape[1] in (0, 10 // options.shift)


@pytest.mark.parametrize("kind", NORMALIZATIONS)
@pytest.mark.parametrize("frames", [20, 70])
def test_normalisation_of_a_batch_is_that_of_each_example(kind: str, frames: int) -> None:
    feats = np.random.default_rng(0).normal(12, 3, (5, frames, 9)).astype(np.float32)
    alone = np.stack([normalize(one, None, NORMALIZATIONS[kind]) for one in feats])
    assert normalize_batch(torch.from_numpy(feats), NORMALIZATIONS[kind]).numpy() == pytest.approx(alone, abs=1e-4)


def test_the_network_sees_what_the_cpu_path_makes_of_a_crop(online: Online) -> None:
    (batch,) = _take(online.reader(KINDS["shuffled"]), 1)
    feats = FrontEnd(online.manifest, MASKS, torch.device("cpu"))(batch).feats.numpy()
    masked = 0
    for one, wave, bounds in zip(feats, batch.feats.numpy(), batch.masks.numpy(), strict=True):
        wanted = normalize(
            FeatureExtractor(FBANK)([wave / np.float32(32768)])[0].numpy(), None, NormalizeOptions(vad=False)
        )
        for number, (start, stop) in enumerate(bounds):
            wanted[:, start:stop] *= number >= MASKS.freq_masks
            wanted[start:stop] *= number < MASKS.freq_masks
            masked += stop - start
        assert one == pytest.approx(wanted, abs=1e-4)
    assert masked > 16


@pytest.mark.parametrize(("kind", "augmented"), [("shuffled", False), ("speakers", False), ("shuffled", True)])
def test_batches_depend_on_neither_workers_nor_interruptions_nor_ranks(
    online: Online, kind: str, augmented: bool
) -> None:
    options = {"batches": KINDS[kind], "augmented": augmented}
    reader = online.reader(**options)
    number = reader.batches_per_epoch + 4
    whole = _take(reader, number)
    position = Position(*divmod(number - 8, reader.batches_per_epoch))
    assert _equal(whole[-8:], _take(online.reader(**options, position=position, threads=3, augment_jobs=2), 8))
    for rank in range(2):
        part = slice(8 * rank, 8 * rank + 8)
        wanted = [Batch(batch.feats[part], batch.labels[part], batch.masks[part]) for batch in whole[:3]]
        assert _equal(wanted, _take(online.reader(**options, rank=rank, world_size=2), 3))


def test_an_example_is_augmented_otherwise_each_epoch_as_the_effects_do(online: Online) -> None:
    augmenter, files = online.augmenter(), EgsFiles(online.egs, online.manifest)
    examples, starts = np.array([3, 8]), np.array([2, 0])
    assert augmenter.rows(20) == 22
    plain, first, again, second = (np.empty((2, rows, FBANK.shift), np.int16) for rows in (22, 20, 20, 20))
    files.read(examples, starts, plain)
    for epoch, out in ((4, first), (4, again), (5, second)):
        augmenter.fill(epoch, examples, starts, out)
    assert np.array_equal(first, again) and not np.array_equal(first, second)
    chain = build_chain(online.augmentation.effects, Sources(online.augmentation.sources))
    speakers = {int(number): name for name, number in (line.split() for line in (online.egs / "spk2int").open())}
    for out, wave, key, speaker in zip(first, plain, files.keys(examples), files.speakers[examples], strict=True):
        assert key.startswith(speakers[speaker])
        wanted = chain(wave.ravel() / np.float32(32768), RATE, generator(1, 4, key), speakers[speaker])
        assert np.array_equal(out.ravel(), np.rint(wanted * 32768)[: out.size])


def test_effects_come_in_over_the_first_epochs(online: Online) -> None:
    ramp = dataclasses.replace(online.augmentation, ramp_epochs=3)
    examples = np.arange(online.manifest.num_examples)
    starts = np.zeros(len(examples), np.int64)
    plain, *outs = (np.empty((len(examples), 20, FBANK.shift), np.int16) for _ in range(5))
    EgsFiles(online.egs, online.manifest).read(examples, starts, plain)
    shares = []
    for epoch, out in enumerate(outs):
        Augmenter(online.egs, online.manifest, ramp, 1).fill(epoch, examples, starts, out)
        shares.append(float((out != plain).any(axis=(1, 2)).mean()))
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=3.5 * math.sqrt(0.25 / len(examples)))
    online.augmenter().fill(3, examples, starts, plain)
    assert np.array_equal(outs[3], plain)


def test_faster_speech_is_read_further_not_repeated(online: Online, caplog: pytest.LogCaptureFixture) -> None:
    faster = Augmentation([{"class_path": "Gain"}, {"class_path": "Speed", "init_args": {"factors": [1.25]}}], {})
    augmenter = Augmenter(online.egs, online.manifest, faster, 0)
    files = EgsFiles(online.egs, online.manifest)
    assert augmenter.rows(24) == 30 == files.frames.min()
    out, whole = np.empty((1, 24, FBANK.shift), np.int16), np.empty((1, 30, FBANK.shift), np.int16)
    for example in range(5):
        augmenter.fill(0, np.array([example]), np.array([0]), out)
        files.read(np.array([example]), np.array([0]), whole)
        key = files.keys(np.array([example]))[0]
        effects = build_chain(faster.effects, Sources())
        wanted = effects(whole.ravel() / np.float32(32768), RATE, generator(0, 0, key))
        assert len(wanted) == out.size and np.array_equal(out.ravel(), np.rint(wanted * 32768))
    for options, repeats in ((BatchOptions(min_frames=15, max_frames=24), 0), (BatchOptions(), 16)):
        reader = EgsReader(online.egs, online.manifest, 16, 1, batches=options, augmenter=augmenter)
        for batch in _take(reader, reader.batches_per_epoch // 4):
            assert sum(map(_begins_again, batch.feats.numpy())) == repeats
    assert [record.args[1:] for record in caplog.records] == [(38, 30)]


def _begins_again(wave: np.ndarray) -> bool:
    return any(
        np.array_equal(wave[place:], wave[: len(wave) - place]) for place in range(len(wave) // 2, len(wave) - 16)
    )


def test_examples_of_several_lengths_are_read_as_far_as_they_go(online: Online) -> None:
    files = EgsFiles(online.egs, online.manifest, scattered=True)
    lengths = files.lengths(np.arange(len(files.speakers)))
    assert lengths.max() > lengths.min() == 30
    examples = np.concatenate([np.flatnonzero(lengths == n)[:3] for n in (30, lengths.max())])
    together, alone = (np.empty((6, 30, FBANK.shift), np.int16) for _ in range(2))
    starts = np.zeros(6, np.int64)
    augmenter = online.augmenter(scattered=True)
    augmenter.fill(0, examples, starts, together)
    for place in range(6):
        augmenter.fill(0, examples[place : place + 1], starts[:1], alone[place : place + 1])
    assert np.array_equal(together, alone)


def test_a_crop_reads_its_own_bytes(online: Online, monkeypatch: pytest.MonkeyPatch) -> None:
    read, preadv = [], os.preadv
    monkeypatch.setattr(os, "preadv", lambda *arguments: read.append(preadv(*arguments)) or read[-1])
    out = np.empty((8, 20, FBANK.shift), np.int16)
    EgsFiles(online.egs, online.manifest).read(np.arange(8) * 5, np.arange(8), out)
    assert sum(read) == out.nbytes


def test_noise_is_read_by_seeking(online: Online, monkeypatch: pytest.MonkeyPatch) -> None:
    read, original = [], soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile,
        "read",
        lambda file, frames=-1, *rest, **more: (read.append(frames), original(file, frames, *rest, **more))[1],
    )
    noise = Augmentation([{"class_path": "AddNoise"}], {"noise": (online.noise,)})
    out = np.empty((8, 20, FBANK.shift), np.int16)
    Augmenter(online.egs, online.manifest, noise, 0).fill(0, np.arange(8), np.zeros(8, np.int64), out)
    assert read == [20 * FBANK.shift] * 8, "of a minute of noise"


def test_short_utterances_are_repeated(tmp_path: Path) -> None:
    manifest = write_wave_egs(tmp_path / "egs", min_frames=120, max_frames=120, short="repeat")
    assert manifest.num_too_short == 0 and {ark.frames for ark in manifest.train} == {120}
    files, out = EgsFiles(tmp_path / "egs", manifest), np.empty((1, 120, FBANK.shift), np.int16)
    files.read(np.array([0]), np.array([0]), out)
    waves = list_waveforms(DataDir.read(tmp_path / "egs_data"), NormalizeOptions())
    length = {wave.utt: len(wave.read()) for wave in waves}[files.keys(np.array([0]))[0].rsplit("-", 2)[0]]
    assert length < 100 and np.array_equal(out[0, length:], out[0, :-length])


def test_interrupted_training_goes_on_to_the_bit(online: Online) -> None:
    whole = online.train("whole")
    assert whole[-1]["epoch"] > 1.2
    update = Trainer._update

    def stopping(trainer: Trainer, *arguments: object) -> None:
        if trainer.step == 8:  # the ninth
            os.kill(os.getpid(), signal.SIGTERM)
        update(trainer, *arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "_update", stopping)
        online.train("stopped")
    assert online.train("stopped", augment_jobs=2, reader_threads=2) == whole
    one, other = (checkpoint.load(online.directory / name / "final.pt")["network"] for name in ("whole", "stopped"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_training_on_waveforms_learns(online: Online) -> None:
    settings = dataclasses.replace(OPTIONS, num_steps=60, lr=0.01, valid_interval=60, spec_augment=None)
    train(online.egs, online.directory / "learnt", online.network, online.objective, settings)
    lines = read_log(online.directory / "learnt" / "log.jsonl")
    first, last = (np.mean([line["loss"] for line in part]) for part in (lines[:5], lines[-5:]))
    assert last < 0.5 * first
    assert lines[-1]["valid_accuracy"] > 0.4  # of six utterances of 12 speakers; on features, as evaluation has them


def test_other_augmentation_starts_anew(online: Online, caplog: pytest.LogCaptureFixture) -> None:
    arguments = online.egs, online.directory / "anew", online.network, online.objective
    settings = dataclasses.replace(OPTIONS, num_steps=2)
    train(*arguments, settings)
    train(*arguments, settings, Augmentation([{"class_path": "Gain"}], {}))
    assert "augment None -> {'effects': [{'class_path': 'Gain'}]" in caplog.text


def test_an_effect_that_fails_names_the_utterance(online: Online) -> None:
    noise = online.directory / "damaged"
    noise.mkdir()
    (noise / "noise.wav").write_text("no audio")
    broken = Augmentation([{"class_path": "AddNoise"}], {"noise": (noise,)})
    augmenter = Augmenter(online.egs, online.manifest, broken, 0)
    reader = EgsReader(online.egs, online.manifest, 16, 1, augmenter=augmenter)
    with pytest.raises(DataError, match=r"^utterance spk\d\d-utt\d: augmentation: .*damaged/noise\.wav: not audio"):
        _take(reader, 1)


def test_what_cannot_be_is_refused(online: Online, tmp_path: Path) -> None:
    features = write_small_egs(tmp_path / "features")
    with pytest.raises(DataError, match=r"features: augmentation needs egs of waveforms"):
        Augmenter(tmp_path / "features", features, online.augmentation, 0)
    with pytest.raises(DataError, match="needs rir: give its data directory with --rir-dir"):
        Augmenter(online.egs, online.manifest, Augmentation([{"class_path": "Reverberate"}], {}), 0)
    (tmp_path / "copies.yaml").write_text("copies: {}")
    with pytest.raises(DataError, match=r"copies\.yaml: must hold `effects:`, a list"):
        Augmentation.read(tmp_path / "copies.yaml", {})
    (tmp_path / "ramp.yaml").write_text("{effects: [], ramp_epochs: -1}")
    with pytest.raises(DataError, match=r"ramp\.yaml: ramp_epochs must be a whole number, 0 or more, not -1"):
        Augmentation.read(tmp_path / "ramp.yaml", {})
    data = write_wave_dir(tmp_path / "data", 4, 2, dataclasses.replace(FBANK, dither=1.0))
    options = EgsOptions(min_frames=20, max_frames=20, kind="waveform")
    with pytest.raises(DataError, match="dither"):
        write_egs(data, tmp_path / "egs", options, NormalizeOptions(), nj=1, seed=0)
    (data.path / "conf" / "feats.yaml").unlink()
    with pytest.raises(DataError, match=r"conf/feats\.yaml: no such file: compute features first"):
        write_egs(data, tmp_path / "egs", options, NormalizeOptions(), nj=1, seed=0)


def test_damaged_shards_are_named(tmp_path: Path) -> None:
    egs = tmp_path / "egs"
    manifest = write_wave_egs(egs, num_repeats=1.0)
    ark = egs / "egs.1.ark"
    content = ark.read_bytes()
    ark.write_bytes(content[:-7])
    with pytest.raises(DataError, match=r"egs\.1\.ark: \d+ bytes, but manifest.json says \d+"):
        check_egs(egs, manifest)
    with pytest.raises(DataError, match=r"egs\.1\.ark: has become shorter"):
        _take(EgsReader(egs, manifest, 4, 0), 1000)
    ark.unlink()
    with pytest.raises(DataError, match=r"egs\.1\.ark: no such file"):
        check_egs(egs, manifest)
