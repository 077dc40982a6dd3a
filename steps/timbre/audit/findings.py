"""What is wrong with a corpus: faults of audio, of speakers, and of how its sets were told apart. For audit_data.py."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from timbre.audit.audited import AuditedSet
from timbre.datadir.contents import is_trials
from timbre.datadir.trials import read_trials
from timbre.utils.errors import DataError

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Limits:
    """From where on something is a finding.

    Args:
        min_seconds: shorter utterances are too short
        min_level: utterances of a lower level are near-silent, in dBFS (root mean square)
        max_clipped: share of the samples of an utterance that may be clipped, in runs of three or more at full scale
        max_zeros: share of them that may be exactly zero
        max_dc: mean of the samples, 1 being full scale, that an utterance may have
        examples: how many are listed of each finding, the worst first
    """

    min_seconds: float = 0.5
    min_level: float = -55.0
    max_clipped: float = 0.001
    max_zeros: float = 0.5
    max_dc: float = 0.02
    examples: int = 10

    def __post_init__(self) -> None:
        if self.examples < 0 or not (0 <= self.max_clipped <= 1 and 0 <= self.max_zeros <= 1):
            raise DataError("limits: shares lie between 0 and 1, and examples is not negative")


@dataclass(frozen=True)
class Finding:
    """COUNT of TOTAL things, of SETS, have the fault KIND; serious: results cannot be believed before it is mended."""

    kind: str
    serious: bool
    sets: str
    count: int
    total: int
    what: str
    advice: str
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.kind} in {self.sets}: {self.count:,} of {self.total:,} {self.what}"


class _Check(NamedTuple):
    """A fault of single utterances: which have it (N,), the rank of each (N,), the worst lowest, the figure of one."""

    kind: str
    serious: bool
    which: Bools
    rank: NDArray[Any]
    what: str
    advice: str
    figure: Callable[[int], str]


def find_all(
    train: AuditedSet, tests: Sequence[AuditedSet], limits: Limits, is_wrong_rate: Callable[[int], bool]
) -> list[Finding]:
    """Every finding, the serious ones first.

    Args:
        train: the training set
        tests: the test sets
        limits: what is a finding
        is_wrong_rate: whether audio of a rate in Hz cannot be used as it is
    """
    found: list[Finding] = []
    for test in tests:
        found += _between(train, test, limits.examples)
        found += _in_trials(test, limits.examples)
    for audited in (train, *tests):
        found += _of_audio(audited, limits, is_wrong_rate)
        found += _repeated(audited, limits.examples)
        found += _of_speakers(audited, limits.examples)
    return sorted(found, key=lambda finding: not finding.serious)


def _between(train: AuditedSet, test: AuditedSet, examples: int) -> Iterator[Finding]:
    """What a test set must not have in common with the training set."""
    sets = f"{train.name} and {test.name}"
    shared = sorted(set(train.speakers) & set(test.speakers))
    if shared:
        counts = [dict(zip(part.speakers, part.utts_of().tolist(), strict=True)) for part in (train, test)]
        yield Finding(
            "speaker overlap",
            True,
            sets,
            len(shared),
            len(test.speakers),
            f"speakers of {test.name} are speakers of {train.name} too",
            f"take them out of {train.name}: steps/subset_data_dir.py --spk-list with the speakers to keep",
            [
                f"{spk}: {counts[0][spk]} utterances in {train.name}, {counts[1][spk]} in {test.name}"
                for spk in shared[:examples]
            ],
        )
    same = np.isin(test.table.content, train.table.content[train.table.content != 0])
    if same.any():
        rows = np.flatnonzero(same)
        yield Finding(
            "duplicate audio",
            True,
            sets,
            len(rows),
            len(test.table),
            f"utterances of {test.name} have the samples of one of {train.name}",
            f"take these out of {train.name}, and find out how they came to be in both",
            [
                f"{_named(test, row)} is {_named(train, _first_like(test, row, train))}"
                for row in rows[:examples].tolist()
            ],
        )
    if train.data.segments or test.data.segments:
        paths = set(train.table.path)
        rows = np.flatnonzero(np.array([path in paths for path in test.table.path], bool) & ~same)
        if len(rows):
            yield Finding(
                "shared recording",
                True,
                sets,
                len(rows),
                len(test.table),
                f"utterances of {test.name} are cut from a recording that {train.name} has parts of too",
                "divide the corpus by recordings (better, by speakers), not by segments",
                [_named(test, row) for row in rows[:examples].tolist()],
            )


def _in_trials(test: AuditedSet, examples: int) -> Iterator[Finding]:
    """Trials whose two sides are the same samples: no voice has to be known to accept them."""
    content = dict(zip(test.table.utts, test.table.content.tolist(), strict=True))
    for path in sorted(path for path in test.data.path.iterdir() if is_trials(path.name)):
        trials = read_trials(path)
        enroll, test_side = (
            np.array([content.get(name, 0) for name in ids], np.uint64) for ids in (trials.enroll_ids, trials.test_ids)
        )
        same = enroll[trials.enroll]
        rows = np.flatnonzero((same == test_side[trials.test]) & (same != 0))
        if len(rows):
            yield Finding(
                "same audio on both sides",
                False,
                test.name + path.name.removeprefix("trials"),
                len(rows),
                len(trials),
                f"trials have the same samples on both sides, {int(trials.target[rows].sum()):,} of them target trials",
                "make the list anew without the copies: each is an error less for any system",
                [trials.name(row) for row in rows[:examples].tolist()],
            )


def _of_audio(audited: AuditedSet, limits: Limits, is_wrong_rate: Callable[[int], bool]) -> Iterator[Finding]:
    """Faults of single utterances."""
    table, readable = audited.table, audited.table.readable
    rates, place = np.unique(table.rate, return_inverse=True)
    wrong_rate = np.array([is_wrong_rate(int(rate)) for rate in rates], bool)[place] & readable
    seconds, level, silent = table.seconds, table.level, (table.speech == 0) & (table.seconds >= limits.min_seconds)
    quiet = (level < limits.min_level) & readable
    checks = [
        _Check(
            "unreadable",
            True,
            ~readable,
            np.arange(len(table)),
            "utterances cannot be read",
            "mend or remove the files; steps/fix_data_dir.py removes what is not there",
            lambda row: table.problem[row],
        ),
        _Check(
            "wrong sample rate",
            True,
            wrong_rate,
            table.rate,
            "utterances have another rate than the features want",
            "resample with steps/preprocess_audio.py; what was recorded at a lower rate lacks its upper band for good",
            lambda row: f"{table.rate[row]} Hz",
        ),
        _Check(
            "too short",
            False,
            (seconds < limits.min_seconds) & readable,
            seconds,
            f"utterances are shorter than {limits.min_seconds:g} s",
            "leave them out of training; in a trial list, report them apart",
            lambda row: f"{seconds[row]:.2f} s",
        ),
        _Check(
            "near-silent",
            False,
            quiet,
            level,
            f"utterances have a level below {limits.min_level:g} dBFS",
            "listen to some; leave out what has no speech",
            lambda row: f"{level[row]:.0f} dBFS",
        ),
        _Check(
            "no speech found",
            False,
            silent & readable & ~quiet,
            level,
            "utterances have no frame of speech by the energy VAD",
            "listen to some: noise throughout, or speech without a pause that the VAD has to be tuned for",
            lambda row: f"{level[row]:.0f} dBFS",
        ),
        _Check(
            "clipped",
            False,
            table.clipped > limits.max_clipped,
            -table.clipped,
            f"utterances have more than {100 * limits.max_clipped:g} % of their samples in runs at full scale",
            "record or convert again with less gain; a whole speaker or set that is clipped tells its speakers apart",
            lambda row: f"{100 * table.clipped[row]:.2f} %",
        ),
        _Check(
            "digital silence",
            False,
            (table.zeros > limits.max_zeros) & readable & ~quiet,
            -table.zeros,
            f"utterances consist of zeros by more than {100 * limits.max_zeros:g} %",
            "gated or padded audio: trim it, the same way in all sets",
            lambda row: f"{100 * table.zeros[row]:.0f} %",
        ),
        _Check(
            "offset",
            False,
            np.abs(table.dc) > limits.max_dc,
            -np.abs(table.dc),
            f"utterances have a mean beyond {100 * limits.max_dc:g} % of full scale",
            "high-pass with steps/preprocess_audio.py --bandpass.low 20; the offset is the recorder's mark",
            lambda row: f"{100 * table.dc[row]:+.1f} %",
        ),
    ]
    for check in checks:
        rows = np.flatnonzero(check.which)
        if len(rows):
            rows = rows[np.argsort(check.rank[rows], kind="stable")][: limits.examples]
            listed = [f"{_named(audited, row)}: {check.figure(row)}" for row in rows.tolist()]
            count = int(np.count_nonzero(check.which))
            yield Finding(check.kind, check.serious, audited.name, count, len(table), check.what, check.advice, listed)


def _repeated(audited: AuditedSet, examples: int) -> Iterator[Finding]:
    """The same samples more than once in a set."""
    content = audited.table.content
    order = np.argsort(content, kind="stable")
    ranked, speaker = content[order], audited.speaker[order]
    again = np.flatnonzero((ranked[1:] == ranked[:-1]) & (ranked[1:] != 0)) + 1
    if not len(again):
        return
    # a group of equal ones has its speakers compared neighbour by neighbour: any difference shows somewhere
    others = int(np.count_nonzero(speaker[again] != speaker[again - 1]))
    labels = f", {others:,} of them under another speaker" if others else ""
    yield Finding(
        "repeated audio",
        False,
        audited.name,
        len(again),
        len(content),
        f"utterances repeat the samples of another of the set{labels}",
        "keep one of each; where two speakers have the same audio, one label is wrong",
        [f"{_named(audited, int(order[row]))} is {_named(audited, int(order[row - 1]))}" for row in again[:examples]],
    )


def _of_speakers(audited: AuditedSet, examples: int) -> Iterator[Finding]:
    """Speakers that cannot teach, or test, what differs between two recordings of a voice."""
    utts, sessions = audited.utts_of(), audited.sessions_of()
    single = np.flatnonzero(utts == 1)
    if len(single):
        yield Finding(
            "one utterance",
            False,
            audited.name,
            len(single),
            len(utts),
            "speakers have a single utterance",
            "they teach what speakers have apart, but not what a speaker's utterances have in common; in a test set, "
            "they are in no target trial",
            [audited.speakers[row] for row in single[:examples]],
        )
    if sessions is None:
        return
    alone = np.flatnonzero((sessions == 1) & (utts > 1))
    if len(alone):
        yield Finding(
            "one session",
            False,
            audited.name,
            len(alone),
            len(utts),
            "speakers have all their utterances in a single session",
            "room and microphone tell these speakers apart too: see the channel-leak check; record them again, or "
            "use augmentation",
            [f"{audited.speakers[row]}: {utts[row]} utterances" for row in alone[:examples]],
        )


def _named(audited: AuditedSet, row: int) -> str:
    return f"{audited.table.utts[row]} ({audited.table.path[row]})"


def _first_like(test: AuditedSet, row: int, train: AuditedSet) -> int:
    return int(np.argmax(train.table.content == test.table.content[row]))
