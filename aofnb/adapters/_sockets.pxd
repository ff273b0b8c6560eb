# What the system has for sockets; read() and write() do the same by a longer way.
cdef extern from "sys/socket.h" nogil:
    Py_ssize_t recv(int fd, void *data, size_t size, int flags)
    Py_ssize_t send(int fd, const void *data, size_t size, int flags)
