"""What training begins with: the weights of a trained model, its classes by the names of their speakers. For loop.py.

classes.py gives the classes of new speakers their first weights, freezing.py knows the parts that stay as they are.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from timbre.datadir.tables import read_table
from timbre.egs.egs_format import Manifest
from timbre.nnet import checkpoint
from timbre.nnet.model import read_classes, read_config, read_objective
from timbre.nnet.network import SpeakerNetwork
from timbre.nnet.objectives import Objective, build_objective
from timbre.nnet.objectives.margin import CosineClasses
from timbre.nnet.scheduled import Scheduled
from timbre.training.classes import fill_centroids
from timbre.training.freezing import freeze, scale_factors
from timbre.training.options import PARTS, StartOptions
from timbre.training.resume import differences
from timbre.utils.configure import read_config as read_settings
from timbre.utils.errors import DataError

NETWORK, OBJECTIVE = Path("conf/network/xvector.yaml"), Path("conf/objective/aam.yaml")  # of a training from nothing
State = dict[str, Tensor]

log = logging.getLogger(__name__)


class InitialModel:
    """A model directory as training begins with it.

    Args:
        model_dir: that steps/train.py wrote
        objective_too: the weights of its objective are wanted, of the checkpoints that final.pt was made of

    Attributes:
        config: config.yaml
        network, objective: the weights; objective is empty where it is not wanted
        classes: the class number of each speaker

    Raises:
        DataError: it is not whole, damaged, or not safe to load
    """

    def __init__(self, model_dir: Path, objective_too: bool) -> None:
        self.model_dir, self.config = model_dir, read_config(model_dir)
        path = model_dir / "final.pt"
        if not path.is_file():
            raise DataError("no such file: training did not finish there", path)
        final = checkpoint.load(path)
        self.network = _weights(final, "network", path)
        self.objective: State = {}
        self.classes: dict[str, int] = {}
        if not objective_too:
            return
        if not isinstance(self.config.get("objective"), dict):
            raise DataError("it names no objective: --init-parts network", model_dir / "config.yaml")
        try:
            self.objective = read_objective(model_dir)
        except DataError as error:
            raise DataError(f"{error.message}: --init-parts network", error.path) from error
        _check_weights(self.objective, model_dir / "checkpoints")
        self.classes = read_classes(model_dir / "spk2int")
        if len(self.classes) != self.config.get("num_speakers"):
            raise DataError("not the classes that config.yaml counts", model_dir / "spk2int")

    @property
    def sha256(self) -> str:
        """Of all that training takes from here."""
        states = checkpoint.digest([self.network, self.objective])
        return hashlib.sha256(f"{states} {sorted(self.classes.items())}".encode()).hexdigest()


class Start:
    """What training begins with, and what of it stays.

    Args:
        options: see StartOptions
        network: YAML file of the network; None: that of the initial model, or conf/network/xvector.yaml
        objective: YAML file of the objective; None: that of the initial model, its warm-up being over, or
            conf/objective/aam.yaml

    Attributes:
        network_config, objective_config: what network and objective are to be built from
        config: for config.yaml: the options, and which weights they were; None for a training from nothing

    Raises:
        DataError: the initial model is not whole, damaged, or not safe to load
    """

    def __init__(self, options: StartOptions, network: Path | None, objective: Path | None) -> None:
        self.options = options
        self.model = None if options.init_model is None else InitialModel(options.init_model, options.takes_objective)
        self.config = self._config()
        if self.model is None or (network and not options.takes_network):
            self.network_config: Mapping[str, Any] | Path = network or NETWORK
        else:
            self.network_config = network or self.model.config["network"]
        self.objective_config: Mapping[str, Any] | Path = objective or OBJECTIVE
        if objective is None and self.model is not None and isinstance(self.model.config.get("objective"), dict):
            self.objective_config = _warmed_up(self.model.config["objective"])
        if options.objective_args:
            settings = read_settings(self.objective_config)
            settings["init_args"] = {**(settings.get("init_args") or {}), **options.objective_args}
            self.objective_config = settings

    def begin(
        self, network: SpeakerNetwork, objective: Objective, egs_dir: Path, manifest: Manifest, device: torch.device
    ) -> None:
        """Gives NETWORK and OBJECTIVE, as they were built, the weights that they begin with.

        Raises:
            DataError: they do not fit, or neither do the features
        """
        options, model = self.options, self.model
        numbers = read_table(egs_dir / "spk2int")
        speakers = sorted(numbers, key=lambda speaker: int(numbers[speaker]))
        known = torch.zeros(manifest.num_speakers, dtype=torch.bool)
        if model is not None and options.takes_network:
            _check_features(model, manifest, egs_dir)
            _fill_network(network, model.network, model.model_dir / "final.pt")
        if model is not None and options.takes_objective:
            known = _carry_classes(objective, network.embedding_dim, model, speakers)
            log.info("%s: %s", model.model_dir, _say_classes(known, len(model.classes)))
        self._known, self._speakers = known, speakers
        centroids = options.init_classes == "centroids" or (options.init_classes == "auto" and options.takes_network)
        if centroids and objective.classifies and not known.all():
            fill_centroids(network.to(device), objective.to(device), known, egs_dir, manifest, device)
        self.model = None  # its weights are not needed any more

    def freeze(self, module: nn.Module) -> dict[nn.Parameter, float]:
        """Takes what is frozen out of the training of MODULE (a TrainingModule); the factors of the learning rate.

        Raises:
            DataError: an unknown part, nothing left to train, or weights frozen that come from nowhere
        """
        factors = scale_factors(module, self.options.lr_scale)
        freeze(module, self.options.freeze)
        for name, parameter in module.named_parameters():
            part = name.partition(".")[0]
            if parameter.requires_grad or part not in PARTS:
                continue
            if part not in self.options.init_parts:
                raise DataError(f"freeze: {name} is not among what comes from the model (init_parts)")
            if part == "objective" and not self._known.all():
                missing = [one for one, known in zip(self._speakers, self._known.tolist(), strict=True) if not known]
                text = f"freeze: {len(missing)} of {len(self._speakers)} speakers, such as {missing[0]}, have no class"
                raise DataError(f"{text} in the model, and classes are frozen", self.options.init_model)
        return factors

    def _config(self) -> dict[str, Any] | None:
        options = asdict(self.options)
        if options == asdict(StartOptions()):
            return None
        options |= {"init_model": self.model and str(self.model.model_dir), "sha256": self.model and self.model.sha256}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


def _weights(state: dict[str, Any], part: str, path: Path) -> State:
    weights = state.get(part)
    if not isinstance(weights, dict) or not weights:
        raise DataError(f"holds no {part}", path)
    _check_weights(weights, path)
    return weights


def _check_weights(weights: Mapping[str, Any], path: Path) -> None:
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise DataError(f"{str(name)[:100]!r} is no weight", path)
        if not value.isfinite().all():
            raise DataError(f"weights of {name} are not finite", path)


def _warmed_up(config: Any) -> Any:
    """CONFIG of an objective whose margin has its full size from the first step on."""
    if isinstance(config, list):
        return [_warmed_up(term) for term in config]
    if not isinstance(config, dict):
        return config
    changed = {name: _warmed_up(value) for name, value in config.items()}
    if isinstance(changed.get("warmup"), dict):
        changed["warmup"] |= {"start": 0, "end": 0, "start_share": None, "end_share": None}
    if isinstance(changed.get("annealing"), dict) and "least" in changed["annealing"]:
        changed["annealing"] |= {"start": changed["annealing"]["least"]}
    return changed


def _check_features(model: InitialModel, manifest: Manifest, egs_dir: Path) -> None:
    here = {"dimension": manifest.feat_dim, "normalize": asdict(manifest.normalize)}
    there = {"dimension": model.config["feat_dim"], "normalize": model.config["normalize"]}
    if changed := list(differences(there, here)):
        raise DataError(f"not the features that {model.model_dir} is of: {'; '.join(changed)}", egs_dir)


def _fill_network(network: SpeakerNetwork, weights: State, path: Path) -> None:
    own = network.state_dict()
    if odd := _misfit(weights, own):
        raise DataError(f"not the network to be trained: {odd}", path)
    network.load_state_dict(weights)


def _misfit(there: Mapping[str, Tensor], here: Mapping[str, Tensor], classes: frozenset[str] = frozenset()) -> str:
    """The first weight that is in one only, or in another shape; rows of those of CLASSES may be more or fewer."""
    for name in sorted({*there, *here}, key=lambda name: (name in there and name in here, name)):
        if name not in there or name not in here:
            return f"{name} is {'missing' if name in here else 'of no use'} there"
        shapes = tuple(there[name].shape), tuple(here[name].shape)
        if shapes[0] != shapes[1] and (name not in classes or shapes[0][1:] != shapes[1][1:]):
            return f"{name} is {shapes[0]} there and {shapes[1]} here"
    return ""


@torch.no_grad()
def _carry_classes(objective: Objective, dim: int, model: InitialModel, speakers: list[str]) -> Tensor:
    """(S,) bool: the SPEAKERS whose class weights OBJECTIVE has from MODEL now; what is not of classes is copied too.

    DIM: of an embedding
    """
    known = torch.tensor([speaker in model.classes for speaker in speakers])
    rows = torch.tensor([model.classes[speaker] for speaker in speakers if speaker in model.classes], dtype=torch.long)
    config, there, here = model.config["objective"], model.objective, objective.state_dict()
    try:
        with torch.random.fork_rng(devices=[]):
            few, more = (build_objective(config, dim, number) for number in (2, 3))
    except DataError as error:
        raise DataError(str(error), model.model_dir / "config.yaml") from error
    sizes = {name: (value.shape, more.state_dict()[name].shape) for name, value in few.state_dict().items()}
    names = frozenset(name for name, (one, other) in sizes.items() if one != other)  # those with a row for each class
    if any(len(there[name]) != len(model.classes) for name in names & there.keys()):
        raise DataError("the objective has not as many classes as spk2int has speakers", model.model_dir)
    if _kinds(config) == _kinds(objective.config):
        if odd := _misfit(there, here, names):
            raise DataError(f"not the objective to be trained, --init-parts network: {odd}", model.model_dir)
        carried = set(here)
    elif isinstance(few, CosineClasses) and isinstance(objective, CosineClasses) and _fits(there, here):
        carried = {"weight"}  # directions of speakers are what they are, whatever is made of the angles
    else:
        log.info("the objective starts anew: %s in the model, %s here", _kinds(config), _kinds(objective.config))
        return torch.zeros_like(known)
    for name in carried:
        if name in names:
            here[name][known] = there[name][rows]
        else:
            here[name].copy_(there[name])
    for part in objective.modules():
        if isinstance(part, Scheduled):
            part.update(0, 1)  # schedules begin again
    return known


def _fits(there: State, here: State) -> bool:
    """Class weights of the one can be rows of those of the other."""
    return "weight" in there and there["weight"].shape[1:] == here["weight"].shape[1:]


def _kinds(config: Mapping[str, Any]) -> str:
    """The class that CONFIG of an objective names, with those of its terms."""
    terms = (config.get("init_args") or {}).get("terms") or []
    return f"{config.get('class_path')}{[_kinds(term) for term in terms] if terms else ''}"


def _say_classes(known: Tensor, number: int) -> str:
    kept, total = int(known.sum()), len(known)
    return f"{kept} of {total} speakers keep their class, {total - kept} are new, {number - kept} are gone"
