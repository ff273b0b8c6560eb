"""Streams: XADD and its kin, and consumer groups.

How they reach the log, so that a replay gives the same data at any later time:

- XADD and XTRIM as typed, but with the id that was made, and with what ``~`` really left (``MAXLEN = 150``);
- XREADGROUP, XCLAIM and XAUTOCLAIM never as typed: each entry given to a consumer becomes an XCLAIM that states
  owner, time and count, and ``NOACK`` reads become XGROUP CREATECONSUMER and XGROUP SETID.

Not in the log, as with the server: a consumer that only read its own history or found nothing, and how that
changed delivery counts.

Redis: t_stream.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from aofnb.commands import messages
from aofnb.commands.args import INT64_MAX, Options, integer, value, word
from aofnb.commands.client import Client
from aofnb.commands.registry import REWRITTEN, command
from aofnb.errors import ReplyError
from aofnb.store.stream import (
    ENTRIES_READ_UNKNOWN,
    MAX_ID,
    MIN_ID,
    UINT64_MAX,
    Consumer,
    Group,
    Items,
    Pending,
    PendingList,
    Stream,
    StreamId,
    format_id,
    radix_tree_nodes,
)

__all__ = ["parse_id"]

BAD_ID = "ERR Invalid stream ID specified as stream command argument"
BLOCK_UNSUPPORTED = "ERR {} would block: waiting for data is not supported yet; use it without BLOCK"
NO_GROUP_FOR_KEY = "NOGROUP No such consumer group '{}' for key name '{}'"
NO_KEY_OR_GROUP = "NOGROUP No such key '{}' or consumer group '{}'"


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


def _parse_border(arg: bytes, missing_seq: int) -> StreamId:
    """An end of an interval: an id, or ``-`` or ``+`` for the lowest and highest."""
    if arg == b"-":
        return MIN_ID
    if arg == b"+":
        return MAX_ID
    return parse_id(arg, missing_seq)


def _parse_start(arg: bytes) -> StreamId:
    """The lower end of an interval; ``(`` leaves out the id itself."""
    if len(arg) < 2 or arg[:1] != b"(":
        return _parse_border(arg, 0)
    start = parse_id(arg[1:])
    if start == MAX_ID:
        raise ReplyError("ERR invalid start ID for the interval")
    return _next_id(start)


def _parse_end(arg: bytes) -> StreamId:
    """The upper end of an interval; ``(`` leaves out the id itself."""
    if len(arg) < 2 or arg[:1] != b"(":
        return _parse_border(arg, UINT64_MAX)
    end = parse_id(arg[1:], UINT64_MAX)
    if end == MIN_ID:
        raise ReplyError("ERR invalid end ID for the interval")
    ms, seq = end
    return (ms, seq - 1) if seq else (ms - 1, UINT64_MAX)


def _next_id(entry_id: StreamId) -> StreamId:
    """The id right after; after the highest the lowest."""
    ms, seq = entry_id
    if seq < UINT64_MAX:
        return ms, seq + 1
    return (ms + 1, 0) if ms < UINT64_MAX else MIN_ID


# --- helpers -------------------------------------------------------------------------------------------------


def _text(arg: bytes) -> str:
    """`arg` inside an error text, which is one line and ends at a zero byte."""
    shown = arg.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
    return shown.replace("\r", " ").replace("\n", " ")


def _entry(entry_id: StreamId, items: Items) -> list[Any]:
    return [format_id(entry_id), list(items)]


def _group(client: Client, key: bytes, name: bytes) -> tuple[Stream, Group]:
    stream = client.db.lookup_kind(key, Stream)
    group = None if stream is None else stream.groups.get(name)
    if stream is None or group is None:
        raise ReplyError(NO_KEY_OR_GROUP.format(_text(key), _text(name)))
    return stream, group


def _log_claim(client: Client, key: bytes, group_name: bytes, group: Group, entry_id: bytes, pending: Pending) -> None:
    """Ask for the record that gives one pending entry its owner, time and count."""
    client.propagate(
        b"XCLAIM", key, group_name, pending.consumer.name, b"0", entry_id,
        b"TIME", b"%d" % pending.delivered_ms, b"RETRYCOUNT", b"%d" % pending.deliveries,
        b"FORCE", b"JUSTID", b"LASTID", format_id(group.last_id),
    )  # fmt: skip


def _log_group_position(client: Client, key: bytes, group_name: bytes, group: Group) -> None:
    read = b"%d" % group.entries_read
    client.propagate(b"XGROUP", b"SETID", key, group_name, format_id(group.last_id), b"ENTRIESREAD", read)


def _consumer(client: Client, group: Group, name: bytes) -> Consumer:
    """The consumer called `name`, made if need be, marked as seen now."""
    now_ms = client.server.now_ms()
    consumer = group.consumers.get(name) or group.create_consumer(name, now_ms)
    assert consumer is not None
    consumer.seen_ms = now_ms
    return consumer


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
        return (now_ms, 0) if now_ms > last_id[0] else _next_id(last_id)
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
    options = XSETID_OPTIONS.parse(args)
    entries_added: int | None = options.get("entriesadded")
    max_deleted_id: StreamId = options.get("maxdeletedid", MIN_ID)
    if new_id < max_deleted_id:
        raise ReplyError("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
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
    return "OK"


# --- reading -------------------------------------------------------------------------------------------------


@command("XLEN", arity=2, flags="fast readonly", keys=(1, 1, 1), since="5.0.0")
def xlen(client: Client, key: bytes) -> int:
    """Number of entries of the stream at `key`, 0 where there is none."""
    stream = client.db.lookup_kind(key, Stream)
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
    start_id, end_id = _parse_start(start), _parse_end(end)
    count: int | None = XRANGE_OPTIONS.parse(args).get("count")
    stream = client.db.lookup_kind(key, Stream)
    if stream is None:
        return []
    # COUNT 0 and below is nil, not an empty array.
    if count is not None and count <= 0:
        return None
    walk = stream.reverse_range(start_id, end_id) if reverse else stream.range(start_id, end_id)
    return _take(walk, count)


def _take(walk: Iterable[tuple[StreamId, Items]], count: int | None) -> list[Any]:
    """Up to `count` entries of `walk` as replies."""
    found: list[Any] = []
    for entry_id, items in walk:
        if count is not None and len(found) >= count:
            break
        found.append(_entry(entry_id, items))
    return found


def _keys_after_streams(argv: Sequence[bytes]) -> list[int]:
    """Positions of the keys: the first half of what follows STREAMS."""
    for at in range(1, len(argv)):
        if argv[at].upper() == b"STREAMS":
            return list(range(at + 1, at + 1 + (len(argv) - at - 1) // 2))
    return []


@dataclass(slots=True)
class _Read:
    """The arguments of XREAD and XREADGROUP."""

    count: int = 0
    block: bool = False
    noack: bool = False
    group: bytes | None = None
    consumer: bytes = b""
    keys: Sequence[bytes] = ()
    ids: Sequence[bytes] = ()


def _parse_read(name: Literal["XREAD", "XREADGROUP"], args: Sequence[bytes]) -> _Read:
    read = _Read()
    grouped = name == "XREADGROUP"
    i = 0
    while i < len(args):
        option, more = args[i].upper(), len(args) - 1 - i
        if option == b"BLOCK" and more:
            timeout = integer(args[i + 1], "ERR timeout is not an integer or out of range")
            if timeout < 0:
                raise ReplyError("ERR timeout is negative")
            read.block = True
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


def _nothing_to_read(client: Client, name: str, read: _Read) -> None:
    """Nil, as after a timeout, where nobody may wait; otherwise the error that we cannot wait."""
    if read.block and not (client.in_exec or client.loading):
        raise ReplyError(BLOCK_UNSUPPORTED.format(name))


def _streams_reply(client: Client, served: list[tuple[bytes, Any]]) -> Any:
    return dict(served) if client.resp >= 3 else [list(pair) for pair in served]


@command(
    "XREAD", arity=-4, flags="blocking movablekeys readonly", keys=_keys_after_streams, since="5.0.0"
)  # fmt: skip
def xread(client: Client, *args: bytes) -> Any:
    """Entries above given ids from one or more streams.

    With BLOCK it answers if there is something to read; waiting is not supported yet.

    Redis: t_stream.c xreadCommand.
    """
    read = _parse_read("XREAD", args)
    wanted: list[tuple[bytes, Stream, StreamId]] = []
    for key, arg in zip(read.keys, read.ids, strict=True):
        stream = client.db.lookup_kind(key, Stream)
        if arg == b"$":
            above = MIN_ID if stream is None else stream.last_id
        elif arg == b">":
            raise ReplyError(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
            )
        else:
            above = parse_id(arg)
        if stream is not None and stream.length and stream.top_id > above:
            wanted.append((key, stream, above))
    if not wanted:
        return _nothing_to_read(client, "XREAD", read)
    count = read.count or None
    served = [(key, _take(stream.range(_next_id(above)), count)) for key, stream, above in wanted]
    return _streams_reply(client, served)


# --- consumer groups -----------------------------------------------------------------------------------------


@command(
    "XREADGROUP",
    arity=-7,
    flags="blocking movablekeys write",
    keys=_keys_after_streams,
    propagate=REWRITTEN,
    since="5.0.0",
)
def xreadgroup(client: Client, *args: bytes) -> Any:
    """Entries for a consumer of a group: new ones (``>``), or those it has not acknowledged yet.

    With BLOCK it answers if there is something to read; waiting is not supported yet.

    Redis: t_stream.c xreadCommand.
    """
    read = _parse_read("XREADGROUP", args)
    assert read.group is not None
    wanted: list[tuple[bytes, Stream, Group, StreamId]] = []
    for key, arg in zip(read.keys, read.ids, strict=True):
        stream = client.db.lookup_kind(key, Stream)
        group = None if stream is None else stream.groups.get(read.group)
        if stream is None or group is None:
            raise ReplyError(NO_KEY_OR_GROUP.format(_text(key), _text(read.group)) + " in XREADGROUP with GROUP option")
        if arg == b"$":
            raise ReplyError(
                "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this "
                "consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just "
                "return an empty result set."
            )
        wanted.append((key, stream, group, MAX_ID if arg == b">" else parse_id(arg)))
    has_something = [
        above != MAX_ID or (stream.length > 0 and stream.top_id > group.last_id) for _, stream, group, above in wanted
    ]
    if not any(has_something):
        _nothing_to_read(client, "XREADGROUP", read)
    served: list[tuple[bytes, Any]] = []
    for (key, stream, group, above), something in zip(wanted, has_something, strict=True):
        # A consumer that finds nothing does not come into being, and one that is there is not marked as seen.
        if not something:
            continue
        is_new = read.consumer not in group.consumers
        consumer = _consumer(client, group, read.consumer)
        if is_new and read.noack:
            client.dirty += 1
            client.propagate(b"XGROUP", b"CREATECONSUMER", key, read.group, read.consumer)
        if above != MAX_ID:
            served.append((key, _history(client, stream, consumer, above, read.count)))
        else:
            served.append((key, _deliver(client, key, stream, group, consumer, read)))
    return _streams_reply(client, served) if served else None


def _history(client: Client, stream: Stream, consumer: Consumer, above: StreamId, count: int) -> list[Any]:
    """What `consumer` has not acknowledged, above an id; None for the fields of what was deleted meanwhile."""
    found = []
    for entry_id in consumer.pel.ids(_next_id(above), limit=count or None):
        items = stream.get(entry_id)
        if items is None:
            found.append([format_id(entry_id), None])
            continue
        pending = consumer.pel.get(entry_id)
        assert pending is not None
        pending.delivered_ms = client.server.now_ms()
        pending.deliveries += 1
        found.append(_entry(entry_id, items))
    return found


def _deliver(client: Client, key: bytes, stream: Stream, group: Group, consumer: Consumer, read: _Read) -> list[Any]:
    """Give `consumer` the entries the group has not read, and log that."""
    assert read.group is not None
    now_ms = client.server.now_ms()
    found = []
    for entry_id, items in stream.range(_next_id(group.last_id)):
        stream.advance(group, entry_id)
        if not read.noack:
            pending = group.assign(entry_id, consumer, now_ms, 1)
            _log_claim(client, key, read.group, group, format_id(entry_id), pending)
        found.append(_entry(entry_id, items))
        if len(found) == read.count:
            break
    if read.noack and found:
        _log_group_position(client, key, read.group, group)
    client.dirty += 1
    return found


@command("XACK", arity=-4, flags="fast write", keys=(1, 1, 1), since="5.0.0")
def xack(client: Client, key: bytes, group_name: bytes, *ids: bytes) -> int:
    """Mark entries as dealt with; returns how many were pending."""
    stream = client.db.lookup_kind(key, Stream)
    group = None if stream is None else stream.groups.get(group_name)
    if group is None:
        return 0
    acknowledged = sum([group.forget(entry_id) for entry_id in [parse_id(arg) for arg in ids]])
    client.dirty += acknowledged
    return acknowledged


@command("XPENDING", arity=-3, flags="readonly", keys=(1, 1, 1), since="5.0.0")
def xpending(client: Client, key: bytes, group_name: bytes, *args: bytes) -> list[Any]:
    """What a group has not acknowledged: a summary, or the entries of an interval.

    Redis: t_stream.c xpendingCommand.
    """
    if not args:
        return _pending_summary(_group(client, key, group_name)[1])
    min_idle_ms = 0
    if not 3 <= len(args) <= 6:
        raise ReplyError(messages.SYNTAX_ERROR)
    if args[0].upper() == b"IDLE":
        min_idle_ms = integer(args[1])
        if len(args) < 5:
            raise ReplyError(messages.SYNTAX_ERROR)
        args = args[2:]
    count = integer(args[2])
    start, end = _parse_start(args[0]), _parse_end(args[1])
    _, group = _group(client, key, group_name)
    pel: PendingList = group.pel
    if len(args) > 3:
        consumer = group.consumers.get(args[3])
        if consumer is None:
            return []
        pel = consumer.pel
    now_ms = client.server.now_ms()
    found: list[Any] = []
    for entry_id, pending in pel.items(start, end):
        if len(found) >= count:
            break
        idle_ms = now_ms - pending.delivered_ms
        if min_idle_ms and idle_ms < min_idle_ms:
            continue
        found.append([format_id(entry_id), pending.consumer.name, max(0, idle_ms), pending.deliveries])
    return found


def _pending_summary(group: Group) -> list[Any]:
    ids = group.pel.ids()
    if not ids:
        return [0, None, None, None]
    consumers = [[c.name, b"%d" % len(c.pel)] for c in group.sorted_consumers() if len(c.pel)]
    return [len(ids), format_id(ids[0]), format_id(ids[-1]), consumers]


@dataclass(slots=True)
class _Claim:
    """The options of XCLAIM."""

    delivered_ms: int | None = None
    deliveries: int | None = None
    last_id: StreamId = MIN_ID
    force: bool = False
    justid: bool = False


def _parse_claim(args: Sequence[bytes], now_ms: int) -> _Claim:
    claim = _Claim()
    i = 0
    while i < len(args):
        option, more = args[i].upper(), len(args) - 1 - i
        i += 1
        if option == b"FORCE":
            claim.force = True
            continue
        if option == b"JUSTID":
            claim.justid = True
            continue
        if not more or option not in (b"IDLE", b"TIME", b"RETRYCOUNT", b"LASTID"):
            raise ReplyError(f"ERR Unrecognized XCLAIM option '{_text(args[i - 1])}'")
        if option == b"LASTID":
            claim.last_id = parse_id(args[i])
        else:
            number = integer(args[i], f"ERR Invalid {option.decode()} option argument for XCLAIM")
            if option == b"RETRYCOUNT":
                claim.deliveries = number
            else:
                claim.delivered_ms = number if option == b"TIME" else now_ms - number
        i += 1
    return claim


@command("XCLAIM", arity=-6, flags="fast write", keys=(1, 1, 1), propagate=REWRITTEN, since="5.0.0")
def xclaim(client: Client, key: bytes, group_name: bytes, consumer_name: bytes, *args: bytes) -> list[Any]:
    """Make pending entries those of another consumer; returns them, or their ids with JUSTID.

    Redis: t_stream.c xclaimCommand.
    """
    stream, group = _group(client, key, group_name)
    min_idle_ms = integer(args[0], "ERR Invalid min-idle-time argument for XCLAIM")
    now_ms = client.server.now_ms()
    ids: list[tuple[StreamId, bytes]] = []
    for arg in args[1:]:
        try:
            ids.append((parse_id(arg), arg))
        except ReplyError:
            break
    claim = _parse_claim(args[1 + len(ids) :], now_ms)
    moved = claim.last_id > group.last_id
    if moved:
        group.last_id = claim.last_id
    delivered_ms = claim.delivered_ms
    # A time that cannot be is taken as now: clients compute it from their own clocks.
    if delivered_ms is None or not 0 <= delivered_ms <= now_ms:
        delivered_ms = now_ms
    consumer: Consumer | None = None
    claimed: list[Any] = []
    for entry_id, as_typed in ids:
        pending = group.pel.get(entry_id)
        items = stream.get(entry_id)
        if items is None:
            if pending is not None:
                _forget_deleted(client, key, group_name, group, entry_id, as_typed)
                moved = False
            continue
        if pending is None:
            if not claim.force:
                continue
            deliveries = 1
        else:
            deliveries = pending.deliveries
            if min_idle_ms > 0 and now_ms - pending.delivered_ms < min_idle_ms:
                continue
        # Only a claim that succeeds makes its consumer.
        if consumer is None:
            consumer = _consumer(client, group, consumer_name)
        if claim.deliveries is not None and claim.deliveries >= 0:
            deliveries = claim.deliveries
        elif not claim.justid:
            deliveries += 1
        pending = group.assign(entry_id, consumer, delivered_ms, deliveries)
        claimed.append(format_id(entry_id) if claim.justid else _entry(entry_id, items))
        _log_claim(client, key, group_name, group, as_typed, pending)
        client.dirty += 1
        moved = False
    if moved:
        _log_group_position(client, key, group_name, group)
        client.dirty += 1
    return claimed


def _forget_deleted(
    client: Client, key: bytes, group_name: bytes, group: Group, entry_id: StreamId, as_typed: bytes
) -> None:
    """Drop a pending entry that XDEL removed. The XCLAIM in the log names it, so a replay drops it too."""
    pending = group.pel.get(entry_id)
    assert pending is not None
    _log_claim(client, key, group_name, group, as_typed, pending)
    client.dirty += 1
    group.forget(entry_id)


def _autoclaim_count(arg: bytes) -> int:
    count = integer(arg, "ERR COUNT must be > 0")
    if not 1 <= count <= INT64_MAX // 16:
        raise ReplyError("ERR COUNT must be > 0")
    return count


XAUTOCLAIM_OPTIONS = Options(value("COUNT", _autoclaim_count), word("JUSTID"))


@command(
    "XAUTOCLAIM",
    arity=-6,
    flags="fast write",
    keys=(1, 1, 1),
    propagate=REWRITTEN,
    options=XAUTOCLAIM_OPTIONS,
    since="6.2.0",
)
def xautoclaim(
    client: Client, key: bytes, group_name: bytes, consumer_name: bytes, min_idle: bytes, start: bytes, *args: bytes
) -> list[Any]:
    """Claim what has been pending for long, from an id on; returns where to go on, the entries, and deleted ids.

    Redis: t_stream.c xautoclaimCommand.
    """
    min_idle_ms = integer(min_idle, "ERR Invalid min-idle-time argument for XAUTOCLAIM")
    start_id = _parse_start(start)
    options = XAUTOCLAIM_OPTIONS.parse(args)
    count: int = options.get("count", 100)
    justid = "justid" in options
    stream, group = _group(client, key, group_name)
    now_ms = client.server.now_ms()
    consumer: Consumer | None = None
    claimed: list[Any] = []
    deleted: list[bytes] = []
    cursor = MIN_ID
    # Entries that are not idle enough cost an attempt, of which there are ten per entry asked for.
    ids = group.pel.ids(start_id, limit=10 * count + 1)
    for attempt, entry_id in enumerate(ids):
        if attempt == 10 * count or len(claimed) + len(deleted) == count:
            cursor = entry_id
            break
        pending = group.pel.get(entry_id)
        assert pending is not None
        items = stream.get(entry_id)
        if items is None:
            deleted.append(format_id(entry_id))
            _forget_deleted(client, key, group_name, group, entry_id, format_id(entry_id))
            continue
        if min_idle_ms > 0 and now_ms - pending.delivered_ms < min_idle_ms:
            continue
        if consumer is None:
            consumer = _consumer(client, group, consumer_name)
        pending = group.assign(entry_id, consumer, now_ms, pending.deliveries + (not justid))
        claimed.append(format_id(entry_id) if justid else _entry(entry_id, items))
        _log_claim(client, key, group_name, group, format_id(entry_id), pending)
        client.dirty += 1
    return [format_id(cursor), claimed, deleted]


# --- XGROUP --------------------------------------------------------------------------------------------------


def _container_only(name: str) -> NoReturn:
    # A container is always called with a subcommand, since its arity asks for one.
    raise AssertionError(f"{name} without a subcommand")


@command("XGROUP", arity=-2, since="5.0.0")
def xgroup(client: Client, *args: bytes) -> NoReturn:
    """Consumer groups: create, delete, set back."""
    _container_only("XGROUP")


def _subcommand_error(container: str, sub: str) -> ReplyError:
    return ReplyError(f"ERR unknown subcommand or wrong number of arguments for '{sub}'. Try {container} HELP.")


def _existing_group(client: Client, key: bytes, name: bytes) -> tuple[Stream, Group]:
    stream = _existing_stream(client, key)
    group = stream.groups.get(name)
    if group is None:
        raise ReplyError(NO_GROUP_FOR_KEY.format(_text(name), _text(key)))
    return stream, group


def _existing_stream(client: Client, key: bytes) -> Stream:
    stream = client.db.lookup_kind(key, Stream)
    if stream is None:
        raise ReplyError(
            "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the "
            "MKSTREAM option to create an empty stream automatically."
        )
    return stream


def _entries_read(arg: bytes) -> int:
    count = integer(arg)
    if count < ENTRIES_READ_UNKNOWN:
        raise ReplyError("ERR value for ENTRIESREAD must be positive or -1")
    return count


XGROUP_CREATE_OPTIONS = Options(word("MKSTREAM"), value("ENTRIESREAD", _entries_read))
XGROUP_SETID_OPTIONS = Options(value("ENTRIESREAD", _entries_read))


@command("XGROUP CREATE", arity=-5, flags="denyoom write", keys=(2, 2, 1), options=XGROUP_CREATE_OPTIONS, since="5.0.0")
def xgroup_create(client: Client, key: bytes, name: bytes, last_id: bytes, *args: bytes) -> str:
    """Create a group that reads what comes after `last_id`."""
    options = XGROUP_CREATE_OPTIONS.parse(args, str(_subcommand_error("XGROUP", "CREATE")))
    stream: Stream | None
    if "mkstream" in options:
        stream = client.db.lookup_kind(key, Stream)
    else:
        stream = _existing_stream(client, key)
    if len(args) > 3:
        raise _subcommand_error("XGROUP", "CREATE")
    if last_id == b"$":
        start = MIN_ID if stream is None else stream.last_id
    else:
        start = parse_id(last_id)
    if stream is None:
        stream = Stream()
        client.db.put(key, stream)
        client.changed(key, "xgroup-create", dirty=0)
    elif name in stream.groups:
        raise ReplyError("BUSYGROUP Consumer Group name already exists")
    stream.groups[name] = Group(start, options.get("entriesread", ENTRIES_READ_UNKNOWN))
    client.dirty += 1
    return "OK"


@command("XGROUP SETID", arity=-5, flags="write", keys=(2, 2, 1), options=XGROUP_SETID_OPTIONS, since="5.0.0")
def xgroup_setid(client: Client, key: bytes, name: bytes, last_id: bytes, *args: bytes) -> str:
    """Have a group go on reading after `last_id`."""
    options = XGROUP_SETID_OPTIONS.parse(args, str(_subcommand_error("XGROUP", "SETID")))
    stream, group = _existing_group(client, key, name)
    if len(args) > 2:
        raise _subcommand_error("XGROUP", "SETID")
    group.last_id = stream.last_id if last_id == b"$" else _parse_border(last_id, 0)
    group.entries_read = options.get("entriesread", ENTRIES_READ_UNKNOWN)
    client.dirty += 1
    return "OK"


@command("XGROUP DESTROY", arity=4, flags="write", keys=(2, 2, 1), since="5.0.0")
def xgroup_destroy(client: Client, key: bytes, name: bytes) -> int:
    """Delete a group with its consumers; 1 if there was one."""
    existed = _existing_stream(client, key).groups.pop(name, None) is not None
    client.dirty += existed
    return int(existed)


@command("XGROUP CREATECONSUMER", arity=5, flags="denyoom write", keys=(2, 2, 1), since="6.2.0")
def xgroup_createconsumer(client: Client, key: bytes, name: bytes, consumer: bytes) -> int:
    """Create a consumer in a group; 1 if there was none of that name."""
    _, group = _existing_group(client, key, name)
    created = group.create_consumer(consumer, client.server.now_ms()) is not None
    client.dirty += created
    return int(created)


@command("XGROUP DELCONSUMER", arity=5, flags="write", keys=(2, 2, 1), since="5.0.0")
def xgroup_delconsumer(client: Client, key: bytes, name: bytes, consumer: bytes) -> int:
    """Delete a consumer from a group; returns how many entries were pending with it."""
    _, group = _existing_group(client, key, name)
    pending = group.delete_consumer(consumer)
    client.dirty += pending is not None
    return pending or 0


XGROUP_HELP = """\
XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
CREATE <key> <groupname> <id|$> [option]
    Create a new consumer group. Options are:
    * MKSTREAM
      Create the empty stream if it does not exist.
    * ENTRIESREAD entries_read
      Set the group's entries_read counter (internal use).
CREATECONSUMER <key> <groupname> <consumer>
    Create a new consumer in the specified group.
DELCONSUMER <key> <groupname> <consumer>
    Remove the specified consumer.
DESTROY <key> <groupname>
    Remove the specified group.
SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]
    Set the current group ID and entries_read counter.
HELP
    Prints this help.
"""


@command("XGROUP HELP", arity=2, flags="loading stale", since="5.0.0")
def xgroup_help(client: Client) -> list[str]:
    """The subcommands of XGROUP."""
    return XGROUP_HELP.splitlines()


# --- XINFO ---------------------------------------------------------------------------------------------------


@command("XINFO", arity=-2, since="5.0.0")
def xinfo(client: Client, *args: bytes) -> NoReturn:
    """Look into a stream, its groups and their consumers."""
    _container_only("XINFO")


def _inspected(client: Client, key: bytes) -> Stream:
    stream = client.db.lookup_kind(key, Stream)
    if stream is None:
        raise ReplyError(messages.NO_SUCH_KEY)
    return stream


@command("XINFO STREAM", arity=-3, flags="readonly", keys=(2, 2, 1), since="5.0.0")
def xinfo_stream(client: Client, key: bytes, *args: bytes) -> Any:
    """Length, ids and counters of a stream; with FULL its first entries and its groups too."""
    stream = _inspected(client, key)
    about: dict[Any, Any] = {
        b"length": stream.length,
        b"radix-tree-keys": len(stream.nodes),
        b"radix-tree-nodes": radix_tree_nodes([node.master_id for node in stream.nodes]),
        b"last-generated-id": format_id(stream.last_id),
        b"max-deleted-entry-id": format_id(stream.max_deleted_id),
        b"entries-added": stream.entries_added,
        b"recorded-first-entry-id": format_id(stream.first_id),
    }
    if not args:
        about[b"groups"] = len(stream.groups)
        about[b"first-entry"] = next((_entry(*entry) for entry in stream.range()), None)
        about[b"last-entry"] = next((_entry(*entry) for entry in stream.reverse_range()), None)
        return client.map_reply(about)
    count = _full_count(args)
    about[b"entries"] = _take(stream.range(), count)
    about[b"groups"] = [
        _group_in_full(client, name, stream, stream.groups[name], count) for name in sorted(stream.groups)
    ]
    return client.map_reply(about)


def _full_count(args: Sequence[bytes]) -> int | None:
    """How many entries FULL shows; None for all."""
    well_formed = args[0].upper() == b"FULL" and (len(args) == 1 or (len(args) == 3 and args[1].upper() == b"COUNT"))
    if not well_formed:
        raise _subcommand_error("XINFO", "STREAM")
    if len(args) == 1:
        return 10
    count = integer(args[2])
    return 10 if count < 0 else count or None


def _group_in_full(client: Client, name: bytes, stream: Stream, group: Group, count: int | None) -> Any:
    shown_ids = group.pel.ids(limit=count)
    pel = []
    for entry_id in shown_ids:
        pending = group.pel.get(entry_id)
        assert pending is not None
        pel.append([format_id(entry_id), pending.consumer.name, pending.delivered_ms, pending.deliveries])
    return client.map_reply(
        {
            b"name": name,
            b"last-delivered-id": format_id(group.last_id),
            b"entries-read": None if group.entries_read == ENTRIES_READ_UNKNOWN else group.entries_read,
            b"lag": stream.lag(group),
            b"pel-count": len(group.pel),
            b"pending": pel,
            b"consumers": [_consumer_in_full(client, consumer, count) for consumer in group.sorted_consumers()],
        }
    )


def _consumer_in_full(client: Client, consumer: Consumer, count: int | None) -> Any:
    pel = []
    for entry_id in consumer.pel.ids(limit=count):
        pending = consumer.pel.get(entry_id)
        assert pending is not None
        pel.append([format_id(entry_id), pending.delivered_ms, pending.deliveries])
    return client.map_reply(
        {b"name": consumer.name, b"seen-time": consumer.seen_ms, b"pel-count": len(consumer.pel), b"pending": pel}
    )


@command("XINFO GROUPS", arity=3, flags="readonly", keys=(2, 2, 1), since="5.0.0")
def xinfo_groups(client: Client, key: bytes) -> list[Any]:
    """The groups of a stream, and how far each has read."""
    stream = _inspected(client, key)
    return [
        client.map_reply(
            {
                b"name": name,
                b"consumers": len(group.consumers),
                b"pending": len(group.pel),
                b"last-delivered-id": format_id(group.last_id),
                b"entries-read": None if group.entries_read == ENTRIES_READ_UNKNOWN else group.entries_read,
                b"lag": stream.lag(group),
            }
        )
        for name, group in sorted(stream.groups.items())
    ]


@command("XINFO CONSUMERS", arity=4, flags="readonly", keys=(2, 2, 1), since="5.0.0")
def xinfo_consumers(client: Client, key: bytes, name: bytes) -> list[Any]:
    """The consumers of a group, what each has pending, and how long ago it asked for something."""
    group = _inspected(client, key).groups.get(name)
    if group is None:
        raise ReplyError(NO_GROUP_FOR_KEY.format(_text(name), _text(key)))
    now_ms = client.server.now_ms()
    return [
        client.map_reply({b"name": c.name, b"pending": len(c.pel), b"idle": max(0, now_ms - c.seen_ms)})
        for c in group.sorted_consumers()
    ]


XINFO_HELP = """\
XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
CONSUMERS <key> <groupname>
    Show consumers of <groupname>.
GROUPS <key>
    Show the stream consumer groups.
STREAM <key> [FULL [COUNT <count>]
    Show information about the stream.
HELP
    Prints this help.
"""


@command("XINFO HELP", arity=2, flags="loading stale", since="5.0.0")
def xinfo_help(client: Client) -> list[str]:
    """The subcommands of XINFO."""
    return XINFO_HELP.splitlines()
