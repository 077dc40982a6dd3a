"""How little speech a decision pack may be asked about: errors on its own list, with test recordings cut shorter.

Called by packing.py; torch comes in through here.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.special import expit

from timbre.backend.vectors import Ints, Side
from timbre.datadir.datadir import DataDir
from timbre.datadir.trials import Trials
from timbre.decision.least_speech import CutError
from timbre.decision.pack import DecisionPack
from timbre.embedding.extract import Read, extract_embeddings
from timbre.evaluation.metrics import Floats
from timbre.feats.protocols import frame_shift_of
from timbre.feats.utterances import Utterance, list_utterances
from timbre.nnet.model import load_model
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.utils.errors import DataError

log = logging.getLogger(__name__)

LENGTHS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_UTTS = 400  # test utterances that are cut, drawn
_FEWEST = 30  # target trials; with fewer a length says nothing

Measures = Mapping[str, Mapping[str, float]]  # quality measure -> utterance -> value


def cut_errors(
    pack: DecisionPack, model_dir: Path, data: DataDir, sides: tuple[Side, Side], trials: Trials, measures: Measures
) -> list[CutError]:
    """Errors of PACK on TRIALS with their test utterances cut to each of LENGTHS, as far as they have as much speech.

    Args:
        pack: back-end and calibration
        model_dir: the network
        data: the features of the test utterances; those that are not there are not cut
        sides: whole embeddings, enroll_ids and test_ids of TRIALS in their order
        trials: pairs of utterances
        measures: tables of what the calibration takes beside the score
    """
    network, normalization = load_model(model_dir)
    enroll, test = sides
    known = {utterance.utt: utterance for utterance in list_utterances(data, normalization)}
    there = np.array([utt in known for utt in trials.test_ids], bool)
    drawn = np.random.default_rng(0).permutation(np.flatnonzero(there))[:_UTTS]
    shift = frame_shift_of(data)
    rows = np.flatnonzero(np.isin(trials.test, drawn))
    if not rows.size:
        return []
    whole = _llrs(pack, enroll, test, trials, rows, measures)
    result = []
    for seconds in LENGTHS:
        pieces = [_cut(known[trials.test_ids[place]], round(seconds / shift), normalization) for place in drawn]
        found = extract_embeddings(network, [piece for piece in pieces if piece is not None]).vectors
        places = [place for place in drawn.tolist() if trials.test_ids[place] in found]
        part = np.flatnonzero(np.isin(trials.test[rows], places))
        if not places or np.count_nonzero(trials.target[rows[part]]) < _FEWEST or trials.target[rows[part]].all():
            continue
        vectors = test.vectors.copy()
        vectors[places] = [found[trials.test_ids[place]] for place in places]
        norms = {trials.test_ids[place]: float(np.log(np.linalg.norm(vectors[place]) + 1e-30)) for place in places}
        changed = {"logdur": dict.fromkeys(norms, float(np.log(seconds))), "magnitude": norms}
        cut = Side.single(test.ids, vectors, test.path)
        llrs = _llrs(pack, enroll, cut, trials, rows[part], measures, changed)
        target = trials.target[rows[part]]
        promised = _promised(llrs, target) if "logdur" in pack.measures else 0.0
        result.append(CutError(seconds, len(part), _error(llrs, target), _error(whole[part], target), promised))
        log.info(
            "%g s of speech: balanced error %.2f %%, whole %.2f %%",
            seconds,
            100 * result[-1].error,
            100 * result[-1].whole,
        )
    return result


def _cut(utterance: Utterance, num_frames: int, options: NormalizeOptions) -> Read | None:
    """What is around NUM_FRAMES frames of speech in the middle, normalised by itself, as a recording of that would be;
    None where there is less speech."""
    try:
        feats, voiced = utterance.load()
    except DataError:
        return None
    speech = np.flatnonzero(voiced if voiced is not None else np.ones(len(feats), bool))
    if len(speech) < num_frames:
        return None
    first = (len(speech) - num_frames) // 2
    span = slice(speech[first], speech[first + num_frames - 1] + 1)
    return utterance.utt, normalize(feats[span], None if voiced is None else voiced[span], options)


def _llrs(
    pack: DecisionPack,
    enroll: Side,
    test: Side,
    trials: Trials,
    rows: Ints,
    measures: Measures,
    changed: Measures | None = None,
) -> Floats:
    """Log-likelihood ratios of ROWS of TRIALS; CHANGED: what test utterances have instead of MEASURES."""
    ones, twos = trials.enroll[rows].astype(np.int64), trials.test[rows].astype(np.int64)
    scores = pack.scorer.pairs(enroll, test, ones, twos)
    left = [{name: measures[name][utt] for name in pack.measures} for utt in trials.enroll_ids]
    right = [
        {name: (changed or {}).get(name, {}).get(utt, measures[name][utt]) for name in pack.measures}
        for utt in trials.test_ids
    ]
    return pack.llr(scores, [left[row] for row in ones.tolist()], [right[row] for row in twos.tolist()])


def _promised(llrs: Floats, target: np.ndarray) -> float:
    """The error to expect of LLRS if they are what they say: the posterior of the less probable answer."""
    wrong = expit(-np.abs(llrs))
    return float((wrong[target].mean() + wrong[~target].mean()) / 2)


def _error(llrs: Floats, target: np.ndarray) -> float:
    return float((np.mean(llrs[target] < 0) + np.mean(llrs[~target] >= 0)) / 2)
