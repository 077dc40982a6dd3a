#!/usr/bin/env python3
"""A model directory out of the weights of another toolkit, for extract_embeddings.py and run.sh --model."""

from pathlib import Path

from timbre.utils.cli import run_step


def import_model(weights: str, out_dir: Path, from_: str = "", licence: str = "", non_commercial: bool = False) -> None:
    """Write OUT_DIR: config.yaml and final.pt, the YAML file of the features that they take, ORIGIN.md.

    Nothing is downloaded, and nothing that a checkpoint may hold is run. What fits is told by the names and shapes of
    the weights; all that are unknown or missing are listed. `./run.sh --model OUT_DIR` computes the features.

    Args:
        weights: a checkpoint on disk, or resemblyzer: the weights that the installed package of that name brings
        out_dir: the model directory to write; an existing one is replaced, any other folder is left as it is
        from_: the toolkit whose weights they are: speechbrain, wespeaker, 3dspeaker, voxceleb_trainer, tdy, redimnet or
            resemblyzer (steps/README.md has their networks); that of an installed package is known
        licence: of the weights, for ORIGIN.md; what a package brings is copied
        non_commercial: note that they are not to be used for money
    """
    from timbre.nnet.imports.toolkits import import_weights  # torch takes seconds: not for --help

    import_weights(weights, out_dir, from_, licence, non_commercial)


if __name__ == "__main__":
    run_step(import_model)
