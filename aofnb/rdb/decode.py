"""One value from its bytes: a decoder per type, each with the checks that redis-check-rdb makes.

Rules of this file: a collection without elements gives None, since Redis makes no key of it; members and fields
that come twice are refused; encodings are those that a server of version 7.0 with the same settings would choose
when it loads the same bytes.

Redis: rdb.c rdbLoadObject (7.0.15).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from aofnb.config import Config
from aofnb.errors import RdbError
from aofnb.rdb import opcodes
from aofnb.rdb.listpack import Item, decode_intset, decode_listpack, decode_texts, texts
from aofnb.rdb.source import Source
from aofnb.rdb.streams import decode_stream
from aofnb.rdb.ziplist import decode_ziplist, decode_zipmap
from aofnb.store.hash_value import HashValue
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Stream
from aofnb.store.values import Value
from aofnb.store.zset import SortedSet

__all__ = ["Context", "Unsupported", "check_type", "decode_value", "score_of"]

# Longer than any limit: for what is compact already and stays it, however long its members are.
_ANY = 1 << 62
_NUMBER_BYTES = b"0123456789+-.eE"
_NUMBER_MAX = 128
_NO_NUMBERS = {255: -math.inf, 254: math.inf}
_EXPIRY_MAX = (1 << 48) - 1


@dataclass(slots=True)
class Context:
    """What the decoders of one file share.

    ``version`` is that of the format; ``field_expires`` is what the value decoded last says about its fields:
    deadline in ms by field.
    """

    config: Config
    version: int = opcodes.RDB_VERSION
    warn: Callable[[str], None] = lambda _message: None
    valkey: bool = False
    templates: dict[int, list[bytes]] = field(default_factory=dict)
    field_expires: dict[bytes, int] = field(default_factory=dict)


class Unsupported(Exception):  # noqa: N818  # no error: the value was read, and there is nothing here to hold it
    """A value that was skipped whole; str() says what it was."""


def check_type(source: Source, type_: int, context: Context) -> None:
    """Refuse a type that cannot be read. Before its key: what follows a number that is no type need not be one.

    Raises
    ------
    RdbError
        For a type that nobody knows, or whose end cannot be found, or that came with a later version.
    """
    if type_ not in (_VALKEY if context.valkey else _REDIS):
        name = None if context.valkey and type_ > opcodes.STREAM_LISTPACKS_3 else opcodes.TYPE_NAMES.get(type_)
        known = f"a value of type {type_} ({name})" if name else f"a record or value of the unknown type {type_}"
        raise source.error(f"{known}: it is not known how to read it, so nothing after it can be read")
    if context.version < opcodes.FIRST_VERSIONS.get(type_, 0):
        raise source.error(f"a value of type {type_}, which version {context.version} does not have")


def decode_value(source: Source, type_: int, context: Context) -> Value | None:
    """The value of type `type_`, which `check_type` let pass, that comes next; None for an empty collection.

    Raises
    ------
    RdbError
        For damage.
    Unsupported
        For one that can only be skipped, and was.
    """
    context.field_expires.clear()
    try:
        value = (_VALKEY if context.valkey else _REDIS)[type_](source, type_, context)
        if context.field_expires and isinstance(value, HashValue):
            value.expire(context.field_expires)
        return value
    except RdbError as problem:
        if problem.offset is not None:
            raise
        # From inside a blob, which knows no place.
        raise source.error(problem.message) from None


def _string(source: Source, _type: int, _context: Context) -> bytes:
    return source.string()


# --- lists ---------------------------------------------------------------------------------------------------


def _list_of(items: Iterable[bytes]) -> ListValue | None:
    made = ListValue(items)
    return made if len(made) else None


def _list(source: Source, _type: int, _context: Context) -> ListValue | None:
    return _list_of(source.strings(source.count(1)))


def _list_ziplist(source: Source, _type: int, _context: Context) -> ListValue | None:
    return _list_of(texts(decode_ziplist(source.string())))


def _quicklist(source: Source, _type: int, _context: Context) -> ListValue | None:
    items: list[bytes] = []
    for _node in range(source.count(1)):
        items += texts(decode_ziplist(source.string()))
    return _list_of(items)


def _quicklist_2(source: Source, _type: int, _context: Context) -> ListValue | None:
    items: list[bytes] = []
    for _node in range(source.count(2)):
        container = source.length()
        if container == opcodes.NODE_PLAIN:
            items.append(source.string())
        elif container == opcodes.NODE_PACKED:
            items += decode_texts(source.string())
        else:
            raise source.error(f"a list has a node of kind {container}; there are only 1 and 2")
    return _list_of(items)


# --- sets ----------------------------------------------------------------------------------------------------


def _set_of(source: Source, members: list[bytes], context: Context) -> SetValue | None:
    made = SetValue.of(members, context.config.set_max_intset_entries)
    if len(made) != len(members):
        raise source.error("a set has a member twice")
    return made if members else None


def _set(source: Source, _type: int, context: Context) -> SetValue | None:
    return _set_of(source, source.strings(source.count(1)), context)


def _set_intset(source: Source, _type: int, context: Context) -> SetValue | None:
    return _set_of(source, texts(decode_intset(source.string())), context)


def _set_listpack(source: Source, _type: int, context: Context) -> SetValue | None:
    return _set_of(source, decode_texts(source.string()), context)


# --- sorted sets ---------------------------------------------------------------------------------------------


def _score(source: Source, item: Item) -> float:
    score = score_of(item)
    if score is None:
        raise source.error(f"{cast(bytes, item)[:40]!r} is no score")
    return score


def score_of(item: Item) -> float | None:
    """A score from its text, more strictly than by strtod: it takes what it understands and leaves the rest. None if
    it is none.
    """
    if isinstance(item, int) or item in (b"inf", b"-inf"):
        return float(item)
    # Python's numbers may also have spaces, underscores and other words.
    if len(item) > _NUMBER_MAX or item.translate(None, _NUMBER_BYTES):
        return None
    try:
        return float(item)
    except ValueError:
        return None


def _text_double(source: Source) -> float:
    size = source.byte()
    return _NO_NUMBERS[size] if size in _NO_NUMBERS else _score(source, b"nan" if size == 253 else source.take(size))


def _zset(source: Source, _type: int, context: Context) -> SortedSet | None:
    count = source.count(9)
    return _plain_zset(source, source.scores(count), count, context)


def _zset_text(source: Source, _type: int, context: Context) -> SortedSet | None:
    """With scores as text."""
    scores: dict[bytes, float] = {}
    count = source.count(2)
    for _member in range(count):
        member = source.string()
        scores[member] = score = _text_double(source)
        if score != score:
            raise source.error("a score that is not a number")
    return _plain_zset(source, scores, count, context)


def _plain_zset(source: Source, scores: dict[bytes, float], count: int, context: Context) -> SortedSet | None:
    config = context.config
    return _zset_of(source, scores, count, config.zset_max_listpack_entries, config.zset_max_listpack_value)


def _zset_compact(source: Source, type_: int, context: Context) -> SortedSet | None:
    blob = source.string()
    items = decode_ziplist(blob) if type_ == opcodes.ZSET_ZIPLIST else decode_listpack(blob)
    _check_pairs(source, items, 2)
    scores = {member: _score(source, score) for member, score in zip(texts(items[::2]), items[1::2], strict=True)}
    return _zset_of(source, scores, len(items) // 2, context.config.zset_max_listpack_entries, _ANY)


def _zset_of(
    source: Source, scores: dict[bytes, float], count: int, max_entries: int, max_member_bytes: int
) -> SortedSet | None:
    if len(scores) != count:
        raise source.error("a sorted set has a member twice")
    return SortedSet.of(scores, max_entries, max_member_bytes) if scores else None


# --- hashes --------------------------------------------------------------------------------------------------


def _hash_of(source: Source, fields: dict[bytes, bytes], count: int, entries: int, size: int) -> HashValue | None:
    if len(fields) != count:
        raise source.error("a hash has a field twice")
    return HashValue.of(fields, entries, size) if fields else None


def _hash(source: Source, _type: int, context: Context) -> HashValue | None:
    count = source.count(2)
    parts = source.strings(2 * count)
    return _plain_hash(source, dict(zip(parts[::2], parts[1::2], strict=True)), count, context)


def _plain_hash(source: Source, fields: dict[bytes, bytes], count: int, context: Context) -> HashValue | None:
    config = context.config
    return _hash_of(source, fields, count, config.hash_max_listpack_entries, config.hash_max_listpack_value)


def _hash_zipmap(source: Source, _type: int, context: Context) -> HashValue | None:
    items = decode_zipmap(source.string())
    return _plain_hash(source, dict(zip(items[::2], items[1::2], strict=True)), len(items) // 2, context)


def _hash_compact(source: Source, type_: int, context: Context) -> HashValue | None:
    blob = source.string()
    parts = texts(decode_ziplist(blob)) if type_ == opcodes.HASH_ZIPLIST else decode_texts(blob)
    _check_pairs(source, parts, 2)
    fields = dict(zip(parts[::2], parts[1::2], strict=True))
    return _hash_of(source, fields, len(parts) // 2, context.config.hash_max_listpack_entries, _ANY)


def _check_pairs(source: Source, items: Sequence[Item], width: int) -> None:
    if len(items) % width:
        raise source.error(f"{len(items)} elements do not make groups of {width}")


def _hash_expires(source: Source, type_: int, context: Context) -> HashValue | None:
    """Fields of which some expire: what comes before each is 0, or how far its deadline is from the earliest."""
    earliest_ms = source.int64() if type_ == opcodes.HASH_METADATA else 1
    count = source.count(3)
    fields: dict[bytes, bytes] = {}
    for _field in range(count):
        distance = source.length()
        name = source.string()
        fields[name] = source.string()
        if distance:
            _note_expiry(source, context, name, earliest_ms + distance - 1)
    return _plain_hash(source, fields, count, context)


def _hash_expires_compact(source: Source, type_: int, context: Context) -> HashValue | None:
    if type_ == opcodes.HASH_LISTPACK_EX:
        source.int64()  # the earliest deadline, which the fields tell
    items = decode_listpack(source.string())
    _check_pairs(source, items, 3)
    names, values = texts(items[::3]), texts(items[1::3])
    for name, when_ms in zip(names, items[2::3], strict=True):
        if not isinstance(when_ms, int):
            raise source.error("a hash has text where a deadline must be")
        if when_ms:
            _note_expiry(source, context, name, when_ms)
    fields = dict(zip(names, values, strict=True))
    return _hash_of(source, fields, len(names), context.config.hash_max_listpack_entries, _ANY)


def _note_expiry(source: Source, context: Context, name: bytes, when_ms: int) -> None:
    if not 0 <= when_ms <= _EXPIRY_MAX:
        raise source.error(f"a field of a hash expires at {when_ms}, which is no time")
    context.field_expires[name] = when_ms


def _hash_expires_valkey(source: Source, _type: int, context: Context) -> HashValue | None:
    count = source.count(10)
    fields: dict[bytes, bytes] = {}
    for _field in range(count):
        name = source.string()
        fields[name] = source.string()
        when_ms = source.int64()
        if when_ms != -1:
            _note_expiry(source, context, name, when_ms)
    return _plain_hash(source, fields, count, context)


def _hash_template(source: Source, type_: int, context: Context) -> HashValue | None:
    """Values for the fields that an earlier record listed."""
    if type_ == opcodes.HASH_TEMPLATED_LISTPACK:
        items = decode_listpack(source.string())
        if not items or not isinstance(items[0], int):
            raise source.error("a hash does not say which template it has")
        names = _template(source, context, items[0])
        values = texts(items[1:])
    else:
        names = _template(source, context, source.length())
        values = [source.string() for _field in names]
    if len(values) != len(names):
        raise source.error(f"a hash has {len(values)} values for the {len(names)} fields of its template")
    return _plain_hash(source, dict(zip(names, values, strict=True)), len(names), context)


def _template(source: Source, context: Context, number: int) -> list[bytes]:
    if number not in context.templates:
        raise source.error(f"a hash has the template {number}, which no record defined")
    return context.templates[number]


# --- streams, and what there is no place for -----------------------------------------------------------------


def _stream(source: Source, type_: int, context: Context) -> Stream:
    return decode_stream(source, type_, context.warn)


def _module(source: Source, _type: int, _context: Context) -> Value:
    name = module_name(source.length())
    skip_module_items(source)
    raise Unsupported(f"a value of the module {name}")


def _array(source: Source, _type: int, _context: Context) -> Value:
    count = source.length()
    if source.length():
        source.length()
    for _item in range(count):
        source.length()
        tag = source.length()
        if tag in (0, 3):
            source.string()
        elif tag in (1, 2):
            source.take(8)
        else:
            raise source.error(f"an item of an array is of kind {tag}, which is not known")
    raise Unsupported("an array, which only servers from 8.8 on know")


_MODULE_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def module_name(number: int) -> str:
    """The name of a module from its number, of which the low ten bits are a version.

    >>> module_name(0x45E25238DF912C03)
    'ReJSON-RL'
    """
    return "".join(_MODULE_ALPHABET[number >> shift & 63] for shift in range(58, 9, -6))


def function_pre_ga(source: Source) -> bytes:
    """The source of a library, from what the release candidates of 7.0 wrote: its name and engine stood apart."""
    name, engine = source.string(), source.string()
    if source.length():
        source.string()
    return b"#!%b name=%b\n%b" % (engine.lower(), name, source.string())


def skip_module_items(source: Source) -> None:
    """Go past what a module wrote, its end included."""
    while (code := source.length()) != opcodes.MODULE_END:
        if code in (opcodes.MODULE_SIGNED, opcodes.MODULE_UNSIGNED):
            source.length()
        elif code == opcodes.MODULE_FLOAT:
            source.take(4)
        elif code == opcodes.MODULE_DOUBLE:
            source.take(8)
        elif code == opcodes.MODULE_STRING:
            source.string()
        else:
            raise source.error(f"a module wrote an item of kind {code}, which is not known")


_Decoder = Callable[[Source, int, Context], Value | None]

_SHARED: dict[int, _Decoder] = {
    opcodes.STRING: _string,
    opcodes.LIST: _list,
    opcodes.SET: _set,
    opcodes.ZSET: _zset_text,
    opcodes.HASH: _hash,
    opcodes.ZSET_2: _zset,
    opcodes.MODULE_2: _module,
    opcodes.HASH_ZIPMAP: _hash_zipmap,
    opcodes.LIST_ZIPLIST: _list_ziplist,
    opcodes.SET_INTSET: _set_intset,
    opcodes.ZSET_ZIPLIST: _zset_compact,
    opcodes.HASH_ZIPLIST: _hash_compact,
    opcodes.LIST_QUICKLIST: _quicklist,
    opcodes.STREAM_LISTPACKS: _stream,
    opcodes.HASH_LISTPACK: _hash_compact,
    opcodes.ZSET_LISTPACK: _zset_compact,
    opcodes.LIST_QUICKLIST_2: _quicklist_2,
    opcodes.STREAM_LISTPACKS_2: _stream,
    opcodes.SET_LISTPACK: _set_listpack,
    opcodes.STREAM_LISTPACKS_3: _stream,
}
_REDIS: dict[int, _Decoder] = {
    **_SHARED,
    opcodes.HASH_METADATA_PRE_GA: _hash_expires,
    opcodes.HASH_LISTPACK_EX_PRE_GA: _hash_expires_compact,
    opcodes.HASH_METADATA: _hash_expires,
    opcodes.HASH_LISTPACK_EX: _hash_expires_compact,
    opcodes.STREAM_LISTPACKS_4: _stream,
    opcodes.STREAM_LISTPACKS_5: _stream,
    opcodes.ARRAY: _array,
    opcodes.HASH_TEMPLATED_LISTPACK: _hash_template,
    opcodes.HASH_TEMPLATED: _hash_template,
}
_VALKEY: dict[int, _Decoder] = {**_SHARED, opcodes.HASH_VALKEY_EXPIRES: _hash_expires_valkey}
