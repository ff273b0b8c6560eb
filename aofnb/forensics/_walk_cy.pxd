from aofnb.forensics._framing cimport annotation_end, database_at, header_at, seconds_at
