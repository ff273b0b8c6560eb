# cython: language_level=3, boundscheck=False, wraparound=False
"""Kernel: what every request of a client of the socket passes: its bytes come in, those of the reply go out.

Reads and writes here do not give up the GIL: a busy thread would keep it for 5 ms, and a cell that computes make every
request wait so long, twice. They take a microsecond or two, since the sockets do not block. Whatever is not as usual
is left to `Connection`.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING, Any

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if cython.compiled:
    from cython.cimports.aofnb.adapters._sockets import recv, send
    from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
    from cython.cimports.cpython.exc import PyErr_CheckSignals, PyErr_SetFromErrno
    from cython.cimports.libc.errno import EAGAIN, EINTR, errno


if TYPE_CHECKING:
    from aofnb.commands.client import Client
    from aofnb.resp.requests import RequestReader

COMPILED = cython.compiled

# What is read at a time; the rest in the next round, when others had theirs.
READ_BYTES = 64 << 10
# Replies up to here never count against an output limit (PROTO_REPLY_CHUNK_BYTES).
REPLY_BYTES = 16 << 10


class Traffic:
    """What clients sent in the running round, and how much all of them sent and were sent.

    Attributes
    ----------
    arrived : list
        Clients that wait for nothing and have nothing else to be run, and what they sent.
    input_bytes, output_bytes : int
        Since the server began.
    """

    def __init__(self) -> None:
        self.arrived: list[tuple[Any, bytes]] = []
        self.input_bytes = 0
        self.output_bytes = 0
        self.buffer = bytearray(READ_BYTES)


class Peer:
    """The part of a `Connection` that is the same for every request. Lives in the thread of the server's loop."""

    def __init__(
        self, traffic: Traffic, sock: socket.socket, client: Client, reader: RequestReader, share: int
    ) -> None:
        self.traffic = traffic
        # None once it is closed.
        self.sock: socket.socket | None = sock
        self.fd = sock.fileno()
        self.client = client
        self.reader = reader
        # Whether what comes next is read in the light of what came before: as `reader` says.
        self.under_way = False
        self.requests: list[list[bytes]] = []
        # The command that waits, and whose reply comes later: none behind it is run meanwhile.
        self.waiting_for: list[bytes] | None = None
        # Encoded, and not on its way to the socket yet. Touched with the engine's lock only.
        self.out: list[bytes] = []
        # How many requests may run in one turn.
        self.share = share
        # What `requests` came in.
        self.unread_bytes = 0
        # What the peer does not take yet, in order.
        self.unsent: deque[bytes | memoryview] = deque()
        # What it said last, and when by the server's monotonic clock.
        self.said: list[bytes] | None = None
        self.last_heard_s = 0.0
        # Whether more is read.
        self.reads = True
        # Nothing more is run; what is in `out` goes first.
        self.closing = False
        # It has said all it had to say: `closing` once that is answered.
        self.leaving = False

    def readable(self) -> None:
        """Read what there is, and have it run with the next turn."""
        self._read_in()

    def _read_in(self) -> None:
        data: bytes | None
        if self.closing or not self.reads:
            # It was told a moment before that was so.
            return
        try:
            data = self._receive()
        except OSError:
            # It was reset, or does not answer.
            self.close()
            return
        if data is None:
            return
        if not data:
            self.said_all()
            return
        self.traffic.input_bytes += len(data)
        if self.requests or self.waiting_for is not None or self.under_way:
            self.read(data)
        else:
            # Most often it is plain, and is answered as it stands.
            self.traffic.arrived.append((self, data))

    def flush(self, data: bytes) -> None:
        """Send `data`, which was taken from `out`. Without the lock."""
        self._flush(data)

    def _flush(self, data: bytes) -> None:
        if self.requests or self.closing or self.leaving or self.unsent or not self.reads or len(data) > REPLY_BYTES:
            self.flush_carefully(data)
            return
        self.unread_bytes = 0
        if data:
            sent: cython.Py_ssize_t = self._offer(data)
            if sent < len(data):
                self.hold(memoryview(data)[sent:])

    def offer(self, data: Any) -> int:
        """How much of `data`, which is bytes or a view of them, the system takes now."""
        return self._offer(data)

    def _offer(self, data: Any) -> cython.Py_ssize_t:
        if self.sock is None:
            return 0
        try:
            sent: cython.Py_ssize_t = self._send(data)
        except OSError:
            # Nobody is there any more to take it.
            self.close()
            return 0
        self.traffic.output_bytes += sent
        return sent

    def _receive(self) -> bytes | None:
        """What has come: nothing at the end, None if there is nothing yet."""
        if not cython.compiled:
            try:
                return self.sock.recv(READ_BYTES)  # type: ignore[union-attr]  # it reads, and so it is open
            except BlockingIOError:
                return None
        p: cython.p_char = self.traffic.buffer
        got: cython.Py_ssize_t
        while True:
            got = recv(self.fd, p, READ_BYTES, 0)
            if got >= 0:
                return PyBytes_FromStringAndSize(p, got)
            if errno == EAGAIN:
                return None
            if errno == EINTR:
                PyErr_CheckSignals()
            else:
                PyErr_SetFromErrno(OSError)

    def _send(self, data: Any) -> cython.Py_ssize_t:
        if not cython.compiled or type(data) is not bytes:
            try:
                return self.sock.send(data)  # type: ignore[union-attr]  # asked by `offer`
            except BlockingIOError:
                return 0
        p: cython.p_const_char = data
        size: cython.Py_ssize_t = len(data)
        taken: cython.Py_ssize_t
        while True:
            taken = send(self.fd, p, size, 0)
            if taken >= 0:
                return taken
            if errno == EAGAIN:
                return 0
            if errno == EINTR:
                PyErr_CheckSignals()
            else:
                PyErr_SetFromErrno(OSError)

    # --- what is not as usual, and `Connection` does ------------------------------------------------------

    def read(self, data: bytes) -> None:
        """Make requests of `data`, and have them run with the next turn."""
        raise NotImplementedError

    def said_all(self) -> None:
        """Nothing more will come."""
        raise NotImplementedError

    def flush_carefully(self, data: bytes) -> None:
        """Do what `flush` says, whatever there is to be heeded."""
        raise NotImplementedError

    def hold(self, data: bytes | memoryview) -> None:
        """Keep `data` until there is room for it."""
        raise NotImplementedError

    def close(self) -> None:
        """Close now: what the peer has not taken is lost to it."""
        raise NotImplementedError

    def fault(self) -> None:
        """An exception came out of it, and is being handled: log it, and give up."""
        raise NotImplementedError


@cython.locals(peer=Peer)
def read_plain(ready: list[tuple[int, int]], watchers: dict[int, Any]) -> list[tuple[int, int]]:
    """Have those peers read that have just something to read; who else is `ready`, with the events.

    Parameters
    ----------
    ready
        Descriptors and events, of which 1 says that there is something to read.
    watchers
        By descriptor, whom to tell: a `Peer`, or another.
    """
    others: list[tuple[int, int]] = []
    event: tuple
    watcher: Any
    for event in ready:
        watcher = watchers.get(event[0])
        if event[1] == 1 and isinstance(watcher, Peer):
            peer = watcher
            try:
                peer._read_in()
            except Exception:
                peer.fault()
        else:
            others.append(event)
    return others


@cython.locals(peer=Peer)
def send_all(answers: list[tuple[Any, bytes]]) -> list[Any]:
    """Have each peer send what stands beside it; those that have more to be run."""
    more: list[Any] = []
    answer: tuple
    for answer in answers:
        peer = answer[0]
        try:
            peer._flush(answer[1])
        except Exception:
            peer.fault()
        if peer.requests and peer.waiting_for is None and not peer.closing:
            # What a turn left, or what stood behind a command that waited.
            more.append(peer)
    return more
