#!/usr/bin/env python3
"""Archives of a corpus that were fetched by hand: verified and unpacked to where local/prepare_<corpus>.py finds it."""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.archives import find_archives, read_checksums, unpack_all
from timbre.corpora.openslr import known_checksums
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def unpack(download_dir: Path, corpus_dir: Path, nested: bool = True) -> None:
    """Unpack every archive of DOWNLOAD_DIR (tar, tgz, zip, ...) into CORPUS_DIR.

    Archives in parts (vox1_dev_wav_partaa, ..., cn-celeb2_v2.tar.gzaa, ...) are read as one. Checksums are verified
    where a list beside the archives (md5sum.txt, *.md5, *.sha256) or download.py knows them. Nothing is written
    outside CORPUS_DIR. An interrupted run goes on with the archive that it was at; one that is unpacked already is
    passed over.

    Args:
        download_dir: where the archives lie
        corpus_dir: where they are unpacked
        nested: unpack the archives in the archives too (AISHELL-1 has one a speaker)
    """
    archives = find_archives(download_dir)
    if not archives:
        raise DataError("no archive (.tar, .tgz, .tar.gz, .zip, ..., or parts of one) in it", download_dir)
    unpack_all(archives, corpus_dir, known_checksums() | read_checksums(download_dir), nested)


if __name__ == "__main__":
    run_step(unpack)
