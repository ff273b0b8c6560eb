# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: keys of a snapshot as the commands that make them, in the bytes that a log would have.

It takes whole records that are as they should be, and stops in front of any other: `rdb.reader` goes on there, and has
the words for what is wrong. The commands are those of `store.snapshot.commands_of_key`, their order and batches
included. Of each record everything is read before anything is written, so a table may end inside a key, and what is
damaged leaves no rows.

Redis: rdb.c rdbLoadObject; aof.c rewriteAppendOnlyFileRio (7.0.15).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

from aofnb.errors import RdbError
from aofnb.rdb import opcodes
from aofnb.rdb._records_cy import strings
from aofnb.rdb.decode import score_of
from aofnb.rdb.listpack import decode_intset, decode_listpack, whole_number
from aofnb.store.snapshot import BATCH

if not cython.compiled:
    from aofnb.rdb._strings import CUT, ODD, double_at, length_at, number_at, string_end, text_begin, width_of

    # What follows a key: a string; what is counted: strings, strings of a set, pairs, strings with a double each, nodes
    # of a list; a blob that is one string: numbers, elements of a set, pairs, pairs that end with a score.
    STRING, LIST, SET, HASH, ZSET, NODES, NUMBERS, SET_PACKED, HASH_PACKED, ZSET_PACKED = range(1, 11)
    # What a line takes that is a kind and a number, and with it what stands behind an argument.
    _LINE = 24
    # Slots for strings that were met, in the beginning.
    _SLOTS = 64

COMPILED = cython.compiled

_SHAPES = {
    opcodes.STRING: STRING,
    opcodes.LIST: LIST,
    opcodes.SET: SET,
    opcodes.HASH: HASH,
    opcodes.ZSET_2: ZSET,
    opcodes.LIST_QUICKLIST_2: NODES,
    opcodes.SET_INTSET: NUMBERS,
    opcodes.SET_LISTPACK: SET_PACKED,
    opcodes.HASH_LISTPACK: HASH_PACKED,
    opcodes.ZSET_LISTPACK: ZSET_PACKED,
}
# By shape: the command, and how many arguments of it come behind the key.
_VERBS = [b"", b"SET", b"RPUSH", b"SADD", b"HMSET", b"ZADD", b"RPUSH", b"SADD", b"SADD", b"HMSET", b"ZADD"]
_BATCHES = [0, 1, BATCH, BATCH, 2 * BATCH, 2 * BATCH, BATCH, BATCH, BATCH, 2 * BATCH, 2 * BATCH]

# Numbers from there on are left to Python.
_FAR: cython.longlong = 10**18
# Larger collections come as values: of the many places that are kept here each takes more than a string of no bytes.
_MOST: cython.Py_ssize_t = 1 << 22
# Doubles that are whole numbers are written as such up to there.
_WHOLE: cython.double = 1e17


