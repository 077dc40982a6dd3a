"""Training that begins with a model: classes by the names of speakers, centroids, frozen parts, rates of their own."""

import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from torch.nn import functional

import train_objectives  # noqa: F401 (objectives are found by name)
from initial_model import OPTIONS, Place
from timbre.datadir.tables import read_table, write_table
from timbre.egs.egs_files import EgsFiles
from timbre.egs.egs_format import Manifest
from timbre.nnet import checkpoint
from timbre.nnet.model import load_model, read_config
from timbre.training.loop import Trainer, train
from timbre.training.validation import Validation
from timbre.utils.errors import DataError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("start"))


def test_begins_where_the_model_ended(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    trainer = place.trainer("begin")
    assert all(torch.equal(value, place.final[name]) for name, value in trainer.network.state_dict().items())
    assert torch.equal(trainer.objective.get_parameter("weight"), place.classes)
    assert f"{place.model}: 18 of 18 speakers keep their class, 0 are new, 0 are gone" in caplog.text
    assert trainer.objective.current_margin == pytest.approx(0.1)  # from the first step on: its warm-up is over
    config = read_config(place.folder / "begin")
    warmup = config["objective"]["init_args"]["warmup"]
    assert warmup == {"start": 0, "end": 0, "shape": "linear", "start_share": None, "end_share": None}
    assert config["start"]["sha256"] and config["start"]["init_model"] == str(place.model)
    assert "start" not in read_config(place.model)
    margin = place.trainer("margin", objective_args={"margin": 0.4}).objective.current_margin
    assert margin == pytest.approx(0.4)


def test_classes_go_by_the_names_of_speakers(place: Place) -> None:
    """Numbers the other way round: the same class for each speaker, and so the same loss."""
    swapped = shutil.copytree(place.egs, place.folder / "swapped")
    last = len(place.numbers) - 1
    write_table(swapped / "spk2int", {name: str(last - number) for name, number in place.numbers.items()})
    for path in swapped.glob("*.spk"):
        lines = [line.split() for line in path.read_text().splitlines()]
        path.write_text("".join(f"{key} {last - int(number)}\n" for key, number in lines))
    trainers = place.trainer("same"), place.trainer("other", egs=swapped)
    assert torch.equal(trainers[1].objective.get_parameter("weight"), place.classes.flip(0))
    losses = []
    for trainer in trainers:
        batch = next(iter(trainer.reader))
        losses.append(float(trainer.module.eval()(batch.feats, batch.labels)[0].detach()))
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)


