"""Plans with a siamese head, and with lists of pairs that have no labels."""

from pathlib import Path

import pytest
from plans import MakeSet, plan, rows, said, variables

from timbre.utils.errors import DataError

SIAMESE = {"objective": "conf/objective/siamese.yaml", "backend-conf": "conf/backend/cosine.yaml"}


def test_the_head_scores_beside_the_cosine_and_on_the_held_out_speakers(make_set: MakeSet) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("trials",))
    made = plan(**SIAMESE)
    found = {row.output: row for row in rows(made, "score") if row.task == "siamese"}
    exp = "exp/synth_ecapa128"
    assert set(found) == {f"{exp}/calibration/scores/dev.siamese", f"{exp}/scores/eval.siamese"}
    row = found[f"{exp}/scores/eval.siamese"]
    assert (row.using, row.vectors) == (f"{exp}/model", f"{exp}/embeddings/eval/xvector.scp")
    assert variables(made)["siamese"] == "true"
    assert not [
        row for row in plan(**SIAMESE | {"objective": "conf/objective/aam.yaml"}).rows() if row.kind == "siamese"
    ]


@pytest.mark.parametrize("there", [True, False])
def test_a_model_is_asked_for_its_head(make_set: MakeSet, place: Path, there: bool) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("trials",))
    model = place / "model"
    (model / "checkpoints").mkdir(parents=True)
    (model / "final.pt").write_text("")
    siamese = "{class_path: WeightedSum, init_args: {terms: [{class_path: AamSoftmax}, {class_path: Siamese}]}}"
    (model / "config.yaml").write_text(f"objective: {siamese if there else '{class_path: AamSoftmax}'}\n")
    assert variables(plan(model=str(model)))["siamese"] == str(there).lower()
    (model / "checkpoints").rmdir()
    assert variables(plan(model=str(model)))["siamese"] == "false", "the head was in the checkpoints"


def test_lists_without_labels_are_scored_apart_and_decided(make_set: MakeSet) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("pairs", "pair_rows.csv"))
    made = plan(**SIAMESE)
    exp = "exp/synth_ecapa128"
    systems = ["statistics", "cosine", "cosine_asnorm", "siamese", "cosine_llr"]
    assert [row.output for row in rows(made, "score-pairs")] == [f"{exp}/pairs/eval.{name}" for name in systems]
    (row,) = rows(made, "submission")
    assert (row.data, row.source) == ("data/synth/eval/pair_rows.csv", f"{exp}/pairs/eval.siamese")
    assert (row.using, row.output) == (f"{exp}/calibration/scores/dev.siamese", f"{exp}/submission.csv")
    assert variables(made)["has_trials"] == "false"
    assert not [row for row in made.rows() if row.task == "analyze"]
    (row,) = rows(plan(**SIAMESE | {"objective": "conf/objective/aam.yaml"}), "submission")
    assert row.source == f"{exp}/pairs/eval.cosine_asnorm"


def test_copies_under_a_condition_have_the_pairs_of_their_original(make_set: MakeSet) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("pairs", "pair_rows.csv"))
    made = plan(**SIAMESE, **{"test-conf": "conf/condition/telephone.yaml"})
    found = {row.trials for row in rows(made, "score-pairs") if row.set == "eval_telephone"}
    assert found == {"data/synth/eval/pairs"}
    assert [row.output for row in rows(made, "submission")] == ["exp/synth_ecapa128/submission.csv"]


def test_without_held_out_speakers_there_is_no_submission_which_is_said(make_set: MakeSet) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("pairs", "pair_rows.csv"))
    made = plan(**SIAMESE, calibrate="false", accuracy="true")
    assert not rows(made, "submission")
    assert [line.partition(": ")[0] for line in said(made)] == ["no submission.csv", "--accuracy"]
    assert said(plan(**SIAMESE, accuracy="true")) == []


def test_what_a_submission_cannot_be_filled_with_is_refused_before_anything_runs() -> None:
    with pytest.raises(DataError, match="--fill scores: not label or score"):
        plan(fill="scores")


def test_no_pair_that_is_to_be_answered_may_be_missing(make_set: MakeSet) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("pairs",))
    with pytest.raises(DataError, match="eval/pairs: --allow-missing leaves pairs out"):
        list(plan(**{"allow-missing": "2"}).rows())


def test_siamese_is_no_name_for_a_back_end(place: Path) -> None:
    (place / "siamese.yaml").write_text("model: Cosine\n")
    with pytest.raises(DataError, match="that name is taken"):
        plan(**{"backend-conf": "siamese.yaml"})
