#!/usr/bin/env python3
"""RIRS_NOISES: impulse responses of simulated and real rooms, and noises.

As published at https://www.openslr.org/28:
RIRS_NOISES/simulated_rirs/{small,medium,large}room/Room001/Room001-00001.wav,
RIRS_NOISES/real_rirs_isotropic_noises/*.wav (impulse responses are named in rir_list,
noises in noise_list) and RIRS_NOISES/pointsource_noises/noise-free-sound-0000.wav. Lines of the lists end in the path
of the file. Counts: the READMEs of the release; Ko et al., ICASSP 2017. Most real responses have several channels.
"""

import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.corpus import Corpus, stem_of, write_noises
from timbre.utils.cli import run_step

ROOMS = ("small", "medium", "large")
SIMULATED, REAL, POINT_SOURCES = 20000, 325, 843  # simulated: of each size of room


def prepare_rirs(corpus_dir: Path, out_dir: Path, partial: bool = False) -> None:
    """Write OUT_DIR/rir and OUT_DIR/noise, without speakers (no utt2spk): wav.scp and utt2class.

    Classes of impulse responses: simulated-small, simulated-medium, simulated-large, real; of noises: point-source
    (these are from MUSAN) and isotropic.

    Args:
        corpus_dir: holds RIRS_NOISES, or is it
        out_dir: where they go
        partial: take a copy that lacks something
    """
    corpus = Corpus(corpus_dir, partial)
    root = corpus.need("RIRS_NOISES/simulated_rirs", "simulated_rirs").parent
    rirs: dict[str, tuple[str, str]] = {}  # id -> class, path
    noises: dict[str, tuple[str, str]] = {}
    for size in ROOMS:
        folder = root / "simulated_rirs" / f"{size}room"
        found = {f"{size}-{stem_of(path)}": (f"simulated-{size}", f"{folder}/{path}") for path in wavs(corpus, folder)}
        corpus.check(f"{folder.name}: impulse responses", len(found), SIMULATED)
        rirs |= found
    real = root / "real_rirs_isotropic_noises"
    there = {path: f"{real}/{path}" for path in wavs(corpus, real)}
    for list_name, kind, target in (("rir_list", "real", rirs), ("noise_list", "isotropic", noises)):
        if path := corpus.find(f"{real.relative_to(corpus.path)}/{list_name}"):
            names = [fields[-1].rpartition("/")[2] for fields in corpus.rows(path)]
            if lacking := [name for name in names if name not in there]:
                corpus.lacks(f"{len(lacking)} files of {real.name}/{list_name}, such as {lacking[0]}")
            target |= {stem_of(name): (kind, there[name]) for name in names if name in there}
    corpus.check("real impulse responses", sum(kind == "real" for kind, _ in rirs.values()), REAL)
    folder = root / "pointsource_noises"
    points = {stem_of(path): ("point-source", f"{folder}/{path}") for path in wavs(corpus, folder)}
    corpus.check("point-source noises", len(points), POINT_SOURCES)
    corpus.check_whole()
    for name, found in (("rir", rirs), ("noise", noises | points)):
        if found:
            paths = {utt: path for utt, (_, path) in found.items()}
            write_noises(out_dir / name, paths, {utt: kind for utt, (kind, _) in found.items()})


def wavs(corpus: Corpus, folder: Path) -> list[str]:
    """Paths of the wav files under FOLDER; none where it is missing, which is noted."""
    return sorted(corpus.audio(folder, ".wav"))


if __name__ == "__main__":
    run_step(prepare_rirs)
