"""A decision pack decides as the recipe's steps would: the same embeddings, scores, calibration, from files alone."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from steps.enroll_gallery import enroll_gallery
from steps.identify import identify
from steps.make_decision_pack import make_decision_pack
from steps.make_trials import make_trials
from steps.normalize_scores import normalize_scores
from steps.score_trials import score_trials
from steps.train_calibration import train_calibration
from steps.verify import verify
from timbre.audio.effects import Sources, build_chain
from timbre.audio.preprocess import preprocess_audio
from timbre.corpora.small_trees import hum
from timbre.datadir.ark import read_vectors
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table, write_table
from timbre.datadir.trials import read_scores, read_trials
from timbre.decision.calibration import Calibration
from timbre.decision.least_speech import UNMEASURED, CutError, shortest_kept
from timbre.decision.pack import DecisionPack
from timbre.decision.verdict import open_embedder, verify_files
from timbre.embedding.embedder import AudioOptions, Embedder, Front
from timbre.feats.options import FrameOptions, MfccOptions
from timbre.feats.vad import VadOptions
from timbre.runtime.sound import Unusable, resample
from timbre.utils.errors import DataError
from voices import FBANK, embed, write_data, write_model


@pytest.mark.parametrize("kind", ["fbank", "mfcc", "effects", "downsampled"])
def test_a_file_gets_the_embedding_of_the_recipe(kind: str, tmp_path: Path) -> None:
    options: FrameOptions = FBANK
    audio = None
    if kind == "mfcc":
        options = MfccOptions(sample_frequency=8000, num_mel_bins=20, num_ceps=20)
    elif kind == "downsampled":
        options = replace(FBANK, sample_frequency=6000, allow_downsample=True)
    data = write_data(tmp_path / "data", range(2), 3)
    if kind == "effects":
        effects = [
            {"class_path": "Gain", "init_args": {"low": 30, "high": 30}},  # louder than 16 bits hold: made softer
            {"class_path": "BandPass", "init_args": {"low": 300, "high": 2000, "order": 4}},
        ]
        audio = AudioOptions(rate=8000, effects=tuple(effects))
        preprocess_audio(DataDir.read(data), tmp_path / "changed", build_chain(effects, Sources()), 1, rate=8000)
    model = write_model(tmp_path / "model", 20)
    scp = embed(tmp_path / "changed" if audio else data, options, model)
    Front(options, VadOptions(), audio).write(tmp_path / "front.yaml")
    embedder = Embedder(model, Front.read(tmp_path / "front.yaml"), min_speech=0.1)
    ids, vectors = read_vectors(scp)
    wavs = read_table(data / "wav.scp")
    small = min(1e-5, 0.02 * float(vectors.std(0).min()))  # beside what utterances differ by
    for utt, vector in zip(ids, vectors, strict=True):
        assert np.abs(embedder(wavs[utt]).vector - vector).max() <= small


def test_it_scores_as_the_steps_do(place: Path, pack: Path, tmp_path: Path) -> None:
    """Back-end, AS-norm, measures and calibration of the steps, and verify's log-likelihood ratio of the files."""
    dev, train = place / "dev", place / "train"
    trials, scp, cohort = dev / "trials", dev / "xvector.scp", train / "xvector.scp"
    score_trials(trials, scp, scp, tmp_path / "dev.plda", place / "backend", nj=1)
    normalize_scores(
        trials, tmp_path / "dev.plda", scp, scp, cohort, tmp_path / "dev.score", top_n=8,
        cohort_utt2spk=train / "utt2spk", backend_dir=place / "backend", nj=1,
    )  # fmt: skip
    tables = [place / "quality" / f"utt2{name}" for name in ("logdur", "snr", "magnitude")]
    train_calibration(trials, tmp_path / "dev.score", tmp_path / "cal", tables)
    expected = Calibration.read(tmp_path / "cal" / "calibration.yaml")
    packed = DecisionPack.read(pack)
    assert np.isclose(packed.calibration.offset, expected.offset, rtol=1e-4)
    assert [term.weight for term in packed.calibration.terms] == pytest.approx(
        [term.weight for term in expected.terms], rel=1e-4
    )
    shutil.copytree(pack, tmp_path / "elsewhere")  # it needs nothing beside it
    packed = DecisionPack.read(tmp_path / "elsewhere")
    scored = read_trials(trials)
    scores = read_scores(tmp_path / "dev.score", scored)
    wavs = read_table(dev / "wav.scp")
    for row in (0, 7, 300):
        one, two = scored.name(row).split()
        verdict = verify_files(packed, [Path(wavs[one])], Path(wavs[two]), 0.5, None, "cpu")
        quality = [
            {name: float(read_table(place / "quality" / f"utt2{name}")[utt]) for name in packed.measures}
            for utt in (one, two)
        ]
        llr = packed.llr(scores[row : row + 1], quality[:1], quality[1:])[0]
        assert verdict.llr == pytest.approx(packed.supported(llr), abs=0.01)  # measures in tables have six digits


