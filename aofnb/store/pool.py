"""Equal chances for every member of a dict that changes between the draws: a compiled `Table` gives them by itself.

Redis: dict.c dictGetFairRandomKey. That looks into hash buckets, which Python does not show.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["Pool"]


class Pool:
    """A list of the keys of a dict, kept up to date by whoever changes the dict.

    Rule: the list holds each key of the dict once, and besides only the keys in ``_gone``, each once. So a draw
    that rejects what is gone gives every key the same chance.
    """

    __slots__ = ("_gone", "_keys")

    def __init__(self, members: Collection[bytes]) -> None:
        self._keys = list(members)
        self._gone: set[bytes] = set()

    def added(self, key: bytes) -> None:
        """`key`, which was not there, has been added to the dict."""
        if key in self._gone:
            self._gone.remove(key)
        else:
            self._keys.append(key)

    def removed(self, key: bytes) -> None:
        """`key`, which was there, has been removed from the dict."""
        self._gone.add(key)
        if 2 * len(self._gone) > len(self._keys):
            self._keys = [known for known in self._keys if known not in self._gone]
            self._gone.clear()

    def choose(self, rng: random.Random) -> bytes:
        """Any key of the dict, which is not empty; two tries on average at worst."""
        while True:
            key = self._keys[int(rng.random() * len(self._keys))]
            if key not in self._gone:
                return key

    def sample(self, count: int, rng: random.Random) -> list[bytes]:
        """`count` different keys in random order; the dict has at least that many."""
        left = len(self._keys) - len(self._gone)
        if 3 * count > left:
            return rng.sample([key for key in self._keys if key not in self._gone], count)
        # A dict for its order: a set's would differ from run to run with the same seed.
        drawn: dict[bytes, None] = {}
        while len(drawn) < count:
            drawn[self.choose(rng)] = None
        return list(drawn)

    def _check(self, members: Mapping[bytes, Any]) -> None:
        assert len(set(self._keys)) == len(self._keys)
        assert not self._gone & members.keys()
        assert set(self._keys) == self._gone | members.keys()
