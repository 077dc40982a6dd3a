"""A folder is replaced only by what it was: whatever a step is told to write to, what others put there stays.

Every step that writes a folder is given one full of files that are called as its own might be, and the working
directory.
"""

import ast
import inspect
import re
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from egs_corpus import write_configs, write_small_egs
from tests.decision.test_decision_pack import FBANK, embed, write_data, write_model
from timbre.corpora.synth_speaker import SynthOptions
from timbre.datadir.datadir import DataDir
from timbre.diarization.conversations import ConversationOptions
from timbre.egs.options import EgsOptions
from timbre.feats.options import MfccOptions
from timbre.training.options import TrainOptions
from timbre.utils.errors import DataError

ROOT = Path(__file__).resolve().parent.parent
HOARD = [
    "notes.txt", "ann/one.wav", "audio/one.wav", "audio/0123456789abcdef/one.wav", "plots/mine.png", "plda",
    "mean2.vec", "channel/lists/mine", "checkpoints/step-0000001.pt", "checkpoints/best.pt", "tensorboard/mine",
    "log.jsonl", "arks/feats/feats.7.ark", "arks/vad/vad.7.ark", "egs.7.ark", "egs.7.spk", "valid.7.ark", "too_short",
    "trials_mine", "utt2mine", ".backup/mine", "split2/mine", "model/final.pt", "backend/mine",
    "train/parts/mine", ".xvector.parts/mine", "identification/mine", "epochs.jsonl",
]  # fmt: skip
MFCC = MfccOptions(sample_frequency=8000, num_mel_bins=20, num_ceps=20)
EGS = EgsOptions(min_frames=20, max_frames=40, num_valid_speakers=2, num_valid_utts=10)
TRAIN = TrainOptions(num_steps=1, batch_size=4, device="cpu", tensorboard=False)
SYNTH = SynthOptions(train_speakers=2, eval_speakers=2, utts_per_speaker=2, sessions_per_speaker=2)
TALK = ConversationOptions(num_recordings=1, seconds=4, max_speakers=2, rate=8000)

