"""Consumer groups of streams: XREADGROUP, XACK, XPENDING, the claims, XGROUP and XINFO.

How they reach the log, so that a replay gives the same data at any later time: XREADGROUP, XCLAIM and XAUTOCLAIM
never as typed. Each entry given to a consumer becomes an XCLAIM that states owner, time and count, and ``NOACK``
reads become XGROUP CREATECONSUMER and XGROUP SETID.

Not in the log, as with the server: a consumer that only read its own history or found nothing, and how that
changed delivery counts.

Redis: t_stream.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from aofnb.commands import messages
from aofnb.commands.args import INT64_MAX, Options, integer, value, word
from aofnb.commands.blocking import NOT_YET, Wait, wait_for
from aofnb.commands.client import Client
from aofnb.commands.registry import REWRITTEN, command
from aofnb.commands.streams import (
    Reading,
    entry_reply,
    keys_after_streams,
    next_id,
    parse_border,
    parse_end,
    parse_id,
    parse_reading,
    parse_start,
    streams_reply,
    take_entries,
)
from aofnb.errors import ReplyError
from aofnb.store.stream import (
    ENTRIES_READ_UNKNOWN,
    MAX_ID,
    MIN_ID,
    Consumer,
    Group,
    Pending,
    PendingList,
    Stream,
    StreamId,
    format_id,
    radix_tree_nodes,
)

__all__: list[str] = []

NO_GROUP_FOR_KEY = "NOGROUP No such consumer group '{}' for key name '{}'"
NO_KEY_OR_GROUP = "NOGROUP No such key '{}' or consumer group '{}'"


# --- helpers -------------------------------------------------------------------------------------------------


def _group(client: Client, key: bytes, name: bytes) -> tuple[Stream, Group]:
    return _group_of(client.db.read_kind(key, Stream), key, name)


def _group_of(stream: Stream | None, key: bytes, name: bytes) -> tuple[Stream, Group]:
    group = None if stream is None else stream.groups.get(name)
    if stream is None or group is None:
        raise messages.error(NO_KEY_OR_GROUP.format(messages.shown(key), messages.shown(name)))
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


def _consumer(client: Client, key: bytes, group: Group, name: bytes) -> Consumer:
    """The consumer called `name`, made if need be, marked as seen now."""
    now_ms = client.server.now_ms()
    consumer = group.consumers.get(name)
    if consumer is None:
        consumer = group.create_consumer(name, now_ms)
        client.notify(key, "xgroup-createconsumer")
    assert consumer is not None
    consumer.seen_ms = now_ms
    return consumer


# --- reading, claiming -----------------------------------------------------------------------------------------


@command(
    "XREADGROUP",
    arity=-7,
    flags="blocking movablekeys write",
    keys=keys_after_streams,
    propagate=REWRITTEN,
    since="5.0.0",
)
def xreadgroup(client: Client, *args: bytes) -> Any:
    """Entries for a consumer of a group: new ones (``>``), or those it has not acknowledged yet.

    With BLOCK it waits where there is nothing to read.

    Redis: t_stream.c xreadCommand.
    """
    read = parse_reading("XREADGROUP", args)
    assert read.group is not None
    wanted: list[tuple[bytes, Stream, Group, StreamId]] = []
    for key, arg in zip(read.keys, read.ids, strict=True):
        stream = client.db.read_kind(key, Stream)
        group = None if stream is None else stream.groups.get(read.group)
        if stream is None or group is None:
            raise messages.error(
                NO_KEY_OR_GROUP.format(messages.shown(key), messages.shown(read.group))
                + " in XREADGROUP with GROUP option"
            )
        if arg == b"$":
            raise ReplyError(
                "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this "
                "consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just "
                "return an empty result set."
            )
        wanted.append((key, stream, group, MAX_ID if arg == b">" else parse_id(arg)))
    served: list[tuple[bytes, Any]] = []
    for key, _stream, _group, _above in wanted:
        # Looked for again, as the server does once it knows that all is well-formed: that counts.
        client.db.read(key)
    for key, stream, group, above in wanted:
        # A consumer that finds nothing does not come into being, and one that is there is not marked as seen.
        # Asked in turn: of a stream that is named twice the first takes all.
        if above != MAX_ID or (stream.length > 0 and stream.top_id > group.last_id):
            served.append((key, _read_one(client, key, stream, group, above, read)))
    if not served:
        return None if read.block_ms is None else wait_for(client, _group_wait(client, read, read.block_ms))
    return streams_reply(client, served)


def _read_one(client: Client, key: bytes, stream: Stream, group: Group, above: StreamId, read: Reading) -> list[Any]:
    assert read.group is not None
    is_new = read.consumer not in group.consumers
    consumer = _consumer(client, key, group, read.consumer)
    if is_new and read.noack:
        client.dirty += 1
        client.propagate(b"XGROUP", b"CREATECONSUMER", key, read.group, read.consumer)
    if above != MAX_ID:
        return _history(client, stream, consumer, above, read.count)
    return _deliver(client, key, stream, group, consumer, read)


def _group_wait(client: Client, read: Reading, block_ms: int) -> Wait:
    """Wait for entries that the group has not read. Only ``>`` waits: a history is answered, empty or not."""
    assert read.group is not None
    group_name = read.group

    def serve(key: bytes) -> Any:
        stream = client.db.lookup_kind(key, Stream)
        assert stream is not None
        group = stream.groups.get(group_name)
        if group is None:
            raise ReplyError("NOGROUP the consumer group this client was blocked on no longer exists")
        if stream.last_id <= group.last_id:
            return NOT_YET
        return streams_reply(client, [(key, _read_one(client, key, stream, group, MAX_ID, read))])

    gone = ReplyError("UNBLOCKED the stream key no longer exists")
    return Wait(read.keys, Stream, block_ms, serve, gone=gone)


def _history(client: Client, stream: Stream, consumer: Consumer, above: StreamId, count: int) -> list[Any]:
    """What `consumer` has not acknowledged, above an id; None for the fields of what was deleted meanwhile."""
    found = []
    for entry_id in consumer.pel.ids(next_id(above), limit=count or None):
        items = stream.get(entry_id)
        if items is None:
            found.append([format_id(entry_id), None])
            continue
        pending = consumer.pel.get(entry_id)
        assert pending is not None
        pending.delivered_ms = client.server.now_ms()
        pending.deliveries += 1
        found.append(entry_reply(entry_id, items))
    return found


def _deliver(client: Client, key: bytes, stream: Stream, group: Group, consumer: Consumer, read: Reading) -> list[Any]:
    """Give `consumer` the entries the group has not read, and log that."""
    assert read.group is not None
    now_ms = client.server.now_ms()
    found = []
    for entry_id, items in stream.range(next_id(group.last_id)):
        stream.advance(group, entry_id)
        if not read.noack:
            pending = group.assign(entry_id, consumer, now_ms, 1)
            _log_claim(client, key, read.group, group, format_id(entry_id), pending)
        found.append(entry_reply(entry_id, items))
        if len(found) == read.count:
            break
    if read.noack and found:
        _log_group_position(client, key, read.group, group)
    client.dirty += 1
    return found


@command("XACK", arity=-4, flags="fast write", keys=(1, 1, 1), since="5.0.0")
def xack(client: Client, key: bytes, group_name: bytes, *ids: bytes) -> int:
    """Mark entries as dealt with; returns how many were pending."""
    stream = client.db.read_kind(key, Stream)
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
    start, end = parse_start(args[0]), parse_end(args[1])
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
            raise messages.error(f"ERR Unrecognized XCLAIM option '{messages.shown(args[i - 1])}'")
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
            consumer = _consumer(client, key, group, consumer_name)
        if claim.deliveries is not None and claim.deliveries >= 0:
            deliveries = claim.deliveries
        elif not claim.justid:
            deliveries += 1
        pending = group.assign(entry_id, consumer, delivered_ms, deliveries)
        claimed.append(format_id(entry_id) if claim.justid else entry_reply(entry_id, items))
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
    # Looked up first, as the server does: an overdue key is deleted even where an argument is wrong.
    client.db.read(key)
    min_idle_ms = integer(min_idle, "ERR Invalid min-idle-time argument for XAUTOCLAIM")
    start_id = parse_start(start)
    options = XAUTOCLAIM_OPTIONS.parse(args)
    count: int = options.get("count", 100)
    justid = "justid" in options
    stream, group = _group_of(client.db.lookup_kind(key, Stream), key, group_name)
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
            consumer = _consumer(client, key, group, consumer_name)
        pending = group.assign(entry_id, consumer, now_ms, pending.deliveries + (not justid))
        claimed.append(format_id(entry_id) if justid else entry_reply(entry_id, items))
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


def _existing_group(client: Client, key: bytes, name: bytes) -> tuple[Stream, Group]:
    stream = _existing_stream(client, key)
    group = stream.groups.get(name)
    if group is None:
        raise messages.error(NO_GROUP_FOR_KEY.format(messages.shown(name), messages.shown(key)))
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
    options = XGROUP_CREATE_OPTIONS.parse(args, messages.MisusedSubcommandError("CREATE", "XGROUP"))
    stream: Stream | None
    if "mkstream" in options:
        stream = client.db.lookup_kind(key, Stream)
    else:
        stream = _existing_stream(client, key)
    if len(args) > 3:
        raise messages.MisusedSubcommandError("CREATE", "XGROUP")
    if last_id == b"$":
        start = MIN_ID if stream is None else stream.last_id
    else:
        start = parse_id(last_id)
    if stream is None:
        stream = Stream()
        client.db.put(key, stream)
        # The key is new; of the group its event tells below.
        client.changed(key, "", dirty=0)
    elif name in stream.groups:
        raise ReplyError("BUSYGROUP Consumer Group name already exists")
    stream.groups[name] = Group(start, options.get("entriesread", ENTRIES_READ_UNKNOWN))
    client.dirty += 1
    client.notify(key, "xgroup-create")
    return "OK"


@command("XGROUP SETID", arity=-5, flags="write", keys=(2, 2, 1), options=XGROUP_SETID_OPTIONS, since="5.0.0")
def xgroup_setid(client: Client, key: bytes, name: bytes, last_id: bytes, *args: bytes) -> str:
    """Have a group go on reading after `last_id`."""
    options = XGROUP_SETID_OPTIONS.parse(args, messages.MisusedSubcommandError("SETID", "XGROUP"))
    stream, group = _existing_group(client, key, name)
    if len(args) > 2:
        raise messages.MisusedSubcommandError("SETID", "XGROUP")
    group.last_id = stream.last_id if last_id == b"$" else parse_border(last_id, 0)
    group.entries_read = options.get("entriesread", ENTRIES_READ_UNKNOWN)
    client.dirty += 1
    client.notify(key, "xgroup-setid")
    return "OK"


@command("XGROUP DESTROY", arity=4, flags="write", keys=(2, 2, 1), since="5.0.0")
def xgroup_destroy(client: Client, key: bytes, name: bytes) -> int:
    """Delete a group with its consumers; 1 if there was one."""
    existed = _existing_stream(client, key).groups.pop(name, None) is not None
    if existed:
        client.dirty += 1
        client.notify(key, "xgroup-destroy")
    return int(existed)


@command("XGROUP CREATECONSUMER", arity=5, flags="denyoom write", keys=(2, 2, 1), since="6.2.0")
def xgroup_createconsumer(client: Client, key: bytes, name: bytes, consumer: bytes) -> int:
    """Create a consumer in a group; 1 if there was none of that name."""
    _, group = _existing_group(client, key, name)
    created = group.create_consumer(consumer, client.server.now_ms()) is not None
    if created:
        client.dirty += 1
        client.notify(key, "xgroup-createconsumer")
    return int(created)


@command("XGROUP DELCONSUMER", arity=5, flags="write", keys=(2, 2, 1), since="5.0.0")
def xgroup_delconsumer(client: Client, key: bytes, name: bytes, consumer: bytes) -> int:
    """Delete a consumer from a group; returns how many entries were pending with it."""
    _, group = _existing_group(client, key, name)
    pending = group.delete_consumer(consumer)
    if pending is not None:
        client.dirty += 1
        client.notify(key, "xgroup-delconsumer")
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
    stream = client.db.read_kind(key, Stream)
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
        about[b"first-entry"] = next((entry_reply(*entry) for entry in stream.range()), None)
        about[b"last-entry"] = next((entry_reply(*entry) for entry in stream.reverse_range()), None)
        return client.map_reply(about)
    count = _full_count(args)
    about[b"entries"] = take_entries(stream.range(), count)
    about[b"groups"] = [
        _group_in_full(client, name, stream, stream.groups[name], count) for name in sorted(stream.groups)
    ]
    return client.map_reply(about)


def _full_count(args: Sequence[bytes]) -> int | None:
    """How many entries FULL shows; None for all."""
    well_formed = args[0].upper() == b"FULL" and (len(args) == 1 or (len(args) == 3 and args[1].upper() == b"COUNT"))
    if not well_formed:
        raise messages.MisusedSubcommandError("STREAM", "XINFO")
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
        raise messages.error(NO_GROUP_FOR_KEY.format(messages.shown(name), messages.shown(key)))
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
