"""Pairs of utterances that are no trial lists: lists without labels, and the CSV files of corpora of pairs.

A data directory may have `pairs`, "enroll test" a line, to be scored where nothing is known of the answers;
`pair_rows.csv`, the rows of a list that is to be answered, which decision/submission.py fills in; and `pairs.csv`,
labelled pairs to train on. Written by corpus fronts, read by the scoring steps and by training.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from timbre.datadir.pairs import Pairing
from timbre.datadir.tables import BLANKS, read_bytes, split_lines
from timbre.datadir.trial_arrays import is_list
from timbre.datadir.trials import Trials, read_trials
from timbre.utils.errors import DataError


def read_pairs(path: Path) -> Trials:
    """What is to be scored: a trial list, or one without labels, whose `target` is False throughout and says nothing.

    Raises:
        DataError: as `read_trials`; in a list whose first line has two fields, the first line that has not
    """
    with path.open("rb") if path.is_file() else io.BytesIO() as file:
        first = file.readline(1 << 16)
    if is_list(path) or len(first.split()) != 2:
        return read_trials(path)
    enroll, test = [], []
    for number, line in enumerate(split_lines(read_bytes(path)), start=1):
        try:
            one, other = line.decode().strip(BLANKS).split()
        except UnicodeDecodeError:
            raise DataError("not UTF-8", path, number) from None
        except ValueError:
            raise DataError("two fields are wanted, as in the first line", path, number) from None
        enroll.append(one)
        test.append(other)
    return Trials.of(enroll, test, np.zeros(len(enroll), bool))


def draw_pairs(utt2spk: dict[str, str], number: int | None, seed: int) -> Trials:
    """NUMBER pairs in random order, exactly half of one speaker; no utterance with itself, no two of them twice.

    Args:
        utt2spk: utterance -> speaker
        number: even; None: about as many as utterances, or as there can be
        seed: of the draws

    Raises:
        DataError: it is odd or not above 0; there are not so many; there is no pair of one speaker, or of two
    """
    if number is not None and (number < 2 or number % 2):
        raise DataError(f"{number} pairs: the number must be even and above 0, half of one speaker and half of two")
    half = number // 2 if number is not None else max(1, len(utt2spk) // 2)
    pairing = Pairing(utt2spk)
    drawn = pairing.sample(1, half, seed)
    others = int((~drawn.target).sum())
    if not others:
        raise DataError("no pair of two speakers: there is one speaker")
    if others < drawn.target.sum():
        drawn = pairing.sample(1, others, seed)
    if number is not None and len(drawn) < number:
        raise DataError(f"{number} balanced pairs are wanted, and there are {len(drawn)}")
    order = np.random.default_rng(seed).permutation(len(drawn))
    return Trials(drawn.enroll_ids, drawn.test_ids, drawn.enroll[order], drawn.test[order], drawn.target[order])


def csv_bytes(header: Sequence[str], rows: Iterator[Sequence[object]]) -> bytes:
    """A CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def read_columns(path: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """COLUMNS of the CSV file PATH, by name; as long as each other.

    Raises:
        DataError: cannot be read, not UTF-8, a column is not in its header, or the first row with too few fields
    """
    try:
        rows = csv.reader(io.StringIO(read_bytes(path).decode("utf-8-sig"), newline=""), strict=True)
        header = next(rows, [])
        if lacking := [name for name in columns if name not in header]:
            raise DataError(f"no column {' nor '.join(lacking)} in its header", path, 1)
        places = [header.index(name) for name in columns]
        found: list[list[str]] = [[] for _ in columns]
        for row in rows:
            if len(row) != len(header):
                raise DataError(f"{len(header)} fields are wanted, not {len(row)}", path, rows.line_num)
            for place, values in zip(places, found, strict=True):
                values.append(row[place])
    except UnicodeDecodeError:
        raise DataError("not UTF-8", path) from None
    except csv.Error as error:
        raise DataError(f"not fields with commas between: {error}", path, rows.line_num) from None
    return dict(zip(columns, found, strict=True))


def read_training_pairs(path: Path) -> npt.NDArray[np.str_]:
    """(N, 2) ids of the utterances of the pairs that `pairs.csv` has; whose they are tells the label.

    Raises:
        DataError: as `read_columns`; there is none; an utterance is paired with itself
    """
    columns = read_columns(path, ("left_utt", "right_utt"))
    pairs = np.array([columns["left_utt"], columns["right_utt"]]).T
    if not len(pairs):
        raise DataError("no pairs in it", path)
    alone = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    if len(alone):
        raise DataError(f"utterance {pairs[alone[0], 0]} is paired with itself", path, int(alone[0]) + 2)
    return pairs
