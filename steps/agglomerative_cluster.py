#!/usr/bin/env python3
"""Clusters of matrices of scores, label for label those of Kaldi's agglomerative-cluster."""

from pathlib import Path

from timbre.datadir.tables import read_lists, write_table
from timbre.runtime.ahc import AhcOptions
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def agglomerative_cluster(
    scores: Path,
    reco2utt: Path,
    labels: Path,
    read_costs: bool = False,
    reco2num_spk: Path | None = None,
    ahc: AhcOptions = AhcOptions(),
) -> None:
    """Write LABELS, "window cluster" a line, for every recording of RECO2UTT.

    Args:
        scores: scp of a matrix for each recording, of steps/score_dense.py or Kaldi's ivector-plda-scoring-dense
        reco2utt: "recording window window ..." a line, in the order of rows and columns
        labels: the file to write
        read_costs: the matrices, and the threshold, are costs, the lower the more alike
        reco2num_spk: numbers of speakers, where they are known: "recording number" a line
        ahc: threshold and limits, or a YAML file of them
    """
    from dataclasses import replace

    import numpy as np

    from timbre.datadir.ark import read_mat
    from timbre.datadir.tables import read_table
    from timbre.diarization.clustering import read_numbers
    from timbre.diarization.window_scores import symmetrize
    from timbre.runtime.ahc import cluster

    places = read_table(scores)
    numbers = {} if reco2num_spk is None else read_numbers(reco2num_spk)
    options = replace(ahc, threshold=-ahc.threshold) if read_costs else ahc
    found: dict[str, str] = {}
    for recording, windows in read_lists(reco2utt).items():
        if recording not in places or (reco2num_spk is not None and recording not in numbers):
            raise DataError(f"no recording '{recording}' in it", scores if recording not in places else reco2num_spk)
        costs = read_mat(places[recording], recording)
        if costs.shape != (len(windows), len(windows)):
            raise DataError(f"'{recording}' has {len(windows)} windows, but scores of shape {costs.shape}", reco2utt)
        costs = np.array(costs, np.float32) if read_costs else -costs.astype(np.float32)
        symmetrize(costs)
        result = cluster(costs, options, numbers.get(recording))
        found.update(zip(windows, map(str, result.tolist()), strict=True))
    write_table(labels, found)


if __name__ == "__main__":
    run_step(agglomerative_cluster)
