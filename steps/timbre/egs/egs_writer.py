"""Writes egs: normalised voiced features, or waveforms, cut into chunks, shuffled into arks; for steps/get_egs.py."""

import hashlib
import itertools
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.datadir.ark import ArkWriter
from timbre.datadir.contents import ORIGINALS
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.datadir.trials import Trials, write_trials
from timbre.egs.egs_format import VERSION, EgsArk, Encoding, Manifest, empty_records, encode, record_dtype
from timbre.egs.egs_plan import ArkPlan, Candidates, Ints, plan_arks, plan_valid, split_with_copies
from timbre.egs.held_out import Unknown
from timbre.egs.options import EgsOptions
from timbre.egs.waveforms import Waveform, list_waveforms
from timbre.feats.utterances import Utterance, count_frames, list_utterances
from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write, check_folder, claim_folder, remove_temporaries
from timbre.utils.jobs import run_jobs

# of the held-out speakers: enough for a stable EER, little enough to be embedded often
TRIAL_UTTS = 12  # of each speaker
TRIAL_FRAMES = 1000  # of each utterance
TRIAL_NONTARGETS = 20_000

_KIND = "folder of training examples"
_MADE = re.compile(r"(egs|valid)\.\d+\.(ark|spk)|valid_utts\.ark|valid_trials|too_short|spk2int")

log = logging.getLogger(__name__)


def write_egs(
    data: DataDir,
    out_dir: Path,
    options: EgsOptions,
    normalization: NormalizeOptions,
    nj: int,
    seed: int,
    unknown: Unknown | None = None,
) -> Manifest:
    """Writes egs.N.ark, valid.N.ark (each with .spk), spk2int, valid_utts.ark, valid_trials, too_short, manifest.json.

    What is held out for validation is features in any case, as evaluation has them.

    Args:
        data: has feats.scp and, if the normalisation selects voiced frames, vad.scp; for waveforms also wav.scp
        out_dir: egs that were there before are removed first; a folder of anything else is left as it is
        options: kind, sizes and amounts
        normalization: of whole utterances, before they are cut. Of waveforms only the voiced frames are selected here,
            first of all (`voiced_first`), and the rest is done to crops in training
        nj: number of jobs; does not change what is written
        seed: of everything random
        unknown: the speakers that may be held out; None: any

    Raises:
        DataError: features or VAD are missing or do not fit, or too little is left to train on
    """
    check_folder(out_dir, _KIND, [data.path], "manifest.json")
    if options.kind == "waveform":
        normalization = replace(normalization, voiced_first=True)
    utterances = list_utterances(data, normalization)
    waveforms = list_waveforms(data, normalization) if options.kind == "waveform" else []
    feat_dim = utterances[0].dim()
    frames = count_frames(utterances, nj)
    usable = np.flatnonzero(frames >= options.shortest)
    if not len(usable):
        raise DataError(f"none of {len(frames)} utterances has {options.shortest} voiced frames", data.path)
    spk_names, speakers = np.unique([data.utt2spk[one.utt] for one in utterances], return_inverse=True)
    rng = np.random.default_rng(seed)
    originals = _originals(data, [utterances[utt].utt for utt in usable])
    candidates = None
    if unknown is not None:
        candidates = Candidates(np.flatnonzero(np.isin(spk_names, sorted(unknown.speakers))), unknown.counted)
    split = split_with_copies(speakers[usable], originals, options, rng, candidates)
    train, valid, trial = (usable[part] for part in split)
    trained = np.unique(speakers[train])
    if len(trained) < 2:
        raise DataError(f"{len(trained)} speaker is left to train on; a network needs 2 or more", data.path)

    waveform = waveforms[0].features if waveforms else None
    if waveform and waveform.dim != feat_dim:
        raise DataError(f"features of dimension {feat_dim}, but conf/feats.yaml says {waveform.dim}", data.path)
    encoding: Encoding = "samples" if waveform else options.compression
    dim = waveform.shift if waveform else feat_dim
    train_plans = plan_arks(train, frames, speakers, dim, options, rng)
    valid_plans = plan_valid(valid, frames, options)
    labels = np.searchsorted(trained, speakers)  # of no meaning for held-out speakers, which are in no plan
    _clear(out_dir)
    jobs = [
        _FillJob.of(out_dir / f"egs.{number}.ark", plan, waveforms or utterances, frames, labels, dim, encoding)
        for number, plan in enumerate(train_plans, 1)
    ]
    jobs += [
        _FillJob.of(out_dir / f"valid.{number}.ark", plan, utterances, frames, labels, feat_dim, options.compression)
        for number, plan in enumerate(valid_plans, 1)
    ]
    arks = run_jobs(_fill, jobs, nj, "egs", unit="ark")
    remove_temporaries(out_dir, of_others=True)  # of workers that were lost
    train_arks, valid_arks = arks[: len(train_plans)], arks[len(train_plans) :]

    write_table(out_dir / "spk2int", {spk_names[spk]: str(number) for number, spk in enumerate(trained)})
    _write_too_short(out_dir / "too_short", utterances, frames, options)
    _write_trials(out_dir, utterances, trial, speakers, rng)
    manifest = Manifest(
        version=VERSION,
        data_dir=str(data.path),
        seed=seed,
        options=options,
        normalize=normalization,
        feat_dim=feat_dim,
        num_speakers=len(trained),
        num_examples=sum(ark.examples for ark in train_arks),
        num_frames=sum(ark.examples * ark.frames for ark in train_arks),
        num_utterances=len(utterances),
        num_too_short=len(utterances) - len(usable),
        num_valid_speaker_utts=len(trial),
        num_unused=len(np.setdiff1d(train, np.concatenate([plan.utt for plan in train_plans]))),
        valid_utts=[utterances[utt].utt for utt in valid],
        valid_speakers=[str(name) for name in spk_names[np.unique(speakers[trial])]],
        train=train_arks,
        valid=valid_arks,
        waveform=waveform,
    )
    manifest.write(out_dir)
    return manifest


