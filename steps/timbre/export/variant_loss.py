"""What smaller weights lose: embeddings, scores, EER of each variant of a pack. Called by pack_writer.py."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.audio.reading import AudioReader
from timbre.datadir.datadir import DataDir
from timbre.datadir.trials import read_trials
from timbre.evaluation.bootstrap import bootstrap
from timbre.evaluation.metrics import roc
from timbre.evaluation.speakers import trial_speakers
from timbre.runtime.encoder import Encoder
from timbre.runtime.pack_file import PackFile
from timbre.runtime.scorer import Scorer
from timbre.runtime.sound import Sound, Unusable
from timbre.runtime.thresholds import interval
from timbre.utils.errors import DataError

_DRAWS = 1000

log = logging.getLogger(__name__)


def measure_variants(pack: PackFile, data_dir: Path, num_utts: int, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Of each variant: embedding_error (mean, relative to fp32), score_difference (mean), eer, eer_change beside fp32
    with its interval (95 %, speakers drawn anew) as eer_change_ci, and on what.

    Args:
        pack: with the variants
        data_dir: data directory with wav.scp and trials
        num_utts: so many utterances, drawn with SEED, if the trials have more

    Raises:
        DataError: it has no trials, or none is left of utterances that can be used
    """
    data, trials = DataDir.read(data_dir), read_trials(data_dir / "trials")
    utts = sorted({*trials.enroll_ids, *trials.test_ids} & set(data.utts))
    if len(utts) > num_utts:
        utts = sorted(np.random.default_rng(seed).choice(utts, num_utts, replace=False).tolist())
    vectors = {variant: _vectors(Encoder(pack, 1, variant), data, utts) for variant in pack.settings["models"]}
    place = {utt: row for row, utt in enumerate(vectors["fp32"][0])}
    enroll = np.array([place.get(utt, -1) for utt in trials.enroll_ids])[trials.enroll]
    test = np.array([place.get(utt, -1) for utt in trials.test_ids])[trials.test]
    kept = (enroll >= 0) & (test >= 0)
    target = trials.target[kept]
    if not target.any() or target.all():
        raise DataError(f"of {num_utts} utterances no target or no nontarget trials are left", data_dir / "trials")
    scorer, exact = Scorer.of(pack), np.zeros(0)
    speakers = trial_speakers(data_dir / "trials", trials)
    sides = speakers.enroll[trials.enroll][kept], speakers.test[trials.test][kept]
    found: dict[str, dict[str, Any]] = {}
    for variant, (_, matrix) in vectors.items():
        scores = np.asarray(scorer.score(matrix, np.ones(len(matrix), np.int64), matrix))[enroll[kept], test[kept]]
        eer = float(roc(scores[target], scores[~target]).eer())
        draws = bootstrap(scores, target, *sides, num_draws=_DRAWS, seed=seed).eer
        if variant == "fp32":
            exact, first, before, base = scores, matrix, draws, eer
        error = np.linalg.norm(matrix - first, axis=1) / np.linalg.norm(first, axis=1)
        found[variant] = {
            "embedding_error": float(error.mean()),
            "score_difference": float(np.abs(scores - exact).mean()),
            "eer": eer,
            "eer_change": eer - base,
            "eer_change_ci": interval(draws - before),
            "targets": int(target.sum()),
            "nontargets": int((~target).sum()),
            "measured_on": f"{data_dir / 'trials'}: {len(place)} utterances",
        }
        change = 100 * (eer - base)
        log.info("%s: EER %.3f %% (%+.3f), scores differ by %.2g", variant, 100 * eer, change,
                 found[variant]["score_difference"])  # fmt: skip
    return found


def _vectors(encoder: Encoder, data: DataDir, utts: list[str]) -> tuple[list[str], NDArray[np.float32]]:
    """Ids and embeddings of those of UTTS that can be used."""
    reader, ids, vectors = AudioReader(encoder.channel), [], []
    for utt in utts:
        place, segment = data.recording_of(utt)
        try:
            samples, rate = reader.read(place, segment)
            vectors.append(encoder(Sound(samples, rate, utt), 0.0).vector)
        except Unusable:
            continue
        ids.append(utt)
    if not ids:
        raise DataError("no utterance can be used", data.path)
    return ids, np.stack(vectors)
