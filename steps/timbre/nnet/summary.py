"""What a network is made of and what it costs, for steps/show_network.py and tests/bench."""

import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.nnet.objectives import AamSoftmax
from timbre.nnet.scheduled import Scheduled
from timbre.utils.files import atomic_write

FRAMES_PER_SECOND = 100
NUM_SPEAKERS = 1000  # of the objective in a timed step
TABLE_HEAD = ("| network | features | parameters | GMAC/s | context | steps/s | utterances/s |", "|" + "---|" * 7)
UNMEASURED = "- | -"
SPEEDS = "Speeds: "


@dataclass(frozen=True)
class Layer:
    """A module inside a network: its path, class, output shape for one utterance of 10 s, parameters, MACs a second."""

    name: str
    kind: str
    shape: str
    parameters: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """What is known of a network without running it.

    Attributes:
        feat_dim: feature dimension
        embedding_dim: size of an embedding
        parameters: learned numbers
        macs: multiply-accumulates of matrix products and convolutions, a second of speech, in an utterance of 10 s
        min_frames: shortest utterance it takes
        receptive_field: frames of context of a frame that is pooled; None: all
        layers: down to the depth asked for, in the order in which they are run first
    """

    feat_dim: int
    embedding_dim: int
    parameters: int
    macs: int
    min_frames: int
    receptive_field: int | None
    layers: list[Layer]


def summarize(config: Path, feat_dim: int, depth: int = 2) -> Summary:
    """Sizes of the network in CONFIG; nothing is computed and no weight is stored, so any size is quick.

    Args:
        config: a file as conf/network/*.yaml
        feat_dim: feature dimension
        depth: levels of modules in `layers`
    """
    with FakeTensorMode():
        return _summarize(build_network(config, feat_dim).eval(), depth)


