"""What a pack was tested on: errors by condition, and warnings of recordings unlike those."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from steps.make_decision_pack import make_decision_pack
from steps.make_quality import make_quality
from steps.make_trials import make_trials
from steps.verify import verify
from timbre.audio.effects import Sources, build_chain
from timbre.audio.preprocess import preprocess_audio
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_numbers, read_table
from timbre.datadir.trials import read_trials
from timbre.decision.pack import DecisionPack
from timbre.decision.tested import ranges_of
from timbre.decision.verdict import open_embedder
from timbre.feats.options import FbankOptions, FrameOptions, MfccOptions
from timbre.feats.speech_quality import high_band, high_bins
from timbre.runtime.tested_ranges import outside, read_ranges
from timbre.utils.errors import DataError
from voices import FBANK, embed

LOUD = [{"class_path": "ColouredNoise", "init_args": {"snr_low": 0, "snr_high": 0}}]


@pytest.fixture(scope="module")
def noisy(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The speakers of the calibration in noise."""
    data = tmp_path_factory.mktemp("conditions") / "dev_noisy"
    preprocess_audio(DataDir.read(place / "dev"), data, build_chain(LOUD, Sources()), 1, rate=8000)
    embed(data, FBANK, place / "model")
    make_trials(data)
    return data


@pytest.fixture(scope="module")
def tested(place: Path, noisy: Path) -> Path:
    """A pack with errors by condition."""
    dev = place / "dev"
    make_decision_pack(
        place / "model", dev, place / "backend", dev / "trials", dev / "xvector.scp", noisy.parent / "pack",
        cohort_scp=place / "train" / "xvector.scp", top_n=8, conditions=[noisy], min_speech=0.2, draws=20, nj=1,
        condition_embeddings=[noisy / "xvector.scp"],
    )  # fmt: skip
    return noisy.parent / "pack"


def test_errors_by_condition_are_those_of_the_pack_on_that_list(place: Path, noisy: Path, tested: Path) -> None:
    pack, embedder = DecisionPack.read(tested), open_embedder(DecisionPack.read(tested))
    wavs, trials = read_table(noisy / "wav.scp"), read_trials(noisy / "trials")
    items = {utt: embedder(wavs[utt]) for utt in {*trials.enroll_ids, *trials.test_ids}}
    (condition,) = yaml.safe_load((tested / "pack.yaml").read_text())["conditions"]
    assert condition["name"] == "dev_noisy" and condition["speakers"] == 10
    from timbre.backend.vectors import Side

    enroll, test = (
        Side.single(ids, np.stack([items[utt].vector for utt in ids])) for ids in (trials.enroll_ids, trials.test_ids)
    )
    scores = pack.scorer.pairs(enroll, test, trials.enroll.astype(np.int64), trials.test.astype(np.int64))
    llrs = pack.calibration.apply(scores[:, None])
    for point, entry in zip(pack.points, condition["points"], strict=True):
        assert entry["threshold"] == point.threshold
        assert entry["miss"]["errors"] == pytest.approx(np.count_nonzero(llrs[trials.target] < point.threshold), abs=1)
        alarms = np.count_nonzero(llrs[~trials.target] >= point.threshold)
        assert entry["false_alarm"]["errors"] == pytest.approx(alarms, abs=1)
    page = (tested / "README.md").read_text().replace("\\", "")
    assert "## By condition" in page and f"| dev_noisy | {100 * condition['eer']:.2f} |" in page
    assert "Tested were recordings with" in page


