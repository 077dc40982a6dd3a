"""The house as DESIGN.md draws it: rooms with arrows down, one file a purpose, names that say one thing, thin commands.

What is asserted is read from the sources and the file system; nothing of the library is run but what reads conf/.
"""

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
import setuptools
import soundfile
from jsonargparse import ArgumentParser

import timbre
from timbre.audio.augmented_copies import read_copies
from timbre.audio.effects import Sources, build_chain
from timbre.corpora.synth_speaker import SynthOptions
from timbre.egs.crop_effects import Augmentation
from timbre.egs.options import EgsOptions
from timbre.feats.spec_augment import SpecAugmentOptions
from timbre.recipe.fine_tuning import FineTuneOptions
from timbre.runtime.normalize import NormalizeOptions
from timbre.runtime.spans import WindowOptions
from timbre.training.options import TrainOptions
from timbre.utils.cluster_server import ClusterOptions
from timbre.utils.configure import check, read_config

ROOT = Path(__file__).resolve().parent.parent
STEPS, LOCAL, CONF = ROOT / "steps", ROOT / "local", ROOT / "conf"
LIBRARY = STEPS / "timbre"
ROOMS = (timbre.__doc__ or "").split(":\n\n")[-1].split()  # the lowest first
SHARED_NAMES = ("__init__", "options", "base", "plots")  # what several rooms may call a module
COMMANDS = sorted(STEPS.glob("*.py"))
FRONTS = sorted(LOCAL.glob("*.py"))


