# `_table_cy.py` is in C: its types, and what it calls of Python. Other kernels reach keys and values through them.

cimport cython
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #error "a table has no lock of its own, only the global interpreter lock"
    #endif
    #ifdef __GNUC__
    #define aofnb_prefetch(address) __builtin_prefetch(address)
    #else
    #define aofnb_prefetch(address) ((void)0)
    #endif
    #define aofnb_hash(text, size) ((uint64_t)PyHash_GetFuncDef()->hash((text), (size)))
    """
    void aofnb_prefetch(const void *address) noexcept nogil
    # As Python hashes bytes: keyed by a secret of the process, so that nobody can send keys that all collide.
    uint64_t aofnb_hash(const void *text, Py_ssize_t size) noexcept nogil

cdef extern from "Python.h":
    void Py_INCREF(PyObject *)
    void Py_DECREF(PyObject *)
    char *PyBytes_AS_STRING(object)
    Py_ssize_t PyBytes_GET_SIZE(object)
    bytes PyBytes_FromStringAndSize(const char *, Py_ssize_t)
    int64_t PyLong_AsLongLongAndOverflow(object, int *) except? -1
    void *PyObject_Malloc(size_t)
    void PyObject_Free(void *)
    void PyObject_GC_UnTrack(object)
    void *PyMem_RawCalloc(size_t, size_t)
    void *PyMem_RawRealloc(void *, size_t)
    void PyMem_RawFree(void *)

cdef enum:
    # The longest string that is kept in its record.
    INLINE_MAX = 1024
    # What stands in a record for the length of a value that is no such string.
    NUMBER = 0xFFFE
    OBJECT = 0xFFFF
    # Records take whole pieces of so many bytes, as Python's allocator gives them anyway.
    PIECE = 16
    # In the index.
    EMPTY = 0
    REMOVED = 1
    FIRST = 2
    LEAST_BITS = 3
    MOST_BITS = 32
    # How many keys are worked on at a time, so that memory is asked for before it is needed.
    BATCH = 32

# A key and its value: the length of the key times 65536, and what kind of value; a number or a reference; the key;
# the value, if it is a short string.
cdef struct Record:
    uint64_t head

cdef struct Keys:
    # Of 1 << bits slots; NULL in an empty table.
    uint32_t *index
    int bits
    # In the order in which the keys came. NULL for a key that was removed.
    Record **records
    # Places taken in it, and keys.
    Py_ssize_t used
    Py_ssize_t live

cdef inline uint64_t head_of(Py_ssize_t size, Py_ssize_t kind) noexcept nogil:
    return <uint64_t>size << 16 | <uint64_t>kind

cdef inline Py_ssize_t key_size(const Record *record) noexcept nogil:
    return <Py_ssize_t>(record.head >> 16)

# The length of a short string, or NUMBER, or OBJECT.
cdef inline int kind_of(const Record *record) noexcept nogil:
    return <int>(record.head & 0xFFFF)

cdef inline char *key_text(Record *record) noexcept nogil:
    return <char *>(record + 1) + (8 if kind_of(record) >= NUMBER else 0)

cdef inline char *value_text(Record *record) noexcept nogil:
    return <char *>(record + 1) + key_size(record)

cdef inline int64_t *value_number(Record *record) noexcept nogil:
    return <int64_t *>(record + 1)

cdef inline PyObject **value_object(Record *record) noexcept nogil:
    return <PyObject **>(record + 1)

# How many bytes a record takes.
cdef inline size_t record_bytes(Py_ssize_t size, Py_ssize_t kind) noexcept nogil:
    return (sizeof(Record) + size + (kind if kind < NUMBER else 8) + PIECE - 1) & ~<size_t>(PIECE - 1)

# The bits of a slot that are a place, and of a hash that are a slot.
cdef inline uint32_t mask_of(const Keys *keys) noexcept nogil:
    return <uint32_t>((<uint64_t>1 << keys.bits) - 1)

cdef inline Py_ssize_t place_in(const Keys *keys, Py_ssize_t slot) noexcept nogil:
    return <Py_ssize_t>(keys.index[slot] & mask_of(keys)) - FIRST

cdef inline uint32_t mark_of(const Keys *keys, uint64_t hashed, Py_ssize_t place) noexcept nogil:
    return (<uint32_t>(hashed >> 32) & ~mask_of(keys)) | <uint32_t>(place + FIRST)

# The record of a key, or NULL.
cdef Record *record_of(const Keys *keys, const char *key, Py_ssize_t size) noexcept nogil
# A value as an object, of its own if it is no reference.
cdef object value_of(Record *record)

cdef Py_ssize_t _slot(const Keys *keys, const char *key, Py_ssize_t size, uint64_t hashed) noexcept nogil
cdef void _fetch(const Keys *keys, uint64_t *hashes, Py_ssize_t count) noexcept nogil
cdef Py_ssize_t _room(int bits) noexcept nogil
cdef void _close_gaps(Keys *keys) noexcept nogil
cdef void _fill_index(Keys *keys) noexcept nogil
cdef Record *_new(const char *key, Py_ssize_t size, int kind) except NULL
cdef void _drop(Record *record) noexcept

@cython.final
cdef class Later:
    cdef readonly int kind
    # As long as there is no value.
    cdef bytes data
    cdef object make
    cdef object value
    cdef object made(self)

cpdef Later later_of(int kind, bytes data, object make)

# Of a `Later`, borrowed. Its bytes and its value, one of which is None.
cdef inline PyObject *later_data(PyObject *later) noexcept nogil:
    return <PyObject *>(<Later>later).data

cdef inline PyObject *later_value(PyObject *later) noexcept nogil:
    return <PyObject *>(<Later>later).value

cdef inline int later_kind(PyObject *later) noexcept nogil:
    return (<Later>later).kind

@cython.final
cdef class Table:
    cdef Keys keys
    cpdef get(self, bytes key)
    cpdef pop(self, bytes key, default)
    # The value of a key, or None.
    cdef object find(self, const char *key, Py_ssize_t size)
    cdef int put(self, const char *key, Py_ssize_t size, object value) except -1
    # The value is a short string.
    cdef int put_text(self, const char *key, Py_ssize_t size, const char *text, Py_ssize_t length) except -1
    # As `update` with `Pairs` of these.
    cdef int put_pairs(self, bytes data, bytes places) except -1
    # Whether there was such a key.
    cdef bint remove(self, const char *key, Py_ssize_t size) noexcept
    # The same for whoever has the hash of the key, and a way to ask for the memory of up to BATCH keys.
    cdef bint has_hashed(self, const char *key, Py_ssize_t size, uint64_t hashed) noexcept
    cdef object find_hashed(self, const char *key, Py_ssize_t size, uint64_t hashed)
    cdef int put_hashed(self, const char *key, Py_ssize_t size, uint64_t hashed, object value) except -1
    cdef int put_text_hashed(self, const char *key, Py_ssize_t size, uint64_t hashed, const char *text,
                             Py_ssize_t length) except -1
    cdef bint remove_hashed(self, const char *key, Py_ssize_t size, uint64_t hashed) noexcept
    cdef void fetch(self, uint64_t *hashes, Py_ssize_t count) noexcept
    cdef Record *_known(self, const char *key, Py_ssize_t size, uint64_t hashed, Py_ssize_t *slot) noexcept
    cdef int _take(self, Record *made, Py_ssize_t slot, uint64_t hashed) except -1
    cdef int _make_room(self, Py_ssize_t more=*) except -1
    cdef int reserve(self, Py_ssize_t count) except -1
