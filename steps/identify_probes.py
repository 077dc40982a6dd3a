#!/usr/bin/env python3
"""Identification of many probes in a gallery: best matches, rank curve, closed-set and open-set rates."""

import logging
from pathlib import Path
from typing import Literal

from timbre.datadir.tables import read_table
from timbre.utils.cli import run_step


def identify_probes(
    enroll_spk2utt: Path,
    probe_utt2spk: Path,
    enroll_scp: Path,
    probe_scp: Path,
    backend_dir: Path,
    out_dir: Path,
    cohort_scp: Path | None = None,
    cohort_utt2spk: Path | None = None,
    top_n: int = 300,
    top_k: int = 10,
    search: Literal["auto", "exact", "faiss"] = "auto",
    draws: int = 1000,
    seed: int = 0,
    nj: int = 4,
) -> None:
    """Write OUT_DIR/{matches,identification.json,rank_curve.png,rank_curve.svg}, and print the rates.

    Probes of speakers who are not in the gallery are strangers: with them the rates of an open set are measured too.

    Args:
        enroll_spk2utt: who is in the gallery, with which utterances; they are averaged. make_gallery.py makes it
        probe_utt2spk: probes and their speakers
        enroll_scp: embeddings of the utterances of the gallery (scp or ark)
        probe_scp: embeddings of the probes, often the same file
        backend_dir: what train_backend.py wrote
        out_dir: the folder to write into
        cohort_scp: embeddings to normalise scores by (AS-norm), of other speakers
        cohort_utt2spk: average the cohort's embeddings by speaker
        top_n: how many cohort scores AS-norm keeps; at most the whole cohort
        top_k: matches written for each probe, the best first, as "probe entry score"
        search: exact, or approximately by faiss (pip install timbre[search]; without AS-norm). auto: exact up to a
            million entries
        draws: number of draws of speakers for the intervals
        seed: of the draws
        nj: number of threads
    """
    from timbre.decision.probes import Gallery, identify  # scipy takes half a second: not for --help
    from timbre.evaluation.plots import plot_paths, plot_rank_curve
    from timbre.evaluation.results import write_json

    gallery = Gallery.read(enroll_spk2utt, enroll_scp)
    probes = read_table(probe_utt2spk)
    cohort = (cohort_scp, cohort_utt2spk, top_n)
    result = identify(gallery, probes, probe_scp, probe_utt2spk, backend_dir, cohort, top_k, search, nj)
    measured = result.measure(draws, seed)
    result.write_matches(out_dir / "matches")
    write_json(out_dir / "identification.json", measured.as_json())
    plot_rank_curve(
        {backend_dir.name: measured.curve}, plot_paths(out_dir / "rank_curve"), f"{measured.gallery} enrolled"
    )
    print(measured)
    logging.info("%s: %d probes", out_dir, len(probes))


if __name__ == "__main__":
    run_step(identify_probes)
