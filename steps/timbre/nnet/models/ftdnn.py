"""The factorized TDNN: layers of low rank that are kept semi-orthogonal while they train, and their dropout."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from timbre.nnet.layers import TdnnLayer, frame_mask, whole_float32, zero_padding
from timbre.nnet.models.trunk import Frames, Trunk
from timbre.nnet.scheduled import Scheduled
from timbre.utils.errors import DataError

Taps = tuple[tuple[int, int], ...]  # dilation and padding of each of the three factors; dilation 0: one frame
POINT: Taps = ((0, 0), (0, 0), (0, 0))
NARROW: Taps = ((2, 1), (2, 1), (2, 1))
WIDE: Taps = ((3, 2), (3, 1), (2, 1))  # the first two lean to either side; together they see as far back as ahead
# layers 2 to 9: which layers before they see, and the frames of their factors
LAYERS: tuple[tuple[tuple[int, ...], Taps], ...] = (
    ((1,), NARROW),
    ((2,), POINT),
    ((3,), WIDE),
    ((4, 3), POINT),
    ((5,), WIDE),
    ((6, 4, 2), WIDE),
    ((7,), WIDE),
    ((8, 6, 4), POINT),
)

Schedule = tuple[tuple[float, float], ...]  # (part of the training that is done, dropout then), straight lines between


class FactorizedTdnn(Trunk):
    """F-TDNN (Villalba et al. 2020, Computer Speech & Language 60, 101026): ten layers, 43 frames of context.

    Args:
        feat_dim: feature dimension
        stem_channels: width of the first layer
        channels: width of the eight factorized layers
        bottleneck: rank of their maps
        output_channels: width of the last layer
        dropout: strength of the factorized layers' dropout over the training, as Kaldi's --trainer.dropout-schedule:
            values from 0 to .5 in straight lines, the first at the start, the last at the end, the others at the
            part of the training that follows their @ (.5 without it); one value alone: the same throughout
        every: the constraint is applied after every so many updates
    """

    def __init__(
        self,
        feat_dim: int,
        stem_channels: int = 512,
        channels: int = 1024,
        bottleneck: int = 256,
        output_channels: int = 2048,
        dropout: str = "0,0@.20,.5@.50,0",
        every: int = 4,
    ) -> None:
        super().__init__()
        if min(stem_channels, channels, bottleneck, output_channels, every) < 1:
            raise DataError("FactorizedTdnn: channels, bottleneck and every must be at least 1")
        schedule = parse_schedule(dropout)
        self.stem = TdnnLayer(feat_dim, stem_channels, 5, same=True)
        widths = [feat_dim, stem_channels] + [channels] * len(LAYERS)
        self.layers = nn.ModuleList(
            FactorizedLayer(sum(widths[number] for number in inputs), channels, bottleneck, taps, schedule, every)
            for inputs, taps in LAYERS
        )
        self.last = TdnnLayer(channels, output_channels)
        self.output_dim = output_channels
        self.min_frames = 1
        self.receptive_field = 5 + sum(dilation for _, taps in LAYERS for dilation, _ in taps)

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Frames:
        """FEATS (B, T, feat_dim) -> (B, output_channels, T) and LENGTHS."""
        frames = feats.transpose(1, 2)
        outputs = [frames, self.stem(zero_padding(frames, frame_mask(lengths, frames.shape[2])))]  # by layer number
        for layer, (inputs, _) in zip(self.layers, LAYERS, strict=True):
            seen = [outputs[number] for number in inputs]
            outputs.append(layer(seen[0] if len(seen) == 1 else torch.cat(seen, 1), lengths))
        return self.last(outputs[-1]), lengths


class FactorizedLayer(nn.Module):
    """Product of three factors, of which two are semi-orthogonal; ReLU, BatchNorm, dropout."""

    def __init__(self, inputs: int, outputs: int, bottleneck: int, taps: Taps, schedule: Schedule, every: int) -> None:
        super().__init__()
        widths = (inputs, bottleneck, bottleneck, outputs)
        self.factors = nn.ModuleList(
            Factor(before, after, dilation, padding, every if number < 2 else 0)
            for number, (before, after, (dilation, padding)) in enumerate(
                zip(widths[:-1], widths[1:], taps, strict=True)
            )
        )
        self.norm = nn.BatchNorm1d(outputs)
        self.dropout = SharedDropout(schedule) if any(value for _, value in schedule) else nn.Identity()

    def forward(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, inputs, T) -> (B, outputs, T)."""
        for factor in self.factors:
            frames, lengths = factor(frames, lengths)
        out: Tensor = self.dropout(self.norm(torch.relu_(frames)))
        return out


