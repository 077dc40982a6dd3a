#!/usr/bin/env python3
"""VoxCeleb1 (version 1.1) and VoxCeleb2, wav or m4a: training sets and the trial lists O, E and H.

As published at https://mm.kaist.ac.kr/datasets/voxceleb: archives that unpack to <speaker>/<video>/<part>.wav
(VoxCeleb1: wav/id10001/1zcIwhmdeo4/00001.wav) or .m4a (VoxCeleb2: dev/aac/id00012/21Uxsk56VDQ/00001.m4a), the files
vox1_meta.csv and vox2_meta.csv, and the lists veri_test, list_test_all, list_test_hard (.txt) and, cleaned, ...2.txt.
Counts: that page; Nagrani et al., "VoxCeleb: Large-scale speaker verification in the wild", 2020.
"""

import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, gender_of
from timbre.corpora.join_short import join_all
from timbre.corpora.utt_set import UttSet
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

Part = Literal["vox1_dev", "vox1_test", "vox2_dev", "vox2_test"]

PUBLISHED: dict[Part, tuple[int, int]] = {  # speakers, utterances
    "vox1_dev": (1211, 148642),
    "vox1_test": (40, 4874),
    "vox2_dev": (5994, 1092009),
    "vox2_test": (118, 36237),
}
LISTS = {  # of VoxCeleb1: name -> file, number of trials
    "trials_o": ("veri_test2.txt", 37611),
    "trials_e": ("list_test_all2.txt", 579818),
    "trials_h": ("list_test_hard2.txt", 550894),
    "trials_o_original": ("veri_test.txt", 37720),
    "trials_e_original": ("list_test_all.txt", 581480),
    "trials_h_original": ("list_test_hard.txt", 552536),
}
SPEAKER = re.compile(r"id[01]\d{4}")
SUFFIXES = (".wav", ".flac", ".m4a")
WHERE = "it is published at https://mm.kaist.ac.kr/datasets/voxceleb"

logger = logging.getLogger(__name__)


def prepare_voxceleb(
    corpus_dir: Path,
    out_dir: Path,
    train: list[Part] = ["vox2_dev"],  # noqa: B006
    exclude: Path | None = None,
    join_sessions: bool = False,
    nj: int = 4,
    partial: bool = False,
) -> None:
    """Write OUT_DIR/train and OUT_DIR/eval_vox1 with the trial lists O, E and H, cleaned and original.

    CORPUS_DIR holds the two corpora, the speakers' folders (id10001) in folders of any names: the meta files, up to two
    folders deep, tell which set a speaker is in. Where an utterance is there as wav (or flac) and in a folder aac, the
    former is taken. Lists whose speakers train are left out: with vox1_dev, E and H. utt2session is the video.

    Args:
        corpus_dir: where the corpora lie
        out_dir: where the data directories go
        train: what to train on: some of vox1_dev, vox2_dev, vox2_test
        exclude: a list of speakers, ids or names as in vox1_meta.csv, not to train on, such as
            voxceleb1_sitw_overlap.txt; a path from here or from CORPUS_DIR
        join_sessions: all that a training speaker says in one video becomes one utterance, as in Hyperion's
            voxcelebcat, in files of OUT_DIR/joined (flac; some 150 GB for VoxCeleb2); trials keep the utterances
        nj: number of jobs that join
        partial: take a copy that lacks something
    """
    if not train or "vox1_test" in train:
        raise DataError(f"train is {train}; some of vox1_dev, vox2_dev, vox2_test are wanted")
    corpus = Corpus(corpus_dir, partial)
    metas = ["vox1_meta.csv", *(["vox2_meta.csv"] if {"vox2_dev", "vox2_test"} & set(train) else [])]
    meta = {spk: row for name in metas for spk, row in read_meta(corpus, name)}
    parts: dict[Part, UttSet] = {part: UttSet() for part in get_args(Part)}
    for root in sorted(speaker_folders(corpus.path), key=lambda path: (path.name == "aac", path)):
        take_utterances(corpus, root, meta, parts)
    evaluation = UttSet.join(parts[part] for part in ("vox1_dev", "vox1_test") if part not in train)
    for part in PUBLISHED:
        if part in train or part.startswith("vox1"):
            corpus.check_set(part, parts[part], *PUBLISHED[part])
    for name, (file_name, published) in LISTS.items():
        if name.startswith("trials_o") or "vox1_dev" not in train:
            path = find_list(corpus, file_name) or file_name
            corpus.read_trials(evaluation, name, path, utterance_of, published=published)
    training = UttSet.join(parts[part] for part in train)
    if exclude:
        names = {row[0] for row in corpus.rows(exclude.resolve() if exclude.exists() else corpus.need(str(exclude)))}
        training = training.without({spk for spk, row in meta.items() if spk in names or row["name"] in names})
    corpus.check_whole()
    if join_sessions:
        training = join_all(training, out_dir / "joined", nj, "utt2session")
    for utts in (training, evaluation):
        utts.describe(
            gender={spk: gender for spk, row in meta.items() if (gender := gender_of(row["Gender"]))},
            nation={spk: nation.replace(" ", "_") for spk, row in meta.items() if (nation := row.get("Nationality"))},
        )
    corpus.write(out_dir, {"train": training, "eval_vox1": evaluation})


