# cython: language_level=3
"""Kernel: a small write without giving up the GIL.

Python's own gives it up at each call, and then a busy thread keeps it for 5 ms: a cell that computes in the background
makes every SET wait so long. A write of a few KiB into the page cache takes a microsecond or two.
"""

from __future__ import annotations

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if cython.compiled:
    from cython.cimports.cpython.exc import PyErr_CheckSignals, PyErr_SetFromErrno
    from cython.cimports.libc.errno import EINTR, errno
    from cython.cimports.posix.unistd import write
else:
    import os

COMPILED = cython.compiled


def write_small(fd: cython.int, data: bytearray) -> cython.Py_ssize_t:
    """`os.write`, but no other thread runs meanwhile; for regular files that nobody is syncing."""
    if not cython.compiled:
        return os.write(fd, data)
    p: cython.p_char = data
    size: cython.Py_ssize_t = len(data)
    taken: cython.Py_ssize_t
    while True:
        taken = write(fd, p, size)
        if taken >= 0:
            return taken
        if errno == EINTR:
            PyErr_CheckSignals()
        else:
            PyErr_SetFromErrno(OSError)
