# What other kernels call without Python's calling convention.

from aofnb.resp._text cimport Text, size_of, text_of

cpdef add(bytes packed, bytes item, bint first)
cpdef with_fields(bytes packed, pairs, Py_ssize_t max_entries, Py_ssize_t max_bytes)
cpdef with_field(bytes packed, bytes field, bytes value, Py_ssize_t max_entries, Py_ssize_t max_bytes)
cpdef with_score(bytes packed, bytes member, double score)
# The same for texts that are no objects.
cdef bytes add_text(bytes packed, Text item, bint first)
cdef bytes with_field_text(bytes packed, Text field, Text value, Py_ssize_t max_entries, Py_ssize_t max_bytes)
cdef bytes with_score_text(bytes packed, Text member, double score)
