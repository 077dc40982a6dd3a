"""Windows of speech, and turns of labelled windows."""

import numpy as np
import pytest

from timbre.datadir.datadir import Segment
from timbre.datadir.rttm import Turn
from timbre.diarization.windows import turns_of, windows_of
from timbre.runtime.spans import WindowOptions, cut, smooth, speech_of_vad, union
from timbre.utils.errors import DataError


def test_windows_are_those_of_kaldis_recipes() -> None:
    """get_uniform_subsegments.py --max-segment-duration=1.5 --overlap-duration=0.75 --max-remaining-duration=0.5:
    what is left is cut while it is longer than 2 s.
    """
    options = WindowOptions()
    assert cut(10, 12, options) == [(10, 12)]
    assert cut(10, 12.1, options) == [(10, 11.5), (10.75, 12.1)]
    assert cut(0, 3.6, options) == [(0, 1.5), (0.75, 2.25), (1.5, 3), (2.25, 3.6)]
    assert cut(0, 0.3, options) == [(0, 0.3)]


@pytest.mark.parametrize("seed", range(5))
def test_windows_cover_the_speech_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    options = WindowOptions(window=float(rng.uniform(0.5, 3)), period=0.4, max_rest=float(rng.uniform(0, 1)))
    edges = np.cumsum(rng.uniform(0.3, 20, 8)).reshape(-1, 2)
    speech = [(float(round(start, 2)), float(round(end, 2))) for start, end in edges]
    windows = windows_of({"rec": speech}, options)
    found = union((one.start, one.end) for one in windows.values())
    np.testing.assert_allclose(found, speech, atol=1e-3)
    longest = options.window + options.max_rest
    assert all(one.end - one.start <= longest + 1e-3 for one in windows.values())


def test_frames_become_seconds() -> None:
    voiced = np.array([0, 1, 1, 0, 0, 1], bool)
    assert speech_of_vad(voiced, 0.01, 0.075) == [(0.01, 0.03), (0.05, 0.075)]
    assert speech_of_vad(np.zeros(3, bool), 0.01, 0.03) == []


def test_pauses_are_filled_before_short_speech_goes() -> None:
    spans = [(0.0, 0.2), (0.3, 0.5), (2.0, 2.1), (5.0, 9.9)]
    filled = smooth(spans, 10, WindowOptions(max_gap=0.15, min_segment=0.25))
    np.testing.assert_allclose(filled, [(0, 0.5), (5, 9.9)])
    padded = smooth(spans, 10, WindowOptions(padding=0.2))
    np.testing.assert_allclose(padded, [(0, 0.7), (1.8, 2.3), (4.8, 10)])


def test_names_that_would_be_the_same_are_an_error() -> None:
    with pytest.raises(DataError, match="longer period"):
        windows_of({"rec": [(0, 3)]}, WindowOptions(period=0.001))
    with pytest.raises(DataError, match="period <= window"):
        WindowOptions(period=2)


def test_overlap_of_windows_is_cut_in_its_middle() -> None:
    segments = {
        "a": Segment("rec", 0.0, 1.5),
        "b": Segment("rec", 0.75, 2.25),
        "c": Segment("rec", 1.5, 3.0),
        "d": Segment("rec", 4.0, 5.0),
        "e": Segment("other", 0.0, 1.0),
    }
    labels = {"a": "1", "b": "1", "c": "2", "d": "2", "e": "1"}
    assert turns_of(segments, labels) == {
        "other": [Turn(0, 1, "1")],
        "rec": [Turn(0, 1.875, "1"), Turn(1.875, 3, "2"), Turn(4, 5, "2")],
    }


@pytest.mark.parametrize("seed", range(4))
def test_turns_of_true_labels_are_the_speech(seed: int) -> None:
    rng = np.random.default_rng(seed)
    speech = [(0.0, 7.3), (8.0, 9.1), (12.0, 31.0)]
    segments = windows_of({"rec": speech}, WindowOptions())
    turns = turns_of(segments, {name: str(rng.integers(3)) for name in segments})["rec"]
    np.testing.assert_allclose(union((turn.start, turn.end) for turn in turns), speech)
    assert sum(turn.end - turn.start for turn in turns) == pytest.approx(sum(end - start for start, end in speech))
