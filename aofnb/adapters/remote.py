"""A real server, or a cluster, behind the calls of a store: the same cells run on either.

Replies are what a store gives: statuses as str, bulk strings as bytes, error replies as `ReplyError` with their whole
text. redis-py makes the connections (``redis://``, ``rediss://``, ``unix://``, Redis Cluster); a parser of ours reads
the replies, since redis-py's own does not tell a status from a bulk string.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import redis
from redis.cluster import RedisCluster
from redis.exceptions import RedisError, ResponseError

from aofnb.commands.registry import find
from aofnb.engine.session import Argument, Pipeline, as_argv
from aofnb.errors import ConfigError, RemoteError, ReplyError
from aofnb.resp.encode import encode_command
from aofnb.resp.replies import Push, SetReply, Verbatim

# Without a public name, and the same in all versions: it owns the buffer that replies are read from.
from redis._parsers.resp3 import _RESP3Parser  # isort: skip

__all__ = ["RemoteSession", "RemoteStore", "connect"]

# What the nodes of a cluster have in common.
_FOR_NODES = ("username", "password", "credential_provider")
_SCHEMES = ("redis", "rediss", "unix")
_CLUSTER = ("redis+cluster", "rediss+cluster")


class _Parser(_RESP3Parser):
    """Replies as a store gives them; at the top an error stays redis-py's, which acts on some of them."""

    _buffer: Any

    def _read_response(self, *_args: Any, **_kwargs: Any) -> Any:
        while True:
            reply = self._read()
            if isinstance(reply, ReplyError):
                error = self.parse_error(str(reply))
                error.wire_text = str(reply)
                return error
            if not isinstance(reply, Push):
                return reply

    def _read(self) -> Any:
        line = self._buffer.readline()
        kind, rest = line[:1], line[1:]
        if kind == b"$" or kind == b"=":
            if rest == b"-1":
                return None
            text = self._buffer.read(int(rest))
            return text if kind == b"$" else Verbatim(text[4:])
        if kind == b":" or kind == b"(":
            return int(rest)
        if kind == b"+":
            return rest.decode("utf-8", "surrogateescape")
        if kind == b"-" or kind == b"!":
            text = rest if kind == b"-" else self._buffer.read(int(rest))
            return ReplyError(text.decode("utf-8", "surrogateescape"))
        if kind == b"*":
            return None if rest == b"-1" else [self._read() for _ in range(int(rest))]
        if kind == b"~":
            return SetReply(self._read() for _ in range(int(rest)))
        if kind == b">":
            return Push(self._read() for _ in range(int(rest)))
        if kind == b"%":
            pairs = [(self._read(), self._read()) for _ in range(int(rest))]
            return dict(pairs)
        if kind == b",":
            return float(rest)
        if kind == b"#":
            return rest == b"t"
        if kind == b"_":
            return None
        if not line:
            raise redis.ConnectionError("the server closed the connection")
        raise redis.InvalidResponse(f"Protocol Error: {line!r}")


