"""The pass over the audio: what it writes, that it goes on where it was, and what it does with audio that is bad."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import timbre.audit.audit_pass as audit
from audit_corpus import spoken, write_set
from timbre.audit.audit_pass import ListenOptions, audit_audio
from timbre.audit.audit_table import AuditTable
from timbre.datadir.ark import read_vectors
from timbre.datadir.datadir import DataDir
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import MfccOptions
from timbre.feats.vad import VadOptions, energy_vad

OPTIONS = ListenOptions(MfccOptions(sample_frequency=8000, num_ceps=10), VadOptions())
Table = Callable[..., AuditTable]


@pytest.fixture
def listen(tmp_path: Path) -> Table:
    def call(data: DataDir, options: ListenOptions = OPTIONS) -> AuditTable:
        audit_audio(data, tmp_path / "out", options, 1)
        return AuditTable.read(tmp_path / "out" / "utt2audit.tsv")

    return call


def parts(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "out" / "parts").iterdir()}


def test_statistics_are_those_of_the_frames_of_each_kind(tmp_path: Path, listen: Table) -> None:
    table = listen(write_set(tmp_path / "data", [1, 2], 3))
    assert table.utts == [f"s00{spk}-0{utt}" for spk in (1, 2) for utt in range(3)]
    wave = soundfile.read(tmp_path / "data" / "wav" / "s001-01.wav", dtype="float32")[0]
    (feats,), (energy,) = FeatureExtractor(OPTIONS.mfcc).with_energy([wave])
    voiced = energy_vad(energy.numpy(), OPTIONS.vad)
    assert table.speech[1] == voiced.sum() and table.nonspeech[1] == (~voiced).sum()
    assert 45 < table.speech[1] < 60
    for kind, chosen in (("speech", voiced), ("nonspeech", ~voiced)):
        ids, vectors = read_vectors(tmp_path / "out" / f"{kind}.scp")
        assert ids == table.utts
        wanted = np.concatenate([feats.numpy()[chosen].mean(0), feats.numpy()[chosen].std(0)])
        np.testing.assert_allclose(vectors[1], wanted, rtol=1e-4, atol=1e-4)


def test_guard_leaves_out_the_frames_beside_speech(tmp_path: Path, listen: Table) -> None:
    data = write_set(tmp_path / "data", [1], 2)
    near, far = listen(data), listen(data, replace(OPTIONS, guard=4))
    assert (far.speech == near.speech).all()
    assert (near.nonspeech - far.nonspeech).tolist() == [12, 12]  # at the three edges of the two bursts


def test_what_has_not_changed_is_not_done_again(tmp_path: Path, listen: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_MEAN_SIZE", 4)
    data = write_set(tmp_path / "data", range(6), 6)
    first = listen(data)
    before = parts(tmp_path)
    assert len(before) // 5 > 3
    again = listen(data)
    assert parts(tmp_path) == before and again.content.tolist() == first.content.tolist()

    soundfile.write(data.wavs["s003-02"], spoken(77, 0, "speaker", "speaker"), 8000)
    changed = listen(data)
    after = parts(tmp_path)
    assert len(before.items() & after.items()) == len(before) - 5 and len(after) == len(before)
    assert [utt for utt, old, new in zip(first.utts, first.content, changed.content, strict=True) if old != new] == [
        "s003-02"
    ]

    one_less = {utt: spk for utt, spk in data.utt2spk.items() if utt != "s000-00"}
    listen(replace(data, wavs={utt: data.wavs[utt] for utt in one_less}, utt2spk=one_less))
    assert len(after.items() & parts(tmp_path).items()) >= len(after) - 5  # ends of parts do not move along

    listen(data, replace(OPTIONS, guard=1))
    assert not after.items() & parts(tmp_path).items()


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, listen: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_MEAN_SIZE", 4)
    data = write_set(tmp_path / "data", range(6), 6)
    done, real = [], audit._listen

    def stop_at_third(part: audit._Part) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(part)
        real(part)

    monkeypatch.setattr(audit, "_listen", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        listen(data)
    kept = parts(tmp_path)
    assert len(kept) == 10 and not (tmp_path / "out" / "utt2audit.tsv").exists()
    monkeypatch.setattr(audit, "_listen", real)
    table = listen(data)
    assert kept.items() <= parts(tmp_path).items() and len(table) == 36


def test_the_jobs_do_not_change_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_MEAN_SIZE", 4)
    data = write_set(tmp_path / "data", range(3), 4)
    for nj in (1, 2):
        audit_audio(data, tmp_path / str(nj), OPTIONS, nj)
    tables = [(tmp_path / nj / "utt2audit.tsv").read_bytes() for nj in "12"]
    assert tables[0] == tables[1]


def test_bad_audio_is_a_line_and_not_the_end(tmp_path: Path, listen: Table) -> None:
    data = write_set(tmp_path / "data", [1, 2], 3)
    Path(data.wavs["s001-00"]).unlink()
    Path(data.wavs["s001-01"]).write_bytes(b"RIFF")
    soundfile.write(data.wavs["s001-02"], np.zeros((100, 2)), 8000)
    soundfile.write(data.wavs["s002-00"], np.full(50, 0.1), 8000)
    table = listen(data)
    assert "no such file" in table.problem[0] and "damaged" in table.problem[1] and "2 channels" in table.problem[2]
    assert table.problem[3:] == ["", "", ""] and table.readable.sum() == 3
    assert table.speech[3] == table.nonspeech[3] == 0 and table.seconds[3] == 50 / 8000  # shorter than a frame
    assert read_vectors(tmp_path / "out" / "speech.scp")[0] == ["s002-01", "s002-02"]


def test_segments_and_commands(tmp_path: Path, listen: Table) -> None:
    data = write_set(tmp_path / "data", [1], 2)
    (tmp_path / "data" / "segments").write_text("s001-a r1 0 0.5\ns001-b r1 0.5 -1\ns001-c r2 0 0.5\n")
    whole = data.wavs["s001-00"]
    (tmp_path / "data" / "wav.scp").write_text(f"r1 {whole}\nr2 cat '{whole}' |\n")
    (tmp_path / "data" / "utt2spk").write_text("s001-a s001\ns001-b s001\ns001-c s001\n")
    table = listen(DataDir.read(tmp_path / "data"))
    assert table.seconds.tolist() == [0.5, 0.5, 0.5] and table.path == [whole, whole, f"cat '{whole}' |"]
    assert table.content[0] == table.content[2] != table.content[1]


def test_another_rate_is_resampled_for_its_frames_and_told_as_it_is(tmp_path: Path, listen: Table) -> None:
    data = write_set(tmp_path / "data", [1], 2)
    wave = np.repeat(soundfile.read(data.wavs["s001-00"])[0], 2)
    soundfile.write(data.wavs["s001-00"], wave, 16000)
    table = listen(data)
    assert table.rate.tolist() == [16000, 8000] and table.seconds.tolist() == [1, 1]
    assert abs(int(table.speech[0]) - int(table.speech[1])) < 8
