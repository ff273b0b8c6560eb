"""Snapshots in the format of redis-server: files (RDB) and DUMP payloads. Knows values and no commands.

``RdbReader`` goes through a file entry by entry, ``load_rdb`` puts one into a keyspace, ``write_rdb`` makes one;
``dump_payload`` and ``load_payload`` are for single values, ``dump_functions`` and ``load_functions`` for libraries.
"""

from aofnb.rdb.dump import ChecksumError, dump_functions, dump_payload, load_functions, load_payload
from aofnb.rdb.encode import list_node_sizes
from aofnb.rdb.reader import MAGIC_BYTES, Entry, LibraryEntry, Loaded, RdbReader, Skipped, is_rdb, load_rdb
from aofnb.rdb.writer import base_aux, rdb_pieces, write_rdb

__all__ = [
    "MAGIC_BYTES",
    "ChecksumError",
    "Entry",
    "LibraryEntry",
    "Loaded",
    "RdbReader",
    "Skipped",
    "base_aux",
    "dump_functions",
    "dump_payload",
    "is_rdb",
    "list_node_sizes",
    "load_functions",
    "load_payload",
    "load_rdb",
    "rdb_pieces",
    "write_rdb",
]