def dotted(path: Path) -> str:
    """The name by which the file PATH of the library is imported."""
    parts = path.relative_to(STEPS).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for path in sorted(LIBRARY.rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """What the file PATH imports, wherever in it: modules of the library as such, others by their first name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:  # a name in a module, or a module in a package
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else str(node.module))
    return {name if name in MODULES else name.split(".")[0] for name in found}


GRAPH = {name: {other for other in imported(path) if other in MODULES} for name, path in MODULES.items()}


def room(module: str) -> str:
    """Of timbre.ROOM.MODULE."""
    return module.split(".")[1]


def num_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_rooms_are_those_of_the_order() -> None:
    assert len(ROOMS) == len(set(ROOMS)) > 10
    assert {path.name for path in LIBRARY.iterdir() if path.name != "__pycache__"} <= {
        "__init__.py",
        "README.md",
        *ROOMS,
    }
    assert imported(LIBRARY / "__init__.py") == {"timbre.utils.outset", "timbre.people.voice", "typing"}
    assert imported(LIBRARY / "utils" / "outset.py") <= {*sys.stdlib_module_names}, "what every command begins with"


def test_rooms_import_those_before_them_only() -> None:
    place = {name: number for number, name in enumerate(ROOMS)}
    upward = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in others
        if module != "timbre" and (other == "timbre" or place[room(other)] > place[room(module)])
    ]
    assert not upward


def test_no_modules_import_each_other() -> None:
    try:
        TopologicalSorter(GRAPH).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_the_library_knows_no_command() -> None:
    commands = {path.stem for path in COMMANDS} | {"steps", "local"}
    assert not [f"{name}: {other}" for name, path in MODULES.items() for other in imported(path) & commands]


def test_rooms_and_files_are_small() -> None:
    sizes = {name: sum(map(num_lines, (LIBRARY / name).rglob("*.py"))) for name in ROOMS}
    assert not {name: size for name, size in sizes.items() if size > 4000 and name != "nnet"}
    sources = [path for folder in (STEPS, LOCAL) for suffix in ("py", "sh") for path in folder.rglob(f"*.{suffix}")]
    assert len(sources) > 300
    assert not {str(path): num_lines(path) for path in sources if num_lines(path) > 400}
    assert not {path.name: num_lines(path) for path in COMMANDS if num_lines(path) > 80}


def test_no_two_modules_share_a_name() -> None:
    names = Counter(path.stem for path in MODULES.values() if path.stem not in SHARED_NAMES)
    assert not [name for name, count in names.items() if count > 1]
    shared = Counter((room(dotted(path)), path.stem) for path in MODULES.values() if path.stem in SHARED_NAMES[1:])
    assert not [f"{where}: {name}" for (where, name), count in shared.items() if count > 1]


def test_no_command_hides_a_module() -> None:
    """A script's folder comes first on the path of what it imports, and of what that imports."""
    scripts = {path.stem for path in COMMANDS} | {path.stem for path in FRONTS}
    library = {part for name in MODULES for part in name.split(".")}
    assert not scripts & library
    assert not scripts & set(sys.stdlib_module_names)
    assert not scripts & set(packages_distributions())


def test_scripts_import_no_script() -> None:
    for folder in (COMMANDS, FRONTS):
        others = {path.stem for path in folder} | {"steps", "local"}
        assert not {path.name: imported(path) & others for path in folder if imported(path) & others}


def test_local_holds_fronts_only() -> None:
    names = {path.name for path in LOCAL.iterdir() if path.name not in ("__pycache__", "README.md")}
    assert {name for name in names if not (name.startswith("prepare_") and name.endswith(".py"))} == {
        "download.py",
        "unpack.py",
    }


def test_the_package_is_all_that_is_installed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(settings) == {"packages", "package-data"}  # and no py-modules, no scripts, no second way to find any
    find = settings["packages"]["find"]
    found = [name for where in find["where"] for name in setuptools.find_packages(ROOT / where, (), find["include"])]
    assert sorted(found) == sorted(name for name, path in MODULES.items() if path.stem == "__init__")
    assert all(path.with_name("__init__.py").is_file() for path in MODULES.values())


# What reads a file of conf/KIND, or the test that reads them all.
Loader = Callable[[Path, Sources], object]


def read_options(kind: type) -> Loader:
    return lambda path, _: check(kind, read_config(path), set())()


def read_effects(path: Path, sources: Sources) -> object:
    """As the options of preprocess_audio.py, on the command line of which such a file is --config."""
    config = read_config(path)
    assert set(config) <= {"rate", "cut", "across", "effects"} and isinstance(config.get("rate"), int | None)
    return build_chain(config["effects"], sources)


def read_augment(path: Path, sources: Sources) -> object:
    """Copies (augment_data_dir.py), effects (train.py --augment-conf) or masks (train.py --train.spec_augment)."""
    config = read_config(path)
    if "copies" in config:
        return [build_chain(copy.effects, sources) for copy in read_copies(path).values()]
    if "effects" in config:
        return build_chain(Augmentation.read(path, {}).effects, sources)
    return check(SpecAugmentOptions, config, set())()


def read_corpus(path: Path, _: Sources) -> object:
    """As the options of the front that the file's first line names."""
    name = path.read_text().split("local/")[1].split(".py")[0]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_function_arguments(getattr(import_module(f"local.{name}"), name), skip={"corpus_dir", "out_dir"})
    return parser.parse_object(read_config(path))


LOADERS: dict[str, Loader] = {
    "audio": read_effects,
    "cluster": read_options(ClusterOptions),
    "augment": read_augment,
    "condition": read_effects,
    "corpus": read_corpus,
    "diar": read_options(WindowOptions),
    "egs": read_options(EgsOptions),
    "fine_tune": lambda path, _: FineTuneOptions.read(path),
    "normalize": read_options(NormalizeOptions),
    "synth": read_options(SynthOptions),
    "train": read_options(TrainOptions),
}
TESTED = {
    "backend": "backend/test_transforms.py",
    "feats": "feats/test_feature_options.py",
    "network": "nnet/test_network.py",
    "objective": "nnet/test_objectives.py",
}
OPTION_SETS = {"run", "study"}  # of run.sh


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Something for every kind of effect."""
    folder = tmp_path_factory.mktemp("sources")
    soundfile.write(folder / "one.wav", np.full(800, 0.1), 16000)
    return Sources.given(**dict.fromkeys(("noise", "music", "speech", "rir"), folder))


def test_every_kind_of_configuration_has_a_reader() -> None:
    kinds = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert kinds - OPTION_SETS == {*LOADERS, *TESTED} and "run" in kinds
    for kind in kinds:
        suffix = ".conf" if kind in OPTION_SETS else ".yaml"
        files = [path for path in (CONF / kind).iterdir() if path.is_file() and path.name != "README.md"]
        assert {path.suffix for path in files} == {suffix}
    assert all((ROOT / "tests" / name).is_file() for name in TESTED.values())


YAML_FILES = [path for kind in LOADERS for path in sorted((CONF / kind).glob("*.yaml"))]


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_configuration_is_read(path: Path, sources: Sources) -> None:
    assert path.read_text().startswith("# ")  # it says what it is
    LOADERS[path.parent.name](path, sources)


@pytest.mark.parametrize("path", sorted(CONF.glob("*/*.conf")), ids=lambda path: path.stem)
def test_option_sets_have_known_options(path: Path) -> None:
    command = ["./run.sh", "--config", path, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in path.read_text().splitlines():
        value = line.partition("=")[2]
        assert not value.startswith("conf/") or all((ROOT / word).is_file() for word in value.split()), value


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "bench").glob("bench_*.py")), ids=lambda path: path.stem)
def test_a_benchmark_runs_as_a_file(path: Path) -> None:
    """What of the tests it imports is found however it is called."""
    text = path.read_text()
    assert "from tests." not in text or text.index("sys.path.insert") < text.index("from tests.")
