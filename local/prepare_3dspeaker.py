#!/usr/bin/env python3
"""3D-Speaker: 10,000 Mandarin speakers, by several devices, from several distances and in several dialects.

As published at https://3dspeaker.github.io: 3dspeaker/{train,test}/... and
3dspeaker/files/{train,test}_{wav.scp,utt2spk, utt2info.csv} and trials_cross_{device,distance,dialect}; wav.scp has
paths from 3dspeaker, utt2info.csv the columns Utt-id, Spk-id, Seg-id, Device, Distance, Dialect. Written from recipes
that read it (3D-Speaker's own leaves out what Device09 recorded), not from a copy. Counted against the lists.
"""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus
from timbre.corpora.utt_set import UttSet
from timbre.utils.cli import run_step

CONDITIONS = ("device", "distance", "dialect")


def prepare_3dspeaker(
    corpus_dir: Path,
    out_dir: Path,
    leave_out: list[str] = ["Device09"],  # noqa: B006
    partial: bool = False,
) -> None:
    """Write OUT_DIR/train and OUT_DIR/eval_3dspeaker with trials_cross_device, trials_cross_distance, _dialect.

    utt2channel is the device; utt2distance, utt2dialect and utt2session (the segment, which several devices recorded).

    Args:
        corpus_dir: holds 3dspeaker, or is it
        out_dir: where the data directories go
        leave_out: devices whose recordings are left out
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    root = corpus.need("3dspeaker/files", "files").parent
    sets = {"train": UttSet(), "eval_3dspeaker": UttSet()}
    for part, utts in zip(("train", "test"), sets.values(), strict=True):
        lists = [
            corpus.find(f"{root.relative_to(corpus.path)}/files/{part}_{name}") for name in ("wav.scp", "utt2info.csv")
        ]
        if not (lists[0] and lists[1]):
            continue
        there = {f"{part}/{path}" for path in corpus.audio(root / part, ".wav")}
        info = {row["Utt-id"]: row for _, row in corpus.records(lists[1], ",", ("Utt-id", "Spk-id", "Device"))}
        absent = []
        for utt, place in corpus.rows(lists[0], 2):
            row, place = info.get(utt, {}), place.lstrip("/")
            if not row or place not in there:
                absent.append(place)
            elif not any(device in utt for device in leave_out):
                columns = {"channel": row["Device"], "distance": row.get("Distance"), "dialect": row.get("Dialect")}
                columns = {name: value and value.replace(" ", "_") for name, value in columns.items()}
                spk = row["Spk-id"]
                columns["session"] = f"{spk}-{row.get('Seg-id')}"
                utts.add(utt_of(utt, spk), spk, f"{root}/{place}", columns)
        utts.label(lang="zh")
        if absent:
            corpus.lacks(f"{len(absent):,} files of {lists[0].name}, such as {min(absent)}")
    names = {utt.removeprefix(f"{spk}-"): utt for utt, spk in sets["eval_3dspeaker"].utt2spk.items()}
    for condition in CONDITIONS:
        name = f"trials_cross_{condition}"
        path = root / "files" / name
        corpus.read_trials(sets["eval_3dspeaker"], name, path, lambda utt: names.get(utt, utt))
    corpus.write(out_dir, sets)


def utt_of(utt: str, spk: str) -> str:
    """The id, with the speaker's before it where it does not begin so."""
    return utt if utt.startswith(spk) else f"{spk}-{utt}"


if __name__ == "__main__":
    run_step(prepare_3dspeaker)
