"""Numbers and words that no step can want are refused in one place, on command lines and in YAML."""

import subprocess
import sys
from pathlib import Path

import pytest

from timbre.backend.model_kinds import Model
from timbre.utils.configure import choose
from timbre.utils.errors import DataError
from timbre.utils.sensible import nonsense

LINES = [
    ("steps/make_fbank.py data --nj 0", "nj is 0; it must be at least 1"),
    ("steps/make_fbank.py data --nj -3", "nj is -3; it must be at least 1"),
    ("steps/make_fbank.py data --nj 1_0", "nj is '1_0'; a number is wanted"),
    ("steps/make_fbank.py data --fbank.low_freq .nan", "fbank.low_freq is nan; a number is wanted"),
    ("steps/make_fbank.py data --fbank.num_mel_bins -5", "fbank.num_mel_bins is -5; it must be at least 0"),
    ("steps/compute_metrics.py trials scores --draws -1", "draws is -1; it must be at least 0"),
    ("steps/compute_metrics.py trials scores --protocol $'a\nb'", "protocol has a line break"),
    ("steps/make_trials.py data --seed -1", "seed is -1; it must be at least 0"),
    ("steps/make_decision_pack.py a b c d e f --min-speech=-.inf", "min_speech is -inf; a number is wanted"),
    ("steps/make_decision_pack.py a b c d e f --min-speech -1", "min_speech is -1"),
    ("steps/make_decision_pack.py a b c d e f --prior .nan", "prior is nan; a number is wanted"),
    ("steps/extract_embeddings.py model data x --allow-missing -1", "allow_missing is -1; it must be at least 0"),
]


@pytest.mark.parametrize("line, problem", LINES)
def test_options_that_make_no_sense(root: Path, tmp_path: Path, line: str, problem: str) -> None:
    script, _, rest = line.partition(" ")
    command = ["bash", "-c", f'exec "$0" "$1" {rest}', sys.executable, str(root / script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and problem in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [-1, 0, float("nan"), float("inf"), "1_0"])
def test_counts_of_a_back_end(value: object) -> None:
    with pytest.raises(DataError, match="num_iters"):
        choose(Model, {"class_path": "TwoCovariancePlda", "init_args": {"num_iters": value}})  # type: ignore[type-abstract]


def test_what_may_be_negative_has_a_default_that_is() -> None:
    assert nonsense({"channel": -1}, {"channel": -1}, {}) is None
    assert nonsense({"channel": -2, "snrs": [-5, 0]}, {"channel": -1}, {}) is None
    assert nonsense({"a.threshold": -2.5, "text": "one line"}, {"a.threshold": 1.0}, {}, own=True) is None
    assert nonsense({"snrs": [1.0, float("nan")]}, {}, {}) == "snrs is nan; a number is wanted"
    assert nonsense({"count": 10**400}, {}, {}) == "count is a number of 401 digits"
    assert nonsense({"share": -0.5}, {"share": 0.1}, {}, own=True) == "share is -0.5; it must be at least 0"
