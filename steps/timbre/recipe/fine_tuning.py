"""Stage 5: what a file of conf/fine_tune/ asks for, and where the fine-tuned model and what it is made of lie."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from timbre.egs.options import EgsOptions
from timbre.runtime.normalize import NormalizeOptions
from timbre.training.options import PARTS, StartOptions, TrainOptions
from timbre.utils.configure import check, read_config
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class FineTuneOptions:
    """How a model is trained further; of the options of steps/train.py, steps/get_egs.py and steps/mix_data_dir.py.

    Args:
        init_parts: what training begins with: network, objective, or both
        freeze: parts that stay as they are
        lr_scale: factors of the learning rate, by part
        init_classes: class weights of new speakers
        objective: file of another objective; null: that of the model, with the full margin from the first step on
        objective_args: changes to the arguments of the objective, such as its margin
        train: options of training, all of them: those of stage 4 do not count
        egs: options of training examples, such as longer ones; null: those of stage 3
        altered_speakers: with copies that count as other speakers, of changed speed
        mix_share: the share of the speech that is drawn from --mix-dir, 0 to below 1; 0: none
    """

    init_parts: tuple[str, ...] = PARTS
    freeze: tuple[str, ...] = ()
    lr_scale: dict[str, float] = field(default_factory=dict)
    init_classes: Literal["auto", "random", "centroids"] = "auto"
    objective: str | None = None
    objective_args: dict[str, Any] = field(default_factory=dict)
    train: TrainOptions = field(default_factory=TrainOptions)
    egs: EgsOptions | None = None
    altered_speakers: bool = True
    mix_share: float = 0.0

    def __post_init__(self) -> None:
        StartOptions(Path(), self.init_parts, self.freeze, self.lr_scale, self.init_classes, self.objective_args)
        if not 0 <= self.mix_share < 1:
            raise DataError(f"mix_share is {self.mix_share}; it must be from 0 to below 1")

    @classmethod
    def read(cls, path: Path) -> "FineTuneOptions":
        """What PATH asks for.

        Raises:
            DataError: no such file, an unknown option, a value that cannot be
        """
        try:
            options = check(cls, read_config(path), set())()
        except DataError as error:
            raise DataError(error.message, error.path or path) from error
        if options.objective and not Path(options.objective).is_file():
            raise DataError(f"objective {options.objective}: no such file", path)
        return options


@dataclass(frozen=True)
class FineTuning:
    """Stage 5 of a run.

    conf: the file of conf/fine_tune; init: the model that it begins with; exp: exp/NAME; feats: the training set with
    features; egs, egs_conf: of stage 3; mix: data directory of old speech, or ""; after_training: INIT is what stage 4
    makes
    """

    conf: Path
    options: FineTuneOptions
    init: Path
    exp: Path
    feats: Path
    egs: Path
    egs_conf: str
    mix: str
    after_training: bool

    def __post_init__(self) -> None:
        if bool(self.mix) != bool(self.options.mix_share):
            text = "wants speech of --mix-dir DIR" if not self.mix else "has no mix_share, and --mix-dir is given"
            raise DataError(f"{text}", self.conf)

    @property
    def data(self) -> Path:
        """The data directory that is trained on."""
        changed = self.mix or not self.options.altered_speakers
        return self.exp / "fine_tune" / "train" if changed else self.feats

    @property
    def own_egs(self) -> Path:
        """The examples that are trained on: of stage 3, if they are the same."""
        same = self.after_training and self.data == self.feats and self.options.egs is None
        return self.egs if same else self.exp / "fine_tune" / "egs"

    @property
    def _parts(self) -> tuple[str, ...]:
        """What training begins with, of what there is."""
        if self.after_training or "objective" in read_config(self.init / "config.yaml"):
            return self.options.init_parts
        return tuple(name for name in self.options.init_parts if name != "objective") or self.options.init_parts

    def check_normalization(self, conf: str) -> None:
        """Raises DataError if CONF, a file of conf/normalize or "", is not how the features of INIT were normalised."""
        there = read_config(self.init / "config.yaml").get("normalize")
        egs = self.options.egs or check(EgsOptions, read_config(Path(self.egs_conf)), set())()
        here = asdict(check(NormalizeOptions, read_config(Path(conf)) if conf else {}, set())())
        here["voiced_first"] = here["voiced_first"] or egs.kind == "waveform"
        if isinstance(there, dict) and there != here:
            changed = [f"{name} {there.get(name)} there, {value} here" for name, value in here.items()]
            changed = [
                text for text, (name, value) in zip(changed, here.items(), strict=True) if there.get(name) != value
            ]
            text = "the features were normalised otherwise, which --normalize-conf or the kind of egs sets"
            raise DataError(f"--init-model {self.init}: {text}: {'; '.join(changed)}")

    def variables(self) -> Iterator[tuple[str, str]]:
        """What the stage knows by name."""
        options, written = self.options, read_config(self.conf)
        yield "tuned_from", str(self.init)
        yield "tuning_data", str(self.data)
        yield "tuning_egs", str(self.own_egs)
        yield "tuning_egs_options", json.dumps(written["egs"]) if options.egs else self.egs_conf
        yield "tuning_altered", str(options.altered_speakers).lower()
        yield "tuning_share", str(options.mix_share)
        yield "tuning_train", json.dumps(written.get("train") or {})
        yield "tuning_parts", ",".join(self._parts)
        if self._parts != options.init_parts:
            made = options.objective or "conf/objective/aam.yaml"
            yield "say", f"{self.init} has no objective, as models of other toolkits: {made} begins anew"
        yield "tuning_freeze", ",".join(options.freeze)
        yield "tuning_lr_scale", ",".join(f"{name}={factor}" for name, factor in options.lr_scale.items())
        yield "tuning_classes", options.init_classes
        yield "tuning_objective", options.objective or ""
        yield "tuning_objective_args", json.dumps(options.objective_args)
