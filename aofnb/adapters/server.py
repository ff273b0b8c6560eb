"""A store on a socket: what redis-cli, redis-benchmark and any client library connect to.

One event loop in a thread of its own, for all clients. What all of them sent since the last time is run as one turn of
the engine, one write and one fsync for all, and only then is anyone answered: the loop of redis-server. The
kernel of a notebook shares the interpreter with it, so a turn is cut short after `TURN_REQUESTS` and the rest waits.

Redis: ae.c, networking.c acceptCommonHandler, server.c beforeSleep, clientsCron (7.0.15).
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from aofnb.adapters._answer_cy import COMPILED, Plain
from aofnb.adapters._peer_cy import Traffic, send_all
from aofnb.adapters.client_memory import ClientMemory, limit_bytes
from aofnb.adapters.connection import Connection, is_local
from aofnb.adapters.loop import Loop
from aofnb.adapters.replication import Replication
from aofnb.commands.clients import described
from aofnb.config import NOTICE
from aofnb.engine import Store
from aofnb.errors import AofWriteError, ConfigError, StoreClosedError

__all__ = ["Server", "serve"]

# Requests of one turn; how many of one client `Connection.share` says.
TURN_REQUESTS = 2048
# Clients that are taken up at a time; the rest in the next round, when others had theirs.
_ACCEPTS = 200

_DENIED = (
    b"DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the "
    b"default user. In this mode connections are only accepted from the loopback interface. If you want to connect "
    b"from external computers, set a password (requirepass), or serve with protected_mode=False on a network that "
    b"you trust."
)


class Server:
    """A store that is being served; made by `Store.serve`. Ends with `close`, or with the store.

    Attributes
    ----------
    address : tuple or str
        ``(host, port)``, or the path of the unix socket.
    url : str
        The same for `redis.from_url` and for ``redis-cli -u``.
    """

    def __init__(
        self,
        store: Store,
        *,
        host: str | Sequence[str] | None = "127.0.0.1",
        port: int = 0,
        unixsocket: str | os.PathLike[str] | None = None,
        unixsocketperm: int | None = None,
        protected_mode: bool = True,
        open_to_strangers: bool = False,
        debug_commands: str = "no",
        log: logging.Logger | None = None,
    ) -> None:
        if store.closed:
            raise StoreClosedError("the store is closed; open it again with aofnb.open")
        self.store = store
        self.log = log or logging.getLogger("aofnb.server")
        self.hosts = [] if host is None else [host] if isinstance(host, str) else list(host)
        self.port = port
        # Who may use DEBUG: nobody (no), this machine (local), everybody (yes).
        self.debug_commands = debug_commands
        self.unixsocket = None if unixsocket is None else os.path.abspath(os.path.expanduser(os.fspath(unixsocket)))
        self.protected_mode = protected_mode
        self.connections: set[Connection] = set()
        self.total_connections = 0
        self.rejected_connections = 0
        self.traffic = Traffic()
        # Whether ``maxmemory-clients`` is to be seen to; and whose memory may have changed since it was counted.
        self.weighs = False
        self.to_weigh: set[Connection] = set()
        self._memory = ClientMemory()
        self._too_much_memory = False
        self.evicted_clients = 0
        # Called in the server's thread once SHUTDOWN is to end everything; None: close the store.
        self.on_shutdown: Callable[[], None] | None = None
        self._engine = store.engine
        self._answer = Plain(store.engine).answer if COMPILED else _nothing_is_plain
        self._unixsocketperm = unixsocketperm
        self.replication = Replication(store)
        self.replication.reset_server = self._reset_counters
        # Who has requests that were read.
        self._ready: list[Connection] = []
        # Who has something in `out`, and whether the loop knows. With the engine's lock.
        self._with_output: set[Connection] = set()
        self._woken = False
        self._next_warning_s = 0.0
        self._closed = False
        self._open_to_strangers = open_to_strangers
        self._listeners: list[_Listener] = []
        # Those that take the place of them in the next round.
        self._next_listeners: list[_Listener] | None = None
        self.now_s = store.engine.clock.monotonic
        self.loop = Loop(store.engine.clock, self._tick, self._after_events, self.log)
        self._thread = threading.Thread(target=self._run, name="aofnb-server", daemon=True)
        try:
            if not self.hosts and self.unixsocket is None:
                raise ConfigError("there is nothing to serve on; give a host, a unix socket, or both")
            self._refuse_strangers(self.hosts)
            self._listen()
        except BaseException:
            self.loop.close()
            self._remove_socket_file()
            raise
        if store.engine.replication is None:
            store.engine.replication = self.replication
            store.engine.socket_stats = self._counters
            store.engine.settings.serve(
                {
                    "bind": " ".join(self.hosts),
                    "port": self.port if self.hosts else 0,
                    "unixsocket": self.unixsocket or "",
                    "unixsocketperm": f"{unixsocketperm or 0:o}",
                    "protected-mode": protected_mode,
                    "enable-debug-command": debug_commands,
                }
            )
            store.engine.settings.on_change |= self._changes()
        self._memory_limit_changed()
        store.before_close(self.close)
        self._thread.start()

    # --- beginning and end -------------------------------------------------------------------------------

    def _refuse_strangers(self, hosts: Sequence[str]) -> None:
        """Whoever reaches a server without a password may do anything: so only this machine may.

        redis-server listens all the same, and turns away everyone from elsewhere; here that is told at once.
        """
        far = [host for host in hosts if not _is_loopback(host)]
        if far and self.protected_mode and not self._open_to_strangers and not self._has_password():
            raise ConfigError(
                f"{far[0]} can be reached from other machines, and there is no password; set one first "
                '(store.execute("CONFIG", "SET", "requirepass", ...)), serve on 127.0.0.1, or, where everyone who can '
                "connect may do everything, give protected_mode=False"
            )

    def _changes(self) -> dict[str, Callable[[], None]]:
        """What CONFIG SET can change of a server, and what is to be done then."""
        return {
            "protected-mode": self._protected_mode_changed,
            "port": lambda: self._address_changed("Unable to listen on this port. Check server logs."),
            "bind": lambda: self._address_changed("Failed to bind to specified addresses."),
            "maxmemory-clients": self._memory_limit_changed,
            # Asked for once a second.
            "repl-backlog-ttl": lambda: None,
        }

    def _protected_mode_changed(self) -> None:
        self.protected_mode = self.store.engine.settings.server["protected-mode"]

    def _memory_limit_changed(self) -> None:
        """Begin to count what clients take, or cease. Who is too large goes in the next round."""
        self.weighs = self.store.config.maxmemory_clients != "0"
        self._memory = ClientMemory()
        self.to_weigh = set(self.connections) if self.weighs else set()
        self.loop.wake()

    def _address_changed(self, failed: str) -> None:
        """Listen where the settings say now; clients that are there stay. ConfigError `failed` if that cannot be."""
        values = self.store.engine.settings.server
        port = values["port"]
        hosts = values["bind"].split() if port else []
        if (hosts, port) == (self.hosts, self.port):
            return
        now = self._next_listeners or self._listeners
        kept = [listener for listener in now if listener.host is None or (port == self.port and listener.host in hosts)]
        try:
            self._refuse_strangers(hosts)
            if not hosts and self.unixsocket is None:
                raise ConfigError("there would be nothing left to serve on")
            known = {listener.host for listener in kept}
            new = self._tcp_listeners([host for host in hosts if host not in known], port)
        except ConfigError as problem:
            self.log.warning("%s", problem)
            raise ConfigError(failed) from problem
        self.hosts, self.port = hosts, port
        # By the thread of the loop, which knows what it watches.
        self._next_listeners = kept + new
        self.loop.wake()

    def _replace_listeners(self) -> None:
        """Listen where CONFIG SET said, and nowhere else. In the thread of the loop."""
        with self.store.engine.lock:
            listeners, self._next_listeners = self._next_listeners or self._listeners, None
        for listener in self._listeners:
            if listener not in listeners:
                listener.close()
        self._listeners = listeners
        for listener in listeners:
            listener.listen()

    def _has_password(self) -> bool:
        """Whether a new client has to authenticate."""
        return self.store.engine.users.password_needed

    def _listen(self) -> None:
        self._listeners = self._tcp_listeners(self.hosts, self.port)
        if self._listeners:
            # It may have been chosen by the system.
            self.port = self._listeners[0].sock.getsockname()[1]
        try:
            if self.unixsocket is not None:
                self._listeners.append(_Listener(self, self._unix_socket(self.unixsocket)))
        except BaseException:
            for listener in self._listeners:
                listener.sock.close()
            raise

    def _tcp_listeners(self, hosts: Sequence[str], port: int) -> list[_Listener]:
        """One for each of `hosts`; of port 0 the first gets a free one, which is that of the others too."""
        found: list[_Listener] = []
        backlog = self.store.config.tcp_backlog
        try:
            for host in hosts:
                # As redis.conf marks those that a machine may lack.
                optional = host.startswith("-")
                try:
                    sock = _tcp_socket(_ANY.get(host.lstrip("-"), host.lstrip("-")), port, backlog)
                except ConfigError:
                    if not optional:
                        raise
                else:
                    found.append(_Listener(self, sock, host))
                    port = sock.getsockname()[1]
        except BaseException:
            for listener in found:
                listener.sock.close()
            raise
        return found

    def _unix_socket(self, path: str) -> socket.socket:
        # One that was left behind is replaced, as redis-server does; no other kind of file is.
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.stat(path).st_mode):
                raise ConfigError(f"unixsocket: {path} is there and is no socket; choose another path")
            os.unlink(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(path)
            if self._unixsocketperm:
                os.chmod(path, self._unixsocketperm)
            sock.listen(self.store.config.tcp_backlog)
            sock.setblocking(False)
        except OSError as problem:
            sock.close()
            raise ConfigError(f"unixsocket: cannot serve on {path}: {problem.strerror or problem}") from problem
        self._socket_inode = os.stat(path).st_ino
        return sock

    def _remove_socket_file(self) -> None:
        if self.unixsocket is not None and hasattr(self, "_socket_inode"):
            with suppress(OSError):
                # Not that of another server that took the path over.
                if os.stat(self.unixsocket).st_ino == self._socket_inode:
                    os.unlink(self.unixsocket)

    def _run(self) -> None:
        for listener in self._listeners:
            listener.listen()
        try:
            self.loop.run()
        finally:
            for listener in {*self._listeners, *(self._next_listeners or ())}:
                listener.sock.close()
            for connection in list(self.connections):
                # Replies are sent as far as the system took them.
                connection.close()
            self.loop.close()

    def close(self) -> None:
        """Stop serving: no new clients, those there are dropped. The store stays open. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        self.loop.stop()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self._remove_socket_file()
        engine = self.store.engine
        with engine.lock:
            self.replication.end()
            if engine.replication is self.replication:
                engine.replication = None
                engine.settings.serve({})
                for name in self._changes():
                    del engine.settings.on_change[name]
                engine.socket_stats = dict

    def wait_closed(self) -> None:
        """Until it is served no more."""
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- who and where -----------------------------------------------------------------------------------

    @property
    def address(self) -> tuple[str, int] | str:
        if self.hosts:
            return self._reachable, self.port
        assert self.unixsocket is not None
        return self.unixsocket

    @property
    def url(self) -> str:
        if not self.hosts:
            return f"unix://{self.unixsocket}"
        host = f"[{self._reachable}]" if ":" in self._reachable else self._reachable
        return f"redis://{host}:{self.port}"

    @property
    def _reachable(self) -> str:
        """A host by which clients of this machine find it."""
        host = self.hosts[0].lstrip("-")
        return {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "::": "::1", "::*": "::1"}.get(host, host)

    @property
    def running(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self.connections)} clients"
        return f"<aofnb.Server {self.url}: {state}>"

    # --- clients -----------------------------------------------------------------------------------------

    def _counters(self) -> dict[str, int]:
        return {
            "connections": self.total_connections,
            "rejected": self.rejected_connections,
            "evicted": self.evicted_clients,
            "input_bytes": self.traffic.input_bytes,
            "output_bytes": self.traffic.output_bytes,
        }

    def _reset_counters(self) -> None:
        self.total_connections = self.rejected_connections = self.evicted_clients = 0
        self.traffic.input_bytes = self.traffic.output_bytes = 0

    def take_up(self, sock: socket.socket, peer: Any) -> None:
        """A client has connected."""
        self.total_connections += 1
        refusal = self._refusal(peer)
        if refusal is not None:
            self.rejected_connections += 1
            sock.send(b"-" + refusal + b"\r\n")
            sock.close()
            return
        with self.store.engine.lock:
            connection = Connection(self, sock, peer)
            self.connections.add(connection)
            if self.weighs:
                self.to_weigh.add(connection)
            self.replication.joined(connection)

    def _refusal(self, peer: Any) -> bytes | None:
        """Why a client that calls from `peer` is not taken up."""
        most = self.store.config.maxclients
        if len(self.connections) >= (most if self.loop.capacity is None else min(most, self.loop.capacity)):
            return b"ERR max number of clients reached"
        if self.protected_mode and not is_local(peer) and not self._has_password():
            return _DENIED
        return None

    def lost(self, connection: Connection) -> None:
        """A client has gone."""
        self.connections.discard(connection)
        engine = self.store.engine
        with engine.lock:
            self._with_output.discard(connection)
            self.to_weigh.discard(connection)
            self._memory.forget(connection)
            self.replication.left(connection)
            engine.disconnect(connection.client)
        for listener in self._listeners:
            listener.listen()

    def warn_of_browser(self, address: str) -> None:
        """Say once a minute that somebody sends HTTP."""
        if self.now_s() >= self._next_warning_s:
            self._next_warning_s = self.now_s() + 60
            self.log.warning(
                "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Redis. "
                "This is likely due to an attacker attempting to use Cross Protocol Scripting to compromise your Redis "
                "instance. Connection from %s aborted.",
                address,
            )

    def ready(self, connection: Connection) -> None:
        """`connection` has requests: give it a turn."""
        if not connection.waiting_for_turn:
            connection.waiting_for_turn = True
            self._ready.append(connection)

    def has_output(self, connection: Connection) -> None:
        """`connection` has something in `out`: send it soon. With the engine's lock, from any thread."""
        self._with_output.add(connection)
        if not self._woken:
            self._woken = True
            self.loop.wake()

    # --- a round -----------------------------------------------------------------------------------------

    def _after_events(self) -> bool:
        """Run what clients sent; send the replies, and what others caused. Whether there is more to run."""
        if self._next_listeners is not None:
            self._replace_listeners()
        if self.weighs:
            self._make_room()
        if self.traffic.arrived or self._ready:
            self._turn()
        elif self._with_output:
            with self.store.engine.lock:
                self._woken = False
                answers = self._taken([])
            self._send(answers)
        if self.weighs:
            self._make_room()
        return bool(self._ready or self._with_output)

    def _make_room(self) -> None:
        """Let clients go, the largest first, until all of them take less than ``maxmemory-clients`` allows."""
        traffic, evicted = self.traffic, []
        with self.store.engine.lock:
            memory = self._memory
            for connection in sorted(self.to_weigh, key=lambda connection: connection.client.id):
                memory.weigh(connection)
            self.to_weigh.clear()
            for connection, data in traffic.arrived:
                memory.weigh(connection, len(data))
            limit = limit_bytes(self.store.config)
            largest = memory.largest_first()
            while limit and memory.total >= limit:
                victim = next(largest, None)
                if victim is None:
                    break
                evicted.append((victim, described(victim.client)))
                memory.forget(victim)
            too_much = limit > 0 and memory.total >= limit
        if too_much and not self._too_much_memory:
            # Once, where redis-server says it in each round.
            self.log.warning("Over client maxmemory after evicting all evictable clients")
        self._too_much_memory = too_much
        for connection, line in evicted:
            self.log.log(NOTICE, "Evicting client: %s", line.decode("utf-8", "surrogateescape").rstrip())
            self.evicted_clients += 1
            connection.close()
        if evicted:
            traffic.arrived = [
                (connection, data) for connection, data in traffic.arrived if connection.sock is not None
            ]

    def _turn(self) -> None:
        """Run what all clients sent, as one turn; then answer all."""
        arrived, self.traffic.arrived = self.traffic.arrived, []
        turn: list[Connection] = []
        engine = self._engine
        try:
            with engine.lock:
                # Whoever gets messages is seen to at the end of this turn.
                self._woken = True
                try:
                    engine.begin_turn(None)
                    answers, left = self._answer(arrived, TURN_REQUESTS, self.loop.now_s)
                    if left or self._ready:
                        self._run_others(left, turn)
                    engine.end_turn()
                    if turn or self._with_output:
                        answers += self._taken(turn)
                finally:
                    self._woken = False
        except Exception as problem:
            self._turn_failed({*turn, *(connection for connection, _ in arrived)}, problem)
            return
        self._send(answers)
        if engine.afterwards:
            # SHUTDOWN closes the store, and that the server. Not under the lock: what is waited for may want it.
            engine.do_afterwards()

    def _run_others(self, left: list[tuple[Connection, bytes]], turn: list[Connection]) -> None:
        """Run what is not plain, and what earlier turns left; whose turn it is, is appended to `turn`."""
        for connection, data in left:
            connection.read(data)
            self._with_output.add(connection)
        turn += self._ready
        self._ready = []
        budget = TURN_REQUESTS
        for connection in turn:
            connection.waiting_for_turn = False
            if budget > 0:
                budget -= connection.run(min(budget, connection.share))

    def _taken(self, turn: list[Connection]) -> list[tuple[Connection, bytes]]:
        """What is to be sent to those of a turn, and to others. With the engine's lock."""
        if self._with_output:
            turn += self._with_output.difference(turn)
            self._with_output.clear()
        return [(connection, connection.take()) for connection in turn]

    def _send(self, answers: list[tuple[Connection, bytes]]) -> None:
        if self.weighs:
            self.to_weigh.update(connection for connection, _data in answers)
        for connection in send_all(answers):
            self.ready(connection)

    def _turn_failed(self, turn: set[Connection], problem: Exception) -> None:
        """Drop them: nobody may be told OK, and nobody can be told otherwise, since what they wrote is in memory."""
        if isinstance(problem, AofWriteError):
            # redis-server ends the process here; the store refuses further writes until it is opened again.
            self.log.error("Write error writing to the AOF file, %d clients dropped: %s", len(turn), problem)
        elif not isinstance(problem, StoreClosedError):
            # A fault of ours: the engine mends what it tore with the next turn.
            self.log.error("a turn failed; %d clients dropped", len(turn), exc_info=problem)
        for connection in turn:
            connection.close()

    def _tick(self) -> None:
        """Drop clients that are silent for too long, or that do not read; accept again."""
        with self.store.engine.lock:
            self.replication.cron()
        timeout_s = self.store.config.timeout
        now_s = self.now_s()
        for connection in list(self.connections):
            if connection.buffered:
                connection.check_output()
            if timeout_s and now_s - connection.last_heard_s > timeout_s and connection.may_time_out:
                self.log.info("Closing idle client %s", connection.address)
                connection.close()
        for listener in self._listeners:
            listener.listen()


