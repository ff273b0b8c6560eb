"""Snapshots in the format of redis-server: files (RDB) and DUMP payloads. Knows values and no commands.

``RdbReader`` goes through a file entry by entry, ``load_rdb`` puts one into a keyspace, ``write_rdb`` makes one;
``dump_payload`` and ``load_payload`` are for single values.
"""

from aofnb.rdb.dump import ChecksumError, dump_payload, load_payload

__all__ = ["ChecksumError", "dump_payload", "load_payload"]
