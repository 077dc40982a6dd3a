"""Training: it learns, and its parts do what their options say."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import train_objectives
from egs_corpus import DIM, write_configs, write_small_egs
from timbre.datadir.pair_tables import draw_pairs
from timbre.egs.egs_format import Manifest
from timbre.nnet import checkpoint
from timbre.nnet.model import load_model
from timbre.nnet.network import build_network
from timbre.nnet.objectives import build_objective
from timbre.runtime.normalize import NormalizeOptions
from timbre.training.loop import train
from timbre.training.options import TrainOptions
from timbre.training.schedule import build_optimizer, learning_rate
from timbre.training.train_log import read_log
from timbre.training.validation import COSTS, THRESHOLD, Validation, equal_error_rate
from timbre.utils.errors import DataError

QUICK = TrainOptions(
    batch_size=16,
    num_steps=8,
    warmup_steps=5,
    log_interval=1,
    valid_interval=100,
    checkpoint_interval=100,
    tensorboard=False,
    amp="none",
    device="cpu",
)


@pytest.fixture(scope="module")
def egs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("train") / "egs"
    write_small_egs(path)
    return path


def _train(egs: Path, model_dir: Path, objective: str = "", **options: object) -> list[dict[str, float]]:
    """Lines of the log of a training with OBJECTIVE (YAML; AamSoftmax unless given), QUICK and OPTIONS."""
    network, path = write_configs(model_dir.parent / "conf")
    if objective:
        path.write_text(objective)
    train(egs, model_dir, network, path, dataclasses.replace(QUICK, **options))
    return read_log(model_dir / "log.jsonl")


def test_a_network_learns_and_can_be_loaded(tmp_path: Path) -> None:
    egs = tmp_path / "egs"
    write_small_egs(egs, utts=20, num_valid_utts=40)
    intervals = {"log_interval": 40, "valid_interval": 120, "checkpoint_interval": 20}
    lines = _train(egs, tmp_path / "model", **intervals, num_steps=240, batch_size=32, lr=0.01, tensorboard=True)
    assert [line["step"] for line in lines] == [40, 80, 120, 160, 200, 240]
    assert lines[-1]["accuracy"] > 0.8 > 0.3 > lines[0]["accuracy"]
    assert [line["step"] for line in lines if "valid_accuracy" in line] == [120, 240]
    assert lines[-1]["valid_accuracy"] > 0.35 and lines[-1]["valid_eer"] < 0.45  # by chance: 0.06 and 0.5
    assert [line["margin"] for line in lines] == pytest.approx([0.1] * 6)
    assert lines[-1]["lr"] == QUICK.final_lr
    assert lines[-1]["epoch"] == pytest.approx(6 * lines[0]["epoch"])
    assert all(0 <= line["waiting"] <= 1 and line["examples_per_s"] > 0 for line in lines)
    assert list((tmp_path / "model" / "tensorboard").iterdir())
    assert [path.stem for path in checkpoint.list_checkpoints(tmp_path / "model")] == [
        f"step-{step:07d}" for step in (200, 220, 240)
    ]

    network, normalization = load_model(tmp_path / "model")
    assert not network.training and normalization == NormalizeOptions()
    assert network(torch.randn(2, 30, DIM)).shape == (2, 16)
    average = checkpoint.average(checkpoint.list_checkpoints(tmp_path / "model"))
    assert all(torch.equal(value, average[name]) for name, value in network.state_dict().items())
    assert (tmp_path / "model" / "spk2int").read_text() == (egs / "spk2int").read_text()


def test_mixed_precision_stays_close_to_float32(egs: Path, tmp_path: Path) -> None:
    exact, bf16, fp16 = (
        [line["loss"] for line in _train(egs, tmp_path / amp, amp=amp, num_steps=30)]
        for amp in ("none", "bf16", "fp16")
    )
    assert bf16 == pytest.approx(exact, rel=0.05) and bf16 != exact
    assert fp16[0] == pytest.approx(exact[0], rel=0.01) and fp16 != exact
    assert fp16[-1] == pytest.approx(
        exact[-1], rel=0.1
    )  # its first steps are skipped, until the loss scale has settled


def test_the_same_seed_gives_the_same_losses_and_another_does_not(egs: Path, tmp_path: Path) -> None:
    runs = [_train(egs, tmp_path / str(number), seed=seed) for number, seed in enumerate((3, 3, 4))]
    losses = [[line["loss"] for line in lines] for lines in runs]
    assert losses[0] == losses[1] != losses[2]


def test_accumulation_changes_nothing_without_batch_norm(
    egs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn, "BatchNorm1d", lambda *_, **__: nn.Identity())
    settings = {"optimizer": "sgd", "lr": 0.01, "num_steps": 30}
    whole = [line["loss"] for line in _train(egs, tmp_path / "whole", **settings)]
    parts = [line["loss"] for line in _train(egs, tmp_path / "parts", **settings, accumulation=4)]
    assert parts[:8] == pytest.approx(whole[:8], abs=1e-5)
    assert sum(whole[-5:]) < 0.9 * sum(whole[:5])


@pytest.mark.parametrize("needs", ["speakers", "pairs"])
def test_an_objective_gets_the_batches_it_needs(egs: Path, tmp_path: Path, needs: str) -> None:
    """Whole in each part, too: Parted raises an AssertionError if not."""
    objective = f"{{class_path: Parted, init_args: {{needs: {needs}}}}}"
    options = {"batch_size": 24, "utts_per_speaker": 3, "num_steps": 20, "min_frames": 16, "max_frames": 25}
    for batches in ("auto", needs):
        lines = _train(egs, tmp_path / batches, objective, **options, batches=batches, accumulation=2)
        assert len(lines) == 20 and not any("accuracy" in line for line in lines)
    assert yaml.safe_load((tmp_path / "auto" / "config.yaml").read_text())["train"]["batches"] == needs
    other = "shuffled" if needs == "speakers" else "speakers"
    with pytest.raises(DataError, match=f"batches is {other}, but the objective needs {needs}"):
        _train(egs, tmp_path / "other", objective, **options, batches=other)
    with pytest.raises(DataError, match=f"batch_size is 24; batches of {needs} in 12 equal parts"):
        _train(egs, tmp_path / "parts", objective, **options, accumulation=12)
    with pytest.raises(DataError, match="examples of 10 frames; the network needs 15"):
        _train(egs, tmp_path / "frames", objective, **options | {"min_frames": 10})


def test_listed_pairs_are_trained_on_and_another_list_is_another_training(
    egs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    utt2spk = {line.split()[0]: line.split()[1] for line in (egs.parent / "egs_data" / "utt2spk").open()}
    drawn = draw_pairs(utt2spk, None, 0)
    rows = [drawn.name(row).replace(" ", ",") for row in range(len(drawn))]
    table, model = tmp_path / "pairs.csv", tmp_path / "model"
    table.write_text("\n".join(["left_utt,right_utt", *rows]))
    options = {"objective": "{class_path: Parted, init_args: {needs: pairs}}", "pair_table": table, "batch_size": 8}
    before = _train(egs, model, **options)  # type: ignore[arg-type]
    moved = table.rename(tmp_path / "moved.csv")
    assert _train(egs, model, **options | {"pair_table": moved}) == before  # type: ignore[arg-type]
    assert "anew" not in caplog.text
    moved.write_text("\n".join(["left_utt,right_utt", *rows[: len(rows) // 2]]))
    assert _train(egs, model, **options | {"pair_table": moved}) != before  # type: ignore[arg-type]
    assert "anew" in caplog.text and "pairs_sha256" in caplog.text
    with pytest.raises(DataError, match="pair_table is for batches of pairs, and these are shuffled"):
        _train(egs, model, pair_table=moved)


@pytest.mark.parametrize(
    ("objective", "num_steps", "lr"),
    [
        ("class_path: AngularPrototypical", 300, 0.01),
        ("{class_path: Siamese, init_args: {inputs: symmetric, hidden_dims: []}}", 700, 0.004),
    ],
)
def test_networks_learn_on_batches_of_speakers_and_of_pairs(
    egs: Path, tmp_path: Path, objective: str, num_steps: int, lr: float
) -> None:
    options = {"num_steps": num_steps, "log_interval": 50, "batch_size": 32, "lr": lr}
    lines = _train(egs, tmp_path / "model", objective, **options, checkpoint_interval=num_steps, keep=1, average=1)
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert lines[-1]["accuracy"] > lines[0]["accuracy"] + 0.1
    assert lines[-1]["valid_eer"] < 0.5 and "valid_loss" not in lines[-1]  # of two speakers: no more can be said


def test_an_objective_without_an_opinion_has_no_accuracy(egs: Path, tmp_path: Path) -> None:
    lines = _train(egs, tmp_path / "model", "class_path: Unopinionated", tensorboard=True, num_steps=12)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert not any("accuracy" in line or "valid_accuracy" in line for line in lines)
    assert "valid_eer" in lines[-1] and lines[-1]["loss"] < lines[0]["loss"]


def test_a_sum_is_validated_by_its_classifier(egs: Path, tmp_path: Path) -> None:
    terms = "{class_path: WeightedSum, init_args: {terms: [{class_path: AngularPrototypical}, {class_path: Softmax}]}}"
    line = _train(egs, tmp_path / "model", terms, batch_size=20)[-1]
    network, _ = load_model(tmp_path / "model")
    softmax = build_objective({"class_path": "Softmax"}, 16, Manifest.read(egs).num_speakers)
    state = checkpoint.load(checkpoint.list_checkpoints(tmp_path / "model")[-1])
    network.load_state_dict(state["network"])
    softmax.load_state_dict(
        {
            name.removeprefix("terms.1."): value
            for name, value in state["objective"].items()
            if name.startswith("terms.1.")
        }
    )
    validation = Validation(egs, Manifest.read(egs), 20, network.min_frames)
    figures = validation(network, softmax, torch.device("cpu"), None)
    assert {name: line[name] for name in figures} == pytest.approx(figures, abs=1e-6)
    assert {*figures} == {"valid_loss", "valid_accuracy", "valid_eer", THRESHOLD, *COSTS}


def test_an_objective_can_score_the_trials_itself(egs: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    manifest = Manifest.read(egs)
    network = build_network(write_configs(tmp_path)[0], DIM)
    validation = Validation(egs, manifest, 16, network.min_frames)
    cosine, opposite = (
        validation(network, build_objective({"class_path": name}, 16, manifest.num_speakers), torch.device("cpu"), None)
        for name in ("Unopinionated", "Opposite")
    )
    assert {*cosine} == {*opposite} == {"valid_eer", THRESHOLD, *COSTS}
    assert opposite["valid_eer"] == pytest.approx(1 - cosine["valid_eer"], abs=1e-6)
    assert abs(cosine["valid_eer"] - 0.5) > 0.02


@pytest.mark.parametrize("compiled", [False, True])
def test_modules_with_a_schedule_are_told_every_step(
    egs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    """A compiled network has its loss follow the schedule, too, though it was traced at the first step."""
    compile_module = nn.Module.compile
    monkeypatch.setattr(
        nn.Module, "compile", lambda *args, **options: compile_module(*args, **options, backend="eager")
    )
    tempered = "class_path: Tempered"
    plain = _train(egs, tmp_path / "plain", tempered, num_steps=12)
    lines = _train(egs, tmp_path / "model", tempered, num_steps=12, compile=compiled, accumulation=2 - compiled)
    assert train_objectives.Tempered.calls == [(what, step) for step in range(12) for what in ("update", "constrain")]
    objective = checkpoint.load(checkpoint.list_checkpoints(tmp_path / "model")[-1])["objective"]
    assert objective["weight"].norm(dim=1).numpy() == pytest.approx(np.ones(18), abs=1e-6)
    assert float(objective["scale"]) == pytest.approx(1 + 9 * 11 / 12)
    if compiled:
        assert [line["loss"] for line in lines] == pytest.approx([line["loss"] for line in plain], rel=1e-3)
    flat = _train(egs, tmp_path / "flat", "{class_path: Tempered, init_args: {top: 1}}", num_steps=12)
    assert flat[0]["loss"] == pytest.approx(plain[0]["loss"], rel=1e-3)
    assert abs(flat[5]["loss"] - plain[5]["loss"]) > 0.05


def test_epochs_are_counted_in_batches(egs: Path, tmp_path: Path) -> None:
    lines = _train(egs, tmp_path / "model", num_steps=0, num_epochs=0.5)
    batches = sum(ark.examples // QUICK.batch_size for ark in Manifest.read(egs).train)
    assert len(lines) == math.ceil(batches / 2)
    assert lines[-1]["epoch"] == pytest.approx(0.5, abs=1 / batches)


def test_a_lost_network_stops_and_is_not_saved(egs: Path, tmp_path: Path) -> None:
    options = {"optimizer": "sgd", "lr": 1e25, "warmup_steps": 0, "grad_clip": 0.0, "num_steps": 40}
    with pytest.raises(DataError, match=r"the loss of step \d is nan"):
        _train(egs, tmp_path / "model", **options, checkpoint_interval=4, log_interval=40)
    assert not checkpoint.list_checkpoints(tmp_path / "model")
    assert not (tmp_path / "model" / "final.pt").exists()


def test_egs_that_do_not_fit_are_refused(egs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.json: no such file"):
        _train(tmp_path / "nowhere", tmp_path / "model")
    write_small_egs(tmp_path / "short", min_frames=10, max_frames=10, min_voiced=1)
    with pytest.raises(DataError, match="examples of 10 frames; the network needs 15"):
        _train(tmp_path / "short", tmp_path / "model")
    with pytest.raises(DataError, match="747 examples do not fill a batch of 5000"):
        _train(egs, tmp_path / "model", batch_size=5000)


def test_a_model_that_is_not_whole_is_refused(egs: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    with pytest.raises(DataError, match=r"config\.yaml: no such file"):
        load_model(model)
    _train(egs, model, num_steps=1)
    final = (model / "final.pt").read_bytes()
    (model / "final.pt").unlink()
    with pytest.raises(DataError, match=r"final\.pt: no such file: training did not finish"):
        load_model(model)
    checkpoint.save({"network": {"weight": torch.zeros(1)}}, model / "final.pt")
    with pytest.raises(DataError, match=r"final\.pt: not the network of config\.yaml"):
        load_model(model)
    (model / "final.pt").write_bytes(final)
    for text in ("a: [", "just words", json.dumps({"network": {}, "feat_dim": 3, "normalize": {"cmn": "none"}})):
        (model / "config.yaml").write_text(text)
        with pytest.raises(DataError, match=r"config\.yaml"):
            load_model(model)


@pytest.mark.parametrize("schedule", ["cosine", "exponential", "constant"])
def test_the_learning_rate_rises_then_falls_to_its_final_value(schedule: str) -> None:
    options = TrainOptions(lr=0.1, final_lr=1e-4, warmup_steps=10, schedule=schedule)
    rates = [learning_rate(step, 100, options) for step in range(100)]
    assert np.diff(rates[:10]) == pytest.approx(np.full(9, 0.01))
    assert rates[9] == rates[10] == max(rates) == 0.1
    assert rates[-1] == pytest.approx(0.1 if schedule == "constant" else 1e-4, rel=1e-9)
    assert (np.diff(rates[10:]) <= 0).all()
    if schedule == "exponential":
        assert np.diff(np.log(rates[10:])) == pytest.approx(np.full(89, math.log(1e-3) / 89))
    if schedule == "cosine":
        assert rates[10 + 45] + rates[10 + 44] == pytest.approx(0.1 + 1e-4, rel=1e-6)  # symmetric about the middle


def test_radam_is_plain_momentum_until_it_knows_the_variance() -> None:
    """For 5 steps a gradient ten times as large moves ten times as far; then, as in Adam, as far (Liu et al. 2020)."""

    def moves(optimizer: str, size: float) -> np.ndarray:
        module = nn.Linear(1, 1, bias=False)
        update = build_optimizer(module, TrainOptions(optimizer=optimizer, lr=0.1, weight_decay=0.0))
        places = []
        for _ in range(30):
            places.append(float(module.weight.detach()))
            module.weight.grad = torch.full((1, 1), size)
            update.step()
        return -np.diff(places)

    small, large = moves("radam", 0.01), moves("radam", 0.1)
    assert small[:5] == pytest.approx(np.full(5, 0.1 * 0.01), rel=1e-3)
    assert large[:5] == pytest.approx(10 * small[:5], rel=1e-3)
    assert large[5:] == pytest.approx(small[5:], rel=1e-2)
    # the rectification of the variance at step t, from the paper's formula
    rho = 2 / (1 - 0.999) - 1
    for step in (6, 10, 29):
        known = rho - 2 * step * 0.999**step / (1 - 0.999**step)
        factor = math.sqrt((known - 4) * (known - 2) * rho / ((rho - 4) * (rho - 2) * known))
        assert large[step - 1] == pytest.approx(0.1 * factor, rel=1e-3)
    assert moves("adam", 0.01) == pytest.approx(np.full(29, 0.1), rel=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "radam", "adagrad"])
def test_weight_decay_spares_vectors(optimizer: str) -> None:
    for decay_all in (False, True):
        module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        options = TrainOptions(optimizer=optimizer, lr=0.1, weight_decay=0.5, decay_all=decay_all)
        update = build_optimizer(module, options)
        before = [parameter.detach().clone() for parameter in module.parameters()]
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        update.step()
        moved = [not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True)]
        assert moved == [True, decay_all, decay_all, False]  # the last is a bias of zeros


def test_the_validation_eer_is_tie_safe() -> None:
    target = np.array([True] * 50 + [False] * 100)
    assert equal_error_rate(np.zeros(150), target) == 0.5
    assert equal_error_rate(target.astype(float), target) == 0
    assert equal_error_rate(-target.astype(float), target) == 1
    assert math.isnan(equal_error_rate(np.zeros(50), target[:50]))
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal(size=150) + target, 1)
    order = rng.permutation(150)
    assert equal_error_rate(scores, target) == equal_error_rate(scores[order], target[order])
    scores = rng.normal(size=40_000) + 2 * (np.arange(40_000) % 4 == 0)
    assert equal_error_rate(scores, np.arange(40_000) % 4 == 0) == pytest.approx(0.1587, abs=0.005)  # Phi(-1)


@pytest.mark.parametrize(
    "options",
    [
        {"num_steps": 0, "num_epochs": 0.0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"final_lr": 1.0},
        {"schedule": "exponential", "final_lr": 0.0},
        {"keep": 2, "average": 3},
        {"batch_size": 10, "accumulation": 3},
        {"seed": -1},
        {"utts_per_speaker": 1},
        {"min_frames": 100},
        {"min_frames": 200, "max_frames": 100},
        {"batches": "shuffled", "max_utts_per_speaker": 100},
        {"batches": "speakers", "batch_size": 10, "utts_per_speaker": 4},
        {"batches": "speakers", "batch_size": 16, "utts_per_speaker": 4, "accumulation": 4},
        {"batches": "speakers", "utts_per_speaker": 4, "max_utts_per_speaker": 3},
        {"batches": "pairs", "batch_size": 6},
        {"batches": "pairs", "batch_size": 12, "accumulation": 2},
        {"schedule": "step"},
        {"milestones": (1.0,)},
        {"schedule": "step", "milestones": (2.0, 1.0)},
        {"schedule": "step", "milestones": (0.0, 1.0)},
        {"schedule": "step", "milestones": (1.0,), "step_epochs": 1.0},
        {"schedule": "step", "step_epochs": -1.0},
        {"schedule": "step", "step_epochs": 1.0, "gamma": 0.0},
    ],
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(DataError):
        TrainOptions(**options)
