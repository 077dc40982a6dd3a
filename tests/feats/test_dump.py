"""make_fbank and its sisters on data directories: what they write, and that bad input leaves nothing half-written."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from numpy.typing import NDArray

from timbre.audio.reading import read_audio
from timbre.datadir.ark import read_mat
from timbre.datadir.datadir import DataDir, Segment
from timbre.datadir.tables import write_table
from timbre.feats import dump_feats, extractor
from timbre.feats.dump_feats import dump_features
from timbre.feats.dump_vad import dump_vad
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import FbankOptions, MfccOptions, SpectrogramOptions
from timbre.feats.vad import VadOptions
from timbre.utils.errors import DataError

MakeData = Callable[..., DataDir]
Noise = Callable[..., NDArray[np.float32]]

TABLES = ["energy.scp", "feats.scp", "frame_shift", "utt2dur", "utt2num_frames"]


def _tables(data: DataDir) -> list[str]:
    return [name for name in TABLES if data.has(name)]


def _bytes(data: DataDir) -> dict[str, bytes]:
    scps = [name for name in ("feats.scp", "energy.scp") if data.has(name)]
    arks = {Path(place.rpartition(":")[0]) for name in scps for place in data.table(name).values()}
    paths = [data.path / name for name in _tables(data)] + sorted(arks)
    return {str(path.relative_to(data.path)): path.read_bytes() for path in paths}


def ark_size(data: DataDir) -> int:
    return sum(path.stat().st_size for path in data.path.glob("arks/feats/*/feats.ark"))


def test_tables_equal_kaldis(kaldi: Path, tmp_path: Path) -> None:
    wavs = {utt: str(kaldi / "wav" / f"{utt}.wav") for utt in ("utt1", "zeros")}
    DataDir(tmp_path, wavs, {utt: utt for utt in wavs}).write(tmp_path)
    data = DataDir.read(tmp_path)
    for snip_edges in (True, False):
        dump_features(data, MfccOptions(snip_edges=snip_edges), nj=1)
        name = f"utt2num_frames_snip_{str(snip_edges).lower()}"
        expected = dict(line.split() for line in (kaldi / "misc" / name).read_text().splitlines())
        assert data.table("utt2num_frames")["utt1"] == expected["utt1"]
    durations = dict(line.split() for line in (kaldi / "misc" / "utt2dur").read_text().splitlines())
    assert data.table("utt2dur") == {utt: durations[utt] for utt in wavs}
    assert (tmp_path / "frame_shift").read_text() == "0.01\n"
    assert not data.has("energy.scp"), "column 0 of MFCC is the energy"
    arks = (tmp_path / "arks" / "feats").glob("*/*.ark")
    assert [path.name for path in arks] == ["feats.ark"], "those made with other options are gone"


def test_features_do_not_depend_on_what_is_computed_at_once(
    make_data: MakeData, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GPU, which takes a quarter of an hour of audio and 65,536 frames at once: to the bit."""
    data = make_data({f"utt{number:02d}": noise(3000 + 37 * number, number) for number in range(20)})
    dump_features(data, FbankOptions(num_mel_bins=40), nj=1)
    first = _bytes(data)
    shutil.rmtree(data.path / "arks")
    dump_feats._extractor.cache_clear()
    for table in (extractor.BLOCK, dump_feats.BATCH_SECONDS):
        monkeypatch.setitem(table, "cpu", table["cuda"])
    dump_features(data, FbankOptions(num_mel_bins=40), nj=1)
    dump_feats._extractor.cache_clear()
    assert _bytes(data) == first


def test_results_do_not_depend_on_the_number_of_jobs(make_data: MakeData, noise: Noise) -> None:
    data = make_data({f"utt{number:02d}": noise(2000 + 37 * number, number) for number in range(20)})
    options = FbankOptions(num_mel_bins=40, dither=1.0, snip_edges=False)
    dump_features(data, options, nj=1)
    first = _bytes(data)
    assert {"energy.scp", "feats.scp"} < set(first)
    dump_features(data, options, nj=2)
    assert _bytes(data) == first, "byte for byte, over the old files"


