"""Stand-in for the `cython` module where Cython is not installed: what kernels look up when they run as Python.

Types are not among it: annotations are not evaluated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["ccall", "cfunc", "compiled", "exceptval", "inline", "locals", "nogil"]

T = TypeVar("T")

compiled = False


def ccall(function: T) -> T:
    """In C: a function for Python that its own module calls without Python's calling convention."""
    return function


def cfunc(function: T) -> T:
    """In C: a function without Python's calling convention."""
    return function


def inline(function: T) -> T:
    """In C: a function that is put where it is called."""
    return function


def exceptval(*_value: Any, **_check: Any) -> Callable[[T], T]:
    """In C: the returned value that tells of an exception."""
    return cfunc


def locals(**_types: Any) -> Callable[[T], T]:
    """In C: the types of local names, where an annotation would not say it."""
    return cfunc


class _NoGil:
    """In C: a function that may run, or a block that runs, without the interpreter's lock."""

    def __call__(self, function: T) -> T:
        return function

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        return None


nogil = _NoGil()
