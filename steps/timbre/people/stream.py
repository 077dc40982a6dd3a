"""Who speaks, said while they speak: turns with names, of blocks of audio. Called by Gallery.stream and serve/.

Windows of speech are embedded as soon as they are heard; the path through the people who may speak that explains the
windows best is decided as far back as the latency asks. Strangers are numbered, found again, and merged where two turn
out to be one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from timbre.people.likely_path import advance, likely_path, tempered
from timbre.people.people_heard import Entries, Heard, Model, Scores, Vectors, magnitudes_of, measures_of
from timbre.people.regrouping import Past
from timbre.people.speech_stream import Hears, SpeechStream
from timbre.people.stream_options import StreamOptions
from timbre.runtime.silero import SileroVad
from timbre.runtime.spans import WindowOptions
from timbre.runtime.turns import Turn

_BANDS = 20  # last windows whose mean band counts
_LONGEST = 10.0  # seconds of a turn that are embedded as one
_AGAIN = 3.0  # seconds after which this is done again
_SURER = 1.0  # how much more likely another person must be, as a log odds ratio, for a turn to be corrected
_WORTH = 2.0  # what a window tells, as a multiple of its new part
_SPOILT = 0.05  # probability that a window is not of one speaker, or of none
_BACK = 12  # windows that are looked at again, once decided on: the one who goes on may have begun in them


class Embeds(Hears, Protocol):
    """What is needed of the Encoder of a pack."""

    def windows(self, samples: NDArray[np.float32], spans: Sequence[tuple[int, int]]) -> Vectors:
        """Embeddings (n, D) of spans of samples."""

    def band(self, samples: NDArray[np.float32]) -> float | None:
        """Power above 4 kHz in dB; None where the features do not go so high."""


@dataclass
class _Window:
    """Stands for the time around CENTRE; stretch: the speech that this lies in, as far as it is heard; span: what the
    vector (D,) is of; known: log-likelihood ratios for the people of the gallery. Without vector it is silence."""

    centre: float
    stretch: tuple[float, float] = (0.0, 0.0)
    span: tuple[float, float] = (0.0, 0.0)
    vector: Vectors | None = None
    known: NDArray[np.float64] | None = None

    @property
    def seconds(self) -> float:
        return self.span[1] - self.span[0]


@dataclass
class _Said:
    """A turn as it was said last, and of whom; model: what was known of a stranger before; checked: up
    to where its whole was compared with everybody; pending: windows that its stranger is to be learnt from."""

    turn: Turn
    person: int
    model: Model | None
    checked: float
    pending: list[_Window] = field(default_factory=list)


@dataclass
class Stream:
    """Listens to blocks of audio at RATE, and says who speaks.

    encoder, scorer: of a pack; vad: the network VAD (None: that of the pack, by energy); gallery: who may speak by
    name. What is said does not depend on how the audio is cut into blocks.
    """

    encoder: Embeds
    scorer: Scores
    rate: int
    gallery: Entries | None = None
    vad: SileroVad | None = None
    options: StreamOptions = field(default_factory=StreamOptions)
    _windows: list[_Window] = field(default_factory=list, init=False)
    _said: dict[int, _Said] = field(default_factory=dict, init=False)
    _open: _Said | None = field(default=None, init=False)
    _tail: list[_Window] = field(default_factory=list, init=False)  # the last that were decided on
    _before: dict[int | None, float] = field(default_factory=dict, init=False)  # log probabilities before these
    _bands: list[float | None] = field(default_factory=list, init=False)  # of the last windows
    _became: dict[int, int] = field(default_factory=dict, init=False)  # who turned out to be whom at the last end
    _number: int = field(default=0, init=False)
    _next: int = field(default=0, init=False)  # window, by its place on the grid

    def __post_init__(self) -> None:
        options = self.options
        self._past = Past(options.past)
        self.heard = Heard(self.scorer, self.gallery, options.most_strangers)
        spans = WindowOptions(max_gap=0.3, min_segment=0.2)
        keep = _LONGEST + options.latency + options.window
        self._speech = SpeechStream(self.encoder, self.rate, self.vad, keep, spans)

    @property
    def seconds(self) -> float:
        """How much has been heard."""
        return self._speech.heard

    def push(self, block: NDArray[Any]) -> list[Turn]:
        """Takes the next samples (N,), float in [-1, 1] or integers; the turns that there is something to say of.

        Raises:
            DataError: several channels, or numbers that are not finite
        """
        return self._feed(block, False)

    def finish(self) -> list[Turn]:
        """The audio has ended; what there is still to say."""
        return self._feed(np.zeros(0, np.float32), True)

    def _feed(self, block: NDArray[Any], last: bool) -> list[Turn]:
        said: list[Turn] = []
        for _ in self._speech.feed(block, last):
            while self._centre + self.options.ahead <= self._speech.heard:
                said += self._step(self._speech.heard)
        if last:
            while self._centre < self._speech.heard:
                said += self._step(self._speech.heard)
            while self._windows:
                said += self._decide()
            said += self._end()
        return said

    @property
    def _centre(self) -> float:
        """Of the window that comes next."""
        return (self._next + 0.5) * self.options.hop

    def _step(self, heard: float) -> list[Turn]:
        """Embeds the next window, and decides on the one that the latency asks for."""
        self._windows.append(self._embed(self._centre, heard))
        self._next += 1
        return self._decide() if len(self._windows) > self.options.lag else []

    def _embed(self, centre: float, heard: float) -> _Window:
        window, ahead = self.options.window, self.options.ahead
        stretch = next(((start, end) for start, end in self._speech.speech() if start <= centre < end), None)
        if stretch is None:
            return _Window(centre)
        end = min(stretch[1], max(centre + ahead, stretch[0] + window), heard)
        start = max(stretch[0], end - window)
        samples = self._speech.audio(start, end)
        vector = self.encoder.windows(samples, [(0, len(samples))])[0]
        self._bands = [*self._bands[1 - _BANDS :], self.encoder.band(samples)]
        bands = [band for band in self._bands if band is not None]
        self.heard.common = {"snr": self._speech.snr, **({"band": float(np.mean(bands))} if bands else {})}
        known = self.heard.known_llr(vector[None], np.array([end - start]))[:, 0]
        return _Window(centre, stretch, (start, end), vector, known)

    def _decide(self) -> list[Turn]:
        """On the oldest window that there is no decision on."""
        window, open_ = self._windows[0], self._open
        if window.vector is None:
            self._windows.pop(0)
            return self._end() if open_ and window.centre - open_.turn.end > self.options.max_gap else []
        windows = [*self._tail, *(one for one in self._windows if one.vector is not None)]
        place = len(self._tail)
        path = self._path(windows)
        person, run = path[place], [place]
        while run[-1] + 1 < len(path) and path[run[-1] + 1] == person:
            run.append(run[-1] + 1)
        while run[0] and path[run[0] - 1] == person:
            run.insert(0, run[0] - 1)
        self._windows.pop(0)
        self._tail.append(window)
        first = windows[run[0]].centre
        if person is None:
            run = self._alike(windows, run)
            if open_ and window.stretch[0] <= open_.turn.end and (place not in run or len(run) < 2):
                open_.turn = replace(open_.turn, end=self._end_of(window))  # as long as it is not clear who it is
                return []
        if person is not None and open_ and open_.person == person:
            open_.turn = replace(open_.turn, end=self._end_of(window))
            self._learn(open_, window)
            at_end = self.options.window / 3
            if open_.turn.end - open_.checked < _AGAIN:
                return []
            return [*self._reconsider(open_, at_end), *self._regroup(open_, at_end, False)]
        return self._begin(person, [windows[one] for one in run], window, first)

    def _alike(self, windows: Sequence[_Window], run: Sequence[int]) -> list[int]:
        """The end of RUN, windows of nobody who is known, that is of one person; two may speak in those before it."""
        vectors = np.stack([one.vector for one in (windows[place] for place in run) if one.vector is not None])
        seconds = np.array([windows[place].seconds for place in run])
        last = vectors[-1], measures_of(seconds[-1:], magnitudes_of(vectors[-1:]), self.heard.common)[0]
        llr = self.heard.llr_of(last, vectors, seconds)
        others = np.flatnonzero(llr[:-1] <= 0)
        return list(run[others[-1] + 1 if len(others) else 0 :])

    def _begin(self, person: int | None, run: Sequence[_Window], window: _Window, first: float) -> list[Turn]:
        """Another turn, which WINDOW is in; RUN: windows of the same PERSON, some decided on already; FIRST: the time
        of the first that is not of the one before: the change is half way between."""
        hop = self.options.hop
        start = window.stretch[0] if window.centre - window.stretch[0] < hop else window.centre - hop / 2
        said: list[Turn] = []
        if (open_ := self._open) and start - open_.turn.end < hop / 4 and first < window.centre:
            start = max(min(start, (first + run[0].centre - hop) / 2), open_.turn.start + hop)
            open_.turn = replace(open_.turn, end=min(open_.turn.end, start))
        vectors = np.stack([one.vector for one in run if one.vector is not None])
        model = None
        if person is None:
            person = self.heard.meet(vectors[-1], window.seconds, window.centre)
            if self._before:  # so far the path of somebody new was hers
                self._before[person], self._before[None] = self._before[None], min(self._before.values())
        elif stranger := self.heard.strangers.get(person):
            model = stranger.model
        if open_:
            self._became.clear()
            said = self._end(person if start - open_.turn.end < hop else None)
            while person in self._became:  # by what was heard of the turn before
                person = self._became[person]
        self.heard.see(person, window.centre)
        self._number += 1
        turn = Turn(
            start, self._end_of(window), self.heard.name(person), number=self._number, known=person >= 0, going_on=True
        )
        if person >= 0 and window.known is not None:
            turn = replace(turn, llr=float(window.known[person]))
        self._open = _Said(turn, person, model, start)
        return [*said, turn]

    def _end_of(self, window: _Window) -> float:
        hop = self.options.hop
        return window.stretch[1] if window.stretch[1] - window.centre < hop else window.centre + hop / 2

    def _learn(self, said: _Said, window: _Window) -> None:
        """From windows that are of the turn as a whole: by now it is known that it goes on to their end."""
        self.heard.see(said.person, window.centre)
        said.pending.append(window)
        while said.pending and said.pending[0].span[1] <= said.turn.end:
            one = said.pending.pop(0)
            if one.span[0] >= said.turn.start and one.vector is not None:
                self.heard.learn(said.person, one.vector, self.options.hop)

    def _path(self, windows: Sequence[_Window]) -> list[int | None]:
        """Who speaks in each of WINDOWS, which are none of silence; None: somebody new."""
        options = self.options
        vectors = np.stack([one.vector for one in windows if one.vector is not None])
        known = np.stack([one.known for one in windows if one.known is not None])  # (T, N)
        strangers = self.heard.stranger_llr(vectors, np.array([one.seconds for one in windows]))
        llr = np.concatenate([known, strangers.T, np.zeros((len(windows), 1))], axis=1)
        llr = tempered(llr, _WORTH * options.hop / options.window, _SPOILT)
        people: list[int | None] = [*self.heard.people(), None]
        prior = self.heard.log_prior()
        gaps = np.diff([one.centre for one in windows], prepend=windows[0].centre)
        changes = np.where(gaps > 1.5 * options.hop, 0.5, options.change)
        first = prior + np.log(options.change)
        if self._before:
            nobody = self._before[None]
            first = np.array([self._before.get(one, nobody) for one in people])
        path = [people[one] for one in likely_path(first, llr, prior, changes)]
        if len(self._tail) >= _BACK:
            after, _ = advance(first, llr[0], prior, float(changes[0]))
            self._before = dict(zip(people, after - after.max(), strict=True))
            self._tail.pop(0)
        return path

    def _end(self, follower: int | None = None) -> list[Turn]:
        """The turn that is going on has ended; FOLLOWER: who goes on at once."""
        if self._open is None:
            return []
        said, self._open = self._open, None
        said.turn = replace(said.turn, going_on=False, corrects=False)
        self._said[said.turn.number] = said
        if len(self._said) > self.options.history:
            del self._said[next(iter(self._said))]
        turn = said.turn
        if (
            follower is not None
            and said.person < 0
            and said.model is None
            and turn.end - turn.start < self.options.window
        ):
            self.heard.dismiss(said.person)  # nobody: the end of one turn and the beginning of another in one window
            return [self._rename(said, follower, None)]
        at_end = 0.0 if follower is None else self.options.window / 3
        changed = [*self._reconsider(said, at_end), *self._regroup(said, at_end, True)]
        if said.turn not in changed:
            changed.append(said.turn)
        return changed

    def _reconsider(self, said: _Said, at_end: float = 0.0) -> list[Turn]:
        """Compares all that was heard of a turn, but so many seconds AT its END, with everybody; the turns that get
        another name by it."""
        turn = said.turn
        said.checked = turn.end
        samples = self._speech.audio(max(turn.start, turn.end - _LONGEST), turn.end - at_end)
        seconds = np.array([len(samples) / self.encoder.rate])
        if seconds[0] < self.options.window / 2:
            return []
        vector = self.encoder.windows(samples, [(0, len(samples))])
        people, prior = self.heard.people(), self.heard.log_prior()
        if said.person not in people:
            return []  # a stranger whom so many others made forgotten meanwhile
        llr = np.append(self.heard.llr(vector, seconds)[:, 0], 0.0)
        here, new = people.index(said.person), len(people)
        if said.person < 0:  # as before the turn: it is in the model by now
            llr[here] = 0.0 if said.model is None else float(self.heard.llr_of(said.model, vector, seconds)[0])
        own = float(llr[here]) if said.person >= 0 or said.model else float("nan")
        said.turn = replace(turn, llr=own)
        is_new = said.person < 0 and said.model is None
        if is_new:
            prior[here] = prior[new]
        odds = llr + prior
        best = int(odds.argmax())
        if best != here and not (is_new and best == new) and odds[best] > odds[here] + _SURER:
            if best == new:
                return [self._rename(said, self.heard.meet(vector[0], float(seconds[0]), turn.end), None)]
            if is_new:
                return self._merge(said.person, people[best])
            return [self._rename(said, people[best], float(llr[best]))]
        return []

    def _regroup(self, said: _Said, at_end: float, is_over: bool) -> list[Turn]:
        """Looks at all of the last turns together, SAID but for so many seconds AT its END; those that get another
        name by it."""
        turn = said.turn
        spans = self._past.spans(turn.number, turn.start, turn.end - at_end, is_over)
        if not spans:
            return []
        samples = self._speech.audio(spans[0][0], spans[-1][1])
        edges = [tuple(round((time - spans[0][0]) * self.encoder.rate) for time in span) for span in spans]
        vectors = self.encoder.windows(samples, [(start, min(end, len(samples))) for start, end in edges])
        self._past.add(turn.number, vectors, [end - start for start, end in spans])
        listed = {one.turn.number: one for one in (*self._said.values(), *([self._open] if self._open else []), said)}
        before = {number: one.person for number, one in listed.items()}
        found = self._past.regroup(self.heard, before, turn.end)
        changed = [
            self._rename(listed[number], person, None)
            for number, person in found.items()
            if number in listed and before[number] != person
        ]
        for person in {before[number] for number in found if number in before} & set(self.heard.strangers):
            if person not in found.values():  # all that is known to be of this one is somebody else's
                now = [found[number] for number, one in before.items() if one == person and number in found]
                changed += self._merge(person, max(now, key=now.count))
        return changed

    def _merge(self, person: int, into: int) -> list[Turn]:
        """All turns of the stranger PERSON are of INTO."""
        self.heard.merge(person, into)
        self._became[person] = into
        if person in self._before:
            self._before[into] = max(self._before.pop(person), self._before.get(into, -np.inf))
        listed = [*self._said.values(), *([self._open] if self._open else [])]
        return [self._rename(one, into, one.turn.llr) for one in listed if one.person == person]

    def _rename(self, said: _Said, person: int, llr: float | None) -> Turn:
        self.heard.see(person, said.turn.end)
        value = float("nan") if llr is None else llr
        said.person = person
        said.turn = replace(said.turn, name=self.heard.name(person), known=person >= 0, llr=value, corrects=True)
        return said.turn


def follow(stream: Stream, blocks: Iterable[NDArray[Any]]) -> Iterator[Turn]:
    """The turns of BLOCKS, said as they come."""
    for block in blocks:
        yield from stream.push(block)
    yield from stream.finish()


def last_said(turns: Iterable[Turn]) -> list[Turn]:
    """What remains of TURNS when each replaces the one with its number: the turns by time."""
    found = {turn.number: turn for turn in turns}
    return sorted(found.values())
