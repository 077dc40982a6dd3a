"""Whether the egs are what their manifest says, looked at by all ranks together. Used by loop.py."""

from dataclasses import replace
from pathlib import Path

from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import check_egs
from timbre.training.distributed import World
from timbre.utils.errors import DataError


def check_together(egs_dir: Path, manifest: Manifest, world: World, checksums: bool) -> None:
    """Sizes on the rank that leads; with CHECKSUMS, the contents too, of which every rank reads its share.

    After each ark the ranks hear of each other: however much there is to read, none waits for longer than one ark
    takes, which is far from what makes a collective operation time out.

    Raises:
        DataError: on every rank, naming the first file that is not as it should be
    """
    if world.leads:
        check_egs(egs_dir, manifest)
    arks = [*manifest.train, *manifest.valid] if checksums else []
    for first in range(0, len(arks), world.size):
        own, error = arks[first + world.rank : first + world.rank + 1], None
        try:
            check_egs(egs_dir, replace(manifest, train=own, valid=[]), checksums=True)
        except DataError as raised:
            error = raised
        for found in world.gather(error):
            if found is not None:
                raise found
