"""Closed-set classification: what classify.py writes, its accuracy and interval, the submission, damaged input."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from initial_model import Place
from step_calls import refused, works
from timbre.datadir.ark import write_vectors
from timbre.datadir.tables import write_table
from timbre.decision.closed_set import Classifier, name_speakers
from timbre.evaluation.closed_set_rates import measure_closed_set, rates_table, wilson
from timbre.utils.errors import DataError


class Home(Place):
    """A trained model, and vectors that lie at the weights of its classes: two of each speaker."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.names = sorted(self.numbers, key=lambda name: self.numbers[name])
        self.utts = [f"{name}-{take}" for name in self.names for take in "ab"]
        self.vectors = 3 * self.classes.numpy().astype(np.float32).repeat(2, 0)
        self.scp, self.labels = folder / "xvector.scp", folder / "utt2spk"
        write_vectors(folder / "xvector", self.utts, self.vectors)
        write_table(self.labels, {utt: utt.removesuffix(utt[-2:]) for utt in self.utts})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("place"))


def test_what_the_command_writes(home: Home, tmp_path: Path) -> None:
    rows = {utt: f"{len(home.utts) - number} file {utt}.pt" for number, utt in enumerate(home.utts[:5])}
    write_table(tmp_path / "rows", rows)
    options = ["--labels", home.labels, "--top-k", 3, "--published", 0.5]
    options += ["--rows", tmp_path / "rows", "--submission", tmp_path / "submission.csv"]
    done = works(tmp_path, "steps/classify.py", home.model, home.scp, tmp_path / "out", *options)
    assert "top-1 100.00 %" in done.stdout and "published 50.00 %" in done.stdout
    rates = json.loads((tmp_path / "out" / "closed_set.json").read_text())
    assert (rates["top"], rates["published"], rates["classes"]) == ({"1": 1.0, "3": 1.0}, 0.5, len(home.names))
    titles, *lines = (tmp_path / "out" / "predictions.tsv").read_text().splitlines()
    assert titles == "utterance\trank\tspeaker\tprobability"
    cells = [line.split("\t") for line in lines]
    assert [cell[0] for cell in cells] == [utt for utt in home.utts for _ in range(3)]
    assert [cell[2] for cell in cells[::3]] == [utt[:-2] for utt in home.utts], "by name"
    shares = np.array([float(cell[3]) for cell in cells]).reshape(-1, 3)
    assert (np.diff(shares) <= 0).all() and (shares.sum(1) <= 1 + 1e-5).all()
    expected = ["Id,Category", *(f"file {utt}.pt,{utt[:-2]}" for utt in reversed(home.utts[:5]))]
    assert (tmp_path / "submission.csv").read_text().splitlines() == expected


def test_probabilities_are_those_of_all_classes(home: Home) -> None:
    classifier = Classifier.load(home.model)
    found = name_speakers(classifier, home.scp, 10_000, home.labels)
    assert found.classes.shape == (len(home.utts), len(home.names))
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-5)
    cosines = home.vectors @ home.classes.numpy().T / np.linalg.norm(home.classes.numpy(), axis=1)
    assert (found.classes[:, 0] == cosines.argmax(1)).all()
    assert (found.rank == 1).all()


def test_a_label_that_is_not_the_likeliest_has_its_rank(home: Home, tmp_path: Path) -> None:
    classifier = Classifier.load(home.model)
    ranked = name_speakers(classifier, home.scp, len(home.names), None)
    assert (ranked.rank == 0).all() and (ranked.true == -1).all(), "without labels"
    third = {utt: home.names[one] for utt, one in zip(home.utts, ranked.classes[:, 2], strict=True)}
    write_table(tmp_path / "third", third)
    assert (name_speakers(classifier, home.scp, 1, tmp_path / "third").rank == 3).all()


def test_no_speaker_at_all_cannot_be_asked_for(home: Home) -> None:
    with pytest.raises(DataError, match="top_k is 0"):
        name_speakers(Classifier.load(home.model), home.scp, 0, home.labels)


