"""redis-py's own `redis.Redis` on a store in this process: no socket, no server.

redis-py stays as it is: pools, pipelines, pub/sub objects, locks, scripts, response callbacks. Three of its parts are
replaced: what a connection connects to (a `Link`), how it packs commands (not at all), and the parser (replies are
values already, given in the shape that redis-py's parser gives them). A pipeline or transaction is one packed request
and therefore one turn of the engine: one write, one fsync. Plain data commands skip the pool altogether.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Self

import redis
from redis.client import EMPTY_RESPONSE, NEVER_DECODE
from redis.connection import ConnectionPool, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from aofnb.adapters.link import Link
from aofnb.commands.client import Client
from aofnb.commands.registry import find
from aofnb.config import split_settings
from aofnb.engine import Store, open_store
from aofnb.engine.session import Session
from aofnb.errors import AofWriteError, ConfigError, ReplyError, StoreClosedError
from aofnb.resp.replies import Push

# Without a public name, and the same in all versions: the parser that dispatches pushes, and its table of errors.
from redis._parsers.resp3 import _RESP3Parser  # isort: skip

__all__ = ["Redis", "StoreConnection", "StorePool", "pack", "reply_error", "shaped"]

Decode = Callable[[bytes], Any]

_CLOSED = (StoreClosedError, AofWriteError)


def reply_error(problem: ReplyError) -> Exception:
    """The exception that redis-py makes of an error reply."""
    error: Exception = _RESP3Parser.parse_error(str(problem))
    return error


def shaped(reply: Any, decode: Decode | None) -> Any:
    """`reply` as redis-py's parser gives it: statuses as bulk strings, sets as lists, errors as its exceptions.

    Parameters
    ----------
    reply
        What the engine gave.
    decode
        What bytes become (``decode_responses``), or None to leave them.
    """
    kind = type(reply)
    if kind is bytes:
        return reply if decode is None else decode(reply)
    if reply is None or kind is int or kind is float:
        return reply
    if kind is str:
        text = reply.encode("utf-8", "surrogateescape")
        return text if decode is None else decode(text)
    if isinstance(reply, list | tuple):
        return [shaped(item, decode) for item in reply]
    if isinstance(reply, dict):
        return {shaped(name, decode): shaped(value, decode) for name, value in reply.items()}
    if isinstance(reply, ReplyError):
        return reply_error(reply)
    if isinstance(reply, bytes):
        return bytes(reply) if decode is None else decode(reply)
    return reply


def pack(encode: Callable[[Any], bytes], args: tuple[Any, ...]) -> list[bytes]:
    """One command as an argument vector; words in its name (``CONFIG GET``) are arguments of their own."""
    name = args[0].encode() if isinstance(args[0], str) else bytes(args[0])
    return [*name.split(), *(bytes(encode(arg)) for arg in args[1:])]


def open_for(place: Store | str | os.PathLike[str] | None, settings: dict[str, Any]) -> tuple[Store, bool]:
    """The store that `place` is or names, and whether it was opened here.

    Raises
    ------
    ConfigError
        Settings were given for a store that is open already.
    """
    if isinstance(place, Store):
        if settings:
            names = ", ".join(sorted(settings))
            raise ConfigError(f"{names}: the store is open already; give settings to aofnb.open, or use config_set")
        return place, False
    return open_store(place, **settings), True


class _Packer:
    """Makes of commands what `_Socket.sendall` takes: a batch of argument vectors."""

    def __init__(self, encode: Callable[[Any], bytes]) -> None:
        self._encode = encode

    def pack(self, *args: Any) -> list[list[list[bytes]]]:
        return [[pack(self._encode, args)]]


class _Socket:
    """A `Link` with the few methods that redis-py calls on a socket."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def sendall(self, batch: list[list[bytes]]) -> None:
        self.link.send(batch)

    def shutdown(self, _how: int) -> None:
        self.link.close()

    def close(self) -> None:
        self.link.close()

    def settimeout(self, _timeout_s: float | None) -> None:
        """Writing never waits for anybody, and for reading the parser is told."""


