"""Sizes of networks against closed forms, and what show_network prints."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from network_checks import CONF
from steps.show_network import show_network
from timbre.nnet.network import build_network
from timbre.nnet.network_file import own_feat_dim
from timbre.nnet.summary import (
    FLOP_FORMULAS,
    TABLE_HEAD,
    as_table,
    steps_per_second,
    summarize,
    utterances_per_second,
    write_table,
)
from timbre.utils.cli import run_step

FRAMES = 1000  # of the 10 s that are counted


def test_macs_of_the_xvector_are_its_matrix_products() -> None:
    summary = summarize(CONF["xvector"], 80)
    sizes = [(80 * 5, 512, 4), (512 * 3, 512, 8), (512 * 3, 512, 14), (512, 512, 14), (512, 1500, 14)]
    frame_level = sum(inputs * outputs * (FRAMES - lost) for inputs, outputs, lost in sizes)
    assert summary.macs == (frame_level + 3000 * 512 + 512 * 512) // 10
    assert (summary.parameters, summary.receptive_field, summary.min_frames) == (4_619_668, 15, 15)
    assert summary.embedding_dim == 512


def test_macs_of_resnet34_are_those_that_are_published() -> None:
    assert summarize(CONF["resnet34"], 80).macs * 2 == pytest.approx(4.55e9, rel=0.01)  # of 2 s


def test_layers_add_up() -> None:
    summary = summarize(CONF["ecapa128"], 80, depth=1)
    assert [layer.name for layer in summary.layers] == ["trunk", "poolings.0", "segment"] + [
        f"segment.{index}" for index in range(2)
    ]
    top = summary.layers[:3]
    assert sum(layer.parameters for layer in top) == summary.parameters
    assert sum(layer.macs for layer in top) == pytest.approx(summary.macs, abs=3)
    assert top[0].shape == f"384 x {FRAMES}" and top[2].shape == "192"
    assert "trunk.blocks.2" in [layer.name for layer in summarize(CONF["ecapa128"], 80, depth=2).layers]


@pytest.mark.parametrize("projection", [0, 24])
def test_macs_of_a_recurrent_network_and_of_attention(projection: int) -> None:
    with FakeTensorMode(), FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS) as counter, torch.no_grad():
        layer = nn.LSTM(40, 32, 2, batch_first=True, proj_size=projection)
        layer(torch.empty(1, 50, 40))
        weights = sum(weight.numel() for weight in layer.parameters() if weight.ndim == 2)
        assert counter.get_total_flops() == 2 * 50 * weights
    with FakeTensorMode(), FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS) as counter, torch.no_grad():
        query, key = torch.empty(2, 3, 30, 8), torch.empty(2, 3, 40, 8)
        nn.functional.scaled_dot_product_attention(query, key, key)
    assert counter.get_total_flops() == 2 * 2 * (2 * 3 * 30 * 40 * 8)


def test_feature_dimension_of_a_file_is_that_of_its_first_count(tmp_path: Path) -> None:
    path = tmp_path / "network.yaml"
    path.write_text("# A network.\n# parameters: 1,000 at feat_dim 40; 2,000 at feat_dim 64\ntrunk: X\n")
    assert own_feat_dim(path) == 40
    path.write_text("trunk: X\n")
    assert own_feat_dim(path) == 80


def test_speeds_are_measured() -> None:
    network = build_network(CONF["xvector_smoke"], 20)
    before = network.trunk.layers[0].affine.weight.detach().clone()
    assert steps_per_second(network, 30, 4, None, 0.01) > 0
    assert not torch.equal(network.trunk.layers[0].affine.weight, before)  # an optimiser did work
    assert utterances_per_second(network, 30, 4, 0.01) > 0


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "steps/show_network.py", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_show_network(root: Path) -> None:
    one = run(root, "--network", "conf/network/xvector_smoke.yaml", "--seconds", "0.01", "--batch-size", "4")
    assert one.returncode == 0, one.stderr
    assert "parameters       92,544" in one.stdout and "15 frames" in one.stdout and "utterances/s" in one.stdout
    assert "trunk.layers.4" in one.stdout and "training" in one.stdout


def test_show_network_of_a_directory_is_a_table(root: Path, tmp_path: Path) -> None:
    for name in ("xvector_smoke", "ecapa128"):
        (tmp_path / f"{name}.yaml").write_text(CONF[name].read_text())
    table = run(root, "--network", str(tmp_path), "--seconds", "0")
    assert table.returncode == 0, table.stderr
    lines = table.stdout.splitlines()
    assert len(lines) == 4 and lines[2].startswith("| ecapa128 | 80 | 0.76 M | 0.0412 | 131 |")


def test_table_in_a_page_keeps_the_rest_of_it_and_what_was_measured(root: Path, tmp_path: Path) -> None:
    page, networks = tmp_path / "README.md", tmp_path / "networks"
    networks.mkdir()
    for name in ("xvector_smoke", "ecapa128"):
        (networks / f"{name}.yaml").write_text(CONF[name].read_text())
    old = [*TABLE_HEAD, "| ecapa128 | 1 | 2 M | 3 | 4 | 17 | 228 |", "| gone | 1 | 2 M | 3 | 4 | 5 | 6 |"]
    page.write_text("\n".join(["# Networks", "", *old, "", "Speeds: some machine", "and more.", "", "The end."]) + "\n")
    done = run(root, "--network", str(networks), "--seconds", "0", "--table", str(page))
    assert done.returncode == 0 and not done.stdout, done.stderr
    table = [
        *TABLE_HEAD,
        "| ecapa128 | 80 | 0.76 M | 0.0412 | 131 | 17 | 228 |",
        "| xvector_smoke | 80 | 0.09 M | 0.0066 | 15 | - | - |",
    ]
    tail = ["", "Speeds: some machine", "and more.", "", "The end."]
    assert page.read_text().splitlines() == ["# Networks", "", *table, *tail]
    few = {"xvector_smoke": (summarize(CONF["xvector_smoke"], 80), 12.34, 567.8)}
    write_table(page, few, "another machine.")
    row = "| xvector_smoke | 80 | 0.09 M | 0.0066 | 15 | 12.3 | 568 |"
    new = [*TABLE_HEAD, row, "", "Speeds: another machine.", "", "The end."]
    assert page.read_text().splitlines() == ["# Networks", "", *new]
    write_table(tmp_path / "new.md", few, "")
    assert (tmp_path / "new.md").read_text().splitlines() == [*TABLE_HEAD, row]


@pytest.mark.parametrize("name", ["conformer", "ecapa128", "lstm", "thin_resnet34_vlad", "xvector", "xvector_smoke"])
def test_table_of_networks_is_what_they_are(root: Path, name: str) -> None:
    page = (root / "conf" / "network" / "README.md").read_text(encoding="utf-8")
    [line] = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
    sizes = as_table({name: (summarize(CONF[name], own_feat_dim(CONF[name])), 0.0, 0.0)}).splitlines()[-1]
    assert line.split("|")[1:6] == sizes.split("|")[1:6]


def test_table_of_networks_has_every_one(root: Path) -> None:
    lines = (root / "conf" / "network" / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line.split()[1] for line in lines[lines.index(TABLE_HEAD[1]) + 1 :] if line.startswith("| ")] == list(CONF)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network", "conf/nowhere.yaml"], "conf/nowhere.yaml: No such file"),
        (["--network", "conf"], "conf: no .yaml file in it"),
        (["--network", "conf/objective/aam.yaml", "--seconds", "0"], "conf/objective/aam.yaml: trunk is missing"),
        (["--batch_size", "0"], "batch_size is 0; it must be at least 1"),
        (["--network", "conf/network/xvector.yaml", "--table", "x.md"], "xvector.yaml: a table is of a directory"),
        (["--device", "toaster"], "device 'toaster' is none: cpu, cuda"),
    ],
)
def test_bad_input_is_one_line(
    root: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["show_network.py", *arguments])
    with pytest.raises(SystemExit, match=r"^[12]$"):
        run_step(show_network)
    said = capsys.readouterr().err
    assert message in said and said.startswith("show_network.py: error: ") and said.count("\n") == 1
