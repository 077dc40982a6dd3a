#!/usr/bin/env python3
"""Openly licensed corpora from OpenSLR: fetched, verified and unpacked for local/prepare_<corpus>.py."""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.openslr import Name, fetch_corpus
from timbre.utils.cli import run_step


def download(
    corpus: Name,
    corpus_dir: Path,
    archives: list[str] | None = None,
    mirror: str = "https://www.openslr.org/resources",
    download_dir: Path | None = None,
    tries: int = 5,
    wait: float = 5.0,
) -> None:
    """Fetch the archives of CORPUS, verify their checksums and unpack them into CORPUS_DIR.

    What is there already is not fetched or unpacked again; a transfer that was interrupted goes on where it stopped.

    Args:
        corpus: librispeech, mini_librispeech, aishell1, musan, rirs or speechocean762
        corpus_dir: where it is unpacked
        archives: some of its archives, such as [dev-clean.tar.gz]; by default all
        mirror: where OpenSLR's resources lie, such as https://openslr.elda.org/resources
        download_dir: where the archives are kept; by default CORPUS_DIR/archives
        tries: how often a transfer that makes no progress is tried
        wait: seconds between tries
    """
    fetch_corpus(corpus, corpus_dir, archives, mirror, download_dir or corpus_dir / "archives", tries, wait)


if __name__ == "__main__":
    run_step(download)
