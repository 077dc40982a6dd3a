#!/usr/bin/env python3
"""A corpus of speakers who do not exist: espeak-ng with drawn voices, recorded in drawn sessions."""

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora import synth_voice
from timbre.corpora.synth_speaker import Speaker, SynthOptions, draw_speakers, record_afresh
from timbre.datadir.datadir import DataDir
from timbre.datadir.pairs import Pairing
from timbre.datadir.phones import PHONES, write_phones
from timbre.datadir.tables import write_table
from timbre.datadir.trials import write_trials
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_folder, atomic_write, remove_temporaries
from timbre.utils.fingerprint import digest
from timbre.utils.jobs import run_jobs

log = logging.getLogger(__name__)


def prepare_synth(out_dir: Path, synth: SynthOptions = SynthOptions(), seed: int = 0, nj: int = 2) -> None:
    """Make a speech corpus from nothing: data directories OUT_DIR/train and OUT_DIR/eval, their audio in OUT_DIR/audio.

    It depends on the options and the seed alone. A run that was interrupted goes on where it stopped.
    OUT_DIR/eval has two trial lists: `trials`, pairs of one sex and of different sessions, and `trials_all`. phones.ctm
    has the phonemes of every utterance, as espeak-ng spoke them.

    Args:
        out_dir: where the corpus goes
        synth: size and difficulty of the corpus; see conf/synth/
        seed: another seed gives other speakers
        nj: number of jobs
    """
    audio = out_dir / "audio"
    _keep_what_fits(audio, {"seed": seed, "espeak-ng": synth_voice.engine_version(), "code": _code(), **asdict(synth)})
    train = draw_speakers(synth.train_speakers, "t", audio, synth, seed)
    others = draw_speakers(synth.eval_speakers, "e", audio, synth, seed)
    missing = [speaker for speaker in train + others if not speaker.is_recorded()]
    run_jobs(record_afresh, missing, nj, "synthesis", unit="speaker")
    _write_set(out_dir / "train", train)
    _write_set(out_dir / "eval", others)
    _write_trials(out_dir / "eval", others, synth.nontargets, seed)


def _code() -> dict[str, str | None]:
    return {path.name: digest(path) for path in sorted(Path(synth_voice.__file__).parent.glob("synth_*.py"))}


def _keep_what_fits(audio: Path, made_from: dict[str, object]) -> None:
    """Leaves in AUDIO only what an earlier run made from the same things, and notes beside it what they are."""
    note = audio.parent / "synth.json"
    text = json.dumps(made_from, indent=1) + "\n"
    if audio.exists() and note.exists():
        if note.read_text(encoding="utf-8") == text:
            remove_temporaries(audio)
            return
        log.info("%s: options have changed; making it again", audio)
    with atomic_folder(audio, "corpus of synthetic voices", sign="../synth.json"):
        pass  # a new one, empty
    with atomic_write(note) as file:
        file.write(text)


def _write_set(path: Path, speakers: list[Speaker]) -> None:
    utts = {utt: speaker for speaker in speakers for utt in speaker.sessions}
    wavs = {utt: speaker.audio(utt) for utt, speaker in utts.items()}
    seconds = {utt: _duration(wav) for utt, wav in wavs.items()}
    DataDir(path, {utt: str(wav) for utt, wav in wavs.items()}, _spk(speakers)).write(path)
    write_table(path / "utt2dur", {utt: f"{duration:.3f}" for utt, duration in seconds.items()})
    write_table(path / "utt2session", {utt: speaker.sessions[utt] for utt, speaker in utts.items()})
    write_table(path / "utt2text", {utt: speaker.text(utt) for utt, speaker in utts.items()})
    write_phones(path / PHONES, {utt: phones for speaker in speakers for utt, phones in speaker.phones().items()})
    write_table(path / "spk2gender", {speaker.name: speaker.sex for speaker in speakers})
    log.info("%s: %d speakers, %d utterances, %.1f h", path, len(speakers), len(utts), sum(seconds.values()) / 3600)


def _duration(wav: Path) -> float:
    import soundfile

    try:
        return float(soundfile.info(wav).duration)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{error.error_string} Delete it and run this again.", wav) from error


def _write_trials(path: Path, speakers: list[Speaker], nontargets: int, seed: int) -> None:
    sexes = {speaker.name: speaker.sex for speaker in speakers}
    sessions = {utt: session for speaker in speakers for utt, session in speaker.sessions.items()}
    utt2spk = _spk(speakers)
    for name, pairing in (("trials", Pairing(utt2spk, sexes, sessions)), ("trials_all", Pairing(utt2spk))):
        trials = pairing.sample(nontargets, seed=seed)
        write_trials(path / name, trials)
        all_of_them = (~trials.target).sum() < nontargets * trials.target.sum()
        log.info("%s: %s%s", path / name, trials.summary(), "" if all_of_them else " (nontarget ones sampled)")


def _spk(speakers: list[Speaker]) -> dict[str, str]:
    return {utt: speaker.name for speaker in speakers for utt in speaker.sessions}


if __name__ == "__main__":
    run_step(prepare_synth)
