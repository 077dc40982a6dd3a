"""A frozen teacher: what it adds to the loss, that it stays as it is, and what is said of one that does not fit."""

import dataclasses
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from egs_corpus import DIM, NETWORK, write_configs, write_small_egs
from timbre.egs.crop_effects import Augmentation
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import Batch, EgsReader
from timbre.feats.spec_augment import SpecAugmentOptions
from timbre.nnet import checkpoint
from timbre.nnet.model import load_model
from timbre.nnet.network import build_network
from timbre.nnet.objectives import build_objective
from timbre.nnet.options import SegmentOptions
from timbre.training.distributed import World
from timbre.training.loop import Trainer, train
from timbre.training.options import TeacherOptions, TrainOptions
from timbre.training.teacher import features_of, load_teacher
from timbre.training.train_log import read_log
from timbre.training.training_module import build_module, cosine_distance, divergence
from timbre.training.views import Part, Views
from timbre.utils.errors import DataError
from wave_corpus import FBANK, write_noise, write_wave_egs

OPTIONS = TrainOptions(
    batch_size=32,
    num_steps=20,
    warmup_steps=5,
    log_interval=1,
    valid_interval=100,
    checkpoint_interval=100,
    tensorboard=False,
    amp="none",
    device="cpu",
)
SMALL = NETWORK.replace("embedding_dim: 16", "embedding_dim: 8")
CPU = torch.device("cpu")


