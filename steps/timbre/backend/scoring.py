"""Scoring as matrix algebra: every back-end's score is a product of two vectors plus a term of each side.

backends.py makes the vectors and terms of cosine and PLDA; here they are multiplied, in blocks, on several threads.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from timbre.backend.vectors import Floats, Ints, Vectors
from timbre.runtime.factors import Factors, Integers

BLOCK = 1 << 23  # listed trials whose scores are held at a time
_CHUNK = 1 << 16  # listed trials a job
_GATHER = 256  # listed trials whose vectors are gathered at a time: half a megabyte at dim 256, within a core's cache
_BLOCK = 1 << 22  # scores in a block of the full matrix: 16 MB
_STRIPE = 1 << 25  # scores of the full matrix held at a time: 128 MB; a job makes a quarter of them


def score_pairs(factors: Factors, enroll: Integers, test: Integers, nj: int = 1) -> Floats:
    """Scores (N,) of the pairs (ENROLL[i], TEST[i]), on at most NJ threads."""
    return np.concatenate([np.empty(0), *score_blocks(factors, enroll, test, nj)])


def score_blocks(
    factors: Factors, enroll: Integers, test: Integers, nj: int = 1, start: int = 0, size: int = BLOCK
) -> Iterator[Floats]:
    """Scores of the pairs (ENROLL[i], TEST[i]) from START on, SIZE at a time, on at most NJ threads.

    The pairs of a block are taken by enrolment row, which makes its vector stay in the cache. A score follows from the
    two vectors alone, to the last bit: not from the other pairs, their order, SIZE or NJ.
    """
    biased = bool(factors.left_bias.any() or factors.right_bias.any())
    for begin in range(start, len(enroll), size):
        yield _score_block(factors, enroll[begin : begin + size], test[begin : begin + size], nj, biased)


def _score_block(factors: Factors, enroll: Integers, test: Integers, nj: int, biased: bool) -> Floats:
    scores = np.empty(len(enroll))
    bits = len(enroll).bit_length()
    keys = None if (enroll[1:] >= enroll[:-1]).all() else _row_keys(enroll, bits)

    def multiply(begin: int) -> None:
        part: slice | Integers = slice(begin, begin + _CHUNK)
        if keys is None:
            rows = enroll[part].astype(np.intp)
        else:
            rows = keys[part] >> bits
            part = keys[part] & ((1 << bits) - 1)
        columns = test[part].astype(np.intp)
        products = _gathered_dot(factors, rows, columns)
        scores[part] = products + (factors.terms(rows, columns) if biased else np.float32(0))  # a zero has no sign

    _on_threads(multiply, range(0, len(enroll), _CHUNK), nj)
    return scores


def _row_keys(rows: Integers, bits: int) -> Ints:
    """ROWS (N,), each with its place in the lowest BITS, sorted: numpy sorts numbers faster than it finds an order."""
    keys = rows.astype(np.int64) << bits
    keys |= np.arange(len(rows))
    keys.sort()
    return keys


def matrix_blocks(factors: Factors, nj: int = 1, start: int = 0) -> Iterator[Vectors]:
    """The full matrix of scores from row START on, some rows at a time, (rows, T) float32, on at most NJ threads.

    A block is only good until the next one.
    """
    num_left, num_right = len(factors.left), len(factors.right)
    height = max(128, _STRIPE // num_right)
    step = min(height, max(64, _STRIPE // 4 // num_right))
    block = np.empty((min(height, num_left), num_right), np.float32)
    left_bias, right_bias = factors.left_bias.astype(np.float32), factors.right_bias.astype(np.float32)
    biased = left_bias.any() or right_bias.any()
    for begin in range(start, num_left, height):
        stop = min(begin + height, num_left)

        def multiply(first: int) -> None:
            rows = slice(first, min(first + step, stop))  # noqa: B023 (done with before the next round)
            scores = block[rows.start - begin : rows.stop - begin]  # noqa: B023
            np.matmul(factors.left[rows], factors.right.T, out=scores)
            if biased:
                scores += left_bias[rows, None]
                scores += right_bias[factors.group[rows]] if len(right_bias) > 1 else right_bias[0]

        _on_threads(multiply, range(begin, stop, step), nj)
        yield block[: stop - begin]


def map_products(factors: Factors, function: Callable[[slice, Vectors], None], nj: int = 1) -> None:
    """FUNCTION(rows, left[rows] @ right.T) for all rows, by blocks, on at most NJ threads; it may overwrite a block."""
    num_left, num_right = len(factors.left), len(factors.right)
    height = min(num_left, block_height(factors))
    buffers = threading.local()

    def multiply(begin: int) -> None:
        rows = slice(begin, min(begin + height, num_left))
        if not hasattr(buffers, "block"):
            buffers.block = np.empty((height, num_right), np.float32)
        block: Vectors = buffers.block[: rows.stop - rows.start]
        np.matmul(factors.left[rows], factors.right.T, out=block)
        function(rows, block)

    _on_threads(multiply, range(0, num_left, height), nj)


def block_height(factors: Factors) -> int:
    """Rows of the blocks of `map_products`, but for the last."""
    return max(64, _BLOCK // len(factors.right))


def _gathered_dot(factors: Factors, enroll: Integers, test: Integers) -> Vectors:
    products = np.empty(len(enroll), np.float32)
    left = np.empty((_GATHER, factors.left.shape[1]), np.float32)
    right = np.empty_like(left)
    for begin in range(0, len(enroll), _GATHER):
        part = slice(begin, begin + _GATHER)
        size = len(enroll[part])
        # mode clip: in the default mode numpy gathers through one more buffer
        factors.left.take(enroll[part], axis=0, out=left[:size], mode="clip")
        factors.right.take(test[part], axis=0, out=right[:size], mode="clip")
        np.vecdot(left[:size], right[:size], out=products[part])
    return products


def _on_threads(function: Callable[[int], None], jobs: Iterable[int], nj: int) -> None:
    """FUNCTION of each job on at most NJ threads, with the linear algebra underneath kept to one thread each."""
    nj = max(1, min(nj, os.cpu_count() or 1))
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(nj) as pool:
        for _ in pool.map(function, jobs):
            pass
