"""Sorting only the beginning of a list, with the server's own order among equals.

Where a search takes the first few of many results, which of several equally distant members come in depends on
the sorting algorithm, and with STORE even the data do. So this is the quicksort of Bentley and McIlroy
("Engineering a sort function", 1993) with the parts left out that the beginning does not need.

Redis: pqsort.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["first_sorted"]

T = TypeVar("T")


def first_sorted(items: Sequence[T], keys: Sequence[float], wanted: int) -> list[T]:
    """The first `wanted` of `items` in ascending order of `keys`; `wanted` is less than there are.

    >>> first_sorted("abcd", [3.0, 1.0, 1.0, 2.0], 3)
    ['b', 'c', 'd']
    """
    rows = list(zip(keys, items, strict=True))
    pending = [(0, len(rows))]
    while pending:
        low, size = pending.pop()
        if low >= wanted:
            continue
        if size < 7:
            # Few enough: a stable insertion sort, which Python's sort gives as well.
            rows[low : low + size] = sorted(rows[low : low + size], key=_key)
            continue
        less, more = _partition(rows, low, size)
        pending += [(low + size - more, more), (low, less)]
    return [item for _key_, item in rows[:wanted]]


def _key(row: tuple[float, object]) -> float:
    return row[0]


def _partition(rows: list[tuple[float, T]], low: int, size: int) -> tuple[int, int]:
    """Move what is less than a pivot to the left and what is more to the right; how many there are of each."""
    _swap(rows, low, _pivot(rows, low, size))
    pivot = rows[low][0]
    # From the left: equal, less, unknown, more, equal; the equal ones go to the middle at the end.
    equal_left = i = low + 1
    equal_right = j = low + size - 1
    while True:
        while i <= j and rows[i][0] <= pivot:
            if rows[i][0] == pivot:
                _swap(rows, equal_left, i)
                equal_left += 1
            i += 1
        while i <= j and rows[j][0] >= pivot:
            if rows[j][0] == pivot:
                _swap(rows, j, equal_right)
                equal_right -= 1
            j -= 1
        if i > j:
            break
        _swap(rows, i, j)
        i, j = i + 1, j - 1
    end = low + size
    _swap_runs(rows, low, i, min(equal_left - low, i - equal_left))
    _swap_runs(rows, i, end, min(equal_right - j, end - equal_right - 1))
    return i - equal_left, equal_right - j


def _pivot(rows: list[tuple[float, T]], low: int, size: int) -> int:
    """Where the median of three is, or of nine in a long part."""
    left, middle, right = low, low + size // 2, low + size - 1
    if size == 7:
        return middle
    if size > 40:
        step = size // 8
        left = _median(rows, left, left + step, left + 2 * step)
        middle = _median(rows, middle - step, middle, middle + step)
        right = _median(rows, right - 2 * step, right - step, right)
    return _median(rows, left, middle, right)


def _median(rows: list[tuple[float, T]], a: int, b: int, c: int) -> int:
    if rows[a][0] < rows[b][0]:
        return b if rows[b][0] < rows[c][0] else c if rows[a][0] < rows[c][0] else a
    return b if rows[b][0] > rows[c][0] else a if rows[a][0] < rows[c][0] else c


def _swap(rows: list[tuple[float, T]], a: int, b: int) -> None:
    rows[a], rows[b] = rows[b], rows[a]


def _swap_runs(rows: list[tuple[float, T]], start: int, end: int, size: int) -> None:
    """Exchange the `size` rows from `start` with those before `end`."""
    for k in range(size):
        _swap(rows, start + k, end - size + k)
