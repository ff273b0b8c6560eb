# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: which bytes of a log die, use by use of a key, in order.

A use of a key by a command buries what was said about it before, or leaves nothing of its own behind it, or both;
which, the caller says (`forensics.waste`).
"""

from __future__ import annotations

from typing import Any

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

COMPILED = cython.compiled

# What a use does.
BURIES, LEAVES_NOTHING = 1, 2


def follow(
    data: bytes,
    offsets: cython.int[::1],
    dbs: cython.short[::1],
    groups: cython.int[::1],
    sizes: cython.longlong[::1],
    does: cython.uchar[::1],
    start: cython.Py_ssize_t,
    stop: cython.Py_ssize_t,
    by_key: cython.bint,
    live: dict[int, dict[bytes, Any]],
    dead: cython.longlong[::1],
) -> None:
    """Take the uses from `start` to before `stop`: of the key data[offsets[i]:offsets[i + 1]], with sizes[i] bytes.

    `live` has by database and key the bytes that still count, and is kept up to date: a number with `by_key`, where
    the group of a use follows from its key, else one for each group. `dead` has the others by group.
    """
    i: cython.Py_ssize_t
    db: cython.int = -1
    what: cython.int
    group: cython.int
    keys: dict[bytes, Any] = {}
    key: bytes
    held: Any
    for i in range(start, stop):
        if dbs[i] != db:
            db = dbs[i]
            keys = live.setdefault(db, {})
        what = does[i]
        group = groups[i]
        key = data[offsets[i] : offsets[i + 1]]
        held = keys.get(key)
        if what & 1 and held is not None:
            if by_key:
                dead[group] += held
            else:
                for each, size in held.items():
                    dead[each] += size
            held = None
            if what & 2:
                del keys[key]
        if what & 2:
            dead[group] += sizes[i]
        elif by_key:
            keys[key] = sizes[i] if held is None else held + sizes[i]
        elif held is None:
            keys[key] = {group: sizes[i]}
        else:
            held[group] = held.get(group, 0) + sizes[i]
