"""The whole content of a store or a server as plain values, read with commands, and expectations of the samples."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

__all__ = ["content", "expected_content", "narrowed"]


def content(side: Any, databases: int = 16) -> dict[int, dict[bytes, dict[str, Any]]]:
    """Everything in `side` (anything with ``execute``): per database and key its type, encoding, deadline, value."""
    found: dict[int, dict[bytes, dict[str, Any]]] = {}
    for index in range(databases):
        side.execute("SELECT", index)
        keys = {key: _key(side, key) for key in side.execute("KEYS", "*")}
        if keys:
            found[index] = keys
    side.execute("SELECT", 0)
    return found


def _key(side: Any, key: bytes) -> dict[str, Any]:
    kind = side.execute("TYPE", key)
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    entry: dict[str, Any] = {
        "type": kind,
        "encoding": side.execute("OBJECT", "ENCODING", key).decode(),
        "pexpireat": side.execute("PEXPIRETIME", key),
    }
    if kind == "string":
        entry["value"] = side.execute("GET", key)
    elif kind == "list":
        entry["value"] = side.execute("LRANGE", key, 0, -1)
    elif kind == "set":
        entry["value"] = sorted(side.execute("SMEMBERS", key))
    elif kind == "hash":
        entry["value"] = sorted(_pairs(side.execute("HGETALL", key)))
    elif kind == "zset":
        pairs = _pairs(side.execute("ZRANGE", key, 0, -1, "WITHSCORES"))
        entry["value"] = [(member, float(score)) for member, score in pairs]
    elif kind == "stream":
        entry.update(_stream(side, key))
    return entry


def _pairs(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _stream(side: Any, key: bytes) -> dict[str, Any]:
    entries = side.execute("XRANGE", key, "-", "+")
    info = dict(_pairs(side.execute("XINFO", "STREAM", key, "FULL", "COUNT", 0)))
    groups = []
    for group in info[b"groups"]:
        facts = dict(_pairs(group))
        pel = [[entry[0].decode(), entry[1], entry[2], entry[3]] for entry in facts[b"pending"]]
        consumers = sorted(dict(_pairs(consumer))[b"name"] for consumer in facts[b"consumers"])
        groups.append(
            {
                "name": facts[b"name"],
                "last-delivered-id": facts[b"last-delivered-id"].decode(),
                "entries-read": facts[b"entries-read"],
                "pel": pel,
                "consumers": consumers,
            }
        )
    return {
        "value": [[entry_id.decode(), fields] for entry_id, fields in entries],
        "last-generated-id": info[b"last-generated-id"].decode(),
        "max-deleted-entry-id": info[b"max-deleted-entry-id"].decode(),
        "entries-added": info[b"entries-added"],
        "groups": sorted(groups, key=lambda group: group["name"]),
    }


def expected_content(sample: Path) -> tuple[dict[int, dict[bytes, dict[str, Any]]], dict[str, bytes]]:
    """What ``expected.json`` of a sample says is in it, in the form of `content`, and its function libraries."""
    result = json.loads((sample / "expected.json").read_text())["result"]
    found: dict[int, dict[bytes, dict[str, Any]]] = {}
    for index, keys in result["dbs"].items():
        found[int(index)] = {_b(key): _expected_key(entry) for key, entry in keys.items()}
    return found, {library["library"]: _b(library["code"]) for library in result.get("functions", [])}


def _b(text: str) -> bytes:
    return base64.b64decode(text)


def _expected_key(entry: dict[str, Any]) -> dict[str, Any]:
    kind, value = entry["type"], entry["value"]
    found: dict[str, Any] = {"type": kind, "pexpireat": entry.get("pexpireat", -1)}
    # What other versions call an encoding is theirs.
    if "encoding_7.0.15" in entry:
        found["encoding"] = entry["encoding_7.0.15"]
    if kind == "string":
        found["value"] = _b(value)
    elif kind == "list":
        found["value"] = [_b(item) for item in value]
    elif kind == "set":
        found["value"] = sorted(_b(item) for item in value)
    elif kind == "hash":
        found["value"] = sorted((_b(field), _b(text)) for field, text in value)
    elif kind == "zset":
        found["value"] = [(_b(member), float.fromhex(exact)) for member, _text, exact in value]
    elif kind == "stream":
        found["value"] = [[entry_id, [_b(item) for item in fields]] for entry_id, fields in value]
        for name in ("last-generated-id", "max-deleted-entry-id", "entries-added"):
            if name in entry:
                found[name] = entry[name]
        found["groups"] = sorted(map(_expected_group, entry["groups"]), key=lambda group: group["name"])
    return found


def _expected_group(group: dict[str, Any]) -> dict[str, Any]:
    found = {
        "name": _b(group["name"]),
        "last-delivered-id": group["last-delivered-id"],
        "pel": [[row[0], _b(row[1]), row[2], row[3]] for row in group["pel"]],
        "consumers": sorted(_b(name) for name in group["consumers"]),
    }
    if "entries-read" in group:
        found["entries-read"] = group["entries-read"]
    return found


def narrowed(found: Any, expected: Any) -> Any:
    """`found` without the facts that `expected` does not know: older servers say less about a stream."""
    if isinstance(found, dict) and isinstance(expected, dict):
        entry = "type" in expected or "last-delivered-id" in expected
        return {k: narrowed(v, expected.get(k)) for k, v in found.items() if k in expected or not entry}
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        return [narrowed(a, b) for a, b in zip(found, expected, strict=True)]
    return found
