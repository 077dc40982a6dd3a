"""What the READMEs say: their commands are those of the scripts, their links lead somewhere, they are short."""

import ast
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin

import pytest
from jsonargparse import auto_cli, capture_parser, set_parsing_settings

from timbre.utils import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [ROOT / "README.md", ROOT / "RESULTS.md", ROOT / "data" / "README.md", ROOT / "exp" / "README.md"]
    + [page for folder in ("conf", "local", "steps", "tests") for page in (ROOT / folder).rglob("README.md")]
)
PAGES = [page for page in PAGES if ROOT / "tests" / "data" not in page.parents]  # that is Kaldi's
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
STEPS = sorted((ROOT / "steps").glob("*.py"))
SCRIPT = re.compile(r"(?:\$OLDPWD/)?(?:\./)?(run\.sh|(?:steps|local|tests/bench)/\w+\.py)$")
PATH = re.compile(r"(?:steps|local|conf|tests)/(?!.*[A-Z]{4})[\w./-]*\w/?$")  # without a placeholder such as NAME
SAID_OF_ALL = {"--some-option", "--some_option"}
TRUTHS = ("true", "yes", "false", "no")


@dataclass(frozen=True)
class Command:
    """A script and the words after it, on a line of a page; in a sentence it may be without its arguments."""

    line: int
    script: str
    words: tuple[str, ...]
    in_sentence: bool = False

    def __str__(self) -> str:
        return f"line {self.line}: {shlex.join([self.script, *self.words])}"


# What is in a page


def code_blocks(text: str) -> Iterator[tuple[int, str]]:
    """(line number, line) of every command line in fenced and indented blocks; lines that end in \\ are joined."""
    fenced = indented = False
    before, begun, number_begun = "", "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        indented = line.startswith("    ") and (indented or not before.strip())
        before = line
        if (fenced and not line.startswith("```")) or indented:
            number_begun = number_begun if begun else number
            begun += line.strip().removesuffix("\\")
            if not line.endswith("\\"):
                yield number_begun, begun
                begun = ""


def prose(text: str) -> str:
    """TEXT with as many lines, those of code blocks empty."""
    lines, fenced, indented, before = [], False, False, ""
    for line in text.splitlines():
        fence = line.startswith("```")
        fenced ^= fence
        indented = line.startswith("    ") and (indented or not before.strip())
        before = line
        lines.append("" if fence or fenced or indented else line)
    return "\n".join(lines)


def spans(text: str) -> Iterator[tuple[int, str]]:
    """(line number, words) of what stands in backticks."""
    text = prose(text)
    for found in re.finditer(r"`([^`]+)`", text):
        yield text.count("\n", 0, found.start()) + 1, " ".join(found[1].split())


def commands_of(text: str) -> Iterator[Command]:
    """Those of scripts of ours."""
    lines = [(*place, False) for place in code_blocks(text)] + [(*place, True) for place in spans(text)]
    for number, line, in_sentence in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|()")
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # an apostrophe: not a command
            continue
        for part in _split(words):
            while part and (part[0] in ("python", "time") or re.match(r"\w+=", part[0])):
                part = part[1:]
            if part and (found := SCRIPT.fullmatch(part[0])):
                yield Command(number, found[1], tuple(part[1:]), in_sentence)


