#!/usr/bin/env python3
"""LibriSpeech, and Mini LibriSpeech, which has its layout: English read from books.

As published at https://www.openslr.org/12 (and /31): LibriSpeech/<part>/<speaker>/<chapter>/14-208-0000.flac and
LibriSpeech/SPEAKERS.TXT, lines "14 | F | train-clean-360 | 25.03 | name" and comments with a semicolon. Counts: the
transcripts of the release; Panayotov et al., "Librispeech", ICASSP 2015.
"""

import sys
from pathlib import Path
from typing import Literal

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, Named, gender_of, stem_of
from timbre.corpora.utt_set import UttSet
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

PARTS: dict[str, tuple[int | None, int]] = {  # speakers, utterances
    "train-clean-100": (251, 28539),
    "train-clean-360": (921, 104014),
    "train-other-500": (1166, 148688),
    "dev-clean": (40, 2703),
    "dev-other": (33, 2864),
    "test-clean": (40, 2620),
    "test-other": (33, 2939),
    "train-clean-5": (None, 1519),
    "dev-clean-2": (None, 1089),
}
Train = Literal["train-clean-100", "train-clean-360", "train-other-500", "train-clean-5"]
Eval = Literal["dev-clean", "dev-other", "test-clean", "test-other", "dev-clean-2"]


def prepare_librispeech(
    corpus_dir: Path,
    out_dir: Path,
    train: list[Train] = ["train-clean-100", "train-clean-360", "train-other-500"],  # noqa: B006
    evaluate: list[Eval] = ["test-clean", "test-other"],  # noqa: B006
    partial: bool = False,
) -> None:
    """Write OUT_DIR/train and, for every part that evaluates, OUT_DIR/eval_librispeech_test_clean and so on.

    utt2session is the chapter. There are no official trials: they are drawn, of one sex, and once more with target
    trials across chapters. For Mini LibriSpeech: --train [train-clean-5] --evaluate [dev-clean-2].

    Args:
        corpus_dir: holds LibriSpeech, or is it
        out_dir: where the data directories go
        train: parts to train on, together; may be empty
        evaluate: parts that each become an evaluation set
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    info = corpus.need("LibriSpeech/SPEAKERS.TXT", "SPEAKERS.TXT")
    genders = {}
    for number, fields in corpus.numbered(info, separator="|"):
        if not fields[0].startswith(";"):
            gender = gender_of(fields[1]) if len(fields) >= 5 else None
            if not gender:
                raise DataError("'speaker | F or M | part | minutes | name' is wanted", info, number)
            genders[fields[0]] = gender
    sets = {"train": UttSet()}
    for part in [*train, *evaluate]:
        name = "train" if part in train else f"eval_librispeech_{part.replace('-', '_')}"
        utts = UttSet()
        corpus.take(utts, info.parent / part, ".flac", of)
        corpus.check_set(part, utts, *PARTS[part])
        sets.setdefault(name, UttSet()).update(utts)
    for name, utts in sets.items():
        utts.describe(gender=genders)
        if name != "train":
            utts.draw_trials()
    corpus.write(out_dir, sets)


def of(path: str) -> Named | None:
    """14-208-0000 of speaker 14 for 14/208/14-208-0000.flac."""
    utt = stem_of(path)
    spk, _, rest = utt.partition("-")
    chapter = rest.partition("-")[0]
    same = path.startswith(f"{spk}/{chapter}/")
    return Named(utt, spk, {"session": f"{spk}-{chapter}", "lang": "en"}) if same else None


if __name__ == "__main__":
    run_step(prepare_librispeech)
