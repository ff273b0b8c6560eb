# What other kernels call: texts that are no objects.

from aofnb.resp._text cimport Text, size_of, text_of

cdef bytes add_text(bytes packed, Text item, bint first)
cdef bytes with_field_text(bytes packed, Text field, Text value, Py_ssize_t max_entries, Py_ssize_t max_bytes)
cdef bytes with_score_text(bytes packed, Text member, double score)