def test_new_speakers_get_centroids(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Speakers 10 to 19 are new, 0 to 4 are gone; against embeddings of whole examples, one at a time."""
    caplog.set_level("INFO")
    egs = place.egs_of("new", lambda spk: "" if spk < "spk05" else f"x{spk}" if spk >= "spk10" else spk)
    weight = place.trainer("centroids", egs=egs).objective.get_parameter("weight").detach()
    numbers = {name: int(number) for name, number in read_table(egs / "spk2int").items()}
    kept = [name for name in numbers if name in place.numbers]
    assert f"{len(kept)} of 15 speakers keep their class, {15 - len(kept)} are new" in caplog.text
    for name in kept:
        assert torch.equal(weight[numbers[name]], place.classes[place.numbers[name]])
    manifest, (network, _) = Manifest.read(egs), load_model(place.model)
    files = EgsFiles(egs, manifest)
    length = torch.stack([weight[numbers[name]].norm() for name in kept]).mean()
    for name in set(numbers) - set(kept):
        own = np.flatnonzero(files.speakers == numbers[name])
        own = own[:: -(-len(own) // 20)]
        vectors = []
        for example in own:
            feats = np.empty((1, int(files.lengths(np.array([example]))[0]), files.dim), np.float32)
            files.read(np.array([example]), np.zeros(1, np.int64), feats)
            vectors.append(functional.normalize(network(torch.from_numpy(feats)))[0])
        centroid = length * functional.normalize(torch.stack(vectors).mean(0), dim=0)
        assert weight[numbers[name]].numpy() == pytest.approx(centroid.detach().numpy(), abs=1e-5)
    drawn = place.trainer("drawn", egs=egs, init_classes="random").objective.get_parameter("weight").detach()
    assert not any(torch.allclose(drawn[numbers[name]], weight[numbers[name]]) for name in set(numbers) - set(kept))


@pytest.mark.parametrize(
    ("objective", "weights"),
    [
        ("class_path: Softmax", "layers.0.weight"),
        ("{class_path: AamSoftmax, init_args: {sub_centers: 2}}", "weight"),
        (
            "{class_path: WeightedSum, init_args: {terms: [{class_path: Softmax}, {class_path: CenterLoss}]}}",
            "terms.1.centers",
        ),
    ],
)
def test_an_objective_of_another_kind_starts_anew(
    place: Place, objective: str, weights: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With every class at a centroid, so that the trained network is right at once; and from nothing, if asked to."""
    caplog.set_level("INFO")
    if "sub_centers" in objective:
        with pytest.raises(DataError, match=r"weight is \(18, 16\) there and \(18, 2, 16\) here"):
            place.trainer("refused", objective=objective)
        trainer = place.trainer("anew", objective=objective, init_parts=("network",))
    else:
        trainer = place.trainer("anew", objective=objective)
        assert "the objective starts anew: AamSoftmax in the model, " in caplog.text
    rows = trainer.objective.state_dict()[weights]
    assert torch.isfinite(rows).all() and (rows.flatten(1).norm(dim=1) > 0).all()
    right = trainer.module.eval()(*_first(trainer))[1]
    drawn = place.trainer("drawn_anew", objective=objective, init_parts=("network",), init_classes="random")
    assert right > drawn.module.eval()(*_first(drawn))[1]


def _first(trainer: Trainer) -> tuple[torch.Tensor, torch.Tensor]:
    batch = next(iter(trainer.reader))
    return batch.feats, batch.labels


def test_directions_are_carried_from_one_margin_to_another(place: Place) -> None:
    trainer = place.trainer("am", objective="class_path: AmSoftmax")
    assert torch.equal(trainer.objective.get_parameter("weight"), place.classes)


def test_centroids_from_nothing(place: Place) -> None:
    weights = [
        place.trainer(f"nothing_{how}", init_model=None, init_classes=how).objective.get_parameter("weight").detach()
        for how in ("auto", "random", "centroids")
    ]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_what_is_frozen_stays_to_the_bit(place: Place) -> None:
    """With momentum, and weight decay on everything; as far as BatchNorm is not asked to stay, its statistics go on."""
    for freeze, statistics in (
        (("objective", "trunk"), False),
        (("objective", "trunk", "statistics"), True),
        (("objective", "norms"), True),
    ):
        name = "_".join(freeze)
        trainer = place.train(name, freeze=freeze)
        state = place.state(name)
        assert torch.equal(state["objective"]["weight"], place.classes)
        learned = {id(one) for group in trainer.optimizer.param_groups for one in group["params"]}
        frozen = {key for key, one in trainer.network.named_parameters() if id(one) not in learned}
        assert frozen and not learned & {id(one) for one in trainer.objective.parameters()}
        if "trunk" in freeze:
            assert frozen == {key for key, _ in trainer.network.named_parameters() if key.startswith("trunk.")}
        for key, value in state["network"].items():
            if "num_batches" not in key:
                stays = key in frozen or (statistics and "running_" in key)
                assert torch.equal(value, place.final[key]) == stays, (freeze, key)
        assert all(one["params"] for one in trainer.optimizer.param_groups)


def test_rates_of_parts(place: Place) -> None:
    """Without momentum a first step is as much smaller as the rate is; of two names the narrower counts."""
    plain = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0, "num_steps": 1, "grad_clip": 0.0}
    place.train("even", change=plain)
    trainer = place.train("scaled", change=plain, lr_scale={"network": 0.5, "trunk": 0.1})
    rates = sorted({group["lr"] / OPTIONS.lr for group in trainer.optimizer.param_groups})
    assert rates == pytest.approx([0.1, 0.5, 1.0])
    even, scaled = (place.state(name)["network"] for name in ("even", "scaled"))
    for key, value in place.final.items():
        if value.is_floating_point() and "running" not in key:
            factor = 0.1 if key.startswith("trunk") else 0.5
            expected = factor * (even[key] - value)
            assert (scaled[key] - value).numpy() == pytest.approx(expected.numpy(), abs=1e-6), key
    assert json.loads((place.folder / "scaled" / "log.jsonl").read_text().splitlines()[0])["lr"] == OPTIONS.lr


