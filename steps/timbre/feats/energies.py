"""Where the log energy of utterances lies, by which the energy VAD decides; for dump_vad.py and pieces.py."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.ark import read_mat, read_shape, split_rx
from timbre.datadir.contents import ORIGINALS
from timbre.datadir.datadir import DataDir
from timbre.feats.vad import VadOptions, energy_vad
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class Energy:
    """Where the log energy of an utterance is, and that of its original."""

    name: str
    place: str
    original: str

    @property
    def sources(self) -> set[str]:
        """The arks that it lies in."""
        return {split_rx(place)[0] for place in (self.place, self.original)}

    def read(self) -> NDArray[np.float32]:
        """Log energy of each frame, (num_frames,); of a copy as long as its original, the original's.

        Raises:
            DataError: it cannot be read, has no frames, or is not finite
        """
        place = self.place
        if self.original != place and read_shape(self.original)[0] == read_shape(place)[0]:
            place = self.original
        array = read_mat(place, self.name)
        if array.size == 0:
            raise DataError(f"utterance '{self.name}' has no frames", place)
        column = array if array.ndim == 1 else array[:, 0]
        if not np.isfinite(column).all():
            raise DataError(f"the energy of utterance '{self.name}' is NaN or infinite", place)
        return column

    def decide(
        self, options: VadOptions, rows: NDArray[np.int64] | None = None, of: int | None = None
    ) -> NDArray[np.bool_]:
        """Which frames are speech, of all or of ROWS as if there were no others, (num_frames,) bool.

        Raises:
            DataError: as `read`; the utterance has not OF frames
        """
        energy = self.read()
        if of is not None and len(energy) != of:
            raise DataError(f"utterance {self.name}: {of} frames of features, but {len(energy)} of energy", self.place)
        return energy_vad(energy if rows is None else energy[rows], options)


def list_energies(data: DataDir) -> list[Energy]:
    """Of all utterances of DATA: those of energy.scp where there is one, and column 0 of the features otherwise.

    Raises:
        DataError: there is neither energy.scp nor feats.scp
    """
    table = data.table("energy.scp" if data.has("energy.scp") else "feats.scp")
    originals = data.table(ORIGINALS) if data.has(ORIGINALS) else {}
    return [Energy(utt, place, table.get(originals.get(utt, utt), place)) for utt, place in sorted(table.items())]
