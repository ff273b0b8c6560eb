from aofnb.store._packed_cy cimport add, with_fields, with_score
from aofnb.store._slots cimport held, hold, slot_of
from aofnb.store._table_cy cimport Table

cdef Py_ssize_t _HASH_DATA, _HASH_STATE, _LIST_DATA, _SET_INTSET, _SET_POOL, _SET_MEMBERS, _ZSET_DATA, _ZSET_STATE
cdef Py_ssize_t _STREAM_LAST_ID
