#!/usr/bin/env python3
"""What is wrong with a corpus, before anything is trained on it; and whether room and microphone give speakers away."""

from pathlib import Path

from timbre.audit.audit_pass import ListenOptions, audit_audio
from timbre.audit.audited import AuditedSet, find_sets
from timbre.audit.findings import Limits, find_all
from timbre.feats.options import MfccOptions
from timbre.feats.vad import VadOptions
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def audit_data(
    data_dir: Path,
    out_dir: Path,
    strict: bool = False,
    train_set: str = "train",
    mfcc: MfccOptions = MfccOptions(num_mel_bins=30, num_ceps=30, high_freq=7600, snip_edges=False),
    vad: VadOptions = VadOptions(),
    guard: int = 0,
    limits: Limits = Limits(),
    min_frames: int = 10,
    lda_dim: int = 20,
    draws: int = 1000,
    seed: int = 0,
    nj: int = 4,
) -> None:
    """Write OUT_DIR/AUDIT.md, a report on all data directories in DATA_DIR, with audit.json, plots/ and tables.

    Serious: speakers or audio (by a hash of the samples) in both the training set and another, a wrong sample rate,
    audio that cannot be read. Minor: near-silent, clipped, short, repeated, ... utterances; speakers with one
    utterance or session. For each trial list, how well frames without speech tell speakers apart beside those of
    speech. What has not changed since the last time is not listened to again.

    Args:
        data_dir: folder of Kaldi data directories with audio: the training set, and every other is a test set
        out_dir: where to write
        strict: fail, with exit status 1, when there is a serious finding
        train_set: name of the training set
        mfcc: of the channel check; its sample_frequency is the rate wanted, unless it may be resampled (allow_*)
        vad: what tells speech from the rest
        guard: frames on each side of speech that the channel check does not listen to
        limits: from where on something is a finding
        min_frames: utterances with fewer frames of speech, or fewer without, are left out of the channel check
        lda_dim: dimension that LDA leaves in it
        draws: number of draws of speakers for its intervals
        seed: of the draws
        nj: number of jobs
    """
    from timbre.audit.audit_page import Audit  # imports matplotlib: not for --help
    from timbre.audit.channel_leak import LeakOptions, measure_leaks

    listen, leak_options = ListenOptions(mfcc, vad, guard), LeakOptions(min_frames, lda_dim, draws, seed)
    sets = []
    for data in find_sets(data_dir, train_set):
        audit_audio(data, out_dir / data.path.name, listen, nj)
        sets.append(AuditedSet.read(data, data.path.name, out_dir / data.path.name / "utt2audit.tsv"))
    findings = find_all(sets[0], sets[1:], limits, mfcc.is_wrong_rate)
    leaks, notes = measure_leaks(sets[0], sets[1:], out_dir, leak_options, nj)
    notes = [f"the channel check: {note}" for note in notes]
    if unknown := [part.name for part in sets if part.session is None]:
        notes.append(f"sessions are not known, without utt2session, in {', '.join(unknown)}")
    audit = Audit(str(data_dir), sets, findings, leaks, notes, min_frames)
    audit.write(out_dir)
    print(audit.summary())
    if strict and audit.num_serious:
        raise DataError(f"{audit.num_serious} serious findings; see {out_dir}/AUDIT.md", data_dir)


if __name__ == "__main__":
    run_step(audit_data)