class _Listener:
    """A socket on which clients connect; `host` as the settings name it, None for a unix socket."""

    def __init__(self, server: Server, sock: socket.socket, host: str | None = None) -> None:
        self.sock = sock
        self.host = host
        self._server = server
        self._listens = False

    def listen(self) -> None:
        """Accept who comes, if it does not already."""
        if not self._listens:
            self._listens = True
            self._server.loop.watch(self.sock, self, reads=True)

    def close(self) -> None:
        """Take up nobody any more."""
        if self._listens:
            self._pause()
        self.sock.close()

    def _pause(self) -> None:
        """Until somebody left or a second is over: who waits for a connection would be told again and again."""
        self._listens = False
        self._server.loop.watch(self.sock, self)

    def readable(self) -> None:
        """Somebody wants to connect."""
        for _ in range(_ACCEPTS):
            try:
                sock, peer = self.sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as problem:
                # There are no more descriptors, most likely.
                self._server.log.warning("Accepting client connection: %s", problem.strerror)
                self._pause()
                return
            sock.setblocking(False)
            try:
                self._server.take_up(sock, peer)
            except OSError:
                # It has gone already.
                sock.close()

    def writable(self) -> None:
        """Never asked for."""

    def fault(self) -> None:
        """A fault of ours."""
        self._server.log.exception("a client could not be taken up")
        self._pause()


def _nothing_is_plain(
    arrived: list[tuple[Connection, bytes]], _most: int, _now_s: float
) -> tuple[list[tuple[Connection, bytes]], list[tuple[Connection, bytes]]]:
    """As `Plain.answer` does: without a compiler it takes longer than the other way."""
    return [], arrived


def serve(store: Store, **options: Any) -> Server:
    """Serve `store` on a socket; see `Server` and `Store.serve`."""
    return Server(store, **options)


def _tcp_socket(host: str, port: int, backlog: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as problem:
        raise ConfigError(f"cannot serve on {host}: {problem.strerror or problem}") from problem
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # IPv4 has a socket of its own.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as problem:
        sock.close()
        raise ConfigError(
            f"cannot serve on {host}, port {port}: {problem.strerror or problem}; port 0 takes a free one"
        ) from problem
    return sock


# What redis.conf calls all addresses.
_ANY = {"*": "0.0.0.0", "::*": "::"}


def _is_loopback(host: str) -> bool:
    host = host.lstrip("-")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
