# Types of the kernel's names.
cdef unsigned long long TABLE[8][256]
