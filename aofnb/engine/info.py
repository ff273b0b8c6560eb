"""The text of INFO: sections with one ``name:value`` a line, as redis-server 7.0.15 gives them.

Fields that have a meaning here, under the server's names and in its order; ``aofnb_*`` fields say what Redis does not.
What has none is left out, but for what clients are known to ask for. ``commandstats`` and ``latencystats`` have content
with ``latency-tracking yes``.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aofnb import _version
from aofnb.aof.stats import AofStats
from aofnb.commands.clients import memory_of
from aofnb.config import format_percentile

if TYPE_CHECKING:
    from aofnb.engine.core import Engine

__all__ = ["SECTIONS", "text"]

# The server whose behaviour is the model; clients decide by it what they may ask for.
REDIS_VERSION = "7.0.15"

Fields = dict[str, object]


def _server(engine: Engine) -> Fields:
    up_s = int(engine.clock.monotonic() - engine.started_s)
    file = engine.settings.file
    return {
        "redis_version": REDIS_VERSION,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_mode": "standalone",
        "aofnb_version": _version.VERSION,
        "os": f"{platform.system()} {platform.release()} {platform.machine()}",
        "arch_bits": 64 if sys.maxsize > 1 << 32 else 32,
        "python_version": platform.python_version(),
        "process_id": os.getpid(),
        "process_supervised": "no",
        "run_id": engine.run_id,
        "tcp_port": engine.settings.server["port"],
        "server_time_usec": engine.clock.now_ms() * 1000,
        "uptime_in_seconds": up_s,
        "uptime_in_days": up_s // 86400,
        "hz": engine.config.hz,
        "configured_hz": engine.config.hz,
        "executable": sys.executable,
        "config_file": "" if file is None else file.path,
    }


def _clients(engine: Engine) -> Fields:
    replication = engine.replication
    return {
        "connected_clients": sum(replication is None or not replication.follows(c) for c in engine.connected()),
        "cluster_connections": 0,
        "maxclients": engine.config.maxclients,
        "blocked_clients": len(engine.waiting.waiters),
        "tracking_clients": len(engine.tracking.clients),
    }


def _memory(engine: Engine) -> Fields:
    rss, peak = _resident()
    writer = engine.writer
    buffer = 0 if writer is None else sys.getsizeof(writer.aof_buf)
    return {
        # Of the whole process: what belongs to the store cannot be told from the rest.
        "used_memory": rss,
        "used_memory_human": _human(rss),
        "used_memory_rss": rss,
        "used_memory_rss_human": _human(rss),
        "used_memory_peak": peak,
        "used_memory_peak_human": _human(peak),
        "used_memory_peak_perc": f"{100 * rss / peak if peak else 0:.2f}%",
        "total_system_memory": (total := _installed()),
        "total_system_memory_human": _human(total),
        "number_of_cached_scripts": engine.scripts.cached,
        "number_of_functions": sum(len(library.functions) for library in engine.keyspace.functions.values()),
        "number_of_libraries": len(engine.keyspace.functions),
        "maxmemory": engine.config.maxmemory,
        "maxmemory_human": _human(engine.config.maxmemory),
        "maxmemory_policy": engine.config.maxmemory_policy,
        "mem_not_counted_for_evict": buffer,
        **_client_memory(engine),
        "mem_aof_buffer": buffer,
        "mem_allocator": "python",
        "lazyfree_pending_objects": 0,
    }


def _client_memory(engine: Engine) -> Fields:
    """What clients on sockets take, replicas by themselves."""
    replication = engine.replication
    sizes = {False: 0, True: 0}
    for client in engine.connected():
        if client.buffers is not None:
            sizes[replication is not None and replication.follows(client)] += memory_of(client)
    return {"mem_clients_slaves": sizes[True], "mem_clients_normal": sizes[False]}


def _resident() -> tuple[int, int]:
    """Bytes of memory of this process now, and at most so far; 0 where the system does not tell."""
    try:
        import resource  # not on Windows
    except ModuleNotFoundError:
        return 0, 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    try:
        with open("/proc/self/statm", "rb") as file:
            rss = int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return peak, peak
    return rss, max(rss, peak)


def _installed() -> int:
    """Bytes of memory of this machine; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):  # not on Windows
        return 0


