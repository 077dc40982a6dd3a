#!/usr/bin/env python3
"""Who of a gallery speaks in a recording, or is it somebody else? An answer by a decision pack."""

import logging
import sys
from pathlib import Path

from timbre.utils.cli import run_step


def identify(
    recording: Path,
    gallery: Path,
    pack: Path = Path("exp/synth_ecapa128/decision"),
    prior: float = 0.5,
    top: int = 5,
    json: bool = False,
    device: str = "cpu",
) -> None:
    """Print the most probable speakers of GALLERY, and how probable it is that RECORDING is of none of them.

    Of a recording that verify.py would not decide on (too little speech, constant, ruined), nothing is said but why;
    exit status 3.

    Args:
        recording: audio of any format and sample rate
        gallery: what enroll_gallery.py wrote, with the same pack
        pack: the folder that make_decision_pack.py wrote
        prior: how probable it was, before listening, that it is one of them; 1 for a closed set
        top: how many to print
        json: print JSON
        device: cpu, cuda or cuda:N
    """
    from timbre.decision.audio_gallery import (  # torch takes seconds: not for --help
        AudioGallery,
        identify_recording,
        no_answer,
    )
    from timbre.decision.pack import DecisionPack
    from timbre.decision.verdict import embed_all, open_embedder

    packed = DecisionPack.read(pack)
    enrolled = AudioGallery.read(gallery, packed)
    items, unusable = embed_all(open_embedder(packed, device), [recording])
    if unusable:
        print(no_answer(str(recording), unusable[0], prior, json))
        sys.exit(unusable[0].status)
    answer = identify_recording(packed, enrolled, items[0], prior)
    for text in answer.warnings:
        logging.warning("warning: %s: %s", recording, text)
    print(answer.as_json(top) if json else answer.text(top))


if __name__ == "__main__":
    run_step(identify)
