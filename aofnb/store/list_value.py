"""The value of a list key: a list of chunks, or, while it is short and was only added to, one string of bytes.

Packed (`aofnb.store._packed_cy`) it takes less than half of the memory; the first change but for one more element at
an end makes chunks of it for good. Rules of the chunks: none is empty, none is longer than ``CHUNK``, and
all but the first and the last are exactly that long. So both ends grow and shrink in constant time and an index is
found without a search; a change in the middle moves one element per chunk, towards the nearer end.

Not a deque: that takes 64 slots for one element, and has no quick index.

Redis: quicklist.c, t_list.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from aofnb.store import _packed_cy as packed

__all__ = ["ListValue"]

CHUNK = 256
# Where the kernel is not compiled nothing is packed: that would save memory at several times the time.
PACKS: bool = packed.PACKS


class ListValue:
    """A list of byte strings.

    Indexes are from 0 to ``len(value) - 1``; what negative ones mean is the command's business.
    """

    __slots__ = ("_data",)

    type_name = "list"
    encoding = "quicklist"

    def __init__(self, items: Iterable[bytes] = ()) -> None:
        # Packed, or the chunks.
        self._data: bytes | list[list[bytes]] = packed.EMPTY if PACKS else []
        if items:
            items = list(items)
            made = packed.pack_texts(items) if PACKS else None
            if made is None:
                self._rebuild(items)
            else:
                self._data = made

    @property
    def chunks(self) -> list[list[bytes]]:
        """The elements in order, in pieces, for whoever walks them without changing them."""
        data = self._data
        if isinstance(data, bytes):
            return [packed.texts(data)] if data[0] else []
        return data

    @property
    def packed_bytes(self) -> int | None:
        """How many bytes the elements take in one piece; None where they are chunks."""
        return len(self._data) if isinstance(self._data, bytes) else None

    def __len__(self) -> int:
        chunks = self._data
        if isinstance(chunks, bytes):
            return chunks[0]
        if len(chunks) <= 1:
            return len(chunks[0]) if chunks else 0
        return len(chunks[0]) + (len(chunks) - 2) * CHUNK + len(chunks[-1])

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self.chunks)

    def __reversed__(self) -> Iterator[bytes]:
        return chain.from_iterable(map(reversed, reversed(self.chunks)))

    def __getitem__(self, index: int) -> bytes:
        chunks = self.chunks
        chunk, place = _locate(chunks, index)
        return chunks[chunk][place]

    def __setitem__(self, index: int, item: bytes) -> None:
        chunks = self._unpack()
        chunk, place = _locate(chunks, index)
        chunks[chunk][place] = item

    def slice(self, start: int, stop: int) -> list[bytes]:
        """The elements from `start` to before `stop`, both within the list."""
        if start >= stop:
            return []
        chunks = self.chunks
        first, place = _locate(chunks, start)
        last, _ = _locate(chunks, stop - 1)
        if first == last:
            return chunks[first][place : place + stop - start]
        return list(islice(chain.from_iterable(chunks[first : last + 1]), place, place + stop - start))

    # --- at the ends -------------------------------------------------------------------------------------

    def append(self, item: bytes) -> None:
        """Add `item` as the last."""
        data = self._data
        if isinstance(data, bytes):
            made = packed.add(data, item, False)
            if made is not None:
                self._data = made
                return
        chunks = self._unpack()
        if chunks and len(chunks[-1]) < CHUNK:
            chunks[-1].append(item)
        else:
            chunks.append([item])

    def prepend(self, item: bytes) -> None:
        """Add `item` as the first."""
        data = self._data
        if isinstance(data, bytes):
            made = packed.add(data, item, True)
            if made is not None:
                self._data = made
                return
        chunks = self._unpack()
        if chunks and len(chunks[0]) < CHUNK:
            chunks[0].insert(0, item)
        else:
            chunks.insert(0, [item])

    def pop_first(self) -> bytes:
        """Remove the first element, which must be there, and return it."""
        chunks = self._unpack()
        item = chunks[0].pop(0)
        if not chunks[0]:
            del chunks[0]
        return item

    def pop_last(self) -> bytes:
        """Remove the last element, which must be there, and return it."""
        chunks = self._unpack()
        item = chunks[-1].pop()
        if not chunks[-1]:
            del chunks[-1]
        return item

    def trim(self, start: int, stop: int) -> None:
        """Keep what is from `start` to before `stop`, both within the list; the rest goes."""
        chunks = self._unpack()
        if start >= stop:
            chunks.clear()
            return
        last, place = _locate(chunks, stop - 1)
        del chunks[last + 1 :]
        del chunks[last][place + 1 :]
        first, place = _locate(chunks, start)
        del chunks[first][:place]
        del chunks[:first]

    # --- in the middle -----------------------------------------------------------------------------------

    def insert(self, index: int, item: bytes) -> None:
        """Add `item` so that it has `index`, which is at most the length."""
        if index == len(self):
            self.append(item)
            return
        chunks = self._unpack()
        chunk, place = _locate(chunks, index)
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
        data = self._data
        twin._data = data if isinstance(data, bytes) else [chunk.copy() for chunk in data]
        return twin

    # --- parts -------------------------------------------------------------------------------------------

    def _unpack(self) -> list[list[bytes]]:
        """The chunks, made now if there are none, to be changed."""
        if isinstance(self._data, bytes):
            self._data = self.chunks
        return self._data

    def _remove_at(self, indexes: list[int]) -> None:
        if len(indexes) == 1:
            self._remove_one(indexes[0])
        elif indexes:
            gone = set(indexes)
            self._rebuild([item for i, item in enumerate(self) if i not in gone])

    def _remove_one(self, index: int) -> None:
        chunks = self._unpack()
        chunk, place = _locate(chunks, index)
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
        chunks = []
        while chunk := list(islice(rest, CHUNK)):
            chunks.append(chunk)
        self._data = chunks

    def _check(self) -> None:
        """The promises of this class, for tests."""
        if isinstance(self._data, bytes):
            assert len(self) == len(list(self))
            return
        assert all(0 < len(chunk) <= CHUNK for chunk in self.chunks)
        assert all(len(chunk) == CHUNK for chunk in self.chunks[1:-1])
        assert len(self) == sum(map(len, self.chunks))


def _locate(chunks: list[list[bytes]], index: int) -> tuple[int, int]:
    """Which chunk holds the element at `index`, and where in it."""
    first = len(chunks[0])
    if index < first:
        return 0, index
    chunk, place = divmod(index - first, CHUNK)
    return chunk + 1, place
