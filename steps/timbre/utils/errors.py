"""The one exception for bad input, told to the person at the terminal. Raised everywhere, caught in cli.py."""

from pathlib import Path


class DataError(Exception):
    """Bad input or settings, told in one line: `data/train/wav.scp:17: utterance id 'a b' has a space`.

    Args:
        message: what is wrong, and where it helps what to do
        path: the file it was found in
        line: 1-based line number in that file
    """

    status = 1  # with which a step that meets it ends

    def __init__(self, message: str, path: Path | str | None = None, line: int | None = None) -> None:
        self.message, self.path, self.line = message, path, line
        where = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(where + message)

    def __reduce__(self) -> tuple[type, tuple[str, Path | str | None, int | None]]:
        return type(self), (self.message, self.path, self.line)  # survives the way back from a worker process
