"""A voice of made people (made_people.py) with the API of a pack's, and a server of it: for tests of the page."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import uvicorn

from tests.runtime.made_people import HumEncoder, HumScorer
from timbre.people.people_heard import llr_matrix
from timbre.runtime.answers import Identified, Verdict
from timbre.runtime.sound import Sound
from timbre.serve.connections import configured
from timbre.serve.limits import Limits
from timbre.serve.server import Server
from timbre.utils.errors import DataError

MEASURES = {"logdur": 1.0, "snr": 30.0, "band": -3.0, "magnitude": 0.0}


def _rate(errors: int, trials: int) -> dict[str, Any]:
    share = errors / trials
    return {"rate": share, "errors": errors, "trials": trials, "low": share / 2, "high": min(1.0, 2 * share + 0.001)}


POINTS = [
    {"kind": "prior", "value": prior, "threshold": float(-np.log(prior / (1 - prior))), "enough": "yes"}
    | {"miss": _rate(miss, 1000), "false_alarm": _rate(false, 10000)}
    for prior, miss, false in ((0.5, 20, 150), (0.1, 45, 40), (0.01, 110, 6))
]


@dataclass
class HumGalleryFile:
    """People by name, as long as the test lasts."""

    voice: "HumVoice"
    vectors: dict[str, list[Any]] = field(default_factory=dict)

    def enroll(self, name: str, sources: Sequence[Sound], keep: str = "none") -> None:
        self.vectors.setdefault(name, []).extend(self.voice.vector(one) for one in sources)

    def identify(self, source: Sound, prior: float = 0.5) -> Identified:
        try:
            vector = self.voice.vector(source)
        except DataError as error:
            return Identified(None, reason=str(error))
        names, means, num_utts, measures = self.entries()
        if not names:
            return Identified(None, reason="nobody is enrolled")
        llr = llr_matrix(self.voice.scorer, (means, num_utts, measures), (vector[None], [MEASURES]))[:, 0]
        order = np.argsort(-llr)
        matches = [(names[one], float(llr[one]), float(1 / (1 + np.exp(-llr[one])))) for one in order[:5]]
        best = matches[0]
        return Identified(best[0] if best[1] > 0 else None, best[1], best[2], None, matches)

    def entries(self) -> tuple[list[str], Any, Any, list[dict[str, float]]]:
        names = sorted(self.vectors)
        means = [np.mean(self.vectors[name], axis=0) for name in names]
        numbers = np.array([len(self.vectors[name]) for name in names], np.int64)
        return (
            names,
            np.stack(means) if names else np.zeros((0, 40), np.float32),
            numbers,
            [MEASURES] * len(names),
        )

    def rename(self, name: str, new: str) -> None:
        if name not in self.vectors:
            raise DataError(f"nobody is called '{name}'")
        self.vectors[new] = self.vectors.pop(name)

    def remove(self, name: str) -> None:
        if name not in self.vectors:
            raise DataError(f"nobody is called '{name}'")
        del self.vectors[name]

    def export(self, path: Path) -> None:
        path.write_text("\n".join(sorted(self.vectors)))

    def close(self) -> None:
        pass


class HumVoice:
    """What `timbre.load` gives."""

    def __init__(self) -> None:
        self.encoder, self.scorer = HumEncoder(), HumScorer()
        card = {"trained on": "people who hum", "licence": "Apache-2.0"}
        settings = {"name": "humming", "points": POINTS, "min_speech": 1.0, "card": card, "files": {}}
        self.pack = SimpleNamespace(settings=settings, path=Path("humming.timbre"))

    def vector(self, clip: Sound) -> Any:
        if len(clip.samples) < clip.rate:
            raise DataError(f"only {len(clip.samples) / clip.rate:.2f} s of speech is found, 1 s is needed", clip.name)
        return self.encoder.windows(clip.samples, [(0, len(clip.samples))])[0]

    def verify(self, enroll: Sequence[Sound], test: Sound, prior: float = 0.5, far: float | None = None) -> Verdict:
        try:
            model, vector = np.mean([self.vector(one) for one in enroll], axis=0), self.vector(test)
        except DataError as error:
            return Verdict(None, None, None, None, str(error), prior=prior)
        score = self.scorer.score(model[None], np.ones(1, np.int64), vector[None])
        llr = float(np.clip(self.scorer.llr(score.ravel(), [MEASURES], [MEASURES])[0], -7, 7))
        threshold = float(-np.log(prior / (1 - prior)))
        probability = float(1 / (1 + np.exp(-llr + threshold)))
        seconds = (len(enroll[0].samples) / enroll[0].rate, len(test.samples) / test.rate)
        warnings = ("0.2 % of the samples are clipped",) if float(np.abs(test.samples).max()) > 0.99 else ()
        return Verdict(llr >= threshold, llr, probability, threshold, None, seconds, None, warnings, prior)

    def gallery(self, path: str) -> HumGalleryFile:
        return HumGalleryFile(self)


@contextmanager
def serving(
    limits: Limits = Limits(),
    gallery: str | None = "people.db",
    host: str = "127.0.0.1",
    token: str | None = None,
    voice: HumVoice | None = None,
) -> Iterator[str]:
    """A server in a thread, started for HOST; its address."""
    server = Server(voice or HumVoice(), gallery, limits)
    config = configured(server.app(host, token), "127.0.0.1", 0, limits)
    socket = config.bind_socket()
    socket.listen()
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [socket]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(20)
