"""What must hold for every network, as functions of its configuration; the tests of each family call them."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kaldiio
import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional

from timbre.audio.reading import AudioReader
from timbre.datadir.tables import read_table
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import FbankOptions
from timbre.nnet.models import Trunk
from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.nnet.scheduled import Scheduled

ROOT = Path(__file__).resolve().parent.parent
CONF = {path.stem: path for path in sorted((ROOT / "conf" / "network").glob("*.yaml"))}
Config = dict[str, Any]


def num_parameters(module: nn.Module) -> int:
    """Learned numbers in MODULE."""
    return sum(parameter.numel() for parameter in module.parameters())


def full_size(config: Config | Path, feat_dim: int) -> SpeakerNetwork:
    """The network without memory for its weights: enough to count them, and quick at any size."""
    with torch.device("meta"):
        return build_network(config, feat_dim)


def changed(name: str, **settings: Any) -> Config:
    """The configuration conf/network/NAME.yaml with some settings, of its trunk or pooling if so named, replaced."""
    config: Config = yaml.safe_load(CONF[name].read_text())
    for part in ("trunk", "pooling"):
        config[part].setdefault("init_args", {}).update(settings.pop(part, {}))
    return config | settings


def utterances(num_utts: int, num_frames: int, feat_dim: int) -> Tensor:
    """Features that differ between utterances as well as within: (num_utts, num_frames, feat_dim)."""
    return torch.randn(num_utts, num_frames, feat_dim) + torch.randn(num_utts, 1, feat_dim)


def trained(network: SpeakerNetwork) -> SpeakerNetwork:
    """NETWORK in eval mode, with weights and BatchNorms that tell one input from another, as at the start none does."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def check_padding(config: Config, feat_dim: int, lengths: tuple[int, ...] = (61, 17, 16, 40, 33)) -> None:
    """A padded batch gives each utterance the embedding it gets alone; what lies past its end is not looked at."""
    torch.manual_seed(0)
    network = trained(build_network(config, feat_dim))
    shortest = network.min_frames - min(lengths)
    sizes = torch.tensor(lengths) + max(0, shortest)
    feats = utterances(len(sizes), int(sizes.max()), feat_dim)
    for utterance, length in zip(feats, sizes, strict=True):
        utterance[length:] = torch.nan
    with torch.inference_mode():
        batch = network(feats, sizes)
        alone = torch.cat([network(utt[None, :length]) for utt, length in zip(feats, sizes, strict=True)])
        full = network(alone_feats := feats[:1, : sizes[0]], sizes[:1])
        assert torch.allclose(full, network(alone_feats), atol=1e-5 * max(1, float(full.abs().max())))
    scale = float(alone.abs().max())
    assert alone.std(0).mean() > 0.01 * scale  # they do differ
    assert (batch - alone).abs().max() <= 1e-5 * max(1.0, scale)


def check_gradients(config: Config, feat_dim: int, num_frames: int = 50) -> None:
    """Gradients under bfloat16 autocast are finite and reach every weight, also where an utterance has no variance."""
    torch.manual_seed(0)
    network = build_network(config, feat_dim)
    feats = torch.randn(4, max(num_frames, network.min_frames), feat_dim)
    feats[0] = 0
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = network(feats)
    assert embeddings.dtype == torch.float32
    (embeddings * torch.randn_like(embeddings)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def check_compile(config: Config, feat_dim: int, backend: str = "eager", fullgraph: bool = True) -> None:
    """torch.compile takes the whole network as one graph for any length, and gives what it gives without.

    The backend that runs the graph as it is takes a second; tests/bench/bench_compile.py does it with inductor, which
    takes a minute a network. Without FULLGRAPH it may take several graphs, as nn.LSTM needs.
    """
    torch.manual_seed(0)
    torch._dynamo.reset()
    network = trained(build_network(config, feat_dim))
    compiled = torch.compile(network, dynamic=True, fullgraph=fullgraph, backend=backend)
    first = max(40, network.min_frames)
    with torch.no_grad():
        for num_frames in (first, first + 12):
            feats = utterances(3, num_frames, feat_dim)
            expected = network(feats)
            assert (compiled(feats) - expected).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max()))
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    network.train()
    gradients = []
    for called in (network, compiled):
        network.zero_grad()
        called(feats).square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None])
    for expected, found in zip(*gradients, strict=True):
        assert (found - expected).abs().max() <= 1e-3 * max(1.0, float(expected.abs().max()))


def check_round_trip(config: Config, feat_dim: int) -> None:
    """A network is rebuilt from its own configuration and its state_dict."""
    network = trained(build_network(config, feat_dim))
    again = build_network(yaml.safe_load(yaml.safe_dump(network.config)), feat_dim).eval()
    assert again.config == network.config
    again.load_state_dict(network.state_dict())
    feats = torch.randn(1, max(40, network.min_frames), feat_dim)
    with torch.inference_mode():
        assert torch.equal(network(feats), again(feats))


