#!/usr/bin/env python3
"""A gallery of speakers, enrolled from a folder of audio, for identify.py."""

import logging
from pathlib import Path

from timbre.utils.cli import run_step


def enroll_gallery(
    audio_dir: Path,
    out_dir: Path,
    pack: Path = Path("exp/synth_ecapa128/decision"),
    device: str = "cpu",
    allow_missing: int = 0,
) -> None:
    """Write OUT_DIR, the embeddings of the speakers in AUDIO_DIR: <speaker>/.../<file>.wav, or <speaker>.wav.

    Recordings with too little speech for the pack, constant or ruined ones are listed, and nothing is written; exit
    status 3.

    Args:
        audio_dir: folder with a folder, or a file, a speaker; audio of any format and sample rate
        out_dir: the gallery; an existing one is replaced, any other folder is left as it is
        pack: the folder that make_decision_pack.py wrote
        device: cpu, cuda or cuda:N
        allow_missing: so many of these may be left out, as long as every speaker has another
    """
    from tqdm import tqdm

    from timbre.decision import audio_gallery as galleries  # torch takes seconds: not for --help
    from timbre.decision.pack import DecisionPack
    from timbre.decision.verdict import embed_all, open_embedder

    galleries.check_gallery(out_dir, audio_dir, pack)
    packed = DecisionPack.read(pack)
    recordings = galleries.find_recordings(audio_dir)
    embedder = open_embedder(packed, device)
    speakers, unusable = {}, []
    for name, files in tqdm(recordings.items(), "enrolment", unit="speaker", disable=None):
        speakers[name], bad = embed_all(embedder, files)
        unusable += bad
    for text in galleries.enrolment_warnings(speakers):
        logging.warning("warning: %s", text)
    galleries.check_enrolment(speakers, unusable, allow_missing)
    galleries.write_gallery(out_dir, speakers, packed)
    logging.info("%s: %d speakers, %d recordings", out_dir, len(speakers), sum(map(len, speakers.values())))


if __name__ == "__main__":
    run_step(enroll_gallery)