def _originals(data: DataDir, utts: list[str]) -> Ints:
    """The place in UTTS of what each of them is a copy of (utt2uniq), itself if it is none, -1 if it is not there."""
    table = data.table(ORIGINALS) if data.has(ORIGINALS) else {}
    places = {utt: place for place, utt in enumerate(utts)}
    return np.array([places.get(table.get(utt, utt), -1) for utt in utts], np.int64)


@dataclass(frozen=True)
class _FillJob:
    """An ark to write, and the utterances it needs: plan.utt are indices into these."""

    path: Path
    plan: ArkPlan
    utterances: Sequence[Utterance | Waveform]
    frames: Ints
    labels: Ints
    dim: int
    encoding: Encoding

    @classmethod
    def of(
        cls,
        path: Path,
        plan: ArkPlan,
        utterances: Sequence[Utterance | Waveform],
        frames: Ints,
        labels: Ints,
        dim: int,
        encoding: Encoding,
    ) -> "_FillJob":
        """The job of PLAN, whose utterances are indices into all of UTTERANCES, FRAMES and LABELS."""
        needed, utt = np.unique(plan.utt, return_inverse=True)
        plan = ArkPlan(plan.frames, utt, plan.start)
        return cls(path, plan, [utterances[one] for one in needed], frames[needed], labels[needed], dim, encoding)


