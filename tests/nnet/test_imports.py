"""Weights of other toolkits: embeddings as theirs, from the same audio; and every checkpoint that cannot be taken."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from import_peers import DATA, PEERS, embed, errors, peer_embeddings, waves
from timbre.nnet.imports.toolkits import TOOLKITS, import_weights
from timbre.nnet.model import load_model, read_config
from timbre.utils.errors import DataError
from toolkit_states import REFERENCES

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
State = dict[str, Any]


@pytest.mark.parametrize("name", PEERS)
def test_embeddings_are_those_that_the_toolkit_made(name: str, tmp_path: Path) -> None:
    import_weights(str(DATA / f"{name}.pt"), tmp_path / "model", PEERS[name][0], "", False)
    found = embed(tmp_path / "model", waves())
    assert errors(found, np.load(DATA / f"{name}.npy")).max() < TOLERANCE
    assert errors(found, np.roll(found, 1, 0)).min() > 100 * TOLERANCE, "they tell utterances apart"


@pytest.mark.parametrize("name", PEERS)
def test_embeddings_are_those_of_the_toolkit_where_it_is_installed(name: str, tmp_path: Path) -> None:
    pytest.importorskip(PEERS[name][0], reason=f"{PEERS[name][0]} is not installed: pip install '.[peers]'")
    weights = tmp_path / "new.pt"
    wanted = peer_embeddings(name, weights)
    import_weights(str(weights), tmp_path / "model", PEERS[name][0], "", False)
    assert errors(embed(tmp_path / "model", waves()), wanted).max() < TOLERANCE


def test_each_toolkit_has_a_reference() -> None:
    whole = {toolkit for toolkit in TOOLKITS if list(REFERENCES.glob(f"{toolkit}_*.npz"))}
    assert {toolkit for toolkit, _ in PEERS.values()} | whole == set(TOOLKITS)


def test_an_utterance_alone_and_in_company_are_the_same(tmp_path: Path) -> None:
    for name in PEERS:
        import_weights(str(DATA / f"{name}.pt"), tmp_path / name, PEERS[name][0], "", False)
        alone = np.concatenate([embed(tmp_path / name, [wave]) for wave in waves()])
        assert errors(embed(tmp_path / name, waves()), alone).max() < 1e-5, name


def imported(tmp_path: Path, weights: Path | str, toolkit: str = "speechbrain", **options: Any) -> Path:
    import_weights(str(weights), tmp_path / "model", toolkit, **{"licence": "", "non_commercial": False} | options)
    return tmp_path / "model"


def test_a_model_tells_where_it_is_from(tmp_path: Path) -> None:
    weights = DATA / "speechbrain_ecapa.pt"
    model = imported(tmp_path, weights, licence="CC BY-NC 4.0", non_commercial=True)
    origin = read_config(model)["origin"]
    assert origin["toolkit"] == "speechbrain" and origin["non_commercial"] is True
    note = (model / "ORIGIN.md").read_text()
    assert "CC BY-NC 4.0" in note and "Not for commercial use" in note and origin["sha256"] in note
    model = imported(tmp_path, weights)  # in its place
    assert (
        "not told" in (model / "ORIGIN.md").read_text()
        and "Not for commercial" not in (model / "ORIGIN.md").read_text()
    )


def test_importing_twice_gives_the_same_files(tmp_path: Path) -> None:
    made = [imported(tmp_path / place, DATA / "speechbrain_ecapa.pt") for place in "ab"]
    names = sorted(path.name for path in made[0].iterdir())
    assert "melspec80_speechbrain.yaml" in names
    assert all((made[0] / name).read_bytes() == (made[1] / name).read_bytes() for name in names)


def test_wrappers_of_names_and_of_tables_are_taken_off(tmp_path: Path) -> None:
    state = torch.load(DATA / "speechbrain_ecapa.pt", weights_only=True)
    wrapped = {f"module.{name}": value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "wrapped.pt")
    plain = load_model(imported(tmp_path / "a", DATA / "speechbrain_ecapa.pt"))[0].state_dict()
    again = load_model(imported(tmp_path / "b", tmp_path / "wrapped.pt"))[0].state_dict()
    assert plain.keys() == again.keys()
    assert all(value.equal(again[name]) for name, value in plain.items() if not name.endswith("tracked"))


class Payload:
    """What a hostile pickle makes Python do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.path}'",)


def half(state: State) -> State:
    return {name: value for name, value in state.items() if not name.startswith(("asp", "fc", "blocks.2"))}


def with_more(state: State) -> State:
    return state | {"extra.weight": torch.ones(2), "more.bias": torch.ones(1)}


def of_another_width(state: State) -> State:
    return state | {"blocks.2.tdnn1.conv.conv.weight": torch.ones(18, 16, 1)}


def of_other_features(state: State) -> State:
    return state | {"asp_bn.norm.weight": torch.ones(60)}


def not_finite(state: State) -> State:
    return state | {"fc.conv.bias": torch.full((20,), torch.nan)}


def scalars(state: State) -> State:
    return dict.fromkeys(state, torch.tensor(1.0))


def flat(state: State) -> State:
    return state | {"blocks.2.tdnn2.conv.conv.weight": torch.ones(256)}


def sparse(state: State) -> State:
    return state | {"fc.conv.bias": torch.ones(20).to_sparse()}


def in_itself(state: State) -> State:
    table: State = {}
    table["state_dict"] = table
    return table