def test_dither_depends_on_the_utterance_not_on_its_neighbours(make_data: MakeData, noise: Noise) -> None:
    both = make_data({"a": noise(2000, 1), "b": noise(2000, 2)}, name="both")
    one = make_data({"b": noise(2000, 2)}, name="one")
    for data in (both, one):
        dump_features(data, FbankOptions(dither=1.0), nj=1)
    np.testing.assert_array_equal(read_mat(both.table("feats.scp")["b"]), read_mat(one.table("feats.scp")["b"]))


def test_segments_have_the_features_of_their_part(make_data: MakeData, noise: Noise, tmp_path: Path) -> None:
    wave = noise(32000)
    recordings = make_data({"rec": wave}, name="recordings")
    soundfile.write(tmp_path / "rec.ogg", wave, 16000, format="OGG", subtype="VORBIS")
    wavs = {"ogg": str(tmp_path / "rec.ogg"), "pipe": f"cat {recordings.wavs['rec']} |", "wav": recordings.wavs["rec"]}
    segments = {f"{name}-{start}": Segment(name, start, start + 0.5) for name in wavs for start in (0.25, 1.0)}
    data = DataDir(tmp_path / "segments", wavs, dict.fromkeys(segments, "spk"), segments)
    data.write(data.path)
    dump_features(data, FbankOptions(), nj=1)
    extractor = FeatureExtractor(FbankOptions())
    for utt, segment in segments.items():
        samples, _ = read_audio(wavs[segment.recording])
        expected = extractor([samples[int(segment.start * 16000) : int(segment.end * 16000)]])[0]
        np.testing.assert_array_equal(read_mat(data.table("feats.scp")[utt]), expected.numpy())
    assert set(data.table("utt2dur").values()) == {"0.5"}


def test_compressed_arks_are_smaller_and_close(make_data: MakeData, noise: Noise) -> None:
    data = make_data({"a": noise(16000)})
    dump_features(data, FbankOptions(num_mel_bins=40), nj=1)
    exact = read_mat(data.table("feats.scp")["a"])
    size = ark_size(data)
    for compression, tolerance, ratio in (("CM", 0.2, 0.3), ("CM2", 1e-3, 0.51), ("CM3", 0.1, 0.27)):
        dump_features(data, FbankOptions(num_mel_bins=40), nj=1, compression=compression)  # type: ignore[arg-type]
        assert np.abs(read_mat(data.table("feats.scp")["a"]) - exact).max() < tolerance
        assert ark_size(data) < ratio * size


def test_resolved_options_lie_beside_the_features(make_data: MakeData, noise: Noise) -> None:
    data = make_data({"a": noise(16000)})
    dump_features(data, SpectrogramOptions(frame_length=20), nj=1)
    saved = yaml.safe_load((data.path / "conf" / "feats.yaml").read_text())
    assert saved["class_path"] == "timbre.feats.options.SpectrogramOptions"
    assert SpectrogramOptions(**saved["init_args"]) == SpectrogramOptions(frame_length=20)


def test_unicode_and_shell_metacharacters_in_ids(make_data: MakeData, noise: Noise) -> None:
    data = make_data({"$(touch>x);&": noise(3000), "日本": noise(3000)})
    dump_features(data, FbankOptions(), nj=1)
    assert list(data.table("feats.scp")) == ["$(touch>x);&", "日本"]
    assert read_mat(data.table("feats.scp")["日本"]).shape == (17, 23)


