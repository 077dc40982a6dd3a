"""Options: what is refused, and that the files of conf/feats/ hold what their names say."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from timbre.feats.mel import mel_filters
from timbre.feats.options import FbankOptions, FrameOptions, MelspecOptions, MfccOptions, SpectrogramOptions
from timbre.feats.vad import VadOptions
from timbre.utils.errors import DataError

WRONG: list[tuple[type[FrameOptions], dict[str, Any], str]] = [
    (FbankOptions, {"low_freq": 4000, "high_freq": 4000}, "low_freq < high_freq"),
    (FbankOptions, {"low_freq": -1}, "0 <= low_freq"),
    (FbankOptions, {"high_freq": 8001}, "high_freq 8001"),
    (FbankOptions, {"high_freq": -8000}, "high_freq -8000"),
    (FbankOptions, {"num_mel_bins": 2}, "num_mel_bins is 2"),
    (FbankOptions, {"sample_frequency": 0}, "sample_frequency is 0"),
    (FbankOptions, {"frame_shift": 0}, "frame_shift"),
    (FbankOptions, {"frame_length": 0.01}, "frame_length"),
    (FbankOptions, {"preemphasis_coefficient": 1.5}, "preemphasis_coefficient"),
    (FbankOptions, {"dither": -1}, "dither is -1"),
    (FbankOptions, {"energy_floor": -1}, "energy_floor"),
    (FbankOptions, {"vtln_warp": 1.1, "vtln_low": 10}, "vtln_low"),
    (FbankOptions, {"vtln_warp": 0}, "vtln_warp"),
    (FbankOptions, {"frame_length": 25.0625, "round_to_power_of_two": False}, "401 samples"),
    (MfccOptions, {"num_ceps": 24}, "num_ceps is 24"),
    (MfccOptions, {"num_ceps": 0}, "num_ceps is 0"),
    (SpectrogramOptions, {"energy_floor": -1}, "energy_floor"),
    (MelspecOptions, {"snip_edges": True}, "snip_edges"),
    (MelspecOptions, {"num_mel_bins": 0}, "num_mel_bins is 0"),
    (MelspecOptions, {"low_freq": 100, "high_freq": 90}, "low_freq 100, high_freq 90"),
    (MelspecOptions, {"high_freq": 8001}, "high_freq 8001"),
    (MelspecOptions, {"log_floor": 0}, "log_floor is 0"),
    (MelspecOptions, {"range_db": -1}, "range_db is -1"),
    (MelspecOptions, {"level": 3}, "level is 3 dB"),
    (MelspecOptions, {"trailing_frames": 1}, "needs edges: zeros"),
    (MelspecOptions, {"num_ceps": 81}, "num_ceps is 81"),
    (MelspecOptions, {"num_ceps": -1}, "num_ceps is -1"),
    (MelspecOptions, {"trailing_frames": -1, "edges": "zeros"}, "trailing_frames is -1"),
]


@pytest.mark.parametrize(("kind", "values", "message"), WRONG)
def test_wrong_values_are_refused_by_name(kind: type[FrameOptions], values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        kind(**values)


def test_a_filter_between_two_bins_of_the_fft_is_refused() -> None:
    with pytest.raises(DataError, match="num_mel_bins 200 is too many"):
        mel_filters(FbankOptions(num_mel_bins=200))


def test_defaults_are_kaldis_but_for_the_dither() -> None:
    fbank, mfcc = FbankOptions(), MfccOptions()
    assert (fbank.dither, fbank.num_mel_bins, fbank.use_energy, fbank.length, fbank.shift) == (0, 23, False, 400, 160)
    assert (mfcc.num_ceps, mfcc.use_energy, mfcc.cepstral_lifter, mfcc.fft_length) == (13, True, 22, 512)


def test_frame_sizes_are_cut_as_in_kaldi() -> None:
    options = FbankOptions(sample_frequency=11025)
    assert (options.length, options.shift, options.fft_length) == (275, 110, 512)


def test_column_0_is_the_energy_only_where_nothing_has_changed_it() -> None:
    assert MfccOptions().energy_first
    assert SpectrogramOptions().energy_first
    assert not FbankOptions().energy_first
    assert not MfccOptions(use_energy=False).energy_first
    assert not MfccOptions(htk_compat=True).energy_first
    assert not MfccOptions(subtract_mean=True).energy_first


CONF = {
    "fbank80": (FbankOptions, 80),
    "fbank72": (FbankOptions, 72),
    "fbank64": (FbankOptions, 64),
    "fbank60": (FbankOptions, 60),
    "fbank40": (FbankOptions, 40),
    "fbank40_8k": (FbankOptions, 40),
    "mfcc40": (MfccOptions, 40),
    "mfcc30": (MfccOptions, 30),
    "mfcc23_8k": (MfccOptions, 23),
    "spectrogram257": (SpectrogramOptions, 257),
    "spectrogram161": (SpectrogramOptions, 161),
    "melspec64": (MelspecOptions, 64),
    "dacon_mfcc": (MelspecOptions, 128),
}


def test_the_files_of_conf_feats(root: Path) -> None:
    assert {path.stem for path in (root / "conf" / "feats").glob("*.yaml")} == {
        *CONF,
        "vad",
        "vad_conversation",
        "vad_silero",
    }
    for name, (kind, dim) in CONF.items():
        options = kind(**yaml.safe_load((root / "conf" / "feats" / f"{name}.yaml").read_text()))
        assert options.dim == dim, name
    assert VadOptions(**yaml.safe_load((root / "conf" / "feats" / "vad.yaml").read_text())) == VadOptions()
    VadOptions(**yaml.safe_load((root / "conf" / "feats" / "vad_conversation.yaml").read_text()))
    silero = VadOptions(**yaml.safe_load((root / "conf" / "feats" / "vad_silero.yaml").read_text()))
    assert silero == VadOptions(method="silero")


def test_resolved_options_build_the_same_object_again() -> None:
    options = MfccOptions(num_ceps=20, snip_edges=False)
    saved = yaml.safe_load(yaml.safe_dump(options.to_dict()))
    assert saved["class_path"] == "timbre.feats.options.MfccOptions"
    assert MfccOptions(**saved["init_args"]) == options
