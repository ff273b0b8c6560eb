"""Streams: entries are added, trimmed, deleted and read here; consumer groups are in `aofnb.commands.stream_groups`.

XADD and XTRIM reach the log as typed, but with the id that was made, and with what ``~`` really left
(``MAXLEN = 150``), so that a replay gives the same data at any later time.

Redis: t_stream.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aofnb.commands import messages
from aofnb.commands.args import Options, integer, value
from aofnb.commands.blocking import NOT_YET, Wait, wait_for
from aofnb.commands.client import Client
from aofnb.commands.registry import command
from aofnb.errors import ReplyError
from aofnb.resp.replies import PairsReply
from aofnb.store.stream import MAX_ID, MIN_ID, UINT64_MAX, Items, Stream, StreamId, format_id

__all__ = [
    "Reading",
    "entry_reply",
    "keys_after_streams",
    "next_id",
    "parse_border",
    "parse_end",
    "parse_id",
    "parse_reading",
    "parse_start",
    "streams_reply",
    "take_entries",
]

BAD_ID = "ERR Invalid stream ID specified as stream command argument"


# --- ids -----------------------------------------------------------------------------------------------------


def parse_id(arg: bytes, missing_seq: int = 0) -> StreamId:
    """An id: ``ms-seq``, or ``ms`` with `missing_seq`.

    >>> parse_id(b"5-1"), parse_id(b"5")
    ((5, 1), (5, 0))
    """
    if len(arg) > 127:
        raise ReplyError(BAD_ID)
    ms, dash, seq = arg.split(b"\0", 1)[0].partition(b"-")
    return _unsigned(ms), _unsigned(seq) if dash else missing_seq


def _unsigned(text: bytes) -> int:
    """A 64-bit number as string2ull reads it: canonical, or whatever else strtoull takes to its end."""
    if text.isdigit():
        number = int(text)
    else:
        bare = text.lstrip(b" \t\n\v\f\r")
        digits = bare[1:] if bare[:1] in (b"+", b"-") else bare
        # A plain negative number is refused; behind a blank strtoull gets it, which wraps it around.
        if not digits.isdigit() or (bare == text and text[:1] == b"-"):
            raise ReplyError(BAD_ID)
        number = int(digits)
        if bare[:1] == b"-" and number <= UINT64_MAX:
            number = -number & UINT64_MAX
    if number > UINT64_MAX:
        raise ReplyError(BAD_ID)
    return number


def parse_border(arg: bytes, missing_seq: int) -> StreamId:
    """An end of an interval: an id, or ``-`` or ``+`` for the lowest and highest."""
    if arg == b"-":
        return MIN_ID
    if arg == b"+":
        return MAX_ID
    return parse_id(arg, missing_seq)


def parse_start(arg: bytes) -> StreamId:
    """The lower end of an interval; ``(`` leaves out the id itself."""
    if len(arg) < 2 or arg[:1] != b"(":
        return parse_border(arg, 0)
    start = parse_id(arg[1:])
    if start == MAX_ID:
        raise ReplyError("ERR invalid start ID for the interval")
    return next_id(start)


def parse_end(arg: bytes) -> StreamId:
    """The upper end of an interval; ``(`` leaves out the id itself."""
    if len(arg) < 2 or arg[:1] != b"(":
        return parse_border(arg, UINT64_MAX)
    end = parse_id(arg[1:], UINT64_MAX)
    if end == MIN_ID:
        raise ReplyError("ERR invalid end ID for the interval")
    ms, seq = end
    return (ms, seq - 1) if seq else (ms - 1, UINT64_MAX)


def previous_id(entry_id: StreamId) -> StreamId:
    """The id before, for one that is not the first."""
    ms, seq = entry_id
    return (ms, seq - 1) if seq else (ms - 1, UINT64_MAX)


def next_id(entry_id: StreamId) -> StreamId:
    """The id right after; after the highest the lowest."""
    ms, seq = entry_id
    if seq < UINT64_MAX:
        return ms, seq + 1
    return (ms + 1, 0) if ms < UINT64_MAX else MIN_ID


# --- XADD, XTRIM ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Trim:
    """MAXLEN or MINID of XADD and XTRIM. `threshold_at` is the place of the number or id among the arguments."""

    strategy: Literal["MAXLEN", "MINID"] | None = None
    maxlen: int = 0
    min_id: StreamId = MIN_ID
    approximate: bool = False
    limit: int | None = None
    threshold_at: int = 0

    def parse(self, args: Sequence[bytes], i: int) -> int | None:
        """Read one option at `i`; the place of the next argument, or None where there is no such option."""
        option, more = args[i].upper(), len(args) - 1 - i
        if not more:
            return None
        if option == b"LIMIT":
            self.limit = integer(args[i + 1])
            if self.limit < 0:
                raise ReplyError("ERR The LIMIT argument must be >= 0.")
            return i + 2
        if option not in (b"MAXLEN", b"MINID"):
            return None
        if self.strategy is not None:
            raise ReplyError("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
        if more >= 2 and args[i + 1] in (b"~", b"="):
            self.approximate = args[i + 1] == b"~"
            i += 1
        if option == b"MAXLEN":
            self.strategy = "MAXLEN"
            self.maxlen = integer(args[i + 1])
            if self.maxlen < 0:
                raise ReplyError("ERR The MAXLEN argument must be >= 0.")
        else:
            self.strategy = "MINID"
            self.min_id = parse_id(args[i + 1])
        self.threshold_at = i + 1
        return i + 2

    def check(self, client: Client) -> None:
        """Refuse what does not go together, and settle the limit."""
        if self.limit and self.strategy is None:
            raise ReplyError("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
        if client.loading:
            # The log says exactly what to remove, LIMIT or not: "MAXLEN = 4 LIMIT 5" is in it.
            self.limit = 0
        elif self.limit is not None:
            if not self.approximate:
                raise ReplyError("ERR syntax error, LIMIT cannot be used without the special ~ option")
        elif self.approximate:
            nodes_of_work = 100 * client.server.config.stream_node_max_entries
            self.limit = min(nodes_of_work, 1_000_000) or 10_000

    def apply(self, client: Client, stream: Stream) -> int:
        """Trim; returns how many entries went."""
        limit = self.limit or 0
        if self.strategy == "MAXLEN":
            return stream.trim_to_length(self.maxlen, approximate=self.approximate, limit=limit)
        if self.strategy == "MINID":
            return stream.trim_below(self.min_id, approximate=self.approximate, limit=limit)
        return 0

    def log_what_is_left(self, client: Client, stream: Stream) -> None:
        """Replace ``~ threshold`` in the record by ``=`` and what makes a replay end up with the same entries."""
        if not self.approximate:
            return
        left = b"%d" % stream.length if self.strategy == "MAXLEN" else format_id(stream.first_slot_id)
        # Positions in the record count the command's name and the key.
        client.rewrite_argument(self.threshold_at + 1, b"=")
        client.rewrite_argument(self.threshold_at + 2, left)


@command("XADD", arity=-5, flags="denyoom fast write", keys=(1, 1, 1), since="5.0.0")
def xadd(client: Client, key: bytes, *args: bytes) -> bytes | None:
    """Append an entry to the stream at `key`; returns its id.

    Redis: t_stream.c xaddCommand.
    """
    trim = _Trim()
    make = True
    given: tuple[int, int | None] | None = None  # ms and sequence number; the latter None for "ms-*"
    at = 0
    while at < len(args) and args[at] != b"*":
        after = trim.parse(args, at)
        if after is not None:
            at = after
        elif args[at].upper() == b"NOMKSTREAM":
            make = False
            at += 1
        else:
            given = _parse_new_id(args[at])
            break
    trim.check(client)
    items = args[at + 1 :]
    if not items or len(items) % 2:
        raise messages.wrong_arity("xadd")
    if given == MIN_ID:
        raise ReplyError("ERR The ID specified in XADD must be greater than 0-0")
    stream = client.db.lookup_kind(key, Stream)
    if stream is None:
        if not make:
            return None
        stream = Stream()
        client.db.put(key, stream)
    entry_id = _new_id(stream, given, client.server.now_ms())
    config = client.server.config
    stream.append(entry_id, items, config.stream_node_max_bytes, config.stream_node_max_entries)
    client.changed(key, "xadd")
    reply = format_id(entry_id)
    if trim.strategy is not None:
        if trim.apply(client, stream):
            client.changed(key, "xtrim", dirty=0)
        trim.log_what_is_left(client, stream)
    if given is None or given[1] is None:
        client.rewrite_argument(at + 2, reply)
    return reply


def _parse_new_id(arg: bytes) -> tuple[int, int | None]:
    """The id of an XADD: as `parse_id`, or ``ms-*``."""
    if len(arg) <= 127 and arg.split(b"\0", 1)[0].endswith(b"-*") and arg.count(b"-") == 1:
        return _unsigned(arg[: arg.index(b"-")]), None
    return parse_id(arg)


def _new_id(stream: Stream, given: tuple[int, int | None] | None, now_ms: int) -> StreamId:
    """The id an entry gets: as given, or the next one."""
    last_id = stream.last_id
    if last_id == MAX_ID:
        raise ReplyError("ERR The stream has exhausted the last possible ID, unable to add more items")
    if given is None:
        return (now_ms, 0) if now_ms > last_id[0] else next_id(last_id)
    ms, seq = given
    if seq is None:
        # The sequence may end, but must not run into the next millisecond.
        seq = last_id[1] + 1 if ms == last_id[0] else 0
    if (ms, seq) <= last_id or seq > UINT64_MAX:
        raise ReplyError("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    return ms, seq


@command("XTRIM", arity=-4, flags="write", keys=(1, 1, 1), since="5.0.0")
def xtrim(client: Client, key: bytes, *args: bytes) -> int:
    """Remove the oldest entries of the stream at `key`; returns how many.

    Redis: t_stream.c xtrimCommand.
    """
    trim = _Trim()
    at = 0
    while at < len(args):
        after = trim.parse(args, at)
        if after is None:
            raise ReplyError(messages.SYNTAX_ERROR)
        at = after
    if trim.strategy is None and not trim.limit:
        raise ReplyError("ERR syntax error, XTRIM must be called with a trimming strategy")
    trim.check(client)
    stream = client.db.lookup_kind(key, Stream)
    if stream is None:
        return 0
    removed = trim.apply(client, stream)
    if removed:
        client.changed(key, "xtrim", removed)
        trim.log_what_is_left(client, stream)
    return removed


@command("XDEL", arity=-3, flags="fast write", keys=(1, 1, 1), since="5.0.0")
def xdel(client: Client, key: bytes, *ids: bytes) -> int:
    """Remove entries by id from the stream at `key`; returns how many there were."""
    stream = client.db.lookup_kind(key, Stream)
    if stream is None:
        return 0
    removed = sum([stream.delete(entry_id) for entry_id in [parse_id(arg) for arg in ids]])
    if removed:
        client.changed(key, "xdel", removed)
    return removed


def _entries_added(arg: bytes) -> int:
    count = integer(arg)
    if count < 0:
        raise ReplyError("ERR entries_added must be positive")
    return count


XSETID_OPTIONS = Options(value("ENTRIESADDED", _entries_added), value("MAXDELETEDID", parse_id))


@command("XSETID", arity=-3, flags="denyoom fast write", keys=(1, 1, 1), options=XSETID_OPTIONS, since="5.0.0")
def xsetid(client: Client, key: bytes, last_id: bytes, *args: bytes) -> str:
    """Set the last id of the stream at `key`, and its counters; what a rewritten log restores them with.

    Redis: t_stream.c xsetidCommand.
    """
    new_id = parse_id(last_id)
    options: dict[str, Any] = {}
    # One after the other: what is wrong with the first is told first.
    for end in range(2, len(args) + 2, 2):
        options = XSETID_OPTIONS.parse(args[:end])
        if new_id < options.get("maxdeletedid", MIN_ID):
            raise ReplyError("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
    entries_added: int | None = options.get("entriesadded")
    max_deleted_id: StreamId = options.get("maxdeletedid", MIN_ID)
    stream = client.db.lookup_kind(key, Stream)
    if stream is None:
        raise ReplyError(messages.NO_SUCH_KEY)
    if stream.length:
        if new_id < stream.top_id:
            raise ReplyError("ERR The ID specified in XSETID is smaller than the target stream top item")
        if entries_added is not None and entries_added < stream.length:
            raise ReplyError("ERR The entries_added specified in XSETID is smaller than the target stream length")
    stream.last_id = new_id
    if entries_added is not None:
        stream.entries_added = entries_added
    if max_deleted_id != MIN_ID:
        stream.max_deleted_id = max_deleted_id
    client.dirty += 1
    client.notify(key, "xsetid")
    return "OK"


# --- reading -------------------------------------------------------------------------------------------------


@command("XLEN", arity=2, flags="fast readonly", keys=(1, 1, 1), since="5.0.0")
def xlen(client: Client, key: bytes) -> int:
    """Number of entries of the stream at `key`, 0 where there is none."""
    stream = client.db.read_kind(key, Stream)
    return 0 if stream is None else stream.length


XRANGE_OPTIONS = Options(value("COUNT", integer))


@command("XRANGE", arity=-4, flags="readonly", keys=(1, 1, 1), options=XRANGE_OPTIONS, since="5.0.0")
def xrange(client: Client, key: bytes, start: bytes, end: bytes, *args: bytes) -> list[Any] | None:
    """Entries from `start` to `end`, oldest first."""
    return _range(client, key, start, end, args, reverse=False)


@command("XREVRANGE", arity=-4, flags="readonly", keys=(1, 1, 1), options=XRANGE_OPTIONS, since="5.0.0")
def xrevrange(client: Client, key: bytes, end: bytes, start: bytes, *args: bytes) -> list[Any] | None:
    """Entries from `end` down to `start`, newest first."""
    return _range(client, key, start, end, args, reverse=True)


def _range(
    client: Client, key: bytes, start: bytes, end: bytes, args: Sequence[bytes], *, reverse: bool
) -> list[Any] | None:
    start_id, end_id = parse_start(start), parse_end(end)
    count: int | None = XRANGE_OPTIONS.parse(args).get("count")
    stream = client.db.read_kind(key, Stream)
    if stream is None:
        return []
    # COUNT 0 and below is nil, not an empty array.
    if count is not None and count <= 0:
        return None
    walk = stream.reverse_range(start_id, end_id) if reverse else stream.range(start_id, end_id)
    return take_entries(walk, count)


def entry_reply(entry_id: StreamId, items: Items) -> list[Any]:
    return [format_id(entry_id), list(items)]


def take_entries(walk: Iterable[tuple[StreamId, Items]], count: int | None) -> list[Any]:
    """Up to `count` entries of `walk` as replies."""
    found: list[Any] = []
    for entry_id, items in walk:
        if count is not None and len(found) >= count:
            break
        found.append(entry_reply(entry_id, items))
    return found


def keys_after_streams(argv: Sequence[bytes]) -> list[int]:
    """Positions of the keys: the first half of what follows STREAMS."""
    # A group, too, may be called that.
    for at in range(4 if argv[0].upper() == b"XREADGROUP" else 1, len(argv)):
        if argv[at].upper() == b"STREAMS":
            return list(range(at + 1, at + 1 + (len(argv) - at - 1) // 2))
    return []


@dataclass(slots=True)
class Reading:
    """The arguments of XREAD and XREADGROUP."""

    count: int = 0
    # How long to wait in ms, 0 for ever, None not at all.
    block_ms: int | None = None
    noack: bool = False
    group: bytes | None = None
    consumer: bytes = b""
    keys: Sequence[bytes] = ()
    ids: Sequence[bytes] = ()


def parse_reading(name: Literal["XREAD", "XREADGROUP"], args: Sequence[bytes]) -> Reading:
    read = Reading()
    grouped = name == "XREADGROUP"
    i = 0
    while i < len(args):
        option, more = args[i].upper(), len(args) - 1 - i
        if option == b"BLOCK" and more:
            timeout = integer(args[i + 1], "ERR timeout is not an integer or out of range")
            if timeout < 0:
                raise ReplyError("ERR timeout is negative")
            read.block_ms = timeout
            i += 2
        elif option == b"COUNT" and more:
            read.count = max(0, integer(args[i + 1]))
            i += 2
        elif option == b"STREAMS" and more:
            if more % 2:
                # XREADGROUP gets this text too, although it means ">".
                raise ReplyError(
                    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."
                )
            read.keys, read.ids = args[i + 1 : i + 1 + more // 2], args[i + 1 + more // 2 :]
            break
        elif option == b"GROUP" and more >= 2:
            if not grouped:
                raise ReplyError("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.")
            read.group, read.consumer = args[i + 1], args[i + 2]
            i += 3
        elif option == b"NOACK":
            if not grouped:
                raise ReplyError("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.")
            read.noack = True
            i += 1
        else:
            raise ReplyError(messages.SYNTAX_ERROR)
    if not read.keys:
        raise ReplyError(messages.SYNTAX_ERROR)
    if grouped and read.group is None:
        raise ReplyError("ERR Missing GROUP option for XREADGROUP")
    return read


def streams_reply(client: Client, served: list[tuple[bytes, Any]]) -> Any:
    return PairsReply(served) if client.resp >= 3 else [list(pair) for pair in served]


@command(
    "XREAD", arity=-4, flags="blocking movablekeys readonly", keys=keys_after_streams, since="5.0.0"
)  # fmt: skip
def xread(client: Client, *args: bytes) -> Any:
    """Entries above given ids from one or more streams.

    With BLOCK it waits where there is nothing to read.

    Redis: t_stream.c xreadCommand.
    """
    read = parse_reading("XREAD", args)
    positions: dict[bytes, StreamId] = {}
    asked: list[tuple[bytes, StreamId]] = []
    for key, arg in zip(read.keys, read.ids, strict=True):
        stream = client.db.read_kind(key, Stream)
        if arg == b"$":
            above = MIN_ID if stream is None else stream.last_id
        elif arg == b"+":
            # The last entry (7.4).
            above = MIN_ID if stream is None else previous_id(stream.top_id) if stream.length else stream.last_id
        elif arg == b">":
            raise ReplyError(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
            )
        else:
            above = parse_id(arg)
        # Of a key that is named twice, only the first position is waited for.
        positions.setdefault(key, above)
        asked.append((key, above))
    # Looked for again, as the server does once it knows that all is well-formed: that counts.
    found = [(key, client.db.read_kind(key, Stream), above) for key, above in asked]
    wanted = [
        (key, stream, above)
        for key, stream, above in found
        if stream is not None and stream.length and stream.top_id > above
    ]
    count = read.count or None

    def serve(key: bytes) -> Any:
        stream = client.db.lookup_kind(key, Stream)
        assert stream is not None
        if stream.last_id <= positions[key]:
            return NOT_YET
        return streams_reply(client, [(key, take_entries(stream.range(next_id(positions[key])), count))])

    if not wanted:
        return None if read.block_ms is None else wait_for(client, Wait(read.keys, Stream, read.block_ms, serve))
    served = [(key, take_entries(stream.range(next_id(above)), count)) for key, stream, above in wanted]
    return streams_reply(client, served)
