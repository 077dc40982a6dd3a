"""The toolkits that weights may come from, and the making of a model directory; for import_model.py."""

import hashlib
import importlib.util
import logging
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import yaml

from timbre.nnet import checkpoint
from timbre.nnet.imports import (
    redimnet_weights,
    resemblyzer,
    speechbrain,
    tdy_weights,
    threed_speaker,
    voxceleb_trainer,
    wespeaker,
)
from timbre.nnet.imports.foreign import Foreign, Weights, into_state, listed
from timbre.nnet.imports.mapped import CLASSIFIERS
from timbre.nnet.model import write_config
from timbre.nnet.network import build_network
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_folder, atomic_write
from timbre.utils.spelling import did_you_mean

log = logging.getLogger(__name__)
UNTOLD = "not told: ask those whom the weights are from"


@dataclass(frozen=True)
class Source:
    """A toolkit.

    read: makes out what weights are; shipped: the file of weights in the toolkit's own package, if one is there;
    licence: of those
    """

    read: Callable[[Weights], Foreign]
    shipped: str = ""
    licence: str = ""


TOOLKITS: dict[str, Source] = {
    "speechbrain": Source(speechbrain.read),
    "wespeaker": Source(wespeaker.read),
    "3dspeaker": Source(threed_speaker.read),
    "voxceleb_trainer": Source(voxceleb_trainer.read),
    "tdy": Source(tdy_weights.read),
    "redimnet": Source(redimnet_weights.read),
    "resemblyzer": Source(resemblyzer.read, "pretrained.pt", "Apache-2.0"),
}


@dataclass(frozen=True)
class Origin:
    """Where weights are from: what ORIGIN.md and config.yaml of an imported model tell.

    toolkit: their toolkit; file: its name; sha256: of the file; licence: as given; non_commercial: they may not be used
    for money
    """

    toolkit: str
    file: str
    sha256: str
    licence: str
    non_commercial: bool


def import_weights(weights: str, out_dir: Path, toolkit: str, licence: str, non_commercial: bool) -> None:
    """Writes the model directory OUT_DIR; see import_model.py.

    Raises:
        DataError: no such file or package, weights that are damaged, not safe to load, or of another network
    """
    path, name, terms = _find(weights, toolkit)
    source = TOOLKITS[name]
    read = Weights.read(path)
    try:
        foreign = source.read(read)
        network = build_network(foreign.network, foreign.feat_dim)
    except DataError as error:
        raise DataError(error.message, error.path or path) from error
    except (KeyError, IndexError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise DataError(f"is not of {name}, or not whole: {what}", path) from error
    if foreign.feats.dim != foreign.feat_dim:
        raise DataError(f"weights for features of {foreign.feat_dim}, not of {foreign.feats.dim} dimensions", path)
    state = into_state(read, foreign, network)
    if left_out := [weight for weight in read if re.fullmatch(CLASSIFIERS, weight)]:
        log.info("%s: left out, for training needs them alone: %s", path, listed(left_out))
    licence = licence or (source.licence if terms else UNTOLD)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    origin = Origin(name, path.name, digest, licence, non_commercial)
    with atomic_folder(out_dir, "model", [path], "config.yaml") as folder:
        config = {"network": network.config, "feat_dim": foreign.feat_dim, "normalize": asdict(foreign.normalize)}
        write_config({**config, "feats": f"{foreign.feats_name}.yaml", "origin": asdict(origin)}, folder)
        with atomic_write(folder / f"{foreign.feats_name}.yaml") as file:
            yaml.safe_dump(foreign.feats.to_dict()["init_args"], file, sort_keys=False)
        (folder / "spk2int").touch()  # none of the speakers here is known to it
        with atomic_write(folder / "ORIGIN.md") as file:
            file.write(_note(origin))
        if terms:
            (folder / "LICENSE").write_text(terms, encoding="utf-8")
        checkpoint.save({"network": state, "steps": []}, folder / "final.pt")


def _find(weights: str, toolkit: str) -> tuple[Path, str, str]:
    """(file, toolkit, text of its licence) of WEIGHTS: a file, or the name of an installed package that has them."""
    packages = [name for name, source in TOOLKITS.items() if source.shipped]
    if weights in packages and not Path(weights).is_file():
        if toolkit not in ("", weights):
            raise DataError(f"--from {toolkit}: the weights of the package {weights} are of {weights}")
        spec = importlib.util.find_spec(weights)  # of a package at the top: nothing of it is run
        if spec is None or spec.origin is None:
            text = f"pip install 'timbre[{weights}]', or pip install --no-deps {weights}, which is enough"
            raise DataError(f"the package {weights} is not installed: {text}")
        path = Path(spec.origin).with_name(TOOLKITS[weights].shipped)
        files = metadata.files(weights) or []
        texts = [str(file.locate()) for file in files if file.name.upper().startswith("LICENSE")]
        return path, weights, Path(texts[0]).read_text(encoding="utf-8", errors="replace") if texts else ""
    if not toolkit:
        raise DataError(f"--from is missing: the toolkit of the weights, {', '.join(TOOLKITS)}", weights)
    if toolkit not in TOOLKITS:
        raise DataError(f"--from {toolkit}: there are {', '.join(TOOLKITS)}{did_you_mean(toolkit, TOOLKITS)}")
    return Path(weights), toolkit, ""


def _note(origin: Origin) -> str:
    use = "**Not for commercial use.**" if origin.non_commercial else "Whether they may be used for money, it must say."
    return (
        f"# Origin\n\nThe weights of this model are from {origin.toolkit}: the file {origin.file},\n"
        f"SHA-256 {origin.sha256}.\n\nLicence: {origin.licence}. {use}\n"
    )
