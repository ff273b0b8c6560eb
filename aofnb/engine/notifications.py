"""Keyspace events as messages, and the feed of MONITOR.

Which class of `notify-keyspace-events` an event belongs to is a table here; which events a command causes, and in which
order, is said by its handler (`Client.changed`, `Client.notify`).

Redis: notify.c, replication.c replicationFeedMonitors (7.0.15).
"""

from __future__ import annotations

from collections.abc import Sequence

from aofnb.commands.registry import Command

__all__ = ["class_of", "monitor_line"]

_CLASSES = {
    "g": "del rename_from rename_to move_from move_to copy_to restore expire persist",
    "$": "set setrange incrby incrbyfloat append setbit pfadd",
    "l": "lpush rpush lpop rpop linsert lset lrem ltrim sortstore",
    "s": "sadd srem spop sinterstore sunionstore sdiffstore",
    "h": "hset hincrby hincrbyfloat hdel hexpire hexpired hpersist",
    "z": "zadd zincr zrem zremrangebyscore zremrangebyrank zremrangebylex zpopmin zpopmax zrangestore zinterstore "
    "zunionstore zdiffstore geosearchstore georadiusstore",
    "t": "xadd xtrim xdel xsetid xgroup-create xgroup-setid xgroup-destroy xgroup-createconsumer xgroup-delconsumer",
    "x": "expired",
    "e": "evicted",
    "n": "new",
    "m": "keymiss",
}
_CLASS_OF = {event: letter for letter, events in _CLASSES.items() for event in events.split()}


def class_of(event: str) -> str:
    """The letter of `notify-keyspace-events` that asks for `event`; "-", which none does, for what is only a change."""
    return _CLASS_OF.get(event, "-")


_ESCAPES = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x07: "\\a", 0x08: "\\b"}
_REDACTED = b"(redacted)"


def _quoted(arg: bytes) -> str:
    shown = (_ESCAPES.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}") for byte in arg)
    return f'"{"".join(shown)}"'


def monitor_line(now_ms: int, db_index: int, who: str, command: Command, argv: Sequence[bytes]) -> str:
    """What MONITOR shows of a command, without its passwords."""
    shown = list(argv)
    if command.name == "AUTH":
        shown[1:] = [_REDACTED] * (len(argv) - 1)
    elif command.name == "HELLO":
        words = [arg.upper() for arg in argv]
        if b"AUTH" in words[2:]:
            at = words.index(b"AUTH", 2)
            shown[at + 1 : at + 3] = [_REDACTED] * len(shown[at + 1 : at + 3])
    seconds, milliseconds = divmod(now_ms, 1000)
    return f"{seconds}.{milliseconds:03d}000 [{db_index} {who}] {' '.join(map(_quoted, shown))}"