class Home:
    """Egs, and a teacher that was trained on them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.egs, self.teacher = folder, folder / "egs", folder / "teacher"
        write_small_egs(self.egs)
        self.network, self.objective = write_configs(folder / "conf")
        self.train("teacher", num_steps=150, lr=0.01, checkpoint_interval=10)

    def train(self, name: str, network: str = "", objective: str = "", **options: object) -> list[dict[str, float]]:
        """The log of a training into the model directory NAME."""
        paths = {"network": self.network, "objective": self.objective}
        for kind, text in (("network", network), ("objective", objective)):
            if text:
                paths[kind] = self.folder / f"{name}.{kind}.yaml"
                paths[kind].write_text(text)
        settings = dataclasses.replace(OPTIONS, **options)
        train(self.egs, self.folder / name, paths["network"], paths["objective"], settings)
        return read_log(self.folder / name / "log.jsonl")

    def copy(self, name: str) -> Path:
        """A copy of the teacher to be spoilt."""
        return Path(shutil.copytree(self.teacher, self.folder / name))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("teacher"))


def test_the_distances_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 5, 7)) * 3
    for tau in (1.0, 2.5):
        total = 0.0
        for own, wanted in zip(student / tau, teacher / tau, strict=True):
            q, p = (np.exp(one) / np.exp(one).sum() for one in (own, wanted))
            total += sum(p[place] * math.log(p[place] / q[place]) for place in range(7))
        log_probs = torch.log_softmax(torch.from_numpy(teacher) / tau, 1)
        assert float(divergence(torch.from_numpy(student), log_probs, tau)) == pytest.approx(total / 5, rel=1e-12)
    cosines = [
        own @ wanted / math.sqrt((own @ own) * (wanted @ wanted)) for own, wanted in zip(student, teacher, strict=True)
    ]
    distance = cosine_distance(torch.from_numpy(student), torch.from_numpy(teacher))
    assert float(distance) == pytest.approx(1 - np.mean(cosines), rel=1e-12)
    same = torch.from_numpy(teacher)
    assert float(divergence(same, torch.log_softmax(same, 1), 1.0)) == pytest.approx(0, abs=1e-12)
    assert float(cosine_distance(3 * same, same)) == pytest.approx(0, abs=1e-12)


def _first_loss(home: Home, name: str, options: TrainOptions) -> tuple[Trainer, float, Tensor, Tensor]:
    """A trainer of these OPTIONS, the loss of its first batch, and that batch."""
    world = World(0, 1, CPU)
    (home.folder / name).mkdir(exist_ok=True)
    trainer = Trainer(home.egs, home.folder / name, home.network, home.objective, options, world)
    batch = next(iter(trainer.reader))
    trainer.module.eval()
    with torch.no_grad():
        loss = float(trainer.module(*next(trainer.views(batch, 0)))[0])
    return trainer, loss, batch.feats, batch.labels


def test_the_loss_is_the_weighted_sum(home: Home) -> None:
    given = TeacherOptions(home.teacher, kld=0.7, tau=2.0, cosine=1.5, ce=0.3)
    trainer, loss, feats, labels = _first_loss(home, "sum", dataclasses.replace(OPTIONS, teacher=given))
    network, _ = load_model(home.teacher)
    objective = build_objective(home.objective, 16, trainer.manifest.num_speakers)
    objective.load_state_dict(checkpoint.average(checkpoint.list_checkpoints(home.teacher), "objective"))
    trainer.module.requires_grad_(False)
    objective.requires_grad_(False)
    student = trainer.network(feats)
    wanted = network(feats).detach()
    # of AAM-softmax: the cosines with the class weights, times its scale of 30, without the margin
    unit = torch.nn.functional.normalize
    outputs = 30 * unit(student) @ unit(trainer.objective.weight).T
    targets = 30 * unit(wanted) @ unit(objective.weight).T
    p, q = torch.softmax(targets / 2, 1), torch.softmax(outputs / 2, 1)
    kld = (p * (p.log() - q.log())).sum(1).mean()
    cosine = 1 - (unit(student) * unit(wanted)).sum(1).mean()
    own = trainer.objective(student, labels)[0]
    assert loss == pytest.approx(float(0.7 * kld + 1.5 * cosine + 0.3 * own), rel=1e-5)
    assert float(kld) > 0.01 and 0.1 < float(cosine) < 1.9
    for off, left in (("kld", 1.5 * cosine + 0.3 * own), ("cosine", 0.7 * kld + 0.3 * own), ("ce", None)):
        switched = dataclasses.replace(OPTIONS, teacher=dataclasses.replace(given, **{off: 0.0}))
        expected = 0.7 * kld + 1.5 * cosine if left is None else left
        assert _first_loss(home, f"off-{off}", switched)[1] == pytest.approx(float(expected), rel=1e-5)


def test_the_teacher_does_not_change_by_a_bit(home: Home) -> None:
    files = {path: path.read_bytes() for path in sorted(home.teacher.rglob("*")) if path.is_file()}
    options = dataclasses.replace(OPTIONS, teacher=TeacherOptions(home.teacher, student_frames=16))
    trainer = Trainer(home.egs, home.folder / "frozen", home.network, home.objective, options, World(0, 1, CPU))
    assert trainer.teacher is not None
    before = {name: value.clone() for name, value in trainer.teacher.network.state_dict().items()}
    sha256 = trainer.teacher.sha256
    trainer.module.train()
    for batch in trainer.reader:
        trainer._update(trainer.module, trainer.front_end(batch))
        trainer.step += 1
        if trainer.step == 5:
            break
    assert all(torch.equal(value, before[name]) for name, value in trainer.teacher.network.state_dict().items())
    assert trainer.teacher._digest() == sha256 and not trainer.teacher.network.training
    assert any("running_mean" in name for name in before)
    own = {id(value) for value in trainer.module.parameters()}
    assert not own & {id(value) for value in trainer.teacher.network.parameters()}
    assert {path: path.read_bytes() for path in files} == files


def test_a_student_gets_nearer_to_its_teacher(home: Home) -> None:
    """Than a network that learns the same without one; from short pieces of what the teacher sees whole."""
    given = {"num_steps": 120, "lr": 0.01, "seed": 5}
    home.train("alone", **given)
    home.train("taught", **given, teacher=TeacherOptions(home.teacher, student_frames=18))
    batch = next(iter(EgsReader(home.egs, Manifest.read(home.egs), 64, 9)))
    with torch.inference_mode():
        teacher, alone, taught = (
            load_model(home.folder / name)[0](batch.feats) for name in ("teacher", "alone", "taught")
        )
    assert float(cosine_distance(taught, teacher)) < 0.85 * float(cosine_distance(alone, teacher))


def test_a_small_student_has_a_map_to_a_large_teacher(home: Home) -> None:
    lines = home.train("small", SMALL, teacher=TeacherOptions(home.teacher), num_steps=80, lr=0.01)
    assert lines[-1]["loss"] < lines[0]["loss"]
    state = checkpoint.load(checkpoint.list_checkpoints(home.folder / "small")[-1])
    assert state["extras"]["teacher_map.weight"].shape == (16, 8)
    assert {*checkpoint.load(home.folder / "small" / "final.pt")["network"]} == {*build_small(home).state_dict()}
    with pytest.raises(DataError, match=r"it has no model; --train\.teacher\.model DIR names it"):
        home.train("nobody", SMALL, teacher=TeacherOptions())
    with pytest.raises(DataError, match="its embeddings have 16 dimensions, the student's 8, and map is never"):
        home.train("never", SMALL, teacher=TeacherOptions(home.teacher, map="never"))
    home.train("outputs", SMALL, teacher=TeacherOptions(home.teacher, cosine=0.0, map="never"))
    assert not checkpoint.load(checkpoint.list_checkpoints(home.folder / "outputs")[-1])["extras"]


def build_small(home: Home) -> torch.nn.Module:
    return build_network(home.folder / "small.network.yaml", DIM)


def test_speakers_are_matched_by_name(home: Home, tmp_path: Path) -> None:
    """Though they have other numbers in the teacher's egs."""
    manifest = Manifest.read(home.egs)
    other = home.copy("renumbered")
    table = dict(line.split() for line in (home.teacher / "spk2int").read_text().splitlines())
    order = np.random.default_rng(0).permutation(len(table))
    (other / "spk2int").write_text("".join(f"{name} {order[int(number)]}\n" for name, number in table.items()))
    for path in checkpoint.list_checkpoints(other):
        state = checkpoint.load(path)
        weight = torch.empty_like(state["objective"]["weight"])
        weight[torch.from_numpy(order)] = state["objective"]["weight"]
        state["objective"]["weight"] = weight
        checkpoint.save(state, path)
    feats = next(iter(EgsReader(home.egs, manifest, 16, 1))).feats
    one, two = (load_teacher(TeacherOptions(model), home.egs, manifest, CPU)(feats) for model in (home.teacher, other))
    assert torch.equal(one[1], two[1])
    assert float(one[1].exp().sum(1).mean()) == pytest.approx(1, rel=1e-5)