class _Parser(_RESP3Parser):
    """Reads from a link; what to do with pushes is inherited."""

    encoder: Any
    _link: Link | None
    _timeout_s: float | None

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size)
        self._link = None

    def on_connect(self, connection: Any) -> None:
        self._link = connection._sock.link
        self._timeout_s = connection.socket_timeout
        self.encoder = connection.encoder

    def on_disconnect(self) -> None:
        self._link = None

    def _connected(self) -> Link:
        if self._link is None:
            raise RedisConnectionError("the connection was closed")
        return self._link

    def can_read(self, timeout: float | None = 0) -> bool:
        return self._connected().wait(timeout)

    def read_response(
        self, disable_decoding: bool = False, push_request: bool = False, timeout: Any = ..., **_other: Any
    ) -> Any:
        link = self._connected()
        wait_s = timeout if timeout is None or isinstance(timeout, int | float) else self._timeout_s
        decode = None if disable_decoding or not self.encoder.decode_responses else self.encoder.decode
        while True:
            if not link.wait(wait_s):
                raise TimeoutError
            reply = link.read()
            value = shaped(reply, decode)
            if isinstance(value, RedisConnectionError):
                raise value
            if isinstance(reply, Push) and link.client.resp >= 3:
                value = self.handle_push_response(value)
                if not push_request:
                    continue
            return value


class StoreConnection(UnixDomainSocketConnection):
    """A connection of redis-py whose other end is a store in this process."""

    def __init__(self, *, store: Store, socket_timeout: float | None = None, **kwargs: Any) -> None:
        # A blocking command says itself how long it waits: no time-out unless one is asked for.
        kwargs.pop("parser_class", None)
        self._store = store
        super().__init__(path=store.path or "(memory)", socket_timeout=socket_timeout, parser_class=_Parser, **kwargs)

    def _connect(self) -> Any:
        if self._store.closed:
            raise ConnectionRefusedError("the store is closed")
        return _Socket(Link(self._store.engine))

    def _construct_command_packer(self, packer: Any) -> Any:
        return _Packer(self.encoder.encode)

    def pack_commands(self, commands: Iterable[tuple[Any, ...]]) -> Any:
        encode = self.encoder.encode
        return [[pack(encode, args) for args in commands]]


class StorePool(ConnectionPool):
    """Connections to one store; closes the store at the end if it was opened for it."""

    def __init__(self, *, store: Store, owns_store: bool = False, **kwargs: Any) -> None:
        self.store = store
        self.owns_store = owns_store
        super().__init__(connection_class=StoreConnection, store=store, **kwargs)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__}({self.store!r})>"


