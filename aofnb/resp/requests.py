r"""What a client sends to argument vectors, as it arrives: RESP arrays of bulk strings, and inline commands.

Two paths. Almost all requests are whole and plain (headers as any client writes them): the kernel `_plain_cy` takes
them; where it is not compiled they are split at CRLF, and taken once every length header agrees with the piece behind.
Whatever is not (a request that is still on its way, a long value, an inline command) goes byte by byte. Nothing is
allocated because a header asks for it: only what has arrived is held, and nothing is scanned twice.

Redis: networking.c processMultibulkBuffer, processInlineBuffer; sds.c sdssplitargs (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable

from aofnb.resp import _plain_cy

__all__ = ["INLINE_MAX", "ProtocolError", "RequestReader", "split_inline"]

# PROTO_INLINE_MAX_SIZE: the longest line, be it a header or an inline command.
INLINE_MAX = 64 << 10
_INT_MAX = (1 << 31) - 1
# What one who has not proved who he is may send (server.c authRequired).
_STRANGER_ARGC = 10
_STRANGER_BULK = 16384
# What an argument costs besides its bytes: a request of a million empty ones is not small.
_ARGUMENT_BYTES = 40
# More requests than there can be.
_ALL = 1 << 62

_CRLF = b"\r\n"
_STAR, _DOLLAR = b"*$"
_LENGTHS = [b"$%d" % length for length in range(4096)]
_PIECES = {b"*%d" % argc: 2 * argc + 1 for argc in range(1, 1025)}

Argv = list[bytes]


class ProtocolError(Exception):
    """What a client sent cannot be a request; ``str()`` is what the server says behind ``Protocol error:``."""


class RequestReader:
    """Takes bytes as they arrive and gives the requests that are whole.

    Attributes
    ----------
    max_bulk
        The longest argument (``proto-max-bulk-len``).
    stranger
        Whether the client has still to prove who he is: then only small requests are read, and one at a time, since it
        may be the one that proves it. `feed` with nothing goes on behind it.
    error
        Why reading stopped, or None. What comes behind is not read.
    held
        Bytes that arrived and are part of no whole request yet.
    under_way
        Whether what comes next is read in the light of what came before; else it begins a request.
    """

    __slots__ = (
        "_argv",
        "_argv_bytes",
        "_chunks",
        "_left",
        "_need",
        "_waiting",
        "error",
        "held",
        "max_bulk",
        "stranger",
        "under_way",
    )

    def __init__(self, max_bulk: int = 512 << 20, *, stranger: bool = False) -> None:
        self.max_bulk = max_bulk
        self.stranger = stranger
        self.error: ProtocolError | None = None
        self.held = 0
        self.under_way = False
        # Arguments of the request under way, how many are still to come, and the bytes behind them: together
        # `_waiting` of them, of which nothing can be made before there are `_need`.
        self._argv: Argv = []
        self._argv_bytes = 0
        self._left = 0
        self._chunks: list[bytes] = []
        self._waiting = 0
        self._need = 0

    def feed(self, data: bytes) -> list[Argv]:
        """The requests that `data` completes, in order; `error` is set if it cannot be understood to its end."""
        if self.error is not None:
            return []
        requests: list[Argv] = []
        if self._waiting or self._left or self.stranger:
            # First the one that is under way; the plain ones behind it have a faster way.
            self._read_on(data, requests, 1)
            if not requests or self.stranger or self.error is not None:
                return requests
            data, self._chunks, self._waiting, self.held = b"".join(self._chunks), [], 0, 0
            self.under_way = False
        if _plain_cy.COMPILED:
            data = data[_plain_cy.plain(data, 0, requests) :]
        else:
            data = _plain(data, requests.append)
        if data:
            self._read_on(data, requests, _ALL)
        return requests

    def _read_on(self, data: bytes, requests: list[Argv], most: int) -> None:
        """Append up to `most` whole requests of what is held and `data`; the rest is held."""
        self._chunks.append(data)
        self._waiting += len(data)
        self.held += len(data)
        self.under_way = True
        if self._waiting < self._need:
            return
        # Of two chunks or more the last completes what the others wait for: so every byte is joined once.
        rest = b"".join(self._chunks) if len(self._chunks) > 1 else data
        try:
            taken = self._parse(rest, requests, most)
        except ProtocolError as problem:
            self.error = problem
            taken = len(rest)
        self._chunks = [rest[taken:]] if taken < len(rest) else []
        self._waiting = len(rest) - taken
        self.held = self._waiting + self._argv_bytes
        self.under_way = bool(self._waiting or self._left) or self.error is not None

    def _parse(self, data: bytes, requests: list[Argv], most: int) -> int:
        """Append up to `most` of the whole requests of `data`; returns how much of it is done with."""
        enough = len(requests) + most
        pos, size = 0, len(data)
        self._need = 0
        while pos < size:
            if not self._left:
                if data[pos] != _STAR:
                    end = _inline_end(data, pos)
                    if end < 0:
                        self._need = size - pos + 1
                        return pos
                    argv = split_inline(data[pos:end])
                    pos = end + 1
                    if argv:
                        requests.append(argv)
                        if len(requests) == enough:
                            return pos
                    continue
                end = _header_end(data, pos, "too big mbulk count string")
                if end < 0:
                    self._need = size - pos + 1
                    return pos
                count = _integer(data[pos + 1 : end])
                if count is None or count > _INT_MAX:
                    raise ProtocolError("invalid multibulk length")
                if count > _STRANGER_ARGC and self.stranger:
                    raise ProtocolError("unauthenticated multibulk length")
                pos = end + 2
                self._left = max(0, count)
                continue
            end = _header_end(data, pos, "too big bulk count string")
            if end < 0:
                self._need = size - pos + 1
                return pos
            if data[pos] != _DOLLAR:
                got = data[pos : pos + 1].decode("utf-8", "surrogateescape")
                raise ProtocolError(f"expected '$', got '{got}'")
            length = _integer(data[pos + 1 : end])
            if length is None or not 0 <= length <= self.max_bulk:
                raise ProtocolError("invalid bulk length")
            if length > _STRANGER_BULK and self.stranger:
                raise ProtocolError("unauthenticated bulk length")
            start = end + 2
            # The two bytes behind an argument are not looked at, as in Redis.
            if start + length + 2 > size:
                self._need = start + length + 2 - pos
                return pos
            self._argv.append(data[start : start + length])
            self._argv_bytes += length + _ARGUMENT_BYTES
            pos = start + length + 2
            self._left -= 1
            if not self._left:
                requests.append(self._argv)
                self._argv = []
                self._argv_bytes = 0
                if len(requests) == enough:
                    return pos
        return pos


def _plain(data: bytes, append: Callable[[Argv], None]) -> bytes:
    """Append the plain requests that `data` begins with; returns what is behind them."""
    parts = data.split(_CRLF)
    last = len(parts) - 1
    lengths, pieces = _LENGTHS, _PIECES
    i = 0
    try:
        while i < last:
            j = i + pieces.get(parts[i], last + 1)
            if j > last:
                break
            argv = parts[i + 2 : j : 2]
            if parts[i + 1 : j : 2] != [lengths[len(arg)] for arg in argv]:
                break
            append(argv)
            i = j
    except IndexError:
        # A long argument.
        pass
    if i == last:
        return parts[last]
    return data if i == 0 else _CRLF.join(parts[i:])


def _header_end(data: bytes, pos: int, too_big: str) -> int:
    """Where the CR of the header line at data[pos] is, or -1 if the line is not whole yet."""
    end = _before_nul(data, pos, data.find(b"\r", pos))
    if end < 0:
        if len(data) - pos > INLINE_MAX:
            raise ProtocolError(too_big)
        return -1
    return end if end + 1 < len(data) else -1


def _inline_end(data: bytes, pos: int) -> int:
    end = _before_nul(data, pos, data.find(b"\n", pos))
    if end < 0 and len(data) - pos > INLINE_MAX:
        raise ProtocolError("too big inline request")
    return end


def _before_nul(data: bytes, pos: int, end: int) -> int:
    """`end`, or -1 if a NUL stands before it: to the server a line is a string of C, and this one never ends."""
    return -1 if end >= 0 and data.find(b"\0", pos, end) >= 0 else end


def _integer(digits: bytes) -> int | None:
    """A number as string2ll reads it: no blanks, no plus sign, no leading zeros."""
    plain = digits[1:] if digits[:1] == b"-" else digits
    if not plain.isdigit() or len(plain) > 19 or (plain[:1] == b"0" and digits != b"0"):
        return None
    return int(digits)


# What may stand in front of a word, and what ends one.
_BLANKS = b" \t\n\r\v\f"
_ENDS = b" \t\n\r\0"
_SPECIAL = (b'"', b"'", b"\v", b"\f", b"\0")
_ESCAPES = {ord("n"): b"\n", ord("r"): b"\r", ord("t"): b"\t", ord("b"): b"\b", ord("a"): b"\a"}
_HEX = b"0123456789abcdefABCDEF"


def split_inline(line: bytes) -> Argv:
    r"""The arguments of an inline command, quoted as in redis-cli.

    >>> split_inline(rb'''SET "a b\x21" 'it\'s' ''')
    [b'SET', b'a b!', b"it's"]

    Raises
    ------
    ProtocolError
        For a quote that does not end, or ends inside a word.
    """
    if not any(special in line for special in _SPECIAL):
        return line.split()
    argv: Argv = []
    i, n = 0, len(line)
    while True:
        while i < n and line[i] in _BLANKS:
            i += 1
        if i == n or line[i] == 0:
            return argv
        arg = bytearray()
        while i < n and line[i] not in _ENDS:
            quote = line[i]
            i += 1
            if quote not in b"\"'":
                arg.append(quote)
                continue
            i = _quoted(line, i, quote, arg)
            if i < n and line[i] not in _BLANKS and line[i] != 0:
                raise ProtocolError("unbalanced quotes in request")
            break
        argv.append(bytes(arg))


def _quoted(line: bytes, i: int, quote: int, arg: bytearray) -> int:
    """Append to `arg` what stands between line[i] and the closing `quote`; returns where it goes on."""
    n = len(line)
    while i < n and line[i] != quote:
        if line[i] == 0x5C and i + 1 < n:
            following = line[i + 1]
            if quote == 0x27:
                if following == quote:
                    i += 1
            elif following == 0x78 and i + 3 < n and line[i + 2] in _HEX and line[i + 3] in _HEX:
                arg.append(int(line[i + 2 : i + 4], 16))
                i += 4
                continue
            else:
                arg += _ESCAPES.get(following, bytes([following]))
                i += 2
                continue
        arg.append(line[i])
        i += 1
    if i == n:
        raise ProtocolError("unbalanced quotes in request")
    return i + 1
