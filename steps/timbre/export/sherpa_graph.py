"""A network as sherpa-onnx wants it: its own filter banks in, embedding out, metadata beside. Called by pack_writer.py.

sherpa-onnx (k2-fsa, Apache-2.0) runs speaker models on phones and in a dozen languages; its SpeakerEmbeddingExtractor
computes Kaldi's filter banks and reads from the metadata how. It knows no VAD: all of a recording counts as speech.
"""

from dataclasses import replace

import onnx

from timbre.export.front_graph import normalized
from timbre.export.onnx_graph import FLOAT, Graph, value
from timbre.feats.options import FbankOptions, FrameOptions
from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.errors import DataError

# what it computes, whatever the model: at a given rate, 80 filters from 20 Hz to 400 Hz below the Nyquist frequency
_ITS_OWN = {"num_mel_bins": 80, "low_freq": 20.0, "snip_edges": False}
_BELOW_NYQUIST = 400.0


def sherpa_model(
    network: onnx.ModelProto, options: FrameOptions, normalize: NormalizeOptions, min_frames: int, embedding_dim: int
) -> onnx.ModelProto:
    """`x` (1, T, 80) filter banks, not normalised -> `embedding` (1, embedding_dim); CMN is in it.

    Args:
        network: of `network_model`
        options: of the features that it was trained on
        normalize: what is done to them
        min_frames: shorter utterances are repeated up to this
        embedding_dim: of the network

    Raises:
        DataError: the network was trained on other features than those that sherpa-onnx computes
    """
    rate = options.sample_frequency
    own = FbankOptions(sample_frequency=rate, high_freq=rate / 2 - _BELOW_NYQUIST, **_ITS_OWN)  # type: ignore[arg-type]
    same = isinstance(options, FbankOptions) and options.band == own.band
    if not same or _comparable(options, own) != own:
        text = f"{own.num_mel_bins} filter banks from {own.low_freq:g} to {own.high_freq:g} Hz, without dither"
        raise DataError(f"sherpa-onnx computes its own features, {text}; this network is for others")
    g = Graph()
    feats = normalized(g, g("Squeeze", "x", [0]), "", replace(normalize, vad=False))
    size = g.size(feats)
    place = g("Mod", g.range(g("Max", size, [min_frames])), size)
    embedding = g.inline(network, [g("Unsqueeze", g("Gather", feats, place, axis=0), [0])])[0]
    g.nodes.append(onnx.helper.make_node("Identity", [embedding], ["embedding"]))
    outputs = [value("embedding", FLOAT, (1, embedding_dim))]
    model = g.model("sherpa", [value("x", FLOAT, (1, "frames", own.num_mel_bins))], outputs)
    onnx.helper.set_model_props(
        model,
        {
            "framework": "3d-speaker",  # whose filter banks it gives these models
            "language": "any",
            "sample_rate": str(int(rate)),
            "output_dim": str(embedding_dim),
            "normalize_samples": "0",  # features of samples at the range of int16
            "feature_normalize_type": "",  # CMN is in the graph
        },
    )
    return model


def _comparable(options: FrameOptions, own: FbankOptions) -> FrameOptions:
    """OPTIONS without what decides on reading audio alone."""
    names = ("allow_downsample", "allow_upsample", "channel", "high_freq")
    return replace(options, **{name: getattr(own, name) for name in names})
