#!/usr/bin/env python3
"""Embeddings of the frames of utterances, and where in the audio each lies."""

from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.utils.cli import run_step


def extract_frames(model_dir: Path, data_dir: Path, utts: str, out: Path) -> None:
    """Write OUT.ark and OUT.scp, a matrix of frames by dimensions for each of UTTS.

    OUT_times.ark: centre, start and end of each frame in seconds; OUT_weights.ark: how much each counts for an
    attentive pooling, the mean of its attentions.

    OUT.json says what they are. Of a network with a mean over time and affine maps alone after it, frames are embedded
    as the mean is, and the mean of a matrix is the embedding of the utterance; with one attention, the mean by its
    weights. Of any other they are what is pooled. A frame sees its receptive field around its centre; its start and
    end are those of the features that are nearer to it than to any other frame.

    Args:
        model_dir: what steps/train.py wrote
        data_dir: Kaldi data directory with feats.scp, and vad.scp if the network was trained on voiced frames
        utts: utterances or speakers, with commas between, or a file with one a line
        out: start of the names of what is written
    """
    from timbre.evaluation.results import write_json
    from timbre.explain.frame_embeddings import Grid, chosen, read_frames, write_frames  # torch: not for --help
    from timbre.feats.utterances import list_utterances
    from timbre.nnet.model import load_model

    data = DataDir.read(data_dir)
    names = set(chosen(data, utts))
    network, normalization = load_model(model_dir)
    utterances = [utterance for utterance in list_utterances(data, normalization) if utterance.utt in names]
    grid = Grid.of(network)
    said = write_frames(out, read_frames(network, data, utterances, grid))
    said |= {"model": str(model_dir), "stride": grid.stride, "first": grid.first, "receptive": network.receptive_field}
    write_json(out.with_name(f"{out.name}.json"), said)
    print(f"{out}.scp: {said['frames']:,} frames of {said['utterances']} utterances, {said['what']}")


if __name__ == "__main__":
    run_step(extract_frames)
