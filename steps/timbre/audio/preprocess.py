"""Resampled and filtered copies of the audio of a data directory. Called by preprocess_audio.py."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from timbre.audio.audio_files import AudioFormat, Item, dump_audio
from timbre.audio.effects import Chain
from timbre.datadir.contents import MODELS, Contents
from timbre.datadir.datadir import DataDir
from timbre.datadir.pairs import without_shared
from timbre.datadir.phones import PHONES
from timbre.datadir.tables import split_blanks
from timbre.utils.errors import DataError
from timbre.utils.missing import Allowed

OF_OLD_AUDIO = (
    *("feats.scp", "energy.scp", "vad.scp", "cmvn.scp", "utt2num_frames", "frame_shift", "conf/feats.yaml"),
    PHONES,  # effects that trim or change the speed move them
)


def preprocess_audio(
    data: DataDir,
    out_dir: Path,
    chain: Chain,
    nj: int,
    rate: int | None = None,
    channel: int = -1,
    seed: int = 0,
    audio_format: AudioFormat = "flac",
    allow_missing: Allowed = 0,
    cut: bool = False,
    across: Sequence[str] = (),
) -> None:
    """Writes OUT_DIR: every recording of DATA as a 16-bit file under OUT_DIR/audio, and the tables that go with them.

    What effects say that they drew goes into tables of its own, utt2room, utt2snr and so on, in the place of those
    that DATA has of these names.

    Args:
        data: the data directory; it must have wav.scp
        out_dir: the new one
        chain: effects after the resampling
        nj: number of jobs
        rate: sample rate to resample to; None keeps it
        channel: of audio with several, from 0; -1: the audio must be mono
        seed: of effects that are random
        audio_format: of the new files
        allow_missing: number or share of recordings that may fail: they and what is said in them are left out
        cut: segments become recordings, and effects draw for each of them
        across: names of tables, such as room: trials whose sides have the same there are left out

    Raises:
        DataError: more recordings failed (OUT_DIR/audio.missing lists them), DATA has segments that are not cut and
            effects changed the length of what they are segments of, or no trial of one class is left; OUT_DIR gets no
            table
    """
    if not data.wavs:
        raise DataError("there is no wav.scp", data.path)
    if out_dir.resolve() == data.path.resolve():
        raise DataError("the new data directory must not be the old one", out_dir)
    if rate is not None and rate < 1:
        raise DataError(f"rate is {rate}; it must be at least 1 Hz")
    segments = {} if cut else data.segments
    speakers = {} if segments else data.utt2spk
    items = [Item(name, place, None, speakers.get(name, "")) for name, place in sorted(data.wavs.items())]
    if cut and data.segments:
        items = [Item(utt, *data.recording_of(utt), data.utt2spk[utt]) for utt in data.utts]
    with dump_audio(items, out_dir, chain, nj, rate, channel, seed, audio_format, allow_missing) as dumped:
        if segments and dumped.changed:
            text = f"the effects change the length of '{min(dumped.changed)}', whose segments would no longer fit"
            raise DataError(text, data.path / "segments")
        contents = Contents.read(data.path).drop(OF_OLD_AUDIO)
        if cut and data.segments:
            contents = contents.drop(["segments", *(name for name in contents.tables if name.startswith("reco2"))])
        recordings = {utt: segments[utt].recording if segments else utt for utt in data.utts}
        drawn = {
            f"utt2{label}": {utt: of_name[name] for utt, name in recordings.items() if name in of_name}
            for label, of_name in dumped.drawn.items()
        }
        tables = contents.tables | {"wav.scp": dumped.places} | drawn
        for name in ("reco2dur", *(() if segments else ("utt2dur",))):
            if name in tables:
                tables[name] = {key: f"{seconds:.6g}" for key, seconds in dumped.seconds.items()}
        contents = replace(contents, tables=tables)
        if len(dumped.places) < len(items):
            contents = contents.select({utt for utt, name in recordings.items() if name in dumped.places})
        _left_apart(contents, across).write(out_dir)


def _left_apart(contents: Contents, across: Sequence[str]) -> Contents:
    """CONTENTS without the trials whose sides have something in common in one of the tables ACROSS."""
    models = {model: split_blanks(line) for model, line in contents.tables.get(MODELS, {}).items()}
    lists = contents.trials
    for label in across:
        if f"utt2{label}" not in contents.tables:
            raise DataError(f"across: there is no table utt2{label}, and no effect draws '{label}'")
        table = contents.tables[f"utt2{label}"]
        lists = {name: without_shared(trials, table, models) for name, trials in lists.items()}
    for name, trials in lists.items() if across else ():
        if trials.target.all() or not trials.target.any():
            text = f"without trials whose sides share {' or '.join(across)}, there are none of one class"
            raise DataError(f"{name}: {text}")
    return replace(contents, trials=lists)
