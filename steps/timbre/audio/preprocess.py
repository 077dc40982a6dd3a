"""Resampled and filtered copies of the audio of a data directory. Called by preprocess_audio.py."""

from dataclasses import replace
from pathlib import Path

from timbre.audio.audio_files import AudioFormat, Item, dump_audio
from timbre.audio.effects import Chain
from timbre.datadir.contents import Contents
from timbre.datadir.datadir import DataDir
from timbre.datadir.phones import PHONES
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
) -> None:
    """Writes OUT_DIR: every recording of DATA as a 16-bit file under OUT_DIR/audio, and the tables that go with them.

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

    Raises:
        DataError: more recordings failed (OUT_DIR/audio.missing lists them), or DATA has segments and effects changed
            the length of what they are segments of; OUT_DIR gets no table
    """
    if not data.wavs:
        raise DataError("there is no wav.scp", data.path)
    if out_dir.resolve() == data.path.resolve():
        raise DataError("the new data directory must not be the old one", out_dir)
    if rate is not None and rate < 1:
        raise DataError(f"rate is {rate}; it must be at least 1 Hz")
    speakers = {} if data.segments else data.utt2spk
    items = [Item(name, place, None, speakers.get(name, "")) for name, place in sorted(data.wavs.items())]
    with dump_audio(items, out_dir, chain, nj, rate, channel, seed, audio_format, allow_missing) as dumped:
        if data.segments and dumped.changed:
            text = f"the effects change the length of '{min(dumped.changed)}', whose segments would no longer fit"
            raise DataError(text, data.path / "segments")
        contents = Contents.read(data.path).drop(OF_OLD_AUDIO)
        tables = contents.tables | {"wav.scp": dumped.places}
        for name in ("reco2dur", *(() if data.segments else ("utt2dur",))):
            if name in tables:
                tables[name] = {key: f"{seconds:.6g}" for key, seconds in dumped.seconds.items()}
        contents = replace(contents, tables=tables)
        if len(dumped.places) < len(items):
            recordings = {utt: data.segments[utt].recording if data.segments else utt for utt in data.utts}
            contents = contents.select({utt for utt, name in recordings.items() if name in dumped.places})
        contents.write(out_dir)
