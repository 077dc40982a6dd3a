"""From a typed function to a command: what every script of steps/ and local/ ends with."""

import inspect
import json
import keyword
import logging
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import is_dataclass
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, auto_cli, set_parsing_settings

from timbre.utils.configure import set_up_parsing
from timbre.utils.errors import DataError
from timbre.utils.sensible import nonsense
from timbre.utils.spelling import did_you_mean

_TRUTHS = ("true", "yes", "false", "no")  # what jsonargparse takes


def run_step(step: Callable[..., Any], takes_list: bool = False) -> None:
    """Parses the command line from STEP's signature and docstring (jsonargparse) and runs it.

    Bad input (DataError, OSError) becomes one line on stderr and exit status 1; wrong options exit with 2, recordings
    of which nothing can be said with 3, and a signal (SIGINT, SIGTERM or SIGHUP) with 128 and its number, after what
    was begun has been tidied up.
    With TIMBRE_LOG set (run.sh does, when stderr is a terminal), log lines and errors go to that file too.

    Args:
        step: the function
        takes_list: the words that are no options, nor values of options, are a list, its only positional argument
    """
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if log := os.environ.get("TIMBRE_LOG"):
        handlers.append(logging.FileHandler(log, encoding="utf-8"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers)
    set_up_parsing(step)
    set_parsing_settings(subclasses_disabled=[is_dataclass])  # a dataclass is a group of options
    stop = _Stop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, stop)
    try:
        words = _with_truth(step, [_located(_underscored(word)) for word in sys.argv[1:]])
        if takes_list:
            listed, words = _split_list(words)
            words = [json.dumps(listed)] * bool(listed) + words
        auto_cli(step, args=words, parser_class=_Parser, allow_abbrev=False)
    except DataError as error:
        _fail(str(error), error.status)
    except BrokenPipeError:  # `step | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except UnicodeDecodeError as error:
        _fail(f"a configuration file is not UTF-8: {error}")
    except ValueError as error:
        if not isinstance(error.__cause__, DataError):
            raise
        _fail(str(error.__cause__))  # of a group of options that may also be null
    except RecursionError:
        _fail("a file or an option is nested too deep")
    except MemoryError:
        _fail("out of memory")
    except KeyboardInterrupt as error:
        _fail("interrupted", status=128 + (error.args[0] if error.args else signal.SIGINT))


class _Stop:
    """Handler of signals: ends what is done by a KeyboardInterrupt with the number.

    Some senders send twice: for two seconds another signal has no effect on the tidying up.
    """

    def __init__(self) -> None:
        self._last = -math.inf  # when, by the monotonic clock

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last > 2:
            self._last = now
            raise KeyboardInterrupt(number)


class _Parser(ArgumentParser):
    """Wrong options are one line, too, without the whole usage before it; types by their plain names."""

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        parsed = super().parse_args(*args, **kwargs)
        words = list(kwargs.get("args") or (args[0] if args else None) or ())
        texts = dict(word.split("=", 1) if "=" in word else (word, after) for word, after in pairwise([*words, ""]))
        given = {name.removeprefix("--"): text for name, text in texts.items()}
        if problem := nonsense(vars(parsed.as_flat()), vars(self.get_defaults().as_flat()), given, own=True):
            self.error(f"option {problem}")
        return parsed

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            super().error(message, ex)
        advice = f"{self._meant(message)} (--help lists the options)"
        _fail(" ".join(_plain_types(message).split()) + advice, status=2)

    def _meant(self, message: str) -> str:
        """The option that is most like the one that MESSAGE says is unknown."""
        known = [name for action in self._actions for name in action.option_strings]
        if found := re.match(r"unrecognized arguments: (--[^\s=]+)", message, re.IGNORECASE):
            return did_you_mean(found[1], known)
        if found := re.match(r"(?:Group '([\w.]+)' does not accept o|O)ption '([\w.]+)'", message):
            prefix = f"--{found[1]}." if found[1] else "--"
            return did_you_mean(found[2], [name.removeprefix(prefix) for name in known if name.startswith(prefix)])
        return ""

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        text = _plain_types(super().format_help(*args, **kwargs))
        return re.sub(r"--([a-z]+)_ ([A-Z]+)_", r"--\1 \2", text)  # --from


def _plain_types(text: str) -> str:
    """<class 'Path'> as Path, and what jsonargparse takes for a list of paths as what is meant to be given."""
    text = text.replace("""'["PATH1",...]' | LIST_OF_PATHS_FILE | -""", "PATH [PATH ...]")
    return re.sub(r"<class\s+'([\w.]+)'>", r"\1", text)


def _underscored(word: str) -> str:
    """--some-option=a-b as --some_option=a-b: options may be written Kaldi's way too. What Python keeps for itself is a
    parameter with _ behind it: --from."""
    name, equals, value = word.partition("=")
    if not word.startswith("--"):
        return word
    name = name.replace("-", "_").replace("__", "--", 1)
    return name + "_" * keyword.iskeyword(name[2:]) + equals + value


def _located(word: str) -> str:
    """x.yaml as ./x.yaml: without a folder it looks like a class of a module, which no value may name."""
    return re.sub(r"^(--[^=]*=)?([A-Za-z_]\w*\.(?:ya?ml|json))$", r"\1./\2", word)


def _split_list(words: list[str]) -> tuple[list[str], list[str]]:
    """(words of the list, options with their values): an option has one value, after = or a space."""
    listed: list[str] = []
    options: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            listed += rest
        elif not word.startswith("-"):
            listed.append(word)
        else:
            options.append(word)
            if "=" not in word and word not in ("-h", "--help"):
                options += [value for value in [next(rest, None)] if value is not None]
    return listed, options


def _with_truth(step: Callable[..., Any], words: list[str]) -> list[str]:
    """A true/false option alone means true, as in run.sh."""
    flags = {f"--{name}" for name, option in inspect.signature(step).parameters.items() if option.annotation is bool}
    result = []
    for word, after in zip(words, [*words, ""][1:], strict=True):
        result += [word, "true"] if word in flags and after.lower() not in _TRUTHS else [word]
    return result


def _fail(message: str, status: int = 1) -> NoReturn:
    line = f"{Path(sys.argv[0]).name}: error: {message}"
    if log := os.environ.get("TIMBRE_LOG"):
        with Path(log).open("a", encoding="utf-8") as file:
            print(line, file=file)
    print(line, file=sys.stderr)
    sys.exit(status)
