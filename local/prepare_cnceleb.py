#!/usr/bin/env python3
"""CN-Celeb1 (CN-Celeb_flac, version 2) and CN-Celeb2: Chinese celebrities in eleven genres.

As published at https://www.openslr.org/82 (cn-celeb_v2.tar.gz, cn-celeb2_v2.tar.gz.*):
CN-Celeb_flac/data/id00000/singing-01-001.flac (<genre>-<session>-<part>), CN-Celeb_flac/dev/dev.lst,
CN-Celeb_flac/eval/
{enroll/id00800-enroll.flac,test/id00800-singing-01-001.flac,lists/{enroll.lst,enroll.map,test.lst,trials.lst}} and
CN-Celeb2_flac/{data/id10000/...,spk.lst}. The lists name wav files where there are flac ones. enroll.map, the files
that each enrolment file was made of, by their paths in data/, is read as other recipes do. Counts: Li et al.,
"CN-Celeb: multi-genre speaker recognition", 2022, and the lists.
"""

import sys
from functools import partial as bind
from pathlib import Path
from typing import Literal

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import LABEL_LAST, Corpus, Named, stem_of
from timbre.corpora.join_short import join_short
from timbre.corpora.utt_set import UttSet
from timbre.datadir.contents import MODELS
from timbre.utils.cli import run_step

SUFFIXES = (".flac", ".wav")
TRAIN = {"CN-Celeb_flac": ("dev/dev.lst", 797, 107953), "CN-Celeb2_flac": ("spk.lst", 1996, 524787)}
TRIALS = 3484292

Corpora = Literal["cnceleb1", "cnceleb2"]


def prepare_cnceleb(
    corpus_dir: Path,
    out_dir: Path,
    train: list[Corpora] = ["cnceleb1", "cnceleb2"],  # noqa: B006
    enroll: Literal["several", "one"] = "several",
    join_shorter: float = 0.0,
    nj: int = 4,
    partial: bool = False,
) -> None:
    """Write OUT_DIR/train and OUT_DIR/eval_cnceleb with the official trials; utt2genre and utt2session everywhere.

    Args:
        corpus_dir: holds CN-Celeb_flac and CN-Celeb2_flac
        out_dir: where the data directories go
        train: what to train on: the dev speakers of cnceleb1, cnceleb2
        enroll: several: from all files that enroll.map gives a model (enroll.spk2utt), their embeddings averaged;
            one: from the enrolment file, in which they follow one another
        join_shorter: training utterances shorter than this many seconds are joined, those of one speaker and genre
            one after another, to files in OUT_DIR/joined; 0: none, 5 is usual
        nj: number of jobs that join
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    training = UttSet()
    for name in train:
        folder = "CN-Celeb_flac" if name == "cnceleb1" else "CN-Celeb2_flac"
        take_training(corpus, training, folder)
    evaluation = UttSet()
    take_evaluation(corpus, evaluation, enroll)
    corpus.check_whole()
    if join_shorter:
        training = join_short(training, out_dir / "joined", join_shorter, nj)
    corpus.write(out_dir, {"train": training, "eval_cnceleb": evaluation})


def take_training(corpus: Corpus, training: UttSet, folder: str) -> None:
    """Adds the speakers of a list of FOLDER."""
    list_name, speakers, utterances = TRAIN[folder]
    if path := corpus.find(f"{folder}/{list_name}"):
        utts = UttSet()
        for (spk,) in corpus.rows(path, 1):
            corpus.take(utts, f"{folder}/data/{spk}", SUFFIXES, bind(of, spk))
        corpus.check_set(folder, utts, speakers, utterances)
        training.update(utts)


def take_evaluation(corpus: Corpus, utts: UttSet, enroll: str) -> None:
    """The eval part of CN-Celeb1, with its models and trials."""
    root = "CN-Celeb_flac/eval"
    if enroll == "one":
        corpus.take(utts, f"{root}/enroll", SUFFIXES, lambda name: Named(name.rpartition(".")[0], name[:7]))
    elif path := corpus.find(f"{root}/lists/enroll.map"):
        models: dict[str, list[str]] = {}
        for model, *files in corpus.rows(path):
            models[model] = []
            for file in files:
                spk, _, name = file.rpartition(".")[0].rpartition("/")
                if place := corpus.find(*(f"CN-Celeb_flac/data/{spk}/{name}{suffix}" for suffix in SUFFIXES)):
                    models[model].append(f"{spk}-enroll-{name}")
                    utts.add(models[model][-1], spk, str(place), columns_of(spk, name))
        utts.tables[MODELS] = {model: " ".join(names) for model, names in models.items() if names}
    corpus.take(utts, f"{root}/test", SUFFIXES, lambda name: of(name[:7], name[8:]))
    corpus.read_trials(
        utts,
        "trials",
        f"{root}/lists/trials.lst",
        rename=stem_of,
        rename_enroll=str,
        layout=LABEL_LAST,
        published=TRIALS,
    )


def of(spk: str, name: str) -> Named | None:
    """The utterance singing-01-001.flac of SPK."""
    stem = name.rpartition(".")[0]
    return Named(f"{spk}-{stem}", spk, columns_of(spk, stem)) if stem.count("-") == 2 else None


def columns_of(spk: str, stem: str) -> dict[str, str | None]:
    genre, session, _ = stem.split("-")
    return {"genre": genre, "session": f"{spk}-{genre}-{session}", "lang": "zh"}


if __name__ == "__main__":
    run_step(prepare_cnceleb)
