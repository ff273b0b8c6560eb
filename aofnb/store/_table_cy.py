# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: the table of keys of a database. As plain Python it is a dict, and what a dict does it does.

For a key and a value of 10 bytes each a dict takes 150 bytes, most of them headers of objects. Here both are one piece
of memory of 32 bytes, a record: a short string and a number are kept in it, any other value is referred to. Around it:

1. the records stand in the order in which their keys came, as in a dict, so that KEYS and snapshots give the same with
   and without this kernel. Setting a key anew leaves it where it is;
2. an index, open addressing with linear probing, has places in that order. It is at most three quarters full. What a
   place leaves of the 32 bits of a slot holds bits of the key's hash, so that hardly any other record is looked at;
3. a removed key leaves a gap. When there is no room behind the last key, gaps are closed and the index is made anew.
   So a record only ever moves to a lower place, which is all that SCAN needs.

Keys are hashed as Python hashes bytes: keyed by a secret of the process, so nobody can send keys that all collide.

Rules of this file: what can fail, which is to allocate, comes before the first change; a reference is dropped when the
table is whole again, since that may run anything. Nothing here lets go of the interpreter's lock.
"""

from __future__ import annotations

from sys import getsizeof

from aofnb.resp.pairs import Pairs

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

COMPILED = cython.compiled

# The longest string that is kept in the record of its key, in bytes.
KEPT_BYTES = INLINE_MAX if cython.compiled else -1
# What a key takes beside its record: its place in the order, and in the index with what is free there. And of a dict.
_PLACE_BYTES = 16
_DICT_PLACE_BYTES = 56
# So many places more than keys that are wanted are looked at in one step of a scan: gaps take time, too.
_PLACES_OF_STEP = 1 << 16
# Above so many places for a key, gaps are closed before one is drawn by chance.
_PLACES_OF_KEY = 8


class Later:
    """A value that is made when it is first asked for, from the bytes that a snapshot has for it.

    What a table gives out is always the value. Only a kernel that writes a snapshot sees that there is none yet: it
    writes the bytes as they are. Made by `later_of`.
    """

    def made(self):
        if self.value is None:
            value = self.make(self.kind, self.data)
            # Another thread may have been here meanwhile; what it was given is what there is.
            if self.value is None:
                self.value = value
                self.data = None
        return self.value


def later_of(kind, data, make):
    """A value that `make` makes of the type in a snapshot, and what stands there behind the key."""
    later: Later = Later.__new__(Later)
    later.kind = kind
    later.data = data
    later.make = make
    if cython.compiled:
        # It is in no cycle, and there may be a million: collecting garbage must not look at each of them.
        PyObject_GC_UnTrack(later)
    return later


class Table:
    """Keys, which are bytes, and their values: the part of a dict that `Database` needs.

    Values are any objects. Bytes of up to 1 KiB and integers of 64 bits are copied, so `get` makes new ones.
    """

    def __dealloc__(self):
        place: cython.Py_ssize_t
        for place in range(self.keys.used):
            if self.keys.records[place] != cython.NULL:
                _drop(self.keys.records[place])
        PyMem_RawFree(self.keys.records)
        PyMem_RawFree(self.keys.index)

    # --- as a dict ---------------------------------------------------------------------------------------------

    def __len__(self):
        return self.keys.live

    def __contains__(self, key: bytes):
        return record_of(cython.address(self.keys), PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)) != cython.NULL

    def __getitem__(self, key: bytes):
        record: cython.pointer(Record)
        record = record_of(cython.address(self.keys), PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        if record == cython.NULL:
            raise KeyError(key)
        return value_of(record)

    def __setitem__(self, key: bytes, value):
        self.put(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), value)

    def __delitem__(self, key: bytes):
        if not self.remove(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key)):
            raise KeyError(key)

    def get(self, key: bytes):
        """The value of `key`, or None."""
        return self.find(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))

    def pop(self, key: bytes, default):
        """Remove `key` and return its value; `default` where it is not there."""
        record: cython.pointer(Record)
        record = record_of(cython.address(self.keys), PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        if record == cython.NULL:
            return default
        value = value_of(record)
        self.remove(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        return value

    def update(self, pairs):
        """Set each key of `pairs` to the value beside it."""
        key: bytes
        if type(pairs) is Pairs:
            self.put_pairs(pairs.data, pairs.places)
            return
        for key, value in pairs:
            self.put(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), value)

    def __iter__(self):
        """The keys in the order in which they came. RuntimeError if one comes or goes meanwhile."""
        return self._walk(False)

    def items(self):
        """Keys and values in the order in which the keys came. RuntimeError if a key comes or goes meanwhile."""
        return self._walk(True)

    def _walk(self, with_values: cython.bint):
        place: cython.Py_ssize_t = 0
        live: cython.Py_ssize_t = self.keys.live
        record: cython.pointer(Record)
        while place < self.keys.used:
            record = self.keys.records[place]
            place += 1
            if record != cython.NULL:
                key = PyBytes_FromStringAndSize(key_text(record), key_size(record))
                yield (key, value_of(record)) if with_values else key
                if self.keys.live != live:
                    raise RuntimeError("a table was changed while someone went through it")

    def scan(self, place: cython.Py_ssize_t, count: cython.Py_ssize_t):
        """One step from the newest keys to the oldest: where to go on, 0 at the end, and up to `count` keys.

        `place` is 0 at first, then what the step before gave. Keys may come, go and move to lower places between the
        steps: each that is there all the time is given at least once.
        """
        record: cython.pointer(Record)
        found: list = []
        if place <= 0 or place > self.keys.used:
            place = self.keys.used
        last: cython.Py_ssize_t = max(0, place - _PLACES_OF_STEP - min(count, self.keys.used))
        while place > last and count > 0:
            place -= 1
            record = self.keys.records[place]
            if record != cython.NULL:
                found.append(PyBytes_FromStringAndSize(key_text(record), key_size(record)))
                count -= 1
        found.reverse()
        return place, found

    def random_key(self, chance):
        """A key, each with the same chance. There must be one; `chance` gives numbers from 0 up to 1, without it."""
        record: cython.pointer(Record) = cython.NULL
        drawn: cython.double
        if self.keys.used > self.keys.live * _PLACES_OF_KEY:
            self._make_room()
        while record == cython.NULL:
            drawn = chance()
            record = self.keys.records[cython.cast(cython.Py_ssize_t, drawn * self.keys.used)]
        return PyBytes_FromStringAndSize(key_text(record), key_size(record))

    # --- for other kernels -------------------------------------------------------------------------------------

    def find(self, key, size):
        record: cython.pointer(Record) = record_of(cython.address(self.keys), key, size)
        return None if record == cython.NULL else value_of(record)

    def put(self, key, size, value):
        return self.put_hashed(key, size, aofnb_hash(key, size), value)

    def put_text(self, key, size, text, length):
        return self.put_text_hashed(key, size, aofnb_hash(key, size), text, length)

    def remove(self, key, size):
        return self.remove_hashed(key, size, aofnb_hash(key, size))

    def has_hashed(self, key, size, hashed):
        return _slot(cython.address(self.keys), key, size, hashed) >= 0

    def find_hashed(self, key, size, hashed):
        slot: cython.Py_ssize_t = 0
        record: cython.pointer(Record) = self._known(key, size, hashed, cython.address(slot))
        return None if record == cython.NULL else value_of(record)

    def put_hashed(self, key, size, hashed, value):
        number: int64_t
        too_large: cython.int = 0
        slot: cython.Py_ssize_t = 0
        record: cython.pointer(Record)
        old: cython.pointer(PyObject)
        if type(value) is bytes and PyBytes_GET_SIZE(value) <= INLINE_MAX:
            return self.put_text_hashed(key, size, hashed, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
        record = self._known(key, size, hashed, cython.address(slot))
        if type(value) is int:
            number = PyLong_AsLongLongAndOverflow(value, cython.address(too_large))
            if not too_large:
                if record != cython.NULL and kind_of(record) == NUMBER:
                    value_number(record)[0] = number
                    return 0
                record = _new(key, size, NUMBER)
                value_number(record)[0] = number
                return self._take(record, slot, hashed)
        if record != cython.NULL and kind_of(record) == OBJECT:
            old = value_object(record)[0]
            Py_INCREF(cython.cast(cython.pointer(PyObject), value))
            value_object(record)[0] = cython.cast(cython.pointer(PyObject), value)
            Py_DECREF(old)
            return 0
        record = _new(key, size, OBJECT)
        Py_INCREF(cython.cast(cython.pointer(PyObject), value))
        value_object(record)[0] = cython.cast(cython.pointer(PyObject), value)
        return self._take(record, slot, hashed)

    def put_pairs(self, data, places):
        # Memory is what takes time: that of many keys is asked for before the first is needed.
        text: cython.p_char = PyBytes_AS_STRING(data)
        at: cython.p_int = cython.cast(cython.p_int, PyBytes_AS_STRING(places))
        keys: cython.pointer(Keys) = cython.address(self.keys)
        hashes: uint64_t[BATCH]
        count: cython.Py_ssize_t = PyBytes_GET_SIZE(places) // (4 * cython.sizeof(cython.int))
        many: cython.Py_ssize_t
        i: cython.Py_ssize_t
        while count > 0:
            many = min(count, BATCH)
            for i in range(many):
                hashes[i] = aofnb_hash(text + at[4 * i], at[4 * i + 1] - at[4 * i])
            _fetch(keys, hashes, many)
            for i in range(many):
                if at[4 * i + 3] - at[4 * i + 2] <= INLINE_MAX:
                    self.put_text_hashed(
                        text + at[4 * i],
                        at[4 * i + 1] - at[4 * i],
                        hashes[i],
                        text + at[4 * i + 2],
                        at[4 * i + 3] - at[4 * i + 2],
                    )
                else:
                    self.put(
                        text + at[4 * i],
                        at[4 * i + 1] - at[4 * i],
                        PyBytes_FromStringAndSize(text + at[4 * i + 2], at[4 * i + 3] - at[4 * i + 2]),
                    )
            count -= many
            at += 4 * many
        return 0

    def fetch(self, hashes, count):
        _fetch(cython.address(self.keys), hashes, count)

    def put_text_hashed(self, key, size, hashed, text, length):
        slot: cython.Py_ssize_t = 0
        record: cython.pointer(Record) = self._known(key, size, hashed, cython.address(slot))
        if (
            record != cython.NULL
            and kind_of(record) <= INLINE_MAX
            and record_bytes(size, kind_of(record)) == record_bytes(size, length)
        ):
            record.head = head_of(size, length)
            memcpy(value_text(record), text, length)
            return 0
        record = _new(key, size, length)
        memcpy(value_text(record), text, length)
        return self._take(record, slot, hashed)

    def remove_hashed(self, key, size, hashed):
        keys: cython.pointer(Keys) = cython.address(self.keys)
        slot: cython.Py_ssize_t = 0
        record: cython.pointer(Record) = self._known(key, size, hashed, cython.address(slot))
        if record == cython.NULL:
            return False
        keys.records[place_in(keys, slot)] = cython.NULL
        keys.index[slot] = REMOVED
        keys.live -= 1
        _drop(record)
        return True

    def _known(self, key, size, hashed, slot):
        """The record of a key and its slot in the index; NULL, and the slot that it would get."""
        keys: cython.pointer(Keys) = cython.address(self.keys)
        slot[0] = _slot(keys, key, size, hashed)
        return cython.NULL if slot[0] < 0 else keys.records[place_in(keys, slot[0])]

    def _take(self, made, slot, hashed):
        """Put a record in, which is whole, in place of the one at that slot; a new one behind all others."""
        keys: cython.pointer(Keys) = cython.address(self.keys)
        old: cython.pointer(Record)
        if slot >= 0:
            old = keys.records[place_in(keys, slot)]
            keys.records[place_in(keys, slot)] = made
            _drop(old)
            return 0
        if keys.used == _room(keys.bits):
            try:
                self._make_room()
            except MemoryError:
                _drop(made)
                raise
            slot = _slot(keys, key_text(made), key_size(made), hashed)
        keys.records[keys.used] = made
        keys.index[~slot] = mark_of(keys, hashed, keys.used)
        keys.used += 1
        keys.live += 1
        return 0

    def reserve(self, count):
        if _room(self.keys.bits) < self.keys.used + count:
            self._make_room(count)
        return 0

    def _make_room(self, more=0):
        """Close the gaps, and make an index so large that a quarter of its slots or more are free for new keys, and
        that there is room for `more` keys.
        """
        keys: cython.pointer(Keys) = cython.address(self.keys)
        bits: cython.int = LEAST_BITS
        index: cython.pointer(uint32_t)
        records: cython.pointer(cython.pointer(Record))
        while keys.live >= _room(bits) * 2 // 3 or keys.live + more > _room(bits):
            bits += 1
        if bits > MOST_BITS:
            raise MemoryError("a database has room for 3 billion keys")
        index = cython.cast(
            cython.pointer(uint32_t), PyMem_RawCalloc(cython.cast(size_t, 1) << bits, cython.sizeof(uint32_t))
        )
        if index == cython.NULL:
            raise MemoryError
        if bits > keys.bits:
            records = cython.cast(
                cython.pointer(cython.pointer(Record)),
                PyMem_RawRealloc(keys.records, _room(bits) * cython.sizeof(cython.p_void)),
            )
            if records == cython.NULL:
                PyMem_RawFree(index)
                raise MemoryError
            keys.records = records
        _close_gaps(keys)
        if bits < keys.bits:
            records = cython.cast(
                cython.pointer(cython.pointer(Record)),
                PyMem_RawRealloc(keys.records, _room(bits) * cython.sizeof(cython.p_void)),
            )
            # Where it cannot be made smaller, it is large enough.
            if records != cython.NULL:
                keys.records = records
        PyMem_RawFree(keys.index)
        keys.index = index
        keys.bits = bits
        _fill_index(keys)
        return 0


def record_of(keys, key, size):
    slot: cython.Py_ssize_t
    # Else the hash would be made for nothing: most databases have no deadlines.
    if keys.live == 0:
        return cython.NULL
    slot = _slot(keys, key, size, aofnb_hash(key, size))
    return cython.NULL if slot < 0 else keys.records[place_in(keys, slot)]


def value_of(record):
    kind: cython.int = kind_of(record)
    if kind == OBJECT:
        value = cython.cast(object, value_object(record)[0])
        return cython.cast(Later, value).made() if type(value) is Later else value
    if kind == NUMBER:
        return value_number(record)[0]
    return PyBytes_FromStringAndSize(value_text(record), kind)


def _slot(keys, key, size, hashed):
    """The slot in the index that leads to `key`; where there is none, the first empty one, inverted."""
    mask: uint32_t = mask_of(keys)
    tag: uint32_t = cython.cast(uint32_t, hashed >> 32) & ~mask
    slot: uint32_t = cython.cast(uint32_t, hashed) & mask
    mark: uint32_t
    record: cython.pointer(Record)
    if keys.index == cython.NULL:
        return -1
    while True:
        mark = keys.index[slot]
        if mark == EMPTY:
            return ~cython.cast(cython.Py_ssize_t, slot)
        if mark & ~mask == tag and mark & mask >= FIRST:
            record = keys.records[(mark & mask) - FIRST]
            if key_size(record) == size and memcmp(key_text(record), key, size) == 0:
                return slot
        slot = (slot + 1) & mask


def _fetch(keys, hashes, count):
    """Ask for the memory in which keys with these hashes are, if they are there, and what they refer to.

    Step by step for all of them: what one step asks for, the next one looks at.
    """
    records: cython.pointer(cython.pointer(Record))[BATCH]
    mask: uint32_t = mask_of(keys)
    tag: uint32_t
    slot: uint32_t
    i: cython.Py_ssize_t
    if keys.index == cython.NULL:
        return
    for i in range(count):
        aofnb_prefetch(cython.address(keys.index[hashes[i] & mask]))
    for i in range(count):
        slot = hashes[i] & mask
        tag = cython.cast(uint32_t, hashes[i] >> 32) & ~mask
        while keys.index[slot] != EMPTY and (keys.index[slot] & ~mask != tag or keys.index[slot] & mask < FIRST):
            slot = (slot + 1) & mask
        records[i] = cython.NULL
        if keys.index[slot] != EMPTY:
            records[i] = cython.address(keys.records[place_in(keys, slot)])
            aofnb_prefetch(records[i])
    for i in range(count):
        if records[i] != cython.NULL:
            aofnb_prefetch(records[i][0])
    for i in range(count):
        if records[i] != cython.NULL and kind_of(records[i][0]) == OBJECT:
            aofnb_prefetch(value_object(records[i][0])[0])


def _room(bits):
    """How many records there can be with that index: three quarters of its slots."""
    return 0 if bits == 0 else cython.cast(cython.Py_ssize_t, 3) << (bits - 2)


def _close_gaps(keys):
    place: cython.Py_ssize_t
    end: cython.Py_ssize_t = 0
    for place in range(keys.used):
        if keys.records[place] != cython.NULL:
            keys.records[end] = keys.records[place]
            end += 1
    keys.used = end


def _fill_index(keys):
    """Enter all records, between which there are no gaps, in an index that is empty."""
    hashes: uint64_t[BATCH]
    mask: uint32_t = mask_of(keys)
    place: cython.Py_ssize_t = 0
    first: cython.Py_ssize_t = 0
    end: cython.Py_ssize_t
    slot: uint32_t
    while first < keys.used:
        end = min(first + BATCH, keys.used)
        for place in range(first, end):
            if place + BATCH < keys.used:
                aofnb_prefetch(keys.records[place + BATCH])
            hashes[place - first] = aofnb_hash(key_text(keys.records[place]), key_size(keys.records[place]))
            aofnb_prefetch(cython.address(keys.index[hashes[place - first] & mask]))
        for place in range(first, end):
            slot = cython.cast(uint32_t, hashes[place - first]) & mask
            while keys.index[slot] != EMPTY:
                slot = (slot + 1) & mask
            keys.index[slot] = mark_of(keys, hashes[place - first], place)
        first = end


def _new(key, size, kind):
    """A record that holds the key, and no value yet."""
    record: cython.pointer(Record)
    record = cython.cast(cython.pointer(Record), PyObject_Malloc(record_bytes(size, kind)))
    if record == cython.NULL:
        raise MemoryError
    record.head = head_of(size, kind)
    memcpy(key_text(record), key, size)
    return record


def _drop(record):
    """Free a record, and let go of what it refers to."""
    value: cython.pointer(PyObject) = cython.NULL
    if kind_of(record) == OBJECT:
        value = value_object(record)[0]
    PyObject_Free(record)
    if value != cython.NULL:
        Py_DECREF(value)


@cython.locals(table=Table)
def reserve(table, count: cython.Py_ssize_t):
    """Make room for so many keys at once, where a table can: that is quicker than to grow again and again."""
    if cython.compiled:
        table.reserve(count)


def entry_bytes(key: bytes, value) -> int:
    """About how many bytes `key` takes in a table, and `value` if that is kept there and not referred to."""
    if not cython.compiled:
        return getsizeof(key) + _DICT_PLACE_BYTES
    kept: cython.bint = type(value) is bytes and PyBytes_GET_SIZE(value) <= INLINE_MAX
    return record_bytes(PyBytes_GET_SIZE(key), PyBytes_GET_SIZE(value) if kept else OBJECT) + _PLACE_BYTES


if not cython.compiled:
    Table = dict
