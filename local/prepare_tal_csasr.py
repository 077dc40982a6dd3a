#!/usr/bin/env python3
"""TAL_CSASR: lessons that switch between Mandarin and English, without labels of speakers.

As published at https://ai.100tal.com/dataset: TAL_CSASR/cs_wav/**/*.wav and TAL_CSASR/label, lines "<utterance>
<text>". The recipes that read it (WeNet, Lhotse) find no speakers in it either; this was written from them, not from a
copy.
"""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, Named, stem_of
from timbre.corpora.utt_set import UttSet
from timbre.utils.cli import run_step


def prepare_tal_csasr(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/unlabelled, in which every utterance is a speaker of its own: to adapt PLDA with, or as a cohort.

    Files that the list of texts does not name are left out.

    Args:
        corpus_dir: holds TAL_CSASR, or is it
        out_dir: where the data directory goes
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    label = corpus.need("TAL_CSASR/label", "label")
    listed = {fields[0] for fields in corpus.rows(label)}
    found = UttSet()
    corpus.take(
        found, label.parent / "cs_wav", ".wav", lambda path: Named(stem_of(path), stem_of(path), {"lang": "zh-en"})
    )
    if lacking := listed - found.utt2spk.keys():
        corpus.lacks(f"{len(lacking):,} files of {label.name}, such as {min(lacking)}")
    corpus.write(out_dir, {"unlabelled": found.select(listed)})


if __name__ == "__main__":
    run_step(prepare_tal_csasr)
