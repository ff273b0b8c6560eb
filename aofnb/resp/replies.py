r"""Replies to bytes of RESP, version 2 or 3, as redis-server 7.0.15 writes them.

A reply is a Python value: bytes (bulk string), int, None (nil), str (status), list (array), dict (map), float (double),
bool, `ReplyError` (error), and the markers of this module for what Python has no type of. RESP2 has fewer kinds: there
a map is an array of keys and values in turn, a set an array, a double its text, a push an array.

Redis: networking.c addReply and its kin (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aofnb.errors import ReplyError

__all__ = [
    "NIL_ARRAY",
    "NO_REPLY",
    "Attributed",
    "BigNumber",
    "LongDouble",
    "NilArray",
    "NoReply",
    "PairsReply",
    "Push",
    "SetReply",
    "Verbatim",
    "encode_reply",
    "format_double",
]


class SetReply(list[Any]):
    """A RESP3 set, in the order the members were given."""


class PairsReply(dict[Any, Any]):
    """A RESP3 map that may name a key twice, as XREAD does if it was asked so: all `pairs` are sent."""

    def __init__(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


class Push(list[Any]):
    """A message nobody asked for: an array of RESP2, a push of RESP3."""


class Verbatim(bytes):
    """A text for people, such as that of INFO: a bulk string of RESP2, a verbatim string of RESP3."""

    # Three letters that say what it is.
    format: bytes = b"txt"


class BigNumber(bytes):
    """A number of any size, as its decimal text: a bulk string of RESP2, a big number of RESP3."""


class Attributed(bytes):
    """A bulk string with something said about it beside, which RESP2 leaves out."""

    attributes: dict[Any, Any]


class LongDouble(float):
    """A double that redis-server prints with 17 digits behind the point: coordinates."""


class NilArray:
    """Nil where an array is expected: RESP2 has a spelling of its own for it."""

    __slots__ = ()


NIL_ARRAY = NilArray()


class NoReply:
    """Nothing is answered, or whatever is was sent otherwise."""

    __slots__ = ()


NO_REPLY = NoReply()


def format_double(number: float) -> bytes:
    """A double as redis-server 7.0.15 prints it in replies (``%.17g``, ``inf``).

    >>> format_double(0.1), format_double(3.0), format_double(float("-inf"))
    (b'0.10000000000000001', b'3', b'-inf')
    """
    return b"%.17g" % number


def encode_reply(reply: Any, resp: int = 2) -> bytes:
    r"""`reply` as the bytes a server sends.

    >>> encode_reply([b"a", 1, None, "OK"])
    b'*4\r\n$1\r\na\r\n:1\r\n$-1\r\n+OK\r\n'
    >>> encode_reply({b"a": 0.5}, 3)
    b'%1\r\n$1\r\na\r\n,0.5\r\n'

    Raises
    ------
    TypeError
        For a value that no handler may return.
    """
    kind = type(reply)
    # The commonest kinds first.
    if kind is bytes:
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if reply == "OK":
        return b"+OK\r\n"
    if kind is int:
        return b":%d\r\n" % reply
    if reply is None:
        return b"$-1\r\n" if resp < 3 else b"_\r\n"
    pieces: list[bytes] = []
    _add(reply, resp, pieces.append)
    return b"".join(pieces)


def _add(reply: Any, resp: int, add: Callable[[bytes], None]) -> None:
    kind = type(reply)
    if kind is bytes:
        add(b"$%d\r\n%b\r\n" % (len(reply), reply))
    elif kind is int:
        add(b":%d\r\n" % reply)
    elif kind is list or kind is tuple:
        add(b"*%d\r\n" % len(reply))
        for item in reply:
            _add(item, resp, add)
    else:
        encoder = _ENCODERS.get(kind)
        if encoder is None:
            encoder = _inherited(reply)
        encoder(reply, resp, add)


def _inherited(reply: Any) -> Callable[[Any, int, Callable[[bytes], None]], None]:
    """The encoder for a subclass of a known type."""
    for kind, encoder in _ENCODERS.items():
        if isinstance(reply, kind):
            return encoder
    raise TypeError(f"{type(reply).__name__} is no reply")


def _nil(_reply: None, resp: int, add: Callable[[bytes], None]) -> None:
    add(b"$-1\r\n" if resp < 3 else b"_\r\n")


def _nil_array(_reply: NilArray, resp: int, add: Callable[[bytes], None]) -> None:
    add(b"*-1\r\n" if resp < 3 else b"_\r\n")


def _status(reply: str, _resp: int, add: Callable[[bytes], None]) -> None:
    add(b"+%b\r\n" % _line(reply))


def _error(reply: ReplyError, _resp: int, add: Callable[[bytes], None]) -> None:
    add(b"-%b\r\n" % _line(str(reply)))


def _line(text: str) -> bytes:
    # Statuses and errors are one line.
    encoded = text.encode("utf-8", "surrogateescape")
    if b"\r" in encoded or b"\n" in encoded:
        encoded = encoded.replace(b"\r", b" ").replace(b"\n", b" ")
    return encoded


def _bool(reply: bool, resp: int, add: Callable[[bytes], None]) -> None:
    if resp < 3:
        add(b":%d\r\n" % reply)
    else:
        add(b"#t\r\n" if reply else b"#f\r\n")


def _double(reply: float, resp: int, add: Callable[[bytes], None]) -> None:
    text = format_double(reply)
    add(b"$%d\r\n%b\r\n" % (len(text), text) if resp < 3 else b",%b\r\n" % text)


def _map(reply: dict[Any, Any], resp: int, add: Callable[[bytes], None]) -> None:
    pairs = reply.pairs if isinstance(reply, PairsReply) else reply.items()
    add(b"*%d\r\n" % (2 * len(pairs)) if resp < 3 else b"%%%d\r\n" % len(pairs))
    for key, value in pairs:
        _add(key, resp, add)
        _add(value, resp, add)


def _marked_list(mark: bytes) -> Callable[[list[Any], int, Callable[[bytes], None]], None]:
    def encode(reply: list[Any], resp: int, add: Callable[[bytes], None]) -> None:
        add(b"%b%d\r\n" % (b"*" if resp < 3 else mark, len(reply)))
        for item in reply:
            _add(item, resp, add)

    return encode


def _verbatim(reply: Verbatim, resp: int, add: Callable[[bytes], None]) -> None:
    add(
        b"$%d\r\n%b\r\n" % (len(reply), reply)
        if resp < 3
        else b"=%d\r\n%b:%b\r\n" % (len(reply) + 4, reply.format, reply)
    )


def _big_number(reply: BigNumber, resp: int, add: Callable[[bytes], None]) -> None:
    add(b"$%d\r\n%b\r\n" % (len(reply), reply) if resp < 3 else b"(%b\r\n" % reply)


def _attributed(reply: Attributed, resp: int, add: Callable[[bytes], None]) -> None:
    if resp >= 3:
        add(b"|%d\r\n" % len(reply.attributes))
        for key, value in reply.attributes.items():
            _add(key, resp, add)
            _add(value, resp, add)
    _bulk(reply, resp, add)


def _bulk(reply: bytes, _resp: int, add: Callable[[bytes], None]) -> None:
    add(b"$%d\r\n%b\r\n" % (len(reply), reply))


# Subclasses before their bases: for a type that is not here the first that fits is taken.
_ENCODERS: dict[type, Callable[[Any, int, Callable[[bytes], None]], None]] = {
    SetReply: _marked_list(b"~"),
    Push: _marked_list(b">"),
    Verbatim: _verbatim,
    BigNumber: _big_number,
    Attributed: _attributed,
    LongDouble: lambda reply, _resp, add: add(b",%b\r\n" % f"{reply:.17f}".rstrip("0").rstrip(".").encode()),
    NilArray: _nil_array,
    NoReply: lambda _reply, _resp, _add: None,
    type(None): _nil,
    str: _status,
    ReplyError: _error,
    bool: _bool,
    float: _double,
    dict: _map,
    bytes: _bulk,
    bytearray: _bulk,
    int: lambda reply, resp, add: add(b":%d\r\n" % reply),
    list: _marked_list(b"*"),
    tuple: _marked_list(b"*"),
}