class Direct:
    """Data commands that never wait, run without a connection of the pool: all threads share one session.

    Parameters
    ----------
    client
        With the database, the protocol and the user that a connection of the pool has.
    connection
        Of that client. It is kept: when redis-py drops one it is closed, and its client is nobody in particular then.
    """

    def __init__(self, store: Store, client: Client, encoder: Any, connection: Any) -> None:
        self._session = Session(store.engine, client)
        self._connection = connection
        self._encoder = encoder
        self._decode: Decode | None = encoder.decode if encoder.decode_responses else None
        self._known: dict[Any, bool] = {}
        # Arguments become bytes in the engine, which knows UTF-8 alone.
        self._plain = encoder.encoding.lower() in ("utf-8", "utf8") and encoder.encoding_errors == "strict"

    def runs(self, name: Any) -> bool:
        """Whether `name` is such a command."""
        known = self._known.get(name)
        if known is None:
            command = find([name.encode()]) if isinstance(name, str) and self._plain else None
            known = command is not None and command.shortcut and "blocking" not in command.flags
            self._known[name] = known
        return known

    def execute(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """The reply as redis-py's parser would give it, before response callbacks."""
        try:
            reply = self._session.execute(*args)
        except ReplyError as problem:
            if EMPTY_RESPONSE in options:
                return options[EMPTY_RESPONSE]
            raise reply_error(problem) from None
        except _CLOSED as problem:
            raise RedisConnectionError(str(problem)) from problem
        except TypeError:
            # In redis-py's words, if it is about an argument.
            pack(self._encoder.encode, args)
            raise
        if options:
            never_decode = options.pop(NEVER_DECODE, None) is not None
            options.pop(EMPTY_RESPONSE, None)
            # For caches only.
            options.pop("keys", None)
            if never_decode:
                return shaped(reply, None)
        return shaped(reply, self._decode)


class Redis(redis.Redis):
    """`redis.Redis` on a store in this process.

    Parameters
    ----------
    place
        A directory, which is opened (and closed by `close`), an open `Store`, or None for a store without a log.
    db, username, password, decode_responses, encoding, protocol, client_name, ...
        As for `redis.Redis`; what is about hosts and sockets is refused.
    **settings
        With a directory, Redis's settings with ``_`` for ``-``, as for `aofnb.open`: ``appendfsync="always"``.

    Examples
    --------
    >>> import aofnb
    >>> with aofnb.Redis(None, decode_responses=True) as r:
    ...     r.set("greeting", "hello", ex=60), r.get("greeting"), r.pipeline().incr("n").incr("n").execute()
    (True, 'hello', [1, 2])
    """

    def __init__(
        self,
        place: Store | str | os.PathLike[str] | None = None,
        *,
        connection_pool: ConnectionPool | None = None,
        single_connection_client: bool = False,
        **options: Any,
    ) -> None:
        if connection_pool is None:
            settings, for_redis = split_settings(options)
            refuse_sockets(for_redis)
            store, owns = open_for(place, settings)
            try:
                connection_pool = StorePool(store=store, owns_store=owns, **for_redis)
                super().__init__(connection_pool=connection_pool, single_connection_client=single_connection_client)
                self.auto_close_connection_pool = True
                # Connects, and so refuses here what no connection would accept: an option, a password, a database.
                self._direct = self._make_direct()
            except BaseException:
                if owns:
                    store.close()
                raise
        else:
            # How redis-py copies a client: the pool says it all.
            super().__init__(
                connection_pool=connection_pool, single_connection_client=single_connection_client, **options
            )
            self._direct = self._make_direct()

    def _make_direct(self) -> Direct | None:
        pool: Any = self.connection_pool
        if self.connection is not None or getattr(pool, "cache", None) is not None:
            # What depends on one connection goes through it.
            return None
        # Not one of the pool's: those are handed out to one user at a time.
        connection = pool.make_connection()
        connection.connect()
        return Direct(pool.store, connection._sock.link.client, pool.get_encoder(), connection)

    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Self:
        """Refused: a URL names a server."""
        raise ConfigError(
            f"{url!r}: aofnb.Redis takes a directory; aofnb.connect(url) or redis.Redis.from_url(url) reach a server"
        )

    @property
    def store(self) -> Store:
        """The store behind it."""
        pool: Any = self.connection_pool
        store: Store = pool.store
        return store

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command; what `redis.Redis` gives for it."""
        direct = self._direct
        if direct is None or not direct.runs(args[0]):
            return super().execute_command(*args, **options)
        reply = direct.execute(args, options)
        if args[0] in self.response_callbacks:
            return self.response_callbacks[args[0]](reply, **options)
        return reply

    def close(self) -> None:
        """Close the connections, and the store if it was opened by this client."""
        super().close()
        pool = getattr(self, "connection_pool", None)
        if isinstance(pool, StorePool) and pool.owns_store and self.auto_close_connection_pool:
            pool.store.close()

    def __del__(self) -> None:
        # redis-py closes here; a store is closed when somebody says so, or at the end of the process.
        """A client that is dropped leaves the store open."""


_ABOUT_SOCKETS = ("host", "port", "unix_socket_path", "ssl")


def refuse_sockets(options: dict[str, Any]) -> None:
    """Options of redis-py that mean nothing without a socket.

    Raises
    ------
    ConfigError
        Naming the first of them.
    """
    for name in options:
        if name.startswith(_ABOUT_SOCKETS) or (name.startswith("socket_") and name != "socket_timeout"):
            raise ConfigError(f"{name}: there is no socket; to reach a server use redis.Redis")
