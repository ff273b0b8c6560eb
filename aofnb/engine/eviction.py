"""Which keys were used when or how often, how much memory all take, and which go when that is too much.

Made only while a setting asks for it: ``maxmemory``, or a policy that judges by use (LRU, LFU). While it is there every
command takes the long way (see `Engine.look_around`) and every change is observed, so that nobody else pays.

Memory is what `aofnb.store.memory` estimates, key by key; a key is weighed anew when it changes. Victims are found as
the server finds them, from samples and a pool of the best candidates so far, but for ``volatile-ttl``, which takes the
key that expires first. All that is too much goes at once: there is no limit in time (``maxmemory-eviction-tenacity``).

Redis: evict.c (7.0.15).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from aofnb.clock import Clock
from aofnb.config import Config
from aofnb.store.keyspace import Database, Keyspace
from aofnb.store.memory import key_bytes

__all__ = ["Eviction"]

# The index of a database, and a key.
Place = tuple[int, bytes]

_POOL = 16
# What a new key begins with, so that it is not the next to go.
_LFU_NEW = 5
_LFU_MAX = 255


class Eviction:
    """Weighs keys, remembers their use, and makes room.

    Parameters
    ----------
    evict
        Called with a database and a key that must go.

    Attributes
    ----------
    out_of_memory
        Whether the last attempt to make room failed: commands that need memory are refused.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        rng: random.Random,
        keyspace: Keyspace,
        evict: Callable[[Database, bytes], None],
    ) -> None:
        self._config, self._clock, self._random = config, clock, rng
        self._keyspace = keyspace
        self._evict = evict
        self.out_of_memory = False
        self._since_s = clock.monotonic()
        self._weights: dict[Place, int] = {}
        self._total = 0
        self._changed: set[Place] = set()
        # LRU: when last used, in monotonic seconds.
        self._used_s: dict[Place, float] = {}
        # LFU: the counter, and the minute it is of.
        self._counters: dict[Place, tuple[int, int]] = {}
        self._pool: list[tuple[float, Place]] = []
        self._pool_policy = ""
        self._weigh_all()

    @staticmethod
    def wanted(config: Config) -> bool:
        """Whether the settings ask for any of this."""
        return config.maxmemory > 0 or config.maxmemory_policy.endswith(("lru", "lfu"))

    # --- what happens to keys ----------------------------------------------------------------------------

    def changed(self, place: Place) -> None:
        """The key is another now, or gone."""
        self._changed.add(place)

    def touched(self, place: Place) -> None:
        """The key was used."""
        if self._keyspace[place[0]].peek(place[1]) is None:
            return
        if self.lfu:
            known = self._counters.get(place)
            counter = _LFU_NEW if known is None else self._increased(self._decayed(known))
            self._counters[place] = (counter, self._minute())
        else:
            self._used_s[place] = self._clock.monotonic()

    def replaced(self) -> None:
        """Whole databases were emptied or exchanged."""
        self._used_s.clear()
        self._counters.clear()
        self._weigh_all()

    # --- use ---------------------------------------------------------------------------------------------

    @property
    def lfu(self) -> bool:
        """Whether it is counted how often keys are used; else, when they were used last."""
        return self._config.maxmemory_policy.endswith("lfu")

    def idle_s(self, place: Place) -> int:
        """Seconds since the key was used, or since that is watched."""
        return int(self._clock.monotonic() - self._used_s.get(place, self._since_s))

    def frequency(self, place: Place) -> int:
        """How often the key is used, as a logarithm: 0 to 255."""
        known = self._counters.get(place)
        return _LFU_NEW if known is None else self._decayed(known)

    def set_idle(self, place: Place, seconds: int) -> None:
        """RESTORE IDLETIME."""
        self._used_s[place] = self._clock.monotonic() - seconds

    def set_frequency(self, place: Place, frequency: int) -> None:
        """RESTORE FREQ."""
        self._counters[place] = (frequency, self._minute())

    def _minute(self) -> int:
        return int(self._clock.monotonic() // 60)

    def _decayed(self, known: tuple[int, int]) -> int:
        counter, minute = known
        decay = self._config.lfu_decay_time
        return max(0, counter - (self._minute() - minute) // decay) if decay else counter

    def _increased(self, counter: int) -> int:
        above = max(0, counter - _LFU_NEW)
        grows = counter < _LFU_MAX and self._random.random() < 1 / (above * self._config.lfu_log_factor + 1)
        return counter + grows

    # --- memory ------------------------------------------------------------------------------------------

    def used_memory(self) -> int:
        """Bytes that all keys take, as estimated."""
        for place in self._changed:
            self._weigh(place)
        self._changed.clear()
        if len(self._weights) != self._keyspace.key_count():
            # Something came or went unseen, as when the data was loaded anew.
            self._weigh_all()
        return self._total

    def _weigh(self, place: Place) -> None:
        index, key = place
        db = self._keyspace[index]
        value = db.peek(key)
        self._total -= self._weights.pop(place, 0)
        if value is None:
            self._used_s.pop(place, None)
            self._counters.pop(place, None)
        else:
            self._weights[place] = weight = key_bytes(key, value, db.deadline_ms(key) is not None)
            self._total += weight

    def _weigh_all(self) -> None:
        self._changed.clear()
        self._weights = {
            (db.index, key): key_bytes(key, value, deadline_ms is not None)
            for db in self._keyspace
            for key, value, deadline_ms in db.walk()
        }
        self._total = sum(self._weights.values())

    # --- victims -----------------------------------------------------------------------------------------

    def make_room(self) -> bool:
        """Evict keys until all take no more than ``maxmemory``; False if they still do."""
        limit = self._config.maxmemory
        while limit and self.used_memory() > limit:
            victim = None if self._config.maxmemory_policy == "noeviction" else self._victim()
            if victim is None:
                self.out_of_memory = True
                return False
            index, key = victim
            self._evict(self._keyspace[index], key)
            self._changed.add(victim)
        self.out_of_memory = False
        return True

    def _victim(self) -> Place | None:
        policy = self._config.maxmemory_policy
        volatile = policy.startswith("volatile")
        databases = [db for db in self._keyspace if (db.volatile if volatile else len(db))]
        if not databases:
            return None
        if policy == "volatile-ttl":
            first = min(databases, key=lambda db: db.next_deadline_ms() or 0)
            key = first.earliest_volatile_key()
            return None if key is None else (first.index, key)
        if policy.endswith("random"):
            db = self._random.choice(databases)
            return self._any(db, volatile)
        return self._worst(policy, databases, volatile)

    def _any(self, db: Database, volatile: bool) -> Place | None:
        key = db.random_volatile_key(self._random) if volatile else db.random_key(self._random)
        return None if key is None else (db.index, key)

    def _worst(self, policy: str, databases: list[Database], volatile: bool) -> Place | None:
        """The key that was not used for longest, or is used least, of those met so far."""
        if policy != self._pool_policy:
            self._pool, self._pool_policy = [], policy
        while True:
            known = {place for _score, place in self._pool}
            for db in databases:
                for _sample in range(self._config.maxmemory_samples):
                    place = self._any(db, volatile)
                    if place is not None and place not in known:
                        known.add(place)
                        self._pool.append((self._score(place), place))
            self._pool.sort(key=lambda candidate: candidate[0])
            del self._pool[:-_POOL]
            if not self._pool:
                return None
            while self._pool:
                _score, place = self._pool.pop()
                db = self._keyspace[place[0]]
                if db.peek(place[1]) is not None and not (volatile and db.deadline_ms(place[1]) is None):
                    return place

    def _score(self, place: Place) -> float:
        if self.lfu:
            return _LFU_MAX - self.frequency(place)
        return self._clock.monotonic() - self._used_s.get(place, self._since_s)