class Factor(nn.Module, Scheduled):
    """Convolution of one frame or of two, without bias.

    Args:
        inputs: channels in
        outputs: channels out
        dilation: distance between the two frames; 0: there is one
        padding: zeros on either side of the utterance
        every: its matrix is brought nearer to a semi-orthogonal one after every so many updates; 0: it is free
    """

    def __init__(self, inputs: int, outputs: int, dilation: int, padding: int, every: int) -> None:
        super().__init__()
        kernel = 2 if dilation else 1
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=max(dilation, 1), padding=padding, bias=False)
        self.context, self.grows, self.every = dilation, 2 * padding - dilation, every
        if every:
            nn.init.normal_(self.conv.weight, 0, outputs**-0.5)

    def forward(self, frames: Tensor, lengths: Tensor | None) -> Frames:
        """(B, inputs, T) and lengths -> (B, outputs, T + 2 padding - dilation) and lengths likewise."""
        if lengths is None or not self.context:
            return self.conv(frames), lengths
        return self.conv(zero_padding(frames, frame_mask(lengths, frames.shape[2]))), lengths + self.grows

    def constrain(self, step: int) -> None:
        """One step towards a semi-orthogonal matrix, after every EVERY-th update."""
        if self.every and (step + 1) % self.every == 0:
            weight = self.conv.weight
            weight.copy_(nearer_to_semi_orthogonal(weight.flatten(1)).view_as(weight))


def nearer_to_semi_orthogonal(matrix: Tensor) -> Tensor:
    """One step from MATRIX towards a multiple of a semi-orthogonal matrix, whatever multiple is the nearest.

    The update of Povey et al. 2018 ("Semi-orthogonal low-rank matrix factorization for deep neural networks"), with the
    speeds of Kaldi's ConstrainOrthonormalInternal: it halves twice far from the aim, where it would diverge. Nothing
    here waits for the device. A matrix of zeros stays as it is.

    Args:
        matrix: (rows, columns); its rows become orthogonal, or its columns if there are fewer of them

    Returns:
        (rows, columns) float32
    """
    matrix = matrix.float()
    if matrix.shape[0] > matrix.shape[1]:
        return nearer_to_semi_orthogonal(matrix.T).T
    with torch.autocast(matrix.device.type, enabled=False), whole_float32():
        gram = matrix @ matrix.T
        trace, trace_of_square = gram.trace(), gram.square().sum()
        ratio = trace_of_square * len(gram) / trace.square()  # 1 where all rows are orthogonal and equally long
        speed = torch.where(ratio > 1.1, 1 / 32, torch.where(ratio > 1.02, 1 / 16, 1 / 8))
        scale = trace_of_square / trace
        gram.diagonal().sub_(scale)
        return torch.where(trace < 1e-15, matrix, matrix - 4 * speed / scale * (gram @ matrix))


class SharedDropout(nn.Module, Scheduled):
    """Each channel of an utterance times one number for all frames, drawn from 1 - 2a to 1 + 2a (Kaldi's continuous).

    Args:
        schedule: a over the training
    """

    strength: Tensor

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule
        self.register_buffer("strength", torch.tensor(schedule[0][1]))

    def update(self, step: int, num_steps: int) -> None:
        """Sets a to what the schedule says of update STEP."""
        self.strength.fill_(scheduled_value(self.schedule, step / max(num_steps - 1, 1)))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, T) -> the same; nothing happens in eval mode."""
        if not self.training:
            return frames
        noise = torch.rand(*frames.shape[:2], 1, device=frames.device)
        return frames * (1 + self.strength * (4 * noise - 2)).to(frames.dtype)


def parse_schedule(text: str) -> Schedule:
    """TEXT in the form of Kaldi's --trainer.dropout-schedule, as '0,0@0.20,0.5@0.50,0'.

    Raises:
        DataError: not of that form, a value not in 0 to .5, parts of the training that go back
    """
    wrong = f"FactorizedTdnn: dropout {text!r} is not a schedule such as '0,0@.20,.5@.50,0'"
    first, *middle = text.split(",")
    last = middle.pop() if middle else first
    try:
        points = [(0.0, float(first))]
        for point in middle:
            value, _, done = point.partition("@")
            points.append((float(done) if "@" in point else 0.5, float(value)))
        points.append((1.0, float(last)))
    except ValueError:
        raise DataError(wrong) from None
    if not all(0 <= value <= 0.5 for _, value in points):
        raise DataError(f"{wrong}: values must be from 0 to .5")
    if not all(before <= after for (before, _), (after, _) in pairwise(points)):
        raise DataError(f"{wrong}: what follows the @ must rise from 0 to 1")
    return tuple(points)


def scheduled_value(schedule: Schedule, done: float) -> float:
    """The value of SCHEDULE where DONE (0 to 1) of the training is over."""
    for (start, low), (end, high) in pairwise(schedule):
        if done < end:
            return low + (high - low) * (done - start) / (end - start)
    return schedule[-1][1]
