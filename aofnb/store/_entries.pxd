# The entries of a table under keys that are no objects. The twin in Python is `_entries.py`.

from libc.stdint cimport uint64_t

from aofnb.resp._text cimport Text, bytes_of
from aofnb.store._table_cy cimport INLINE_MAX, Table, aofnb_hash

# The hash by which a table knows `key`.
cdef inline uint64_t key_hash(Text key) noexcept:
    return aofnb_hash(key.at, key.size)

# The value of `key`, or None.
cdef inline object find(Table table, Text key, uint64_t hashed):
    return table.find_hashed(key.at, key.size, hashed)

cdef inline bint is_there(Table table, Text key, uint64_t hashed) noexcept:
    return table.has_hashed(key.at, key.size, hashed)

cdef inline int put(Table table, Text key, uint64_t hashed, object value) except -1:
    return table.put_hashed(key.at, key.size, hashed, value)

# What is small needs no object.
cdef inline int put_text(Table table, Text key, uint64_t hashed, Text value) except -1:
    if value.size <= INLINE_MAX:
        return table.put_text_hashed(key.at, key.size, hashed, value.at, value.size)
    return table.put_hashed(key.at, key.size, hashed, bytes_of(value))

# Whether there was one.
cdef inline bint remove(Table table, Text key, uint64_t hashed) noexcept:
    return table.remove_hashed(key.at, key.size, hashed)
