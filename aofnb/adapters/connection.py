"""One client of the socket: bytes in, requests to the engine, replies out.

Rules of this file: replies leave in the order of their requests, and only after the turn that made them is written as
the policy demands; what a client may make us hold is bounded by the settings of redis-server; a client that
breaks the protocol is told so and dropped, and none of it touches any other.

Redis: networking.c readQueryFromClient, writeToClient, checkClientOutputBufferLimits (7.0.15).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from aofnb.adapters._peer_cy import REPLY_BYTES, Peer
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

__all__ = ["Connection", "is_local"]

Argv = list[bytes]

# What is sent at a time to one who does not take all at once.
_WRITE_BYTES = 64 << 10
# Requests waiting for their turn, above which no more is read until some are done.
_ENOUGH_REQUESTS = 4096
_ENOUGH_BYTES = 4 << 20
# Requests of one client in one turn: a long pipeline does not keep others waiting for milliseconds. It begins with few,
# and gets fewer where the replies are this large.
_FIRST_SHARE = 32
_LARGEST_SHARE = 256
_LARGE_REPLIES = 256 << 10
# What a client takes beside what it sent and is sent, about.
_OWN_BYTES = 4000
# What HTTP says and Redis does not.
_OF_BROWSERS = frozenset((b"POST", b"HOST:"))


class Connection(Peer):
    """A client on a socket. Lives in the thread of the server's loop, but for what says otherwise."""

    def __init__(self, server: Server, sock: socket.socket, peer: Any) -> None:
        """Take up a client that calls from `peer`, as accept() gives it."""
        self.server = server
        engine = server.store.engine
        self.engine = engine
        # Not trusted: it is the default user, and must log in where that has a password.
        client = engine.new_client(trusted=False)
        super().__init__(server.traffic, sock, client, RequestReader(engine.config.proto_max_bulk_len), _FIRST_SHARE)
        client.sink = self._pushed
        client.end = self._end
        client.buffers = self._buffers
        client.heard = self._heard
        own = sock.getsockname()
        self.address = client.address = _address(peer or own)
        client.local_address = _address(own)
        self.is_local = is_local(peer)
        self.last_heard_s = server.now_s()
        # The commands that it runs, if it is an EXEC that a pause puts off.
        self._queued: Sequence[Argv] = ()
        # Whether the server has it in its list for the next turn.
        self.waiting_for_turn = False
        # What goes before anything in `out`.
        self._first: list[bytes] = []
        # Of `unsent`; so many of the first ones count for no limit.
        self._unsent_bytes = 0
        self._unlimited_bytes = 0
        self._over_soft_since_s: float | None = None
        server.loop.watch(sock, self, reads=True)
        if isinstance(own, tuple):
            # A reply is not kept back because more may follow.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if engine.config.tcp_keepalive:
                _keep_alive(sock, engine.config.tcp_keepalive)

    # --- what the loop tells, but for `readable` ----------------------------------------------------------

    def read(self, data: bytes) -> None:
        """Make requests of `data`, and have them run with the next turn."""
        self.last_heard_s = self.server.loop.now_s
        if self.server.weighs:
            self.server.to_weigh.add(self)
        reader = self.reader
        reader.stranger = self._is_stranger()
        self.requests += reader.feed(data)
        self.under_way = reader.under_way
        if self.requests or reader.error is not None:
            if self.waiting_for is None:
                self.server.ready(self)
            self.unread_bytes += len(data)
            if len(self.requests) > _ENOUGH_REQUESTS or self.unread_bytes > _ENOUGH_BYTES:
                self._watch(reads=False)
        elif reader.held > self.engine.config.client_query_buffer_limit:
            self.server.log.warning(
                "Closing client that reached max query buffer length: %s, %d bytes held", self.address, reader.held
            )
            self.close()

    def _is_stranger(self) -> bool:
        return not self.client.authenticated and self.engine.users.password_needed

    def said_all(self) -> None:
        # What came before is run, and its replies are sent to whoever may still read them.
        if self.waiting_for is not None or not self.requests:
            self._close_when_sent()
        else:
            self.leaving = True
            self._watch(reads=False)

    def writable(self) -> None:
        """Send more of what the peer did not take."""
        if self.sock is None:
            return
        self._send_held()
        if self.closing and not self.unsent:
            self.close()

    def fault(self) -> None:
        """A fault of ours."""
        self.server.log.exception("client %s dropped", self.address)
        self.close()

    def _watch(self, *, reads: bool) -> None:
        self.reads = reads
        if self.sock is not None:
            self.server.loop.watch(self.sock, self, reads=reads, writes=bool(self.unsent))

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
            self.said = requests[-1]
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
                or client.limited
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
            self.under_way = self.reader.under_way
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

    def send_first(self, pieces: list[bytes]) -> None:
        """Send `pieces` behind what is in `out` now and before what comes, however long the peer takes. As `add`."""
        self._first += [*self.out, *pieces]
        self.out.clear()
        self.server.has_output(self)

    @property
    def sends_first(self) -> bool:
        """Whether some of what `send_first` was given is not on its way yet. With the engine's lock."""
        return bool(self._first) or self._unlimited_bytes > 0

    def take(self) -> bytes:
        """What is to be sent, taken from `out`; `flush` sends it. With the engine's lock."""
        if self._first:
            first, self._first = self._first, []
            self._unlimited_bytes = self._unsent_bytes + sum(map(len, first))
            for piece in first:
                self.hold(piece)
        out = self.out
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    def flush_carefully(self, data: bytes) -> None:
        """Do what `flush` says, whatever there is to be heeded."""
        size = len(data)
        if size > REPLY_BYTES and self.check_output(size):
            return
        sent = 0 if self.unsent else self.offer(data)
        if sent < size:
            self.hold(memoryview(data)[sent:])
        more = bool(self.requests)
        if size > _LARGE_REPLIES:
            self.share = max(1, self.share // 4)
        elif more and self.share < _LARGEST_SHARE:
            self.share *= 2
        if self.closing or (self.leaving and (not more or self.waiting_for is not None)):
            self._close_when_sent()
        elif not more:
            self.unread_bytes = 0
            if not self.reads:
                self._watch(reads=True)

    # --- what the peer does not take at once --------------------------------------------------------------

    def hold(self, data: bytes | memoryview) -> None:
        """Keep `data` until there is room for it."""
        if self.sock is None:
            return
        self.unsent.append(data)
        self._unsent_bytes += len(data)
        if len(self.unsent) == 1:
            self._watch(reads=self.reads)
        self.check_output()

    def _send_held(self) -> None:
        """Send the next piece: the loop comes again for the one behind it."""
        batch: list[bytes | memoryview] = []
        size = 0
        while self.unsent and size < _WRITE_BYTES:
            batch.append(self.unsent.popleft())
            size += len(batch[-1])
        data = batch[0] if len(batch) == 1 else b"".join(batch)
        sent = self.offer(data)
        if self.sock is None:
            return
        self._unsent_bytes -= sent
        self._unlimited_bytes = max(0, self._unlimited_bytes - sent)
        if sent < size:
            self.unsent.appendleft(memoryview(data)[sent:])
        elif not self.unsent:
            self._watch(reads=self.reads)

    def _close_when_sent(self) -> None:
        self.closing = True
        if self.unsent:
            self._watch(reads=False)
        else:
            self.close()

    def close(self) -> None:
        """Close now: what the peer has not taken is lost to it. Closing twice is fine."""
        self.closing = True
        sock, self.sock = self.sock, None
        if sock is None:
            return
        self.server.loop.watch(sock, self)
        with suppress(OSError):
            # A child that somebody forked holds it, too, and the peer would wait for its end.
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
        self.requests.clear()
        self.unsent.clear()
        self._unsent_bytes = 0
        self.server.lost(self)

    def _heard(self) -> tuple[Argv | None, float]:
        """What CLIENT LIST says of the last command, and since when there was none."""
        return self.said, self.last_heard_s

    def _buffers(self) -> dict[str, int]:
        """What CLIENT LIST says of descriptors and memory. There is no reply buffer of a fixed size."""
        sock = self.sock
        waiting = self.buffered
        return {
            "fd": -1 if sock is None else sock.fileno(),
            "qbuf": self.reader.held,
            "qbuf-free": 0,
            "rbs": 0,
            "rbp": 0,
            "obl": 0,
            "oll": int(waiting > 0),
            "omem": waiting,
            # Of all that is known here.
            "memory": _OWN_BYTES
            + self.reader.held
            + (self.unread_bytes if self.requests else 0)
            + sum(map(len, self.out))
            + waiting,
        }

    @property
    def may_time_out(self) -> bool:
        """Whether ``timeout`` holds for it."""
        return self.kind == "normal"

    @property
    def buffered(self) -> int:
        """Bytes that the peer has not taken; of a snapshot on its way to a replica, only what comes behind it."""
        return max(0, self._unsent_bytes - self._unlimited_bytes)

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
            self.close()
        return bool(over)


def is_local(peer: Any) -> bool:
    """Whether one who calls from `peer` is on this machine."""
    return not isinstance(peer, tuple) or ipaddress.ip_address(peer[0].partition("%")[0]).is_loopback


def _address(name: Any) -> str:
    """The name of a socket, as getsockname gives it, in the words of CLIENT LIST."""
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return f"{name or 'unix'}:0"


def _keep_alive(sock: Any, interval_s: int) -> None:
    """Redis: anet.c anetKeepAlive."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", interval_s), ("TCP_KEEPINTVL", max(1, interval_s // 3)), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
