"""A decision pack of the recipe, exported: what is in the file decides and embeds as the recipe does."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import soundfile
import yaml

from steps.export_pack import export_pack
from timbre.datadir.tables import read_table
from timbre.decision.pack import DecisionPack
from timbre.decision.verdict import open_embedder
from timbre.embedding.embedder import AudioOptions, Front
from timbre.export.front_settings import front_settings
from timbre.feats.vad import VadOptions
from timbre.runtime.band_pass import BandPass
from timbre.runtime.encoder import Encoder
from timbre.runtime.normalize import NormalizeOptions
from timbre.runtime.pack_file import PackFile
from timbre.runtime.sound import Sound, read_sound
from timbre.utils.errors import DataError
from voices import FBANK


@pytest.fixture(scope="module")
def run(small_run: Path) -> Path:
    return small_run


@pytest.fixture(scope="module")
def pack(run: Path) -> PackFile:
    return PackFile.open(run / "small.timbre")


def test_it_embeds_and_measures_as_the_recipe(run: Path, pack: PackFile) -> None:
    recipe, encoder = open_embedder(DecisionPack.read(run / "decision")), Encoder(pack)
    for path in list(read_table(run / "dev" / "wav.scp").values())[::5]:
        expected, found = recipe(path), encoder(read_sound(path))
        assert np.linalg.norm(found.vector - expected.vector) <= 1e-4 * np.linalg.norm(expected.vector)
        assert found.measures == pytest.approx(dict(expected.measures), abs=1e-3)
        assert (found.seconds, found.content, found.warnings) == (
            expected.seconds, expected.content, expected.warnings,
        )  # fmt: skip
        assert found.speech == pytest.approx(expected.speech) and found.name == path


def test_the_whole_graph_takes_samples(run: Path, pack: PackFile) -> None:
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    whole = onnxruntime.InferenceSession(pack.bytes("model.onnx"), quiet)
    encoder = Encoder(pack)
    sounds = [read_sound(path).samples[:6400] for path in list(read_table(run / "dev" / "wav.scp").values())[:3]]
    for found, samples in zip(whole.run(None, {"samples": np.stack(sounds)})[0], sounds, strict=True):
        expected = encoder(Sound(samples, 8000, "it"), 0.0).vector
        assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)


def test_smaller_weights_lose_what_the_card_says(run: Path, pack: PackFile) -> None:
    path = next(iter(read_table(run / "dev" / "wav.scp").values()))
    vectors = {one: Encoder(pack, 1, one)(read_sound(path)).vector for one in ("fp32", "int8", "int8_weights", "fp16")}
    card, page = pack.settings["card"]["variants"], pack.bytes("README.md").decode()
    for one, most in (("fp16", 2e-3), ("int8_weights", 0.05), ("int8", 0.1)):
        error = np.linalg.norm(vectors[one] - vectors["fp32"]) / np.linalg.norm(vectors["fp32"])
        assert 0 < error < most and 0.2 * error < card[one]["embedding_error"] < 5 * error
        assert card[one]["bytes"] == len(pack.bytes(f"model_feats_{one}.onnx"))
        assert one == "int8" or card[one]["bytes"] < card["fp32"]["bytes"]  # it has more nodes, which a small one sees
        assert card[one]["score_difference"] > 0
        # of weights that were drawn: embeddings hardly differ, and what int8 moves is much of that
        assert one == "int8" or abs(card[one]["eer"] - card["fp32"]["eer"]) < 0.1
        assert card[one]["eer_change"] == card[one]["eer"] - card["fp32"]["eer"]
        low, high = card[one]["eer_change_ci"]
        assert low <= high
        assert f"{100 * card[one]['eer_change']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]" in page
    assert card["fp32"]["embedding_error"] == card["fp32"]["score_difference"] == card["fp32"]["eer_change"] == 0


def test_the_card_says_what_is_known(run: Path, pack: PackFile) -> None:
    card = pack.settings["card"]
    assert card["licence"] == "CC-BY-4.0" and not card["non_commercial"] and pack.settings["name"] == "small"
    assert [one["eer_ci"] for one in card["results"]] == [[0.05, 0.2]]
    assert [one["seconds"] for one in card["by_duration"]] == ["1 to 2 s"]
    assert card["calibrated_on"]["speakers"] == 7 and card["network"]["trunk"] == "XvectorTdnn"
    page = pack.bytes("README.md").decode()
    for text in ("# small", "10.00 [5.00, 20.00]", "CC-BY-4.0", "| int8 |", "1 to 2 s", "0.4 s of speech"):
        assert text in page


def test_the_same_export_is_the_same_bytes(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what is measured: a folder and a file hold the same, and nothing else."""
    monkeypatch.setattr("timbre.export.pack_writer.network_model", lambda _: _network(run))
    for out in (tmp_path / "a.timbre", tmp_path / "b.timbre", tmp_path / "folder"):
        export_pack(run / "decision", out, name="one", run=run)
    assert (tmp_path / "a.timbre").read_bytes() == (tmp_path / "b.timbre").read_bytes()
    assert PackFile.open(tmp_path / "a.timbre").checksum == PackFile.open(tmp_path / "folder").checksum
    export_pack(run / "decision", tmp_path / "folder", name="two", run=run)  # a pack is replaced by one
    assert PackFile.open(tmp_path / "folder").settings["name"] == "two"
    with zipfile.ZipFile(tmp_path / "a.timbre") as file:
        assert {one.filename for one in file.infolist()} == {path.name for path in (tmp_path / "folder").iterdir()} - {
            ".timbre"
        }


