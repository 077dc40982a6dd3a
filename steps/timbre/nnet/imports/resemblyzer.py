"""Resemblyzer: the LSTM of GE2E (Wan et al. 2018) on mel energies without log, in windows of 1.6 s."""

from timbre.feats.options import MelspecOptions
from timbre.nnet.imports.foreign import Foreign, Weights
from timbre.runtime.normalize import NormalizeOptions

RULES = [(r"lstm\.(.*)", r"trunk.layers.\1"), (r"linear\.(.*)", r"segment.0.\1")]
UNUSED = ["similarity_weight", "similarity_bias"]  # scale and offset of the loss


def read(weights: Weights) -> Foreign:
    """What VoiceEncoder's weights are.

    A window begins every 77 frames (1.3 a second) as long as 120 frames after its first one lie in the audio; two more
    frames are made of the silence after it, and count for nothing.
    """
    hidden, feat_dim = weights.size("lstm.weight_hh_l0", 1), weights.size("lstm.weight_ih_l0", 1)
    network = {
        "trunk": {
            "class_path": "Lstm",
            "init_args": {
                "hidden_dim": hidden,
                "num_layers": weights.count(r"lstm\.weight_hh_l(\d+)$"),
                "projection_dim": 0,
                "dropout": 0,
            },
        },
        "pooling": {"class_path": "LastFramePooling"},
        "embedding_dim": weights.size("linear.weight"),
        "embedding_activation": "relu",
        "embedding_length": 1,
        "windows": [160, 77, 123],
    }
    feats = MelspecOptions(
        num_mel_bins=feat_dim,
        round_to_power_of_two=False,
        window_type="hanning",
        filters="slaney",
        edges="zeros",
        log="none",
        level=-30,
        trailing_frames=2,
    )
    normalize = NormalizeOptions(cmn="none", vad=True)
    return Foreign(network, feat_dim, feats, f"melspec{feat_dim}_resemblyzer", normalize, RULES, UNUSED)
