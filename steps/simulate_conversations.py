#!/usr/bin/env python3
"""Conversations made of single utterances, with the truth of who speaks when, to measure diarization on."""

from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.diarization.conversations import ConversationOptions, only_of, read_speakers, simulate
from timbre.feats.vad import VadOptions
from timbre.utils.cli import run_step


def simulate_conversations(
    data_dir: Path,
    out_dir: Path,
    conversations: ConversationOptions = ConversationOptions(),
    speakers: Path | None = None,
    vad: VadOptions = VadOptions(),
    noise_dir: Path | list[Path] | None = None,
    rir_dir: Path | list[Path] | None = None,
    seed: int = 0,
    nj: int = 4,
) -> None:
    """Write OUT_DIR: audio, wav.scp, utt2spk, utt2dur, reco2num_spk, and in rttm who speaks when.

    The truth is where the energy VAD finds speech in each utterance, before anything is added to it. Utterances of a
    speaker are put in in random order, and again when there are no others left.

    Args:
        data_dir: Kaldi data directory of utterances with their speakers
        out_dir: the new data directory, whose utterances are the conversations
        conversations: their number, length, speakers, pauses and overlaps, or a YAML file of them
        speakers: take these only: a list, or the manifest.json of training examples, for those it held out
        vad: the options of Kaldi's compute-vad
        noise_dir: data directories or folders of background noise
        rir_dir: data directories or folders of impulse responses: each speaker gets a room
        seed: of everything random; what is written does not depend on nj
        nj: number of jobs
    """
    noise, rooms = (
        paths if isinstance(paths, list) else [] if paths is None else [paths] for paths in (noise_dir, rir_dir)
    )
    data = DataDir.read(data_dir)
    if speakers is not None:
        data = only_of(data, read_speakers(speakers), speakers)
    simulate(data, out_dir, conversations, vad, noise, rooms, seed, nj)


if __name__ == "__main__":
    run_step(simulate_conversations)
