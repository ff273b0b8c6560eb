"""One client of the socket: bytes in, requests to the engine, replies out.

Rules of this file: replies leave in the order of their requests, and only after the turn that made them is written as
the policy demands; what a client may make us hold is bounded by the settings of redis-server; a client that
breaks the protocol is told so and dropped, and none of it touches any other.

Redis: networking.c readQueryFromClient, writeToClient, checkClientOutputBufferLimits (7.0.15).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from aofnb.adapters.wire import as_sent
from aofnb.commands.blocking import MustWait
from aofnb.engine._turn_cy import QUICK, take
from aofnb.engine.core import SHORTCUT_ARGC
from aofnb.errors import AofWriteError, ReplyError, StoreClosedError
from aofnb.resp._encode_cy import encode_replies
from aofnb.resp.replies import encode_reply
from aofnb.resp.requests import RequestReader

if TYPE_CHECKING:
    from aofnb.adapters.server import Server

__all__ = ["Connection"]

Argv = list[bytes]

# Requests waiting for their turn, above which no more is read until some are done.
_ENOUGH_REQUESTS = 4096
_ENOUGH_BYTES = 4 << 20
# Requests of one client in one turn: a long pipeline does not keep others waiting for milliseconds. It begins with few,
# and gets fewer where the replies are this large.
_FIRST_SHARE = 32
_LARGEST_SHARE = 256
_LARGE_REPLIES = 256 << 10
# Replies up to here never count against an output limit (PROTO_REPLY_CHUNK_BYTES).
_REPLY_BYTES = 16 << 10
# What HTTP says and Redis does not.
_OF_BROWSERS = frozenset((b"POST", b"HOST:"))


class Connection(asyncio.Protocol):
    """A client on a socket. Lives in the server's event loop."""

    def __init__(self, server: Server) -> None:
        self.server = server
        engine = server.store.engine
        self.engine = engine
        # Not trusted: it is the default user, and must log in where that has a password.
        self.client = engine.new_client(trusted=False)
        self.client.sink = self._pushed
        self.client.end = self._end
        self.client.buffers = self._buffers
        self.reader = RequestReader(engine.config.proto_max_bulk_len)
        self.requests: list[Argv] = []
        # The command that waits, and whose reply comes later: none behind it is run meanwhile.
        self.waiting_for: Argv | None = None
        # The commands that it runs, if it is an EXEC that a pause puts off.
        self._queued: Sequence[Argv] = ()
        self._unread_bytes = 0
        # How many of them may run in one turn.
        self.share = _FIRST_SHARE
        # Encoded, and not given to the transport yet. Touched with the engine's lock only.
        self.out: list[bytes] = []
        # Nothing more is run; what is in `out` goes first.
        self.closing = False
        self.address = ""
        self.is_local = True
        # Whether the server has it in its list for the next turn.
        self.waiting_for_turn = False
        self.last_heard_s = 0.0
        self._over_soft_since_s: float | None = None
        # Long data that goes before anything in `out`, a piece whenever the peer took the last one; and what waits
        # behind it.
        self._first: deque[bytes] = deque()
        self._behind: list[bytes] = []
        self._behind_bytes = 0
        self._full = False
        self._transport: asyncio.Transport | None = None
        self._paused = False

    # --- asyncio's side ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.address = self.client.address = _address(self._transport)
        self.client.local_address = _local_address(self._transport)
        peer = self._transport.get_extra_info("peername")
        self.is_local = not isinstance(peer, tuple) or ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback
        refusal = self.server.admit(self)
        if refusal is not None:
            self._transport.write(b"-" + refusal + b"\r\n")
            self._transport.close()
            return
        self.last_heard_s = self.server.now_s()
        keepalive_s = self.engine.config.tcp_keepalive
        sock = self._transport.get_extra_info("socket")
        if keepalive_s and sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
            _keep_alive(sock, keepalive_s)

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        self.last_heard_s = self.server.now_s()
        self.server.input_bytes += len(data)
        reader = self.reader
        reader.stranger = self._is_stranger()
        self.requests += reader.feed(data)
        if self.requests or reader.error is not None:
            if self.waiting_for is None:
                self.server.ready(self)
            self._unread_bytes += len(data)
            enough = len(self.requests) > _ENOUGH_REQUESTS or self._unread_bytes > _ENOUGH_BYTES
            if enough and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
        elif reader.held > self.engine.config.client_query_buffer_limit:
            self.server.log.warning(
                "Closing client that reached max query buffer length: %s, %d bytes held", self.address, reader.held
            )
            self.abort()

    def _is_stranger(self) -> bool:
        return not self.client.authenticated and self.engine.users.password_needed

    def eof_received(self) -> bool:
        # What came before is run, and its replies are sent to whoever may still read them.
        if not self.requests or self.waiting_for is not None:
            return False
        self.server.leave_after_turn(self)
        return True

    def connection_lost(self, _problem: Exception | None) -> None:
        self.closing = True
        self._transport = None
        self.requests.clear()
        self.server.lost(self)

    # --- a turn ------------------------------------------------------------------------------------------

    def run(self, limit: int) -> int:
        """Run up to `limit` of the requests that wait; how many were run. With the engine's lock, inside a turn."""
        requests = self.requests
        if len(requests) > limit:
            requests, self.requests = requests[:limit], requests[limit:]
        else:
            self.requests = []
        engine, client, out = self.engine, self.client, self.out
        shortcuts = engine.shortcuts
        # Where messages wait for the end of the turn, replies queue up behind them.
        outbox = engine.outbox.items
        done = 0
        if requests:
            client.heard = (requests[-1], engine.clock.monotonic())
        count = len(requests)
        while done < count:
            if requests[done][0] in QUICK and not outbox:
                replies: list[Any] = []
                done = take(engine, client, requests, done, replies)
                if replies:
                    out.append(encode_replies(replies, client.resp))
                if done == count:
                    break
            argv = requests[done]
            done += 1
            # The way of plain data commands, as a session has it: nothing but the handler is needed.
            argc = len(argv)
            command = shortcuts[argc].get(argv[0]) if argc < SHORTCUT_ARGC else None
            if (
                command is None
                or client.multi is not None
                or engine.long_way
                or engine.refusal is not None
                or "blocking" in command.flags
                or outbox
            ):
                self._run_one(argv)
                if self.closing:
                    break
                if self.waiting_for is not None:
                    self.requests = requests[done:] + self.requests
                    return done
                continue
            engine.total_commands += 1
            try:
                reply = command.handler(client, *argv[1:])
            except ReplyError as problem:
                reply = problem
            if client.dirty or engine.effects or client.rewritten_args:
                engine.finish_unit(client, command, argv)
            kind = type(reply)
            if kind is bytes:
                out.append(b"$%d\r\n%b\r\n" % (len(reply), reply))
            elif kind is int:
                out.append(b":%d\r\n" % reply)
            elif reply == "OK":
                out.append(b"+OK\r\n")
            else:
                out.append(encode_reply(as_sent(argv, reply), client.resp))
        if self.reader.stranger and not self.requests and not self.closing:
            # It may have told who it is: what stands behind is read with that in mind.
            self.reader.stranger = self._is_stranger()
            self.requests = self.reader.feed(b"")
        if self.closing:
            self.requests = []
        elif not self.requests and self.reader.error is not None:
            if client.reply_mode == "on":
                self._answer(ReplyError(f"ERR Protocol error: {self.reader.error}"))
            self.server.log.info("Protocol error (%s) from client %s", self.reader.error, self.address)
            self.closing = True
        return done

    def _run_one(self, argv: Argv) -> None:
        """Run one request of any kind."""
        client = self.client
        name = argv[0].upper()
        queued: Sequence[Argv] = ()
        if name in _OF_BROWSERS:
            self._turn_away_browser()
            return
        if name == b"EXEC" and client.multi is not None:
            queued = [cast(Argv, inner) for _, inner in client.multi]
        try:
            if name == b"DEBUG":
                self._check_debug()
            reply = as_sent(argv, self.engine.process(client, argv), queued)
        except MustWait as must:
            self.waiting_for, self._queued = argv, queued
            self.engine.waiting.begin(client, must.wait, self._reply_later)
            if must.wait.timeout_ms:
                self.engine.on_wait()
            return
        except ReplyError as problem:
            reply = problem
        if name == b"SHUTDOWN" and reply == "OK":
            # To whoever asked for it the end of the connection says that it was done.
            self.closing = True
            return
        self._answer(reply)
        if name == b"QUIT":
            self.closing = True

    def _turn_away_browser(self) -> None:
        """Close without a word, as redis-server: a page in a browser may have been made to send commands to us."""
        self.server.warn_of_browser(self.address)
        self.out.clear()
        self.closing = True

    def _answer(self, reply: Any) -> None:
        """Give `reply` behind the messages that wait for the end of the turn, if there are any."""
        data = encode_reply(reply, self.client.resp)
        if self.engine.outbox.items:
            self.engine.outbox.reply(self._in_order, data)
        else:
            self.out.append(data)

    def _in_order(self, data: Any) -> None:
        """A reply that stood behind a message; a problem instead of it means that the turn failed."""
        if isinstance(data, bytes):
            self.add(data)

    def _reply_later(self, reply: Any) -> None:
        """The reply of the command that waited. With the engine's lock, in any thread."""
        argv, self.waiting_for = self.waiting_for, None
        if argv is None:
            return
        if isinstance(reply, StoreClosedError | AofWriteError):
            self.closing = True
            self.server.has_output(self)
            return
        self.add(encode_reply(as_sent(argv, reply, self._queued), self.client.resp))

    def _end(self) -> None:
        """CLIENT KILL: what was answered is sent, nothing more is run. With the engine's lock, in any thread."""
        self.closing = True
        self.server.has_output(self)

    def _pushed(self, message: Any) -> None:
        """A message that answers nothing. With the engine's lock, in any thread."""
        self.add(encode_reply(message, self.client.resp))

    def _check_debug(self) -> None:
        allowed = self.server.debug_commands
        if allowed != "yes" and not (allowed == "local" and self.is_local):
            raise ReplyError(
                'ERR DEBUG command not allowed. If the enable-debug-command option is set to "local", you can run it '
                "from a local connection, otherwise you need to set this option in the configuration file, and then "
                "restart the server."
            )

    def add(self, data: bytes) -> None:
        """Send `data` behind all else, soon. With the engine's lock, from any thread."""
        self.out.append(data)
        self.server.has_output(self)

    def send_first(self, pieces: deque[bytes]) -> None:
        """Send `pieces` behind what is in `out` now and before what comes. With the engine's lock."""
        pieces.appendleft(b"".join(self.out))
        self.out.clear()
        self._first = pieces
        self.server.has_output(self)

    def take(self) -> bytes:
        """What is to be sent, taken from `out`. With the engine's lock."""
        data = b"".join(self.out)
        self.out.clear()
        return data

    def flush(self, data: bytes) -> None:
        """Send `data`, which was taken from `out`. Without the lock."""
        transport = self._transport
        if transport is None:
            return
        if len(data) > _REPLY_BYTES and self.check_output(len(data)):
            return
        if self._first or self._behind:
            self._behind.append(data)
            self._behind_bytes += len(data)
            self._send_pieces()
            self.check_output()
        elif data:
            transport.write(data)
            self.server.output_bytes += len(data)
            if transport.get_write_buffer_size():
                self.check_output()
        if len(data) > _LARGE_REPLIES:
            self.share = max(1, self.share // 4)
        elif self.requests and self.share < _LARGEST_SHARE:
            self.share *= 2
        if self.closing:
            transport.close()
        elif not self.requests:
            self._unread_bytes = 0
            if self._paused:
                self._paused = False
                transport.resume_reading()

    def _send_pieces(self) -> None:
        while self._first and not self._full and self._transport is not None:
            piece = self._first.popleft()
            self.server.output_bytes += len(piece)
            self._transport.write(piece)
        if not self._first and self._behind and self._transport is not None:
            self._transport.write(b"".join(self._behind))
            self.server.output_bytes += self._behind_bytes
            self._behind.clear()
            self._behind_bytes = 0

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._send_pieces()

    def _buffers(self) -> dict[str, int]:
        """What CLIENT LIST says of descriptors and memory. There is no reply buffer of a fixed size."""
        transport = self._transport
        fd = -1 if transport is None else transport.get_extra_info("socket").fileno()
        waiting = self.buffered
        return {
            "fd": fd,
            "qbuf": self.reader.held,
            "qbuf-free": 0,
            "rbs": 0,
            "rbp": 0,
            "obl": 0,
            "oll": int(waiting > 0),
            "omem": waiting,
        }

    @property
    def may_time_out(self) -> bool:
        """Whether ``timeout`` holds for it."""
        return self.kind == "normal"

    @property
    def buffered(self) -> int:
        """Bytes that the peer has not taken; of a snapshot on its way to a replica, only what comes behind it."""
        if self._first or self._behind:
            return self._behind_bytes
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def kind(self) -> str:
        """The class of client whose output limit holds: ``normal``, ``pubsub`` or ``replica``."""
        replica = self.server.replication.replica(self)
        if replica is not None and replica.following:
            return "replica"
        return "pubsub" if self.client in self.engine.subscriptions.clients else "normal"

    def check_output(self, more: int = 0) -> bool:
        """Drop the client if it lets more lie than ``client-output-buffer-limit`` allows; whether it was dropped.

        `more` bytes are about to be sent: as in redis-server the hard limit holds for them, however fast the peer takes
        them.
        """
        hard, soft, soft_s = self.engine.config.client_output_buffer_limit[self.kind]
        size = self.buffered
        now_s = self.server.now_s()
        over = hard and size + more > hard
        if soft and size > soft:
            if self._over_soft_since_s is None:
                self._over_soft_since_s = now_s
            over = over or now_s - self._over_soft_since_s > soft_s
        else:
            self._over_soft_since_s = None
        if over:
            self.server.log.warning(
                "Client %s closed for overcoming of output buffer limits: %d bytes.", self.address, size + more
            )
            self.abort()
        return bool(over)

    def drop(self) -> None:
        """Close without waiting: what the peer does not take at once is lost to it."""
        self.closing = True
        if self._transport is not None:
            self._transport.close() if not self.buffered else self._transport.abort()

    def abort(self) -> None:
        """Drop the client now; what it has not read is lost to it."""
        self.closing = True
        if self._transport is not None:
            self._transport.abort()


def _address(transport: asyncio.Transport) -> str:
    peer = transport.get_extra_info("peername")
    if isinstance(peer, tuple):
        return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
    return f"{transport.get_extra_info('sockname') or 'unix'}:0"


def _local_address(transport: asyncio.Transport) -> str:
    own = transport.get_extra_info("sockname")
    if isinstance(own, tuple):
        return f"[{own[0]}]:{own[1]}" if ":" in own[0] else f"{own[0]}:{own[1]}"
    return f"{own or 'unix'}:0"


def _keep_alive(sock: Any, interval_s: int) -> None:
    """Redis: anet.c anetKeepAlive."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", interval_s), ("TCP_KEEPINTVL", max(1, interval_s // 3)), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
