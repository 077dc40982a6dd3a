"""The steps that explain, on a small trained model: files, figures, and what is said of what cannot be explained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from initial_model import Place
from step_calls import files, refused, works
from timbre.backend.chain_training import train_backend
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_lists
from timbre.embedding.extract import extract_embeddings
from timbre.explain.explanation_study import measure
from timbre.explain.map_files import Explanation
from timbre.explain.study_options import StudyOptions
from timbre.explain.study_summary import Summary
from timbre.explain.time_cells import CellOptions
from timbre.explain.wanted import choose_target, explainer_of
from timbre.feats.utterances import list_utterances
from timbre.nnet.model import load_model
from timbre.utils.errors import DataError

PAIR = ["spk01-utt0", "spk01-utt2"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A model, the data that it was trained on, trials of them, and a PLDA back-end."""
    place = Place(tmp_path_factory.mktemp("explained"))
    folder, data = place.folder, DataDir.read(place.folder / "egs_data")
    network, normalization = load_model(place.model)
    read = [(one.utt, one.read()) for one in list_utterances(data, normalization)]
    extract_embeddings(network, read).write(folder / "xvector")
    config = {"transforms": ["Mean", {"class_path": "Lda", "init_args": {"dim": 8}}], "model": "TwoCovariancePlda"}
    train_backend(folder / "xvector.scp", data.path / "utt2spk", config).write(folder / "plda")
    lines = [f"{spk}-utt0 {spk}-utt{number} target" for spk in data.spk2utt() for number in (2, 3)]
    lines += [f"spk01-utt0 {spk}-utt3 nontarget" for spk in data.spk2utt() if spk != "spk01"]
    (data.path / "trials").write_text("\n".join(lines) + "\n")
    return place


def test_a_trial_is_explained_on_both_sides(place: Place) -> None:
    """By the score of the list; the map is over the recording, and empty where the network is given nothing."""
    folder, data = place.folder, place.folder / "egs_data"
    options = ["--target", ",".join(PAIR), "--backend-dir", "plda", "--trials", "egs_data/trials"]
    options += ["--method", "integrated_gradients"]
    done = works(folder, "steps/explain_utterance.py", "model", data, PAIR[1], "out/one", *options)
    works(
        folder,
        "steps/score_trials.py",
        "egs_data/trials",
        "xvector.scp",
        "xvector.scp",
        "scores",
        "--backend-dir",
        "plda",
    )
    scores = {tuple(line.split()[:2]): float(line.split()[2]) for line in (folder / "scores").read_text().splitlines()}
    told = json.loads((folder / "out/one.json").read_text())
    assert told["value"] == pytest.approx(scores[PAIR[0], PAIR[1]], rel=1e-4, abs=1e-4)
    assert told["label"] == "target" and told["utts"] == PAIR and f"{told['value']:.4g}" in told["caption"]
    assert done.stdout.startswith("score of the trial: ")
    assert (folder / "out/one.png").stat().st_size > 10_000
    for side in ("enroll", "test"):
        found = np.load(folder / f"out/one_{side}.npz")
        assert found["map"].shape == found["feats"].shape and found["map"].any()
        assert not found["map"][~found["voiced"]].any() and 0 < found["voiced"].mean() < 1


def test_the_logit_of_a_speaker_is_the_one_of_training(place: Place) -> None:
    explainer = explainer_of(place.model, DataDir.read(place.folder / "egs_data"), None, Path("none"), CPU)
    explained, label = choose_target(explainer, PAIR[0], "", None)
    explanation = Explanation.make(explained, "gradcam", "", CellOptions(), 0.01)
    embedding = explained.of_parts()[0].embeddings[0]
    cosine = torch.cosine_similarity(embedding, place.classes[[place.numbers["spk01"]]])
    objective, _ = explainer.classes()
    scale = objective.outputs(embedding)[0, place.numbers["spk01"]] / cosine
    assert label == "" and explanation.value == pytest.approx(float(scale * cosine), rel=1e-5)
    assert float(scale) > 1 and explained.title == "logit of spk01"


