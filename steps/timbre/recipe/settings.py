"""The options of run.sh as the plan needs them, checked, with the defaults that depend on other options."""

import re
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from timbre.feats.protocols import WHOLE, Protocol
from timbre.nnet.network_file import own_feat_dim
from timbre.utils.documents import read_yaml
from timbre.utils.errors import DataError
from timbre.utils.missing import count_allowed
from timbre.utils.spelling import did_you_mean

KINDS = {"fbank": "fbank80", "mfcc": "mfcc30", "spectrogram": "spectrogram257", "melspec": "melspec64"}
# kinds of features, and what each is where the network is counted at no size of it that conf/feats has
# names of score files that no back-end may have
TAKEN = re.compile(r"statistics|fusion|siamese|.*_asnorm|.*_llr|.*_quality|.*_adapted")
EXPLAIN_METHODS = ("gradient", "gradcam", "gradcam++", "layercam", "fullgrad", "integrated_gradients", "occlusion")
ADAPT_METHODS = ("kaldi", "coral", "coral+", "mean")  # those of adapt_plda.py that need no speakers
VAD = "conf/feats/vad.yaml"
PAIRED = {"Siamese", "Contrastive"}  # objectives that compare pairs
GIVEN = "given"  # the features of a corpus that brings its own


@dataclass(frozen=True)
class Settings:
    """Options of run.sh, by its names; files and folders that they name exist (run.sh looks)."""

    corpus: str = "synth"
    corpus_dir: str = ""
    corpus_conf: str = ""
    eval_corpora: str = ""
    download_dir: str = ""
    name: str = ""
    features: str = ""
    feats_conf: str = ""
    vad_conf: str = VAD
    audio_conf: str = ""
    augment_conf: str = ""
    train_augment: str = ""
    noise_dir: str = ""
    music_dir: str = ""
    speech_dir: str = ""
    rir_dir: str = ""
    test_conf: str = ""
    test_noise_dir: str = ""
    test_rir_dir: str = ""
    dev_conf: str = ""
    compression: str = ""
    normalize_conf: str = ""
    egs_conf: str = ""
    egs_compression: str = ""
    network: str = ""
    objective: str = ""
    train_pairs: str = "false"
    model: str = ""
    init_model: str = ""
    fine_tune_conf: str = ""
    mix_dir: str = ""
    cluster: str = ""
    backend_conf: str = ""
    backend_augment: str = ""
    backend_copies: str = "100%"
    cohort_copies: str = "true"
    adapt_dir: str = ""
    adapt_method: str = "kaldi"
    adapt_covar_utts: str = "100"
    adapt_cohort_utts: str = "100"
    calibrate: str = "auto"
    quality: str = "false"
    quality_conditions: str = "false"
    baseline: str = "auto"
    protocols: str = ""
    allow_missing: str = "0"
    accuracy: str = "false"
    fill: str = "label"
    identify: str = "false"
    classify: str = "false"
    diarize: str = "false"
    diarize_method: str = "spectral"
    explain: str = "false"
    explain_method: str = "occlusion"
    dress_rehearsal: str = "false"

    @classmethod
    def read(cls, lines: list[str]) -> "Settings":
        """Of lines `some-option=value`; options that the plan does not depend on are passed over.

        Raises:
            DataError: an option has a value that it cannot have
        """
        given = {name.replace("-", "_"): value for name, _, value in (line.partition("=") for line in lines)}
        settings = cls(**{field.name: given[field.name] for field in fields(cls) if field.name in given})
        settings.check()
        return settings

    def check(self) -> None:
        """Raises DataError for the first option that does not go with the others."""
        for corpus in (self.corpus, *(name for name, _ in self.test_corpora)):
            if not Path(f"local/prepare_{corpus}.py").is_file():
                known = [path.stem.removeprefix("prepare_") for path in sorted(Path("local").glob("prepare_*.py"))]
                text = f"there is no local/prepare_{corpus}.py{did_you_mean(corpus, known)}"
                raise DataError(f"--corpus {corpus}: {text}")
        if self.corpus == "synth" and self.download_dir:
            raise DataError("--download-dir: the corpus synth has no archives")
        if self.corpus != "synth" and not self.corpus_dir:
            raise DataError(f"--corpus {self.corpus} needs --corpus-dir DIR")
        if self.corpus_dir and not self.download_dir and not Path(self.corpus_dir).is_dir():
            raise DataError(f"--corpus-dir {self.corpus_dir}: no such directory")
        if self.cluster:
            from timbre.utils.cluster_server import ClusterOptions  # jsonargparse: a tenth of a second

            ClusterOptions.read(Path(self.cluster))
        if self.vad_conf != VAD:
            from timbre.feats.vad import VadOptions  # numpy
            from timbre.utils.configure import check  # jsonargparse

            try:
                check(VadOptions, _read_yaml(self.vad_conf), set())()
            except DataError as error:
                raise DataError(f"--vad-conf: {error.message}", self.vad_conf) from error
        if self.features and self.features not in KINDS:
            raise DataError(f"--features {self.features}: not fbank, mfcc, spectrogram or melspec")
        if not re.fullmatch(r"([^/.][^/]*(/[^/.][^/]*)?)?", self.name):  # STUDY/SYSTEM
            raise DataError(f"--name {self.name}: a name, not a path")
        for option, condition in self.named_conditions:
            if not re.fullmatch(r"[A-Za-z0-9_.-]+", condition.stem):
                text = "its name is to be part of others: letters, digits, _ . -"
                raise DataError(f"--{option} {condition}: {text}")
        for option, stems in (("test-conf", self.conditions), ("dev-conf", self.dev_conditions)):
            twice = [path for number, path in enumerate(stems) if path.stem in [one.stem for one in stems[:number]]]
            if twice:
                raise DataError(f"--{option}: two files are called {twice[0].stem}, which names what is made")
        if self.dev_conf and self.calibrate == "false":
            raise DataError("--dev-conf needs --calibrate: back-ends must not know the speakers held out of training")
        if TAKEN.fullmatch(self.backend) or (self.backend == "cosine" and not self.only_cosine):
            raise DataError(f"--backend-conf {self.backend_conf}: that name is taken; copy it to another")
        self._check_protocols()
        if self.backend_augment and count_allowed(self.backend_copies, 100, "--backend-copies") < 1:
            raise DataError(f"--backend-copies {self.backend_copies}: at least one copy, or 1%, is wanted")
        if self.adapt_method not in ADAPT_METHODS:
            raise DataError(f"--adapt-method {self.adapt_method}: not {', '.join(ADAPT_METHODS)}")
        if self.fill not in ("label", "score"):
            raise DataError(f"--fill {self.fill}: not label or score")
        if self.diarize_method not in ("ahc", "spectral", "vbx"):
            raise DataError(f"--diarize-method {self.diarize_method}: not ahc, spectral or vbx")
        if self.explain_method not in EXPLAIN_METHODS:
            raise DataError(f"--explain-method {self.explain_method}: not {', '.join(EXPLAIN_METHODS)}")
        for _, folder in self.test_corpora:
            if not Path(folder).is_dir():
                raise DataError(f"--eval-corpora: {folder}: no such directory")
        if self.model and not (Path(self.model) / "final.pt").is_file():
            raise DataError(f"--model {self.model}: no finished model, it has no final.pt")
        if self.train_pairs == "true" and not (self.objective and _names(_read_yaml(self.objective), PAIRED)):
            raise DataError(f"--train-pairs: {self.objective or 'the objective'} does not compare pairs")
        if self.measures_quality and self.calibrate == "false":
            raise DataError("--quality is a calibration, and --calibrate is false")
        if self.quality_conditions == "true" and not self.dev_conf:
            raise DataError("--quality-conditions: there are none; --dev-conf names their files")
        if self.model and self.fine_tune_conf:
            raise DataError(
                "--model evaluates a model as it is; --init-model is the one that --fine-tune-conf begins with"
            )
        if self.init_model and not (Path(self.init_model) / "final.pt").is_file():
            raise DataError(f"--init-model {self.init_model}: no finished model, it has no final.pt")
        for name, value in (("init-model", self.init_model), ("mix-dir", self.mix_dir)):
            if value and not self.fine_tune_conf:
                raise DataError(f"--{name} needs --fine-tune-conf, such as conf/fine_tune/large_margin.yaml")

    def _check_protocols(self) -> None:
        """Before anything is trained: a protocol that there is not would be told of at stage 6."""
        names = self.protocols.split()
        for name in names:
            try:
                Protocol.named(name)
            except DataError as error:
                raise DataError(f"--protocols: {error}") from error
            if name == WHOLE or names.count(name) > 1:
                raise DataError(f"--protocols: '{name}' {'is always there' if name == WHOLE else 'comes twice'}")

    @property
    def test_corpora(self) -> list[tuple[str, str]]:
        """(front, folder) of each corpus of --eval-corpora.

        Raises:
            DataError: a word of it is not CORPUS=DIR
        """
        pairs = []
        try:
            words = shlex.split(self.eval_corpora)
        except ValueError as error:
            raise DataError(f"--eval-corpora {self.eval_corpora}: {error}") from None
        for word in words:
            name, equals, folder = word.partition("=")
            if not equals or not name or not folder:
                raise DataError(f"--eval-corpora: '{word}' is not CORPUS=DIR")
            pairs.append((name, folder))
        return pairs

    @property
    def conditions(self) -> list[Path]:
        """The files of --test-conf."""
        return [Path(word) for word in self.test_conf.split()]

    @property
    def dev_conditions(self) -> list[Path]:
        """The files of --dev-conf."""
        return [Path(word) for word in self.dev_conf.split()]

    @property
    def named_conditions(self) -> list[tuple[str, Path]]:
        """The files of both, each with the option that names it."""
        named = [("test-conf", path) for path in self.conditions]
        return named + [("dev-conf", path) for path in self.dev_conditions]

    @property
    def trains_in_rooms(self) -> bool:
        """Training needs impulse responses."""
        files = self.augment_conf, self.train_augment, self.backend_augment
        return any(_reverberates(Path(path)) for path in files if path)

    @property
    def tests_in_rooms(self) -> bool:
        """A condition needs impulse responses."""
        return any(_reverberates(path) for _, path in self.named_conditions)

    @property
    def backend(self) -> str:
        """The name of the back-end beside cosine, in the names of its score files."""
        return Path(self.backend_conf).stem

    @property
    def only_cosine(self) -> bool:
        """The back-end asked for is cosine, so that there is no other beside it."""
        model = _read_yaml(self.backend_conf).get("model")
        return (model.get("class_path") if isinstance(model, dict) else model) == "Cosine" and self.backend == "cosine"

    @property
    def subtracts_mean(self) -> bool:
        """The back-end has a mean of embeddings, which can be adapted."""
        return _names(_read_yaml(self.backend_conf).get("transforms"), {"Mean", "Whitening", "Pca"})

    @property
    def measures_quality(self) -> bool:
        """Calibration has quality measures."""
        return "true" in (self.quality, self.quality_conditions)

    @property
    def is_llr(self) -> bool:
        """The scores of the back-end are log-likelihood ratios before any calibration."""
        model = _read_yaml(self.backend_conf).get("model")
        return (model.get("class_path") if isinstance(model, dict) else model) != "Cosine"

    @property
    def has_pair_head(self) -> bool:
        """The objective of the network that is evaluated has a head that compares pairs, and the model has it still."""
        tuning = _read_yaml(self.fine_tune_conf) if self.fine_tune_conf else {}
        if tuning.get("objective"):
            return _names(_read_yaml(str(tuning["objective"])), {"Siamese"})
        if self.trained_model:
            there = bool(self.fine_tune_conf) or (Path(self.model) / "checkpoints").is_dir()
            return there and _names(self._model_config.get("objective"), {"Siamese"})
        return bool(self.objective) and _names(_read_yaml(self.objective), {"Siamese"})

    @property
    def feature_dim(self) -> int:
        """The feature dimension that the network is counted at, or the model was trained on."""
        if self.trained_model:
            return int(self._model_config.get("feat_dim", 0))
        return own_feat_dim(Path(self.network))

    @property
    def trained_model(self) -> str:
        """A model that is there already, which is evaluated or trained further; "": none."""
        return self.model or self.init_model

    @property
    def _model_config(self) -> dict[str, Any]:
        return _read_yaml(str(Path(self.trained_model) / "config.yaml"))

    @property
    def terms(self) -> str:
        """What a person should know of the use of the model's weights; "": nothing."""
        model = self.trained_model
        origin = self._model_config.get("origin") if model else None
        if not isinstance(origin, dict) or not origin.get("non_commercial"):
            return ""
        return f"warning: {model}: the weights are not for commercial use ({model}/ORIGIN.md)"

    def choose_features(self) -> tuple[str, str, str]:
        """(kind of features; YAML file of its options; what a person should know of the choice).

        What is not asked for follows the network: conf/feats has files such as fbank64.yaml for those that it is
        counted at, and a model of another toolkit brings a file of its own.
        """
        if self.feats_conf:
            return self.features or _kind_of(self.feats_conf), self.feats_conf, ""
        if self.trained_model and not self.features and (own := self._model_config.get("feats")):
            path = Path(self.trained_model) / Path(str(own)).name
            if not path.is_file():
                raise DataError(f"{self.trained_model}: its features, {path.name}, are not there")
            return _kind_of(path.name), str(path), ""
        for kind in [self.features] if self.features else KINDS:
            path = Path(f"conf/feats/{kind}{self.feature_dim}.yaml")
            if path.is_file():
                return kind, str(path), ""
        kind = self.features or "fbank"
        path = Path(f"conf/feats/{KINDS[kind]}.yaml")
        whose = self.trained_model or self.network
        said = f"warning: {whose} is for features of {self.feature_dim} dimensions, and there is no "
        said += f"conf/feats/{kind}{self.feature_dim}.yaml: it gets {path}, and another size than its own"
        return kind, str(path), said


def _kind_of(feats_conf: str) -> str:
    """The kind of features that a file is named after, else fbank."""
    name = Path(feats_conf).name
    return next((kind for kind in KINDS if name.startswith(kind)), "fbank")


def _reverberates(conf: Path) -> bool:
    """Whether a file of effects has Reverberate among them."""
    return "Reverberate" in conf.read_text(encoding="utf-8", errors="replace")


def _names(content: object, classes: set[str]) -> bool:
    """Whether one of CLASSES is anywhere in CONTENT, the configuration of an objective."""
    if isinstance(content, dict):
        found = str(content.get("class_path")).rpartition(".")[2] in classes
        return found or any(_names(value, classes) for value in content.values())
    return isinstance(content, list) and any(_names(value, classes) for value in content)


def _read_yaml(path: str) -> dict[str, Any]:
    content = read_yaml(Path(path))
    if not isinstance(content, dict):
        raise DataError("not a mapping of options", path)
    return content