class KeyRows:
    """A table of rows in the making: their text, and the place and size of the key that each is of.

    Parameters
    ----------
    version
        That of the snapshot's format: some types are not in all.
    most_rows, most_bytes
        The table is full with so many rows, or bytes of arguments.
    intset_entries, zset_entries, zset_bytes
        Settings that decide on the order of members: sets of numbers up to that size are in the order of the numbers,
        sorted sets up to that size, with members up to that long, in that of the scores.

    Attributes
    ----------
    end
        Where the key ends that was taken last.
    """

    def __init__(
        self,
        version: int,
        most_rows: int,
        most_bytes: int,
        intset_entries: int,
        zset_entries: int,
        zset_bytes: int,
    ) -> None:
        self._shapes = bytes(
            _SHAPES.get(kind, 0) if opcodes.FIRST_VERSIONS.get(kind, 0) <= version else 0 for kind in range(32)
        )
        self._most_rows, self._most_bytes = most_rows, most_bytes
        self._intset_entries, self._zset_entries, self._zset_bytes = intset_entries, zset_entries, zset_bytes
        self.end = 0
        # The table: its text is _text[:_size].
        self._text = bytearray(1 << 16)
        self._places = _zeros(1 << 12)
        self._rows = self._size = self._bytes = 0
        # The key that is being written, as arguments one behind the other in _items[:_filled]: the key itself, its
        # elements, its deadline. `_ends` has where each ends there, `_sums` how many bytes they are up to each.
        self._items = bytearray(1 << 12)
        self._other = bytearray(0)
        self._digits = bytearray(_LINE)
        self._ends, self._sums = _zeros(256), _zeros(256)
        self._filled = self._count = self._elements = self._next = self._batch = 0
        self._verb = b""
        self._offset = self._nbytes = self._when = 0
        self._expires = False
        # Of a set or sorted set that has to be in order.
        self._order = _zeros(max(intset_entries, zset_entries))
        self._numbers = _zeros(intset_entries)
        self._scores = array("d", bytes(8 * zset_entries))
        # Hashes of the strings that must not come twice, in `_slots` slots, 0 where there is none.
        self._seen = _zeros(_SLOTS)
        self._slots = self._known = 0

    @property
    def is_full(self) -> bool:
        """Whether the table should be taken away."""
        return self._is_full()

    def __len__(self) -> int:
        return self._rows

    def take_table(self) -> tuple[bytes, memoryview]:
        """The text of the rows so far; and for each, one behind the other, the place and size of its key. From now on
        there are none.
        """
        made = bytes(memoryview(self._text)[: self._size]), memoryview(self._places)[: 2 * self._rows]
        self._places = _zeros(2 * max(self._rows, 1))
        self._rows = self._size = self._bytes = 0
        return made

    def add(self, offset: int, nbytes: int, end: int, argv: Sequence[bytes]) -> None:
        """Add a row, of the key that is so large at `offset`, or of none; the last key ends at `end`."""
        arg: bytes
        self._begin()
        for arg in argv:
            self._item(arg, 0, len(arg))
        self._offset, self._nbytes, self.end = offset, nbytes, end
        self._room(_LINE + self._filled)
        self._size = _line(self._text, self._size, 42, self._count)
        _copy(self._text, self._size, self._items, 0, self._filled)
        self._size += self._filled
        self._row(self._sums[self._count - 1])
        self._begin()

    def take(self, data: bytes, at: cython.Py_ssize_t, base: cython.Py_ssize_t) -> tuple[int, bool]:
        """Take the keys of the records from data[at] on, which is at `base` + `at` of the snapshot, until the table is
        full; where the first record is that was not taken, and whether the data ends there, or inside of it.

        When the table is full, commands of the last key may be missing: they are in the next one.
        """
        p: cython.p_const_uchar = data
        size: cython.Py_ssize_t = len(data)
        begin: cython.Py_ssize_t
        offset: cython.Py_ssize_t
        shape: cython.int
        if not self._write():
            return at, False
        try:
            while at < size:
                begin = at
                offset = self._behind_attributes(p, begin, size)
                if offset < 0 or offset >= size:
                    return begin, offset != ODD
                shape = self._shapes[p[offset]] if p[offset] < 32 else 0
                if shape == 0:
                    return begin, False
                at = string_end(p, offset + 1, size)
                if at < 0:
                    return begin, at == CUT
                self._begin()
                self._string(data, offset + 1, at)
                at = self._collect(data, at, size, shape)
                if at < 0:
                    self._begin()
                    return begin, at == CUT
                self._elements = self._count
                if self._expires:
                    self._number(self._when)
                self._verb, self._batch = _VERBS[shape], _BATCHES[shape]
                self._offset, self._nbytes, self.end = base + offset, at - offset, base + at
                if not self._write():
                    return at, False
        except RdbError:
            self._begin()
            return begin, False
        return at, True

    # --- reading ---------------------------------------------------------------------------------------------------

    def _begin(self):
        """Forget the key that was being written."""
        self._filled = self._count = self._elements = 0
        self._next = 1
        return 0

    def _behind_attributes(self, p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t):
        """Where the attributes end that begin at p[at]; notes the deadline."""
        code: cython.int
        width: cython.Py_ssize_t
        self._expires = False
        while at < size and 0xF8 <= p[at] <= 0xFD:
            code = p[at]
            if code == 0xFA or code == 0xFB:
                return ODD
            if code == 0xF8:
                # A length, which any number may be.
                if at + 1 >= size:
                    return CUT
                if p[at + 1] > 0x81:
                    return ODD
                width = 1 if p[at + 1] < 0x40 else 2 if p[at + 1] < 0x80 else 5 if p[at + 1] == 0x80 else 9
            else:
                width = 1 if code == 0xF9 else 4 if code == 0xFD else 8
            if at + width >= size:
                return CUT
            if code >= 0xFC:
                self._when = number_at(p, at, at + 1 + width)
                self._expires = code == 0xFD or self._when != -1
                if code == 0xFD:
                    self._when *= 1000
            at += 1 + width
        return at

    def _collect(self, data: bytes, at: cython.Py_ssize_t, size: cython.Py_ssize_t, shape: cython.int):
        """Read the value at data[at]; where it ends."""
        p: cython.p_const_uchar = data
        end: cython.Py_ssize_t
        if LIST <= shape <= ZSET:
            return self._strings(data, at, size, shape)
        if shape == NODES:
            return self._nodes(data, at, size)
        end = string_end(p, at, size)
        if end < 0:
            return end
        if shape == STRING:
            self._string(data, at, end)
            return end
        found: list[bytes] = []
        if strings(data, at, 1, found) != end or not self._packed(found[0], shape):
            return ODD
        return end

    def _strings(self, data: bytes, at: cython.Py_ssize_t, size: cython.Py_ssize_t, shape: cython.int):
        """Read the strings that are counted at data[at], of a sorted set with their scores; where they end."""
        p: cython.p_const_uchar = data
        end: cython.Py_ssize_t
        behind: cython.Py_ssize_t
        i: cython.Py_ssize_t
        longest: cython.Py_ssize_t = 0
        score: cython.double
        count: cython.Py_ssize_t = length_at(p, at, size)
        if count <= 0:
            # Of nothing there is no key.
            return count if count < 0 else ODD
        at += width_of(count)
        if count > _MOST:
            return ODD
        if count > size - at:
            return CUT
        # Whether all are numbers, and few.
        whole: cython.bint = shape == SET and count <= self._intset_entries
        few: cython.bint = count <= self._zset_entries
        if shape == HASH:
            count *= 2
        self._slots = self._known = 0
        for i in range(count):
            behind = end = string_end(p, at, size)
            if end < 0:
                return end
            if shape == ZSET:
                behind = end + 8
                if behind > size:
                    return CUT
                score = double_at(p, end)
                if score != score:
                    return ODD
                if few:
                    self._scores[i] = score
                # The command has the score in front of its member.
                self._score(score)
            self._string(data, at, end)
            longest = max(longest, self._sums[self._count - 1] - self._sums[self._count - 2])
            if shape != LIST and (shape != HASH or i % 2 == 0) and self._is_again():
                return ODD
            if whole:
                if 0xC0 <= p[at] < 0xC3:
                    self._numbers[i] = number_at(p, at, end)
                else:
                    whole = self._is_whole(i)
            at = behind
        if whole:
            self._sort(1)
        elif shape == ZSET and few and longest <= self._zset_bytes:
            self._sort(2)
        return at

    def _nodes(self, data: bytes, at: cython.Py_ssize_t, size: cython.Py_ssize_t):
        """Read the nodes of a list that are counted at data[at]; where they end."""
        p: cython.p_const_uchar = data
        end: cython.Py_ssize_t
        kind: cython.int
        count: cython.Py_ssize_t = length_at(p, at, size)
        if count < 0:
            return count
        at += width_of(count)
        while count > 0:
            if at >= size:
                return CUT
            kind = p[at]
            end = string_end(p, at + 1, size)
            if end < 0:
                return end
            if kind == 1:
                self._string(data, at + 1, end)
            elif kind == 2:
                found: list[bytes] = []
                if strings(data, at + 1, 1, found) != end:
                    return ODD
                self._packed(found[0], LIST)
            else:
                return ODD
            if self._count > _MOST:
                return ODD
            at = end
            count -= 1
        return at if self._count > 1 else ODD

    def _packed(self, blob: bytes, shape: cython.int):
        """Read the elements that are packed in a blob; 0 if it is none of that shape, or odd."""
        items: Sequence[bytes | int] = decode_intset(blob) if shape == NUMBERS else decode_listpack(blob)
        pairs: cython.bint = shape in (HASH_PACKED, ZSET_PACKED)
        i: cython.Py_ssize_t
        count: cython.Py_ssize_t = len(items)
        if (pairs and count % 2) or (count == 0 and shape != LIST):
            return 0
        whole: cython.bint = shape == SET_PACKED and count <= self._intset_entries
        few: cython.bint = count <= 2 * self._zset_entries
        self._slots = self._known = 0
        for i in range(count):
            if shape == ZSET_PACKED:
                if i % 2:
                    continue
                item = items[i + 1]
                score = float(item) if type(item) is int else score_of(item)
                if score is None:
                    return 0
                if few:
                    self._scores[i // 2] = score
                self._score(score)
            self._packed_item(items[i])
            if shape != LIST and shape != NUMBERS and (not pairs or i % 2 == 0) and self._is_again():
                return 0
            if whole:
                whole = self._is_whole(i)
        if whole:
            self._sort(1)
        elif shape == ZSET_PACKED and few:
            self._sort(2)
        return 1

    def _packed_item(self, item: bytes | int):
        """Add an element as it was packed."""
        text: bytes
        if type(item) is int:
            self._number(item)
        else:
            text = item
            self._item(text, 0, len(text))
        return 0

    # --- elements --------------------------------------------------------------------------------------------------

    def _string(self, data: bytes, at: cython.Py_ssize_t, end: cython.Py_ssize_t):
        """Add the string in data[at:end]."""
        p: cython.p_const_uchar = data
        begin: cython.Py_ssize_t
        text: bytes
        if p[at] < 0xC0:
            begin = text_begin(p, at)
            self._item(p, begin, end - begin)
        elif p[at] < 0xC3:
            self._number(number_at(p, at, end))
        else:
            found: list[bytes] = []
            if strings(data, at, 1, found) != end:
                raise RdbError("it cannot be unpacked")
            text = found[0]
            self._item(text, 0, len(text))
        return 0

    def _number(self, number: cython.longlong):
        """Add the digits of `number`."""
        digits: cython.p_uchar = self._digits
        text: bytes
        if -_FAR < number < _FAR:
            self._item(digits, 1, _line(digits, 0, 36, number) - 3)
        else:
            text = b"%d" % number
            self._item(text, 0, len(text))
        return 0

    def _score(self, score: cython.double):
        """Add what a score is written as."""
        text: bytes
        if -_WHOLE < score < _WHOLE and score == int(score):
            self._number(int(score))
        else:
            text = b"%.17g" % score
            self._item(text, 0, len(text))
        return 0

    def _item(self, p: cython.p_const_uchar, begin: cython.Py_ssize_t, size: cython.Py_ssize_t):
        """Add what is in p[begin:] with that size."""
        count: cython.Py_ssize_t = self._count
        at: cython.Py_ssize_t = self._filled
        q: cython.p_uchar
        if at + size + _LINE > len(self._items):
            _extend(self._items, at + size + _LINE)
        if count == len(self._ends):
            self._ends, self._sums = _longer(self._ends), _longer(self._sums)
        q = self._items
        at = _line(q, at, 36, size)
        _copy(q, at, p, begin, size)
        at += size
        q[at] = 13
        q[at + 1] = 10
        self._filled = self._ends[count] = at + 2
        self._sums[count] = size + (self._sums[count - 1] if count else 0)
        self._count = count + 1
        return 0

    def _is_whole(self, place: cython.Py_ssize_t):
        """Note the number that the last item spells as that of the element at `place`; whether it spells one."""
        q: cython.p_uchar = self._items
        end: cython.Py_ssize_t = self._filled - 2
        begin: cython.Py_ssize_t = end - (self._sums[self._count - 1] - self._sums[self._count - 2])
        # Most that are none are known by their first byte.
        if begin == end or q[begin] > 57 or q[begin] < 45:
            return False
        number = whole_number(bytes(self._items[begin:end]))
        if number is None:
            return False
        self._numbers[place] = number
        return True

    def _is_again(self):
        """Whether the last item may have been met before in this key; from now on it has."""
        q: cython.p_uchar = self._items
        end: cython.Py_ssize_t = self._filled - 2
        begin: cython.Py_ssize_t = end - (self._sums[self._count - 1] - self._sums[self._count - 2])
        hashed: cython.longlong
        slot: cython.Py_ssize_t
        if 2 * self._known >= self._slots:
            self._more_slots()
        if cython.compiled:
            hashed = aofnb_hash(q + begin, end - begin)
        else:
            hashed = hash(bytes(q[begin:end]))
        if hashed == 0:
            hashed = 1
        slot = hashed & (self._slots - 1)
        while self._seen[slot]:
            if self._seen[slot] == hashed:
                return True
            slot = (slot + 1) & (self._slots - 1)
        self._seen[slot] = hashed
        self._known += 1
        return False

    def _more_slots(self):
        """Have twice as many, or the first ones, for which memory is there."""
        before: cython.longlong[::1] = self._seen
        known: cython.Py_ssize_t = self._slots
        i: cython.Py_ssize_t
        slot: cython.Py_ssize_t
        if known == 0:
            self._slots = _SLOTS
            for i in range(_SLOTS):
                self._seen[i] = 0
            return 0
        self._slots = 2 * known
        self._seen = _zeros(self._slots)
        for i in range(known):
            if before[i]:
                slot = before[i] & (self._slots - 1)
                while self._seen[slot]:
                    slot = (slot + 1) & (self._slots - 1)
                self._seen[slot] = before[i]
        return 0

    def _sort(self, width: cython.int):
        """Put the elements, items or pairs of them, into the order of their numbers, or of scores and members."""
        count: cython.Py_ssize_t = (self._count - 1) // width
        i: cython.Py_ssize_t
        k: cython.Py_ssize_t
        first: cython.Py_ssize_t
        begin: cython.Py_ssize_t
        size: cython.Py_ssize_t
        at: cython.Py_ssize_t
        total: cython.longlong
        moved: cython.bint = False
        order: cython.longlong[::1] = self._order
        for i in range(count):
            # There are few, and most snapshots have them in order.
            k = i
            while k > 0 and self._is_before(i, order[k - 1], width):
                order[k] = order[k - 1]
                k -= 1
                moved = True
            order[k] = i
        if not moved:
            return 0
        if len(self._other) < self._filled:
            _extend(self._other, self._filled)
        ends: cython.longlong[::1] = _zeros(self._count)
        sums: cython.longlong[::1] = _zeros(self._count)
        at = ends[0] = self._ends[0]
        total = sums[0] = self._sums[0]
        _copy(self._other, 0, self._items, 0, at)
        for i in range(count):
            for first in range(1 + width * order[i], 1 + width * order[i] + width):
                begin = self._ends[first - 1]
                size = self._ends[first] - begin
                _copy(self._other, at, self._items, begin, size)
                at += size
                total += self._sums[first] - self._sums[first - 1]
                k = 1 + width * i + (first - 1) % width
                ends[k] = at
                sums[k] = total
        self._items, self._other = self._other, self._items
        self._ends, self._sums = ends, sums
        return 0

    def _is_before(self, one: cython.Py_ssize_t, two: cython.Py_ssize_t, width: cython.int):
        """Whether the element that came as number `one` belongs in front of the other."""
        q: cython.p_uchar = self._items
        if width == 1:
            return self._numbers[one] < self._numbers[two]
        if self._scores[one] != self._scores[two]:
            return self._scores[one] < self._scores[two]
        one, two = 2 + 2 * one, 2 + 2 * two
        one_size: cython.Py_ssize_t = self._sums[one] - self._sums[one - 1]
        two_size: cython.Py_ssize_t = self._sums[two] - self._sums[two - 1]
        return _is_less(q, self._ends[one] - 2 - one_size, one_size, self._ends[two] - 2 - two_size, two_size)

    # --- writing ---------------------------------------------------------------------------------------------------

    def _is_full(self):
        return self._rows >= self._most_rows or self._bytes >= self._most_bytes

    def _write(self):
        """Write what is missing of the key; False if the table became full."""
        last: cython.Py_ssize_t
        while self._next < self._count:
            if self._next < self._elements:
                last = min(self._next + self._batch, self._elements)
                self._command(self._verb, self._next, last)
                self._next = last
            else:
                self._command(b"PEXPIREAT", self._next, self._count)
                self._next = self._count
            if self._is_full():
                return False
        return True

    def _command(self, verb: bytes, first: cython.Py_ssize_t, last: cython.Py_ssize_t):
        """Write one command, of the key and the items from `first` to before `last`."""
        q: cython.p_uchar
        at: cython.Py_ssize_t
        key: cython.Py_ssize_t = self._ends[0]
        begin: cython.Py_ssize_t = self._ends[first - 1]
        size: cython.Py_ssize_t = self._ends[last - 1] - begin
        self._room(3 * _LINE + key + size)
        q = self._text
        at = _line(q, self._size, 42, 2 + last - first)
        at = _line(q, at, 36, len(verb))
        _copy(q, at, verb, 0, len(verb))
        at += len(verb)
        q[at] = 13
        q[at + 1] = 10
        at += 2
        _copy(q, at, self._items, 0, key)
        at += key
        _copy(q, at, self._items, begin, size)
        self._size = at + size
        self._row(len(verb) + self._sums[0] + self._sums[last - 1] - self._sums[first - 1])
        return 0

    def _room(self, size: cython.Py_ssize_t):
        """Have room for so many bytes in the text."""
        if self._size + size > len(self._text):
            _extend(self._text, self._size + size)
        return 0

    def _row(self, nbytes: cython.Py_ssize_t):
        """A row was written, with so many bytes of arguments."""
        if 2 * self._rows == len(self._places):
            self._places = _longer(self._places)
        self._places[2 * self._rows] = self._offset
        # The first has the bytes of the key, so that sums over rows are right.
        self._places[2 * self._rows + 1] = self._nbytes
        self._nbytes = 0
        self._rows += 1
        self._bytes += nbytes
        return 0


# --- memory ------------------------------------------------------------------------------------------------------


def _zeros(count: int) -> array[int]:
    """So many numbers, all 0."""
    return array("q", bytes(8 * count))


def _longer(numbers: Any) -> array[int]:
    """The numbers, and room for as many more."""
    return array("q", bytes(numbers) + bytes(8 * len(numbers)))


@cython.cfunc
@cython.exceptval(-1)
def _extend(text: bytearray, size: cython.Py_ssize_t) -> cython.int:
    """Have room for so many bytes, and for as much again as there is."""
    size = max(size, 2 * len(text))
    if cython.compiled:
        PyByteArray_Resize(text, size)
    else:
        text.extend(bytes(size - len(text)))
    return 0


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _line(q: cython.p_uchar, at: cython.Py_ssize_t, kind: cython.int, number: cython.longlong) -> cython.Py_ssize_t:
    """Write a line of `kind` and a number to q[at]; where it ends."""
    if cython.compiled:
        begin: cython.p_char = cython.cast(cython.p_char, q)
        return put_number(begin + at, kind, number) - begin
    line = b"%c%d\r\n" % (kind, number)
    q[at : at + len(line)] = line
    return at + len(line)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _copy(
    q: cython.p_uchar, at: cython.Py_ssize_t, p: cython.p_const_uchar, begin: cython.Py_ssize_t, size: cython.Py_ssize_t
) -> cython.int:
    """Copy p[begin:] with that size to q[at]."""
    if cython.compiled:
        memcpy(q + at, p + begin, size)
    else:
        q[at : at + size] = p[begin : begin + size]
    return 0


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _is_less(
    q: cython.p_uchar,
    one: cython.Py_ssize_t,
    one_size: cython.Py_ssize_t,
    two: cython.Py_ssize_t,
    two_size: cython.Py_ssize_t,
) -> cython.bint:
    """Whether the text at q[one] comes in front of that at q[two]."""
    if not cython.compiled:
        return q[one : one + one_size] < q[two : two + two_size]
    order: cython.int = memcmp(q + one, q + two, min(one_size, two_size))
    return order < 0 or (order == 0 and one_size < two_size)
