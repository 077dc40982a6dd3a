"""Augmented copies: ids, tables, lengths, and the same files whatever the number of jobs and the order."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from timbre.audio.augmented_copies import Copy, augment, read_copies
from timbre.audio.effects import Sources
from timbre.audio.reading import read_audio
from timbre.datadir.ark import ArkWriter
from timbre.datadir.datadir import DataDir, Segment
from timbre.datadir.tables import read_table, write_table
from timbre.datadir.validate import validate
from timbre.utils.errors import DataError
from waves import RATE, Make, noise

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def data(make: Make) -> DataDir:
    """Four speakers with 20 utterances each, of a tenth of a second or a little more."""
    waves = {f"s{spk}-{utt:02d}": noise(0.1 + 0.001 * utt, 100 * spk + utt) for spk in range(4) for utt in range(20)}
    made = make("train", waves)
    write_table(made.path / "spk2gender", {"s0": "f", "s1": "m"})
    write_table(made.path / "utt2dur", {utt: f"{len(wave) / RATE}" for utt, wave in waves.items()})
    return made


@pytest.fixture
def sources(make: Make, data: DataDir) -> Sources:
    response = np.zeros(200, np.float32)
    response[[50, 150]] = [0.9, 0.4]
    made = {"noise": make("noise", {"n": noise(0.5, 1)}), "music": make("music", {"m": noise(3, 2)})}
    made |= {"rir": make("rir", {"r": response}), "speech": data}
    return Sources({kind: [one.path] for kind, one in made.items()})


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.flac")}


def test_kaldi_copies(data: DataDir, sources: Sources, tmp_path: Path) -> None:
    out = tmp_path / "aug"
    augment(data, out, read_copies(ROOT / "conf" / "augment" / "offline.yaml"), sources, nj=1)
    together = DataDir.read(out)
    copies = ("reverb", "noise", "music", "babble")
    assert set(together.utts) == {*data.utts, *(f"{utt}-{copy}" for utt in data.utts for copy in copies)}
    assert all(together.utt2spk[utt] == utt.split("-")[0] for utt in together.utts)
    assert read_table(out / "spk2gender") == {"s0": "f", "s1": "m"}
    originals = read_table(out / "utt2uniq")
    assert originals["s1-07"] == originals["s1-07-noise"] == "s1-07"
    assert not any(validate(path) for path in (out, *(out / copy for copy in copies)))
    changed = set()
    for copy in copies:
        new = DataDir.read(out / copy)
        for utt in data.utts:
            before, after = read_audio(data.wavs[utt])[0], read_audio(new.wavs[f"{utt}-{copy}"])[0]
            assert len(before) == len(after)
            changed.add(hashlib.sha256(after.tobytes()).hexdigest())
    assert len(changed) == 4 * len(data.utts), "every copy of every utterance is another"


def test_neither_jobs_nor_order_nor_company_matter(data: DataDir, sources: Sources, tmp_path: Path) -> None:
    copies = read_copies(ROOT / "conf" / "augment" / "offline.yaml")
    augment(data, tmp_path / "one", copies, sources, nj=1)
    augment(data, tmp_path / "two", {"babble": copies["babble"], "noise": copies["noise"]}, sources, nj=2)
    assert len(digests(tmp_path / "two")) == 2 * len(data.utts)
    assert digests(tmp_path / "two").items() <= digests(tmp_path / "one").items()
    utts = data.utts[5:9]
    few = DataDir(tmp_path / "few", {utt: data.wavs[utt] for utt in utts}, {utt: data.utt2spk[utt] for utt in utts})
    few.write(few.path)
    augment(few, tmp_path / "some", copies, sources, nj=1)
    assert digests(tmp_path / "some").items() <= digests(tmp_path / "one").items()
    del copies["reverb"]  # there is one room only
    augment(few, tmp_path / "other", copies, sources, nj=1, seed=1)
    assert not digests(tmp_path / "some").items() & digests(tmp_path / "other").items()


def test_segments_become_recordings(make: Make, tmp_path: Path) -> None:
    made = make("long", {"s-a": noise(3)})
    segments = {"s-1": Segment("s-a", 0.5, 1.25), "s-2": Segment("s-a", 1.25, -1)}
    DataDir(made.path, made.wavs, dict.fromkeys(segments, "s"), segments).write(made.path)
    hiss = {"class_path": "GaussianNoise"}
    augment(DataDir.read(made.path), tmp_path / "aug", {"hiss": Copy([hiss])}, Sources(), nj=1)
    together = DataDir.read(tmp_path / "aug")
    assert len(read_audio(*together.recording_of("s-1-hiss"))[0]) == 12000
    assert len(read_audio(*together.recording_of("s-2-hiss"))[0]) == len(read_audio(*together.recording_of("s-2"))[0])
    assert not validate(tmp_path / "aug")


def test_vad_goes_with_copies_of_the_same_length(data: DataDir, tmp_path: Path) -> None:
    with ArkWriter(data.path / "vad.ark") as writer:
        for utt in data.utts:
            writer.write(utt, np.ones(8, np.float32))
    write_table(data.path / "vad.scp", writer.scp)
    augment(data, tmp_path / "aug", {"hiss": Copy([{"class_path": "GaussianNoise"}])}, Sources(), nj=1)
    vad = read_table(tmp_path / "aug" / "vad.scp")
    assert vad["s0-00-hiss"] == vad["s0-00"]


def test_loud_mixtures_are_made_softer(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = make("loud", {"s-a": noise(1, amplitude=0.2), "s-b": noise(1, amplitude=0.0001)})
    hiss = {"class_path": "GaussianNoise", "init_args": {"min_amplitude": 0.3, "max_amplitude": 0.3}}
    with caplog.at_level(logging.WARNING):
        augment(data, tmp_path / "aug", {"hiss": Copy([hiss])}, Sources(), nj=1)
    assert "2 of 2 files were made softer" in caplog.text
    wave, _ = soundfile.read(DataDir.read(tmp_path / "aug" / "hiss").wavs["s-a-hiss"], dtype="int16")
    assert wave.max() == 32767 or wave.min() == -32767
    assert (np.abs(wave) == 32767).sum() == 1, "nothing is clipped"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must hold `key: value`"),
        ("copy: {}", "must hold `copies:`"),
        ("copies: {}", "must hold `copies:`"),
        ("copies: {a/b: {}}", "copy 'a/b': a name cannot have a slash"),
        ("copies: {a: {effect: []}}", "copy 'a': Copy: .*effect"),
        ("copies: {a: {effects: 3}}", "copy 'a': Copy: .*effects"),
    ],
)
def test_wrong_copies_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(content)
    with pytest.raises(DataError, match=rf"c\.yaml: {message}"):
        read_copies(tmp_path / "c.yaml")


def test_failures_leave_no_tables(data: DataDir, tmp_path: Path) -> None:
    Path(data.wavs["s0-03"]).write_bytes(b"")
    with pytest.raises(
        DataError, match=r"1 of 80 recordings have no audio.*; the first is 's0-03-hiss': .*the file is empty"
    ):
        augment(data, tmp_path / "aug", {"hiss": Copy([{"class_path": "GaussianNoise"}])}, Sources(), nj=1)
    assert not list((tmp_path / "aug").rglob("wav.scp"))
    hiss = {"hiss": Copy([{"class_path": "GaussianNoise"}])}
    augment(data, tmp_path / "aug", hiss, Sources(), nj=1, allow_missing="2%")
    left = set(DataDir.read(tmp_path / "aug" / "hiss").utt2spk)
    assert left == {f"{utt}-hiss" for utt in data.utts} - {"s0-03-hiss"}
    assert (tmp_path / "aug" / "hiss" / "audio.missing").read_text().startswith("s0-03-hiss ")
    with pytest.raises(DataError, match="copy 'n': an effect needs noise"):
        augment(data, tmp_path / "aug", {"n": Copy([{"class_path": "AddNoise"}])}, Sources(), nj=1)
    with pytest.raises(DataError, match="must not be the old one"):
        augment(data, data.path, {}, Sources(), nj=1)
