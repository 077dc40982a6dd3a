#!/usr/bin/env python3
"""Resampled and filtered copies of the audio of a data directory."""

from pathlib import Path
from typing import Any, Literal

from timbre.audio.effects import Sources, build_chain
from timbre.audio.preprocess import preprocess_audio as preprocess
from timbre.datadir.datadir import DataDir
from timbre.utils.cli import run_step
from timbre.utils.missing import Allowed


def preprocess_audio(
    data_dir: Path,
    out_dir: Path,
    rate: int | None = None,
    effects: list[dict[str, Any]] | None = None,
    noise_dir: Path | list[Path] | None = None,
    music_dir: Path | list[Path] | None = None,
    speech_dir: Path | list[Path] | None = None,
    rir_dir: Path | list[Path] | None = None,
    channel: int = -1,
    cut: bool = False,
    across: list[str] = [],  # noqa: B006 (shown as the default)
    format: Literal["flac", "wav"] = "flac",
    seed: int = 0,
    nj: int = 4,
    allow_missing: Allowed = 0,
) -> None:
    """Write OUT_DIR, a copy of DATA_DIR with new 16-bit audio under OUT_DIR/audio.

    Each recording has draws of its own, from the seed and its name; what they were is in tables utt2room, utt2rt60,
    utt2handset_low, utt2codec, utt2loss, utt2noise, utt2snr, utt2rate, utt2pitch, ... of OUT_DIR.

    Args:
        data_dir: Kaldi data directory with wav.scp
        out_dir: the new data directory
        rate: sample rate to resample to, in Hz; without it the rate stays
        effects: what happens after the resampling, as a list of class_path and init_args; see conf/audio/ and
            conf/condition/
        noise_dir: where effects take noises from: a data directory or a folder of audio files
        music_dir: where music comes from
        speech_dir: where the voices of babble come from
        rir_dir: where impulse responses come from
        channel: of audio with several channels, from 0; -1: only mono is accepted
        cut: segments become recordings of their own, for each of which the effects draw anew
        across: what both sides of a trial must not share, [room,band]: names of what effects draw (tables utt2room,
            utt2band of OUT_DIR) or of other tables utt2X; trials that do are left out
        format: of the new audio files
        seed: of effects that are random
        nj: number of jobs
        allow_missing: number of recordings that may fail, or a share such as 2%; audio.missing lists them, and they
            are left out with their utterances
    """
    sources = Sources.given(noise=noise_dir, music=music_dir, speech=speech_dir, rir=rir_dir)
    chain = build_chain(effects or [], sources)
    data = DataDir.read(data_dir)
    preprocess(data, out_dir, chain, nj, rate, channel, seed, format, allow_missing, cut, across)


if __name__ == "__main__":
    run_step(preprocess_audio)
