"""What a person wants explained, from the words of a command: a speaker, a trial. Called by the steps that explain."""

from pathlib import Path

import torch

from timbre.backend.backends import PldaOverrides, backend_of
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_lists
from timbre.datadir.trials import read_trials
from timbre.explain.explained_score import ExplainedScore, Explainer
from timbre.explain.torch_scores import TorchBackend
from timbre.utils.errors import DataError


def explainer_of(
    model_dir: Path, data: DataDir, backend_dir: Path | None, models: Path, device: torch.device
) -> Explainer:
    """A model on DATA, with the back-end in BACKEND_DIR, or cosine, and the enrolment models that MODELS may list."""
    backend = TorchBackend(backend_of(backend_dir, PldaOverrides(), None, None))
    return Explainer(model_dir, data, backend, read_lists(models) if models.is_file() else {}, device)


def choose_target(explainer: Explainer, utt: str, target: str, trials: Path | None) -> tuple[ExplainedScore, str]:
    """What TARGET asks for, and the label of the trial in TRIALS, "" without a list.

    Args:
        explainer: the model and its data
        utt: the utterance
        target: a speaker, "ENROLL,TEST", or "": the speaker of UTT
        trials: a list that a trial is to be in

    Raises:
        DataError: there is no such speaker, trial or utterance
    """
    part = explainer.part(utt)
    enroll, comma, test = target.partition(",")
    if not comma:
        if trials is not None:
            raise DataError(f"--trials is for a trial, --target ENROLL,TEST, not for '{target}'")
        return explainer.speaker([part], target or explainer.data.utt2spk[utt]), ""
    if not enroll or not test or "," in test:
        raise DataError(f"--target '{target}' is not ENROLL,TEST: a side is missing, or there are more than two")
    if utt not in (test, *explainer.models.get(enroll, [enroll])):
        raise DataError(f"--target '{target}': utterance '{utt}' is on neither side")
    return explainer.pair(enroll, test), label_of(trials, enroll, test) if trials else ""


def label_of(trials: Path, enroll: str, test: str) -> str:
    """target or nontarget, as the list TRIALS says of the trial.

    Raises:
        DataError: it is not in it
    """
    listed = read_trials(trials)
    sides = [
        ids.index(one) if one in ids else -1 for ids, one in ((listed.enroll_ids, enroll), (listed.test_ids, test))
    ]
    rows = ((listed.enroll == sides[0]) & (listed.test == sides[1])).nonzero()[0]
    if not rows.size:
        raise DataError(f"no trial '{enroll} {test}' in it", trials)
    return "target" if listed.target[rows[0]] else "nontarget"
