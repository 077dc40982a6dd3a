"""Masks over frequency and time, drawn for each training example anew. Called by the training loop."""

import torch
from torch import Tensor


def spec_augment(feats: Tensor, freq_mask: int, time_mask: int) -> Tensor:
    """FEATS with one band of bins and one stretch of frames of each example set to 0, the mean after CMN.

    SpecAugment (Park et al. 2019, arXiv 1904.08779) with one mask of each kind. Widths and places come from torch's
    random numbers on the CPU, whose state checkpoints hold.

    Args:
        feats: (B, T, F) float32
        freq_mask: widest band, in bins; each width from 0 up to it is as likely; 0: none
        time_mask: longest stretch, in frames; likewise
    """
    batch, num_frames, num_bins = feats.shape
    masked = torch.zeros(batch, num_frames, num_bins, dtype=torch.bool)
    if freq_mask:
        masked |= _stretch(batch, num_bins, freq_mask)[:, None, :]
    if time_mask:
        masked |= _stretch(batch, num_frames, time_mask)[:, :, None]
    return feats.masked_fill(masked.to(feats.device, non_blocking=True), 0.0)


def _stretch(batch: int, size: int, longest: int) -> Tensor:
    """(batch, size) bool: in each row one run of 0 to LONGEST trues, at any place where it fits."""
    length = torch.randint(0, min(longest, size) + 1, (batch, 1))
    start = (torch.rand(batch, 1) * (size - length + 1)).long()
    index = torch.arange(size)
    return (index >= start) & (index < start + length)
