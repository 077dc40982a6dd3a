#!/usr/bin/env python3
"""A gallery of speakers, enrolled from a folder of audio, for identify.py."""

import logging
from pathlib import Path

from timbre.utils.cli import run_step


def enroll_gallery(
    audio_dir: Path, out_dir: Path, pack: Path = Path("exp/synth_ecapa128/decision"), device: str = "cpu"
) -> None:
    """Write OUT_DIR, the embeddings of the speakers in AUDIO_DIR: <speaker>/.../<file>.wav, or <speaker>.wav.

    Args:
        audio_dir: folder with a folder, or a file, a speaker; audio of any format and sample rate
        out_dir: the gallery; an existing one is replaced, any other folder is left as it is
        pack: the folder that make_decision_pack.py wrote
        device: cpu, cuda or cuda:N
    """
    from tqdm import tqdm

    from timbre.decision import audio_gallery as galleries  # torch takes seconds: not for --help
    from timbre.decision.pack import DecisionPack
    from timbre.decision.verdict import open_embedder

    galleries.check_gallery(out_dir, audio_dir, pack)
    packed = DecisionPack.read(pack)
    recordings = galleries.find_recordings(audio_dir)
    embedder = open_embedder(packed, device)
    speakers = {}
    for name, files in tqdm(recordings.items(), "enrolment", unit="speaker", disable=None):
        speakers[name] = [embedder(str(path)) for path in files]
        for item in speakers[name]:
            for text in item.warnings:
                logging.warning("warning: %s: %s", item.path, text)
    galleries.write_gallery(out_dir, speakers, packed)
    logging.info("%s: %d speakers, %d recordings", out_dir, len(speakers), sum(map(len, speakers.values())))


if __name__ == "__main__":
    run_step(enroll_gallery)
