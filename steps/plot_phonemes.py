#!/usr/bin/env python3
"""Frames of speakers on a plane, by speaker and by phoneme class, for one network or several (TDY-CNN's figure)."""

from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.explain.embedding_map import MapOptions, project
from timbre.explain.phoneme_frames import intervals, purities, read_labelled_frames, said, write_places
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def plot_phonemes(
    data_dir: Path,
    frames: Path | list[Path],
    speakers: str,
    out: Path,
    names: list[str] = [],  # noqa: B006 (shown as the default)
    map: MapOptions = MapOptions(),
    neighbors: int = 10,
    max_frames: int = 4000,
    draws: int = 1000,
) -> None:
    """Write OUT.png and OUT.svg, a row for each of FRAMES, the baseline first: left by speaker, right by phoneme class.

    OUT.tsv: frames and their places; OUT.json: how pure neighbourhoods are, with intervals.

    A frame has the phone that has most of its time by DATA_DIR/phones.ctm; silence is dropped. The figures: of the
    nearest frames of the same phoneme class, in the embeddings and not on the map, the share that is of the same
    speaker; and of the nearest of all frames, the share that is of the same class. Frames of one utterance are not held
    against each other. Intervals (95 %) are over utterances; differences from the first system are paired.

    Args:
        data_dir: Kaldi data directory with phones.ctm
        frames: scp that extract_frames.py wrote, or several as [baseline.scp,tdy.scp]
        speakers: two or more, with commas between, such as fdas1,mhrm0
        out: start of the names of what is written
        names: of the systems; default: those of the files
        map: the method that brings frames of all speakers onto one plane, and its options
        neighbors: how many nearest frames are looked at
        max_frames: draw so many frames of a system for the map if there are more; the figures are of all
        draws: of the bootstrap
    """
    from timbre.evaluation.results import write_json
    from timbre.explain.plots_phonemes import plot_phoneme_frames  # imports matplotlib: not for --help

    paths = frames if isinstance(frames, list) else [frames]
    titles = names or [path.stem for path in paths]
    chosen = {name.strip() for name in speakers.split(",") if name.strip()}
    if len(titles) != len(paths) or len(set(titles)) < len(titles):
        raise DataError(f"--names {titles}: each of the {len(paths)} FRAMES needs a name of its own")
    if len(chosen) < 2:
        raise DataError(f"speakers '{speakers}': two or more are compared")
    if min(neighbors, draws) < 1:
        raise DataError(f"--neighbors {neighbors} and --draws {draws}: one or more of each")
    data = DataDir.read(data_dir)
    if strange := sorted(chosen - set(data.utt2spk.values())):
        raise DataError(f"speaker '{strange[0]}' is not in it", data_dir / "utt2spk")
    utts = [utt for utt in data.utts if data.utt2spk[utt] in chosen]
    systems = {name: read_labelled_frames(path, data, utts) for name, path in zip(titles, paths, strict=True)}
    shares = {name: purities(labelled, neighbors) for name, labelled in systems.items()}
    rows = intervals(systems, shares, draws, map.seed)
    maps, notes = {}, {}
    for name, labelled in systems.items():
        drawn = labelled.sample(max_frames, map.seed)
        maps[name] = drawn, project(drawn.vectors, map)
        notes[name] = {row["measure"]: said(row) for row in rows if row["system"] == name}
    write_places(out.with_name(f"{out.name}.tsv"), maps)
    plot_phoneme_frames(maps, notes, [out.with_name(out.name + end) for end in (".png", ".svg")])
    write_json(out.with_name(f"{out.name}.json"), {"neighbors": neighbors, "draws": draws, "purity": rows})
    for row in rows:
        print(f"{row['system']}, {row['measure']}: {said(row)}")


if __name__ == "__main__":
    run_step(plot_phonemes)
