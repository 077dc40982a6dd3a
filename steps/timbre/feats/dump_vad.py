"""VAD decisions of a whole data directory, in jobs: vad.scp with its arks. Called by compute_vad.py."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from timbre.datadir.ark import ArkWriter
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.feats.ark_parts import arks_named, merge, offsets, places
from timbre.feats.energies import Energy, list_energies
from timbre.feats.recorded import Recorded, list_recorded
from timbre.feats.vad import VadOptions
from timbre.utils.errors import DataError
from timbre.utils.missing import Allowed, check_missing
from timbre.utils.parts import Result, kept_parts, make_parts, part_size

_VERSION = 1  # of what is computed: another makes everything anew

log = logging.getLogger(__name__)


def dump_vad(data: DataDir, options: VadOptions, nj: int, allow_missing: Allowed = 0) -> None:
    """Writes vad.scp: a vector of 0 and 1, one a frame, for every utterance, with the arks under arks/vad/.

    The energy is that of energy.scp where there is one, and column 0 of the features otherwise; a method that needs
    audio reads it anew. A copy (utt2uniq) as long as its original is decided by the original, to which no noise was
    added. An utterance without any voiced frame keeps all its frames: each is listed in a warning.

    Raises:
        DataError: no features, or no audio where it is needed; more than ALLOW_MISSING utterances with an ark or audio
            that cannot be read, or without frames: vad.missing lists them
    """
    items: Sequence[Energy | Recorded] = list_recorded(data) if options.needs_audio else list_energies(data)
    arks = data.path / "arks" / "vad"
    with kept_parts(arks, items, f"vad {_VERSION} {options}", part_size(len(items), 1024)) as parts:
        results = make_parts(parts, partial(_compute, options=options), nj, f"vad {data.path}")
        check_missing(merge(results, "failures"), len(items), allow_missing, data.path / "vad.missing", "VAD decision")
        replaced = arks_named(arks, data.path / "vad.scp")
        scp = places(parts, results, "vad")
        write_table(data.path / "vad.scp", scp)
        for path in replaced:
            path.unlink(missing_ok=True)
    for utt in [utt for result in results for utt in result["unvoiced"]]:
        log.warning("%s: no frame of '%s' is voiced; all of them are kept", data.path, utt)
    num_frames = sum(result["num_frames"] for result in results)
    share = sum(result["num_voiced"] for result in results) / num_frames
    log.info("%s: %d utterances, %.1f %% of %d frames are voiced", data.path, len(scp), 100 * share, num_frames)


def _compute(items: Sequence[Energy | Recorded], folder: Path, options: VadOptions) -> Result:
    """Writes vad.ark of ITEMS into FOLDER."""
    unvoiced: list[str] = []
    failures: dict[str, str] = {}
    num_voiced, num_frames = 0, 0
    with ArkWriter(folder / "vad.ark") as writer:
        for item in items:
            try:
                voiced = item.decide(options)
            except DataError as error:
                failures[item.name] = str(error)
                continue
            num_voiced += int(voiced.sum())
            num_frames += len(voiced)
            if not voiced.any():
                unvoiced.append(item.name)
                voiced[:] = True
            writer.write(item.name, voiced.astype(np.float32))
    counts = {"unvoiced": unvoiced, "num_voiced": num_voiced, "num_frames": num_frames}
    return {"failures": failures, **counts, **offsets({"vad": writer})}
