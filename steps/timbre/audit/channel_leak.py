"""How well do frames without speech tell the speakers of a trial list apart? What they tell is the room and the
microphone, and a recogniser that does no better may have learnt these. Called by audit_data.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timbre.audit.audit_pass import KINDS
from timbre.audit.audited import AuditedSet
from timbre.backend.backends import CosineBackend
from timbre.backend.lda import compute_lda
from timbre.backend.scoring import score_pairs
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.vectors import Embeddings, Projection, read_sides
from timbre.datadir.contents import MODELS, Contents, is_trials
from timbre.datadir.tables import read_table
from timbre.datadir.trials import Trials, read_trials, write_scores
from timbre.evaluation.results import Evaluation, Interval, Result, percent, percent_interval
from timbre.evaluation.results_page import find_trials
from timbre.runtime.thresholds import interval
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_folder

CHANCE = 0.5
# shares of what speech tells that non-speech tells as well: from here on the two are called equal, equal if their
# difference may be nothing, and worth a warning
_AS_WELL, _MOSTLY, _PARTLY = 0.9, 0.5, 0.25
_CLOSE = 0.1  # an interval that begins farther below chance says little


@dataclass(frozen=True)
class LeakOptions:
    """How the two kinds of frames are compared.

    Args:
        min_frames: utterances with fewer frames of speech, or fewer without, are left out of both
        lda_dim: dimension that LDA leaves, at most the number of speakers less one
        draws: of speakers, for the intervals
        seed: of the draws
    """

    min_frames: int = 10
    lda_dim: int = 20
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.min_frames < 1:
            raise DataError(f"min_frames is {self.min_frames}; it must be at least 1")


@dataclass(frozen=True)
class Leak:
    """Error rates of a trial list by the frames of each kind; difference: 95 % interval of the EER of non-speech less
    that of speech, over the same draws; num_trials: of the list, of which those of too few frames are left out."""

    speech: Result
    nonspeech: Result
    difference: Interval | None
    num_trials: int

    @property
    def name(self) -> str:
        """Name of the trial list."""
        return self.speech.record.trials

    @property
    def num_used(self) -> int:
        """Trials that both were measured on."""
        return self.speech.record.num_target + self.speech.record.num_nontarget

    @property
    def num_left_out(self) -> int:
        """Trials with an utterance of too few frames."""
        return self.num_trials - self.num_used

    @property
    def share(self) -> float | None:
        """Of the way from chance (50 %) to the EER of speech, the part that non-speech goes; None: speech goes none."""
        gain = CHANCE - self.speech.record.eer
        return (CHANCE - self.nonspeech.record.eer) / gain if gain > 0 else None

    @property
    def leaks(self) -> bool:
        """Whether non-speech does about as well as speech, so that a low error rate says nothing of voices."""
        if self._at_chance(self.nonspeech):
            return False
        even = self.difference is not None and self.difference[0] <= 0
        return self.share is None or self.share >= (_MOSTLY if even else _AS_WELL)

    @property
    def verdict(self) -> str:
        """What the two mean, in a sentence."""
        if self._at_chance(self.speech) and self._at_chance(self.nonspeech):
            return "neither kind of frame tells these speakers apart, so this check says nothing."
        if self._at_chance(self.nonspeech):
            ends = self.nonspeech.record.eer_ci
            if ends is None or ends[0] < CHANCE - _CLOSE:
                return (
                    "the frames without speech cannot be told from chance, but the speakers are too few to exclude a "
                    "leak of the channel."
                )
            return "the frames without speech are at chance: no leak of the channel is seen."
        if self.leaks:
            return (
                "the frames without speech tell these speakers apart about as well as the speech does. Room and "
                "microphone give them away: a result on this list must not be read as speaker recognition."
            )
        if self.share is not None and self.share >= _PARTLY:
            return (
                "the frames without speech tell a part: mostly voice, but the channel helps. Compare systems on this "
                "list with care."
            )
        return "the frames without speech tell little: a result on this list is mostly of voices."

    @staticmethod
    def _at_chance(result: Result) -> bool:
        ends = result.record.eer_ci
        return result.record.eer >= CHANCE or (ends is not None and ends[1] >= CHANCE)

    def __str__(self) -> str:
        rates = [
            f"{kind} {percent(record.eer)} % {percent_interval(record.eer_ci)}"
            for kind, record in (("non-speech", self.nonspeech.record), ("speech", self.speech.record))
        ]
        return (
            f"{self.name}: EER by {', by '.join(rates)}, difference {percent_interval(self.difference)}: {self.verdict}"
        )


def measure_leaks(
    train: AuditedSet, tests: Sequence[AuditedSet], out_dir: Path, options: LeakOptions, nj: int
) -> tuple[list[Leak], list[str]]:
    """Both kinds of frames on every trial list of TESTS, and why a list could not be measured.

    An utterance is its features' means and deviations over the frames of the kind; LDA is trained on those of TRAIN,
    and trials are scored by cosine. Utterances of too few frames are left out of training and of the lists, for both
    kinds alike. OUT_DIR/<set>/{speech,nonspeech}.scp are what `audit_audio` wrote; lists and scores go to
    OUT_DIR/channel.

    Raises:
        DataError: a trial list is malformed, or names an utterance that is not in its set
    """
    folder, kept = out_dir / "channel", out_dir / "channel" / "lists"
    with atomic_folder(folder, "channel check", sign="../audit.json"):
        pass  # a new one, empty
    sizes: dict[str, int] = {}
    for test in tests:
        sizes |= _select(test, kept / test.name, options.min_frames)
    if not sizes:
        return [], ["no set but the training set has a trial list"]
    try:
        projections = {kind: _train(train, out_dir, kind, options) for kind in KINDS}
        lists = find_trials(kept)
    except DataError as error:
        return [], [f"not made: {error}"]
    leaks, problems = [], []
    for name, size in sizes.items():
        try:
            if name not in lists:
                raise DataError(f"no trial of it has {options.min_frames} frames of both kinds on both sides")
            speech, nonspeech = (
                _evaluate(lists[name], out_dir, folder / f"{name}.{kind}", projections[kind], options, nj)
                for kind in KINDS
            )
        except DataError as error:
            problems.append(f"{name} was not measured: {error}")
            continue
        leaks.append(Leak(speech, nonspeech, interval(nonspeech.draws.eer - speech.draws.eer), size))
    return leaks, problems


def enough_frames(audited: AuditedSet, min_frames: int) -> NDArray[np.bool_]:
    """(N,) which utterances of AUDITED have at least MIN_FRAMES frames of each kind."""
    enough: NDArray[np.bool_] = np.minimum(audited.table.speech, audited.table.nonspeech) >= min_frames
    return enough


def _select(test: AuditedSet, folder: Path, min_frames: int) -> dict[str, int]:
    """Writes the trial lists of TEST into FOLDER, without the utterances of too few frames; the sizes they had."""
    source = test.data.path
    names = sorted(path.name for path in source.iterdir() if is_trials(path.name))
    if not names:
        return {}
    tables = {name: read_table(source / name) for name in ("utt2spk", MODELS) if test.data.has(name)}
    lists = {name: read_trials(source / name) for name in names}
    models = tables.get(MODELS, {})
    for name, trials in lists.items():
        _check(source / name, trials, tables["utt2spk"], {**tables["utt2spk"], **models})
        if models:  # an enrolment id that is no model is an utterance: a model of itself
            tables[MODELS] = {utt: utt for utt in trials.enroll_ids} | tables[MODELS]
    rows = np.flatnonzero(enough_frames(test, min_frames))
    contents = Contents(tables, lists, {}).select({test.table.utts[row] for row in rows})
    if contents.trials and contents.utt2spk:
        contents.write(folder)
    return {test.name + name.removeprefix("trials"): len(trials) for name, trials in lists.items()}


def _check(path: Path, trials: Trials, test: dict[str, str], enroll: dict[str, str]) -> None:
    for ids, rows, known in ((trials.enroll_ids, trials.enroll, enroll), (trials.test_ids, trials.test, test)):
        for index, name in enumerate(ids):
            if name not in known:
                raise DataError(f"id '{name}' is not in the data directory", path, int(np.argmax(rows == index)) + 1)


def _train(train: AuditedSet, out_dir: Path, kind: str, options: LeakOptions) -> Projection:
    """The mean and LDA of the statistics of a KIND."""
    wanted = np.flatnonzero(enough_frames(train, options.min_frames)).tolist()
    if not wanted:
        raise DataError(f"no utterance has {options.min_frames} frames of both kinds", train.data.path)
    embeddings = Embeddings.read(out_dir / train.name / f"{kind}.scp")
    side = embeddings.take([train.table.utts[row] for row in wanted], train.name)
    speakers = [train.speakers[train.speaker[row]] for row in wanted]
    stats = SpeakerStats.collect(side.vectors, speakers, train.data.path / "utt2spk")
    dim = min(options.lda_dim, stats.num_speakers - 1, embeddings.dim)
    return Projection(stats.mean, compute_lda(stats.shifted(stats.mean), dim), "unit")


def _evaluate(
    trials: Path, out_dir: Path, scores: Path, projection: Projection, options: LeakOptions, nj: int
) -> Result:
    """Scores TRIALS by the statistics of a kind, the suffix of SCORES, and measures."""
    models = trials.with_name(MODELS)
    vectors = out_dir / trials.parent.name / f"{scores.suffix[1:]}.scp"
    trial_list = read_trials(trials)
    sides = read_sides(
        trial_list.enroll_ids, trial_list.test_ids, vectors, vectors, models if models.exists() else None
    )
    factors = CosineBackend(projection).factors(*sides)
    write_scores(scores, trial_list, score_pairs(factors, trial_list.enroll, trial_list.test, nj))
    return Evaluation(
        trials, scores, protocol="means and deviations of frames", num_draws=options.draws, seed=options.seed
    ).run(nj)