class RemoteSession:
    """One connection: its own selected database and MULTI state. The face of `aofnb.engine.session.Session`."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._connection: Any = None

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = self._pool.make_connection()
        self._connection.connect()
        return self._connection

    def execute(self, *argv: Argument) -> Any:
        """Run one command, name first.

        Raises
        ------
        ReplyError
            What the server answered.
        RemoteError
            The server cannot be reached, or the connection broke: whether the command ran is not known.
        """
        reply = self.run([argv])[0]
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def run(self, batch: Iterable[Sequence[Argument]]) -> list[Any]:
        """Run several commands, sent together; an error reply is a `ReplyError` in its place."""
        encoded = [encode_command(as_argv(argv)) for argv in batch]
        if not encoded:
            return []
        return self.send(b"".join(encoded), len(encoded))

    def send(self, encoded: bytes, count: int) -> list[Any]:
        """Send `count` commands that are encoded already; the replies, in order."""
        with self._lock:
            try:
                connection = self._connected()
                connection.send_packed_command([encoded])
                return [self._reply(connection) for _ in range(count)]
            except RedisError as problem:
                self._forget()
                raise RemoteError(f"{problem}; whether the commands of this call ran is not known") from problem
            except BaseException:
                # Ctrl-C in the middle: replies that are still to come must not answer what is sent next.
                self._forget()
                raise

    @staticmethod
    def _reply(connection: Any) -> Any:
        try:
            return connection.read_response()
        except ResponseError as problem:
            return _reply_error(problem)

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.disconnect()

    def pipeline(self) -> Pipeline:
        """Collect commands, then send them together."""
        return Pipeline(self)

    def close(self) -> None:
        """Close the connection; the next command opens another one."""
        with self._lock:
            self._forget()


class ClusterSession:
    """Commands to a cluster, each to the node that has its keys.

    Which one that is says redis-py; which arguments are keys says our own table of commands. What is sent together goes
    to each node in one piece: the order holds for each key, not between nodes. A transaction cannot span calls.
    """

    def __init__(self, cluster: RedisCluster, options: dict[str, Any]) -> None:
        self._cluster = cluster
        self._options = options
        self._nodes: dict[str, RemoteSession] = {}

    def execute(self, *argv: Argument) -> Any:
        """Run one command, name first; raises as `RemoteSession.execute`."""
        reply = self.run([argv])[0]
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def run(self, batch: Iterable[Sequence[Argument]]) -> list[Any]:
        """Run several commands; an error reply is a `ReplyError` in its place."""
        argvs = [as_argv(argv) for argv in batch]
        replies: list[Any] = [None] * len(argvs)
        by_node: dict[str, list[int]] = {}
        for place, argv in enumerate(argvs):
            try:
                everywhere = _EVERYWHERE.get(argv[0].upper())
                if everywhere is not None:
                    replies[place] = everywhere([self._node(name).execute(*argv) for name in self._primaries()])
                else:
                    by_node.setdefault(self._place_of(argv), []).append(place)
            except ReplyError as problem:
                replies[place] = problem
        for name, places in by_node.items():
            for place, reply in zip(places, self._node(name).run([argvs[i] for i in places]), strict=True):
                replies[place] = self._followed(argvs[place], reply)
        return replies

    def _place_of(self, argv: Sequence[bytes]) -> str:
        """The node that has the keys of `argv`; some primary if it has none."""
        name = argv[0].upper()
        if name in _ONE_NODE:
            raise ReplyError(f"ERR {name.decode()} works on one node: connect to that one by itself")
        command = find(argv)
        keys = [argv[i] for i in command.key_positions(argv)] if command is not None else []
        slots = {self._cluster.keyslot(key) for key in keys}
        if len(slots) > 1:
            raise ReplyError("CROSSSLOT Keys in request don't hash to the same slot")
        if not keys:
            return self._primaries()[0]
        return str(self._cluster.get_node_from_key(keys[0]).name)

    def _primaries(self) -> list[str]:
        return sorted(str(node.name) for node in self._cluster.get_primaries())

    def _node(self, name: str) -> RemoteSession:
        session = self._nodes.get(name)
        if session is None:
            host, _, port = name.rpartition(":")
            pool = redis.ConnectionPool(host=host, port=int(port), parser_class=_Parser, **self._options)
            session = self._nodes[name] = RemoteSession(pool)
        return session

    def _followed(self, argv: Sequence[bytes], reply: Any) -> Any:
        """The reply from where a redirection points; `reply` if it is none."""
        for _ in range(_REDIRECTIONS):
            if not isinstance(reply, ReplyError) or reply.code not in ("MOVED", "ASK"):
                break
            node = self._node(str(reply).split(" ")[2])
            if reply.code == "ASK":
                reply = node.run([(b"ASKING",), argv])[1]
            else:
                self._cluster.nodes_manager.initialize()
                reply = node.run([argv])[0]
        return reply

    def pipeline(self) -> Pipeline:
        """Collect commands, then run them."""
        return Pipeline(self)

    def close(self) -> None:
        """Close all connections."""
        for session in self._nodes.values():
            session.close()


_REDIRECTIONS = 5
_ONE_NODE = frozenset(b"MULTI EXEC DISCARD WATCH UNWATCH SCAN SELECT SUBSCRIBE PSUBSCRIBE MONITOR".split())
# Commands about all keys: run on every primary, and what becomes of the replies.
_EVERYWHERE: dict[bytes, Callable[[list[Any]], Any]] = {
    b"DBSIZE": sum,
    b"KEYS": lambda replies: [key for keys in replies for key in keys],
    b"FLUSHALL": lambda replies: replies[0],
    b"FLUSHDB": lambda replies: replies[0],
}


class RemoteStore:
    """A real server with the face of a store: `execute`, `run`, `pipeline`, `session`, `close`. Made by `connect`."""

    readonly = False

    def __init__(self, url: str, open_session: Callable[[], Any], shown: str, db: int = 0) -> None:
        self.url = url
        self.shown = shown
        # The database that a new connection has selected.
        self.db = db
        self._open_session = open_session
        self._sessions: list[Any] = []
        self._session = self.session()
        self.execute = self._session.execute
        self.run = self._session.run
        self.closed = False

    def session(self) -> Any:
        """Another connection."""
        session = self._open_session()
        self._sessions.append(session)
        return session

    def pipeline(self) -> Pipeline:
        """Collect commands, then send them together."""
        return Pipeline(self._session)

    def close(self) -> None:
        """Close all connections."""
        self.closed = True
        for session in self._sessions:
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<aofnb.RemoteStore {self.shown}{': closed' if self.closed else ''}>"


def connect(url: str, *, cluster: bool = False, **options: Any) -> RemoteStore:
    """A real server behind the calls of a store.

    Parameters
    ----------
    url
        ``redis://[user:password@]host:port/db``, ``rediss://`` (TLS), ``unix:///path?db=0``.
    cluster
        It is a cluster, of which one node is enough; ``redis+cluster://`` says the same.
    **options
        For redis-py's connections: ``socket_timeout``, ``ssl_ca_certs``, ...

    Raises
    ------
    ConfigError
        The URL cannot be.
    RemoteError
        The server cannot be reached, or does not let us in.
    """
    scheme, _, rest = url.partition("://")
    if scheme in _CLUSTER:
        cluster, scheme, url = True, scheme.removesuffix("+cluster"), url.replace("+cluster", "", 1)
    if scheme not in _SCHEMES or not rest:
        raise ConfigError(f"{_without_password(url)!r}: give redis://host:port/db, rediss://..., or unix:///path")
    # RESP2 as in a store; HELLO 3 changes it. A blocking command says itself how long it takes.
    options = {"protocol": 2, "socket_timeout": None, **options}
    shown = _without_password(url)
    try:
        if cluster:
            client = RedisCluster.from_url(url, **options)
            given = {name: value for name, value in client.get_connection_kwargs().items() if name in _FOR_NODES}
            if scheme == "rediss":
                given["connection_class"] = redis.SSLConnection
            return RemoteStore(url, lambda: ClusterSession(client, {**given, **options}), f"{shown} (cluster)")
        pool = redis.ConnectionPool.from_url(url, parser_class=_Parser, **options)
        store = RemoteStore(url, lambda: RemoteSession(pool), shown, int(pool.connection_kwargs.get("db") or 0))
        store._session._connected()
        return store
    except (RedisError, ValueError, TypeError) as problem:
        raise RemoteError(f"{shown}: {problem}; is the server running, and is the URL right?") from problem


def _reply_error(problem: ResponseError) -> ReplyError:
    return ReplyError(getattr(problem, "wire_text", None) or str(problem))


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not at:
        return url
    user = credentials.partition(":")[0]
    return f"{scheme}{separator}{user}:***@{place}"
