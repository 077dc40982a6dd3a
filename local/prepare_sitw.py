#!/usr/bin/env python3
"""SITW, Speakers in the Wild: evaluation sets whose models are enrolled from one speaker's speech or with assistance.

As published at http://www.speech.sri.com/projects/sitw:
{dev,eval}/{audio/*.flac,lists/{enroll-core,enroll-assist,test-core,
test-multi}.lst,keys/{core-core,core-multi,assist-core,assist-multi,meta}.lst}. enroll-core.lst has model and file, the
assist lists start and end in seconds too; keys have model, file, and tgt or imp; meta.lst file, speaker, sex,
microphone, session and more (README of the release). Counts of core-core: McLaren et al., Interspeech 2016.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, gender_of, stem_of
from timbre.corpora.utt_set import UttSet
from timbre.datadir.contents import MODELS
from timbre.datadir.datadir import Segment, parse_segment
from timbre.datadir.trials import Layout
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

TRIALS = {"dev": 338226, "eval": 721788}  # of core-core
KEYS = Layout({b"tgt": True, b"imp": False}, 0, 1, 2)
ENROLL = {"core": True, "assist": True, "assistclean": False}  # condition: whether every copy has it
WHOLE = "0 -1"

Meta = dict[str, list[str]]


def prepare_sitw(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/eval_sitw_dev and OUT_DIR/eval_sitw_eval, beside the training set of another corpus.

    Each has trials_core_core, trials_core_multi, trials_assist_core and trials_assist_multi (and assistclean ones where
    the copy has them), enroll.spk2utt, and segments, since the assist conditions enrol from parts of files. A model is
    called <condition>-<model>. SITW and VoxCeleb1 have speakers in common: see --exclude of prepare_voxceleb.py.

    Args:
        corpus_dir: holds dev and eval
        out_dir: where the data directories go
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    corpus.need("eval", "dev")
    corpus.write(out_dir, {f"eval_sitw_{part}": take_part(corpus, part) for part in ("dev", "eval")})


def take_part(corpus: Corpus, part: str) -> UttSet:
    """The set of dev or eval; empty, and that noted, where it is missing."""
    utts = UttSet()
    if not corpus.find(part):
        return utts
    there = {stem_of(path): path for path in corpus.audio(f"{part}/audio", ".flac", ".wav")}
    meta = {stem_of(name): [name, *rest] for name, *rest in corpus.rows(corpus.need(f"{part}/keys/meta.lst"))}
    models: dict[str, list[str]] = {}
    absent = set()
    lines = [*enrolments(corpus, part), *tests(corpus, part)]
    for path, number, model, file, span in lines:
        stem = stem_of(file)
        if stem not in meta or len(meta[stem]) < 5:
            raise DataError(f"'{file}' is not in keys/meta.lst with speaker, sex, microphone and session", path, number)
        _, spk, _, microphone, session, *_ = meta[stem]
        utt = f"{spk}-{stem}" if model is None else f"{spk}-{model}-{len(models.get(model, ()))}"
        if stem not in there:
            absent.add(stem)
        elif utt not in utts.utt2spk:
            columns = {"session": f"{spk}-{session}", "channel": microphone}
            utts.add(utt, spk, f"{corpus.path}/{part}/audio/{there[stem]}", columns, span_of(stem, span, path, number))
            if model is not None:
                models.setdefault(model, []).append(utt)
    if absent:
        corpus.lacks(f"{len(absent)} files of {part}/audio, such as {min(absent)}")
    utts.describe(gender={row[1]: gender for row in meta.values() if len(row) > 2 and (gender := gender_of(row[2]))})
    utts.tables[MODELS] = {model: " ".join(names) for model, names in models.items()}
    for condition, needed in ENROLL.items():
        for test in ("core", "multi"):
            path = Path(part, "keys", f"{condition}-{test}.lst")
            if needed or (corpus.path / path).exists():
                corpus.read_trials(
                    utts,
                    f"trials_{condition}_{test}",
                    path,
                    rename=lambda name: f"{meta[stem_of(name)][1]}-{stem_of(name)}" if stem_of(name) in meta else name,
                    rename_enroll=f"{condition}-{{}}".format,
                    layout=KEYS,
                    published=TRIALS[part] if condition == test == "core" else None,
                )
    return utts


def enrolments(corpus: Corpus, part: str) -> Iterator[tuple[Path, int, str | None, str, str]]:
    """(list, line, model, file, "start end") of the enrolment lists."""
    for condition, needed in ENROLL.items():
        name = f"{part}/lists/enroll-{condition}.lst"
        if (needed or (corpus.path / name).exists()) and (path := corpus.find(name)):
            for number, (model, *fields) in corpus.numbered(path):
                if len(fields) not in (1, 3):
                    raise DataError("'model file' or 'model file start end' is wanted", path, number)
                yield path, number, f"{condition}-{model}", fields[0], " ".join(fields[1:]) or WHOLE


def tests(corpus: Corpus, part: str) -> Iterator[tuple[Path, int, str | None, str, str]]:
    """(list, line, None, file, whole) of the test lists."""
    for condition in ("core", "multi"):
        if path := corpus.find(f"{part}/lists/test-{condition}.lst"):
            for number, fields in corpus.numbered(path):
                yield path, number, None, fields[0], WHOLE


def span_of(recording: str, span: str, path: Path, number: int) -> Segment:
    try:
        return parse_segment(f"{recording} {span}")
    except ValueError as error:
        raise DataError(str(error), path, number) from None


if __name__ == "__main__":
    run_step(prepare_sitw)