def test_verify_warns_of_what_was_not_tested(
    place: Path, noisy: Path, tested: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wavs = read_table(noisy / "wav.scp")
    verify([Path(wavs["s14-3"]), Path(wavs["s14-4"])], tested, json=True)
    assert json.loads(capsys.readouterr().out)["warnings"] == []
    settings = tested / "pack.yaml"
    before = settings.read_text()
    try:
        changed = {**yaml.safe_load(before), "tested": {"snr": [60, 70], "seconds": [0.1, 0.2]}}
        settings.write_text(yaml.safe_dump(changed))
        verify([Path(wavs["s14-3"]), Path(wavs["s14-4"])], tested, json=True)
        warnings = json.loads(capsys.readouterr().out)["warnings"]
        assert len(warnings) == 4 and all("outside what the pack was tested on" in text for text in warnings)
        for wrong in ({"snr": [3]}, {"snr": [3, 2]}, {"colour": [1, 2]}, [1], {"snr": "ab"}):
            settings.write_text(yaml.safe_dump({**changed, "tested": wrong}))
            with pytest.raises(DataError, match=r"pack\.yaml"):
                DecisionPack.read(tested)
    finally:
        settings.write_text(before)


def test_ranges_are_those_of_the_recordings(noisy: Path, place: Path) -> None:
    make_quality(noisy, noisy.parent / "quality", nj=1)
    utts = sorted(read_table(noisy / "utt2spk"))
    ranges = ranges_of([(DataDir.read(noisy), [*utts, "of another folder"])], FBANK, 1)
    snrs = list(read_numbers(noisy.parent / "quality" / "utt2snr").values())
    assert ranges["snr"] == pytest.approx(np.percentile(snrs, [0.5, 99.5]), rel=1e-4)
    assert "band" not in ranges, "features of 8 kHz have nothing above 4 kHz"
    assert ranges_of([(DataDir.read(place / "train"), [])], FBANK, 1) == {}


def test_a_telephone_has_nothing_above_4_khz() -> None:
    options = FbankOptions(num_mel_bins=40)
    bins = high_bins(options)
    assert bins is not None
    voiced = np.array([True, False, True])
    flat = np.zeros((3, 40), np.float32)
    assert high_band(flat, voiced, bins) == 0
    flat[:, bins.high] = -10
    flat[1] = 100  # no speech
    assert high_band(flat, voiced, bins) == pytest.approx(-10 * 10 / np.log(10), rel=1e-5)
    flat[:, bins.high] = -1000
    assert high_band(flat, voiced, bins) == -90
    magnitude = high_bins(FbankOptions(num_mel_bins=40, use_power=False))
    flat[:, bins.high] = -5
    assert magnitude is not None and high_band(flat, voiced, magnitude) == pytest.approx(-100 / np.log(10), rel=1e-5)


@pytest.mark.parametrize(
    "options", [FBANK, MfccOptions(), FbankOptions(use_energy=True), FbankOptions(use_log_fbank=False)]
)
def test_other_features_do_not_tell(options: FrameOptions) -> None:
    assert high_bins(options) is None


def test_only_what_is_worse_is_warned_of() -> None:
    ranges = {"seconds": (2.0, 9.0), "snr": (10.0, 40.0), "band": (-30.0, -5.0)}
    assert outside({"seconds": 5, "snr": 50, "band": 0}, ranges) == []
    told = outside({"seconds": 12, "snr": 3, "band": -70}, ranges)
    assert [text.partition(": ")[2] for text in told] == [
        "12.0 s of speech, and tested were 2.0 to 9.0 s",
        "a signal-to-noise ratio of 3 dB, and tested were 10 dB and more",
        "little above 4 kHz, as of a telephone (-70 dB), and tested were -30 dB and more",
    ]
    assert " of 0 dB, and tested were " in outside({"snr": -0.2}, ranges)[0], "not -0"
    assert outside({"seconds": 1.0}, ranges) != [] and read_ranges(None) == {}


def test_conditions_that_cannot_be(place: Path, noisy: Path, tmp_path: Path) -> None:
    dev = place / "dev"
    first = (place / "model", dev, place / "backend", dev / "trials", dev / "xvector.scp", tmp_path / "pack")
    with pytest.raises(DataError, match="1 conditions, embeddings of 0"):
        make_decision_pack(*first, conditions=[noisy])
    measures = [place / "quality" / "utt2snr"]
    with pytest.raises(DataError, match="quality measures of 0"):
        make_decision_pack(*first, conditions=[noisy], condition_embeddings=[noisy / "xvector.scp"], measures=measures)
    assert not (tmp_path / "pack").exists()