def _summarize(network: SpeakerNetwork, depth: int) -> Summary:
    seconds = max(10, -(-network.min_frames // FRAMES_PER_SECOND))
    shapes: dict[str, str] = {}
    hooks = [
        module.register_forward_hook(_shape_recorder(name, shapes))
        for name, module in network.named_modules()
        if 0 < sum(not part.isdigit() for part in name.split(".") if part) <= depth  # a list is no level
    ]
    with FlopCounterMode(display=False, custom_mapping=FLOP_FORMULAS) as counter, torch.no_grad():
        network(torch.empty(1, seconds * FRAMES_PER_SECOND, network.feat_dim))
    for hook in hooks:
        hook.remove()
    flops = {name.partition(".")[2]: sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    layers = []
    for name, shape in shapes.items():
        module = network.get_submodule(name)
        macs = flops.get(name, 0) // 2 // seconds
        layers.append(Layer(name, type(module).__name__, shape, num_parameters(module), macs))
    order = {name: place for place, (name, _) in enumerate(network.named_modules())}
    layers.sort(key=lambda layer: order[layer.name])
    return Summary(
        network.feat_dim,
        network.embedding_dim,
        num_parameters(network),
        counter.get_total_flops() // 2 // seconds,
        network.min_frames,
        network.receptive_field,
        layers,
    )


def num_parameters(module: nn.Module) -> int:
    """Learned numbers in MODULE."""
    return sum(parameter.numel() for parameter in module.parameters())


def steps_per_second(
    network: SpeakerNetwork, num_frames: int, batch_size: int, dtype: torch.dtype | None, seconds: float
) -> float:
    """Training steps a second on the device where NETWORK is: forward, backward and AdamW, with AAM-softmax.

    Args:
        network: its weights are changed
        num_frames: of each example
        batch_size: examples a step
        dtype: of autocast; None: without
        seconds: how long is measured, after one step that is not
    """
    device = next(network.parameters()).device
    objective = AamSoftmax(network.embedding_dim, NUM_SPEAKERS).to(device)
    module = nn.ModuleList((network, objective)).train()
    optimizer = torch.optim.AdamW(module.parameters(), 1e-6, fused=True)
    scheduled = [part for part in module.modules() if isinstance(part, Scheduled)]
    feats = torch.randn(batch_size, num_frames, network.feat_dim, device=device)
    labels = torch.randint(NUM_SPEAKERS, (batch_size,), device=device)
    steps = 0

    def step() -> None:
        nonlocal steps
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            loss, _ = objective(network(feats), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for part in scheduled:
                part.constrain(steps)
        steps += 1

    return _rate(step, device, seconds)


def utterances_per_second(network: SpeakerNetwork, num_frames: int, batch_size: int, seconds: float) -> float:
    """Embeddings a second, in float32, of batches of utterances of NUM_FRAMES on the device where NETWORK is."""
    feats = torch.randn(batch_size, num_frames, network.feat_dim, device=next(network.parameters()).device)
    network.eval()
    with torch.inference_mode():
        return batch_size * _rate(lambda: network(feats), feats.device, seconds)


def as_table(summaries: dict[str, tuple[Summary, float, float]]) -> str:
    """A Markdown table of networks by name: their summary, steps and utterances a second (0: not measured)."""
    lines = [*TABLE_HEAD]
    for name, (summary, steps, utts) in summaries.items():
        context = "all" if summary.receptive_field is None else str(summary.receptive_field)
        speeds = f"{steps:.3g} | {utts:.3g}" if steps else UNMEASURED
        sizes = f"{summary.feat_dim} | {summary.parameters / 1e6:.2f} M | {summary.macs / 1e9:.3g} | {context}"
        lines.append(f"| {name} | {sizes} | {speeds} |")
    return "\n".join(lines)


def write_table(page: Path, summaries: dict[str, tuple[Summary, float, float]], measured: str) -> None:
    """Puts the table of networks into PAGE, a Markdown file, in place of the one there, or else at its end.

    Speeds that were not measured are those that PAGE has of that network, and so is the line after the table on how
    they were.

    Args:
        page: the file; what else is in it stays
        summaries: as of `as_table`
        measured: how the speeds were measured, for the line after the table; "": they were not
    """
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    begin = lines.index(TABLE_HEAD[0]) if TABLE_HEAD[0] in lines else len(lines)
    end = next((place for place in range(begin, len(lines)) if not lines[place].startswith("|")), len(lines))
    cells = [line.strip("| ").split(" | ") for line in lines[begin:end]]
    speeds = {row[0]: " | ".join(row[-2:]) for row in cells if len(row) == 7}
    table = []
    for line in as_table(summaries).splitlines():
        name, known = line.strip("| ").split(" | ")[0], line.removesuffix(f"{UNMEASURED} |")
        table.append(line if known == line else f"{known}{speeds.get(name, UNMEASURED)} |")
    note = end + 1 if lines[end + 1 : end + 2] and lines[end + 1].startswith(SPEEDS) else None
    if measured:
        stop = next((place for place in range(note or end, len(lines)) if not lines[place]), len(lines))
        lines[end:stop] = ["", *textwrap.wrap(SPEEDS + measured, 120, break_long_words=False)]
    lines[begin:end] = table
    with atomic_write(page) as file:
        file.write("\n".join(lines) + "\n")


def as_text(name: str, summary: Summary, steps: float, utts: float) -> str:
    """The layers of one network, then its figures; steps and utterances a second are left out if 0."""
    rows = [("layer", "class", "output of 10 s", "parameters", "MMAC/s")]
    for layer in summary.layers:
        rows.append((layer.name, layer.kind, layer.shape, f"{layer.parameters:,}", f"{layer.macs / 1e6:,.2f}"))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(cell.ljust(width) if column < 2 else cell.rjust(width) for column, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    context = "the whole utterance" if summary.receptive_field is None else f"{summary.receptive_field} frames"
    lines += [
        "",
        f"{name}: features of dimension {summary.feat_dim}, embeddings of {summary.embedding_dim}",
        f"parameters       {summary.parameters:,}",
        f"MACs a second    {summary.macs / 1e6:,.1f} M",
        f"receptive field  {context}",
        f"shortest         {summary.min_frames} frames",
    ]
    if steps:
        lines += [f"training         {steps:.3g} steps/s", f"extraction       {utts:.3g} utterances/s of 3 s"]
    return "\n".join(lines)


def _rate(call: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Calls a second over SECONDS at least, after one to warm up."""
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    call()
    wait()
    start, count = time.perf_counter(), 0
    while True:
        call()
        wait()
        count += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return count / elapsed


def _recurrent_flops(feats: torch.Size, inputs: torch.Size, states: torch.Size, *_: object, **__: object) -> int:
    """Of one recurrent layer over all frames: two products with its weights for the input and for its state."""
    return 2 * feats[0] * feats[1] * (inputs.numel() + states.numel())


def _attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object) -> int:
    """Of query by key and weights by value."""
    return 2 * query.numel() * key[-2] + 2 * value.numel() * query[-2]


def _shape_recorder(name: str, shapes: dict[str, str]) -> Callable[[nn.Module, object, object], None]:
    """A hook that notes the shape of what a module gives."""

    def record(module: nn.Module, inputs: object, output: object) -> None:
        first = output[0] if isinstance(output, tuple | list) and output else output
        shapes[name] = " x ".join(map(str, first.shape[1:])) if isinstance(first, Tensor) else ""

    return record


# of what torch counts as nothing on a CPU
FLOP_FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.mkldnn_rnn_layer: _recurrent_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
}
