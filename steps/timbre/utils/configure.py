"""Objects from configuration: `{class_path: Name, init_args: {...}}` with sizes that come from the data.

Networks, objectives and audio effects are built through here. jsonargparse checks the arguments against the class'
signature; the class is looked up among the subclasses of a given base, for a configuration that came with a stranger's
model must not name anything else: jsonargparse's own `Callable[[int], Trunk]` would take, and call, any function.
"""

import inspect
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentParser, set_loader, set_parsing_settings

from timbre.utils.documents import MAX_KEY, parse_option, parse_yaml, read_yaml
from timbre.utils.errors import DataError
from timbre.utils.sensible import nonsense

T = TypeVar("T")

# settings of jsonargparse: nothing in a value makes an object or, even of type Any, has a module imported; the classes
# that a configuration may name are those that `choose` finds among the ones there are
NO_IMPORTS: dict[str, Any] = {"instantiate_subclass_spec_in_any": False, "import_path_denylist": ["*"]}

set_loader("yaml", parse_option, (yaml.YAMLError,))


@dataclass(frozen=True)
class Configured(Generic[T]):
    """A class with checked arguments, lacking only its sizes: `configured(*sizes)` makes the object.

    Attributes:
        kind: the class
        arguments: its other arguments, defaults included
        config: the same as a plain mapping that YAML can hold
    """

    kind: Callable[..., T]
    arguments: dict[str, Any]
    config: dict[str, Any]

    def __call__(self, *sizes: int) -> T:
        return self.kind(*sizes, **self.arguments)


def read_config(config: Mapping[str, Any] | Path) -> dict[str, Any]:
    """CONFIG itself, or the mapping in the YAML file it names.

    Raises:
        DataError: no such file, not YAML, not a mapping
    """
    if isinstance(config, Mapping):
        return dict(config)
    if not isinstance(config, Path):
        raise DataError(f"`key: value` settings are wanted, not {str(config)[:100]!r}")
    content = read_yaml(config)
    if not isinstance(content, dict):
        raise DataError("must hold `key: value` settings", config)
    return content


def choose(
    base: type[T], config: object, num_sizes: int = 0, given: Mapping[str, object] | None = None
) -> Configured[T]:
    """The subclass of BASE that CONFIG names, without its first NUM_SIZES arguments.

    Args:
        base: the class that the named one must be derived from
        config: {class_path: Name, init_args: {...}}, or Name alone
        num_sizes: how many leading arguments are sizes that come from the data
        given: arguments that the caller gives and no configuration may, for classes that have parameters so named

    Raises:
        DataError: an unknown class, an unknown, missing or ill-typed argument
    """
    config = {"class_path": config} if isinstance(config, str) else config
    if not isinstance(config, Mapping) or not set(config) <= {"class_path", "init_args"} or "class_path" not in config:
        raise DataError(f"{base.__name__.lower()} must hold class_path and init_args, not {config!r}")
    known = {kind.__name__: kind for kind in _subclasses(base)}
    name = str(config["class_path"])
    if name not in known:
        raise DataError(f"{base.__name__.lower()} {name!r} is unknown; there are {', '.join(sorted(known))}")
    parameters = list(inspect.signature(known[name]).parameters)
    wanted = {parameter: value for parameter, value in (given or {}).items() if parameter in parameters}
    checked = check(known[name], config.get("init_args") or {}, {*parameters[:num_sizes], *wanted})
    return Configured(checked.kind, checked.arguments | wanted, {"class_path": name, "init_args": checked.config})


def check(kind: Callable[..., T], arguments: object, skip: set[str]) -> Configured[T]:
    """ARGUMENTS checked against the signature of the class KIND, but for the parameters SKIP.

    Raises:
        DataError: an unknown, missing or ill-typed argument
    """
    name = getattr(kind, "__name__", str(kind))
    if not isinstance(arguments, Mapping):
        raise DataError(f"{name}: settings must be `key: value`, not {arguments!r}")
    if odd := next((key for key in _keys(arguments) if not isinstance(key, str) or len(key) > MAX_KEY), None):
        raise DataError(f"{name}: {str(odd)[:100]!r} is no name of a setting")
    set_up_parsing(kind)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, skip=skip)
    try:
        parsed = parser.parse_object(dict(arguments))
    except ArgumentError as error:
        raise DataError(f"{name}: {_one_line(error)}") from error
    if problem := nonsense(vars(parsed.as_flat()), vars(parser.get_defaults().as_flat()), arguments):
        raise DataError(f"{name}: {problem}")
    resolved = parse_yaml(parser.dump(parsed, skip_unset=False))
    return Configured(kind, dict(vars(parser.instantiate(parsed))), resolved or {})


def set_up_parsing(kind: Callable[..., Any]) -> None:
    """Settings for a parser of the arguments of KIND: no value may name what is to be imported.

    Except the dataclasses that are written in the signature as one choice of several, as in `Options | None`, to which
    jsonargparse gives their own names as if the value did.
    """
    allowed = [f"{options.__module__}.{options.__qualname__}" for options in _choices(kind)]
    set_parsing_settings(**NO_IMPORTS, import_path_allowlist=allowed)


def _choices(kind: Any) -> Iterator[type]:
    """The dataclasses in the unions of the signature of KIND, and of those that they and it hold."""
    for hint in get_type_hints(inspect.getattr_static(kind, "__init__") if isinstance(kind, type) else kind).values():
        for one in get_args(hint) or [hint]:
            if isinstance(one, type) and is_dataclass(one):
                if one is not hint:
                    yield one
                yield from _choices(one)


def _subclasses(base: type[T]) -> Iterator[type[T]]:
    """Every concrete class derived from BASE."""
    for kind in base.__subclasses__():
        if not inspect.isabstract(kind):
            yield kind
        yield from _subclasses(kind)


def _keys(content: object) -> Iterator[object]:
    """Every key in CONTENT."""
    for value in content.values() if isinstance(content, Mapping) else content if isinstance(content, list) else ():
        yield from _keys(value)
    if isinstance(content, Mapping):
        yield from content


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