def _human(size: int) -> str:
    """Bytes as the server shows them.

    >>> _human(0), _human(1536), _human(3 << 30)
    ('0B', '1.50K', '3.00G')
    """
    number = float(size)
    for unit in "BKMGT":
        if number < 1024 or unit == "T":
            break
        number /= 1024
    return f"{size}B" if unit == "B" else f"{number:.2f}{unit}"


def _persistence(engine: Engine) -> Fields:
    stats = engine.aof_stats() or AofStats()
    rewrite = stats.rewrite
    running = rewrite.phase != "idle"
    last_s = stats.last_rewrite_duration_s
    fields: Fields = {
        "loading": int(not engine.keyspace.expiring),
        "async_loading": 0,
        "current_cow_peak": rewrite.cow_peak_bytes,
        "current_cow_size": rewrite.cow_bytes,
        "current_cow_size_age": int(rewrite.cow_age_s),
        "current_fork_perc": f"{100 * rewrite.fraction if running else 0:.2f}",
        "current_save_keys_processed": rewrite.keys_done,
        "current_save_keys_total": rewrite.keys_total,
        "rdb_changes_since_last_save": engine.keyspace.dirty,
        "rdb_bgsave_in_progress": 0,
        "rdb_last_save_time": 0,
        "rdb_last_bgsave_status": "ok",
        "rdb_last_bgsave_time_sec": -1,
        "rdb_current_bgsave_time_sec": -1,
        "rdb_saves": 0,
        "rdb_last_cow_size": 0,
        "rdb_last_load_keys_expired": 0,
        "rdb_last_load_keys_loaded": 0,
        "aof_enabled": int(stats.aof_enabled),
        "aof_rewrite_in_progress": int(running),
        "aof_rewrite_scheduled": int(stats.rewrite_scheduled),
        "aof_last_rewrite_time_sec": -1 if last_s is None else int(last_s),
        "aof_current_rewrite_time_sec": int(rewrite.elapsed_s) if running else -1,
        "aof_last_bgrewrite_status": "ok" if stats.last_rewrite_ok else "err",
        "aof_rewrites": stats.rewrites,
        "aof_rewrites_consecutive_failures": stats.rewrite_failures,
        "aof_last_write_status": "err" if stats.write_error else "ok",
        "aof_last_cow_size": stats.last_rewrite_cow_bytes,
        "module_fork_in_progress": 0,
        "module_fork_last_cow_size": 0,
    }
    # What there is to tell of snapshots, in the place of what holds where there are none.
    fields |= engine.persistence.info()
    if engine.loading is not None:
        fields |= {"loading": 1, "aof_enabled": int(engine.config.appendonly)}
    if engine.config.appendonly:
        fields |= {
            "aof_current_size": stats.current_size,
            "aof_base_size": stats.base_size,
            "aof_pending_rewrite": int(stats.rewrite_scheduled),
            "aof_buffer_length": stats.aof_buf_bytes,
            "aof_pending_bio_fsync": int(stats.fsync_in_progress),
            "aof_delayed_fsync": stats.delayed_fsync,
            "aofnb_unsynced_bytes": stats.unsynced_bytes,
            "aofnb_fsync_lag_seconds": f"{stats.fsync_lag_s:.3f}",
            "aofnb_postponed_seconds": f"{stats.postponed_s:.3f}",
            "aofnb_fsync_held_back": int(stats.fsync_held_back),
        }
    if engine.loading is not None:
        fields |= engine.loading.info()
    return fields


