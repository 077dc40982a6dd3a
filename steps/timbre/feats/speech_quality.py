"""How good utterances are, by their energy and VAD: seconds of speech, signal-to-noise ratio, what is above 4 kHz.

For make_quality.py, and for decision packs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from timbre.datadir.ark import read_mat
from timbre.datadir.datadir import DataDir
from timbre.feats.mel import inverse_mel_scale, mel_scale
from timbre.feats.options import FbankOptions, FrameOptions
from timbre.runtime.speech_measures import Bins, high_band, signal_to_noise
from timbre.utils.errors import DataError
from timbre.utils.jobs import run_jobs, split_jobs
from timbre.utils.number_text import to_float

_VOICE, _HIGH = (1000.0, 3300.0), 4000.0  # Hz: what telephones pass, and what they do not


@dataclass(frozen=True)
class Speech:
    """Of one utterance: seconds of speech, signal-to-noise ratio in dB, and `high_band`, where it was asked for."""

    seconds: float
    snr: float
    band: float | None = None


def measure_speech(
    data: DataDir, nj: int, utts: Sequence[str] | None = None, options: FrameOptions | None = None
) -> dict[str, Speech]:
    """Of every utterance of DATA, or UTTS, by its vad.scp and by energy.scp, or column 0 of its features.

    OPTIONS: those of the features, for `high_band`, where these are filter banks that reach so high.

    Raises:
        DataError: a table is missing, an ark cannot be read, or energies and VAD decisions are not as many
    """
    energies = data.table("energy.scp" if data.has("energy.scp") else "feats.scp")
    vads = data.table("vad.scp")
    shift, utts = _frame_shift(data), data.utts if utts is None else utts
    for name, table in (("feats.scp", energies), ("vad.scp", vads)):
        if missing := [utt for utt in utts if utt not in table]:
            raise DataError(f"'{missing[0]}' is not in it ({len(missing)} of {len(utts)})", data.path / name)
    bins = None if options is None else high_bins(options)
    feats = {} if bins is None else data.table("feats.scp")
    jobs = [
        _Job([(utt, energies[utt], vads[utt], feats.get(utt)) for utt in part], shift, bins)
        for part in split_jobs(utts, 4 * nj)
    ]
    return {utt: found for result in run_jobs(_measure, jobs, nj, "speech", "part") for utt, found in result.items()}


def _frame_shift(data: DataDir) -> float:
    """Seconds from one frame to the next; Kaldi's 0.01 where nothing says it."""
    path = data.path / "frame_shift"
    if not path.exists():
        return 0.01
    text = path.read_text(encoding="utf-8")
    try:
        return to_float(text)
    except ValueError:
        raise DataError(f"not a number of seconds: '{text.strip()}'", path) from None


@dataclass(frozen=True)
class _Job:
    utterances: Sequence[tuple[str, str, str, str | None]]  # utterance, where its energy, VAD decision and features are
    shift: float
    bins: Bins | None


def _measure(job: _Job) -> dict[str, Speech]:
    result = {}
    for utt, energy_at, vad_at, feats_at in job.utterances:
        energy, voiced = read_mat(energy_at, utt), read_mat(vad_at, utt) != 0
        energy = energy if energy.ndim == 1 else energy[:, 0]
        if len(energy) != len(voiced) or not voiced.any():
            text = f"'{utt}' has {len(energy)} frames of energy and a VAD decision for {len(voiced)}, "
            raise DataError(f"{text}{np.count_nonzero(voiced)} of them speech", vad_at)
        band = high_band(read_mat(feats_at, utt), voiced, job.bins) if feats_at and job.bins else None
        result[utt] = Speech(job.shift * float(np.count_nonzero(voiced)), signal_to_noise(energy, voiced), band)
    return result


def high_bins(options: FrameOptions) -> Bins | None:
    """Those of the log filter banks OPTIONS; None of other features, and where fewer than two filters lie so high."""
    if not isinstance(options, FbankOptions) or not options.use_log_fbank or options.use_energy:
        return None
    low, high = mel_scale(np.array(options.band))
    centres = inverse_mel_scale(np.linspace(low, high, options.num_mel_bins + 2)[1:-1])
    first, last, above = np.searchsorted(centres, [*_VOICE, _HIGH]).tolist()
    if last - first < 2 or len(centres) - above < 2:
        return None
    return Bins(slice(first, last), slice(above, len(centres)), options.use_power)
