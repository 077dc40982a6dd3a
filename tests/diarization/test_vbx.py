"""VBx: its forward-backward against all paths, its bound, its limits, and speakers that are known."""

from itertools import product

import numpy as np
import pytest

from timbre.diarization.vbx import VbxOptions, forward_backward, from_labels, vbx
from timbre.utils.errors import DataError

DIM = 12


def conversation(num_speakers: int, num_windows: int, seed: int, stay: float = 0.9) -> tuple[np.ndarray, ...]:
    """(windows (T, D), psi (D,), speaker of each (T,)) drawn from the model."""
    rng = np.random.default_rng(seed)
    psi = np.linspace(8, 1, DIM)
    voices = rng.standard_normal((num_speakers, DIM)) * np.sqrt(psi)
    speakers = [0]
    while len(speakers) < num_windows:
        speakers.append(speakers[-1] if rng.random() < stay else int(rng.integers(num_speakers)))
    return voices[speakers] + rng.standard_normal((num_windows, DIM)), psi, np.array(speakers)


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = set(zip(one.tolist(), other.tolist(), strict=True))
    return len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


@pytest.mark.parametrize("loop", [0.0, 0.3, 0.9, 1.0])
def test_forward_backward_is_the_sum_over_all_paths(loop: float) -> None:
    rng = np.random.default_rng(0)
    log_likelihood, priors = 2 * rng.standard_normal((5, 3)), np.array([0.5, 0.3, 0.2])
    total, gamma, drawn = 0.0, np.zeros((5, 3)), np.zeros(3)
    for path in product(range(3), repeat=5):
        for draws in product([False, True], repeat=4):  # whether the speaker was drawn anew before windows 1 to 4
            weight = priors[path[0]] * np.exp(log_likelihood[range(5), path].sum())
            for t, is_drawn in enumerate(draws, start=1):
                weight *= (1 - loop) * priors[path[t]] if is_drawn else loop * (path[t] == path[t - 1])
            total += weight
            gamma[range(5), path] += weight
            drawn[path[0]] += weight
            for t, is_drawn in enumerate(draws, start=1):
                drawn[path[t]] += weight * is_drawn
    found, log_total, found_drawn = forward_backward(log_likelihood, priors, loop)
    assert log_total == pytest.approx(np.log(total), abs=1e-12)
    np.testing.assert_allclose(found, gamma / total, atol=1e-12)
    np.testing.assert_allclose(found_drawn, drawn / total, atol=1e-12)


@pytest.mark.parametrize("options", [VbxOptions(), VbxOptions(1.0, 1.0, 0.5), VbxOptions(0.4, 11.0, 0.99)])
def test_the_bound_never_falls(options: VbxOptions) -> None:
    windows, psi, _ = conversation(3, 80, seed=1)
    first = from_labels(np.random.default_rng(1).integers(1, 7, 80), 1.0)
    elbo = vbx(windows, psi, first, options).elbo
    assert len(elbo) > 2
    assert min(np.diff(elbo)) > -1e-9 * abs(elbo[0])


@pytest.mark.parametrize("seed", range(3))
def test_finds_the_speakers_from_too_many(seed: int) -> None:
    """Each speaker is split into three by the first labels; VBx puts them together."""
    windows, psi, speakers = conversation(4, 200, seed)
    split = 3 * speakers + np.arange(200) % 3
    result = vbx(windows, psi, from_labels(split, 2.0), VbxOptions(1.0, 3.0, 0.8))
    assert same_partition(result.labels(), speakers)


def test_corrects_wrong_first_labels() -> None:
    windows, psi, speakers = conversation(3, 150, seed=5)
    wrong = speakers.copy()
    wrong[::10] = (wrong[::10] + 1) % 3
    result = vbx(windows, psi, from_labels(wrong, 2.0), VbxOptions(1.0, 1.0, 0.8))
    assert same_partition(result.labels(), speakers)


def test_a_loop_probability_of_one_gives_one_speaker() -> None:
    windows, psi, speakers = conversation(2, 60, seed=3)
    result = vbx(windows, psi, from_labels(speakers, 1.0), VbxOptions(1.0, 1.0, loop=1.0))
    np.testing.assert_allclose(result.gamma, np.broadcast_to(result.gamma[0], result.gamma.shape), atol=1e-9)


def test_without_loop_order_does_not_matter() -> None:
    windows, psi, speakers = conversation(3, 90, seed=4)
    order = np.random.default_rng(0).permutation(90)
    options = VbxOptions(1.0, 1.0, loop=0.0, max_iters=5, tolerance=-np.inf)
    first = from_labels(speakers, 1.0)
    forward, shuffled = vbx(windows, psi, first, options), vbx(windows[order], psi, first[order], options)
    np.testing.assert_allclose(forward.gamma[order], shuffled.gamma, atol=1e-8)


def test_bad_options() -> None:
    for settings in ({"fa": 0.0}, {"fb": -1.0}, {"loop": 1.5}, {"max_iters": 0}):
        with pytest.raises(DataError, match="vbx"):
            VbxOptions(**settings)  # type: ignore[arg-type]