def read_meta(corpus: Corpus, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(speaker, what the meta file says by column), with the part of the corpus and the second column, the name.

    The fields are told by the header; tabs (VoxCeleb1) or commas (VoxCeleb2) lie between.
    """
    path = find_list(corpus, name)
    if path is None:
        raise DataError(f"no {name} in it or two folders deep; {WHERE}", corpus.path)
    with path.open("rb") as file:
        separator = "\t" if b"\t" in file.readline() else ","
    for number, row in corpus.records(path, separator, ("Gender", "Set")):
        spk, spk_name, *_ = row.values()
        if not SPEAKER.fullmatch(spk) or row["Set"] not in ("dev", "test"):
            raise DataError(f"not a speaker of dev or test: '{separator.join(row.values())}'", path, number)
        yield spk, {**row, "name": spk_name, "part": f"{name[:4]}_{row['Set']}"}


def find_list(corpus: Corpus, name: str) -> Path | None:
    """The file NAME, in the corpus or up to two folders deep."""
    return next((path for up in ("", "*/", "*/*/") for path in sorted(corpus.path.glob(up + name))), None)


def speaker_folders(path: Path, deep: int = 5) -> Iterator[Path]:
    """Folders under PATH that hold folders of speakers."""
    with os.scandir(path) as entries:
        inside = sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())
    if any(map(SPEAKER.fullmatch, inside)):
        yield path
    elif deep:
        for name in inside:
            yield from speaker_folders(path / name, deep - 1)


def take_utterances(corpus: Corpus, root: Path, meta: dict[str, dict[str, str]], parts: dict[Part, UttSet]) -> None:
    """Puts ROOT/<speaker>/<video>/<part> into the set of its speaker, unless it is there already."""
    sets: dict[str, UttSet] = {spk: parts[row["part"]] for spk, row in meta.items()}  # type: ignore[index]
    again = strange = 0
    for path in corpus.audio(root, *SUFFIXES):
        spk, _, rest = path.partition("/")
        utt = utterance_of(path)
        if spk not in sets or rest.count("/") != 1:
            strange += 1
        elif utt in sets[spk].utt2spk:
            again += 1
        else:
            sets[spk].add(utt, spk, f"{root}/{path}", {"session": f"{spk}-{rest.partition('/')[0]}"})
    if again:
        logger.info("%s: %d files passed over: their utterances are there as other files", root, again)
    if strange:
        logger.warning("%s: %d files passed over: not <speaker>/<video>/<part> of a speaker known", root, strange)


def utterance_of(name: str) -> str:
    """id10270-x6uYqmx31kE-00001 of id10270/x6uYqmx31kE/00001.wav"""
    return name.rpartition(".")[0].replace("/", "-")


if __name__ == "__main__":
    run_step(prepare_voxceleb)
