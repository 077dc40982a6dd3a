"""Statistics of utterances: means and deviations of their frames, and what fails."""

from pathlib import Path

import numpy as np
import pytest

from steps.extract_statistics import extract_statistics
from timbre.datadir.ark import read_mat, read_vectors
from timbre.datadir.tables import read_table, write_table
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.utils.errors import DataError


@pytest.mark.parametrize("options", [NormalizeOptions(cmn="none"), NormalizeOptions(window=30)])
def test_statistics_are_those_of_normalised_voiced_frames(
    options: NormalizeOptions, data_dir: Path, tmp_path: Path
) -> None:
    extract_statistics(data_dir, tmp_path / "statistics", options, nj=1)
    ids, vectors = read_vectors(tmp_path / "statistics.scp")
    feats, vads = read_table(data_dir / "feats.scp"), read_table(data_dir / "vad.scp")
    assert ids == sorted(feats)
    for utt, vector in zip(ids, vectors, strict=True):
        frames = normalize(read_mat(feats[utt]), read_mat(vads[utt]) != 0, options).astype(np.float64)
        assert np.abs(vector - np.concatenate((frames.mean(0), frames.std(0)))).max() < 1e-5


def test_statistics_of_what_cannot_be_read_fail_and_may_be_allowed(data_dir: Path, tmp_path: Path) -> None:
    table = read_table(data_dir / "feats.scp")
    write_table(data_dir / "feats.scp", table | {"spk0-utt3": str(tmp_path / "nowhere.ark:3")})
    with pytest.raises(DataError, match="1 of 8 utterances have no statistics"):
        extract_statistics(data_dir, tmp_path / "statistics")
    extract_statistics(data_dir, tmp_path / "statistics", allow_missing=1)
    assert len(read_vectors(tmp_path / "statistics.ark")[0]) == 7
