"""Scores and clusters of recordings against the files of real Kaldi programs: labels equal, scores within 1e-6."""

import re
from pathlib import Path

import numpy as np
import pytest

from timbre.backend.plda import Plda
from timbre.backend.vectors import Embeddings, Projection
from timbre.datadir.ark import read_ark
from timbre.datadir.tables import read_lists, read_table
from timbre.diarization.window_scores import PldaScorer, dense_scores
from timbre.runtime.ahc import AhcOptions, cluster

ROOT = Path(__file__).resolve().parent.parent
CLUSTERS = sorted(path.stem for path in (ROOT / "data" / "kaldi" / "backend" / "clusters").glob("*.labels"))
NUMBER = r"(-?[\d.]+)"


def option(name: str, key: str, default: float) -> float:
    found = re.search(f"{key}{NUMBER}", name)
    return float(found[1]) if found else default


@pytest.mark.parametrize("name", CLUSTERS)
def test_labels_are_those_of_agglomerative_cluster(kaldi: Path, name: str) -> None:
    """NAME tells the scores and the options: README.md beside them."""
    folder, kind = kaldi / "backend", name.partition("_")[0]
    energy = "_te0.9" if "te0.9" in name else "_te1.0"
    scores = dict(read_ark(folder / f"{kind}.scores{energy if kind == 'diar' else ''}.ark"))
    numbers = read_table(folder / f"{kind}.reco2num_spk")
    expected = read_table(folder / "clusters" / f"{name}.labels")
    sign = -1 if "costs" in name else 1  # --read-costs: what is read is a cost, and so is the threshold
    options = AhcOptions(
        sign * option(name, "thr", 0.0), option(name, "maxfrac", 1.0), int(option(name, "twopass", 32767))
    )
    for recording, utts in read_lists(folder / f"{kind}.reco2utt").items():
        number = int(numbers[recording]) if "num" in name else None
        labels = cluster(-sign * scores[recording], options, number)
        assert labels.tolist() == [int(expected[utt]) for utt in utts], recording


def test_there_are_labels_to_compare() -> None:
    assert len(CLUSTERS) == 18


@pytest.mark.parametrize("energy", ["1.0", "0.9", "0.5"])
def test_scores_are_those_of_plda_scoring_dense(kaldi: Path, energy: str) -> None:
    folder = kaldi / "backend"
    embeddings = Embeddings.read(folder / "diar.lda20.norm.ark")
    scorer = PldaScorer(Projection(), Plda.read(folder / "plda_lda"), float(energy))
    reference = dict(read_ark(folder / f"diar.scores_te{energy}.ark"))
    for recording, utts in read_lists(folder / "diar.reco2utt").items():
        scores = dense_scores(scorer.factors(embeddings.take(utts, "the test")))
        assert np.abs(scores - reference[recording]).max() < 1e-6 * np.abs(reference[recording]).max()
