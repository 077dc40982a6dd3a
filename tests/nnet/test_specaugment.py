"""Masks of SpecAugment: one run of bins and one of frames an example, as wide as allowed, anywhere, and repeatable."""

import torch

from steps.nnet.specaugment import spec_augment


def test_each_example_loses_one_band_and_one_stretch() -> None:
    torch.manual_seed(0)
    masked = spec_augment(torch.ones(500, 30, 20), freq_mask=6, time_mask=9) == 0
    bins, frames = masked.all(1), masked.all(2)
    assert torch.equal(masked, bins[:, None, :] | frames[:, :, None])
    for lost, longest in ((bins, 6), (frames, 9)):
        lengths = lost.sum(1)
        assert set(lengths.tolist()) == set(range(longest + 1))
        edges = torch.diff(torch.nn.functional.pad(lost.int(), (1, 1))).abs().sum(1)
        assert torch.equal(edges, 2 * (lengths > 0))  # one run each
        assert lost.any(0).all()  # every place is reached


def test_masks_follow_the_seed_and_leave_the_input() -> None:
    feats = torch.randn(4, 50, 8)
    before = feats.clone()
    torch.manual_seed(1)
    first = spec_augment(feats, 3, 0)
    torch.manual_seed(1)
    assert torch.equal(first, spec_augment(feats, 3, 0))
    assert torch.equal(feats, before)
    kept = first != 0
    assert torch.equal(first[kept], feats[kept])


def test_masks_wider_than_the_features() -> None:
    assert spec_augment(torch.ones(3, 2, 2), 10, 10).shape == (3, 2, 2)
