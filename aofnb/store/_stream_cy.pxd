from aofnb.store._slots cimport held, hold, slot_of

cdef Py_ssize_t _NODES, _LENGTH, _ENTRIES_ADDED, _STREAM_LAST_ID
cdef Py_ssize_t _IDS, _ENTRIES, _FIELDS, _MASTER_ID, _LAST_ID, _DELETED, _BODY_BYTES
