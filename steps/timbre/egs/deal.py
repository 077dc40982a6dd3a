"""Sharing things out: sets of one size, in none of which an owner comes twice. Used by batch_plan.py.

An owner is an utterance in a group of its speaker, or a speaker in a batch.
"""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer]
Int64s = npt.NDArray[np.int64]


def most_sets(counts: Ints, segments: Ints, num_segments: int, size: int) -> Int64s:
    """(num_segments,) how many sets of SIZE the owners of each segment can fill, none of them twice in a set.

    So many sets n, exactly, as sum(min(count, n)) >= size * n allows: dealt out one owner after the other, items of an
    owner fall into different sets.

    Args:
        counts: (O,) items of each owner
        segments: (O,) which owners make sets with each other
        num_segments: segments are 0 .. num_segments - 1
        size: items of a set
    """
    low = np.zeros(num_segments, np.int64)
    high = np.bincount(segments, counts, num_segments).astype(np.int64) // size
    while (low < high).any():
        middle = (low + high + 1) // 2
        usable = np.bincount(segments, np.minimum(counts, middle[segments]), num_segments)
        fits = usable >= size * middle
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    return low


def choose_evenly(sizes: Ints, wanted: Ints, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """(sum(sizes),) a mask over segments of SIZES, end to end: of each WANTED (at most its size), spread evenly.

    Every item of a segment is as likely as any other to be chosen.
    """
    offset = rng.integers(0, np.maximum(sizes, 1))
    size, want, first = (np.repeat(values, sizes) for values in (sizes, wanted, offset))
    reached = places(sizes) * want + first
    chosen: npt.NDArray[np.bool_] = (reached + want) // size > reached // size
    return chosen


def places(sizes: Ints) -> Int64s:
    """(sum(sizes),) the place, from 0, of each item in its segment."""
    ends = np.cumsum(sizes, dtype=np.int64)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)


def deal(owners: Ints, num_sets: int, size: int, rng: np.random.Generator) -> Int64s:
    """Items at random in sets of different owners.

    Args:
        owners: (I,) owner of each item; they must do for so many sets, as most_sets says
        num_sets: how many sets; the items over are left out, any of them as likely
        size: items of a set
        rng: decides

    Returns:
        (num_sets, size) indices of items
    """
    rank = rng.permutation(int(owners.max()) + 1)[owners]
    items = np.argsort(rank, kind="stable")
    counts = np.bincount(rank)
    capped = np.minimum(counts, num_sets)
    items = items[choose_evenly(counts, capped, rng)]
    items = items[choose_evenly(np.array([len(items)]), np.array([num_sets * size]), rng)]
    rows = items.reshape(size, num_sets)
    sets = np.empty((num_sets, size), np.int64)
    sets[rng.permutation(num_sets), 0] = rows[0]
    # A row is the items of many owners and goes into the sets in random order, so that owners meet others each time.
    # Only the owner at the end of a row can be in the next one, too: there it gets sets that it is not in yet.
    for number in range(1, size):
        row, last = rows[number], owners[rows[number - 1, -1]]
        order = rng.permutation(num_sets)
        again = int((owners[row] == last).sum())
        if again:
            taken = owners[sets[order, number - 1]] == last
            free, rest = order[~taken][:again], np.concatenate((order[~taken][again:], order[taken]))
            order = np.concatenate((free, rng.permutation(rest)))
        sets[order, number] = row
    return rng.permuted(sets, axis=1)
