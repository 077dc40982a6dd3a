"""VAD decisions of a whole data directory, in jobs: vad.scp with its arks. Called by compute_vad.py."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.ark import ArkWriter, read_mat, read_shape
from timbre.datadir.contents import ORIGINALS
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.feats.vad import VadOptions, energy_vad
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_path
from timbre.utils.jobs import run_jobs, split_jobs

_JOB_SIZE = 1000  # utterances; the same for every nj, so that the arks are too

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    energies: Sequence[tuple[str, str, str]]  # utterance, where its energy is, where that of its original is
    options: VadOptions
    ark: Path


@dataclass(frozen=True)
class _Result:
    scp: dict[str, str]
    unvoiced: list[str]
    num_voiced: int
    num_frames: int


def dump_vad(data: DataDir, options: VadOptions, nj: int) -> None:
    """Writes vad.scp: a vector of 0 and 1, one a frame, for every utterance, with the arks under arks/vad/.

    The energy is that of energy.scp where there is one, and column 0 of the features otherwise. A copy (utt2uniq) as
    long as its original is decided by the original's energy, to which no noise was added. An utterance without any
    voiced frame keeps all its frames: each is listed in a warning.

    Raises:
        DataError: no features, an ark that cannot be read, an utterance without frames
    """
    table = data.table("energy.scp" if data.has("energy.scp") else "feats.scp")
    originals = data.table(ORIGINALS) if data.has(ORIGINALS) else {}
    energies = [(utt, place, table.get(originals.get(utt, utt), place)) for utt, place in sorted(table.items())]
    arks = data.path / "arks" / "vad"
    with atomic_path(arks) as directory:
        directory.mkdir(parents=True)
        parts = split_jobs(energies, -(-len(energies) // _JOB_SIZE))
        jobs = [_Job(part, options, directory / f"vad.{number}.ark") for number, part in enumerate(parts, start=1)]
        results = run_jobs(_compute, jobs, nj, f"vad {data.path}")
        (data.path / "vad.scp").unlink(missing_ok=True)
    scp = {
        utt: str(arks) + place.removeprefix(str(directory)) for result in results for utt, place in result.scp.items()
    }
    write_table(data.path / "vad.scp", scp)
    for utt in [utt for result in results for utt in result.unvoiced]:
        log.warning("%s: no frame of '%s' is voiced; all of them are kept", data.path, utt)
    num_frames = sum(result.num_frames for result in results)
    share = sum(result.num_voiced for result in results) / num_frames
    log.info("%s: %d utterances, %.1f %% of %d frames are voiced", data.path, len(scp), 100 * share, num_frames)


def _compute(job: _Job) -> _Result:
    unvoiced, num_voiced, num_frames = [], 0, 0
    with ArkWriter(job.ark) as writer:
        for utt, place, original in job.energies:
            if original != place and read_shape(original)[0] == read_shape(place)[0]:
                place = original
            log_energy = _first_column(read_mat(place, utt), utt, place)
            voiced = energy_vad(log_energy, job.options)
            num_voiced += int(voiced.sum())
            num_frames += len(voiced)
            if not voiced.any():
                unvoiced.append(utt)
                voiced[:] = True
            writer.write(utt, voiced.astype(np.float32))
    return _Result(writer.scp, unvoiced, num_voiced, num_frames)


def _first_column(array: NDArray[np.float32], utt: str, place: str) -> NDArray[np.float32]:
    if array.size == 0:
        raise DataError(f"utterance '{utt}' has no frames", place)
    column = array if array.ndim == 1 else array[:, 0]
    if not np.isfinite(column).all():
        raise DataError(f"the energy of utterance '{utt}' is NaN or infinite", place)
    return column
