"""A snapshot from front to back: entries one by one, and what else it says.

1. the first nine bytes: family and version;
2. records: an opcode and its payload, or a type byte, a key and a value;
3. the end mark, and from version 5 on the checksum of everything before it.

Rules of this file: an attribute (deadline, idle time, frequency) belongs to the next key, whatever stands between;
a type or opcode that is not known ends the reading, since nothing says how long it is; entries that were given
stay good when a later one is not.

Redis: rdb.c rdbLoadRioWithLoadingCtx (7.0.15).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Literal, NamedTuple, NoReturn

from aofnb.config import Config
from aofnb.errors import RdbError
from aofnb.rdb import _records_cy, opcodes
from aofnb.rdb.crc64 import crc64
from aofnb.rdb.decode import (
    Context,
    Unsupported,
    check_type,
    decode_value,
    function_pre_ga,
    module_name,
    skip_module_items,
)
from aofnb.rdb.source import Source, SumUp
from aofnb.store import _table_cy
from aofnb.store._table_cy import Table, reserve
from aofnb.store.functions import LibraryError, parse_library
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Keyspace
from aofnb.store.values import Value

__all__ = ["Entry", "Loaded", "RdbReader", "Skipped", "is_rdb", "load_rdb"]

# How many bytes tell a snapshot from a log of commands.
MAGIC_BYTES = 5
_HEADER_BYTES = 9
_COMPRESSED_MAGIC = b"VCS\x01\x01\x00\x01"
_VERSION = re.compile(rb"REDIS([0-9]{4})|VALKEY([0-9]{3})")
_CHECKSUM_BYTES = 8
# No server is set up with more databases than an int counts.
_DATABASES_MAX = (1 << 31) - 1
_PROGRESS_BYTES = 1 << 20
# Of a key: type, and two strings that are empty.
_LEAST_BYTES = 3

# Says where keys of a database go, the values and the deadlines, or that they are to come as entries.
Into = Callable[[int, int], "tuple[Table[Value], Table[int]] | None"]
# Takes records from ``data[at]`` on, whose first byte is at `base` in the snapshot, and says where the first is that it
# did not take, and whether it wants to see more of that one than there was.
Take = Callable[[bytes, int, int], tuple[int, bool]]
Checksum = Literal["unread", "ok", "wrong", "disabled", "absent", "unchecked"]


class Entry(NamedTuple):
    """One key.

    ``expire_ms`` is its deadline in ms since the epoch, ``idle_s`` and ``freq`` what a server that evicts knows
    of its use; None where the file does not say. ``field_expires`` are deadlines of fields of a hash, in ms,
    which no value here can hold. The bytes of the record are from ``offset`` to before ``end``.
    """

    db: int
    key: bytes
    value: Value
    expire_ms: int | None
    idle_s: int | None
    freq: int | None
    type_byte: int
    offset: int
    end: int
    field_expires: dict[bytes, int] | None = None


class LibraryEntry(NamedTuple):
    """The source of one function library, whose record is from ``offset`` to before ``end``."""

    code: bytes
    offset: int
    end: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something of the file that was read and not given: `key` is None where it is not a key."""

    reason: str
    offset: int
    db: int = -1
    key: bytes | None = None


def is_rdb(head: bytes) -> bool:
    """Whether a file that begins with `head`, five bytes of it or more, is a snapshot and no log of commands."""
    return head.startswith((opcodes.MAGIC_REDIS, opcodes.MAGIC_VALKEY[:MAGIC_BYTES], _COMPRESSED_MAGIC[:MAGIC_BYTES]))


