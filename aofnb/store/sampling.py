"""Random members and stable cursors over a dict, which by itself offers neither.

Redis: dict.c dictGetRandomKey, dictScan. Those walk hash buckets, which Python does not show; here a list of
the keys is taken now and then instead, and what it holds is checked against the dict when it is used.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

__all__ = ["Sampler", "ScanCursors"]


class Sampler:
    """Picks members of a dict at random, in constant time on average.

    Keys deleted since the list was taken are drawn and rejected; keys added since are drawn once the list
    is taken anew, which happens when it no longer has the size of the dict within an eighth.
    """

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: list[bytes] = []

    def choose(self, members: Mapping[bytes, Any], rng: random.Random) -> bytes | None:
        """One key of `members`, or None where it is empty."""
        if not members:
            return None
        misses = 0
        while True:
            if abs(len(self._keys) - len(members)) * 8 > len(members) or misses > 16:
                self._keys = list(members)
                misses = 0
            key = self._keys[int(rng.random() * len(self._keys))] if self._keys else None
            if key is not None and key in members:
                return key
            misses += 1


class ScanCursors:
    """SCAN over dicts: a cursor stands for a list of keys taken when the scan began, and a place in it.

    So each key that stays is given exactly once. At most `limit` unfinished scans are remembered; one that
    was forgotten, or comes from before a restart, starts again, which SCAN's promise allows (keys may repeat,
    none is missed).
    """

    __slots__ = ("_last_id", "_scans", "limit")

    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self._last_id = 0
        self._scans: OrderedDict[int, list[bytes]] = OrderedDict()

    def step(self, members: Mapping[bytes, Any], cursor: int, count: int) -> tuple[int, list[bytes]]:
        """The next cursor (0 at the end) and up to `count` keys that are still in `members`."""
        scan_id, place = cursor >> 40, cursor & ((1 << 40) - 1)
        keys = self._scans.get(scan_id)
        if keys is None:
            keys, place = list(members), 0
            if len(keys) > count:
                scan_id = self._last_id = self._last_id + 1
                self._scans[scan_id] = keys
                if len(self._scans) > self.limit:
                    self._scans.popitem(last=False)
        end = place + count
        found = [key for key in keys[place:end] if key in members]
        if end >= len(keys):
            self._scans.pop(scan_id, None)
            return 0, found
        self._scans.move_to_end(scan_id)
        return scan_id << 40 | end, found
