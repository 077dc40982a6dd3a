#!/usr/bin/env python3
"""Overlapping windows of the speech of recordings, for diarization."""

import logging
from pathlib import Path

from timbre.datadir.ark import read_mat
from timbre.datadir.datadir import DataDir
from timbre.datadir.rttm import Spans, read_rttm, speech_of
from timbre.diarization.recordings import durations, frame_shift
from timbre.diarization.windows import windows_of
from timbre.runtime.spans import WindowOptions, smooth, speech_of_vad
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def make_windows(
    data_dir: Path, out_dir: Path, rttm: Path | None = None, windows: WindowOptions = WindowOptions()
) -> None:
    """Write OUT_DIR, a data directory whose utterances are windows of the speech of DATA_DIR (segments).

    Speech is where vad.scp says so, or where anyone speaks in RTTM. Windows are named recording-start-end, in
    hundredths of a second; the recording stands for the speaker, who is not known yet.

    Args:
        data_dir: recordings with wav.scp and utt2dur, and vad.scp if there is no RTTM
        out_dir: the new data directory
        rttm: take the speech of this file instead of the VAD
        windows: how speech is cut, or a YAML file of it
    """
    data = DataDir.read(data_dir, need_speakers=False)
    if data.segments:
        raise DataError("whole recordings are wanted, but there are segments", data_dir / "segments")
    seconds = durations(data)
    speech = _voiced(data, seconds) if rttm is None else _spoken(data, rttm)
    speech = {utt: smooth(spans, seconds[utt], windows) for utt, spans in speech.items()}
    for utt in data.utts:
        if not speech.get(utt):
            logging.warning("%s: no speech in '%s'", data_dir, utt)
    segments = dict(sorted(windows_of(speech, windows).items()))
    if not segments:
        raise DataError("no speech in any recording", data_dir)
    wavs = {segment.recording: data.wavs[segment.recording] for segment in segments.values()}
    DataDir(out_dir, wavs, {name: one.recording for name, one in segments.items()}, segments).write(out_dir)
    total = sum(end - start for spans in speech.values() for start, end in spans)
    logging.info("%s: %d windows of %d recordings, %.2f h of speech", out_dir, len(segments), len(wavs), total / 3600)


def _voiced(data: DataDir, seconds: dict[str, float]) -> Spans:
    shift = frame_shift(data)
    decisions = data.table("vad.scp")
    if missing := [utt for utt in data.utts if utt not in decisions]:
        raise DataError(f"recording '{missing[0]}' is not in it", data.path / "vad.scp")
    return {utt: speech_of_vad(read_mat(decisions[utt], utt) != 0, shift, seconds[utt]) for utt in data.utts}


def _spoken(data: DataDir, rttm: Path) -> Spans:
    speech = speech_of(read_rttm(rttm))
    if unknown := sorted(speech.keys() - data.wavs.keys()):
        raise DataError(f"recording '{unknown[0]}' is not in {data.path / 'wav.scp'}", rttm)
    return speech


if __name__ == "__main__":
    run_step(make_windows)
