"""ReDimNet, of its authors: log mel energies of centred frames, less their means over the utterance."""

from typing import Any

from timbre.feats.options import MelspecOptions
from timbre.nnet.imports.foreign import Foreign, Rule, Weights
from timbre.nnet.imports.mapped import Mapped, tell
from timbre.nnet.imports.reshaped_planes import read_redimnet
from timbre.utils.errors import DataError

FRONT_END = r"spec\..*"  # windows, filters and the like, which are made anew
PLAIN = {"n_fft": 512, "win_length": 400, "spec_norm": "mn", "sample_rate": 16000}  # of spec_params: what is known here


def read(weights: Weights) -> Foreign:
    """What the weights of redimnet.model.ReDimNetWrap are, with the settings that its checkpoints have.

    Without them the features are those of its defaults.
    """
    settings = weights.settings
    spec = settings.get("spec_params", {})
    spec = spec if isinstance(spec, dict) else {}
    other = [f"{name} {spec[name]}" for name, value in PLAIN.items() if spec.get(name, value) != value]
    if (kind := settings.get("feat_type", "pt")) not in ("pt", "pt_mel"):
        other.append(f"feat_type {kind}")
    if (block := settings.get("block_2d_type", "")) == "convnext_like_relu":
        other.append(f"block_2d_type {block}")
    if other:
        raise DataError(f"settings that are not known here: {', '.join(other)}", weights.path)
    mapped = tell(weights, "redimnet", {"ReDimNet": ("backbone.stem.0.weight", _network)})
    feats = MelspecOptions(
        num_mel_bins=mapped.feat_dim,
        frame_shift=settings.get("hop_length", 160) / 16,
        low_freq=spec.get("f_min", 20),
        high_freq=spec.get("f_max", 7600),
        preemphasis_coefficient=0.97 if spec.get("do_preemph", True) else 0.0,
        standardize=bool(spec.get("norm_signal", False)),
    )
    return mapped.on(feats, "redimnet", unused=[FRONT_END])


def _network(weights: Weights) -> Mapped:
    """What its `bn`, `linear` and `bn2` are, and all before."""
    settings: dict[str, Any] = {
        "pooling_norm": True,
        "embedding_dim": weights.size("linear.weight"),
        "embedding_norm": "bn2.weight" in weights,
    }
    rules: list[Rule] = [
        (r"bn\.(\w+)", r"segment.0.\1"),
        (r"linear\.(\w+)", r"segment.1.\1"),
        (r"bn2\.(\w+)", r"segment.2.\1"),
    ]
    return read_redimnet(weights, settings, rules)