def _fill(job: _FillJob) -> EgsArk:
    """Reads each utterance of an ark once, puts its chunks in their places, then writes the ark and its labels."""
    plan = job.plan
    keys = _keys([job.utterances[utt].utt for utt in plan.utt], plan.start)
    dtype = record_dtype(len(keys[0]), plan.frames, job.dim, job.encoding)
    records = empty_records(keys, dtype, job.encoding)
    by_utt = np.argsort(plan.utt, kind="stable")  # in the order of feats.scp, so mostly that of the disk
    for utt, examples in itertools.groupby(by_utt, lambda example: int(plan.utt[example])):
        rows = job.utterances[utt].read()
        if rows.shape != (job.frames[utt], job.dim):
            raise DataError(f"utterance {job.utterances[utt].utt} is {rows.shape}, not {(job.frames[utt], job.dim)}")
        for example in examples:
            encode(records, example, _chunk(rows, int(plan.start[example]), plan.frames), job.encoding)
    labels = b"".join(key + b" %d\n" % job.labels[utt] for key, utt in zip(keys, plan.utt, strict=True))
    with atomic_write(job.path, "wb") as file:
        file.write(records.data)
    with atomic_write(job.path.with_suffix(".spk"), "wb") as file:
        file.write(labels)
    return EgsArk(
        name=job.path.stem,
        examples=len(keys),
        frames=plan.frames,
        key_bytes=len(keys[0]),
        num_bytes=records.nbytes,
        sha256=hashlib.sha256(records.data).hexdigest(),
        labels_sha256=hashlib.sha256(labels).hexdigest(),
    )


def _chunk(rows: npt.NDArray[Any], start: int, frames: int) -> npt.NDArray[Any]:
    """FRAMES of ROWS from START on; where the utterance ends it begins again."""
    if start + frames <= len(rows):
        return rows[start : start + frames]
    return rows[np.arange(start, start + frames) % len(rows)]


def _keys(utts: Sequence[str], starts: Ints) -> list[bytes]:
    """Keys "utt-start-number" of one length; the number makes them unique, and its zeros make up the length."""
    heads = [f"{utt}-{start}-".encode() for utt, start in zip(utts, starts, strict=True)]
    width = max(map(len, heads)) + len(str(len(heads)))
    return [head + b"%0*d" % (width - len(head), number) for number, head in enumerate(heads)]


def _clear(out_dir: Path) -> None:
    """Removes egs, finished or not; the manifest goes first, so that what remains after a kill never looks complete."""
    claim_folder(out_dir, _KIND, sign="manifest.json")
    (out_dir / "manifest.json").unlink(missing_ok=True)
    remove_temporaries(out_dir)
    for path in out_dir.iterdir():
        if _MADE.fullmatch(path.name):
            path.unlink()


def _write_too_short(path: Path, utterances: list[Utterance], frames: Ints, options: EgsOptions) -> None:
    short = np.flatnonzero(frames < options.shortest)
    with atomic_write(path) as file:
        file.writelines(f"{utterances[utt].utt} {frames[utt]}\n" for utt in short)
    if len(short):
        log.warning("%d utterances have fewer than %d voiced frames: see %s", len(short), options.shortest, path)


def _write_trials(
    out_dir: Path, utterances: list[Utterance], trial: Ints, speakers: Ints, rng: np.random.Generator
) -> None:
    """valid_utts.ark with features of the held-out speakers, and valid_trials: all target pairs, some of the others."""
    chosen = [rng.permutation(trial[speakers[trial] == spk])[:TRIAL_UTTS] for spk in np.unique(speakers[trial])]
    if not chosen:
        return
    kept = np.sort(np.concatenate(chosen))
    with ArkWriter(out_dir / "valid_utts.ark") as writer:
        for utt in kept:
            writer.write(utterances[utt].utt, utterances[utt].read()[:TRIAL_FRAMES])
    enroll, test = np.triu_indices(len(kept), 1)
    target = speakers[kept[enroll]] == speakers[kept[test]]
    nontargets = rng.permutation(np.flatnonzero(~target))[:TRIAL_NONTARGETS]
    pairs = np.sort(np.concatenate([np.flatnonzero(target), nontargets]))
    ids = [utterances[utt].utt for utt in kept]
    trials = Trials(ids, ids, enroll[pairs].astype(np.int32), test[pairs].astype(np.int32), target[pairs])
    write_trials(out_dir / "valid_trials", trials)
