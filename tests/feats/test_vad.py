"""Energy VAD: equal to Kaldi's frame by frame, and to its definition."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from timbre.datadir.ark import ArkWriter, read_mat
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.feats.dump_feats import dump_features
from timbre.feats.dump_vad import dump_vad
from timbre.feats.options import FbankOptions, MfccOptions
from timbre.feats.vad import VadOptions, energy_vad
from timbre.utils.errors import DataError

KALDI = {
    "sre16": VadOptions(),
    "default": VadOptions(
        vad_energy_threshold=5.0, vad_energy_mean_scale=0.5, vad_proportion_threshold=0.6, vad_frames_context=0
    ),
}


def test_equal_to_kaldi(reference: Path, read: Callable[[Path], dict[str, NDArray[np.float32]]]) -> None:
    decisions = np.load(reference / "vad" / "all_vad.npz")
    compared = 0
    for key in decisions.files:
        file, _, utt = key.rpartition("__")
        name, _, feats = file.partition("_")
        energies = read(reference / "feats" / f"{feats}.ark")
        if utt in energies:  # the clone has some utterances only
            voiced = energy_vad(energies[utt][:, 0], KALDI[name])
            np.testing.assert_array_equal(voiced, decisions[key].astype(bool), err_msg=key)
            compared += 1
    assert compared >= 6


@pytest.mark.parametrize("context", [0, 1, 2, 5])
@pytest.mark.parametrize("proportion", [0.12, 0.4, 0.6])
def test_equal_to_the_definition(context: int, proportion: float) -> None:
    energy = np.random.default_rng(context).normal(10, 3, 60).astype(np.float32)
    voiced = energy_vad(energy, VadOptions(5.0, 0.5, proportion, context))
    threshold = 5 + 0.5 * energy.mean()
    for frame in range(60):
        around = energy[max(frame - context, 0) : frame + context + 1] > threshold
        assert voiced[frame] == (around.sum() >= np.float32(len(around)) * np.float32(proportion)), frame


def test_three_of_five_frames_are_enough_for_a_proportion_of_0_6() -> None:
    # in doubles, 5 times the float nearest to 0.6 is more than 3; Kaldi computes in floats
    energy = np.array([9, 0, 9, 0, 9], np.float32)
    assert energy_vad(energy, VadOptions(5.0, 0.0, 0.6, 2))[2]


def test_no_frames_no_decision() -> None:
    assert energy_vad(np.empty(0, np.float32), VadOptions()).shape == (0,)


@pytest.mark.parametrize("options", [(5.5, -0.1, 0.12, 2), (5.5, 0.5, 0.0, 2), (5.5, 0.5, 1.0, 2), (5.5, 0.5, 0.1, -1)])
def test_wrong_options_are_refused(options: tuple[float, float, float, int]) -> None:
    with pytest.raises(DataError, match="must"):
        VadOptions(*options)


def test_the_decision_does_not_depend_on_the_kind_of_features(
    make_data: Callable[..., DataDir], noise: Callable[..., NDArray[np.float32]]
) -> None:
    wave = np.concatenate([noise(8000, 1, 1e-3), noise(8000, 2, 0.1), noise(8000, 3, 1e-3)])
    data = make_data({"a": wave})
    decisions = []
    for options in (MfccOptions(), MfccOptions(use_energy=False), FbankOptions(num_mel_bins=80)):
        dump_features(data, options, nj=1)
        dump_vad(data, VadOptions(), nj=1)
        decisions.append(read_mat(data.table("vad.scp")["a"]))
    assert 30 < decisions[0].sum() < 70
    for decision in decisions[1:]:
        np.testing.assert_array_equal(decision, decisions[0])


def test_an_unvoiced_utterance_keeps_all_its_frames_and_is_named(
    make_data: Callable[..., DataDir], noise: Callable[..., NDArray[np.float32]], caplog: pytest.LogCaptureFixture
) -> None:
    data = make_data({"silent": np.zeros(8000, np.float32), "speech": noise(8000)})
    dump_features(data, MfccOptions(), nj=1)
    with caplog.at_level(logging.WARNING):
        dump_vad(data, VadOptions(), nj=2)
    assert read_mat(data.table("vad.scp")["silent"]).tolist() == [1.0] * 48
    assert [record.getMessage() for record in caplog.records if "'silent'" in record.getMessage()]


def test_without_features_there_is_no_vad(make_data: Callable[..., DataDir]) -> None:
    data = make_data({"a": np.zeros(8000, np.float32)})
    with pytest.raises(DataError, match=r"feats\.scp"):
        dump_vad(data, VadOptions(), nj=1)
    assert not data.has("vad.scp")


def test_a_copy_is_decided_by_its_original(tmp_path: Path) -> None:
    quiet = np.concatenate([np.full(20, 5.0), np.full(20, 15.0)]).astype(np.float32)
    energies = {"s-a": quiet, "s-a-noise": np.full(40, 15.0, np.float32), "s-a-slow": np.full(44, 15.0, np.float32)}
    with ArkWriter(tmp_path / "energy.ark") as writer:
        for utt, energy in energies.items():
            writer.write(utt, energy)
    write_table(tmp_path / "energy.scp", writer.scp)
    write_table(tmp_path / "utt2spk", dict.fromkeys(energies, "s"))
    write_table(tmp_path / "feats.scp", writer.scp)
    write_table(tmp_path / "utt2uniq", dict.fromkeys(energies, "s-a"))
    dump_vad(DataDir.read(tmp_path), VadOptions(), nj=1)
    voiced = {utt: read_mat(place) for utt, place in DataDir.read(tmp_path).table("vad.scp").items()}
    assert 15 < voiced["s-a"].sum() < 25 and np.array_equal(voiced["s-a"], voiced["s-a-noise"])
    assert voiced["s-a-slow"].all() and len(voiced["s-a-slow"]) == 44