def too_wide(state: State) -> State:
    empty = torch.zeros(1).expand(1 << 20, 1 << 14, 5)
    return state | {"blocks.0.conv.conv.weight": empty}


CHANGES: list[tuple[Callable[[State], Any], str]] = [
    (half, "has no 'asp.tdnn.conv.conv.weight'"),
    (
        lambda state: {name: value for name, value in state.items() if not name.startswith("blocks.3.tdnn1")},
        "unknown: ",
    ),
    (lambda state: {name: value for name, value in state.items() if "asp.conv" not in name}, "2 missing: "),
    (with_more, "2 unknown: extra.weight, more.bias"),
    (of_another_width, r"1 of another shape: blocks.2.tdnn1.conv.conv.weight \(18, 16, 1\) instead of \(16, 16, 1\)"),
    (of_other_features, r"asp_bn.norm.weight \(60,\) instead of \(48,\)"),
    (flat, r"blocks.2.tdnn2.conv.conv.weight \(256,\) instead of \(16, 16, 1\)"),
    (sparse, "not plain tables of numbers: fc.conv.bias"),
    (lambda state: state | {"blocks.1.res2net_block.blocks.0.conv.conv.weight": torch.ones(0, 4)}, "not plain tables"),
    (lambda state: state | {"fc.conv.weight": torch.empty(20, 48, 1, device="meta")}, "fc.conv.weight"),
    (lambda state: state | {"module.fc.conv.bias": torch.ones(20)}, "with and without 'module.'"),
    (in_itself, "holds no weights"),
    (not_finite, "not finite: fc.conv.bias"),
    (scalars, "not that of the toolkit"),
    (lambda state: {"lstm.weight_ih_l0": torch.ones(4, 4)}, "has no 'blocks.0.conv.conv.weight'"),
    (lambda state: {}, "holds no weights"),
    (lambda state: {"epoch": 1, "state_dict": {}}, "holds no weights"),
    (lambda state: [1, 2], "a list, not a checkpoint"),
    (lambda state: {7: torch.ones(1)}, "holds no weights"),
    (too_wide, "more numbers than the file holds: blocks.0.conv.conv.weight"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_checkpoints_that_do_not_fit_are_refused(change: Callable[[State], Any], message: str, tmp_path: Path) -> None:
    state = torch.load(DATA / "speechbrain_ecapa.pt", weights_only=True)
    torch.save(change(state), tmp_path / "changed.pt")
    with pytest.raises(DataError, match=message) as caught:
        imported(tmp_path, tmp_path / "changed.pt")
    assert "changed.pt" in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["changed.pt"], "nothing is half written"


def test_a_pickle_with_a_payload_does_not_run(tmp_path: Path) -> None:
    state = torch.load(DATA / "speechbrain_ecapa.pt", weights_only=True)
    torch.save(state | {"payload": Payload(tmp_path / "ran")}, tmp_path / "hostile.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    for name in ("hostile.pt", "bare.pt"):
        with pytest.raises(DataError, match="refused"):
            imported(tmp_path, tmp_path / name)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "model").exists()


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    content = (DATA / "speechbrain_ecapa.pt").read_bytes()
    weight = torch.load(DATA / "speechbrain_ecapa.pt", weights_only=True)["fc.conv.weight"]
    place = content.index(weight.numpy().tobytes()) + 9
    for damaged in (
        content[:place],
        b"",
        b"text\n",
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
    ):
        (tmp_path / "damaged.pt").write_bytes(damaged)
        with pytest.raises(DataError, match="damaged") as caught:
            imported(tmp_path, tmp_path / "damaged.pt")
        assert "\n" not in str(caught.value) and not (tmp_path / "model").exists()


def test_folders_of_others_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.tex").touch()
    with pytest.raises(DataError, match="is no model"):
        imported(tmp_path, DATA / "speechbrain_ecapa.pt")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["thesis.tex"]


CALLS = [
    (["absent.pt", "out", "--from", "speechbrain"], "absent.pt: no such file"),
    (["absent.pt", "out"], "--from is missing"),
    (["absent.pt", "out", "--from", "speechbrian"], "did you mean speechbrain?"),
    (["resemblyzer", "out", "--from", "speechbrain"], "--from speechbrain: the weights of the package resemblyzer"),
]


@pytest.mark.parametrize(("words", "message"), CALLS)
def test_the_command_says_in_one_line_what_is_wrong(words: list[str], message: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "steps" / "import_model.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_package_that_ships_weights_is_found_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(path for path in sys.path if "site-packages" not in path)])
    with pytest.raises(DataError, match="pip install"):
        imported(tmp_path, "resemblyzer", "")
    package = tmp_path / "resemblyzer"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('it was run')\n")
    (package / "pretrained.pt").write_bytes((DATA / "resemblyzer_lstm.pt").read_bytes())
    facts = tmp_path / "resemblyzer-0.1.4.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Name: resemblyzer\nVersion: 0.1.4\n")
    (facts / "LICENSE").write_text("Apache License\n")
    (facts / "RECORD").write_text("resemblyzer-0.1.4.dist-info/LICENSE,,\nresemblyzer/__init__.py,,\n")
    model = imported(tmp_path, "resemblyzer", "")
    assert (model / "LICENSE").read_text() == "Apache License\n"
    assert read_config(model)["origin"]["licence"] == "Apache-2.0"
    assert yaml.safe_load((model / "melspec40_resemblyzer.yaml").read_text())["level"] == -30