class RdbReader(Iterator[Entry]):
    """The entries of a snapshot; what else it says is in the attributes, complete after the last entry.

    Memory is bounded by the largest single value; nothing is allocated for what a damaged file only claims to have.

    Parameters
    ----------
    file
        Where to read, from where it stands. More is read than the snapshot has, so a log behind it must be
        sought: it begins at `end`.
    size
        How many bytes there are; found by seeking if not given.
    name
        What errors call the file.
    config
        Settings that decide on encodings; the defaults if not given.
    checksum
        ``verify``: a wrong one is an error, behind the last entry; ``report``: it is in `checksum`;
        ``skip``: it is not looked at.
    databases
        How many there may be.
    sum_up
        What makes the checksum, if that can be had more quickly.

    Attributes
    ----------
    version, magic
        Known from the start: 1 to 15 and ``REDIS``, or 80 and up and ``VALKEY``.
    aux : list of (name, value)
        What the server said about itself, in the order of the file.
    functions : list of LibraryEntry
        The function libraries.
    skipped : list of Skipped
        Values of modules, and others that nothing here can hold.
    empty_keys, first_empty
        How many keys had collections without elements, and where the first is: Redis makes no keys of them.
    highest_db
        The highest database that was selected, and where.
    warnings : list of str
        What is odd but no damage.
    checksum
        ``unread`` before the end, then ``ok``, ``wrong`` (only with ``report``), ``disabled`` by the writer,
        ``absent`` in this version, or ``unchecked``.
    end
        Where the snapshot ends, counted from where it began; None before that.

    Raises
    ------
    RdbError
        From the constructor if this is no snapshot that can be read; from `next` at damage.
    """

    def __init__(
        self,
        file: BinaryIO,
        size: int | None = None,
        *,
        name: str | None = None,
        config: Config | None = None,
        checksum: Literal["verify", "report", "skip"] = "verify",
        databases: int = _DATABASES_MAX,
        sum_up: SumUp = crc64,
    ) -> None:
        self.aux: list[tuple[bytes, bytes]] = []
        self.functions: list[LibraryEntry] = []
        self.skipped: list[Skipped] = []
        self.warnings: list[str] = []
        self.empty_keys = 0
        self.first_empty: int | None = None
        self.highest_db = (0, 0)
        self.checksum: Checksum = "unread"
        self.end: int | None = None
        self._mode = checksum
        self._databases = databases
        self._source = Source(
            file, _left(file) if size is None else size, name, sum_up=None if checksum == "skip" else sum_up
        )
        self.magic, self.version = self._header()
        self._context = Context(
            Config() if config is None else config,
            self.version,
            self.warnings.append,
            valkey=self.magic == opcodes.MAGIC_VALKEY,
        )
        self._into: Into | None = None
        self._later = False
        self._entries = self._read()

    def __next__(self) -> Entry:
        return next(self._entries)

    def hand_over(self, into: Into, later: bool = False) -> None:
        """Put keys where `into` says and do not give them as entries, where that can be had: it is called with the
        database and how far the file was read. When it answers with None, all that follow come as entries.

        With `later`, values are made when they are first asked for, where the table can do that: only for a file that
        is known to be good, since damage is met as late.
        """
        self._into = into
        self._later = later and _table_cy.COMPILED and self.version >= opcodes.RDB_VERSION

    @property
    def config(self) -> Config:
        """The settings that decide on encodings."""
        return self._context.config

    def run(self, take: Take) -> None:
        """Let `take` have what follows the entry that was given last, as far as it goes; it comes as no entry."""
        source = self._source
        cut = True
        while cut:
            source.pos, cut = take(source.buf, source.pos, source.offset - source.pos)
            source.begin()
            cut = cut and source.more()

    @property
    def offset(self) -> int:
        """How far it was read, in bytes."""
        return self._source.offset

    # --- the frame ---------------------------------------------------------------------------------------

    def _header(self) -> tuple[bytes, int]:
        source = self._source
        head = source.take(min(_HEADER_BYTES, source.size))
        if head.startswith(_COMPRESSED_MAGIC):
            raise source.error(
                "a compressed snapshot of Valkey 9.2 or later, which cannot be read; have the server write one without"
            )
        match = _VERSION.fullmatch(head)
        if match is None:
            raise source.error(f"no snapshot: it begins with {head!r}, not with REDIS or VALKEY and a version")
        magic = opcodes.MAGIC_REDIS if match[1] else opcodes.MAGIC_VALKEY
        version = int(match[1] or match[2])
        if not 1 <= version <= opcodes.NEWEST[magic]:
            newest = opcodes.NEWEST[magic]
            raise source.error(f"a snapshot of version {version}; versions up to {newest} can be read")
        return magic, version

    def _finish(self) -> None:
        """Behind the end mark: the checksum."""
        source = self._source
        if self.version < opcodes.FIRST_WITH_CHECKSUM:
            self.checksum = "absent"
            self.end = source.offset
            return
        found = source.crc if self._mode != "skip" else 0
        stored = int.from_bytes(source.take(_CHECKSUM_BYTES), "little")
        self.end = source.offset
        if stored == 0:
            self.checksum = "disabled"
        elif self._mode == "skip":
            self.checksum = "unchecked"
        elif found == stored:
            self.checksum = "ok"
        elif self._mode == "report":
            self.checksum = "wrong"
        else:
            raise source.error(
                f"the checksum is {stored:016x} and should be {found:016x}: some byte of the file was changed. "
                "Use another copy of the file, or read it with checksum='report'"
            )

    # --- the records -------------------------------------------------------------------------------------

    def _read(self) -> Iterator[Entry]:
        source, context = self._source, self._context
        db = 0
        expire_ms: int | None = None
        idle_s: int | None = None
        freq: int | None = None
        attributes = False
        while True:
            if self._into is not None and not attributes:
                self._hand_over(db, self._into)
            offset = source.begin()
            code = source.byte()
            source.opcode = code
            if code < opcodes.FIRST_OPCODE:
                if code != opcodes.STRING:
                    check_type(source, code, context)
                key = source.string()
                try:
                    value = source.string() if code == opcodes.STRING else decode_value(source, code, context)
                except Unsupported as problem:
                    self.skipped.append(Skipped(str(problem), offset, db, key))
                else:
                    expires = dict(context.field_expires) if context.field_expires and code else None
                    if value is None:
                        self.empty_keys += 1
                        self.first_empty = offset if self.first_empty is None else self.first_empty
                    else:
                        yield Entry(db, key, value, expire_ms, idle_s, freq, code, offset, source.offset, expires)
                if attributes:
                    expire_ms = idle_s = freq = None
                    attributes = False
            elif code == opcodes.EXPIRETIME_MS:
                expire_ms = _deadline(source.int64())
                attributes = True
            elif code == opcodes.EXPIRETIME:
                expire_ms = source.int32() * 1000
                attributes = True
            elif code == opcodes.IDLE:
                idle_s = source.length()
                attributes = True
            elif code == opcodes.FREQ:
                freq = source.byte()
                attributes = True
            elif code == opcodes.SELECTDB:
                db = source.length()
                self.highest_db = max(self.highest_db, (db, offset))
                if db >= self._databases:
                    raise source.error(
                        f"database {db}, and there are {self._databases}; allow more with the setting `databases`"
                    )
            elif code == opcodes.RESIZEDB:
                self._reserve(db)
            elif code == opcodes.EOF:
                self._finish()
                return
            else:
                self._other(code, offset)

    def _hand_over(self, db: int, into: Into) -> None:
        """Everything that can be had at once."""
        source = self._source
        # Values that are made later keep what makes them, which is not this reader with all that it has read.
        makers = partial(_hash_of, self._context.config), partial(_value_of, self._context)
        cut = True
        while cut:
            tables = into(db, source.offset)
            if tables is None:
                self._into = None
                return
            source.pos, cut = _records_cy.records(source.buf, source.pos, *tables, *makers, self._later)
            cut = cut and source.more()

    def _reserve(self, db: int) -> None:
        """Room for the keys of a database, as many as there may be: the file gives hints, which may be wrong."""
        source = self._source
        counts = source.length(), source.length()
        tables = None if self._into is None else self._into(db, source.offset)
        if tables is not None:
            most = source.left // _LEAST_BYTES
            reserve(tables[0], min(counts[0], most))
            reserve(tables[1], min(counts[1], most))

    def _other(self, code: int, offset: int) -> None:
        """A record that says nothing about keys."""
        source = self._source
        if code == opcodes.AUX:
            self.aux.append((source.string(), source.string()))
        elif code in (opcodes.FUNCTION2, opcodes.FUNCTION_PRE_GA):
            library = source.string() if code == opcodes.FUNCTION2 else function_pre_ga(source)
            self.functions.append(LibraryEntry(library, offset, source.offset))
        elif code == opcodes.MODULE_AUX:
            module = module_name(source.length())
            if source.length() != opcodes.MODULE_UNSIGNED:
                raise source.error("what a module wrote does not begin with a number")
            source.length()
            skip_module_items(source)
            self.skipped.append(Skipped(f"what the module {module} keeps beside the keys", offset))
        elif code == opcodes.SLOT_INFO:
            for _number in range(3):
                source.length()
        elif self._context.valkey:
            self._other_of_valkey(code)
        elif code == opcodes.KEY_META:
            self._key_meta()
        else:
            assert code == opcodes.HASH_TEMPLATE
            number = source.length()
            self._context.templates[number] = [source.string() for _field in range(source.count(1))]

    def _other_of_valkey(self, code: int) -> None:
        source = self._source
        if code != opcodes.SLOT_IMPORT:
            raise source.error(
                "a command among the keys: this was sent to a replica and is no file; have the server write one"
            )
        source.string()
        for _range in range(source.count(2)):
            source.length()
            source.length()

    def _key_meta(self) -> None:
        source = self._source
        for _class in range(source.count(5)):
            source.take(4)
            skip_module_items(source)
        self.warnings.append("modules keep something beside keys; that is dropped")


