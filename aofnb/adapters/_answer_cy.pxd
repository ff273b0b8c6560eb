from aofnb.adapters._peer_cy cimport Peer
from aofnb.store._table_cy cimport Table

cdef class Plain:
    cdef object engine
    cdef Py_ssize_t room
    cdef Py_ssize_t total
    cdef long long now_ms
    cdef int may_get
    cdef int may_set
    cdef object db
    cdef Table values
    cdef Table expires
    cdef bint untold
    cdef Py_ssize_t hits
    cdef Py_ssize_t misses
    cdef Py_ssize_t written
    cdef list records
    cdef bytearray out
    cdef Py_ssize_t out_bytes
    cpdef tuple answer(self, list arrived, Py_ssize_t most, double now_s)
    cdef int begin(self, Py_ssize_t most) except -1
    cdef int end(self) except -1
    cdef bint nobody_watches(self) except -1
    cdef Py_ssize_t run(self, Peer peer, bytes data) except -1
    cdef bint is_heeded(self, const char *p, Py_ssize_t start, Py_ssize_t end, bint writes) except -1
    cdef bint read_key(self, const char *p, Py_ssize_t start, Py_ssize_t end, object client) except -1
    cdef int set_key(self, const char *p, Py_ssize_t start, Py_ssize_t end, Py_ssize_t text, Py_ssize_t text_end) except -1
    cdef int append_bulk(self, const char *text, Py_ssize_t size) except -1
    cdef int append(self, const char *text, Py_ssize_t size) except -1
    cdef char *room_for(self, Py_ssize_t size) except NULL
    cdef bytes replies(self)
    cdef bint select(self, object db) except -1
    cdef int tell(self) except -1