# Step -> its arguments for a folder OUT of the files of the fixture `given`.
Case = Callable[[Path, Path], dict[str, Any]]
CASES: dict[str, Case] = {
    "steps.audit_data": lambda run, out: {
        "data_dir": run / "sets", "out_dir": out, "mfcc": MFCC, "lda_dim": 2, "draws": 10, "nj": 1
    },
    "steps.augment_data_dir": lambda run, out: {
        "data_dir": run / "dev", "out_dir": out, "augment_conf": run / "copies.yaml", "nj": 1
    },
    "steps.compare_precision": lambda run, out: {
        "egs_dir": run / "egs", "out_dir": out, "network": run / "conf" / "network.yaml", "modes": "none",
        "objective": run / "conf" / "objective.yaml", "train": TRAIN,
    },
    "steps.copy_data_dir": lambda run, out: {"source": run / "dev", "target": out},
    "steps.combine_data_dir": lambda run, out: {"target": out, "sources": [run / "dev"]},
    "steps.enroll_gallery": lambda run, out: {"audio_dir": run / "dev" / "wav", "out_dir": out, "pack": run / "pack"},
    "steps.extract_embeddings": lambda run, out: {
        "model_dir": run / "model", "data_dir": run / "dev", "out_stem": out / "xvector", "nj": 1
    },
    "steps.extract_statistics": lambda run, out: {"data_dir": run / "dev", "out_stem": out / "xvector", "nj": 1},
    "steps.get_egs": lambda run, out: {"data_dir": run / "train", "out_dir": out, "egs": EGS, "nj": 1},
    "steps.import_model": lambda run, out: {
        "weights": str(ROOT / "tests" / "data" / "imports" / "resemblyzer_lstm.pt"), "out_dir": out,
        "from_": "resemblyzer"
    },
    "steps.make_calibration_trials": lambda run, out: {
        "data_dir": run / "dev", "out_dir": out, "spk_list": run / "speakers"
    },
    "steps.make_decision_pack": lambda run, out: pack_arguments(run, out),
    "steps.make_gallery": lambda run, out: {"data_dir": run / "dev", "out_dir": out},
    "steps.make_quality": lambda run, out: {"data_dir": run / "dev", "out_dir": out, "nj": 1},
    "steps.make_windows": lambda run, out: {"data_dir": run / "dev", "out_dir": out},
    "steps.mix_data_dir": lambda run, out: {"data_dir": run / "dev", "out_dir": out},
    "steps.pool_conditions": lambda run, out: {
        "data_dirs": [run / "dev"],
        "embeddings": [run / "dev" / "xvector.scp"],
        "out_dir": out,
    },
    "steps.preprocess_audio": lambda run, out: {"data_dir": run / "dev", "out_dir": out, "nj": 1},
    "steps.simulate_conversations": lambda run, out: {
        "data_dir": run / "dev", "out_dir": out, "conversations": TALK, "nj": 1
    },
    "steps.simulate_rooms": lambda run, out: {"out_dir": out, "rooms": rooms(), "nj": 1},
    "steps.subset_data_dir": lambda run, out: {"source": run / "dev", "target": out, "first": 3},
    "steps.train": lambda run, out: {
        "egs_dir": run / "egs", "model_dir": out, "network": run / "conf" / "network.yaml",
        "objective": run / "conf" / "objective.yaml", "train": TRAIN,
    },
    "steps.train_backend": lambda run, out: {
        "train_scp": run / "train" / "xvector.scp", "utt2spk": run / "train" / "utt2spk", "out_dir": out,
        "backend": run / "cosine.yaml",
    },
    "local.prepare_folder": lambda run, out: {"corpus_dir": run / "dev" / "wav", "out_dir": out},
    "local.prepare_synth": lambda run, out: {"out_dir": out, "synth": SYNTH, "nj": 1},
    "local.unpack": lambda run, out: {"download_dir": run / "archives", "corpus_dir": out},
}  # fmt: skip
# Steps of which the library's modules remove nothing, here or in a case above.
NAMED_FILES_ONLY = {
    "steps.adapt_plda", "steps.analyze_trials", "steps.classify", "steps.cluster_windows", "steps.compare_runs",
    "steps.combine_embeddings", "steps.explain_utterance", "steps.explain_worst", "steps.extract_windows",
    "steps.identify_probes",
    "steps.make_results", "steps.resegment_vbx", "steps.score_dense", "steps.score_der", "steps.train_calibration",
    "steps.tune_diarization",
}  # fmt: skip
FOLDERS = {"out_dir", "out_stem", "plot_dir", "target"}
OTHERS_TOO = {
    "steps.analyze_trials",
    "steps.make_results",
    "steps.train",
    "local.unpack",
}  # by another parameter's name


def pack_arguments(run: Path, out: Path) -> dict[str, Any]:
    return {
        "model_dir": run / "model", "data_dir": run / "train", "backend_dir": run / "backend",
        "trials": run / "dev" / "trials", "embeddings": run / "dev" / "xvector.scp", "out_dir": out,
        "draws": 10, "nj": 1, "min_speech": 0.1,
    }  # fmt: skip


def rooms() -> Any:
    from timbre.audio.rooms import RoomOptions

    return RoomOptions(num_rooms=1, num_positions=1)