def test_only_what_the_egs_held_out(home: Home) -> None:
    found = name_speakers(Classifier.load(home.model), home.scp, 1, home.labels, home.utts[3:6])
    assert found.utts == home.utts[3:6]


def test_the_interval_draws_speakers_and_is_wilsons_where_they_are_few() -> None:
    speakers = np.repeat(np.arange(40), 25)
    ranks = np.where(speakers < 30, 1, 4)  # a speaker is recognised always or never
    rates = measure_closed_set(ranks, speakers, 40, 5)
    assert rates.top == {1: 0.75, 5: 1.0} and rates.method == "speakers" and rates.ci is not None
    own = wilson(750, 1000)
    assert rates.ci[1] - rates.ci[0] > 3 * (own[1] - own[0]), "utterances of a speaker are not independent"
    assert rates.ci == measure_closed_set(ranks, speakers, 40, 5).ci
    few = measure_closed_set(ranks[:475], speakers[:475], 40)
    assert few.method == "wilson" and few.ci == wilson(475, 475)
    assert wilson(475, 475)[1] == 1 and wilson(0, 10)[0] == 0
    np.testing.assert_allclose(wilson(8, 10), (0.4902, 0.9433), atol=1e-4)
    with pytest.raises(DataError, match="no utterance has a label"):
        measure_closed_set(ranks[:0], speakers[:0], 40)


def test_the_table_has_a_line_a_system() -> None:
    rates = measure_closed_set(np.ones(4, int), np.arange(4), 9)
    text = rates_table({"one": rates, "two": rates})
    assert "| one | 100.00 | [51.01, 100.00] |  |" in text and text.index("| one") < text.index("| two")


def damaged(home: Home, folder: Path, kind: str) -> list[object]:
    """Arguments of classify.py that it must refuse."""
    vectors = home.vectors.copy()
    labels = dict.fromkeys(home.utts, home.names[0])
    if kind == "nan":
        vectors[3, 2] = np.nan
    if kind == "dimension":
        vectors = vectors[:, 1:]
    write_vectors(folder / "vectors", home.utts, vectors)
    if kind == "stranger":
        labels[home.utts[2]] = "nobody"
    if kind == "unlabelled":
        del labels[home.utts[2]]
    write_table(folder / "labels", labels)
    row = {"comma": "1 a,b.pt", "number": "one a.pt"}.get(kind, "1 a.pt")
    write_table(folder / "rows", {"elsewhere" if kind == "row" else home.utts[0]: row})
    words: list[object] = [home.model, folder / "vectors.scp", folder / "out", "--labels", folder / "labels"]
    words += ["--rows", folder / "rows"]
    words += [] if kind == "half" else ["--submission", folder / "submission.csv"]
    words += ["--published", 93] if kind == "published" else []
    return words


REFUSED = {
    "nan": "has NaN or infinite values",
    "dimension": "the classifier takes",
    "stranger": "speaker nobody of",
    "unlabelled": "no speaker of",
    "row": "have no vector, such as elsewhere",
    "comma": "without comma",
    "number": "is not 'NUMBER ID'",
    "half": "go together",
    "published": "a share, from 0 to 1",
}


@pytest.mark.parametrize(("kind", "message"), REFUSED.items(), ids=REFUSED.keys())
def test_what_is_wrong_is_said_in_one_line(home: Home, tmp_path: Path, kind: str, message: str) -> None:
    words = damaged(home, tmp_path, kind)
    line, _ = refused(tmp_path, "steps/classify.py", *words)
    assert message in line


def test_a_model_without_classes_is_refused(home: Home) -> None:
    model = home.folder / "triplet"
    model.mkdir()
    (model / "spk2int").write_bytes((home.model / "spk2int").read_bytes())
    config = yaml.safe_load((home.model / "config.yaml").read_text())
    (model / "config.yaml").write_text(yaml.safe_dump(config | {"objective": {"class_path": "Triplet"}}))
    with pytest.raises(DataError, match=r"its objective, Triplet, has no outputs, one for each speaker"):
        Classifier.load(model)
