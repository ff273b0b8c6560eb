"""Runs of keys of a snapshot as a table of commands, where the kernel `_keys_cy` is not compiled.

1. `_walk` finds where each key begins, and each string of it, one after the other: where one ends says where the next
   is. Strings, hashes and short lists, which snapshots are full of, come as places of their strings, or of the elements
   of a listpack; the others as texts, that `forensics.keys` reads.
2. All that can be had of columns is: what stands at the places, whether a field comes twice, and which keys still fit.
3. The lines of the commands are pieces that Arrow copies one behind the other: headers, what stands in the snapshot,
   and what was read as something else.

Redis: rdb.c rdbLoadObject; aof.c rewriteAppendOnlyFileRio (7.0.15).
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aofnb.forensics.keys import ONE_NODE, VERBS, command_at
from aofnb.forensics.scan import Records
from aofnb.rdb import opcodes
from aofnb.rdb._records_cy import strings
from aofnb.rdb._strings import length_at, string_end, width_of
from aofnb.store.snapshot import BATCH

__all__ = ["records_of_run"]

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

# So many bytes are looked at together: what columns take of memory is many times as large.
_RUN_BYTES = 512 << 10
_LZF = 0xC3
_WHEN_BYTES, _NEVER = 9, -1
# Of a listpack: its size and how many elements it has; how many bytes an element takes, by the first of it.
_LISTPACK, _LISTPACK_HEAD, _LISTPACK_END = Struct("<IH"), 6, 0xFF
_PACKED = {opcodes.HASH_LISTPACK: 2 * BATCH, opcodes.LIST_QUICKLIST_2: BATCH}
_IS_PACKED = np.isin(np.arange(256), [*_PACKED])
_RARE = 1 << 40
_ELEMENTS = [2] * 0x80 + [2 + size for size in range(64)] + [3] * 32 + [_RARE] * 32
for _first, _width in ((0xF1, 2), (0xF3, 4), (0xF4, 8)):
    _ELEMENTS[_first] = 2 + _width
_WIDTHS = np.array(_ELEMENTS)
# Where numbers are behind the first byte, by this; of elements it is taken for so much more.
_IN_PACK = 256
_NUMBERS = {
    0xC0: "<i1",
    0xC1: "<i2",
    0xC2: "<i4",
    _IN_PACK + 0xF1: "<i2",
    _IN_PACK + 0xF3: "<i4",
    _IN_PACK + 0xF4: "<i8",
}
_NUMBER_OF_VERB = np.zeros(256, np.int64)
_NUMBER_OF_VERB[[*VERBS]] = np.arange(len(VERBS))
# The headers of arguments that are no longer, and of all commands, behind the end of the line before; between them, it.
_SIZES, _END = 1024, 1024
_HEADS = pa.array(
    [b"\r\n$%d\r\n" % size for size in range(_SIZES)]
    + [b"\r\n"]
    + [b"\r\n*%d" % argc for argc in range(1, 2 * BATCH + 4)],
    pa.large_binary(),
)


class _Found(NamedTuple):
    """Keys that stand one behind the other, up to `end`.

    `begins` says where the record of each begins, and `firsts` which of the strings is the key. In `places` is where a
    string stands; of the n-th of `texts`, counted from 1, it is -n.
    """

    begins: Ints
    firsts: Ints
    places: Ints
    texts: list[bytes]
    end: int


def records_of_run(
    data: bytes, at: int, base: int, limits: tuple[int, int], most_rows: int, most_bytes: int
) -> tuple[Records | None, int, int]:
    """Commands of the keys from data[at] on, which is at `base` + `at` of the snapshot; how many bytes of arguments
    there are, and where the first key is that has no command.

    There are so many rows at most, but for one; and fewer bytes of arguments, but for a deadline. `limits` are those of
    `command_at`.
    """
    found = _walk(data, at, limits, most_rows)
    if len(found.begins):
        run = _Run(data, found)
        keys = run.keys_that_fit(most_rows, most_bytes)
        if keys:
            return run.records(keys, base), run.nbytes(keys), run.end(keys)
    return None, 0, at


def _walk(data: bytes, at: int, limits: tuple[int, int], most: int) -> _Found:
    """The keys from data[at] on that are whole and of no rare form, at most so many."""
    size, stop = len(data), min(len(data), at + _RUN_BYTES)
    begins, firsts, places = array("q"), array("q"), array("q")
    texts: list[bytes] = []
    begin, first = at, 0
    try:
        for _key in range(most):
            begin, first = at, len(places)
            if at >= stop:
                break
            kind = data[at]
            if kind == opcodes.EXPIRETIME_MS:
                at += _WHEN_BYTES
                kind = data[at]
            if kind == opcodes.STRING:
                at = _strings(data, at + 1, 2, places, texts)
            elif kind == opcodes.HASH:
                at = _strings(data, at + 1, 1, places, texts)
                count = length_at(data, at, size)
                if not 1 <= count <= BATCH:
                    break
                at = _strings(data, at + width_of(count), 2 * count, places, texts)
            elif (end := _packed(data, at, kind, places, texts)) > 0:
                at = end
            else:
                del places[first:]
                argv: list[bytes] = []
                at = command_at(data, at, argv, limits)
                if at < 0:
                    break
                for text in argv[1:]:
                    texts.append(text)
                    places.append(-len(texts))
            if at > size:
                break
            begins.append(begin)
            firsts.append(first)
        else:
            begin, first = at, len(places)
    except IndexError:
        pass
    # What was noted of a key that is not taken.
    del places[first:]
    columns = [np.frombuffer(column, np.int64) for column in (begins, firsts, places)]
    return _Found(columns[0], columns[1], columns[2], texts, begin)


def _strings(data: bytes, at: int, count: int, places: array[int], texts: list[bytes]) -> int:
    """Note so many strings from data[at] on; where they end, which is behind the data if one does not."""
    note = places.append
    for _string in range(count):
        head = data[at]
        if head < 0x40:
            note(at)
            at += 1 + head
        elif head < 0x80:
            size = (head & 63) << 8 | data[at + 1]
            if size < 0x40:
                # It would have been shorter.
                return len(data) + 1
            note(at)
            at += 2 + size
        else:
            end = string_end(data, at, len(data))
            if end < 0 or (head == _LZF and strings(data, at, 1, texts) != end):
                return len(data) + 1
            note(at if head != _LZF else -len(texts))
            at = end
    return at


def _packed(data: bytes, at: int, kind: int, places: array[int], texts: list[bytes]) -> int:
    """Note the key at data[at] and the elements of its listpack, if they are hash or list and of no rare form; where it
    ends, or 0. Some of them may have been noted, and whether they say their size backwards too is not looked at.
    """
    if kind not in _PACKED:
        return 0
    at = _strings(data, at + 1, 1, places, texts)
    if kind == opcodes.LIST_QUICKLIST_2:
        if data[at : at + 2] != ONE_NODE:
            return 0
        at += 2
    nbytes = length_at(data, at, len(data))
    at += width_of(nbytes)
    end = at + nbytes - 1
    if nbytes <= _LISTPACK_HEAD or end >= len(data) or data[end] != _LISTPACK_END:
        return 0
    total, count = _LISTPACK.unpack_from(data, at)
    if total != nbytes or not 1 <= count <= _PACKED[kind] or (kind == opcodes.HASH_LISTPACK and count % 2):
        return 0
    at += _LISTPACK_HEAD
    note, widths = places.append, _ELEMENTS
    for _element in range(count):
        if at >= end:
            return 0
        note(at)
        at += widths[data[at]]
    return end + 1 if at == end else 0


class _Run:
    """Keys as columns, of which some are one for each command, or row, and some one for each argument."""

    def __init__(self, data: bytes, found: _Found) -> None:
        self._found = found
        octets = np.frombuffer(data, np.uint8)
        expires = octets[found.begins] == opcodes.EXPIRETIME_MS
        self._offsets = found.begins + _WHEN_BYTES * expires
        self._kinds = octets[self._offsets]
        whens = _numbers(data, found.begins[expires] + 1, "<i8")
        expires[expires], whens = whens != _NEVER, whens[whens != _NEVER]

        self._counts = np.diff(np.append(found.firsts, len(found.places)))
        heads = _heads_of(data, found, self._kinds, self._counts)
        packed = np.flatnonzero(heads >= _IN_PACK)
        sizes = _WIDTHS[heads[packed] - _IN_PACK] - 1
        self._odd = packed[octets[found.places[packed] + sizes] != sizes]

        # All that arguments may be, and which of that the strings are.
        verbs = pa.array([*VERBS.values(), b"PEXPIREAT"], pa.large_binary())
        deadlines = len(verbs) + np.arange(len(whens))
        self._pool, self._strings = _strings_of(data, found, heads, pa.concat_arrays([verbs, _spelled(whens)]))

        # Rows of keys, and one behind each that expires.
        self._rows = np.arange(len(found.begins)) + np.cumsum(expires) - expires
        self._argc = np.full(len(self._rows) + len(whens), 3)
        self._argc[self._rows] += self._counts - 2
        begins = np.cumsum(self._argc) - self._argc
        self._args = np.full(int(self._argc.sum()), -1)
        of_verbs = begins[self._rows]
        of_deadlines = begins[self._rows[expires] + 1]
        self._args[of_verbs] = _NUMBER_OF_VERB[self._kinds]
        self._args[of_deadlines] = len(verbs) - 1
        self._args[of_deadlines + 1] = self._strings[found.firsts[expires]]
        self._args[of_deadlines + 2] = deadlines
        self._args[self._args < 0] = self._strings
        self._sizes = pc.binary_length(self._pool).to_numpy()[self._args]
        self._sums = np.cumsum(np.add.reduceat(self._sizes, begins))

    def keys_that_fit(self, most_rows: int, most_bytes: int) -> int:
        """How many keys there are in front of the first that does not, or that is odd."""
        left = (self._rows >= most_rows) | (self._sums[self._rows] >= most_bytes)
        if len(self._odd):
            left[np.searchsorted(self._found.firsts, self._odd[0], "right") - 1] = True
        return min(int(left.argmax()) if left.any() else len(left), self._key_with_a_field_twice())

    def _key_with_a_field_twice(self) -> int:
        """The first such key; if there is none, how many there are."""
        hashes = np.flatnonzero((self._kinds == opcodes.HASH) | (self._kinds == opcodes.HASH_LISTPACK))
        fields = self._counts[hashes] // 2
        places = np.repeat(self._found.firsts[hashes] + 1 - 2 * (np.cumsum(fields) - fields), fields)
        places += 2 * np.arange(len(places))
        texts = self._pool.take(pa.array(self._strings[places])).dictionary_encode()
        numbers = np.repeat(hashes, fields) * len(texts.dictionary) + texts.indices.to_numpy()
        numbers.sort()
        again = np.flatnonzero(numbers[1:] == numbers[:-1])
        return int(numbers[again[0]]) // len(texts.dictionary) if len(again) else len(self._rows)

    def end(self, keys: int) -> int:
        """Where the first so many keys end."""
        return int(self._found.begins[keys]) if keys < len(self._rows) else self._found.end

    def _rows_of(self, keys: int) -> int:
        return int(self._rows[keys]) if keys < len(self._rows) else len(self._argc)

    def nbytes(self, keys: int) -> int:
        """How many bytes of arguments the commands of the first so many keys have."""
        return int(self._sums[self._rows_of(keys) - 1])

    def records(self, keys: int, base: int) -> Records:
        """The commands of the first so many keys."""
        rows = self._rows_of(keys)
        argc = self._argc[:rows]
        args = self._args[: int(argc.sum())]
        data, ends = _encoded(self._pool, args, self._sizes[: len(args)], argc)
        lines = 1 + 2 * argc
        first = np.cumsum(lines) - lines
        # The first row of each has the bytes of the key, so that sums over rows are right.
        of_keys, offsets = self._rows[:keys], self._offsets[:keys]
        nbytes = np.zeros(rows, np.int64)
        nbytes[of_keys] = np.append(self._found.begins[1:keys], self.end(keys)) - offsets
        return Records(
            data=data,
            begin=0,
            start=np.append(0, ends + 2)[first],
            heads=ends[first] + 2,
            argc=argc,
            offset=base + np.repeat(offsets, np.diff(np.append(of_keys, rows))),
            nbytes=nbytes,
            lf=np.zeros(rows, bool),
            ts=[],
            snapshot_end=base + self.end(keys),
            lines=(ends, first),
        )


def _heads_of(data: bytes, found: _Found, kinds: Bytes, counts: Ints) -> npt.NDArray[np.int16]:
    """The first byte of each string, of an element of a listpack 256 more; -1 of a text."""
    made = np.frombuffer(data, np.uint8)[np.maximum(found.places, 0)].astype(np.int16)
    are_packed = _IS_PACKED[kinds]
    if are_packed.any():
        more = np.repeat(are_packed * np.int16(_IN_PACK), counts)
        more[found.firsts] = 0
        made += more
    made[found.places < 0] = -1
    return made


def _strings_of(data: bytes, found: _Found, heads: npt.NDArray[np.int16], pool: pa.Array) -> tuple[pa.Array, Ints]:
    """`pool` with all strings behind what is in it, and where each of them is there."""
    places = found.places
    strings = len(pool) - 1 - places
    pools = [pool, pa.array(found.texts, pa.large_binary())]

    small = np.flatnonzero((heads >= _IN_PACK) & (heads < _IN_PACK + 0x80))
    medium = np.flatnonzero((heads >= _IN_PACK + 0xC0) & (heads < _IN_PACK + 0xE0))
    # Of 13 bits the highest is the sign.
    signed = _numbers(data, places[medium], ">i2") << 51 >> 51
    numbers = [(small, heads[small] - np.int64(_IN_PACK)), (medium, signed)]
    for head, type_ in _NUMBERS.items():
        chosen = np.flatnonzero(heads == head)
        numbers.append((chosen, _numbers(data, places[chosen] + 1, type_)))
    chosen = np.concatenate([places_ for places_, _values in numbers])
    strings[chosen] = sum(map(len, pools)) + np.arange(len(chosen))
    pools.append(_spelled(np.concatenate([values for _places, values in numbers])))

    are_texts = (heads >= 0) & (heads <= 0x80)
    are_texts |= (heads >= _IN_PACK + 0x80) & (heads < _IN_PACK + 0xC0)
    chosen = np.flatnonzero(are_texts)
    strings[chosen] = sum(map(len, pools)) + 2 * np.arange(len(chosen))
    places, heads = places[chosen], heads[chosen]
    sizes, widths = heads & np.int64(63), np.ones(len(heads), np.int64)
    long, longer = np.flatnonzero((heads >= 0x40) & (heads < 0x80)), np.flatnonzero(heads == 0x80)
    sizes[long], widths[long] = _numbers(data, places[long], ">u2") & 0x3FFF, 2
    sizes[longer], widths[longer] = _numbers(data, places[longer] + 1, ">u4"), 5
    # They, and what is between them, in turn; no copy.
    bounds = np.empty(2 * len(places), np.int64)
    bounds[::2] = places + widths
    bounds[1::2] = bounds[::2] + sizes
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    pools.append(pa.Array.from_buffers(pa.large_binary(), max(len(bounds) - 1, 0), buffers))
    return pa.concat_arrays(pools), strings


def _numbers(data: bytes, places: Ints, type_: str) -> Ints:
    """The numbers that stand there."""
    size = np.dtype(type_).itemsize
    everywhere = np.ndarray(max(len(data) - size + 1, 0), type_, data, strides=1)
    return everywhere[places].astype(np.int64)


def _spelled(numbers: Ints) -> pa.Array:
    return pc.cast(pa.array(numbers), pa.large_string()).view(pa.large_binary())


def _encoded(pool: pa.Array, args: Ints, sizes: Ints, argc: Ints) -> tuple[bytes, Ints]:
    """The commands as Redis writes them, and where their lines end; of which `pool` the arguments are, `args` says."""
    large = np.unique(sizes[sizes >= _SIZES])
    larger = pa.array([b"\r\n$%d\r\n" % size for size in large.tolist()], pa.large_binary())
    pieces = pa.concat_arrays([_HEADS, larger, pool])
    rows = np.arange(len(argc))
    lines = 1 + 2 * argc
    first = np.cumsum(lines) - lines
    before = 2 * np.arange(len(args)) + np.repeat(rows, argc) + 1
    order = np.empty(len(argc) + 2 * len(args) + 1, np.int64)
    order[first] = _SIZES + argc
    order[before] = np.where(sizes < _SIZES, sizes, len(_HEADS) + np.searchsorted(large, sizes))
    order[before + 1] = len(_HEADS) + len(large) + args
    order[-1] = _END
    text = pieces.take(pa.array(order))
    # A line begins with the end of the one before; the first has none.
    ends = np.frombuffer(text.buffers()[1], np.int64)[1 : len(order)] - 2
    ends[before] -= 2
    return text.buffers()[2].slice(2).to_pybytes(), ends
