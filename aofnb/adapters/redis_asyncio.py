"""redis-py's own `redis.asyncio.Redis` on a store in this process: the asyncio side of `redis_py`.

Commands run in the thread of the event loop, as in redis-server: an fsync that the policy demands is waited for there.
What has to wait for others (blocking commands, pub/sub) gives the loop free.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Any, Self

import redis.asyncio
from redis.asyncio.connection import ConnectionPool, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from aofnb.adapters.link import Link
from aofnb.adapters.redis_py import Direct, open_for, pack, refuse_sockets, shaped
from aofnb.config import split_settings
from aofnb.engine import Store
from aofnb.errors import ConfigError
from aofnb.resp.replies import Push

# Without a public name, and the same in all versions: the parser that dispatches pushes.
from redis._parsers.resp3 import _AsyncRESP3Parser  # isort: skip

__all__ = ["Redis", "StoreConnection", "StorePool"]


class _Stream:
    """A `Link` with the few methods that redis-py calls on a pair of streams."""

    def __init__(self, store: Store) -> None:
        loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()

        def arrived() -> None:
            # From whatever thread; one that ends with the interpreter may find the loop gone.
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._arrived.set)

        self.link = Link(store.engine, arrived)

    @property
    def _buffer(self) -> Any:
        """What arrived and was not read: redis-py asks only for its length."""
        return self.link.inbox

    def writelines(self, batches: Iterable[list[list[bytes]]]) -> None:
        for batch in batches:
            self.link.send(batch)

    async def drain(self) -> None:
        """Nothing is left to write."""

    async def wait(self) -> None:
        """Until there is something to read; raises `LinkClosedError` if nothing will come.

        Who waits in vain is told so by the store's own thread.
        """
        while not self.link.wait(0):
            self._arrived.clear()
            if not self.link.wait(0):
                await self._arrived.wait()

    def close(self) -> None:
        self.link.close()

    async def wait_closed(self) -> None:
        """It is."""


class _Parser(_AsyncRESP3Parser):
    """Reads from a link; what to do with pushes is inherited."""

    encoder: Any
    _stream: Any

    def on_connect(self, connection: Any) -> None:
        self._stream = connection._reader
        self.encoder = connection.encoder
        self._connected = True

    def on_disconnect(self) -> None:
        self._stream = None
        self._connected = False

    def _streaming(self) -> _Stream:
        stream: _Stream | None = self._stream
        if stream is None:
            raise RedisConnectionError("the connection was closed")
        return stream

    async def can_read(self) -> bool:
        return self._streaming().link.wait(0)

    can_read_destructive = can_read

    async def read_response(self, disable_decoding: bool = False, push_request: bool = False, **_other: Any) -> Any:
        stream = self._streaming()
        decode = None if disable_decoding or not self.encoder.decode_responses else self.encoder.decode
        while True:
            await stream.wait()
            reply = stream.link.read()
            value = shaped(reply, decode)
            if isinstance(value, RedisConnectionError):
                raise value
            if isinstance(reply, Push) and stream.link.client.resp >= 3:
                value = await self.handle_push_response(value)
                if not push_request:
                    continue
            return value


class StoreConnection(UnixDomainSocketConnection):
    """A connection of redis-py whose other end is a store in this process."""

    _reader: Any
    _writer: Any

    def __init__(self, *, store: Store, socket_timeout: float | None = None, **kwargs: Any) -> None:
        kwargs.pop("parser_class", None)
        self._store = store
        super().__init__(path=store.path or "(memory)", socket_timeout=socket_timeout, parser_class=_Parser, **kwargs)

    async def _connect(self) -> None:
        if self._store.closed:
            raise ConnectionRefusedError("the store is closed")
        self._reader = self._writer = _Stream(self._store)

    def pack_command(self, *args: Any) -> Any:
        return [[pack(self.encoder.encode, args)]]

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> Any:
        encode = self.encoder.encode
        return [[pack(encode, tuple(args)) for args in commands]]

    def __del__(self, *_ignored: Any) -> None:
        """There is nothing to close: the link is forgotten with the connection."""


class StorePool(ConnectionPool):
    """Connections to one store; `Redis.aclose` closes the store if it was opened for it."""

    def __init__(self, *, store: Store, owns_store: bool = False, **kwargs: Any) -> None:
        self.store = store
        self.owns_store = owns_store
        super().__init__(connection_class=StoreConnection, store=store, **kwargs)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__}({self.store!r})>"


class Redis(redis.asyncio.Redis):
    """`redis.asyncio.Redis` on a store in this process; parameters as for `aofnb.Redis`.

    Examples
    --------
    >>> import asyncio, aofnb.asyncio
    >>> async def main():
    ...     async with aofnb.asyncio.Redis(None, decode_responses=True) as r:
    ...         await r.set("greeting", "hello")
    ...         return await r.get("greeting")
    >>> asyncio.run(main())
    'hello'
    """

    def __init__(
        self,
        place: Store | str | os.PathLike[str] | None = None,
        *,
        connection_pool: ConnectionPool | None = None,
        single_connection_client: bool = False,
        **options: Any,
    ) -> None:
        self._direct: Direct | None = None
        if connection_pool is not None:
            super().__init__(
                connection_pool=connection_pool, single_connection_client=single_connection_client, **options
            )
            return
        settings, for_redis = split_settings(options)
        refuse_sockets(for_redis)
        store, owns = open_for(place, settings)
        try:
            pool = StorePool(store=store, owns_store=owns, **for_redis)
            # Refuses here the options that no connection would take.
            pool.make_connection()
            super().__init__(connection_pool=pool, single_connection_client=single_connection_client)
            self.auto_close_connection_pool = True
        except BaseException:
            if owns:
                store.close()
            raise

    @classmethod
    def from_url(cls, url: str, *_args: Any, **_kwargs: Any) -> Self:
        """Refused: a URL names a server."""
        raise ConfigError(
            f"{url!r}: aofnb.asyncio.Redis takes a directory; redis.asyncio.Redis.from_url(url) reaches a server"
        )

    @property
    def store(self) -> Store:
        """The store behind it."""
        pool: Any = self.connection_pool
        store: Store = pool.store
        return store

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command; what `redis.asyncio.Redis` gives for it."""
        direct = self._direct
        if direct is None and not self.single_connection_client:
            direct = await self._make_direct()
        if direct is None or not direct.runs(args[0]):
            return await super().execute_command(*args, **options)
        reply = direct.execute(args, options)
        if args[0] in self.response_callbacks:
            reply = self.response_callbacks[args[0]](reply, **options)
            return await reply if asyncio.iscoroutine(reply) else reply
        return reply

    async def _make_direct(self) -> Direct:
        # Not one of the pool's: those are handed out to one user at a time.
        pool: Any = self.connection_pool
        connection = pool.make_connection()
        await connection.connect()
        self._direct = Direct(pool.store, connection._reader.link.client, pool.get_encoder(), connection)
        return self._direct

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close the connections, and the store if it was opened by this client."""
        await super().aclose(close_connection_pool)
        pool = self.connection_pool
        if isinstance(pool, StorePool) and pool.owns_store and self.auto_close_connection_pool:
            pool.store.close()
