#!/usr/bin/env python3
"""A corpus that is a folder of audio, <speaker>/.../<utterance>.wav: data directories, speaker split and trials."""

import logging
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.audio.reading import AUDIO_SUFFIXES
from timbre.corpora.utt_names import escape, name_utterances
from timbre.datadir.contents import Contents
from timbre.datadir.datadir import invert
from timbre.datadir.pairs import Pairing
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

logger = logging.getLogger(__name__)


def prepare_folder(
    corpus_dir: Path,
    out_dir: Path,
    eval_speakers: float = 0.1,
    max_targets: int = 20000,
    nontargets: int = 1,
    seed: int = 0,
) -> None:
    """Write OUT_DIR/train and OUT_DIR/eval from a tree of audio files, each speaker in one of the two only.

    The folders in CORPUS_DIR are the speakers; files under them, at any depth, are their utterances (wav, flac, opus,
    ogg, mp3, m4a, aac, webm, sph), and the first folder below the speaker's, where there is one, is the session
    (utt2session). An utterance id is the path with - for / and %20 for a space. eval/trials holds as many target as
    non-target trials; eval/trials_cross_session the same with target trials across sessions, where speakers have
    several. Files that cannot be used are listed and passed over.

    Args:
        corpus_dir: the folder
        out_dir: where the data directories go
        eval_speakers: how many speakers evaluate, below 1 a share of all; drawn from those with two utterances
        max_targets: at most that many target trials a list, evenly over speakers
        nontargets: non-target trials for each target trial
        seed: of the draws
    """
    utts = name_utterances(list(find_audio(corpus_dir)))
    if not utts:
        raise DataError(f"no audio (*{', *'.join(AUDIO_SUFFIXES)}) in folders of speakers", corpus_dir)
    utt2spk = {utt: escape(path.parts[0]) for utt, path in utts.items()}
    evaluating = draw_speakers(corpus_dir, invert(utt2spk), eval_speakers, seed)
    for name, is_eval in (("train", False), ("eval", True)):
        chosen = {utt: path for utt, path in utts.items() if (utt2spk[utt] in evaluating) == is_eval}
        wavs = {utt: str(corpus_dir.resolve() / path) for utt, path in chosen.items()}
        speakers = {utt: utt2spk[utt] for utt in chosen}
        sessions = {utt: escape(path.parts[1]) for utt, path in chosen.items() if len(path.parts) > 2}
        tables = {"wav.scp": wavs, "utt2spk": speakers, **({"utt2session": sessions} if sessions else {})}
        lists = pairings(speakers, sessions) if is_eval else {}
        trials = {list_name: pairing.sample(nontargets, max_targets, seed) for list_name, pairing in lists.items()}
        Contents(tables, trials, verbatim={}).write(out_dir / name)
        logger.info("%s: %d utterances of %d speakers", out_dir / name, len(chosen), len(set(speakers.values())))
        for list_name, made in trials.items():
            logger.info("%s: %s", out_dir / name / list_name, made.summary())


def find_audio(corpus_dir: Path) -> Iterator[PurePosixPath]:
    """Audio files in folders of CORPUS_DIR, relative to it, in C order; what is passed over is logged."""
    if not corpus_dir.is_dir():
        raise DataError("no such directory", corpus_dir)

    def unreadable(error: OSError) -> None:
        logger.warning("%s: passed over: %s", error.filename, error.strerror)

    seen = set()
    for folder, folders, files in os.walk(corpus_dir, onerror=unreadable, followlinks=True):
        seen.add(os.path.realpath(folder))
        folders[:] = sorted(
            name for name in folders if name[0] != "." and os.path.realpath(f"{folder}/{name}") not in seen
        )
        for name in sorted(files):
            if name[0] != "." and name.lower().endswith(AUDIO_SUFFIXES):
                path = Path(folder, name)
                relative = PurePosixPath(path.relative_to(corpus_dir))
                if problem := problem_of(path, relative):
                    logger.warning("%s: passed over: %s", ascii(str(path))[1:-1], problem)
                else:
                    yield relative


def problem_of(path: Path, relative: PurePosixPath) -> str | None:
    """Why the audio file PATH cannot be used, as far as its name and size tell."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if any(char in str(path) for char in "\n\r"):
        return "its name has a line break"
    if len(relative.parts) == 1:
        return "it is in no speaker's folder"
    try:
        return None if path.stat().st_size else "it is empty"
    except OSError as error:
        return error.strerror


def draw_speakers(corpus_dir: Path, spk2utt: dict[str, list[str]], wanted: float, seed: int) -> set[str]:
    """The speakers that evaluate: WANTED, or a share below 1 (two at least), drawn from those with two utterances."""
    if wanted <= 0 or (wanted >= 1 and wanted != int(wanted)):
        raise DataError(f"eval_speakers is {wanted}; a count, or a share below 1, is wanted")
    count = int(wanted) if wanted >= 1 else max(2, round(wanted * len(spk2utt)))
    able = sorted(spk for spk, utts in spk2utt.items() if len(utts) > 1)
    if count < 2 or count > len(able) or count > len(spk2utt) - 2:
        text = f"{len(spk2utt)} speakers, {len(able)} of them with two utterances or more: too few to evaluate with"
        raise DataError(f"{text} {count} and train with the others; two at least are needed for each", corpus_dir)
    return set(random.Random(seed).sample(able, count))


def pairings(utt2spk: dict[str, str], sessions: dict[str, str]) -> dict[str, Pairing]:
    """The trial lists to draw: trials, and trials_cross_session where some speaker has two sessions."""
    lists = {"trials": Pairing(utt2spk)}
    if len({(utt2spk[utt], session) for utt, session in sessions.items()}) > len({utt2spk[utt] for utt in sessions}):
        lists["trials_cross_session"] = Pairing(utt2spk, sessions=sessions)
    return lists


if __name__ == "__main__":
    run_step(prepare_folder)
