# Types of the kernel's names.

from cpython.bytearray cimport PyByteArray_Resize
from libc.string cimport memcmp, memcpy

from aofnb.rdb._strings cimport CUT, ODD, double_at, length_at, number_at, string_end, text_begin, width_of
from aofnb.resp._encode_cy cimport put_number
from aofnb.store._table_cy cimport aofnb_hash

# What follows a key.
cdef enum:
    STRING = 1
    LIST = 2
    SET = 3
    HASH = 4
    ZSET = 5
    NODES = 6
    NUMBERS = 7
    SET_PACKED = 8
    HASH_PACKED = 9
    ZSET_PACKED = 10

# A line that is a kind and a number, and what stands behind an argument; slots for strings that were met.
cdef enum:
    _LINE = 24
    _SLOTS = 64

cdef class KeyRows:
    cdef readonly Py_ssize_t end
    cdef Py_ssize_t _rows, _size, _bytes, _most_rows, _most_bytes
    cdef bytearray _text
    cdef long long[::1] _places
    cdef bytes _shapes, _verb
    cdef Py_ssize_t _intset_entries, _zset_entries, _zset_bytes
    cdef bytearray _items, _other, _digits
    cdef Py_ssize_t _filled, _count, _elements, _next, _batch
    cdef long long[::1] _ends, _sums, _order, _numbers
    cdef double[::1] _scores
    cdef long long _offset, _nbytes
    cdef bint _expires
    cdef long long _when
    cdef long long[::1] _seen
    cdef Py_ssize_t _slots, _known

    cdef int _begin(self) except -1
    cdef bint _is_full(self) noexcept
    cdef Py_ssize_t _behind_attributes(self, const unsigned char *p, Py_ssize_t at, Py_ssize_t size) noexcept
    cdef Py_ssize_t _collect(self, bytes data, Py_ssize_t at, Py_ssize_t size, int shape) except -3
    cdef Py_ssize_t _strings(self, bytes data, Py_ssize_t at, Py_ssize_t size, int shape) except -3
    cdef Py_ssize_t _nodes(self, bytes data, Py_ssize_t at, Py_ssize_t size) except -3
    cdef int _packed(self, bytes blob, int shape) except -1
    cdef int _packed_item(self, object item) except -1
    cdef int _string(self, bytes data, Py_ssize_t at, Py_ssize_t end) except -1
    cdef int _number(self, long long number) except -1
    cdef int _score(self, double score) except -1
    cdef int _item(self, const unsigned char *p, Py_ssize_t begin, Py_ssize_t size) except -1
    cdef bint _is_whole(self, Py_ssize_t place) except -1
    cdef bint _is_again(self) except -1
    cdef int _more_slots(self) except -1
    cdef int _sort(self, int width) except -1
    cdef bint _is_before(self, Py_ssize_t one, Py_ssize_t two, int width) noexcept
    cdef bint _write(self) except -1
    cdef int _command(self, bytes verb, Py_ssize_t first, Py_ssize_t last) except -1
    cdef int _room(self, Py_ssize_t size) except -1
    cdef int _row(self, Py_ssize_t nbytes) except -1
