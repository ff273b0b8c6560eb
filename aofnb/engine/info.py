"""The text of INFO: sections with one ``name:value`` a line, as redis-server 7.0.15 gives them.

Only fields that have a meaning here; `aofnb_*` fields say what Redis does not.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aofnb import _version

if TYPE_CHECKING:
    from aofnb.engine.core import Engine

__all__ = ["SECTIONS", "text"]

# The server whose behaviour is the model; clients decide by it what they may ask for.
REDIS_VERSION = "7.0.15"

Fields = dict[str, object]


def _server(engine: Engine) -> Fields:
    return {
        "redis_version": REDIS_VERSION,
        "redis_mode": "standalone",
        "aofnb_version": _version.VERSION,
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "arch_bits": 64 if sys.maxsize > 1 << 32 else 32,
        "process_id": os.getpid(),
        "server_time_usec": engine.clock.now_ms() * 1000,
        "hz": engine.config.hz,
    }


def _clients(engine: Engine) -> Fields:
    return {"connected_clients": sum(not client.loading for client in engine.clients)}


def _persistence(engine: Engine) -> Fields:
    fields: Fields = {
        "loading": int(not engine.keyspace.expiring),
        "rdb_changes_since_last_save": engine.keyspace.dirty,
        "aof_enabled": int(engine.writer is not None),
    }
    stats = engine.aof_stats()
    if stats is None:
        return fields
    running = stats.rewrite.phase != "idle"
    last_s = stats.last_rewrite_duration_s
    return fields | {
        "current_save_keys_processed": stats.rewrite.keys_done,
        "current_save_keys_total": stats.rewrite.keys_total,
        "aof_rewrite_in_progress": int(running),
        "aof_rewrite_scheduled": int(stats.rewrite_scheduled),
        "aof_last_rewrite_time_sec": -1 if last_s is None else int(last_s),
        "aof_current_rewrite_time_sec": int(stats.rewrite.elapsed_s) if running else -1,
        "aof_last_bgrewrite_status": "ok" if stats.last_rewrite_ok else "err",
        "aof_rewrites": stats.rewrites,
        "aof_last_write_status": "err" if stats.write_error else "ok",
        "aof_current_size": stats.current_size,
        "aof_base_size": stats.base_size,
        "aof_pending_rewrite": int(stats.rewrite_scheduled),
        "aof_buffer_length": stats.aof_buf_bytes,
        "aof_pending_bio_fsync": int(stats.fsync_in_progress),
        "aof_delayed_fsync": stats.delayed_fsync,
        "aofnb_unsynced_bytes": stats.unsynced_bytes,
        "aofnb_fsync_lag_seconds": f"{stats.fsync_lag_s:.3f}",
    }


def _stats(engine: Engine) -> Fields:
    return {
        "total_commands_processed": engine.total_commands,
        "expired_keys": engine.keyspace.expired_keys,
    }


def _keyspace(engine: Engine) -> Fields:
    return {f"db{db.index}": f"keys={len(db)},expires={db.volatile},avg_ttl=0" for db in engine.keyspace if len(db) > 0}


SECTIONS: dict[str, Callable[[Engine], Fields]] = {
    "server": _server,
    "clients": _clients,
    "persistence": _persistence,
    "stats": _stats,
    "keyspace": _keyspace,
}
_ALL = {"default", "all", "everything"}


def text(engine: Engine, sections: Sequence[str]) -> str:
    """INFO for `sections` (lower case); none, ``default``, ``all`` and ``everything`` mean all there are."""
    wanted = list(SECTIONS) if not sections or not _ALL.isdisjoint(sections) else [s for s in SECTIONS if s in sections]
    blocks = []
    for name in wanted:
        lines = "".join(f"{field}:{value}\r\n" for field, value in SECTIONS[name](engine).items())
        blocks.append(f"# {name.capitalize()}\r\n{lines}")
    return "\r\n".join(blocks)
