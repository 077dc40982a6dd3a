"""Egs copied to a disk of the machine that reads them, once for all of its processes; steps/train.py calls it."""

import fcntl
import hashlib
import logging
import shutil
from pathlib import Path

from timbre.utils.files import atomic_folder, remove_temporaries

log = logging.getLogger(__name__)

_KIND = "copy of egs"


def stage_egs(egs_dir: Path, folder: Path) -> Path:
    """A copy of EGS_DIR in FOLDER, named by its manifest: made by the first process that asks, kept for later ones.

    Raises:
        DataError: FOLDER cannot be written to, or is full
    """
    manifest = (egs_dir / "manifest.json").read_bytes()
    copy = folder / f"egs_{hashlib.sha256(manifest).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (copy / "manifest.json").is_file():
            remove_temporaries(folder)
            log.info("copying %s to %s", egs_dir, copy)
            with atomic_folder(copy, _KIND, [egs_dir]) as temporary:
                shutil.copytree(egs_dir, temporary, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    return copy