def _split(words: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if re.fullmatch(r"[;&|()]+|--", word):  # after "--" comes a command that is given to this one
            yield [*part, "command"] if word == "--" else part
            part = []
        else:
            part.append(word)
    yield part


# What the scripts take


@cache
def options_of_run() -> frozenset[str]:
    """Options that ./run.sh --help, or ./run.sh --help STAGE, lists."""
    stages = [path.stem.partition("_")[2] for path in sorted((ROOT / "steps" / "stages").glob("[0-9]*_*.sh"))]
    options = {"--help", "--config"}
    for words in [[], *([stage] for stage in stages)]:
        done = subprocess.run(["./run.sh", "--help", *words], cwd=ROOT, capture_output=True, text=True, check=True)
        options.update(re.findall(r"^ +(--[a-z][a-z-]*)", done.stdout, re.MULTILINE))
    return frozenset(options)


@cache
def parser_of(script: str) -> tuple[Any, bool]:
    """The parser of a script of steps/ or local/, as run_step makes it, and whether its words are one list."""
    calls: list[tuple[Any, bool]] = []
    real, path = cli.run_step, list(sys.path)
    cli.run_step = lambda step, takes_list=False: calls.append((step, takes_list))
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    finally:
        cli.run_step, sys.path[:] = real, path
    [(step, takes_list)] = calls
    cli.set_up_parsing(step)
    set_parsing_settings(subclasses_disabled=[cli.is_dataclass])
    return capture_parser(lambda: auto_cli(step, args=[], parser_class=cli._Parser, allow_abbrev=False)), takes_list


def options_of(script: str) -> dict[str, Any]:
    """Option -> its action, or what stands for it where it is one of a group that may be null."""
    options = {name: action for action in parser_of(script)[0]._actions for name in action.option_strings}
    for name, action in [*options.items()]:
        for group in filter(is_dataclass, get_args(getattr(action, "_typehint", None))):
            inner = {field.name: SimpleNamespace(nargs=None, _typehint=field.type) for field in fields(group)}
            options |= {f"{name}.{field}": value for field, value in inner.items()}
    return options


def faults(command: Command) -> Iterator[str]:
    """What a script would not take of the words of a command: options, values of a choice, too few or many words."""
    if not (ROOT / command.script).exists():
        yield "no such script"
    elif command.script == "run.sh":
        yield from (f"no option {word}" for word in command.words if _name(word) not in options_of_run())
    elif command.script.startswith("tests/"):
        text = (ROOT / command.script).read_text(encoding="utf-8")
        yield from (f"no option {word}" for word in command.words if not _mentions(text, _name(word)))
    else:
        yield from _faults_of_step(command)


def _name(word: str) -> str:
    """The option that a word is; --help for what is none, which every script has."""
    return word.partition("=")[0] if word.startswith("--") else "--help"


def _mentions(text: str, option: str) -> bool:
    """Whether a bench, whose options are its function's parameters or argparse's, has an option."""
    return option == "--help" or option in text or f"{option[2:].replace('-', '_')}:" in text


def _faults_of_step(command: Command) -> Iterator[str]:
    parser, takes_list = parser_of(command.script)
    options, positional, elided = options_of(command.script), 0, "--" in command.words
    words = iter([*takewhile(lambda word: word != "--", command.words), ""])  # after it, another command
    word = next(words)
    while word:
        after = next(words, "")
        if word == "...":
            elided = True
        elif not word.startswith("--"):
            positional += 1
        elif (action := options.get(cli._underscored(word).partition("=")[0])) is None:
            yield f"no option {word}"
            after = "" if not after else after if after.startswith("--") else next(words, "")
        elif action.nargs != 0 and "=" not in word:
            hint = getattr(action, "_typehint", None)
            if hint is not bool or after in TRUTHS:
                if not after or after.startswith("--"):
                    if after or not command.in_sentence:
                        yield f"{word} without a value"
                elif not _fits(hint, after):
                    yield f"{word} does not take {after}"
                after = next(words, "") if not after.startswith("--") else after
        word = after
    taken = [action for action in parser._actions if not action.option_strings]
    least = sum(1 for action in taken if action.nargs not in ("?", "*"))
    if positional > len(taken) and not takes_list:
        yield f"{positional} words where {len(taken)} are taken"
    if command.in_sentence and not positional:
        return
    if not elided and positional < least and "--help" not in command.words:
        yield f"{positional} words where {least} are needed"


def _fits(hint: Any, value: str) -> bool:
    """Whether VALUE is one of the choices, where there are such."""
    return get_origin(hint) is not Literal or value in get_args(hint) or value.isupper() or "|" in value


# The tests


@pytest.mark.parametrize("page", NAMES)
def test_commands_are_what_scripts_take(page: str) -> None:
    found = list(commands_of((ROOT / page).read_text(encoding="utf-8")))
    wrong = [f"{page}, {command}: {fault}" for command in found for fault in faults(command)]
    assert not wrong, "\n".join(wrong)


def test_the_commands_are_found() -> None:
    counts = {page: sum(1 for _ in commands_of((ROOT / page).read_text(encoding="utf-8"))) for page in NAMES}
    assert counts["README.md"] > 10 and counts["steps/README.md"] > 30 and counts["RESULTS.md"] > 5, counts


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("steps/no_such_step.py data", "no such script"),
        ("./run.sh --no-such-option 1", "no option --no-such-option"),
        ("steps/make_fbank.py data --fbank.no_such 1 --nj 8", "no option --fbank.no_such"),
        ("steps/make_fbank.py data --nj --fbank x.yaml", "--nj without a value"),
        ("steps/make_fbank.py data more", "2 words where 1 are taken"),
        ("steps/score_matrix.py a.scp b.scp --nj 8", "2 words where 3 are needed"),
        ("steps/cluster_windows.py a b c --method median", "--method does not take median"),
    ],
)
def test_a_wrong_command_is_found(line: str, fault: str) -> None:
    for text in (f"Say\n\n    {line}   # so\n", f"```\n{line}\n```\n", f"with `{line}`"):
        [command] = commands_of(text)
        assert list(faults(command)) == [fault]


