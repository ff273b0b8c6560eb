# What other kernels call without Python's calling convention.

cpdef add(bytes packed, bytes item, bint first)
cpdef with_fields(bytes packed, pairs, Py_ssize_t max_entries, Py_ssize_t max_bytes)
cpdef with_field(bytes packed, bytes field, bytes value, Py_ssize_t max_entries, Py_ssize_t max_bytes)
cpdef with_score(bytes packed, bytes member, double score)
