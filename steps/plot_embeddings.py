#!/usr/bin/env python3
"""Embeddings on a plane, by t-SNE, UMAP or PCA, coloured by labels, with figures that say how far to believe it."""

import logging
from dataclasses import asdict
from pathlib import Path

from timbre.explain.embedding_map import MapOptions, measure, project, read_labelled
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

_NAMES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}


def plot_embeddings(
    embeddings: Path,
    out: Path,
    labels: Path | list[Path] = [],  # noqa: B006 (shown as the default)
    map: MapOptions = MapOptions(),
    max_labels: int = 0,
    max_utts: int = 5000,
    legend: int = 18,
    title: str = "",
) -> None:
    """Plot EMBEDDINGS on a plane: OUT_<label>.png, .svg and .json for each table of labels; places go to OUT.tsv.

    <label> is the name of the table without utt2 or spk2. The figures: how many of the nearest neighbours have the
    same label, in the embeddings, on the map and by chance, and the mean silhouette. Without tables: OUT.png, OUT.svg.

    Args:
        embeddings: ark or scp with a vector for each utterance
        out: start of the names of what is written, such as exp/mine/plots/tsne_eval
        labels: an utt2X table, or several as [utt2spk,utt2lang]; a spk2X table is read through the utt2spk beside it
        map: the method and its options
        max_labels: take only the labels of the first table with most utterances, so many of them; 0: all
        max_utts: draw so many utterances if there are more
        legend: labels with a colour of their own, those with most utterances; the others are grey
        title: above the map; default: method and embeddings
    """
    from timbre.evaluation.results import write_json
    from timbre.explain.plots import MOST_LABELS, plot_map  # imports matplotlib: not for --help

    if max_labels < 0 or max_utts < 3 or not 1 <= legend <= MOST_LABELS:
        raise DataError(f"max_labels is at least 0, max_utts at least 3, legend from 1 to {MOST_LABELS}")
    data, notes = read_labelled(embeddings, labels if isinstance(labels, list) else [labels])
    for note in notes:
        logging.warning("%s", note)
    if max_labels and data.labels:
        data = data.of_most(max_labels)
    total, data = len(data), data.sample(max_utts, map.seed)
    places = project(data.vectors, map)
    with atomic_write(out.with_name(out.name + ".tsv")) as file:
        file.write("\t".join(["utt", "x", "y", *data.labels]) + "\n")
        for utt, (x, y), *row in zip(data.utts, places.tolist(), *data.labels.values(), strict=True):
            file.write("\t".join([utt, f"{x:.5g}", f"{y:.5g}", *row]) + "\n")
    what = title or f"{_NAMES[map.method]} of {embeddings.parent.name or embeddings.name}"
    size = f"({len(data):,} of {total:,} utterances)" if total > len(data) else f"({total:,} utterances)"
    for name, column in data.labels.items():
        agreement = measure(data.vectors, places, column)
        stem = f"{out.name}_{name}"
        files = [out.with_name(stem + end) for end in (".png", ".svg")]
        plot_map(places, column, files, f"{what}, by {name} {size}", str(agreement), legend)
        content = {"caption": f"{agreement}.", "num_utts": len(data), **asdict(agreement), "options": asdict(map)}
        write_json(out.with_name(f"{stem}.json"), content)
        print(f"{name}: {agreement}")
    if not data.labels:
        files = [out.with_name(out.name + end) for end in (".png", ".svg")]
        plot_map(places, [""] * len(data), files, f"{what} {size}", "")


if __name__ == "__main__":
    run_step(plot_embeddings)