def test_every_bad_utterance_is_named_with_its_reason_and_nothing_is_written(
    make_data: MakeData, noise: Noise, caplog: pytest.LogCaptureFixture
) -> None:
    good = {f"good{number}": noise(3000, number) for number in range(4)}
    bad = ["empty", "missing", "nan", "narrow", "short", "stereo", "text", "truncated"]
    data = make_data(good | {name: noise(3000) for name in bad})
    wav = {name: Path(data.wavs[name]) for name in bad}
    wav["empty"].write_bytes(b"")
    wav["missing"].unlink()
    soundfile.write(wav["nan"], np.array([0.1, np.nan] * 1000), 16000, subtype="FLOAT")
    soundfile.write(wav["narrow"], noise(3000), 8000, subtype="PCM_16")
    soundfile.write(wav["short"], noise(399), 16000, subtype="PCM_16")
    soundfile.write(wav["stereo"], np.zeros((3000, 2)), 16000, subtype="PCM_16")
    wav["text"].write_text("not audio at all, whatever its name says\n" * 100)
    wav["truncated"].write_bytes(wav["truncated"].read_bytes()[:-1000])
    reasons = ["is empty", "no such file", "NaN", "sample rate is 8000 Hz", "less than one frame", "2 channels"]
    reasons += ["not audio", "cut short"]
    with pytest.raises(DataError, match=r"8 of 12 utterances have no features, 7 may; the first is 'empty'"):
        dump_features(data, FbankOptions(), nj=1, allow_missing=7)
    messages = [record.getMessage() for record in caplog.records]
    for name, reason in zip(bad, reasons, strict=True):
        assert any(message.startswith(f"{name}: no features: ") and reason in message for message in messages), name
    assert _tables(data) == []
    assert sorted(data.table("feats.missing")) == bad
    dump_features(data, FbankOptions(), nj=1, allow_missing="67%")
    assert list(data.table("feats.scp")) == sorted(good)
    assert list(data.table("utt2num_frames")) == sorted(good)


def test_one_unreadable_file_costs_its_part_alone(make_data: MakeData, noise: Noise) -> None:
    waves = {f"utt{number:02d}": noise(2000, number) for number in range(40)}
    data = make_data(waves)
    dump_features(data, FbankOptions(), nj=1)
    dump_vad(data, VadOptions(), nj=1)
    whole = _bytes(data) | {"vad": _vad(data)}

    def made() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in data.path.glob("arks/*/*/*.ark")}

    before = made()
    wav = Path(data.wavs["utt20"])
    saved, times = wav.read_bytes(), wav.stat()
    wav.write_bytes(b"")
    with pytest.raises(DataError, match=r"feats.missing: 1 of 40 utterances have no features"):
        dump_features(data, FbankOptions(), nj=1)
    assert _bytes(data) | {"vad": _vad(data)} == whole, "tables and what they point to are as before"
    dump_features(data, FbankOptions(), nj=1, allow_missing="3%")
    dump_vad(data, VadOptions(), nj=1)
    assert len(data.table("feats.scp")) == len(data.table("vad.scp")) == 39
    kept = before.items() & made().items()
    assert len(kept) >= len(before) - 4, "all but a part of features and energies, and two of decisions"
    wav.write_bytes(saved)
    os.utime(wav, ns=(times.st_atime_ns, times.st_mtime_ns))
    dump_features(data, FbankOptions(), nj=1)
    dump_vad(data, VadOptions(), nj=1)
    assert _bytes(data) | {"vad": _vad(data)} == whole
    assert not data.has("feats.missing")
    assert len(kept & made().items()) == len(kept)


def _vad(data: DataDir) -> bytes:
    return b"".join(read_mat(place).tobytes() for place in data.table("vad.scp").values())


def test_arks_of_before_there_were_parts_go_when_they_are_replaced(make_data: MakeData, noise: Noise) -> None:
    data = make_data({"a": noise(2000)})
    dump_features(data, FbankOptions(), nj=1)
    old, mine = data.path / "arks" / "feats" / "feats.1.ark", data.path / "arks" / "feats" / "feats.2.ark"
    place = data.table("feats.scp")["a"]
    old.write_bytes(Path(place.rpartition(":")[0]).read_bytes())
    mine.write_bytes(b"mine")
    write_table(data.path / "feats.scp", {"a": f"{old}:2"})
    dump_features(data, FbankOptions(), nj=1)
    assert data.table("feats.scp") == {"a": place}
    assert not old.exists() and mine.exists()


def test_a_failure_leaves_the_old_features_as_they_were(make_data: MakeData, noise: Noise) -> None:
    data = make_data({"a": noise(3000), "b": noise(3000)})
    dump_features(data, FbankOptions(), nj=1)
    before = _bytes(data)
    Path(data.wavs["b"]).unlink()
    with pytest.raises(DataError, match="1 of 2 utterances have no features"):
        dump_features(data, FbankOptions(num_mel_bins=40), nj=1)
    assert _bytes(data) == before


