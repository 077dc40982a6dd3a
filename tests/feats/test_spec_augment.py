"""SpecAugment: how wide its masks are, where, and that every example has its own."""

import numpy as np
import pytest

from timbre.feats.spec_augment import SpecAugmentOptions, spec_augment
from timbre.utils.errors import DataError

ONES = np.ones((200, 80), np.float32)


def masks(options: SpecAugmentOptions, number: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(frames masked as a whole, bins masked as a whole) of NUMBER examples."""
    made = [spec_augment(ONES, options, np.random.default_rng(seed)) == 0 for seed in range(number)]
    return [np.flatnonzero(one.all(axis=1)) for one in made], [np.flatnonzero(one.all(axis=0)) for one in made]


def test_widths_and_places_are_uniform() -> None:
    in_time, in_frequency = masks(SpecAugmentOptions(), 2000)
    for found, widest, size in ((in_time, 9, 200), (in_frequency, 7, 80)):
        widths = np.bincount([len(one) for one in found], minlength=widest + 1)
        assert len(widths) == widest + 1 and widths.min() > 0.7 * 2000 / (widest + 1)
        assert all((np.diff(one) == 1).all() for one in found), "each is one band"
        touched = np.bincount(np.concatenate(found), minlength=size)
        assert touched.min() > 0, "from edge to edge"
        middle = touched[widest:-widest]
        assert middle.max() < 2 * middle.mean() and middle.min() > 0.3 * middle.mean()


def test_the_rest_stays_and_so_does_what_was_given() -> None:
    feats = np.random.default_rng(0).standard_normal((200, 80)).astype(np.float32)
    before = feats.copy()
    masked = spec_augment(feats, SpecAugmentOptions(freq_masks=2, time_masks=2), np.random.default_rng(1))
    assert np.array_equal(feats, before) and masked.dtype == np.float32
    changed = masked != feats
    assert 0 < changed.sum() < 0.5 * changed.size and (masked[changed] == 0).all()
    filled = spec_augment(feats, SpecAugmentOptions(2, 30, 2, 100, fill="mean"), np.random.default_rng(1))
    assert np.unique(filled[filled != feats]) == pytest.approx([feats.mean()])


def test_it_depends_on_the_generator_alone() -> None:
    one, again, other = (spec_augment(ONES, SpecAugmentOptions(), np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


@pytest.mark.parametrize("shape", [(0, 80), (1, 80), (5, 1), (3, 4)])
def test_small_examples(shape: tuple[int, int]) -> None:
    masked = spec_augment(np.ones(shape, np.float32), SpecAugmentOptions(2, 30, 2, 100), np.random.default_rng(0))
    assert masked.shape == shape


def test_a_share_bounds_masks_of_short_examples() -> None:
    options = SpecAugmentOptions(freq_masks=0, max_frames=100, max_share=0.2)
    masked = [spec_augment(ONES[:50], options, np.random.default_rng(seed)) for seed in range(300)]
    widest = max((one == 0).all(axis=1).sum() for one in masked)
    assert widest == 10


@pytest.mark.parametrize("settings", [{"freq_masks": -1}, {"max_frames": -1}, {"max_share": 1.5}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(DataError, match="SpecAugment"):
        SpecAugmentOptions(**settings)  # type: ignore[arg-type]