def test_a_teacher_that_is_the_best_of_its_training(home: Home) -> None:
    """Its class weights lie beside its network, where the checkpoint of that step may be gone."""
    home.train("best", num_steps=60, valid_interval=4, checkpoint_interval=50, keep=1, average=1, keep_best="accuracy")
    [step] = checkpoint.load(home.folder / "best" / "final.pt")["steps"]
    assert not checkpoint.checkpoint_path(home.folder / "best", step).exists()
    manifest = Manifest.read(home.egs)
    _, log_probs = load_teacher(TeacherOptions(home.folder / "best"), home.egs, manifest, CPU)(torch.randn(2, 30, DIM))
    assert log_probs.shape == (2, manifest.num_speakers)


def _spoil(model: Path, what: str) -> None:
    config = yaml.safe_load((model / "config.yaml").read_text())
    paths = checkpoint.list_checkpoints(model)
    if what == "features":
        config["feat_dim"] = 40
    elif what == "normalisation":
        config["normalize"] |= {"cmn": "none"}
    elif what == "no objective in config":
        del config["objective"]
    elif what == "another objective":
        config["objective"] = {"class_path": "Softmax"}
    elif what == "no classes":
        config["objective"] = {"class_path": "Triplet"}
    (model / "config.yaml").write_text(yaml.safe_dump(config))
    if what == "speakers":
        text = (model / "spk2int").read_text()
        (model / "spk2int").write_text(text.replace("spk03", "spk99"))
    elif what == "numbers":
        (model / "spk2int").write_text("spk03 1\nspk04 1\n")
    elif what == "unfinished":
        (model / "final.pt").unlink()
    elif what == "cut short":
        (model / "final.pt").write_bytes((model / "final.pt").read_bytes()[:-500])
    elif what == "no checkpoints":
        shutil.rmtree(model / "checkpoints")
    elif what == "no objective":
        for path in paths:
            state = checkpoint.load(path)
            del state["objective"]
            checkpoint.save(state, path)
    elif what == "no steps":
        checkpoint.save({"network": checkpoint.load(model / "final.pt")["network"]}, model / "final.pt")
    elif what == "nothing":
        (model / "config.yaml").unlink()


