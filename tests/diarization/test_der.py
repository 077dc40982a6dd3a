"""Error rates of cases counted by hand, and pyannote's conventions as we use them."""

import logging
from itertools import permutations

import numpy as np
import pytest

from timbre.datadir.rttm import Turn
from timbre.diarization.der import DerOptions, Errors, check_apart, measure, pool, table
from timbre.utils.errors import DataError

REFERENCE = {"rec": [Turn(0, 10, "a"), Turn(8, 20, "b")]}  # 2 s of both: 22 s of speech


def errors(hypothesis: list[Turn], options: DerOptions = DerOptions()) -> Errors:
    return pool(measure(REFERENCE, {"rec": hypothesis}, None, options))


def test_names_of_speakers_do_not_matter() -> None:
    result = errors([Turn(0, 10, "2"), Turn(8, 20, "1")])
    assert result.der == result.jer == result.wrong_number == 0


def test_parts_of_the_error() -> None:
    result = errors([Turn(1, 10, "x"), Turn(10, 18, "y"), Turn(18, 21, "x")])
    assert result.miss == pytest.approx(3 / 22)  # 0 to 1, and b while both speak
    assert result.confusion == pytest.approx(2 / 22)  # 18 to 20
    assert result.false_alarm == pytest.approx(1 / 22)  # 20 to 21
    assert result.der == pytest.approx(6 / 22)
    assert result.jer == pytest.approx(np.mean([4 / 13, 4 / 12]))  # a: 1 + 3 of 13 s; b: 4 of 12


def test_a_collar_is_that_much_on_each_side() -> None:
    late = [Turn(0.2, 10.2, "x"), Turn(8.2, 20.2, "y")]
    assert errors(late).der > 0
    assert errors(late, DerOptions(collar=0.25)).der == 0
    assert errors(late, DerOptions(collar=0.15)).der > 0


def test_overlap_can_be_left_out() -> None:
    one_at_a_time = [Turn(0, 9, "x"), Turn(9, 20, "y")]
    assert errors(one_at_a_time).miss == pytest.approx(2 / 22)
    assert errors(one_at_a_time, DerOptions(skip_overlap=True)).der == 0


def test_only_what_the_uem_names_is_scored() -> None:
    measured = measure(REFERENCE, {"rec": [Turn(0, 20, "x")]}, {"rec": [(0, 8)]}, DerOptions())
    assert pool(measured).der == 0
    with pytest.raises(DataError, match="UEM has no recording 'rec'"):
        measure(REFERENCE, {}, {"other": [(0, 1)]}, DerOptions())


def test_recordings_together_are_weighted_by_speech() -> None:
    reference = {"long": [Turn(0, 90, "a")], "short": [Turn(0, 10, "a")]}
    hypothesis = {"long": [Turn(0, 90, "1")], "short": [Turn(0, 5, "1"), Turn(5, 10, "2")]}
    pooled = pool(measure(reference, hypothesis, None, DerOptions()))
    assert pooled.der == pytest.approx(0.05)
    assert pooled.wrong_number == 0.5
    assert pooled.der_interval is not None and pooled.der_interval[0] == 0  # draws without the short one
    assert pooled.der_interval[1] == pytest.approx(0.5)  # and of the short one alone
    assert "long" in table(measure(reference, hypothesis, None, DerOptions()), pooled)


def test_a_recording_without_hypothesis_is_missed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert pool(measure(REFERENCE, {}, None, DerOptions())).miss == 1
    assert "no hypothesis for recording 'rec'" in caplog.text
    with pytest.raises(DataError, match="no recording 'new'"):
        measure(REFERENCE, {"new": [Turn(0, 1, "x")]}, None, DerOptions())


def random_turns(rng: np.random.Generator, names: str) -> list[Turn]:
    """Turns of whole seconds within a minute; those of different speakers may overlap."""
    turns = []
    for name in names:
        start = int(rng.integers(0, 10))
        while start < 50:
            end = start + int(rng.integers(1, 8))
            turns.append(Turn(start, end, name))
            start = end + int(rng.integers(1, 15))
    return turns


@pytest.mark.parametrize("seed", range(6))
def test_is_the_least_over_all_mappings_counted_second_by_second(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, found = random_turns(rng, "abc"), random_turns(rng, "wxyz"[: 2 + seed % 3])
    names = sorted({turn.speaker for turn in found})
    active = {
        name: np.array([any(t.start <= s < t.end for t in turns if t.speaker == name) for s in range(60)])
        for turns in (reference, found)
        for name in {turn.speaker for turn in turns}
    }
    truth, heard = (sum(active[name].astype(int) for name in one) for one in ("abc", names))
    most = 0
    for mapping in permutations([*"abc", *[None] * len(names)], len(names)):
        pairs = [(name, other) for name, other in zip(names, mapping, strict=True) if other]
        most = max(most, sum(int((active[name] & active[other]).sum()) for name, other in pairs))
    error = int(np.maximum(truth, heard).sum()) - most
    result = pool(measure({"rec": reference}, {"rec": found}, {"rec": [(0, 60)]}, DerOptions()))
    assert result.der == pytest.approx(error / truth.sum())
    assert result.miss == pytest.approx(np.maximum(truth - heard, 0).sum() / truth.sum())


def test_development_and_test_must_be_apart() -> None:
    check_apart({"dev": [Turn(0, 1, "a")]}, {"test": [Turn(0, 1, "b")]})
    with pytest.raises(DataError, match="recording 'rec'"):
        check_apart(REFERENCE, {"rec": [Turn(0, 1, "z")]})
    with pytest.raises(DataError, match="speaker 'b'"):
        check_apart(REFERENCE, {"test": [Turn(0, 1, "b")]})
