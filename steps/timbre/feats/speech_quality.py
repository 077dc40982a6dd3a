"""How good utterances are, by their energy and VAD: seconds of speech, signal-to-noise ratio. For make_quality.py."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.ark import read_mat
from timbre.datadir.datadir import DataDir
from timbre.utils.errors import DataError
from timbre.utils.jobs import run_jobs, split_jobs
from timbre.utils.number_text import to_float

_FEW = 10  # frames: a noise level is not measured on less
_LOWEST = 0.1  # share of all frames that stands for the noise then
_RANGE = (-20.0, 80.0)  # dB


@dataclass(frozen=True)
class Speech:
    """Of one utterance: seconds of speech, and signal-to-noise ratio in dB."""

    seconds: float
    snr: float


def measure_speech(data: DataDir, nj: int) -> dict[str, Speech]:
    """Of every utterance of DATA, by its vad.scp and by energy.scp, or column 0 of its features.

    Raises:
        DataError: a table is missing, an ark cannot be read, or energies and VAD decisions are not as many
    """
    energies = data.table("energy.scp" if data.has("energy.scp") else "feats.scp")
    vads = data.table("vad.scp")
    shift = _frame_shift(data)
    for name, table in (("feats.scp", energies), ("vad.scp", vads)):
        if missing := [utt for utt in data.utts if utt not in table]:
            raise DataError(f"'{missing[0]}' is not in it ({len(missing)} of {len(data.utts)})", data.path / name)
    jobs = [_Job([(utt, energies[utt], vads[utt]) for utt in part], shift) for part in split_jobs(data.utts, 4 * nj)]
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
    utterances: Sequence[tuple[str, str, str]]  # utterance, where its energy and its VAD decision are
    shift: float


def _measure(job: _Job) -> dict[str, Speech]:
    result = {}
    for utt, energy_at, vad_at in job.utterances:
        energy, voiced = read_mat(energy_at, utt), read_mat(vad_at, utt) != 0
        energy = energy if energy.ndim == 1 else energy[:, 0]
        if len(energy) != len(voiced) or not voiced.any():
            text = f"'{utt}' has {len(energy)} frames of energy and a VAD decision for {len(voiced)}, "
            raise DataError(f"{text}{np.count_nonzero(voiced)} of them speech", vad_at)
        result[utt] = Speech(job.shift * float(np.count_nonzero(voiced)), signal_to_noise(energy, voiced))
    return result


def signal_to_noise(log_energy: NDArray[np.float32], voiced: NDArray[np.bool_]) -> float:
    """Signal-to-noise ratio in dB, between -20 and 80.

    The noise is the mean power of the frames without speech or, where they are too few, of the tenth of all frames with
    the least power; the signal is what the frames of speech have more.

    Args:
        log_energy: (num_frames,) natural logarithm
        voiced: (num_frames,) VAD decision, some of it True
    """
    power = np.exp(np.asarray(log_energy, np.float64) - float(np.max(log_energy)))
    rest = power[~voiced]
    if len(rest) < _FEW:
        rest = np.sort(power)[: max(1, int(_LOWEST * len(power)))]
    noise = max(float(rest.mean()), np.finfo(np.float64).tiny)
    signal = max(float(power[voiced].mean()) - noise, np.finfo(np.float64).tiny)
    return float(np.clip(10 * np.log10(signal / noise), *_RANGE))
