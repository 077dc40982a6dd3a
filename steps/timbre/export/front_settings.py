"""What pack.json says of the features: all that runtime/encoder.py does beside the graphs. Called by pack_writer.py."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.audio.filters import BandpassOptions
from timbre.embedding.embedder import AudioOptions, Front
from timbre.feats.extractor import STANDARD_FLOOR
from timbre.feats.mel import cepstral_transform
from timbre.feats.options import FrameOptions, MelspecOptions
from timbre.feats.speech_quality import high_bins
from timbre.feats.vad import VadOptions
from timbre.runtime.framing import Framing
from timbre.runtime.normalize import NormalizeOptions
from timbre.runtime.speech_measures import Bins
from timbre.utils.errors import DataError

TRANSFORM = "front_transform"  # the array with the cosine transform of mel spectrograms
SILERO = "silero_vad.onnx"


def framing_of(options: FrameOptions) -> Framing:
    """How OPTIONS lay frames, and what they do to whole signals and utterances."""
    if not isinstance(options, MelspecOptions):
        edges = "snip" if options.snip_edges else "kaldi"
        return Framing(
            options.length,
            options.shift,
            options.lead,
            edges,  # type: ignore[arg-type]
            unit_scale=options.unit_scale,
            subtract_mean=options.subtract_mean,
        )
    return Framing(
        options.length,
        options.shift,
        options.lead,
        options.edges,
        options.trailing_frames,
        options.unit_scale,
        STANDARD_FLOOR if options.standardize else None,
        options.level,
        options.preemphasis_coefficient,
        options.range_db if options.log == "decibel" else 0.0,
        options.subtract_mean,
    )


def front_settings(
    front: Front, normalize: NormalizeOptions, min_frames: int, max_frames: int
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """`front` of pack.json, and arrays that it names.

    Raises:
        DataError: stage 1 changes the audio in ways that only the recipe knows
    """
    options, audio = front.feats, front.audio
    bins = high_bins(options)
    transform = None
    if isinstance(options, MelspecOptions) and options.num_ceps:
        transform = cepstral_transform(options).astype(np.float32)
    settings: dict[str, Any] = {
        "features": options.to_dict(),
        "framing": asdict(framing_of(options)),
        "normalize": asdict(normalize),
        "vad": _vad(front.vad),
        "silero": SILERO if front.vad.needs_audio else None,
        "min_frames": min_frames,
        "max_frames": max_frames,
        "energy_first": options.energy_first,
        "kaldi_down": options.allow_downsample,
        "kaldi_up": options.allow_upsample,
        "audio": None if audio is None else {"rate": audio.rate, "bands": _bands(audio)},
        "channel": (audio or AudioOptions(channel=options.channel)).channel,
        "transform": None if transform is None else TRANSFORM,
        "bins": None
        if bins is None
        else {
            "voice": [bins.voice.start, bins.voice.stop],
            "high": [bins.high.start, bins.high.stop],
            "power": bins.power,
        },
    }
    return settings, {} if transform is None else {TRANSFORM: transform}


def _bands(audio: AudioOptions) -> list[dict[str, Any]]:
    """The band-passes of stage 1, which are all that a pack knows of its effects."""
    bands = []
    for effect in audio.effects:
        name = str(effect.get("class_path", effect)).rpartition(".")[2]
        options = effect.get("init_args") or {}
        if name != "BandPass" or options.get("zero_phase"):
            told = f"{name} with zero_phase" if name == "BandPass" else name
            raise DataError(
                f"stage 1 (--audio-conf) changes the audio by {told}; a pack file only knows a rate and a BandPass "
                "forwards: train without it, or stay with the decision pack and steps/verify.py"
            )
        band = BandpassOptions(**options)
        bands.append({"low": band.low, "high": band.high, "order": band.order})
    return bands


def _bins(bins: Bins) -> dict[str, Any]:
    spans = {name: [span.start, span.stop] for name, span in (("voice", bins.voice), ("high", bins.high))}
    return {**spans, "power": bins.power}


def _vad(options: VadOptions) -> dict[str, Any]:
    if options.needs_audio:
        return {"method": "silero", **asdict(options.stretches)}
    return {
        "method": "energy",
        "threshold": options.vad_energy_threshold,
        "mean_scale": options.vad_energy_mean_scale,
        "proportion": options.vad_proportion_threshold,
        "context": options.vad_frames_context,
    }
