"""Embeddings of the frames of an utterance, and where in the audio each lies. Called by extract_frames.py.

With a mean over time, and affine maps alone after it, e(t) = affine(x_t) of the frames x_t that are pooled has the
utterance's embedding as its mean, exactly. With one attention over them it is the mean weighted by that. For any other
network there is no such e(t), and the frames x_t themselves are given.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from timbre.datadir.ark import ArkWriter
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_ids, write_table
from timbre.feats.options import options_from
from timbre.feats.protocols import frame_shift_of
from timbre.feats.utterances import Utterance
from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.nnet.pooling import MeanPooling, MultiHeadAttentivePooling, Pooling, SelfAttentivePooling
from timbre.utils.configure import read_config
from timbre.utils.errors import DataError

Floats = NDArray[np.floating[Any]]
Mean = Literal["plain", "weighted", "none"]  # that of the frames which is the embedding
_SAYS: dict[str, str] = {
    "plain": "embeddings of frames: their mean is the embedding of the utterance",
    "weighted": "embeddings of frames: their mean by the weights of the pooling is the embedding of the utterance",
    "none": "frames before the pooling: what comes after it is not linear in them, so that they have no embeddings",
}


@dataclass(frozen=True)
class Grid:
    """Which features a frame t of the trunk is centred on: number `first` + `stride` * t, counted from 0."""

    first: float
    stride: int

    @classmethod
    def of(cls, network: SpeakerNetwork) -> "Grid":
        """That of NETWORK, from the lengths at which its trunk gives one frame more; nothing is computed.

        Frames are taken to lie symmetrically around their centres, as in all our trunks, and those of a recurrent or
        self-attending one to be of the place where they begin.

        Raises:
            DataError: the trunk does not give a frame for every so many features
        """
        with FakeTensorMode(), torch.no_grad():
            trunk = build_network(network.config, network.feat_dim).eval().trunk

            def count(size: int) -> int:
                return int(trunk(torch.empty(1, size, network.feat_dim))[0].shape[2])

            size, jumps = network.min_frames, list[tuple[int, int]]()
            before = count(size)
            while len(jumps) < 2 and size < network.min_frames + 1000:
                size += 1
                if (now := count(size)) != before:
                    jumps.append((size, now))
                    before = now
        if len(jumps) < 2 or jumps[1][1] != jumps[0][1] + 1:
            raise DataError("the trunk of this network does not give a frame for every so many features")
        stride = jumps[1][0] - jumps[0][0]
        least = jumps[0][0] - (jumps[0][1] - 1) * stride  # features that make the first frame
        return cls((least - 1) / 2, stride)


@dataclass(frozen=True)
class FrameEmbeddings:
    """Of an utterance: vectors (T, D) float32; weights (T,) of an attentive pooling, the mean of its attentions, of sum
    1, or None; mean: which mean of the vectors is the embedding of the utterance."""

    vectors: NDArray[np.float32]
    weights: NDArray[np.float32] | None
    mean: Mean


def mean_of(network: SpeakerNetwork) -> Mean:
    """Which mean of the frames of NETWORK is its embedding.

    Raises:
        DataError: what is embedded is not one utterance as a whole (windows, segments), or not frames of one stage
    """
    if network.windows is not None or network.segments is not None or len(network.poolings) > 1:
        raise DataError(
            "a network that averages windows or segments, or pools several stages, has no frames of its own"
        )
    affine = all(isinstance(layer, nn.Linear | nn.BatchNorm1d | nn.Dropout) for layer in network.segment)
    if not affine or network.embedding_length:
        return "none"
    pooling = network.poolings[0]
    if isinstance(pooling, MeanPooling):
        return "plain"
    single = isinstance(pooling, MultiHeadAttentivePooling) and (pooling.heads, pooling.queries) == (1, 1)
    if isinstance(pooling, SelfAttentivePooling) or (single and not pooling.deviation):
        return "weighted"
    return "none"


def embed_frames(network: SpeakerNetwork, feats: NDArray[np.float32]) -> FrameEmbeddings:
    """The frames of one utterance.

    Args:
        network: in evaluation mode
        feats: (num_frames, feat_dim) normalised features

    Raises:
        DataError: as `mean_of`; too few features
    """
    mean = mean_of(network)
    if len(feats) < network.min_frames:
        raise DataError(f"{len(feats)} frames of features; the network takes {network.min_frames} or more")
    with torch.inference_mode():
        frames = network.frames(torch.from_numpy(feats)[None])[0][0]
        pooling = network.poolings[0]
        assert isinstance(pooling, Pooling)
        weights = pooling.weights(frames, None)
        vectors: Tensor = frames[0].T.float()
        if mean != "none":
            vectors = network.segment(vectors)
        counts = None if weights is None else weights[0].mean(0).numpy()
    return FrameEmbeddings(np.ascontiguousarray(vectors.numpy()), counts, mean)


def feature_seconds(data: DataDir, count: int) -> Floats:
    """(COUNT,) seconds of the centres of the first frames of features of an utterance of DATA, by conf/feats.yaml; of
    features that are not known to be centred elsewhere, half a shift after they begin."""
    path = data.path / "conf" / "feats.yaml"
    shift = frame_shift_of(data)
    if not path.exists():
        return np.asarray((np.arange(count) + 0.5) * shift)
    options = options_from(read_config(path))
    return np.asarray((np.arange(count) * options.shift - options.lead + options.length / 2) / options.sample_frequency)


def frame_seconds(grid: Grid, seconds: Floats, count: int) -> Floats:
    """Centre, start and end (COUNT, 3), in seconds, of the part of the audio that is nearest to each frame.

    SECONDS (N,) are those of the features that the network saw; where a VAD took some out, a part goes past the gap.
    """
    places = np.arange(len(seconds))
    half = grid.stride / 2
    centres = grid.first + grid.stride * np.arange(count)
    shift = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.01
    edges = np.interp(np.concatenate([centres - half, centres + half]), places, seconds).reshape(2, -1)
    middle = np.interp(centres, places, seconds)
    return np.stack([middle, np.minimum(edges[0], middle - shift / 2), np.maximum(edges[1], middle + shift / 2)], 1)


def chosen(data: DataDir, names: str) -> list[str]:
    """Utterances of DATA: NAMES are ids of utterances or speakers with commas between, or a file with one a line.

    Raises:
        DataError: one is neither; an unreadable list
    """
    path = Path(names)
    listed = read_ids(path) if path.is_file() else [name.strip() for name in names.split(",") if name.strip()]
    spk2utt = data.spk2utt()
    utts: dict[str, None] = {}
    for name in listed:
        if name not in data.utt2spk and name not in spk2utt:
            raise DataError(f"'{name}' is neither an utterance nor a speaker of it", data.path / "utt2spk")
        utts |= dict.fromkeys([name] if name in data.utt2spk else spk2utt[name])
    if not utts:
        raise DataError(f"no utterance or speaker is named in '{names}'")
    return sorted(utts)


def read_frames(
    network: SpeakerNetwork, data: DataDir, utterances: Sequence[Utterance], grid: Grid
) -> Iterator[tuple[str, FrameEmbeddings, Floats]]:
    """(utterance, its frames, their centre, start and end in seconds (T, 3)) of UTTERANCES of DATA."""
    for utterance in utterances:
        feats, voiced = utterance.load()
        seconds = feature_seconds(data, len(feats))
        try:
            found = embed_frames(network, utterance.normalized(feats, voiced))
        except DataError as error:
            raise DataError(f"utterance {utterance.utt}: {error}", data.path) from error
        yield (
            utterance.utt,
            found,
            frame_seconds(grid, seconds if voiced is None else seconds[voiced], len(found.vectors)),
        )


def write_frames(out: Path, frames: Iterator[tuple[str, FrameEmbeddings, Floats]]) -> dict[str, Any]:
    """Writes OUT.ark, OUT_times.ark and, of an attentive pooling, OUT_weights.ark, with scps; says what they hold."""
    weights: dict[str, NDArray[np.float32]] = {}
    mean, count = "", 0
    names = [out.with_name(out.name + end) for end in ("", "_times", "_weights")]
    with ArkWriter(Path(f"{names[0]}.ark")) as vectors, ArkWriter(Path(f"{names[1]}.ark")) as times:
        for utt, found, seconds in frames:
            vectors.write(utt, found.vectors)
            times.write(utt, seconds.astype(np.float32))
            mean, count = found.mean, count + len(found.vectors)
            if found.weights is not None:
                weights[utt] = found.weights
    write_table(Path(f"{names[0]}.scp"), vectors.scp)
    write_table(Path(f"{names[1]}.scp"), times.scp)
    if weights:
        with ArkWriter(Path(f"{names[2]}.ark")) as ark:
            for utt, vector in weights.items():
                ark.write(utt, vector)
        write_table(Path(f"{names[2]}.scp"), ark.scp)
    return {"what": _SAYS[mean], "mean": mean, "frames": count, "utterances": len(vectors.scp)}
