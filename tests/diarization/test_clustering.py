"""What happens to clusters that are too small to be a speaker."""

import numpy as np

from timbre.diarization.clustering import without_small
from timbre.runtime.factors import Factors


def factors(num_windows: int) -> Factors:
    """Scores with terms of both sides, as PLDA has them."""
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, num_windows, 5)).astype(np.float32)
    biases = rng.standard_normal((2, num_windows))
    return Factors(left, right, biases[0], biases[1:], np.zeros(num_windows, np.int64))


def test_windows_go_where_they_score_best_on_average() -> None:
    labels = np.array([1, 2, 2, 2, 3, 4, 4, 4, 4, 5, 5])
    scored = factors(len(labels))
    scores = scored.left @ scored.right.T + scored.left_bias[:, None] + scored.right_bias
    expected = labels.copy()
    for window in np.flatnonzero(np.isin(labels, [1, 3, 5])):
        expected[window] = max((2, 4), key=lambda label: scores[labels == label, window].mean())
    found = without_small(labels, scored, 3)
    assert found.tolist() == [{2: 1, 4: 2}[label] for label in expected.tolist()]


def test_nothing_changes_where_all_are_small_or_none() -> None:
    labels = np.array([1, 1, 2, 2, 3])
    for least in (1, 4):
        assert without_small(labels, factors(5), least).tolist() == labels.tolist()
