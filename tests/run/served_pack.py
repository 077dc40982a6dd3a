"""A pack that was trained, behind the server: what it answers is what the pack says, and makes sense."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import numpy as np
import soundfile
from numpy.typing import NDArray

import timbre
from tests.runtime.hum_voice import serving
from timbre.people.diarize import DiarizeOptions

RATE = 16000


def check_served(pack: Path, speakers: Mapping[str, Sequence[NDArray[np.float32]]], gallery: Path) -> None:
    """Verification, identification and diarization of two of SPEAKERS, by recordings of theirs, four or more each."""
    voice = timbre.load(pack)
    one, other = list(speakers)[:2]
    sounds = {
        "one1": speakers[one][:2], "one2": speakers[one][2:4], "other1": speakers[other][:2],
        "other2": speakers[other][2:4], "both": [*speakers[one][:2], *speakers[other][:2], *speakers[one][2:4]],
    }  # fmt: skip
    waves = {name: np.concatenate(parts) for name, parts in sounds.items()}
    files = {name: _wav(wave) for name, wave in waves.items()}
    with (
        serving(voice=voice, gallery=str(gallery)) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):

        def ask(path: str, *clips: tuple[str, str], **fields: str) -> dict:
            sent = [(field, (f"{name}.wav", files[name])) for field, name in clips]
            reply = client.post(f"/api/{path}", files=sent, data=fields)
            assert reply.status_code == 200, reply.text
            return reply.json()

        same, different = (ask("verify", ("enroll", "one1"), ("test", test)) for test in ("one2", "other1"))
        assert same["llr"] > 0 > different["llr"] and same["same"] is True and different["same"] is False
        for said, test in ((same, "one2"), (different, "other1")):
            own = voice.verify((waves["one1"], RATE), (waves[test], RATE))
            assert (said["llr"], said["probability"]) == (own.llr, own.probability)
        for name in (one, other):
            ask("people/enroll", ("clip", "one1" if name == one else "other1"), name=name)
        assert [ask("identify", ("clip", clip))["matches"][0][0] for clip in ("one2", "other2")] == [one, other]
        turns = ask("diarize", ("clip", "both"), speakers="2")["turns"]
        ends = np.cumsum([len(waves[name]) for name in ("one1", "other1", "one2")]) / RATE
        said_of = [_most_said(turns, begin, end) for begin, end in zip([0, *ends], ends, strict=False)]
        assert said_of[0] == said_of[2] != said_of[1]
        with voice.gallery(gallery) as people:
            own_turns = voice.diarize((waves["both"], RATE), people, DiarizeOptions(2))
        assert [turn["name"] for turn in turns] == [turn.name for turn in own_turns]


def _most_said(turns: Sequence[Mapping], begin: float, end: float) -> str:
    """The name that has the most of BEGIN to END."""
    shares: dict[str, float] = {}
    for turn in turns:
        share = min(end, turn["end"]) - max(begin, turn["start"])
        shares[turn["name"]] = shares.get(turn["name"], 0.0) + max(0.0, share)
    return max(shares, key=lambda name: shares[name])


def _wav(wave: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()