def test_a_wrong_number_of_mel_bins_is_one_error_not_one_an_utterance(make_data: MakeData, noise: Noise) -> None:
    data = make_data({"a": noise(3000)})
    with pytest.raises(DataError, match="num_mel_bins 200 is too many"):
        dump_features(data, FbankOptions(num_mel_bins=200), nj=1)
    assert _tables(data) == []


def test_a_wrong_sample_rate_says_what_to_do(
    make_data: MakeData, noise: Noise, caplog: pytest.LogCaptureFixture
) -> None:
    data = make_data({"a": noise(3000)}, rate=16000)
    with pytest.raises(DataError, match=r"sample rate is 16000 Hz, 8000 Hz is wanted; set allow_downsample"):
        dump_features(data, FbankOptions(sample_frequency=8000), nj=1)
    dump_features(data, FbankOptions(sample_frequency=8000, allow_downsample=True, snip_edges=False), nj=1)
    assert data.table("utt2num_frames") == {"a": "19"}
    with pytest.raises(DataError, match="set allow_upsample"):
        dump_features(data, FbankOptions(sample_frequency=22050), nj=1)
    caplog.clear()


def test_one_channel_of_a_stereo_file(make_data: MakeData, noise: Noise) -> None:
    data = make_data({"a": noise(3000)})
    both = np.stack([noise(3000, 1), noise(3000, 2)], axis=1)
    soundfile.write(data.wavs["a"], both, 16000, subtype="PCM_16")
    dump_features(data, FbankOptions(channel=1), nj=1)
    expected = FeatureExtractor(FbankOptions())([both[:, 1].copy()])[0]
    np.testing.assert_array_equal(read_mat(data.table("feats.scp")["a"]), expected.numpy())


def test_the_step_by_hand(root: Path, make_data: MakeData, noise: Noise) -> None:
    data = make_data({"a": noise(3000)})
    step = [sys.executable, str(root / "steps" / "make_fbank.py"), str(data.path), "--nj", "1"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*step, *arguments], cwd=root, capture_output=True, text=True, check=False)

    done = run("--fbank", "conf/feats/fbank80.yaml", "--fbank.num_mel_bins", "24")
    assert done.returncode == 0, done.stderr
    assert read_mat(data.table("feats.scp")["a"]).shape == (19, 24)
    assert run("--fbank.window_type", "hemming").returncode == 2
    refused = run("--fbank.low_freq", "9000")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "low_freq 9000" in refused.stderr


def test_a_full_disk_is_one_line_and_nothing_is_left(root: Path, make_data: MakeData, noise: Noise) -> None:
    data = make_data({"a": noise(160000)})
    step = f"{sys.executable} {root / 'steps' / 'make_fbank.py'} {data.path} --nj 1 --fbank.num_mel_bins 80"
    step = f"ulimit -f 100; {step}"  # 100 KiB a file
    done = subprocess.run(["bash", "-c", step], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot write" in done.stderr
    assert _tables(data) == []
    assert [path.name for path in data.path.glob("arks/feats/*")] == [".lock"]


def test_without_a_gpu_there_is_no_gpu(make_data: MakeData, noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DataError, match="no GPU"):
        dump_features(make_data({"a": noise(3000)}), FbankOptions(), nj=1, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu(make_data: MakeData, noise: Noise) -> None:
    data = make_data({f"utt{number}": noise(16000, number) for number in range(9)})
    dump_features(data, FbankOptions(num_mel_bins=80), nj=1)
    expected = {utt: read_mat(place) for utt, place in data.table("feats.scp").items()}
    dump_features(data, FbankOptions(num_mel_bins=80), nj=1, device="cuda")
    for utt, place in data.table("feats.scp").items():
        np.testing.assert_allclose(read_mat(place), expected[utt], atol=5e-3)


def test_warnings_count_what_is_left_out(make_data: MakeData, noise: Noise, caplog: pytest.LogCaptureFixture) -> None:
    data = make_data({"a": noise(3000), "b": noise(3000)})
    Path(data.wavs["b"]).unlink()
    with caplog.at_level(logging.WARNING):
        dump_features(data, FbankOptions(), nj=1, allow_missing=1)
    assert "1 of 2 utterances have no features and are left out" in caplog.text
