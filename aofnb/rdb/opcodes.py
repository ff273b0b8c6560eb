"""The first byte of a record: opcodes, and the types of values.

Numbers collide between the two families of servers: types from 22 on and opcodes up to 243 mean one thing in a
file that begins with ``REDIS`` and another in one that begins with ``VALKEY``.

Redis: rdb.h (7.0.15, with what later servers added).
"""

from __future__ import annotations

__all__ = ["TYPE_NAMES"]

MAGIC_REDIS = b"REDIS"
MAGIC_VALKEY = b"VALKEY"
# The version that is written, and the newest that is read, by magic.
RDB_VERSION = 10
# What is written where a field of a hash has a deadline, which a server before 7.4 cannot hold.
RDB_VERSION_FIELDS = 12
NEWEST = {MAGIC_REDIS: 15, MAGIC_VALKEY: 81}
# From this version on a checksum follows the end.
FIRST_WITH_CHECKSUM = 5

EOF = 255
SELECTDB = 254
EXPIRETIME = 253
EXPIRETIME_MS = 252
RESIZEDB = 251
AUX = 250
FREQ = 249
IDLE = 248
MODULE_AUX = 247
FUNCTION_PRE_GA = 246
FUNCTION2 = 245
SLOT_INFO = 244
KEY_META = 243
SLOT_IMPORT = 243  # in a VALKEY file
HASH_TEMPLATE = 242
UPDATE = 242  # in a VALKEY file
FIRST_OPCODE = 242

STRING = 0
LIST = 1
SET = 2
ZSET = 3
HASH = 4
ZSET_2 = 5
MODULE_PRE_GA = 6
MODULE_2 = 7
HASH_ZIPMAP = 9
LIST_ZIPLIST = 10
SET_INTSET = 11
ZSET_ZIPLIST = 12
HASH_ZIPLIST = 13
LIST_QUICKLIST = 14
STREAM_LISTPACKS = 15
HASH_LISTPACK = 16
ZSET_LISTPACK = 17
LIST_QUICKLIST_2 = 18
STREAM_LISTPACKS_2 = 19
SET_LISTPACK = 20
STREAM_LISTPACKS_3 = 21
HASH_METADATA_PRE_GA = 22
HASH_LISTPACK_EX_PRE_GA = 23
HASH_METADATA = 24
HASH_LISTPACK_EX = 25
STREAM_LISTPACKS_4 = 26
STREAM_LISTPACKS_5 = 27
ARRAY = 28
HASH_TEMPLATED_LISTPACK = 30
HASH_TEMPLATED = 32
HASH_VALKEY_EXPIRES = 22  # in a VALKEY file

# Since when there are the types that version 10 does not have: in an older file they are damage. Opcodes are not
# looked at so closely, since vendors wrote some early.
FIRST_VERSIONS = {
    SET_LISTPACK: 11,
    STREAM_LISTPACKS_3: 11,
    HASH_METADATA_PRE_GA: 12,
    HASH_LISTPACK_EX_PRE_GA: 12,
    HASH_METADATA: 12,
    HASH_LISTPACK_EX: 12,
    STREAM_LISTPACKS_4: 13,
    STREAM_LISTPACKS_5: 14,
    ARRAY: 14,
    HASH_TEMPLATED_LISTPACK: 15,
    HASH_TEMPLATED: 15,
}

# A quicklist node: one element as it is, or a listpack of elements.
NODE_PLAIN, NODE_PACKED = 1, 2

MODULE_END, MODULE_SIGNED, MODULE_UNSIGNED, MODULE_FLOAT, MODULE_DOUBLE, MODULE_STRING = range(6)

# What servers say about themselves, in lower case.
AUX_FIELDS = frozenset(
    b"redis-ver valkey-ver redis-bits ctime used-mem repl-stream-db repl-id repl-offset aof-preamble aof-base lua "
    b"slot-info".split()
)

TYPE_NAMES = {
    STRING: "string",
    LIST: "list",
    SET: "set",
    ZSET: "zset with scores as text",
    HASH: "hash",
    ZSET_2: "zset",
    MODULE_PRE_GA: "module, before its release",
    MODULE_2: "module",
    HASH_ZIPMAP: "hash in a zipmap",
    LIST_ZIPLIST: "list in a ziplist",
    SET_INTSET: "set in an intset",
    ZSET_ZIPLIST: "zset in a ziplist",
    HASH_ZIPLIST: "hash in a ziplist",
    LIST_QUICKLIST: "list of ziplists",
    STREAM_LISTPACKS: "stream",
    HASH_LISTPACK: "hash in a listpack",
    ZSET_LISTPACK: "zset in a listpack",
    LIST_QUICKLIST_2: "list of listpacks",
    STREAM_LISTPACKS_2: "stream, second form",
    SET_LISTPACK: "set in a listpack",
    STREAM_LISTPACKS_3: "stream, third form",
    HASH_METADATA_PRE_GA: "hash with expiring fields, before its release",
    HASH_LISTPACK_EX_PRE_GA: "hash with expiring fields in a listpack, before its release",
    HASH_METADATA: "hash with expiring fields",
    HASH_LISTPACK_EX: "hash with expiring fields in a listpack",
    STREAM_LISTPACKS_4: "stream, fourth form",
    STREAM_LISTPACKS_5: "stream, fifth form",
    ARRAY: "array",
    29: "hash with a template, for DUMP only",
    HASH_TEMPLATED_LISTPACK: "hash with a template in a listpack",
    31: "hash with a template, for DUMP only",
    HASH_TEMPLATED: "hash with a template",
    33: "rate limiter",
}
"""Names of the types in a ``REDIS`` file."""
