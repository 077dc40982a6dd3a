"""A trained network that another one learns from: loaded, checked against the egs, asked. Used by loop.py."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from timbre.egs.egs_format import Manifest
from timbre.feats.options import options_from
from timbre.nnet import checkpoint
from timbre.nnet.classifier import load_classifier
from timbre.nnet.model import load_model, read_classes, read_config
from timbre.nnet.network import SpeakerNetwork
from timbre.nnet.objectives import Objective
from timbre.training.options import TeacherOptions
from timbre.training.training_module import Taught
from timbre.utils.configure import read_config as read_settings
from timbre.utils.errors import DataError

READING = frozenset({"dither", "channel", "allow_downsample", "allow_upsample"})  # options of features


class Teacher:
    """A network in evaluation mode, outside of the module that is trained: nothing changes it.

    Args:
        network: of the teacher
        objective: that with its class weights, for the outputs; None: they are not asked for
        order: (num_speakers,) int64, the teacher's class of each speaker of the student
        tau: temperature of the outputs

    Attributes:
        network: see above
        sha256: of all that its answers depend on
    """

    def __init__(
        self, network: SpeakerNetwork, objective: Objective | None = None, order: Tensor | None = None, tau: float = 1.0
    ) -> None:
        self.network, self._objective, self._order, self._tau = network, objective, order, tau
        for module in (network, objective):
            if module is not None:
                module.eval().requires_grad_(False)
        self.sha256 = self._digest()

    @torch.no_grad()
    def __call__(self, feats: Tensor) -> Taught:
        """Embeddings (B, D) of FEATS (B, T, F), and log probabilities (B, num_speakers) if they are asked for."""
        embeddings = self.network(feats)
        if self._objective is None or self._order is None:
            return embeddings, None
        outputs = self._objective.outputs(embeddings)[:, self._order]
        return embeddings, functional.log_softmax(outputs / self._tau, 1)

    def _digest(self) -> str:
        segments = self.network.segments
        settings: list[object] = [self.network.config, None if segments is None else asdict(segments)]
        states: list[Mapping[str, Tensor]] = [self.network.state_dict()]
        if self._objective is not None and self._order is not None:
            settings.append(self._objective.config)
            states += [self._objective.state_dict(), {"order": self._order}]
        text = json.dumps([settings, checkpoint.digest(states)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load_teacher(
    options: TeacherOptions, egs_dir: Path, manifest: Manifest, device: torch.device, student_dir: Path | None = None
) -> Teacher:
    """The teacher that OPTIONS name, on DEVICE, which must not be what is trained in STUDENT_DIR.

    Raises:
        DataError: it was not trained to its end, is damaged, or does not fit the egs, and in what
    """
    model = options.model
    if model is None:
        raise DataError("teacher: it has no model; --train.teacher.model DIR names it")
    if student_dir is not None and model.resolve() == student_dir.resolve():
        raise DataError(
            "teacher: it is the model that is to be trained; another folder is needed for one of them", model
        )
    config = read_config(model)
    own = {"feat_dim": manifest.feat_dim, "normalize": asdict(manifest.normalize)}
    features = features_of(manifest)
    if features is not None and isinstance(config.get("features"), Mapping):  # else one of the two is not known
        own["features"] = features
    if differing := _differences({name: config[name] for name in own}, own):
        more = f"; {len(differing) - 4} more" if len(differing) > 4 else ""
        text = f"a teacher must have the features of the egs, and differs in {'; '.join(differing[:4])}{more}"
        raise DataError(text, model / "config.yaml")
    network, _ = load_model(model, device)
    shortest = manifest.num_feats(min((ark.frames for ark in manifest.train), default=0))
    if shortest < network.min_frames:
        raise DataError(f"the teacher needs {network.min_frames} frames, and examples have {shortest}", model)
    if not options.kld:
        return Teacher(network)
    order = _match(model / "spk2int", egs_dir / "spk2int")
    try:
        objective = load_classifier(model, config, network.embedding_dim, len(order)).to(device)
    except DataError as error:
        raise DataError(f"kld compares outputs: {error.message}; kld 0 leaves the embeddings", error.path) from error
    return Teacher(network, objective, torch.tensor(order, device=device), options.tau)


def features_of(manifest: Manifest) -> dict[str, Any] | None:
    """The options of the features in egs with this MANIFEST: class_path and init_args; None if they are not known.

    The manifest of egs of waveforms holds them; of others, the data directory that they were made of, if it is there.
    """
    features = manifest.waveform
    if features is None:
        try:
            features = options_from(read_settings(Path(manifest.data_dir) / "conf" / "feats.yaml"))
        except DataError:
            return None
    return features.to_dict() | {"class_path": type(features).__name__}


def _differences(theirs: object, own: object, name: str = "") -> list[str]:
    """All that differs, as "name (teacher theirs, egs own)", but for what says how audio is read."""
    if isinstance(theirs, Mapping) and isinstance(own, Mapping):
        keys = sorted({*map(str, theirs), *own})
        return [
            text
            for key in keys
            if key not in READING
            for text in _differences(theirs.get(key), own.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if theirs == own else [f"{_short(name)} (teacher {_short(theirs)}, egs {own})"]


def _short(value: object) -> str:
    return " ".join(str(value).split())[:60]


def _match(theirs: Path, own: Path) -> list[int]:
    """The teacher's class of each speaker of the egs, by their names in two files spk2int.

    Raises:
        DataError: they are not the same speakers
    """
    classes, speakers = read_classes(theirs), read_classes(own)
    if odd := sorted({*classes} ^ {*speakers}):
        where = "the teacher does not know" if odd[0] in speakers else "the egs do not have"
        raise DataError(
            f"kld needs a teacher of the speakers of the egs; {len(odd)} are of one side only, and {where} {odd[0]}; "
            "kld 0 leaves the embeddings",
            theirs,
        )
    return [classes[name] for name in sorted(speakers, key=lambda name: speakers[name])]
