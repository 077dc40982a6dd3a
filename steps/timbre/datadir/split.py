"""Equal parts of a data directory, for jobs that run apart."""

from dataclasses import replace
from pathlib import Path

from timbre.datadir.contents import Contents
from timbre.datadir.datadir import invert
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_folder


def split(contents: Contents, num_parts: int, *, per_utt: bool = False) -> list[Contents]:
    """NUM_PARTS parts in C order, without trial lists.

    Args:
        contents: the whole
        num_parts: how many
        per_utt: cut anywhere, into parts that differ by one utterance at most; otherwise no speaker is cut apart

    Raises:
        DataError: fewer utterances (speakers) than parts
    """
    spk2utt = invert(contents.utt2spk)
    groups = [[utt] for utt in sorted(contents.utt2spk)] if per_utt else list(spk2utt.values())
    if not 1 <= num_parts <= len(groups):
        what = "utterances" if per_utt else "speakers"
        raise DataError(f"cannot split {len(groups)} {what} into {num_parts} parts")
    whole = replace(contents, trials={})
    return [whole.select({utt for group in part for utt in group}) for part in _balance(groups, num_parts)]


def write_split(parts: list[Contents], target: Path) -> None:
    """Writes TARGET/1, TARGET/2, ...; TARGET appears when all of them are there."""
    with atomic_folder(target, "split", sign="1/utt2spk") as temporary:
        for number, part in enumerate(parts, start=1):
            part.write(temporary / str(number))


def _balance(groups: list[list[str]], num_parts: int) -> list[list[list[str]]]:
    """Contiguous runs of GROUPS, none empty, cut where the utterances before come closest to their share."""
    total = sum(map(len, groups))
    parts, start, before = [], 0, 0
    for part in range(1, num_parts + 1):
        last = len(groups) - (num_parts - part)  # leaves a group for each part to come
        end, before = start + 1, before + len(groups[start])
        while end < last and (part == num_parts or before + len(groups[end]) / 2 <= total * part / num_parts):
            before += len(groups[end])
            end += 1
        parts.append(groups[start:end])
        start = end
    return parts