def test_a_model_of_several_utterances_is_explained_by_each(place: Place, tmp_path: Path) -> None:
    models = tmp_path / "enroll.spk2utt"
    write_lists(models, {"model": PAIR})
    data = DataDir.read(place.folder / "egs_data")
    explainer = explainer_of(place.model, data, place.folder / "plda", models, CPU)
    explained, _ = choose_target(explainer, "spk02-utt0", "model,spk02-utt0", None)
    made = Explanation.make(explained, "gradient", "", CellOptions(), 0.01)
    made.write(tmp_path / "x", 0.01)
    assert {path.name for path in tmp_path.glob("x*.npz")} == {"x_enroll.npz", "x_enroll2.npz", "x_test.npz"}
    assert all(values.any() for values in made.maps)


def test_figures_of_a_set(place: Place) -> None:
    folder = place.folder
    methods = ["--methods", "[gradient,layercam]", "--draws", "50", "--cells.num-bands", "3", "--study.num-utts"]
    trials = ["--trials", "egs_data/trials", "--backend-dir", "plda"]
    done = works(folder, "steps/measure_explanations.py", "model", "egs_data", "study", *trials, *methods, "6")
    told = json.loads((folder / "study.json").read_text())
    assert told["num_utts"] == told["num_speakers"] == 6 and told["num_random"] == 3
    assert list(told["maps"]) == ["gradient", "layercam", "random", "energy", "vad"]
    for name in ("gradient", "layercam"):
        assert 0 <= told["maps"][name]["located"]["value"] <= 1 and len(told["maps"][name]["curves"]["deletion"]) == 11
    assert told["maps"]["random"]["curves"]["deletion"][::10] == [1, 0]
    assert told["maps"]["random"]["curves"]["insertion"][::10] == [0, 1]
    table = [line.split("\t") for line in (folder / "study.tsv").read_text().splitlines()]
    assert [row[0] for row in table[1:]] == list(told["maps"]) and {len(row) for row in table} == {19}
    assert (folder / "study.md").read_text() in done.stdout and (folder / "study.png").stat().st_size > 10_000


def test_logits_are_measured_where_there_is_no_list(place: Place, tmp_path: Path) -> None:
    """Of the speakers that training knew alone; and all is the same when it is done again."""
    explainer = explainer_of(place.model, DataDir.read(place.folder / "egs_data"), None, Path("none"), CPU)
    texts = []
    for number in range(2):
        found = measure(explainer, None, ["gradcam"], StudyOptions(20, 50), CellOptions(num_bands=3), 0)
        assert len(found) == 20 and {one.wanted.speaker for one in found} == place.numbers.keys()
        Summary(found, 20, 0).write(tmp_path / f"{number}", "logits", {})
        texts.append([(tmp_path / f"{number}{end}").read_bytes() for end in (".tsv", ".json", ".png", ".svg")])
    assert texts[0] == texts[1]
    with pytest.raises(DataError, match="none of the 2 utterances can be explained"):
        measure(explainer, None, ["gradcam"], StudyOptions(2, 50), CellOptions(block_ms=600), 0)
    with pytest.raises(DataError, match="no target trial of two utterances in it"):
        (tmp_path / "trials").write_text("spk01-utt0 spk02-utt3 nontarget\n")
        measure(explainer, tmp_path / "trials", ["gradcam"], StudyOptions(), CellOptions(), 0)


