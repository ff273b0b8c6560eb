cdef class Traffic:
    cdef public list arrived
    cdef public long long input_bytes
    cdef public long long output_bytes
    cdef bytearray buffer

cdef class Peer:
    cdef public Traffic traffic
    cdef public object sock
    cdef int fd
    cdef public object client
    cdef public object reader
    cdef public list requests
    cdef public bint under_way
    cdef public object waiting_for
    cdef public list out
    cdef public Py_ssize_t share
    cdef public Py_ssize_t unread_bytes
    cdef public object unsent
    cdef public list said
    cdef public double last_heard_s
    cdef public bint reads
    cdef public bint closing
    cdef public bint leaving
    cdef void _read_in(self) except *
    cdef void _flush(self, bytes data) except *
    cdef Py_ssize_t _offer(self, data) except -1
    cdef bytes _receive(self)
    cdef Py_ssize_t _send(self, data) except -1
