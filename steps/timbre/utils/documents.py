"""YAML and JSON that others may have written: the one reader of both, with bounds on size, depth and aliases.

Every configuration, pack, manifest and result is read through here; cli.py has jsonargparse read by `parse_yaml` too.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from timbre.utils.errors import DataError

MAX_DEPTH = 60  # mappings and lists inside each other
MAX_NODES = 200_000  # values, those that aliases repeat included
MAX_KEY = 1000  # characters; jsonargparse takes its time over the dots in a key
MAX_YAML = 1 << 22  # bytes
MAX_JSON = 1 << 28
_FLOAT = r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML's plain types with numbers as people write them: no 1_0, no 1:30, no 010 that is 8, but 1e-3; no dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [pair for pair in pairs if pair[0].rpartition(":")[2] not in ("int", "float", "timestamp")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(rf"(?:{_FLOAT}|\.(?:nan|NaN|NAN))$"), list("-+.0123456789")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))


def read_yaml(path: Path) -> Any:
    """The content of the YAML file PATH, of plain types.

    Raises:
        DataError: no such file, not YAML, or larger, deeper or more entangled than any configuration
    """
    return _parsed_yaml(_read(path, MAX_YAML), path)


def read_json(path: Path) -> Any:
    """The content of the JSON file PATH. Raises as `read_yaml`."""
    return parse_json(_read(path, MAX_JSON), path)


def parse_yaml(text: str) -> Any:
    """The content of TEXT. Raises YAMLError where `read_yaml` raises DataError."""
    try:
        _check(text)
        return yaml.load(text, _Loader)
    except (ValueError, RecursionError) as error:  # of numbers of thousands of digits, and the like
        raise yaml.YAMLError(_line(error)) from error


def parse_option(text: str) -> Any:
    """As `parse_yaml`, for the values of options: a word with a colon after it, and words in braces, stay text."""
    value = parse_yaml(text)
    return text if isinstance(value, dict) and value and all(part is None for part in value.values()) else value


def parse_json(text: str, path: Path | None = None, line: int | None = None) -> Any:
    """The content of TEXT, which PATH has (in LINE). Raises DataError."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DataError("not JSON that can be read: nested too deep", path, line) from error
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg}", path, line or error.lineno) from error
    except ValueError as error:
        raise DataError(f"not JSON: {_line(error)}", path, line) from error


def _parsed_yaml(text: str, path: Path) -> Any:
    try:
        return parse_yaml(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise DataError(f"not YAML: {_line(error.problem or error)}", path, line) from error
    except yaml.YAMLError as error:
        raise DataError(f"not YAML: {_line(error)}", path) from error


def _read(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", path) from error
    if len(data) > limit:
        raise DataError(f"more than {limit >> 20} MB: this is something else", path)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise DataError("not UTF-8", path) from error
    if text.startswith("\ufeff"):
        raise DataError("begins with a byte order mark (BOM); save it without", path)
    return text


@dataclass
class _Open:
    """A list or mapping that has not ended: its anchor, values so far, keys, and whether the next value is a key."""

    anchor: str | None
    keys: set[str] | None
    size: int = 1
    at_key: bool = True


def _check(text: str) -> None:
    """Raises YAMLError where TEXT is not to be loaded, at a cost that grows with its length alone."""
    sizes: dict[str, int] = {}  # of what anchors name
    opened = [_Open(None, None)]
    for event in yaml.parse(text, _Loader):
        if tag := getattr(event, "tag", None):
            raise yaml.YAMLError(f"line {_number(event)}: the tag {tag} has no place here")
        if isinstance(event, yaml.CollectionStartEvent):
            if len(opened) > MAX_DEPTH:
                raise yaml.YAMLError(f"nested more than {MAX_DEPTH} deep")
            opened.append(_Open(event.anchor, set() if isinstance(event, yaml.MappingStartEvent) else None))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            done = opened.pop()
            size, anchor = done.size, done.anchor
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise yaml.YAMLError(f"'*{event.anchor}' refers to nothing, or to what it is in")
            size, anchor = sizes[event.anchor], None
        elif isinstance(event, yaml.ScalarEvent):
            size, anchor = 1, event.anchor
        else:
            continue
        outer = opened[-1]
        outer.size += size
        if outer.size > MAX_NODES:
            raise yaml.YAMLError(f"more than {MAX_NODES:,} values")
        if anchor:
            sizes[anchor] = size
        if outer.keys is not None:
            if outer.at_key and isinstance(event, yaml.ScalarEvent) and event.value != "<<":
                if event.value in outer.keys:
                    raise yaml.YAMLError(f"line {_number(event)}: '{event.value}' is there twice")
                outer.keys.add(event.value)
            outer.at_key = not outer.at_key


def _number(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 0


def _line(error: object) -> str:
    return " ".join(str(error).split())[:300]