def _network(run: Path) -> Any:
    import onnx

    return onnx.load_from_string(PackFile.open(run / "small.timbre").bytes("model_feats.onnx"))


def test_nothing_half_written_and_nothing_overwritten(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timbre.export.pack_writer.network_model", lambda _: _network(run))
    monkeypatch.setattr("zipfile.ZipFile.writestr", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(DataError, match=r"a\.timbre: cannot be written: No space left"):
        export_pack(run / "decision", tmp_path / "a.timbre")
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="is no pack file: it is left as it is"):
        export_pack(run / "decision", tmp_path / "mine")
    with pytest.raises(DataError, match="not a decision pack"):
        export_pack(run / "model", tmp_path / "b.timbre")
    (tmp_path / "c.timbre").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        export_pack(run / "decision", tmp_path / "c.timbre")
    with pytest.raises(DataError, match="sherpa-onnx computes its own features"):
        export_pack(run / "decision", tmp_path / "d.timbre", sherpa=tmp_path / "d.onnx")
    with pytest.raises(DataError, match="int8 needs recordings to find its ranges on: --fit-on"):
        export_pack(run / "decision", tmp_path / "e.timbre", ["int8"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.timbre", "mine"]


def test_what_stage_1_does_is_not_forgotten() -> None:
    for name, options, told in (
        ("TrimSilence", {}, "by TrimSilence; a pack file only knows a rate and a BandPass"),
        ("BandPass", {"zero_phase": True}, "by BandPass with zero_phase; a pack"),
        ("BandPass", {"low": 300, "high": 200}, "0 < low < high is wanted"),
    ):
        audio = AudioOptions(8000, ({"class_path": name, "init_args": options},))
        with pytest.raises(DataError, match=told):
            front_settings(Front(FBANK, VadOptions(), audio), NormalizeOptions(), 1, 12000)


def test_a_band_pass_of_stage_1_goes_along(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sample rate, and on whole recordings as on windows."""
    monkeypatch.setattr("timbre.export.pack_writer.network_model", lambda _: _network(run))
    shutil.copytree(run / "decision", tmp_path / "decision")
    effects = ({"class_path": "BandPass", "init_args": {"low": 300, "high": 2000, "order": 4}},)
    Front(FBANK, VadOptions(), AudioOptions(8000, effects)).write(tmp_path / "decision" / "front.yaml")
    export_pack(tmp_path / "decision", tmp_path / "band.timbre")
    recipe = open_embedder(DecisionPack.read(tmp_path / "decision"))
    without = Encoder(PackFile.open(run / "small.timbre"))
    pack = PackFile.open(tmp_path / "band.timbre")
    encoder = Encoder(pack)
    assert pack.settings["version"] == 2 and PackFile.open(run / "small.timbre").settings["version"] == 1
    for number, path in enumerate(list(read_table(run / "dev" / "wav.scp").values())[::9]):
        sound = read_sound(path)
        if number == 0:
            sound = Sound(np.repeat(sound.samples, 2), 16000, path)
            soundfile.write(path := str(tmp_path / "a.wav"), sound.samples, 16000)
        expected, found = recipe(path), encoder(sound)
        size = np.linalg.norm(expected.vector)
        assert np.linalg.norm(found.vector - expected.vector) <= 1e-4 * size
        assert found.speech == pytest.approx(expected.speech)
        assert np.linalg.norm(without(sound).vector - expected.vector) > 1e-3 * size
    samples = encoder.at_rate(sound)
    heard = BandPass(300, 2000, 4)(samples[800:4800], 8000)
    assert np.array_equal(encoder.windows(samples, [(800, 4800)]), without.windows(heard, [(0, 4000)]))
    assert encoder.band(samples[800:4800]) == without.band(heard)
    assert b"Butterworth band-pass of 300 to 2000 Hz" in pack.bytes("README.md")


def test_imported_weights_bring_their_terms(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timbre.export.pack_writer.network_model", lambda _: _network(run))
    decision = tmp_path / "decision"
    shutil.copytree(run / "decision", decision)
    config = yaml.safe_load((decision / "model" / "config.yaml").read_text())
    origin = {
        "toolkit": "wespeaker",
        "file": "avg.pt",
        "sha256": "0",
        "licence": "CC-BY-NC-4.0",
        "non_commercial": True,
    }
    (decision / "model" / "config.yaml").write_text(yaml.safe_dump({**config, "origin": origin}))
    (decision / "model" / "ORIGIN.md").write_text("# Origin\n\nFrom far away.\n")
    export_pack(decision, tmp_path / "a.timbre")
    pack = PackFile.open(tmp_path / "a.timbre")
    assert pack.settings["card"]["licence"] == "CC-BY-NC-4.0" and b"far away" in pack.bytes("ORIGIN.md")
    assert "Not for commercial use" in pack.bytes("README.md").decode()