def _stats(engine: Engine) -> Fields:
    stats = engine.aof_stats() or AofStats()
    replication, tracking = engine.replication, engine.tracking
    served = engine.socket_stats()
    return {
        "total_connections_received": served.get("connections", 0),
        "total_commands_processed": engine.total_commands,
        "total_net_input_bytes": served.get("input_bytes", 0),
        "total_net_output_bytes": served.get("output_bytes", 0),
        "rejected_connections": served.get("rejected", 0),
        "sync_full": 0 if replication is None else replication.full_syncs,
        "sync_partial_ok": 0 if replication is None else replication.partial_syncs,
        "sync_partial_err": 0 if replication is None else replication.refused_partial_syncs,
        "expired_keys": engine.keyspace.expired_keys,
        "expired_subkeys": engine.keyspace.expired_fields,
        "evicted_keys": engine.keyspace.evicted_keys,
        "evicted_clients": served.get("evicted", 0),
        "keyspace_hits": sum(db.hits for db in engine.keyspace),
        "keyspace_misses": sum(db.misses for db in engine.keyspace),
        "pubsub_channels": len(engine.subscriptions.channels),
        "pubsub_patterns": len(engine.subscriptions.patterns),
        "pubsubshard_channels": len(engine.subscriptions.shards),
        "latest_fork_usec": round(stats.last_fork_s * 1e6),
        "total_forks": stats.forks,
        "tracking_total_keys": len(tracking.table),
        "tracking_total_items": sum(map(len, tracking.table.values())),
        "tracking_total_prefixes": len(tracking.prefixes),
        "total_error_replies": sum(engine.timing.errors.values()),
    }


def _replication(engine: Engine) -> Fields:
    if engine.replication is not None:
        return engine.replication.info()
    return {
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": engine.run_id,
        "master_repl_offset": 0,
    }


def _cpu(_engine: Engine) -> Fields:
    used = os.times()
    return {
        "used_cpu_sys": f"{used.system:.6f}",
        "used_cpu_user": f"{used.user:.6f}",
        "used_cpu_sys_children": f"{used.children_system:.6f}",
        "used_cpu_user_children": f"{used.children_user:.6f}",
    }


def _modules(_engine: Engine) -> Fields:
    return {}


def _commandstats(engine: Engine) -> Fields:
    return {
        f"cmdstat_{name}": (
            f"calls={stats.calls},usec={stats.microseconds},usec_per_call={stats.microseconds / stats.calls:.2f},"
            f"rejected_calls=0,failed_calls={stats.failed}"
        )
        for name, stats in engine.timing.commands.items()
    }


def _errorstats(engine: Engine) -> Fields:
    return {f"errorstat_{code}": f"count={count}" for code, count in sorted(engine.timing.errors.items())}


def _latencystats(engine: Engine) -> Fields:
    percentiles = [(p, format_percentile(p)) for p in engine.config.latency_tracking_info_percentiles]
    return {
        f"latency_percentiles_usec_{name}": ",".join(f"p{text}={stats.percentile(p):.3f}" for p, text in percentiles)
        for name, stats in engine.timing.commands.items()
    }


def _cluster(_engine: Engine) -> Fields:
    return {"cluster_enabled": 0}


def _keyspace(engine: Engine) -> Fields:
    return {f"db{db.index}": f"keys={len(db)},expires={db.volatile},avg_ttl=0" for db in engine.keyspace if len(db) > 0}


SECTIONS: dict[str, Callable[[Engine], Fields]] = {
    "server": _server,
    "clients": _clients,
    "memory": _memory,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "cpu": _cpu,
    "modules": _modules,
    "commandstats": _commandstats,
    "errorstats": _errorstats,
    "latencystats": _latencystats,
    "cluster": _cluster,
    "keyspace": _keyspace,
}
# Only in `all` and `everything`, or by name.
_NOT_BY_DEFAULT = {"commandstats", "latencystats"}
_SHOWN = {"cpu": "CPU"}


def text(engine: Engine, sections: Sequence[str]) -> str:
    """INFO for `sections` (lower case); none means ``default``, ``all`` and ``everything`` are all there are."""
    wanted = set(sections) or {"default"}
    if not wanted.isdisjoint({"all", "everything"}):
        wanted = set(SECTIONS)
    elif "default" in wanted:
        wanted |= SECTIONS.keys() - _NOT_BY_DEFAULT
    blocks = []
    for name, fields_of in SECTIONS.items():
        if name in wanted:
            lines = "".join(f"{field}:{value}\r\n" for field, value in fields_of(engine).items())
            blocks.append(f"# {_SHOWN.get(name, name.capitalize())}\r\n{lines}")
    return "\r\n".join(blocks)
