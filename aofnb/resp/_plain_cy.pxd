# What other kernels take from this one.
cpdef long long argument_at(const unsigned char *p, Py_ssize_t at, Py_ssize_t size) noexcept
