"""YAML and JSON of strangers are read in bounded time and memory, or refused in one line, wherever they are read."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from timbre.decision.calibration import Calibration
from timbre.decision.pack import read_points
from timbre.egs.egs_format import Manifest
from timbre.nnet.model import read_config as read_model_config
from timbre.recipe.settings import Settings
from timbre.utils.configure import read_config
from timbre.utils.documents import read_json, read_yaml
from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float, to_int

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)
READERS: dict[str, Callable[[Path], object]] = {
    "configuration": read_config,
    "calibration": Calibration.read,
    "thresholds": read_points,
    "model": lambda path: read_model_config(path.parent),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "text, problem",
    [
        ("[" * 5000, "depth"),
        ("".join(" " * depth + "a:\n" for depth in range(500)), "nested more than 60 deep"),
        (LAUGHS, "more than 200,000 values"),
        ("a: &a [*a]", "refers to nothing, or to what it is in"),
        ("a: 1\na: 2", "'a' is there twice"),
        ("a: !!python/object:os.x {}", "no place here"),
        ("a: " + 5000 * "9", "4300 digits"),
        ("\ufeffa: 1", "begins with a byte order mark"),
    ],
    ids=["nested", "indented", "laughs", "recursive", "twice", "tag", "digits", "bom"],
)
def test_yaml_that_would_harm_is_refused(
    tmp_path: Path, reader: Callable[[Path], object], text: str, problem: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    began = time.monotonic()
    with pytest.raises(DataError, match=problem) as caught:
        reader(path)
    assert time.monotonic() - began < 2 and "\n" not in str(caught.value)


def test_plain_types(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1_0\nb: 1e-3\nc: 1:30\nd: 010\ne: 2020-01-01\nf: -.inf\ng: -3\nh: &h [true]\ni: *h\nj: ~\n")
    found = read_yaml(path)
    assert [found[key] for key in "abcdefg"] == ["1_0", 0.001, "1:30", "010", "2020-01-01", float("-inf"), -3]
    assert found["h"] == found["i"] == [True] and found["j"] is None


def test_files_without_an_end_are_refused() -> None:
    for read in (read_yaml, read_json):
        with pytest.raises(DataError, match=r"more than \d+ MB"):
            read(Path("/dev/zero"))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + 5000 * "9" + "}", "{", "\ufeff{}", '{"a": "\ud800'])
def test_json_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    for read in (lambda: read_json(tmp_path / "manifest.json"), lambda: Manifest.read(tmp_path)):
        with pytest.raises(DataError, match=r"manifest\.json"):
            read()


def test_manifests_of_wrong_types(tmp_path: Path) -> None:
    ark = {
        "name": "a", "examples": 1, "frames": 2, "key_bytes": 3, "num_bytes": 4, "sha256": "x", "labels_sha256": "y"
    }  # fmt: skip
    good = {
        "version": 1, "data_dir": "d", "seed": 0, "options": {}, "normalize": {}, "feat_dim": 5, "num_speakers": 2,
        "num_examples": 1, "num_frames": 2, "num_utterances": 1, "num_too_short": 0, "num_unused": 0,
        "num_valid_speaker_utts": 0, "valid_utts": [], "valid_speakers": ["a"], "train": [ark], "valid": [],
    }  # fmt: skip
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(good))
    assert Manifest.read(tmp_path).feat_dim == 5
    bad: list[dict[str, object]] = [
        {"feat_dim": "5"}, {"feat_dim": -5}, {"feat_dim": 5.5}, {"seed": True}, {"valid_speakers": "ab"},
        {"valid_utts": [1]}, {"train": {"a": 1}}, {"train": [[1]]}, {"train": [{**ark, "frames": None}]},
        {"options": {"min_frames": "x"}}, {"options": [1]}, {"normalize": {"window": []}}, {"waveform": 3},
        {"options": {5000 * "a.": 1}}, {"version": [1]}, {"more": 1},
    ]  # fmt: skip
    for change in bad:
        path.write_text(json.dumps(good | change))
        with pytest.raises(DataError, match=r"manifest\.json"):
            Manifest.read(tmp_path)
    path.write_text("[1]")
    with pytest.raises(DataError, match="not a manifest"):
        Manifest.read(tmp_path)


def test_settings_of_a_run_read_yaml_so_too(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(LAUGHS)
    with pytest.raises(DataError, match="more than 200,000 values"):
        _ = Settings(backend_conf=str(tmp_path / "b.yaml")).is_llr


def test_numbers_are_those_of_c() -> None:
    assert to_float("-1.5e3") == to_float(b"-1500") == -1500 and to_int("-12") == -12
    for text in ("1_0", "１", "x", "", "0x10", "1 0"):
        with pytest.raises(ValueError):
            to_float(text)
    for text in ("1_0", "１", "9" * 30, "1.5"):
        with pytest.raises(ValueError):
            to_int(text)


def test_calibrations_of_numbers_beyond_any_float(tmp_path: Path) -> None:
    term = "{kind: score, name: score, weight: 1" + 400 * "0" + "}"
    (tmp_path / "c.yaml").write_text(
        f"offset: 1\nterms: [{term}]\nprior: 0.5\ntrained_on: {{targets: 1, nontargets: 1}}\n"
    )
    with pytest.raises(DataError, match=r"c\.yaml: not a calibration: OverflowError"):
        Calibration.read(tmp_path / "c.yaml")
