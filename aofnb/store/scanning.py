"""Stable cursors over a dict, which by itself offers none: a compiled `Table` does.

Redis: dict.c dictScan. That walks hash buckets, which Python does not show; here a list of the keys is taken when
a scan begins, and what it holds is checked against the dict when it is used.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

__all__ = ["ScanCursors"]


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

    def step(self, members: Collection[bytes], cursor: int, count: int) -> tuple[int, list[bytes]]:
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
