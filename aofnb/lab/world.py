"""A machine for tests that pull the plug: stores on a simulated disk, killed or cut off, and opened again.

What a pytest fixture hands out (`aofnb.pytest_plugin`), and what can be used without pytest::

    world = World()
    r = world.redis(appendfsync="always")       # a redis.Redis on a store, on a disk in memory
    r.set("k", "v")
    r = world.cut_power()                       # what a start after the power cut finds
    assert r.get("k") == b"v"

Rules of this file: a crash leaves what `aofnb.lab.disk` says it may leave; what is opened afterwards is opened by the
real loader; handles from before the crash are of a process that is no more, and say so.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from aofnb.clock import SystemClock
from aofnb.config import split_settings
from aofnb.engine.store import Store, open_store
from aofnb.errors import ConfigError
from aofnb.lab.disk import Crash, DiskImage, SimFs

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["World"]

_GONE = "the process of this store was killed by the test; go on with what kill() or cut_power() returned"


class _Clock(SystemClock):
    """The machine's time, which the test may push on."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_ms(self) -> int:
        return super().now_ms() + round(self.ahead_s * 1000)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class World:
    """One machine with a disk in memory, and at most one store running on it at a time.

    Parameters
    ----------
    seed
        Chooses among the states a crash may leave, where there are more than can be looked at.

    Attributes
    ----------
    fs
        The disk; a crash puts another one in its place.
    store
        What runs now, or None.
    """

    def __init__(self, seed: int = 0) -> None:
        self.fs = SimFs()
        self.store: Store | None = None
        self._clock = _Clock()
        self._random = random.Random(seed)
        # How it was opened, to be opened so again.
        self._settings: dict[str, Any] = {}
        self._client_options: dict[str, Any] | None = None

    # --- open ---------------------------------------------------------------------------------------------

    def open(self, **settings: Any) -> Store:
        """A store on the disk, with what is there; settings as for `aofnb.open`.

        It has no thread: a rewrite is done in place, and time passes by itself and by `advance`.
        """
        self._client_options = None
        return self._start(settings)

    def redis(self, **options: Any) -> Redis:
        """A client of redis-py on such a store; options as for `aofnb.Redis`, settings among them. Needs redis-py."""
        settings, self._client_options = split_settings(options)
        return self._client(self._start(settings))

    def _start(self, settings: dict[str, Any]) -> Store:
        if self.store is not None and not self.store.closed:
            raise ConfigError("a store is running in this world already: close it, kill it, or use another World")
        self._settings = settings
        self.store = self._opened(self.fs)
        return self.store

    def _opened(self, fs: SimFs) -> Store:
        return open_store(_DIRECTORY, fs=fs, clock=self._clock, background=False, progress=False, **self._settings)

    def _client(self, store: Store) -> Redis:
        client: Redis = store.redis(**(self._client_options or {}))
        return client

    def advance(self, seconds: float) -> None:
        """Let so much time pass at once: keys expire, an fsync of everysec that is due is done."""
        self._clock.ahead_s += seconds
        if self.store is not None and not self.store.closed:
            self.store.tick()

    # --- crash --------------------------------------------------------------------------------------------

    def kill(self) -> Any:
        """Kill the process (``kill -9``) and start again; what `open` or `redis` gave, opened anew.

        What was written is there, synced or not; what was only in memory is gone.
        """
        return self._restart(self.fs.killed())

    def cut_power(self) -> Any:
        """Cut the power at its worst and start again: nothing that was not synced is left.

        See `each_crash` for everything else that a power cut may leave.
        """
        [worst, *_] = self.fs.crash_states("power", limit=4, rng=self._random)
        return self._restart(worst.mount())

    def each_crash(self, act: Callable[[Any], object], kind: Crash = "power", *, limit: int = 20) -> Iterator[Any]:
        """Run `act` on what was opened, and give what a start finds after a crash at every operation on the disk.

        Parameters
        ----------
        act
            Called once, with what `open` or `redis` gave last, opened anew.
        kind
            ``kill`` or ``power``.
        limit
            States looked at for each operation: some of those possible, drawn by the seed, if there are more.

        Yields
        ------
        Store or redis.Redis
            For each state, the first of before `act` began. Closed when the next one is asked for.
        """
        images: dict[DiskImage, None] = {}

        def note(*_operation: str) -> None:
            for image in self.fs.crash_states(kind, limit=limit, rng=self._random):
                # A reader refuses zeros where the size of a file arrived before its data: told, never wrong.
                if not image.zeroed:
                    images[image] = None

        handle = self._restart(self.fs.killed())
        note()
        self.fs.observer = note
        try:
            act(handle)
        finally:
            self.fs.observer = None
        self._end()
        for image in images:
            yield self._restart(image.mount())

    def _restart(self, fs: SimFs) -> Any:
        if self.store is None:
            raise ConfigError("nothing runs in this world yet: begin with open() or redis()")
        self._end()
        self.fs = fs
        self.store = self._opened(fs)
        return self.store if self._client_options is None else self._client(self.store)

    def _end(self) -> None:
        """The process is no more: what still has the old store is told so, and its disk is nobody's."""
        if self.store is not None and not self.store.closed:
            with self.store.engine.lock:
                self.store.engine.close(_GONE)
            self.store.close()

    def close(self) -> None:
        """End what runs. The disk is gone with the world."""
        if self.store is not None:
            self.store.close()


_DIRECTORY = os.path.abspath(os.path.join(os.sep, "world", "data"))