SPOILT = {  # what is spoilt: what is said, whether the embeddings alone can still be learned from
    "features": (r"differs in feat_dim \(teacher 40, egs 12\)", False),
    "normalisation": (r"differs in normalize\.cmn \(teacher none, egs sliding\)", False),
    "nothing": (r"config\.yaml: no such file: not a model directory", False),
    "unfinished": (r"final\.pt: no such file: training did not finish there", False),
    "cut short": (r"final\.pt: ", False),
    "no objective in config": ("objective must hold class_path", True),
    "another objective": (r"not the objective of config\.yaml", True),
    "no classes": ("kld compares outputs: its objective, Triplet, has no outputs", True),
    "speakers": (r"spk2int: kld needs a teacher of the speakers of the egs; 2 are of one side only.* spk03", True),
    "numbers": (r"spk2int: speakers are not numbered from 0 on", True),
    "no checkpoints": (r"step-0000130\.pt: .*: no such file, which has the objective; kld 0", True),
    "no objective": (r"step-0000150\.pt: .*: holds no objective", True),
    "no steps": (r"final\.pt: .*: does not say which checkpoints", True),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_teacher_that_does_not_fit_is_refused(home: Home, what: str) -> None:
    message, embeddings = SPOILT[what]
    model = home.copy(what)
    _spoil(model, what)
    manifest = Manifest.read(home.egs)
    with pytest.raises(DataError, match=message) as raised:
        load_teacher(TeacherOptions(model), home.egs, manifest, CPU)
    assert "\n" not in str(raised.value)
    if embeddings:
        teacher = load_teacher(TeacherOptions(model, kld=0.0), home.egs, manifest, CPU)
        assert teacher(torch.randn(2, 30, DIM))[1] is None
    else:
        with pytest.raises(DataError, match=message):
            load_teacher(TeacherOptions(model, kld=0.0), home.egs, manifest, CPU)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kld": -1.0}, "kld -1.0, cosine 2.0"),
        ({"tau": 0.0}, "tau 0.0 must be above 0"),
        ({"kld": 0.0, "cosine": 0.0}, "kld and cosine are both 0: it teaches nothing"),
        ({"level": "both"}, "level is both, but crops are not cut into segments"),
        ({"student_frames": 40}, "student_frames is 40, but no example has more than 32 frames"),
        ({"student_frames": 9}, "examples of 9 frames; the network needs 15"),
    ],
)
def test_options_are_checked(home: Home, options: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        home.train("refused", teacher=TeacherOptions(home.teacher, **options))


def test_a_model_is_not_its_own_teacher(home: Home) -> None:
    """It would be removed, as it was trained otherwise, by the training that learns from it."""
    home.copy("own")
    for path in (home.folder / "own", home.folder / "conf" / ".." / "own"):
        with pytest.raises(DataError, match="it is the model that is to be trained; another folder"):
            home.train("own", teacher=TeacherOptions(path))
    assert (home.folder / "own" / "final.pt").is_file()


def test_shares_of_the_classes_are_not_enough(home: Home) -> None:
    """For outputs, nor is there a second head of which each rank would have a share."""
    network = build_network(home.network, DIM)
    for options, message in (
        ({"teacher": TeacherOptions(home.teacher)}, "does not go with kld"),
        ({"segments": SegmentOptions(heads=2)}, "does not go with segments that have a head of their own"),
    ):
        objective = build_objective(home.objective, 16, 18)
        objective.shard_classes(0, 2)
        with pytest.raises(DataError, match=message):
            build_module(network, objective, 18, dataclasses.replace(OPTIONS, **options))


def test_an_objective_without_classes_has_nothing_to_compare(home: Home) -> None:
    with pytest.raises(DataError, match="kld compares outputs, and Triplet has none; kld 0 leaves the embeddings"):
        home.train("triplet", objective="class_path: Triplet", teacher=TeacherOptions(home.teacher))
    lines = home.train("triplet", objective="class_path: Triplet", teacher=TeacherOptions(home.teacher, kld=0.0))
    assert len(lines) == OPTIONS.num_steps


def test_a_teacher_hears_the_same_waveform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Effects, features and masks come before either of them sees anything; a teacher of feature egs is another."""
    write_wave_egs(tmp_path / "egs")
    network, objective = write_configs(tmp_path / "conf")
    noise = Augmentation([{"class_path": "AddNoise"}], {"noise": (write_noise(tmp_path / "noise", 5),)})
    settings = dataclasses.replace(OPTIONS, num_steps=4, batch_size=16, checkpoint_interval=4, keep=1, average=1)
    train(tmp_path / "egs", tmp_path / "teacher", network, objective, settings, noise)
    given = dataclasses.replace(
        settings, teacher=TeacherOptions(tmp_path / "teacher", student_frames=20), spec_augment=SpecAugmentOptions()
    )
    seen = []
    ask = Views.__call__

    def asked(views: Views, batch: Batch, step: int) -> Iterator[Part]:
        for feats, labels, taught in ask(views, batch, step):
            seen.append((feats, batch.feats, taught))
            yield feats, labels, taught

    monkeypatch.setattr(Views, "__call__", asked)
    train(tmp_path / "egs", tmp_path / "student", network, objective, given, noise)
    teacher, normalization = load_model(tmp_path / "teacher")
    assert len(seen) == 4 and normalization.voiced_first
    for short, whole, (embeddings, _) in seen:
        assert torch.equal(teacher(whole), embeddings)
        places = [torch.isclose(whole[0, start : start + 20], short[0]).all() for start in range(whole.shape[1] - 19)]
        assert short.shape[1] == 20 < whole.shape[1] and any(places)
    config = yaml.safe_load((tmp_path / "teacher" / "config.yaml").read_text())
    config["features"]["class_path"] = "MfccOptions"
    del config["features"]["init_args"]["use_log_fbank"]
    config["features"]["init_args"]["channel"] = 1
    (tmp_path / "teacher" / "config.yaml").write_text(yaml.safe_dump(config))
    message = (
        r"features\.class_path \(teacher MfccOptions, egs FbankOptions\); features\.init_args\.use_log_fbank [^;]*$"
    )
    with pytest.raises(DataError, match=message):
        load_teacher(TeacherOptions(tmp_path / "teacher"), tmp_path / "egs", Manifest.read(tmp_path / "egs"), CPU)
    write_wave_egs(tmp_path / "feats", kind="features")
    features = features_of(Manifest.read(tmp_path / "feats"))
    assert features == {"class_path": "FbankOptions", "init_args": FBANK.to_dict()["init_args"]}
    with pytest.raises(DataError, match=r"; normalize\.voiced_first \(teacher True, egs False\)"):
        load_teacher(TeacherOptions(tmp_path / "teacher"), tmp_path / "feats", Manifest.read(tmp_path / "feats"), CPU)