RESUMED = {
    "freeze": ("objective", "trunk.norms"),
    "lr_scale": {"segment": 0.3},
    "change": {"keep_best": "eer", "valid_interval": 2, "num_steps": 12},
}


@pytest.mark.parametrize("step", [1, 5, 9])
def test_stopped_and_gone_on_it_is_the_same(place: Place, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    place.train("whole", **RESUMED)
    update = Trainer._update

    def update_and_signal(trainer: Trainer, *arguments: object) -> None:
        if trainer.step == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        update(trainer, *arguments)

    name = f"stopped{step}"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "_update", update_and_signal)
        place.train(name, **RESUMED)
    place.train(name, **RESUMED)
    files = sorted(path.name for path in (place.folder / "whole" / "checkpoints").iterdir())
    assert sorted(path.name for path in (place.folder / name / "checkpoints").iterdir()) == files
    for path in ("final.pt", *(f"checkpoints/{file}" for file in files)):
        assert (place.folder / name / path).read_bytes() == (place.folder / "whole" / path).read_bytes(), path


def test_another_model_to_begin_with_starts_anew(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """By its weights: a copy elsewhere is the same."""
    place.train("identity", change={"num_steps": 4})
    copy = shutil.copytree(place.model, place.folder / "elsewhere")
    assert place.trainer("identity", change={"num_steps": 4}, init_model=copy).step == 4
    assert "anew" not in caplog.text
    other = place.folder / "whole_other"
    train(place.egs, other, place.network, place.objective, dataclasses.replace(OPTIONS, seed=1))
    assert place.trainer("identity", change={"num_steps": 4}, init_model=other).step == 0
    assert "starting anew" in caplog.text and "start.sha256" in caplog.text


@pytest.mark.parametrize(
    ("by", "figures", "best"), [("eer", [0.4, 0.2, 0.3, 0.2], 4), ("accuracy", [0.4, 0.2, 0.5, 0.1], 6)]
)
def test_the_best_network_is_kept(
    place: Place, by: str, figures: list[float], best: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By figures that validation is made to give: of equal ones the earlier; pruning passes it by."""
    values = iter(figures)
    monkeypatch.setattr(Validation, "__call__", lambda *_: {f"valid_{by}": next(values)})
    options = {"keep_best": by, "valid_interval": 2, "checkpoint_interval": 2, "keep": 1, "average": 1}
    place.train(by, change=options)
    folder = place.folder / by
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == [f"best-{best:07d}.pt", "step-0000008.pt"]
    final, kept, last = (
        checkpoint.load(folder / name) for name in ("final.pt", *(f"checkpoints/{one}" for one in names))
    )
    assert final["steps"] == [best] and last["best"] == (best, figures[best // 2 - 1])
    assert all(torch.equal(value, kept["network"][name]) for name, value in final["network"].items())
    assert not torch.equal(final["network"]["segment.0.weight"], last["network"]["segment.0.weight"])
    assert place.trainer(f"from_{by}", init_model=folder).step == 0  # its objective is in the best one too


def test_a_constraint_leaves_what_is_frozen(place: Place) -> None:
    """Tempered puts its weights back to length 1 after every step."""
    change = {"num_steps": 2, "average": 1}
    objective = "class_path: Tempered"
    free = place.train("tempered", objective=objective, init_parts=("network",), change=change)
    assert free.objective.get_parameter("weight").norm(dim=1).detach().numpy() == pytest.approx(np.ones(18), rel=1e-6)
    state = checkpoint.load(place.folder / "tempered" / "checkpoints" / "step-0000002.pt")
    state["objective"]["weight"] *= 3
    checkpoint.save(state, place.folder / "tempered" / "checkpoints" / "step-0000002.pt")
    again = {"init_model": place.folder / "tempered", "change": change}
    frozen = place.train("tempered_on", objective=objective, freeze=("objective",), **again)
    assert torch.equal(frozen.objective.get_parameter("weight"), state["objective"]["weight"])
