"""The step compute_cmvn.py, against Kaldi's compute-cmvn-stats."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from steps.compute_cmvn import compute_cmvn
from timbre.datadir.ark import ArkWriter, read_mat
from timbre.datadir.tables import read_table, write_table
from timbre.utils.errors import DataError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four utterances of two speakers, with features that still want to be written."""
    write_table(tmp_path / "utt2spk", {f"utt{number}": f"spk{(number + 1) // 2}" for number in range(1, 5)})
    return tmp_path


def _write(path: Path, feats: dict[str, NDArray[np.float32]]) -> None:
    with ArkWriter(path / "feats.ark") as writer:
        for utt, matrix in feats.items():
            writer.write(utt, matrix)
    write_table(path / "feats.scp", writer.scp)


def test_speakers_and_utterances_equal_kaldis(
    data: Path, kaldi_full: Path, read: Callable[[Path], dict[str, NDArray[np.float32]]]
) -> None:
    _write(data, read(kaldi_full / "feats" / "mfcc30_16k_snip_false.ark"))
    for per_utt in (False, True):
        compute_cmvn(data, per_utt=per_utt)
        result = {name: read_mat(place) for name, place in read_table(data / "cmvn.scp").items()}
        expected = read(kaldi_full / "cmvn" / f"cmvn_stats_{'utt' if per_utt else 'spk'}.ark")
        assert list(result) == sorted(expected)
        for name, stats in expected.items():
            assert result[name].dtype == np.float64
            np.testing.assert_allclose(result[name], stats, rtol=1e-12)


def test_utterances_without_features_and_of_another_dimension(data: Path) -> None:
    feats = {f"utt{number}": np.ones((5, 3), np.float32) for number in range(1, 4)}
    _write(data, feats)
    with pytest.raises(DataError, match=r"utterance 'utt4' has no features; steps/fix_data_dir\.py"):
        compute_cmvn(data)
    _write(data, feats | {"utt4": np.ones((5, 4), np.float32)})
    with pytest.raises(DataError, match="'spk2' differ in dimension"):
        compute_cmvn(data)
    assert not (data / "cmvn.scp").exists()