def test_a_command_in_two_lines_is_one() -> None:
    [command] = commands_of("Say\n\n    ./run.sh --network a.yaml \\\n      --nj 8; echo\n")
    assert command == Command(3, "run.sh", ("--network", "a.yaml", "--nj", "8"))


@pytest.mark.parametrize("page", NAMES)
def test_files_and_options_by_name_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    words = [
        (number, word) for number, line in [*code_blocks(text), *spans(text)] for word in re.split(r"[\s\"']", line)
    ]
    wrong = [f"line {number}: {word}" for number, word in words if PATH.fullmatch(word) and not (ROOT / word).exists()]
    by_name = {
        path.name for folder in ("steps", "local", "tests", "tests/bench") for path in (ROOT / folder).glob("*.py")
    }
    known = options_of_run() | {name for path in STEPS for name in options_of(f"steps/{path.name}")}
    known |= SAID_OF_ALL | {name for path in (ROOT / "local").glob("*.py") for name in options_of(f"local/{path.name}")}
    library = ROOT / "steps" / "timbre"
    commands = [*(library / "people" / "commands").glob("*.py"), library / "serve" / "serve_page.py"]  # of `timbre`
    known |= {option for path in commands for option in re.findall(r'"(--\w[\w-]*)"', path.read_text(encoding="utf-8"))}
    for number, span in spans(text):
        first = span.split()[0]
        if re.fullmatch(r"\w+\.py", first) and first not in by_name:
            wrong.append(f"line {number}: {span}")
        if re.match(r"--\w", first) and not {_name(first), cli._underscored(_name(first))} & known:
            wrong.append(f"line {number}: {span}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", NAMES)
def test_links_lead_somewhere(page: str) -> None:
    text = re.sub(r"`[^`]*`", "", prose((ROOT / page).read_text(encoding="utf-8")))
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        if not path.exists() or (anchor and anchor not in _anchors(path)):
            wrong.append(target)
    assert not wrong


def _anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "lines", "words"), [("README.md", 150, 1300), ("RESULTS.md", 150, 10**9)])
def test_pages_are_short(page: str, lines: int, words: int) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= lines and len(text.split()) <= words


@pytest.mark.parametrize("page", NAMES)
def test_lines_are_short(page: str) -> None:
    lines = enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1)
    assert not [number for number, line in lines if len(line) > 120 and not line.startswith("|")]


def test_index_of_steps_is_what_they_say_of_themselves() -> None:
    text = (ROOT / "steps" / "README.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- `(\w+\.py)`: (.*(?:\n  .*)*)$", text, re.MULTILINE)
    listed = [(name, " ".join(said.split())) for name, said in entries]
    docstrings = [ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in STEPS]
    due = [(path.name, said.partition("\n")[0]) for path, said in zip(STEPS, docstrings, strict=True)]
    assert sorted(listed) == due, "\n".join(f"- `{name}`: {said}" for name, said in sorted({*due} - {*listed}))


def test_every_corpus_is_in_the_table() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "local" / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(path.stem[8:] for path in (ROOT / "local").glob("prepare_*.py"))


@pytest.mark.parametrize(
    "folder", ["audio", "augment", "backend", "condition", "egs", "feats", "objective", "run", "train"]
)
def test_every_configuration_is_named(folder: str) -> None:
    text = (ROOT / "conf" / "README.md").read_text(encoding="utf-8")
    missing = [path.name for path in sorted((ROOT / "conf" / folder).iterdir()) if f"`{path.stem}`" not in text]
    missing = [name for name in missing if name != "README.md"]
    assert not missing
