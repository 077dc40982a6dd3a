#!/usr/bin/env python3
"""MUSAN: music, speech and noises to augment with.

As published at https://www.openslr.org/17: musan/{music,noise,speech}/<source>/noise-free-sound-0000.wav, with
ANNOTATIONS (of music: file, genres, vocals Y or N, artist; of speech: file, sex, language) and LICENSE beside. Counts:
the release; Snyder et al., "MUSAN", 2015.
"""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, stem_of, write_noises
from timbre.utils.cli import run_step

KINDS = {"music": 660, "noise": 930, "speech": 426}


def prepare_musan(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/noise, OUT_DIR/music and OUT_DIR/speech: wav.scp, utt2class (the source, such as free-sound).

    They have no speakers (no utt2spk). Music with voices, as ANNOTATIONS tell, has -vocals after its class.

    Args:
        corpus_dir: holds musan, or is it
        out_dir: where they go
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    root = corpus.need("musan/noise", "noise", "musan/music", "music").parent
    sets = {}
    for kind, published in KINDS.items():
        found = dict(sorted((stem_of(path), path) for path in corpus.audio(root / kind, ".wav")))
        corpus.check(f"{kind}: files", len(found), published)
        sets[kind] = found
    vocals = set()
    for path in sorted((root / "music").glob("*/ANNOTATIONS")):
        vocals |= {fields[0] for fields in corpus.rows(path) if len(fields) > 2 and fields[2] == "Y"}
    corpus.check_whole()
    for kind, found in sets.items():
        wavs = {utt: f"{root}/{kind}/{path}" for utt, path in found.items()}
        classes = {utt: path.partition("/")[0] + "-vocals" * (utt in vocals) for utt, path in found.items()}
        write_noises(out_dir / kind, wavs, classes)


if __name__ == "__main__":
    run_step(prepare_musan)
