"""The value of a list key: a list of chunks.

Rules of this file: no chunk is empty, none is longer than ``CHUNK``, and all but the first and the last are
exactly that long. So both ends grow and shrink in constant time and an index is found without a search; a
change in the middle moves one element per chunk, towards the nearer end.

Not a deque: that takes 64 slots for one element, and has no quick index.

Redis: quicklist.c, t_list.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

__all__ = ["ListValue"]

CHUNK = 256


class ListValue:
    """A list of byte strings.

    Indexes are from 0 to ``len(value) - 1``; what negative ones mean is the command's business. ``chunks``, one
    after the other, are the elements in order, for whoever walks them without changing them.
    """

    __slots__ = ("chunks",)

    type_name = "list"
    encoding = "quicklist"

    def __init__(self, items: Iterable[bytes] = ()) -> None:
        self.chunks: list[list[bytes]] = []
        if items:
            self._rebuild(items)

    def __len__(self) -> int:
        chunks = self.chunks
        if len(chunks) <= 1:
            return len(chunks[0]) if chunks else 0
        return len(chunks[0]) + (len(chunks) - 2) * CHUNK + len(chunks[-1])

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self.chunks)

    def __reversed__(self) -> Iterator[bytes]:
        return chain.from_iterable(map(reversed, reversed(self.chunks)))

    def __getitem__(self, index: int) -> bytes:
        chunk, place = self._locate(index)
        return self.chunks[chunk][place]

    def __setitem__(self, index: int, item: bytes) -> None:
        chunk, place = self._locate(index)
        self.chunks[chunk][place] = item

    def slice(self, start: int, stop: int) -> list[bytes]:
        """The elements from `start` to before `stop`, both within the list."""
        if start >= stop:
            return []
        first, place = self._locate(start)
        last, _ = self._locate(stop - 1)
        if first == last:
            return self.chunks[first][place : place + stop - start]
        return list(islice(chain.from_iterable(self.chunks[first : last + 1]), place, place + stop - start))

    # --- at the ends -------------------------------------------------------------------------------------

    def append(self, item: bytes) -> None:
        """Add `item` as the last."""
        chunks = self.chunks
        if chunks and len(chunks[-1]) < CHUNK:
            chunks[-1].append(item)
        else:
            chunks.append([item])

    def prepend(self, item: bytes) -> None:
        """Add `item` as the first."""
        chunks = self.chunks
        if chunks and len(chunks[0]) < CHUNK:
            chunks[0].insert(0, item)
        else:
            chunks.insert(0, [item])

    def pop_first(self) -> bytes:
        """Remove the first element, which must be there, and return it."""
        chunk = self.chunks[0]
        item = chunk.pop(0)
        if not chunk:
            del self.chunks[0]
        return item

    def pop_last(self) -> bytes:
        """Remove the last element, which must be there, and return it."""
        chunk = self.chunks[-1]
        item = chunk.pop()
        if not chunk:
            del self.chunks[-1]
        return item

    def trim(self, start: int, stop: int) -> None:
        """Keep what is from `start` to before `stop`, both within the list; the rest goes."""
        chunks = self.chunks
        if start >= stop:
            chunks.clear()
            return
        last, place = self._locate(stop - 1)
        del chunks[last + 1 :]
        del chunks[last][place + 1 :]
        first, place = self._locate(start)
        del chunks[first][:place]
        del chunks[:first]

    # --- in the middle -----------------------------------------------------------------------------------

    def insert(self, index: int, item: bytes) -> None:
        """Add `item` so that it has `index`, which is at most the length."""
        if index == len(self):
            self.append(item)
            return
        chunks = self.chunks
        chunk, place = self._locate(index)
        chunks[chunk].insert(place, item)
        if len(chunks[chunk]) <= CHUNK:
            return
        if chunk < len(chunks) // 2:
            for i in range(chunk, 0, -1):
                chunks[i - 1].append(chunks[i].pop(0))
            if len(chunks[0]) > CHUNK:
                chunks.insert(0, [chunks[0].pop(0)])
        else:
            for i in range(chunk, len(chunks) - 1):
                chunks[i + 1].insert(0, chunks[i].pop())
            if len(chunks[-1]) > CHUNK:
                chunks.append([chunks[-1].pop()])

    def remove(self, item: bytes, limit: int) -> int:
        """Remove up to `limit` elements equal to `item`, the first ones; returns how many."""
        found = list(islice((i for i, known in enumerate(self) if known == item), limit))
        self._remove_at(found)
        return len(found)

    def remove_last(self, item: bytes, limit: int) -> int:
        """Remove up to `limit` elements equal to `item`, the last ones; returns how many."""
        last = len(self) - 1
        found = list(islice((last - i for i, known in enumerate(reversed(self)) if known == item), limit))
        self._remove_at(found)
        return len(found)

    def copy(self) -> ListValue:
        """An independent copy."""
        twin = ListValue()
        twin.chunks = [chunk.copy() for chunk in self.chunks]
        return twin

    # --- parts -------------------------------------------------------------------------------------------

    def _locate(self, index: int) -> tuple[int, int]:
        """Which chunk holds the element at `index`, and where in it."""
        first = len(self.chunks[0])
        if index < first:
            return 0, index
        chunk, place = divmod(index - first, CHUNK)
        return chunk + 1, place

    def _remove_at(self, indexes: list[int]) -> None:
        if len(indexes) == 1:
            self._remove_one(indexes[0])
        elif indexes:
            gone = set(indexes)
            self._rebuild([item for i, item in enumerate(self) if i not in gone])

    def _remove_one(self, index: int) -> None:
        chunks = self.chunks
        chunk, place = self._locate(index)
        del chunks[chunk][place]
        if chunk < len(chunks) // 2:
            for i in range(chunk, 0, -1):
                chunks[i].insert(0, chunks[i - 1].pop())
        elif chunk:
            for i in range(chunk, len(chunks) - 1):
                chunks[i].append(chunks[i + 1].pop(0))
        if not chunks[0]:
            del chunks[0]
        elif not chunks[-1]:
            del chunks[-1]

    def _rebuild(self, items: Iterable[bytes]) -> None:
        rest = iter(items)
        self.chunks = []
        while chunk := list(islice(rest, CHUNK)):
            self.chunks.append(chunk)

    def _check(self) -> None:
        """The promises of this class, for tests."""
        assert all(0 < len(chunk) <= CHUNK for chunk in self.chunks)
        assert all(len(chunk) == CHUNK for chunk in self.chunks[1:-1])
        assert len(self) == sum(map(len, self.chunks))
