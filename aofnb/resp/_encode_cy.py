# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: commands and replies to bytes of RESP, in one pass into one buffer.

The same bytes as `encode_command` and `encode_reply` give, one behind the other: those are called where an argument is
no `bytes`, or a reply of a kind that few commands give.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aofnb.resp.encode import encode_command
from aofnb.resp.replies import encode_reply

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if cython.compiled:
    from cython.cimports.cpython.bytearray import PyByteArray_AS_STRING, PyByteArray_Resize
    from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
    from cython.cimports.libc.string import memcpy

COMPILED = cython.compiled

# What an argument takes besides its bytes: "$", a number, and the ends of two lines; and that for up to 999 bytes.
_MOST = 24
_FEW = 8


def append_commands(buf: bytearray, argvs: Sequence[Sequence[bytes]]) -> None:
    r"""Append each of `argvs` to `buf` as an array of bulk strings.

    >>> buf = bytearray()
    >>> append_commands(buf, [(b"GET", b"k"), [b"PING"]]); buf
    bytearray(b'*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n')
    """
    if not cython.compiled:
        for argv in argvs:
            buf += encode_command(argv)
        return
    size: cython.Py_ssize_t = len(buf)
    room: cython.Py_ssize_t = size
    few: cython.Py_ssize_t = _FEW
    most: cython.Py_ssize_t = _MOST
    length: cython.Py_ssize_t
    p: cython.p_char
    start: cython.p_char
    for argv in argvs:
        room += most
        for arg in argv:
            if type(arg) is not bytes:
                for each in argvs:
                    buf += encode_command(each)
                return
            length = PyBytes_GET_SIZE(arg)
            room += length + (few if length < 1000 else most)
    PyByteArray_Resize(buf, room)
    start = PyByteArray_AS_STRING(buf)
    p = start + size
    for argv in argvs:
        p = put_number(p, 42, len(argv))
        for arg in argv:
            length = PyBytes_GET_SIZE(arg)
            p = put_number(p, 36, length)
            memcpy(p, PyBytes_AS_STRING(arg), length)
            p[length] = 13
            p[length + 1] = 10
            p += length + 2
    PyByteArray_Resize(buf, p - start)


def encode_replies(replies: list[Any], resp: int) -> bytes:
    r"""All of `replies`, one behind the other, in version `resp` of the protocol.

    >>> encode_replies([b"v", 7, "OK", None, [1]], 2)
    b'$1\r\nv\r\n:7\r\n+OK\r\n$-1\r\n*1\r\n:1\r\n'
    """
    if not cython.compiled:
        return b"".join([encode_reply(reply, resp) for reply in replies])
    room: cython.Py_ssize_t = 0
    few: cython.Py_ssize_t = _FEW
    most: cython.Py_ssize_t = _MOST
    length: cython.Py_ssize_t
    number: cython.longlong
    p: cython.p_char
    start: cython.p_char
    made: bytes
    for reply in replies:
        if type(reply) is bytes:
            length = PyBytes_GET_SIZE(reply)
            room += length + (few if length < 1000 else most)
        elif reply is None or reply is _OK or (type(reply) is int and -_FAR < reply < _FAR):
            room += most
        else:
            return b"".join([encode_reply(each, resp) for each in replies])
    made = PyBytes_FromStringAndSize(cython.NULL, room)
    start = p = PyBytes_AS_STRING(made)
    for reply in replies:
        if type(reply) is bytes:
            length = PyBytes_GET_SIZE(reply)
            p = put_number(p, 36, length)
            memcpy(p, PyBytes_AS_STRING(reply), length)
            p[length] = 13
            p[length + 1] = 10
            p += length + 2
        elif reply is None:
            length = 5 if resp < 3 else 3
            memcpy(p, b"$-1\r\n" if resp < 3 else b"_\r\n", length)
            p += length
        elif reply is _OK:
            memcpy(p, b"+OK\r\n", 5)
            p += 5
        else:
            number = reply
            p = put_number(p, 58, number)
    return made[: p - start]


# The object that handlers return: of a constant that looks like a name there is one only.
_OK = "OK"
_FAR = 10**18


@cython.cfunc
@cython.exceptval(check=False)
def put_number(p: cython.p_char, kind: cython.char, number: cython.longlong) -> cython.p_char:
    """A line of `kind` and a number at p; where it ends."""
    tens: cython.longlong = 10
    digits: cython.Py_ssize_t = 1
    i: cython.Py_ssize_t
    p[0] = kind
    p += 1
    if number < 0:
        p[0] = 45
        p += 1
        number = -number
    while number >= tens:
        tens *= 10
        digits += 1
    for i in range(digits - 1, -1, -1):
        p[i] = 48 + number % 10
        number //= 10
    p[digits] = 13
    p[digits + 1] = 10
    return p + digits + 2
