# A piece of text that stands in someone else's memory: what kernels give each other so that no object is made of it.
# The twin in Python is `_text.py`.

cdef extern from "Python.h":
    char *PyBytes_AS_STRING(object)
    Py_ssize_t PyBytes_GET_SIZE(object)
    bytes PyBytes_FromStringAndSize(const char *, Py_ssize_t)

cdef struct Text:
    const char *at
    Py_ssize_t size

# Good for as long as the object is there.
cdef inline Text text_of(bytes found) noexcept:
    return Text(PyBytes_AS_STRING(found), PyBytes_GET_SIZE(found))

cdef inline Py_ssize_t size_of(Text text) noexcept:
    return text.size

# A copy.
cdef inline bytes bytes_of(Text text):
    return PyBytes_FromStringAndSize(text.at, text.size)
