"""Training on segments of crops, with a teacher and without: losses, heads, what is drawn, and that it goes on."""

import dataclasses
import os
import signal
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from egs_corpus import write_configs, write_small_egs
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import Batch
from timbre.feats.spec_augment import SpecAugmentOptions
from timbre.nnet import checkpoint
from timbre.nnet.model import load_model
from timbre.nnet.objectives import build_objective
from timbre.nnet.options import SegmentOptions
from timbre.nnet.segments import aggregate, grid_starts
from timbre.training.distributed import World
from timbre.training.loop import Trainer, train
from timbre.training.options import TeacherOptions, TrainOptions
from timbre.training.teacher import load_teacher
from timbre.training.train_log import read_log
from timbre.training.training_module import cosine_distance, divergence
from timbre.training.views import Views
from timbre.utils.errors import DataError

OPTIONS = TrainOptions(
    batch_size=16,
    num_steps=12,
    warmup_steps=5,
    log_interval=1,
    valid_interval=12,
    checkpoint_interval=5,
    tensorboard=False,
    amp="none",
    device="cpu",
)
SOFTMAX = "class_path: Softmax"
CPU = World(0, 1, torch.device("cpu"))


class Home:
    """Egs, and a teacher that was trained on them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.egs, self.teacher = folder, folder / "egs", folder / "teacher"
        write_small_egs(self.egs)
        self.network, self.objective = write_configs(folder / "conf")
        self.objective.write_text(SOFTMAX)
        self.train("teacher", num_steps=20)

    def train(self, name: str, **options: object) -> list[dict[str, float]]:
        """The log, without what is measured, of a training into the model directory NAME."""
        settings = dataclasses.replace(OPTIONS, **options)
        train(self.egs, self.folder / name, self.network, self.objective, settings)
        measured = {"examples_per_s", "waiting"}
        lines = read_log(self.folder / name / "log.jsonl")
        return [{key: value for key, value in line.items() if key not in measured} for line in lines]

    def trainer(self, name: str, **options: object) -> Trainer:
        """What trains into NAME."""
        settings = dataclasses.replace(OPTIONS, **options)
        return Trainer(self.egs, self.folder / name, self.network, self.objective, settings, CPU)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("segments"))


CASES = {  # segments, teacher
    "alone": ({"heads": 2}, None),
    "aggregate off": ({"agg_ce": False}, None),
    "taught": ({"agg_ce": False, "heads": 2}, {}),
    "maps, dual": ({"kind": "maps", "heads": 2}, {"level": "both", "ce": 0.5}),
    "segments taught": ({"code_length": 0.0}, {"level": "segment", "tau": 3.0}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_loss_is_that_of_the_definition(home: Home, case: str) -> None:
    """CE(agg) + sum of CE(seg); with a teacher KLD(agg, T) + 2 cos + sum of CE(seg), of codes of length 10."""
    segments, teacher = CASES[case]
    cut = SegmentOptions(length=16, **segments)
    taught = None if teacher is None else TeacherOptions(home.teacher, **teacher)
    trainer = home.trainer(case, segments=cut, teacher=taught)
    trainer.module.eval()
    batch = next(iter(trainer.reader))
    with torch.no_grad():
        loss = float(trainer.module(*next(trainer.views(batch, 0)))[0])
        starts = grid_starts(batch.feats.shape[1], 16)
        assert len(starts) > 1
        pieces = torch.stack([batch.feats[:, start : start + 16] for start in starts], 1)
        embeddings, codes = aggregate(trainer.network, pieces, cut.kind)
        scaled = (lambda one: 10 * normalize(one)) if cut.code_length else (lambda one: one)
        head = trainer.objective.layers
        own = trainer.module.extras["segment_objective"].layers if cut.heads == 2 else head
        assert (own is head) == (cut.heads == 1)
        expected = sum(cross_entropy(own(scaled(code)), batch.labels) for code in codes.unbind(1))
        if cut.agg_ce:
            expected = expected + cross_entropy(head(scaled(embeddings)), batch.labels)
        if taught is not None:
            wanted, log_probs = trainer.teacher(batch.feats)
            network, _ = load_model(home.teacher)
            assert torch.equal(wanted, network(batch.feats))
            expected = taught.ce * expected
            pairs = [(head, embeddings)] * (taught.level != "segment")
            pairs += [(own, code) for code in codes.unbind(1)] * (taught.level != "utterance")
            for layers, one in pairs:
                expected = expected + divergence(layers(scaled(one)), log_probs, taught.tau)
                expected = expected + 2 * cosine_distance(one, wanted)
    assert loss == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("objective", ["AngularPrototypical", "Contrastive", "Triplet"])
def test_objectives_that_compare_see_segments_of_one_place_together(home: Home, objective: str, tmp_path: Path) -> None:
    """In the order of the batch, which some need: AngularPrototypical is of groups, Contrastive of pairs."""
    path = tmp_path / "objective.yaml"
    path.write_text(f"class_path: {objective}")
    settings = dataclasses.replace(OPTIONS, segments=SegmentOptions(15, heads=2))
    trainer = Trainer(home.egs, tmp_path / "model", home.network, path, settings, CPU)
    trainer.module.eval()
    batch = next(iter(trainer.reader))
    with torch.no_grad():
        loss = float(trainer.module(*next(trainer.views(batch, 0)))[0])
        starts = grid_starts(batch.feats.shape[1], 15)
        network, head = trainer.network, trainer.module.extras["segment_objective"]
        network.segments = None
        codes = [network(batch.feats[:, start : start + 15]) for start in starts]
        expected = trainer.objective(torch.stack(codes).mean(0), batch.labels)[0]
        expected = expected + sum(head(code, batch.labels)[0] for code in codes)
    assert loss == pytest.approx(float(expected), rel=1e-4) and loss > 0


def _stop(home: Home, name: str, step: int, **options: object) -> None:
    """As train, but the process gets SIGTERM in the middle of STEP."""
    update = Trainer._update

    def update_and_signal(trainer: Trainer, *arguments: object) -> None:
        if trainer.step == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        update(trainer, *arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "_update", update_and_signal)
        home.train(name, **options)


def _going_on(home: Home) -> dict[str, dict[str, object]]:
    drawn = SegmentOptions(length=15, max_length=20, starts="random", heads=2, kind="maps", same_aug=False)
    masks = SpecAugmentOptions(max_bins=3, max_frames=4)
    crop = {"teacher": TeacherOptions(home.teacher, student_frames=18, map="always")}
    both = {"teacher": TeacherOptions(home.teacher, student_frames=22, level="both", map="always")}
    return {
        "teacher": crop,
        "segments": {"segments": drawn, "spec_augment": masks},
        "dual": both | {"segments": drawn, "spec_augment": masks, "accumulation": 2},
    }


@pytest.mark.parametrize("case", ["teacher", "segments", "dual"])
def test_interrupted_training_goes_on_exactly(home: Home, case: str) -> None:
    """What is drawn follows from the step; second head and map are in the checkpoint."""
    options = _going_on(home)[case]
    whole = home.train(f"{case}-whole", **options)
    _stop(home, f"{case}-stopped", 7, **options)
    assert len(checkpoint.list_checkpoints(home.folder / f"{case}-stopped")) == 2
    assert home.train(f"{case}-stopped", **options) == whole
    states = [
        checkpoint.load(checkpoint.list_checkpoints(home.folder / f"{case}-{kind}")[-1])
        for kind in ("whole", "stopped")
    ]
    for part in ("network", "objective", "extras"):
        assert all(torch.equal(value, states[1][part][name]) for name, value in states[0][part].items())
    names = {name.split(".")[0] for name in states[0]["extras"]}
    assert names == {"teacher": {"teacher_map"}, "segments": {"segment_objective"}}.get(
        case, {"teacher_map", "segment_objective"}
    )


def test_compiled_and_in_bfloat16_it_learns_the_same(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_module = nn.Module.compile
    monkeypatch.setattr(
        nn.Module, "compile", lambda *args, **options: compile_module(*args, **options, backend="eager")
    )
    options = {
        "segments": SegmentOptions(15, 18, "maps", heads=2),
        "teacher": TeacherOptions(home.teacher, student_frames=19, level="both"),
        "num_steps": 5,
    }
    plain = [line["loss"] for line in home.train("plain", **options)]
    compiled = [line["loss"] for line in home.train("compiled", compile=True, **options)]
    assert compiled == pytest.approx(plain, rel=1e-4)
    bf16 = [line["loss"] for line in home.train("bf16", amp="bf16", **options)]
    assert bf16 == pytest.approx(plain, rel=0.05) and bf16 != plain


def test_another_teacher_starts_anew_and_the_same_one_elsewhere_does_not(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    (home.folder / "moved").symlink_to(home.teacher)
    cut = SegmentOptions(length=16)
    home.train("again", teacher=TeacherOptions(home.teacher), segments=cut)
    whole = dataclasses.replace(cut, at_test="whole")
    home.train("again", teacher=TeacherOptions(home.folder / "moved"), segments=whole)
    assert "anew" not in caplog.text
    assert load_model(home.folder / "again")[0].segments == whole
    home.train("other", num_steps=3)
    home.train("again", teacher=TeacherOptions(home.folder / "other"), segments=whole)
    assert "starting anew, since it was made otherwise: teacher_sha256 " in caplog.text
    home.train("again", teacher=TeacherOptions(home.folder / "other", cosine=1.0), segments=whole)
    assert "train.teacher.cosine 2.0 -> 1.0" in caplog.text


def test_what_is_drawn_does_not_depend_on_the_ranks(home: Home) -> None:
    cut = SegmentOptions(length=12, max_length=20, starts="random", same_aug=False)
    masks = SpecAugmentOptions(max_bins=3, max_frames=4)
    options = dataclasses.replace(
        OPTIONS, segments=cut, spec_augment=masks, teacher=TeacherOptions(home.teacher, student_frames=30)
    )
    feats, labels = torch.randn(16, 40, 12), torch.arange(16)
    seen = {}
    for step in range(3):
        [(whole, _)] = Views(options, CPU, None, None)(Batch(feats, labels), step)
        halves = []
        for rank in range(2):
            part = slice(8 * rank, 8 * rank + 8)
            world = World(rank, 2, torch.device("cpu"))
            [(half, own)] = Views(options, world, None, None)(Batch(feats[part], labels[part]), step)
            assert torch.equal(own, labels[part])
            halves.append(half)
        assert torch.equal(torch.cat(halves), whole)
        seen[step] = whole
    assert len({tuple(whole.shape) for whole in seen.values()}) > 1  # another length at another step
    hidden = (seen[0] == 0).float().mean((2, 3))
    assert hidden.max() > 0 and len(hidden.unique()) > 10  # each segment has masks of its own


def test_segments_share_the_masks_of_their_crop_unless_told(home: Home) -> None:
    cut, masks = SegmentOptions(length=16), SpecAugmentOptions(max_bins=4, max_frames=6)
    one = home.trainer("one draw", segments=cut, spec_augment=masks)
    each = home.trainer("a draw each", segments=dataclasses.replace(cut, same_aug=False), spec_augment=masks)
    assert one.front_end(next(iter(one.reader))).feats.eq(0).any()
    batch = each.front_end(next(iter(each.reader)))
    assert not batch.feats.eq(0).any()  # a teacher sees no masks
    assert next(each.views(batch, 0))[0].eq(0).any()
    with pytest.raises(DataError, match="same_aug is false, but without spec_augment"):
        dataclasses.replace(OPTIONS, segments=SegmentOptions(same_aug=False))


def test_a_model_says_itself_how_its_utterances_are_cut(home: Home) -> None:
    home.train("model", segments=SegmentOptions(length=15))
    network, _ = load_model(home.folder / "model")
    feats = torch.randn(2, 60, 12)
    codes = [network(feats[:, start : start + 15]) for start in grid_starts(60, 15)]
    assert torch.allclose(network(feats), torch.stack(codes).mean(0), atol=1e-5)
    # as a teacher it does so, too, and its head sees embeddings of length 10
    manifest = Manifest.read(home.egs)
    embeddings, log_probs = load_teacher(TeacherOptions(home.folder / "model"), home.egs, manifest, CPU.device)(feats)
    head = build_objective(home.objective, 16, manifest.num_speakers)
    head.load_state_dict(checkpoint.average(checkpoint.list_checkpoints(home.folder / "model"), "objective"))
    expected = torch.log_softmax(head.outputs(10 * normalize(embeddings)), 1)
    assert torch.equal(embeddings, network(feats)) and torch.allclose(log_probs, expected, atol=1e-5)
    path = home.folder / "model" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    for damage, message in (
        ({"length": "long"}, "length"),
        ("yes", "settings must be"),
        ({"length": 14}, "segments of 14 frames; the network needs 15"),
    ):
        path.write_text(yaml.safe_dump(config | {"train": config["train"] | {"segments": damage}}))
        with pytest.raises(DataError, match=message) as raised:
            load_model(home.folder / "model")
        assert "config.yaml" in str(raised.value) and "\n" not in str(raised.value)


def test_segments_must_be_long_enough(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """For the network; and some shorter than the examples, or there is one of each, which is worth a word."""
    home.trainer("some", segments=SegmentOptions(length=31))
    assert "each is one segment" not in caplog.text
    home.trainer("one", segments=SegmentOptions(length=32))
    assert "segments have 32 frames, and examples no more than 32: each is one segment" in caplog.text
    with pytest.raises(DataError, match="examples of 9 frames; the network needs 15"):
        home.train("short", segments=SegmentOptions(length=9))