def call(name: str, arguments: dict[str, Any]) -> None:
    step = getattr(import_module(name), name.split(".")[1])
    step(**arguments)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the cases read."""
    run = tmp_path_factory.mktemp("given")
    model = write_model(run / "model", 20)
    for name, speakers in (("train", range(6)), ("dev", range(6, 10))):
        embed(write_data(run / name, speakers, 4), FBANK, model)
        DataDir.read(run / name).write(run / name)
        (run / "sets").mkdir(exist_ok=True)
        DataDir.read(run / name).write(run / "sets" / name)
    (run / "cosine.yaml").write_text("transforms: [Mean, LengthNorm]\nmodel: Cosine\n")
    (run / "plda.yaml").write_text("transforms: [Mean, LengthNorm]\nmodel: TwoCovariancePlda\n")
    (run / "copies.yaml").write_text("copies: {hiss: {effects: [GaussianNoise]}}\n")
    (run / "speakers").write_text("".join(f"s{speaker:02d}\n" for speaker in range(6, 10)))
    call("steps.make_trials", {"data_dir": run / "dev"})
    call("steps.train_backend", CASES["steps.train_backend"](run, run / "backend") | {"backend": run / "plda.yaml"})
    call("steps.make_decision_pack", pack_arguments(run, run / "pack"))
    write_small_egs(run / "egs")
    write_configs(run / "conf")
    return run


def hoard(folder: Path) -> dict[Path, bytes]:
    for name in HOARD:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return contents(folder)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_step_is_forgotten() -> None:
    found = set()
    for path in [*sorted((ROOT / "steps").glob("*.py")), *sorted((ROOT / "local").glob("*.py"))]:
        name = f"{path.parent.name}.{path.stem}"
        parameters = inspect.signature(getattr(import_module(name), path.stem)).parameters
        if parameters.keys() & FOLDERS:
            found.add(name)
    fronts = {name for name in found if name.startswith("local.prepare_")} - CASES.keys()  # as prepare_folder
    assert found - fronts - CASES.keys() - NAMED_FILES_ONLY == set()
    assert (CASES.keys() | NAMED_FILES_ONLY) - found <= OTHERS_TOO


def test_only_one_place_removes_folders() -> None:
    removing = set()
    for path in [*(ROOT / "steps").rglob("*.py"), *(ROOT / "local").glob("*.py")]:
        names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        if names & {"rmtree", "rmdir", "removedirs"}:
            removing.add(path.stem)
    assert removing == {"files", "parts"}


@pytest.mark.parametrize("name", CASES)
def test_what_others_put_into_a_folder_stays(name: str, given: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = hoard(out)
    with suppress(DataError):
        call(name, CASES[name](given, out))
    after = contents(out)
    assert {path for path, data in before.items() if after.get(path) != data} == set()


@pytest.mark.parametrize("name", ["steps.enroll_gallery", "steps.make_decision_pack", "steps.get_egs"])
def test_a_folder_that_is_replaced_is_neither_here_nor_what_is_read(
    name: str, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = hoard(tmp_path)
    everything = contents(given)
    read = {"steps.enroll_gallery": "dev/wav", "steps.make_decision_pack": "model", "steps.get_egs": "train"}[name]
    for out in (Path("."), tmp_path.parent, given / read, given):
        with pytest.raises(DataError, match="is or holds"):
            call(name, CASES[name](given, out))
    assert contents(tmp_path) == before and contents(given) == everything
    arguments = CASES[name](given, tmp_path / "new")
    call(name, arguments)
    first = contents(tmp_path / "new")
    (tmp_path / "new" / "more").write_text("")
    call(name, arguments)
    again = contents(tmp_path / "new")
    assert {path.name for path in again} - {"more"} == {path.name for path in first}
    for path in (tmp_path / "new").glob(".timbre"):  # as it was made before there were marker files
        path.unlink()
    call(name, arguments)
    assert (tmp_path / "new" / ".timbre").exists()


def test_in_a_data_directory_too(given: Path, tmp_path: Path) -> None:
    call("steps.copy_data_dir", {"source": given / "dev", "target": tmp_path / "data"})
    (tmp_path / "data" / "utt2spk").write_text((given / "dev" / "utt2spk").read_text() + "s06-0 s06\n")
    for name in ("split2/mine", ".backup/mine"):
        (tmp_path / "data" / name).parent.mkdir()
        (tmp_path / "data" / name).write_text("mine")
    call("steps.fix_data_dir", {"data_dir": tmp_path / "data"})
    assert (tmp_path / "data" / ".backup" / "utt2spk").read_text().endswith("s06-0 s06\n")
    with pytest.raises(DataError, match="split2: exists, and is no split"):
        call("steps.split_data_dir", {"data_dir": tmp_path / "data", "num_parts": 2})
    for _ in range(2):
        call("steps.split_data_dir", {"data_dir": tmp_path / "data", "num_parts": 3})
    assert all((tmp_path / "data" / name).read_text() == "mine" for name in ("split2/mine", ".backup/mine"))


def test_an_audit_takes_away_the_plots_of_its_own_alone(given: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = CASES["steps.audit_data"](given, out)
    call("steps.audit_data", arguments)
    page = (out / "audit.json").read_text()
    (out / "plots" / "mine.png").write_text("mine")
    (out / "plots" / "det_old.png").write_text("of a list that is no more")
    (out / "audit.json").write_text(re.sub(r'"plots": \[', '"plots": ["det_old.png", ', page))
    call("steps.audit_data", arguments)
    names = {path.name for path in (out / "plots").iterdir()}
    assert "mine.png" in names and "durations.png" in names and "det_old.png" not in names
