"""The plan of back-ends under condition: copies for them alone, and audio of a new domain that they are adapted to."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from plans import MakeSet, plan, rows, said, variables

from timbre.recipe.scoring_rows import Row
from timbre.utils.errors import DataError

EFFECTS = "conf/condition/telephone_wide.yaml"
EXP = "exp/synth_ecapa128"


@pytest.fixture
def calls(place: Path) -> Path:
    """A folder of three recordings."""
    (place / "calls").mkdir()
    for name in "abc":
        soundfile.write(place / "calls" / f"{name}.wav", np.zeros(160), 16000)
    return place / "calls"


def one(made: list[Row]) -> Row:
    (row,) = made
    return row


def test_copies_are_a_set_of_their_own(make_set: MakeSet) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("trials",))
    made = plan(**{"backend-augment": EFFECTS})
    name = "backend_telephone_wide"
    copies = one(rows(made, name))
    assert (copies.stage, copies.data, copies.output) == (1, "data/synth/train", f"data/synth/{name}")
    assert one(rows(made, f"features_{name}")).output == f"data/synth/fbank80/{name}"
    assert one(rows(made, "embed_backend")).output == f"{EXP}/embeddings/{name}/xvector"
    joined = one(rows(made, "back-end-data"))
    assert (joined.using, joined.output) == (f"{EXP}/calibration/held_out", f"{EXP}/backend_train")
    trained = {row.kind: (row.vectors, row.data) for row in rows(made, "back-end")}
    both = f"{EXP}/backend_train/xvector.scp", f"{EXP}/backend_train/utt2spk"
    assert trained["plda"] == trained["cosine"] == both
    assert (variables(made)["cohort"], variables(made)["cohort_utt2spk"]) == both
    without = variables(plan(**{"backend-augment": EFFECTS, "cohort-copies": "false"}))
    assert without["cohort"] == f"{EXP}/calibration/others.scp"
    assert without["cohort_utt2spk"] == "data/synth/fbank80/train/utt2spk"
    plain = plan()
    for unit in ("score", "embed", "features", "held-out", "results"):
        assert rows(made, unit) == rows(plain, unit), "copies change nothing else"
    few = plan(**{"backend-augment": EFFECTS, "backend-copies": "50%", "calibrate": "false"})
    assert one(rows(few, "back-end-data")).using == "-" and rows(few, f"{name}_50pc")
    rooms = plan(**{"backend-augment": "conf/condition/other_day.yaml"})
    assert variables(rooms)["rir_dir"] == "data/synth/rooms", "those of training"


def test_systems_that_are_adapted_stand_beside(make_set: MakeSet, calls: Path) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("trials",))
    made = plan(**{"adapt-dir": "calls", "protocols": "len2s", "adapt-cohort-utts": "3"})
    assert [row.output for row in made.rows() if row.set == "adapt" and row.stage < 7] == [
        "data/unlabelled_calls/fbank80/adapt",
        f"{EXP}/embeddings/adapt/xvector",
    ]
    assert one(rows(made, "data_unlabelled")).source == "calls"
    adapted = {row.kind: (row.task, row.source, row.output) for row in rows(made, "adapt")}
    assert adapted == {
        "plda_adapted": ("adapt", f"{EXP}/backend", f"{EXP}/backend_adapted"),
        "cosine_adapted": ("adapt-mean", f"{EXP}/backend/cosine", f"{EXP}/backend_adapted/cosine"),
    }
    plain = plan(protocols="len2s")
    beside = [row for row in rows(made, "score") if row not in rows(plain, "score")]
    new = [row for row in beside if "/calibration/" not in row.output]
    stem = f"{EXP}/scores/eval"
    kinds = [f"{name}_adapted{kind}" for name in ("cosine", "plda") for kind in ("", "_asnorm")]
    llrs = ["cosine_adapted_llr", "plda_adapted_llr"]
    assert [row.output for row in new] == [f"{stem}.{kind}" for kind in (*kinds, *llrs, *(f"{k}@len2s" for k in kinds))]
    learnt = {row.kind: (row.source, row.using) for row in new if row.task == "calibrate-adapted"}
    calibration = f"{EXP}/calibration/adapted"
    assert learnt["plda_adapted_llr"] == (f"{stem}.plda_adapted_asnorm", f"{calibration}/plda_asnorm")
    assert {"plda_adapted", *llrs} <= set(variables(made)["llr"].split(","))
    assert variables(made)["adapted_cohort"] == f"{EXP}/embeddings/adapt/xvector.scp"
    assert variables(made)["adapted_cohort_utt2spk"] == ""
    alike = {row.task: (row.source, row.using, row.output) for row in beside if "plda" in row.kind and row not in new}
    dev, raw = f"{calibration}/scores/dev.plda_asnorm", f"{EXP}/calibration/scores/dev.plda"
    assert alike == {
        "normalize-like-adapted": (raw, f"{EXP}/backend", dev),
        "learn": (dev, "-", f"{calibration}/plda_asnorm"),
    }
    few = plan(**{"adapt-dir": "calls"})
    assert not any("calibration/adapted" in row.output for row in few.rows()), "the cohort of training"
    assert variables(few)["adapted_cohort"] == variables(few)["cohort"]
    assert [line.partition(":")[2] for line in said(few)] == [
        " 3 utterances, fewer than 100: means are adapted, and covariances are not (--adapt-covar-utts)",
        " 3 utterances, fewer than 100: AS-norm keeps the cohort of training (--adapt-cohort-utts)",
    ]
    assert variables(made)["adapted"] and not variables(plain)["adapted"]


def test_audio_that_is_tested_on_is_warned_of(make_set: MakeSet, calls: Path) -> None:
    make_set("synth/train")
    tested = make_set("synth/eval", trials=("trials",))
    (tested / "wav.scp").write_text("x calls/a.wav\ny other.wav\n")
    text = "warning: --adapt-dir: 1 of its recordings are in data/synth/eval: results on it tell too much"
    assert text in said(plan(**{"adapt-dir": "calls"}))


def test_audio_is_resampled_as_that_of_other_sets(make_set: MakeSet, calls: Path) -> None:
    make_set("synth/train")
    options = {"adapt-dir": "calls", "feats-conf": "conf/feats/fbank40_8k.yaml"}
    place = os.path.join("calls", "a.wav")
    with pytest.raises(DataError, match=f"{place}: --adapt-dir: 16000 Hz, and conf/feats/fbank40_8k.yaml is for 8000"):
        plan(**options)
    made = plan(**options, **{"audio-conf": "conf/audio/telephone.yaml"})
    assert one(rows(made, "audio_unlabelled")).output == "data/unlabelled_calls/telephone/adapt"
    assert one(rows(made, "features_unlabelled")).data == "data/unlabelled_calls/telephone/adapt"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"adapt-dir": "none"}, "none: --adapt-dir: no such directory"),
        ({"adapt-dir": "empty"}, "empty: --adapt-dir: neither wav.scp nor any audio file in it"),
        ({"adapt-dir": "single"}, "--adapt-dir single: 1 utterance; adaptation takes 2 at least"),
        ({"adapt-dir": "calls", "adapt-method": "lip"}, "--adapt-method lip: not kaldi, coral, coral+, mean"),
        ({"adapt-dir": "calls", "backend-conf": "cosine.yaml"}, "cosine.yaml subtracts no mean that could be adapted"),
        ({"backend-augment": "conf/augment/speed.yaml"}, "is of new speakers"),
        ({"backend-augment": EFFECTS, "backend-copies": "200%"}, "200% takes more than the 1 copies"),
        ({"backend-augment": EFFECTS, "backend-copies": "0"}, "--backend-copies 0: at least one copy"),
        ({"backend-augment": "conf/augment/offline.yaml"}, "an effect needs noise"),
        (
            {"backend-augment": "conf/augment/telephone.yaml", "augment-conf": "conf/augment/telephone.yaml"},
            "the training set has copies 'telephone' already",
        ),
        ({"backend-conf": "plda_adapted.yaml"}, "that name is taken"),
    ],
)
def test_what_cannot_be_is_refused(
    options: dict[str, str], text: str, make_set: MakeSet, calls: Path, place: Path
) -> None:
    make_set("synth/train")
    (place / "empty").mkdir()
    (place / "single").mkdir()
    soundfile.write(place / "single" / "a.wav", np.zeros(160), 16000)
    (place / "cosine.yaml").write_text("model: {class_path: Cosine}\n")
    with pytest.raises(DataError) as caught:
        list(plan(**options).rows())
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_without_training_set_there_is_nothing_to_adapt(make_set: MakeSet, calls: Path, place: Path) -> None:
    make_set("synth/eval", trials=("trials",))
    model = place / "exp" / "other" / "model"
    model.mkdir(parents=True)
    (model / "final.pt").write_text("")
    (model / "config.yaml").write_text("feat_dim: 80\n")
    with pytest.raises(DataError, match="--adapt-dir adapts back-ends, and data/synth has no train set"):
        plan(**{"model": str(model), "adapt-dir": "calls"})
    with pytest.raises(DataError, match="--backend-augment: data/synth has no training set with audio"):
        plan(**{"model": str(model), "backend-augment": EFFECTS})
