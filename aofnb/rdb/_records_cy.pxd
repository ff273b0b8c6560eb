from libc.stdint cimport int64_t, uint64_t

from aofnb.rdb._strings cimport CUT, ODD, length_at, number_at, string_end, text_begin, width_of
from aofnb.resp._text cimport Text, bytes_of, text_of
from aofnb.store._entries cimport key_hash, put, put_text
from aofnb.store._table_cy cimport BATCH, Table, aofnb_hash, later_of

cdef enum:
    # Room for a number of 32 bits.
    DIGITS = 12

cdef bytes _SHAPES, _LATER