def test_what_verify_says(place: Path, pack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wav = place / "dev" / "wav"
    verify([wav / "s14-0.wav", wav / "s14-1.wav", wav / "s14-4.wav"], pack)
    said = capsys.readouterr().out
    assert said.startswith("SAME speaker: ") and "times as likely from the same speaker" in said
    verify([wav / "s14-0.wav", wav / "s15-4.wav"], pack, prior=0.05)
    assert capsys.readouterr().out.startswith("DIFFERENT speakers: ")
    verify([wav / "s14-0.wav", wav / "s14-4.wav"], pack, prior=0.01, json=True)
    low = json.loads(capsys.readouterr().out)
    verify([wav / "s14-0.wav", wav / "s14-4.wav"], pack, far=0.05, json=True)
    point = json.loads(capsys.readouterr().out)
    assert low["llr"] == point["llr"] and low["probability"] < point["probability"]
    assert low["probability"] == pytest.approx(1 / (1 + np.exp(-low["llr"]) * 99))
    assert low["threshold"] == pytest.approx(np.log(99)) and low["same"] == (low["llr"] >= low["threshold"])
    listed = {
        (entry["kind"], entry["value"]): entry for entry in yaml.safe_load((pack / "thresholds.yaml").read_text())
    }
    assert point["threshold"] == listed["false_alarm_rate", 0.05]["threshold"]
    assert point["expected"]["false_alarm"]["rate"] <= 0.05
    assert low["expected"]["miss"]["rate"] == listed["prior", 0.01]["miss"]["rate"]
    assert point["test"]["seconds"] == pytest.approx(2.1) and 1 < point["test"]["speech"] < 2.1


def test_any_sample_rate_will_do(pack: Path, tmp_path: Path) -> None:
    embedder = open_embedder(DecisionPack.read(pack))
    for rate in (11025, 48000):
        samples = hum(14, 7, 2.0, rate)
        soundfile.write(tmp_path / "high.wav", samples, rate, subtype="FLOAT")
        soundfile.write(tmp_path / "low.wav", resample(samples.astype(np.float32), rate, 8000), 8000, subtype="FLOAT")
        high, low = (embedder(str(tmp_path / f"{name}.wav")) for name in ("high", "low"))
        assert np.abs(high.vector - low.vector).max() < 1e-5 and high.seconds == pytest.approx(2.5, abs=0.001)


def test_what_may_spoil_the_answer_is_told(place: Path, pack: Path, tmp_path: Path) -> None:
    embedder = open_embedder(DecisionPack.read(pack))
    good = hum(14, 7, 2.0, 8000)

    def warnings(samples: np.ndarray) -> str:
        soundfile.write(tmp_path / "x.wav", samples, 8000)
        return " ".join(embedder(str(tmp_path / "x.wav")).warnings)

    assert warnings(good) == ""
    assert "% of the samples are clipped" in warnings(np.where(np.arange(len(good)) % 2000 < 40, 1, good))


def test_what_cannot_be_used_is_refused(place: Path, pack: Path, tmp_path: Path) -> None:
    packed = DecisionPack.read(pack)
    good = place / "dev" / "wav" / "s14-0.wav"
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    (tmp_path / "text.wav").write_text("no audio")
    for name, message in (
        ("empty", "no samples"),
        ("text", "not audio"),
        ("x", "no such"),
    ):
        with pytest.raises(DataError, match=message):
            verify_files(packed, [good], tmp_path / f"{name}.wav", 0.5, None, "cpu")
    for files, options, message in (
        ([good], {}, "two files at least"),
        ([good, good], {"prior": 1.0}, "a prior of 1"),
        ([good, good], {"far": 0.02}, "no threshold for a false-alarm rate of 0.02, only for 0.05, 0.01"),
        ([good, good], {"pack": tmp_path}, "not a decision pack"),
    ):
        with pytest.raises(DataError, match=message):
            verify(files, **{"pack": pack, **options})
    for name, text in (
        ("thresholds.yaml", "- {kind: prior}"),
        ("calibration.yaml", "x: 1"),
        ("front.yaml", "feats: 1"),
    ):
        shutil.copytree(pack, tmp_path / "bad", dirs_exist_ok=True)
        (tmp_path / "bad" / name).write_text(text)
        with pytest.raises(DataError, match=f"bad/{name}: not "):
            verify([good, good], tmp_path / "bad")


USELESS = {
    "silence": (np.zeros(16000), "all of its samples are the same"),
    "offset": (np.full(16000, 0.3), "all of its samples are the same"),
    "hush": (np.random.default_rng(0).integers(-1, 2, 16000) / 32768, "no speech is found in it, and 0.5 s are needed"),
    "short": (hum(14, 7, 0.1, 8000), "s of speech is found in it, and 0.5 s are needed"),
    "click": (np.arange(30) / 100, "30 samples at 8000 Hz are less than one frame"),
    "ruined": (np.sign(hum(14, 7, 2.0, 8000)), "% of the samples are clipped"),
    "nan": (np.where(np.arange(16000) == 5, np.nan, hum(14, 7, 2.0, 8000)[:16000]), "NaN or infinite samples"),
}


@pytest.mark.parametrize("name", USELESS)
def test_without_speech_there_is_no_decision(
    place: Path, pack: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of verify, identify and enrolment alike: why, and an exit status of its own."""
    good, bad = place / "dev" / "wav" / "s14-4.wav", tmp_path / "bad.wav"
    samples, reason = USELESS[name]
    soundfile.write(bad, samples, 8000, subtype="FLOAT")

    def said(step: Callable[[], None]) -> str:
        with pytest.raises(SystemExit) as caught:
            step()
        assert caught.value.code == 3
        return capsys.readouterr().out

    for files in ([good, bad], [bad, good], [good, bad, good]):
        assert said(lambda: verify(files, pack)).startswith(f"NO DECISION: {bad}: ")  # noqa: B023
        found = json.loads(said(lambda: verify(files, pack, json=True)))  # noqa: B023
        assert found["same"] is None and found["llr"] is None and found["probability"] is None
        assert reason in found["reason"] and found["test"] == {"path": str(files[-1])}
    (tmp_path / "voices").mkdir()
    shutil.copy(good, tmp_path / "voices" / "s14.wav")
    enroll_gallery(tmp_path / "voices", tmp_path / "gallery", pack)
    assert reason in said(lambda: identify(bad, tmp_path / "gallery", pack))
    found = json.loads(said(lambda: identify(bad, tmp_path / "gallery", pack, json=True)))
    assert found["name"] is None and reason in found["reason"] and found["matches"] == []

    shutil.copy(bad, tmp_path / "voices" / "x.wav")
    with pytest.raises(Unusable, match="'x' has no recording that can be used") as caught:
        enroll_gallery(tmp_path / "voices", tmp_path / "other", pack, allow_missing=5)
    assert caught.value.status == 3 and not (tmp_path / "other").exists()
    (tmp_path / "voices" / "x").mkdir()
    (tmp_path / "voices" / "x.wav").rename(tmp_path / "voices" / "x" / "a.wav")
    shutil.copy(place / "dev" / "wav" / "s15-4.wav", tmp_path / "voices" / "x" / "b.wav")
    with pytest.raises(Unusable, match=r"1 recordings cannot be used.*--allow-missing 1"):
        enroll_gallery(tmp_path / "voices", tmp_path / "other", pack)
    enroll_gallery(tmp_path / "voices", tmp_path / "other", pack, allow_missing=1)
    assert set(read_table(tmp_path / "other" / "spk2utt")) == {"s14", "x"}


def test_the_same_recording_on_both_sides_is_told(
    place: Path, pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    wav = place / "dev" / "wav"
    samples, rate = soundfile.read(wav / "s14-4.wav", dtype="int16")
    soundfile.write(
        tmp_path / "copy.flac", np.concatenate([np.zeros(400, np.int16), samples]), rate
    )  # as it is, padded
    verify([wav / "s15-4.wav", wav / "s14-4.wav", tmp_path / "copy.flac"], pack, json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["same_recording"] is True and "the same recording is on both sides" in found["warnings"][0]
    verify([wav / "s14-3.wav", wav / "s14-4.wav"], pack, json=True)
    assert json.loads(capsys.readouterr().out)["same_recording"] is False
    (tmp_path / "voices").mkdir()
    shutil.copy(wav / "s14-4.wav", tmp_path / "voices" / "a.wav")
    shutil.copy(wav / "s14-4.wav", tmp_path / "voices" / "b.wav")
    enroll_gallery(tmp_path / "voices", tmp_path / "gallery", pack)
    assert "b.wav: the same recording as" in caplog.text
    identify(tmp_path / "copy.flac", tmp_path / "gallery", pack, json=True)
    assert "a recording of the gallery, sample by sample" in json.loads(capsys.readouterr().out)["warnings"][0]


def test_the_least_speech_is_measured(place: Path, pack: Path, tmp_path: Path) -> None:
    dev = place / "dev"
    for name, given in (("measured", None), ("given", 0.75)):
        make_decision_pack(
            place / "model", dev, place / "backend", dev / "trials", dev / "xvector.scp", tmp_path / name,
            draws=20, nj=1, min_speech=given,
            measures=[place / "quality" / "utt2logdur", place / "quality" / "utt2magnitude"],
        )  # fmt: skip
    settings = yaml.safe_load((tmp_path / "measured" / "pack.yaml").read_text())
    errors = [CutError(**entry) for entry in settings["speech"]]
    assert [one.seconds for one in errors] == [0.25, 0.5, 0.75, 1.0, 1.5]  # the longest has 1.6 s
    assert settings["min_speech"] == DecisionPack.read(tmp_path / "measured").min_speech == shortest_kept(errors)
    page = (tmp_path / "measured" / "README.md").read_text()
    assert "## Least speech" in page and page.count(" s | ") == 5 and "no decision" in page
    assert DecisionPack.read(tmp_path / "given").min_speech == 0.75
    assert "The number was given" in (tmp_path / "given" / "README.md").read_text()


def test_which_length_is_the_least() -> None:
    def least(*errors: float) -> float:
        return shortest_kept([CutError(1.0 + place, 100, error, 0.1) for place, error in enumerate(errors)])

    assert least(0.3, 0.14, 0.1) == 2.0 and least(0.1, 0.1, 0.1) == 1.0
    assert least(0.1, 0.3, 0.1) == 3.0  # that the shortest does well is chance
    assert least(0.3, 0.3, 0.3) == 3.0 and least() == UNMEASURED
    assert CutError(1.0, 100, 0.01, 0.0).kept and not CutError(1.0, 100, 0.02, 0.0).kept
    assert CutError(1.0, 100, 0.14, 0.05, promised=0.1).kept and not CutError(1.0, 100, 0.16, 0.05, promised=0.1).kept


@pytest.mark.parametrize(
    "change, message",
    [
        ({"min_speech": float("-inf")}, "min_speech is -inf"),
        ({"min_speech": float("nan")}, "min_speech is nan"),
        ({"min_speech": "1"}, "min_speech is 1"),
        ({"min_spech": 1.0}, "'min_spech' is none of measures, top_n, min_speech"),
        ({"measures": ["sex"]}, "measures are some of"),
        ({"measures": ["snr"]}, "calibration.yaml: not for the measures of pack.yaml"),
        ({"top_n": "many"}, "top_n a number"),
    ],
)
def test_settings_that_make_no_sense(pack: Path, tmp_path: Path, change: dict[str, object], message: str) -> None:
    shutil.copytree(pack, tmp_path / "bad")
    settings = yaml.safe_load((pack / "pack.yaml").read_text()) | change
    (tmp_path / "bad" / "pack.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(DataError, match=message):
        DecisionPack.read(tmp_path / "bad")


def test_the_page_and_another_list(place: Path, pack: Path, tmp_path: Path) -> None:
    page = (pack / "README.md").read_text()
    assert page.count("| target prior ") == 4 and page.count("| false-alarm rate ") == 4
    assert "trained on the same list" in page and "100 target and 1,125 nontarget trials of 10 speakers" in page
    make: Callable[..., None] = lambda out, **more: make_decision_pack(  # noqa: E731
        place / "model", place / "train", place / "backend", place / "dev" / "trials", place / "dev" / "xvector.scp",
        out, draws=20, nj=1, **more,
    )  # fmt: skip
    other = embed(write_data(tmp_path / "other", range(24, 30), 4), FBANK, place / "model")
    make_trials(tmp_path / "other")
    make(tmp_path / "two", test_trials=tmp_path / "other" / "trials", test_embeddings=other)
    page = (tmp_path / "two" / "README.md").read_text()
    assert "trained on other speakers" in page and "36 target and 240 nontarget trials of 6 speakers" in page
    assert DecisionPack.read(tmp_path / "two").scorer.cohort is None
    with pytest.raises(DataError, match="10 of its 10 speakers are in what"):
        make(tmp_path / "three", test_trials=place / "dev" / "trials")
    with pytest.raises(DataError, match="a pack cannot measure 'sex'"):
        make(tmp_path / "three", measures=[tmp_path / "utt2sex"])
    with pytest.raises(DataError, match="the test list needs the measures"):
        make(
            tmp_path / "three", measures=[place / "quality" / "utt2snr"],
            test_trials=tmp_path / "other" / "trials", test_embeddings=other,
        )  # fmt: skip
    assert not (tmp_path / "three").exists()


def test_who_of_a_gallery_speaks(place: Path, pack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voices, wav = tmp_path / "voices", place / "dev" / "wav"
    for speaker in range(14, 20):
        (voices / f"s{speaker}" / "first").mkdir(parents=True)
        for number in (0, 1):
            shutil.copy(wav / f"s{speaker}-{number}.wav", voices / f"s{speaker}" / "first")
        (voices / f"s{speaker}" / "notes.txt").write_text("not audio")
    shutil.copy(wav / "s20-0.wav", voices / "s20.wav")
    enroll_gallery(voices, tmp_path / "made", pack)
    (tmp_path / "made").rename(tmp_path / "gallery")  # it needs nothing beside it
    right = 0
    for speaker in range(14, 20):
        identify(wav / f"s{speaker}-4.wav", tmp_path / "gallery", pack, json=True, top=7, prior=1.0)
        found = json.loads(capsys.readouterr().out)
        right += found["name"] == f"s{speaker}"
        assert len(found["matches"]) == 7 and found["unknown"] == 0
        assert sum(match["probability"] for match in found["matches"]) == pytest.approx(1)
    assert right >= 5
    identify(wav / "s14-4.wav", tmp_path / "gallery", pack, json=True, top=7, prior=0.7)
    found = json.loads(capsys.readouterr().out)
    assert found["unknown"] + sum(match["probability"] for match in found["matches"]) == pytest.approx(1)
    for match in found["matches"]:  # each against nobody, by Bayes' rule
        odds = np.exp(match["llr"]) * 0.7 / 7 / 0.3
        assert match["probability"] / found["unknown"] == pytest.approx(odds)
    best = next(match for match in found["matches"] if match["name"] == "s14")
    enroll = [wav / f"s14-{number}.wav" for number in (0, 1)]
    verdict = verify_files(DecisionPack.read(pack), enroll, wav / "s14-4.wav", 0.5, None, "cpu")
    assert best["llr"] == pytest.approx(verdict.llr, abs=1e-3)
    identify(wav / "s23-4.wav", tmp_path / "gallery", pack, prior=0.01)
    assert capsys.readouterr().out.startswith("unknown\n")


def test_galleries_that_cannot_be_used(place: Path, pack: Path, tmp_path: Path) -> None:
    good = place / "dev" / "wav" / "s14-0.wav"
    (tmp_path / "voices" / "a b").mkdir(parents=True)
    for message in ("no audio in it: <speaker>/<file>", "'a b' cannot be an id"):
        with pytest.raises(DataError, match=message):
            enroll_gallery(tmp_path / "voices", tmp_path / "gallery", pack)
        shutil.copy(good, tmp_path / "voices" / "a b" / "x.wav")
    (tmp_path / "voices" / "a b").rename(tmp_path / "voices" / "ab")
    shutil.copy(good, tmp_path / "voices" / "ab.wav")
    with pytest.raises(DataError, match=r"ab.wav: the name 'ab' is taken"):
        enroll_gallery(tmp_path / "voices", tmp_path / "gallery", pack)
    (tmp_path / "voices" / "ab.wav").write_text("no audio")
    (tmp_path / "voices" / "ab.wav").rename(tmp_path / "voices" / "c.wav")
    with pytest.raises(DataError, match=r"c.wav: not audio"):
        enroll_gallery(tmp_path / "voices", tmp_path / "gallery", pack)
    with pytest.raises(DataError, match="not a gallery"):
        identify(good, tmp_path / "voices", pack)
    (tmp_path / "voices" / "c.wav").unlink()
    enroll_gallery(tmp_path / "voices", tmp_path / "gallery", pack)  # of one speaker
    with pytest.raises(DataError, match="a prior of 0"):
        identify(good, tmp_path / "gallery", pack, prior=0.0)
    write_table(tmp_path / "gallery" / "made_by", {"network": "another"})
    with pytest.raises(DataError, match="enrolled with another network"):
        identify(good, tmp_path / "gallery", pack)
