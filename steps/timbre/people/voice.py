"""A pack at work, `timbre.load(PATH)`: verification, embeddings, galleries, who speaks when. The API, in one class.

Its page is the README of this folder. Sources are paths, open files, "-" (standard input) or (samples, rate).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from timbre.people.gallery import Gallery, as_list
from timbre.runtime.answers import SAME_SAMPLES, Verdict
from timbre.runtime.encoder import Encoder
from timbre.runtime.logistic import expit, logit
from timbre.runtime.pack_file import PackFile
from timbre.runtime.scorer import Scorer
from timbre.runtime.sound import read_sound
from timbre.runtime.tested_ranges import outside
from timbre.utils.errors import DataError


def load(path: str | Path, threads: int = 1, variant: str = "fp32") -> "Voice":
    """The voice in the pack PATH, a folder or a .timbre file; THREADS for its network, VARIANT fp32, int8 or fp16.

    Raises:
        DataError: no pack, or a damaged one
    """
    pack = PackFile.open(path)
    return Voice(pack, Encoder(pack, threads, variant), Scorer.of(pack), read_sound)


@dataclass(frozen=True)
class Voice:
    """A pack with its encoder (from sound to embeddings) and scorer (from embeddings to decisions)."""

    pack: Any
    encoder: Any
    scorer: Scorer
    read: Callable[..., Any]

    @property
    def network(self) -> str:
        """The checksum of what makes its embeddings."""
        return str(self.pack.network_checksum)

    def hear(self, source: Any, rate: int | None = None) -> tuple[Any, Any]:
        """The sound SOURCE and its encoding; raises as `embed`."""
        if rate is not None:
            source = (np.asarray(source), rate)
        sound = source if hasattr(source, "samples") else self.read(source)
        return sound, self.encoder(sound)

    def embed(self, source: Any, rate: int | None = None) -> Any:
        """The Encoding of SOURCE, or of samples (N,), in [-1, 1) or integers, at RATE Hz: vector (D,), seconds, speech.

        Raises:
            Unusable: too little speech, constant, ruined by clipping
            DataError: it cannot be read, or is empty
        """
        return self.hear(source, rate)[1]

    def verify(self, enroll: Any, test: Any, prior: float = 0.5, far: float | None = None) -> Verdict:
        """Whether TEST is of the speaker of ENROLL.

        Args:
            enroll: a recording, or several of one speaker
            test: a recording
            prior: how probable it was, before listening, that they are of one speaker
            far: instead take the threshold at which the pack expects this false-alarm rate

        Raises:
            DataError: one cannot be read, or a prior or rate that makes no sense. What can be read but not used
                gives a verdict without an answer
        """
        threshold, point = self.scorer.threshold(prior, far)
        encoded, reasons = [], []
        for source in (*(sources := as_list(enroll)), test):
            try:
                encoded.append(self.embed(source))
            except DataError as error:
                if error.status != 3:
                    raise
                reasons.append(str(error))
        if not sources:
            raise DataError("no recording to compare with")
        if reasons:
            return Verdict(None, None, None, None, "; ".join(reasons), prior=prior)
        *first, second = encoded
        llr = float(self.scorer.supported(self.compare(first, [second]))[0])
        warnings = [
            f"{item.name}: {text}"
            for item in encoded
            for text in (*item.warnings, *outside({"seconds": item.speech, **item.measures}, self.scorer.tested))
        ]
        if second.content and any(item.content == second.content for item in first):
            warnings.append(f"{second.name}: {SAME_SAMPLES}")
        seconds = float(sum(item.speech for item in first)), float(second.speech)
        probability = float(expit(np.array([llr + logit(prior)]))[0])
        return Verdict(llr >= threshold, llr, probability, threshold, None, seconds, point, tuple(warnings), prior)

    def compare(self, enroll: Sequence[Any], tests: Sequence[Any]) -> Any:
        """Log-likelihood ratios (N,) of encodings TESTS (N,) against ENROLL, one speaker's, however far from 0."""
        mean = np.mean([item.vector.astype(np.float64) for item in enroll], axis=0)[None].astype(np.float32)
        scores = self.scorer.score(mean, np.array([len(enroll)]), np.stack([item.vector for item in tests]))[0]
        measures = {name: float(np.mean([item.measures[name] for item in enroll])) for name in self.scorer.measures}
        return self.scorer.llr(scores, [measures] * len(tests), [item.measures for item in tests])

    def gallery(self, path: str | Path, create: bool = True, any_voice: bool = False) -> Gallery:
        """The people in the file PATH, made where there is none unless CREATE is False; raises as Gallery."""
        return Gallery(path, self, create, any_voice)

    def vad(self) -> Any:
        """The network VAD of the pack, where it has one; otherwise None."""
        if "silero_vad.onnx" not in self.pack.settings.get("files", {}):
            return None
        from timbre.runtime.silero import SileroVad

        return SileroVad(self.pack.bytes("silero_vad.onnx"))

    def diarize(self, source: Any, gallery: Gallery | None = None, options: Any = None) -> Sequence[Any]:
        """Who speaks when in SOURCE: turns by time, with the names of GALLERY; OPTIONS: DiarizeOptions."""
        from timbre.people.diarize import DiarizeOptions, diarize

        sound = source if hasattr(source, "samples") else self.read(source)
        chosen = DiarizeOptions() if options is None else options
        return diarize(sound.samples, sound.rate, self.encoder, self.scorer, gallery, self.vad(), chosen)