def _hash_of(config: Config, fields: dict[bytes, bytes], longest: int) -> HashValue:
    if len(fields) > config.hash_max_listpack_entries or longest > config.hash_max_listpack_value:
        return HashValue.large(fields)
    return HashValue.of(fields, config.hash_max_listpack_entries, config.hash_max_listpack_value)


def _value_of(context: Context, type_: int, data: bytes) -> Value | None:
    if context.version < opcodes.FIRST_VERSIONS.get(type_, 0):
        return None
    if type_ == opcodes.HASH:
        fields: dict[bytes, bytes] = {}
        end, longest = _records_cy.fields(data, 0, fields)
        if end == len(data):
            return _hash_of(context.config, fields, longest)
    return decode_value(Source.of(data), type_, context)


def _deadline(when_ms: int) -> int | None:
    return None if when_ms == -1 else when_ms


def _left(file: BinaryIO) -> int:
    """How many bytes there are from where `file` stands."""
    start = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(start)
    return end - start


# --- into a keyspace -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `load_rdb` found.

    Attributes
    ----------
    end
        Where the snapshot ends, counted from where it began: commands may follow in the same file.
    keys, expired, empty_keys
        How many keys there are now, and how many were left out: overdue, or collections without elements.
    skipped
        What nothing here can hold, if that was allowed.
    aux, warnings
        As in `RdbReader`.
    """

    end: int
    version: int
    keys: int
    expired: int
    empty_keys: int
    skipped: tuple[Skipped, ...]
    aux: tuple[tuple[bytes, bytes], ...]
    warnings: tuple[str, ...]


def load_rdb(
    file: BinaryIO,
    keyspace: Keyspace,
    size: int | None = None,
    *,
    name: str | None = None,
    config: Config | None = None,
    verify_checksum: bool = True,
    unsupported: Literal["refuse", "skip"] = "refuse",
    drop_overdue_at_ms: int | None = None,
    progress: Callable[[int], None] | None = None,
    each_key: Callable[[], None] | None = None,
    later: bool = False,
) -> Loaded:
    """Put a snapshot into `keyspace`, keys and function libraries, beside what is there.

    Parameters
    ----------
    file, size, name, config
        As for `RdbReader`.
    keyspace
        Where to. After an error it holds a part: throw it away.
    verify_checksum
        Whether a wrong one is an error.
    unsupported
        What to do about values of modules and whatever else nothing here can hold: ``refuse`` the file, or ``skip``
        them and say so in the result.
    drop_overdue_at_ms
        Leave out keys whose deadline is before this time. For a snapshot by itself; not for the base of a log, whose
        commands may refer to them.
    progress
        Called with the bytes read so far, about once a MiB. What it raises ends the loading.
    each_key
        Called behind each key.
    later
        Make values when they are first asked for. Only for a file that is known to be good: damage is met as late.

    Raises
    ------
    RdbError
        For damage, for a key that comes twice, and for what is unsupported.
    """
    mode: Literal["verify", "skip"] = "verify" if verify_checksum else "skip"
    reader = RdbReader(file, size, name=name, config=config, checksum=mode, databases=len(keyspace))
    skipped = reader.skipped
    keys_before = keyspace.key_count()
    expired = 0
    report_at = _PROGRESS_BYTES

    def into(number: int, offset: int) -> tuple[Table[Value], Table[int]] | None:
        nonlocal report_at
        if skipped and unsupported == "refuse":
            return None
        if progress is not None and offset >= report_at:
            progress(offset)
            report_at = offset + _PROGRESS_BYTES
        return keyspace[number].tables_to_fill()

    if each_key is None and drop_overdue_at_ms is None:
        reader.hand_over(into, later)
    for entry in reader:
        db = keyspace[entry.db]
        if skipped and unsupported == "refuse":
            break
        if entry.expire_ms is not None and drop_overdue_at_ms is not None and entry.expire_ms < drop_overdue_at_ms:
            expired += 1
            continue
        before = len(db)
        db.put(entry.key, entry.value)
        if len(db) == before:
            raise RdbError(f"the key {entry.key!r} comes twice in database {entry.db}", file=name, offset=entry.offset)
        if entry.expire_ms is not None:
            db.set_deadline(entry.key, entry.expire_ms)
        if entry.field_expires is not None:
            db.watch_fields(entry.key, entry.value)
        if each_key is not None:
            each_key()
        if progress is not None and entry.end >= report_at:
            progress(entry.end)
            report_at = entry.end + _PROGRESS_BYTES
    if skipped and unsupported == "refuse":
        _refuse(skipped[0], name)
    reader.warnings += [
        f"an AUX field that means nothing here: {field!r}" for field, _ in reader.aux if _strange(field)
    ]
    _load_functions(reader, keyspace, name)
    assert reader.end is not None
    if progress is not None:
        progress(reader.end)
    return Loaded(
        reader.end,
        reader.version,
        keyspace.key_count() - keys_before,
        expired,
        reader.empty_keys,
        tuple(skipped),
        tuple(reader.aux),
        tuple(reader.warnings),
    )


def _strange(field: bytes) -> bool:
    # What begins with % is for people.
    return not field.startswith(b"%") and field.lower() not in opcodes.AUX_FIELDS


def _refuse(skipped: Skipped, name: str | None) -> NoReturn:
    at = "" if skipped.key is None else f", at the key {skipped.key!r}"
    raise RdbError(
        f"{skipped.reason}{at}: nothing here can hold that, and leaving it out would lose data. "
        "Load the file with a server that knows it",
        file=name,
        offset=skipped.offset,
    )


def _load_functions(reader: RdbReader, keyspace: Keyspace, name: str | None) -> None:
    for entry in reader.functions:
        try:
            library = parse_library(entry.code)
        except LibraryError as problem:
            what = f"a function library that cannot be loaded: {problem}"
            raise RdbError(what, file=name, offset=entry.offset) from None
        if library.name in keyspace.functions:
            raise RdbError(f"the function library {library.name!r} comes twice", file=name, offset=entry.offset)
        keyspace.functions[library.name] = library
