"""Values of a snapshot in the form that expected.json of the RDB samples has them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from support.require import need

from aofnb.rdb import Entry
from aofnb.store.stream import Stream, format_id
from aofnb.store.values import Value, type_name

__all__ = ["RDB", "described", "expected_files", "public_snapshots", "verdicts"]

_ROOT = Path(__file__).resolve().parents[2]
RDB = _ROOT / "tests" / "data" / "rdb"
_PUBLIC = _ROOT.parent / "shared" / "samples" / "rdb" / "public"
_LONG = 4096


def expected_files() -> dict[str, Any]:
    """What is known of each file in generated/, by its path."""
    found: dict[str, Any] = json.loads((RDB / "expected.json").read_text())["files"]
    return found


def verdicts() -> dict[str, Any]:
    """What redis-server and redis-check-rdb said about each file in hostile/, by its name without suffix."""
    found: dict[str, Any] = json.loads((RDB / "hostile" / "verdicts.json").read_text())["files"]
    return found


def public_snapshots() -> Path:
    """The folder of snapshots from public repositories, which is no part of this one: skips without."""
    need("the folder of public snapshots", _PUBLIC.is_dir())
    return _PUBLIC


def described(entry: Entry, *, encoding: bool = True) -> dict[str, Any]:
    """One key as expected.json has it; deadlines that the file does not have are left out."""
    value = entry.value
    found: dict[str, Any] = {"db": entry.db, "key": _text(entry.key), "type": type_name(value), "value": _value(value)}
    if encoding:
        found["encoding"] = _encoding(value)
    if entry.expire_ms is not None:
        found["expire_ms"] = entry.expire_ms
    if isinstance(value, Stream):
        found["stream"] = _stream(value)
    return found


def _text(data: bytes) -> Any:
    if len(data) > _LONG:
        return {"len": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return data.decode("latin-1")


def _encoding(value: Value) -> str:
    if not isinstance(value, bytes | bytearray):
        return value.encoding
    text = bytes(value)
    try:
        is_int = len(text) <= 20 and b"%d" % int(text) == text and -(1 << 63) <= int(text) < 1 << 63
    except ValueError:
        is_int = False
    return "int" if is_int else "embstr" if len(text) <= 44 else "raw"


def _value(value: Any) -> Any:
    kind = type_name(value)
    if kind == "string":
        return _text(bytes(value))
    if kind == "list":
        return [_text(item) for item in value]
    if kind == "set":
        return [_text(member) for member in sorted(value)]
    if kind == "hash":
        return [[_text(field), _text(text)] for field, text in sorted(value.items())]
    if kind == "zset":
        return [[_text(member), repr(score)] for score, member in value.entries()]
    return [
        [_id(entry_id), [[_text(field), _text(text)] for field, text in zip(items[::2], items[1::2], strict=True)]]
        for entry_id, items in value.range()
    ]


def _id(entry_id: tuple[int, int]) -> str:
    return format_id(entry_id).decode()


def _stream(stream: Stream) -> dict[str, Any]:
    groups = []
    for name in sorted(stream.groups):
        group = stream.groups[name]
        groups.append(
            {
                "name": _text(name),
                "last_id": _id(group.last_id),
                "entries_read": None if group.entries_read == -1 else group.entries_read,
                "pel": [
                    [_id(entry_id), _text(pending.consumer.name), pending.delivered_ms, pending.deliveries]
                    for entry_id, pending in group.pel.items()
                ],
                "consumers": [
                    {
                        "name": _text(consumer.name),
                        "seen_time": consumer.seen_ms,
                        "pel": [
                            [_id(entry_id), pending.delivered_ms, pending.deliveries]
                            for entry_id, pending in consumer.pel.items()
                        ],
                    }
                    for consumer in group.sorted_consumers()
                ],
            }
        )
    return {
        "entries_added": stream.entries_added,
        "first_id": _id(stream.first_id),
        "groups": groups,
        "last_id": _id(stream.last_id),
        "length": len(stream),
        "max_deleted_id": _id(stream.max_deleted_id),
        "nodes": len(stream.nodes),
    }
