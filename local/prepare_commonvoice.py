#!/usr/bin/env python3
"""Common Voice (any release since 2): volunteers of many languages, who recorded themselves.

As published at https://commonvoice.mozilla.org: <release>/<language>/{validated,dev,test}.tsv and
<release>/<language>/ clips/common_voice_en_1.mp3. Columns client_id, path and gender are read; path is the name of the
clip. A client is a browser or an account rather than a person: some people have several.
"""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, gender_of
from timbre.corpora.utt_set import UttSet
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

ID = 16  # characters of the 128 of a client_id that make a speaker's id


def prepare_commonvoice(
    corpus_dir: Path, out_dir: Path, languages: list[str] | None = None, min_clips: int = 2, partial: bool = False
) -> None:
    """Write OUT_DIR/train and, for every language, OUT_DIR/eval_commonvoice_<language>, from the validated clips.

    Clients of a language's test.tsv evaluate with all their validated clips, those of dev.tsv are left out, all others
    train. Trials are drawn. Speakers with fewer than MIN_CLIPS validated clips are left out.

    Args:
        corpus_dir: the release: holds a folder a language
        out_dir: where the data directories go
        languages: such as [en,de]; by default all that are there
        min_clips: clips that a speaker must have
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    names = languages or sorted(path.parent.name for path in corpus.path.glob("*/validated.tsv"))
    if not names:
        raise DataError("no <language>/validated.tsv in it", corpus.path)
    sets = {"train": UttSet(), **{f"eval_commonvoice_{name}": UttSet() for name in names}}
    full: dict[str, str] = {}  # speaker -> client
    genders: dict[str, str] = {}
    testing: set[str] = set()
    for name in names:
        there = set(corpus.audio(f"{name}/clips", ".mp3", ".wav"))
        held = {part: clients(corpus, f"{name}/{part}.tsv") for part in ("dev", "test")}
        testing |= held["test"] | held["dev"]
        found, absent = UttSet(), []
        for number, row in corpus.records(corpus.need(f"{name}/validated.tsv"), "\t", ("client_id", "path", "gender")):
            client, spk, clip = row["client_id"], row["client_id"][:ID], row["path"]
            if full.setdefault(spk, client) != client:
                raise DataError(f"two clients begin with {spk}", corpus.path / name / "validated.tsv", number)
            if gender := gender_of(row["gender"]):
                genders[spk] = gender
            if clip not in there:
                absent.append(clip)
            elif client not in held["dev"] - held["test"]:
                utt = f"{spk}-{clip.rpartition('.')[0]}"
                found.add(utt, spk, f"{corpus.path}/{name}/clips/{clip}", {"lang": name})
        if absent:
            corpus.lacks(f"{len(absent):,} clips of {name}/validated.tsv, such as {min(absent)}")
        evaluating = {spk for spk in set(found.utt2spk.values()) if full[spk] in held["test"]}
        sets[f"eval_commonvoice_{name}"] = found.only(evaluating, min_clips)
        sets["train"].update(found.without(evaluating))
    held_out = {spk for spk, client in full.items() if client in testing}  # who evaluates in another language
    sets["train"] = sets["train"].without(held_out).only(None, min_clips)
    for name, utts in sets.items():
        utts.describe(gender=genders)
        if name != "train":
            utts.draw_trials()
    corpus.write(out_dir, sets)


def clients(corpus: Corpus, name: str) -> set[str]:
    """The clients of a list; none where it is missing, which is noted."""
    path = corpus.find(name)
    return {row["client_id"] for _, row in corpus.records(path, "\t", ("client_id",))} if path else set()


if __name__ == "__main__":
    run_step(prepare_commonvoice)
