"""The channel-leak check: it finds a leak where there is one, none where there is none, and says which in words."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audit_corpus import RATE, Owner, spoken, write_set
from timbre.audit.audit_pass import ListenOptions, audit_audio
from timbre.audit.audited import AuditedSet
from timbre.audit.channel_leak import Leak, LeakOptions, measure_leaks
from timbre.datadir.datadir import DataDir
from timbre.evaluation.bootstrap import Draws
from timbre.evaluation.results import Record, Result
from timbre.feats.options import MfccOptions
from timbre.feats.vad import VadOptions
from timbre.utils.errors import DataError

LISTEN = ListenOptions(MfccOptions(sample_frequency=RATE, num_ceps=10, snip_edges=False), VadOptions())
OPTIONS = LeakOptions(draws=200)


def heard(data: DataDir, out: Path) -> AuditedSet:
    name = data.path.name
    audit_audio(data, out / name, LISTEN, 1)
    return AuditedSet.read(data, name, out / name / "utt2audit.tsv")


@pytest.fixture
def measure(tmp_path: Path) -> Callable[[Owner, Owner], Leak]:
    def call(voice: Owner, floor: Owner) -> Leak:
        train = write_set(tmp_path / "train", range(25), 8, voice, floor)
        test = write_set(tmp_path / "eval", range(30, 45), 6, voice, floor)
        out = tmp_path / "out"
        leaks, problems = measure_leaks(heard(train, out), [heard(test, out)], out, OPTIONS, 1)
        assert len(leaks) == 1 and not problems
        assert leaks[0].name == "eval" and leaks[0].num_used == leaks[0].num_trials == 90 * 89 // 2
        return leaks[0]

    return call


def test_a_noise_floor_of_the_speaker_gives_him_away(measure: Callable[[Owner, Owner], Leak]) -> None:
    leak = measure("utterance", "speaker")
    assert leak.nonspeech.record.eer < 0.1
    assert leak.speech.record.eer > 0.3
    assert leak.leaks and "must not be read as speaker recognition" in leak.verdict


def test_a_random_noise_floor_tells_nothing(measure: Callable[[Owner, Owner], Leak]) -> None:
    leak = measure("speaker", "utterance")
    assert 0.4 < leak.nonspeech.record.eer < 0.6
    assert leak.speech.record.eer < 0.1
    assert not leak.leaks
    assert leak.difference is not None and leak.difference[0] > 0.2


def test_voice_and_channel_both_of_the_speaker(measure: Callable[[Owner, Owner], Leak]) -> None:
    leak = measure("speaker", "speaker")
    assert leak.speech.record.eer < 0.1 and leak.nonspeech.record.eer < 0.1
    assert leak.leaks


def test_utterances_of_too_few_frames_are_left_out_of_both(tmp_path: Path) -> None:
    train = write_set(tmp_path / "train", range(12), 6)
    test = write_set(tmp_path / "eval", range(20, 26), 4)
    wholly = spoken(20, 0, "speaker", "utterance")
    soundfile.write(test.wavs["s020-00"], np.tile(wholly[RATE // 4 : RATE // 2], 4), RATE)  # speech without a pause
    out = tmp_path / "out"
    audited = heard(test, out)
    assert audited.table.nonspeech[0] < 10 < audited.table.speech[0]
    (leak,), _ = measure_leaks(heard(train, out), [audited], out, OPTIONS, 1)
    assert leak.num_trials == 24 * 23 // 2 and leak.num_used == 23 * 22 // 2
    assert leak.speech.record.num_target == leak.nonspeech.record.num_target == 5 * 6 + 3
    lists = [path.read_text() for path in sorted((out / "channel").glob("eval.*"))]
    assert len(lists) == 2 and all("s020-00" not in text and "s020-01" in text for text in lists)


def test_models_are_averages_and_lists_may_be_several(tmp_path: Path) -> None:
    train = write_set(tmp_path / "train", range(12), 6)
    test = write_set(tmp_path / "eval", range(20, 26), 4)
    (test.path / "enroll.spk2utt").write_text("".join(f"m{s} s0{s}-00 s0{s}-01\n" for s in range(20, 26)))
    trials = [(m, s) for m in range(20, 26) for s in range(20, 26)]
    (test.path / "trials_models").write_text(
        "".join(f"m{m} s0{s}-02 {'target' if m == s else 'nontarget'}\n" for m, s in trials)
    )
    out = tmp_path / "out"
    leaks, problems = measure_leaks(heard(train, out), [heard(test, out)], out, OPTIONS, 1)
    assert [leak.name for leak in leaks] == ["eval", "eval_models"] and not problems
    assert leaks[1].num_used == 36 and leaks[1].speech.record.num_speakers == 6
    assert leaks[1].speech.record.eer <= leaks[0].speech.record.eer + 0.1


def test_what_cannot_be_measured_is_said(tmp_path: Path) -> None:
    out = tmp_path / "out"
    train = heard(write_set(tmp_path / "train", range(12), 6), out)
    test = write_set(tmp_path / "eval", range(20, 23), 4)

    def problems_with(train: AuditedSet = train, min_frames: int = 10) -> str:
        leaks, problems = measure_leaks(train, [heard(test, out)], out, replace(OPTIONS, min_frames=min_frames), 1)
        assert not leaks
        return " ".join(problems)

    assert "no utterance has 999 frames of both kinds" in problems_with(min_frames=999)
    (test.path / "trials").write_text("s020-00 s020-01 target\n")
    assert "none of the 1 trials is a nontarget" in problems_with()
    (test.path / "trials").unlink()
    assert problems_with() == "no set but the training set has a trial list"
    (test.path / "trials").write_text("s020-00 s021-01 nontarget\ns020-00 s099-01 nontarget\n")
    with pytest.raises(DataError, match=r"trials:2: id 's099-01' is not in the data directory"):
        problems_with()
    (test.path / "trials").write_text("s020-00 s021-01\n")
    with pytest.raises(DataError, match=r"trials:1: three fields are wanted"):
        problems_with()
    (test.path / "trials").write_text("s020-00 s021-01 nontarget\ns020-00 s020-01 target\n")
    alone = heard(write_set(tmp_path / "alone", range(5), 1), out)
    assert "training needs speakers with several utterances" in problems_with(alone)


def result(eer: float, spread: float = 0.03) -> Result:
    fields = dict.fromkeys(Record.__dataclass_fields__)
    fields |= {"trials": "x", "backend": "y", "num_target": 9, "num_nontarget": 9, "num_speakers": 5, "eer": eer}
    record = Record(**(fields | {"eer_ci": (eer - spread, eer + spread)}))  # type: ignore[arg-type]
    return Result(record, b"", None, Draws(np.empty(0), {}), np.empty(0), np.empty(0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "nonspeech, speech, difference, said",
    [
        (0.13, 0.12, (-0.01, 0.03), "must not be read as speaker recognition"),
        (0.14, 0.12, (0.01, 0.03), "must not be read as speaker recognition"),  # distinguishable, but as good
        (0.10, 0.20, (-0.15, -0.05), "must not be read as speaker recognition"),
        (0.20, 0.48, (-0.35, -0.2), "must not be read as speaker recognition"),
        (0.30, 0.20, (-0.02, 0.2), "must not be read as speaker recognition"),  # too few speakers to tell them apart
        (0.36, 0.23, (0.08, 0.16), "mostly voice, but the channel helps"),
        (0.44, 0.10, (0.30, 0.38), "mostly of voices"),
        (0.48, 0.10, (0.30, 0.45), "no leak of the channel is seen"),
        (0.49, 0.49, (-0.05, 0.05), "this check says nothing"),
    ],
)
def test_verdicts(nonspeech: float, speech: float, difference: tuple[float, float], said: str) -> None:
    leak = Leak(result(speech), result(nonspeech), difference, 100)
    assert said in leak.verdict
    assert leak.leaks == ("must not" in leak.verdict)


def test_few_speakers_exclude_nothing() -> None:
    verdict = Leak(result(0.1), result(0.42, 0.16), (0.1, 0.45), 100).verdict
    assert "cannot be told from chance" in verdict and "too few to exclude a leak" in verdict