def check_shortest(config: Config, feat_dim: int) -> None:
    """The shortest utterance is taken, a shorter one is a clear error."""
    network = build_network(config, feat_dim).eval()
    shortest = network.min_frames
    assert network(torch.randn(2, shortest, feat_dim)).isfinite().all()
    with pytest.raises(ValueError, match=f"takes {shortest} or more"):
        network(torch.randn(2, shortest - 1, feat_dim))
    with pytest.raises(ValueError, match=f"has {shortest - 1} frames"):
        network(torch.randn(2, shortest, feat_dim), torch.tensor([shortest, shortest - 1]))
    with pytest.raises(ValueError, match="takes"):
        network(torch.randn(2, shortest + 50, feat_dim + 1))


def check_receptive_field(
    trunk: Trunk, feat_dim: int, monkeypatch: pytest.MonkeyPatch, ignore: Mapping[type[nn.Module], Any] = {}
) -> None:
    """An output frame depends on the input frames of trunk.receptive_field and on no others.

    Args:
        trunk: small; its weights are made positive, so that no ReLU closes a path and no two paths cancel
        feat_dim: its feature dimension
        monkeypatch: pytest's
        ignore: replacement for the forward of each class of modules that sees the whole utterance, by design
    """
    for kind, forward in ignore.items():
        monkeypatch.setattr(kind, "forward", forward)
    field = trunk.receptive_field
    assert field is not None
    trunk.double().eval()
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.abs_().add_(1e-3)
            if parameter.ndim > 1:
                parameter.div_(parameter.flatten(1).sum(1).amax())
    feats = torch.rand(1, 3 * field + 1, feat_dim, dtype=torch.float64, requires_grad=True)
    frames, _ = trunk(feats)
    frames[:, :, frames.shape[2] // 2].sum().backward()
    assert feats.grad is not None
    seen = feats.grad.abs().sum((0, 2)).nonzero()
    assert int(seen.max() - seen.min()) + 1 == field


@functools.cache
def speech() -> list[Tensor]:
    """Features (num_frames, 80) of four speakers, mean 0: of recorded speech if the corpora lie beside the project.

    Else of Kaldi's features of one voice in the clone; its classes differ by a shift of the bins.
    """
    corpus = ROOT.parent / "shared" / "corpora"
    if corpus.is_dir():
        spk2utt = read_table(corpus / "data/train/spk2utt")
        wavs = read_table(corpus / "data/train/wav.scp")
        extractor = FeatureExtractor(FbankOptions(num_mel_bins=80))
        speakers = [utts.split()[:4] for _, utts in sorted(spk2utt.items())[::150]][:4]
        feats = [
            torch.cat(extractor([AudioReader().read(str(corpus / wavs[utt]))[0] for utt in utts])) for utts in speakers
        ]
    else:
        path = ROOT / "tests/data/kaldi/feats/fbank80_16k_snip_false.ark"
        voice = torch.from_numpy(next(kaldiio.load_ark(str(path)))[1].copy())
        feats = [voice.roll(10 * number, 1) for number in range(4)]
    return [(one - one.mean(0)) / one.std() for one in feats]


def check_learns(config: Config, feat_dim: int, num_steps: int = 30, lr: float = 2e-3) -> None:
    """The loss falls on chunks of speech of four speakers."""
    torch.manual_seed(0)
    losses = learn(build_network(config, feat_dim), feat_dim, num_steps, lr)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5]), losses


def learn(network: SpeakerNetwork, feat_dim: int, num_steps: int, lr: float = 2e-3) -> list[float]:
    """Trains NETWORK to tell apart chunks of speech of four speakers; the loss of each step."""
    labels = torch.arange(16) % 4
    num_frames = max(60, network.min_frames)
    head = nn.Linear(network.embedding_dim, 4)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr)
    scheduled = [module for module in network.modules() if isinstance(module, Scheduled)]
    losses = []
    for step in range(num_steps):
        voices = [speech()[int(label)] for label in labels]
        starts = [int(torch.randint(len(voice) - num_frames, ())) for voice in voices]
        chunks = [voice[start : start + num_frames] for voice, start in zip(voices, starts, strict=True)]
        feats = torch.stack(chunks).repeat(1, 1, -(-feat_dim // 80))[:, :, :feat_dim]
        for module in scheduled:
            module.update(step, num_steps)
        loss = functional.cross_entropy(head(network(feats)), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        with torch.no_grad():
            for module in scheduled:
                module.constrain(step)
        losses.append(loss.item())
    return losses