def test_worst_trials_of_an_analysis(place: Place) -> None:
    """What cannot be explained is passed over for the next; the label and the decision are told."""
    folder = place.folder
    worst = {"threshold": 1.0, "targets": [{"enroll": PAIR[0], "test": PAIR[1], "score": 0.5}]}
    gone, there = ({"enroll": PAIR[0], "test": test, "score": 2.0} for test in ("nobody", "spk03-utt3"))
    analysis = folder / "eval.plda.json"
    analysis.write_text(json.dumps({"backend": "plda", "worst": {**worst, "nontargets": [gone, there]}}))
    options = ["--backend-dir", "plda", "--method", "gradient"]
    done = works(folder, "steps/explain_worst.py", "model", "egs_data", analysis, "worst", *options)
    assert "trial spk01-utt0 nobody passed over: " in done.stderr
    told = json.loads((folder / "worst/false_alarm.json").read_text())
    assert told["test"] == "spk03-utt3" and "nontarget, wrongly accepted by plda: 2, threshold 1" in told["caption"]
    assert "target, wrongly rejected by plda: 0.5" in json.loads((folder / "worst/miss.json").read_text())["caption"]
    analysis.write_text("{}")
    line, _ = refused(folder, "steps/explain_worst.py", "model", "egs_data", analysis, "worst", *options)
    assert line == f"{analysis}: not an analysis of steps/analyze_trials.py"


def test_what_cannot_be_explained(place: Place, tmp_path: Path) -> None:
    folder = place.folder
    data = DataDir.read(folder / "egs_data")
    trials = data.path / "trials"
    explainer = explainer_of(place.model, data, folder / "plda", Path("none"), CPU)
    cases: list[tuple[str, str, Path | None, str]] = [
        ("spk01-utt9", "spk01", None, r"egs_data/feats.scp: no utterance 'spk01-utt9'; did you mean spk01-utt\d\?"),
        (PAIR[0], "nobody", None, r"spk2int: speaker 'nobody' is none of the 18 that the network was trained on"),
        (PAIR[0], "spk01-utt0,", None, "is not ENROLL,TEST: a side is missing"),
        (PAIR[0], ",spk01-utt0", None, "is not ENROLL,TEST: a side is missing"),
        (PAIR[0], "a,b,c", None, "or there are more than two"),
        (PAIR[0], "spk01-utt2,spk01-utt3", None, "utterance 'spk01-utt0' is on neither side"),
        (PAIR[0], "spk01-utt0,nobody", None, "no utterance 'nobody'"),
        (PAIR[0], "spk01-utt0,spk01-utt5", trials, "trials: no trial 'spk01-utt0 spk01-utt5' in it"),
        (PAIR[0], "spk01", trials, "--trials is for a trial"),
    ]
    for utt, target, listed, text in cases:
        with pytest.raises(DataError, match=text):
            choose_target(explainer, utt, target, listed)
    explained, _ = choose_target(explainer, PAIR[0], "spk01", None)
    with pytest.raises(DataError, match=r"utterance spk01-utt0: \d+ frames are less than a block of 500"):
        Explanation.make(explained, "occlusion", "", CellOptions(5000), 0.01)
    with pytest.raises(DataError, match=r"layer 'trunk.layer.1' is none of the network; did you mean trunk.layers"):
        Explanation.make(explained, "layercam", "trunk.layer.1", CellOptions(), 0.01)


def test_models_without_classes_explain_trials_alone(place: Place, tmp_path: Path) -> None:
    """An imported one has no objective; of another the checkpoints may be gone."""
    data = DataDir.read(place.folder / "egs_data")
    changes: list[tuple[Callable[[Path], object], str]] = [
        (lambda model: _change_config(model, "objective:", "other:"), "it has no objective, so no speakers"),
        (lambda model: shutil.rmtree(model / "checkpoints"), "no such file, which has the objective"),
    ]
    for number, (change, text) in enumerate(changes):
        model = tmp_path / str(number)
        shutil.copytree(place.model, model)
        change(model)
        before = files(model)
        explainer = explainer_of(model, data, None, Path("none"), CPU)
        with pytest.raises(DataError, match=text):
            choose_target(explainer, PAIR[0], "spk01", None)
        explained, _ = choose_target(explainer, PAIR[0], ",".join(PAIR), None)
        assert Explanation.make(explained, "layercam", "", CellOptions(), 0.01).value <= 1
        assert files(model) == before


def _change_config(model: Path, old: str, new: str) -> None:
    config = model / "config.yaml"
    assert f"\n{old}" in config.read_text()
    config.write_text(config.read_text().replace(f"\n{old}", f"\n{new}"))
