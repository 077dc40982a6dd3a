"""Everything that is wrong with a data directory, with file and line; for its script and the corpus fronts."""

import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import soundfile

from timbre.datadir.ark import read_shape
from timbre.datadir.contents import MODELS, is_carried, is_complete, is_trials, kind_of, place_from, table_kind
from timbre.datadir.datadir import invert, parse_segment
from timbre.datadir.phones import PHONES, phone_problems
from timbre.datadir.tables import parse_lines, read_bytes, split_blanks, split_lines, unsorted_problem
from timbre.datadir.trial_text import line_problem
from timbre.datadir.trials import NO_LAYOUT, layout_of, read_trials
from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float

_FRAMES = ("feats.scp", "vad.scp", "energy.scp")  # a row, or a value, a frame
_TOLERANCE = 0.01  # seconds that a segment may reach beyond its recording: segments are often rounded


@dataclass
class Report:
    """What `examine` found: errors make the directory unusable, warnings may be meant; the summary counts."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    summary: str = ""

    def error(self, problem: str, path: Path, line: int | None = None) -> None:
        self.errors.append(str(DataError(problem, path, line)))

    def warn(self, problem: str, path: Path, line: int | None = None) -> None:
        self.warnings.append(str(DataError(problem, path, line)))


@dataclass(frozen=True)
class _Table:
    """A table with the line of every key."""

    path: Path
    values: dict[str, str]
    lines: dict[str, int]


def validate(path: Path | str, *, need_wav: bool = False, need_feats: bool = False, root: Path = Path()) -> list[str]:
    """Every problem of the data directory PATH, "file:line: what"; an empty list: none.

    Args:
        path: the data directory
        need_wav: wav.scp must be there
        need_feats: feats.scp must be there
        root: where relative paths in .scp files start
    """
    return examine(path, need_wav=need_wav, need_feats=need_feats, root=root).errors


def examine(path: Path | str, *, need_wav: bool = False, need_feats: bool = False, root: Path = Path()) -> Report:
    """As `validate`, with the warnings: a speaker id that no utterance id starts with, only one speaker, ..."""
    path, report = Path(path), Report()
    if not path.is_dir():
        report.error("no such data directory", path)
        return report
    names = sorted(entry.name for entry in path.iterdir() if is_carried(entry.name) or entry.name == "spk2utt")
    tables = {name: _read(path / name, root, report) for name in names if not is_trials(name) and name != PHONES}
    for name, needed in (("utt2spk", True), ("spk2utt", True), ("wav.scp", need_wav), ("feats.scp", need_feats)):
        if needed and name not in tables:
            report.error(f"no {name} in it", path)
    if "wav.scp" not in tables and "feats.scp" not in tables and not (need_wav or need_feats):
        report.error("neither wav.scp nor feats.scp in it", path)
    if "utt2spk" in tables:
        _check_speakers(tables, report)
        _check_audio(tables, report)
        _check_keys(tables, report)
        _check_features(tables, report)
        if PHONES in names:
            _check_phones(path / PHONES, tables, report)
        for name in filter(is_trials, names):
            _check_trials(path / name, tables, report)
    return report


def _read(path: Path, root: Path, report: Report) -> _Table:
    """The table at PATH; its bad lines are reported, and kept as far as they have a key. Places start at ROOT."""
    table = _Table(path, {}, {})
    try:
        data = read_bytes(path)
    except DataError as error:
        report.errors.append(str(error))
        return table
    if not data:
        report.error("the file is empty", path)
    if windows := data.count(b"\r\n"):
        first = data.count(b"\n", 0, data.index(b"\r\n")) + 1
        report.error(f"Windows line ends (CRLF) on {windows} lines; convert with dos2unix", path, first)
        data = data.replace(b"\r\n", b"\n")
    last = ""
    for line in parse_lines(data):
        if line.problem:
            report.error(line.problem, path, line.number)
        if not line.key or line.key in table.values:
            continue
        if line.key < last:
            report.error(unsorted_problem(line.key, last), path, line.number)
        last = line.key
        table.values[line.key] = place_from(root, line.value) if path.suffix == ".scp" else line.value
        table.lines[line.key] = line.number
    return table


def _check_speakers(tables: dict[str, _Table], report: Report) -> None:
    utt2spk = tables["utt2spk"]
    for utt, spk in utt2spk.values.items():
        if len(split_blanks(spk)) > 1:
            text = f"'utterance speaker' is wanted, not '{utt} {spk}': has an id a space?"
            report.error(text, utt2spk.path, utt2spk.lines[utt])
    strange = [utt for utt, spk in utt2spk.values.items() if not utt.startswith(spk)]
    if strange:
        text = f"{len(strange)} utterance ids do not begin with their speaker's, the first being '{strange[0]}'"
        report.warn(text, utt2spk.path, utt2spk.lines[strange[0]])
    spk2utt = invert(utt2spk.values)
    report.summary = f"{len(utt2spk.values)} utterances of {len(spk2utt)} speakers"
    if len(spk2utt) == 1:
        report.warn(f"there is only one speaker, '{next(iter(spk2utt))}'", utt2spk.path)
    if "spk2utt" not in tables:
        return
    table = tables["spk2utt"]
    for spk, line in table.values.items():
        said, true = split_blanks(line), set(spk2utt.get(spk, ()))
        wrong = [f"names '{utt}', which is not of '{spk}' in utt2spk" for utt in said if utt not in true]
        wrong += [f"lacks '{utt}', which is of '{spk}' in utt2spk" for utt in sorted(true.difference(said))]
        if len(set(said)) < len(said):
            wrong.append(f"names an utterance of '{spk}' twice")
        for problem in wrong:
            report.error(problem, table.path, table.lines[spk])
    for spk in spk2utt.keys() - table.values.keys():
        report.error(f"speaker '{spk}' is not in spk2utt", utt2spk.path, utt2spk.lines[spk2utt[spk][0]])


def _check_audio(tables: dict[str, _Table], report: Report) -> None:
    wavs = tables.get("wav.scp")
    if wavs:
        for recording, place in wavs.values.items():
            if problem := place_problem(place):
                report.error(f"'{recording}': {problem}", wavs.path, wavs.lines[recording])
    if "segments" in tables:
        _check_segments(tables["segments"], wavs, tables.get("reco2dur"), report)


def place_problem(place: str) -> str | None:
    """What is wrong with where a recording is said to be; a command is not run, so nothing is known about it."""
    if place.endswith("|"):
        return None
    archive, _, offset = place.rpartition(":")
    path = archive if offset.isdecimal() and not Path(place).exists() else place
    try:
        status = Path(path).stat()
    except OSError as error:
        return f"cannot read {path}: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a file"
    return None if status.st_size else f"{path} is empty"


def _check_segments(table: _Table, wavs: _Table | None, durations: _Table | None, report: Report) -> None:
    lengths: dict[str, float | None] = {}
    for utt, value in table.values.items():
        line = table.lines[utt]
        try:
            segment = parse_segment(value)
        except ValueError as error:
            report.error(f"segment '{utt}': {error}", table.path, line)
            continue
        name = segment.recording
        if wavs and name not in wavs.values:
            report.error(f"segment '{utt}' is of recording '{name}', which is not in wav.scp", table.path, line)
            continue
        if name not in lengths:
            known = durations.values.get(name) if durations else None
            lengths[name] = _number(known) if known else _duration(wavs.values[name]) if wavs else None
        length = lengths[name]
        if length is not None and max(segment.start, segment.end) > length + _TOLERANCE:
            text = (
                f"segment '{utt}' reaches {max(segment.start, segment.end):g} s into '{name}', which has {length:g} s"
            )
            report.error(text, table.path, line)


def _duration(place: str) -> float | None:
    """Seconds of a recording, where its file can be asked."""
    try:
        return float(soundfile.info(place).duration) if not place.endswith("|") else None
    except (soundfile.SoundFileError, OSError):
        return None


def _number(text: str) -> float | None:
    try:
        return to_float(text)
    except ValueError:
        return None


def _check_keys(tables: dict[str, _Table], report: Report) -> None:
    """Keys of every table against utt2spk, and utt2spk against the tables that must know every utterance."""
    utt2spk = tables["utt2spk"]
    known = {"utt": ("utterance", set(utt2spk.values)), "spk": ("speaker", set(utt2spk.values.values()))}
    for name, table in tables.items():
        kind = table_kind(name, table.values, utt2spk.values) if kind_of(name) else None
        if name == "wav.scp" and "segments" not in tables:
            kind = "utt"
        if kind == "utt" or kind == "spk":
            what, ids = known[kind]
            for key in table.values:
                if key not in ids:
                    report.error(f"{what} '{key}' is not in utt2spk", table.path, table.lines[key])
        if kind == "utt" and is_complete(name):
            for utt in utt2spk.values:
                if utt not in table.values:
                    report.error(f"utterance '{utt}' is not in {name}", utt2spk.path, utt2spk.lines[utt])
    if MODELS in tables:
        table = tables[MODELS]
        for model, line in table.values.items():
            for utt in split_blanks(line):
                if utt not in utt2spk.values:
                    text = f"model '{model}' has utterance '{utt}', which is not in utt2spk"
                    report.error(text, table.path, table.lines[model])


def _check_features(tables: dict[str, _Table], report: Report) -> None:
    """That every entry of an .scp can be read, and that all agree on the number of frames."""
    frames: dict[str, int] = {}
    scps = sorted((name for name in tables if name.endswith(".scp") and name != "wav.scp"), key="feats.scp".__ne__)
    for name in scps:  # feats.scp first: the others are held against it
        table = tables[name]
        for utt, rx in table.values.items():
            try:
                shape = read_shape(rx)
            except DataError as error:
                report.error(f"'{utt}': {error}", table.path, table.lines[utt])
                continue
            if name in _FRAMES and shape[0] != frames.setdefault(utt, shape[0]):
                text = f"'{utt}' has {shape[0]} frames here, but {frames[utt]} in feats.scp"
                report.error(text, table.path, table.lines[utt])
    for name in ("utt2num_frames", "utt2dur"):
        if name not in tables:
            continue
        table = tables[name]
        for utt, value in table.values.items():
            number = _number(value)
            if number is None or not number > 0:
                report.error(f"'{utt}' has '{value}', not a number above 0", table.path, table.lines[utt])
            elif name == "utt2num_frames" and number != frames.get(utt, number):
                text = f"'{utt}' has {value} frames here, but {frames[utt]} in feats.scp"
                report.error(text, table.path, table.lines[utt])


def _check_phones(path: Path, tables: dict[str, _Table], report: Report) -> None:
    table = tables.get("utt2dur")
    known = {utt: _number(value) for utt, value in table.values.items()} if table else {}
    seconds = {utt: value for utt, value in known.items() if value is not None}
    try:
        for line, problem in phone_problems(path, seconds, tables["utt2spk"].values):
            report.error(problem, path, line)
    except DataError as error:
        report.errors.append(str(error))


def _check_trials(path: Path, tables: dict[str, _Table], report: Report) -> None:
    test = tables["utt2spk"].values.keys()
    enroll = tables[MODELS].values.keys() if MODELS in tables else test
    try:
        trials = read_trials(path)
    except DataError as error:
        report.errors += list(_bad_trials(path, enroll, test)) or [str(error)]
        return
    if not (enroll >= set(trials.enroll_ids) and test >= set(trials.test_ids)):
        report.errors += _bad_trials(path, enroll, test)
    for kind, count in (("target", trials.target.sum()), ("nontarget", (~trials.target).sum())):
        if not count:
            report.warn(f"there is no {kind} trial", path)
    if repeated := trials.count_duplicates():
        report.warn(f"{repeated} trials repeat a pair that is already in the list", path)


def _bad_trials(path: Path, enroll: Collection[str], test: Collection[str]) -> Iterator[str]:
    """Problems line by line; an unknown id is told where it comes first."""
    told: set[str] = set()
    for number, line in enumerate(split_lines(read_bytes(path)), start=1):
        layout = None
        if not (problem := line_problem(line)):
            tokens = line.split()
            layout = layout_of(tokens)
            problem = None if layout else f"{NO_LAYOUT}: '{line.decode()}'"
        if problem:
            yield str(DataError(problem, path, number))
        if layout:
            for what, column, known in (("enrolment", layout.enroll, enroll), ("test", layout.test, test)):
                name = tokens[column].decode()
                if name not in known and f"{what} {name}" not in told:
                    told.add(f"{what} {name}")
                    yield str(DataError(f"{what} id '{name}' is not in the data directory", path, number))
