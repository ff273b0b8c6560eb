from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

from aofnb.resp._text cimport Text, bytes_of, size_of, text_of
from aofnb.store._entries cimport find, key_hash, is_there, put, put_text, remove
from aofnb.store._packed_cy cimport add_text, with_field_text, with_score_text
from aofnb.store._slots cimport held, hold, slot_of
from aofnb.store._table_cy cimport BATCH, Table

cdef Py_ssize_t _HASH_DATA, _HASH_STATE, _LIST_DATA, _SET_INTSET, _SET_POOL, _SET_MEMBERS, _ZSET_DATA, _ZSET_STATE
cdef Py_ssize_t _STREAM_LAST_ID

cdef enum:
    _SET, _DEL, _INCR, _PEXPIREAT, _HSET, _RPUSH, _LPUSH, _SADD, _ZADD, _XADD, _MSET, _INCRBY, _LPOP, _RPOP, _LTRIM

cdef enum:
    # A command with more is left to its handler.
    MOST_ARGUMENTS = 64

ctypedef Text *Arguments

# How an operation is spelled in a log. An open hash table, by `_slot`.
cdef struct Spelling:
    Text name
    int operation

cdef Spelling _spellings[64]

# Commands: a list of lists of bytes, or where they stand, as `resp.pairs.Records` has it.
cdef struct Run:
    PyObject *argvs
    const char *data
    int *places
    int *starts
