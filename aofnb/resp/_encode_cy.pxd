# What other kernels take from this one.
cdef char *put_number(char *p, char kind, long long number) noexcept
