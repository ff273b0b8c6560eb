"""Settings of redis-server that are about what a store is not: a process, a listener, a replica, a node, a TLS peer.

All are shown by CONFIG GET under Redis's names, with its defaults, and a redis.conf may say them. What CONFIG SET does:

- `KEPT`: any value that Redis takes is kept, without effect, as on a stand-alone server that has the thing switched
  off or does not need it;
- `FIXED`: another value would have an effect on a server, and has none here: refused, with the reason. Whoever serves
  the store makes some of these true, and then they can be set (`Settings.on_change`);
- the others cannot be set while a server runs, there as here.

`docs/settings.md` lists all of them.

Redis: config.c static_configs (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterator

from aofnb.config import INT_MAX, LONG_MAX, ULONG_MAX, Setting

__all__ = ["ABSENT", "FIXED", "KEPT", "SERVER_ALIASES", "SERVER_SETTINGS", "server_setting"]

_PORT = 65535


def _each(names: str, setting: Setting) -> Iterator[Setting]:
    """`setting` under each of `names`."""
    for name in names.split():
        yield setting.called(name)


def _settings() -> Iterator[Setting]:
    yield from _each(
        "activerehashing cluster-allow-pubsubshard-when-down cluster-allow-replica-migration "
        "cluster-require-full-coverage crash-log-enabled crash-memcheck-enabled dynamic-hz jemalloc-bg-thread "
        "protected-mode repl-diskless-sync replica-announced replica-ignore-maxmemory replica-read-only "
        "replica-serve-stale-data tls-session-caching",
        Setting("", "bool", True),
    )
    yield from _each(
        "activedefrag cluster-allow-reads-when-down cluster-replica-no-failover rdb-del-sync-files "
        "repl-disable-tcp-nodelay replica-ignore-disk-write-errors replica-lazy-flush tls-cluster "
        "tls-prefer-server-ciphers tls-replication",
        Setting("", "bool", False),
    )
    yield from _each(
        "bind-source-addr cluster-announce-ip ignore-warnings masterauth masteruser replica-announce-ip "
        "tls-ca-cert-dir tls-ca-cert-file tls-cert-file tls-ciphers tls-ciphersuites tls-client-cert-file "
        "tls-client-key-file tls-client-key-file-pass tls-dh-params-file tls-key-file tls-key-file-pass tls-protocols",
        Setting("", "string", ""),
    )
    yield from _each(
        "cluster-announce-bus-port cluster-announce-port cluster-announce-tls-port port replica-announce-port tls-port",
        Setting("", "int", 0, high=_PORT),
    )
    for name, default, low, high in (
        ("active-defrag-cycle-max", 25, 1, 99),
        ("active-defrag-cycle-min", 1, 1, 99),
        ("active-defrag-max-scan-fields", 1000, 1, LONG_MAX),
        ("active-defrag-threshold-lower", 10, 0, 1000),
        ("active-defrag-threshold-upper", 100, 0, 1000),
        ("cluster-migration-barrier", 1, 0, INT_MAX),
        ("cluster-node-timeout", 15000, 0, LONG_MAX),
        ("cluster-replica-validity-factor", 10, 0, INT_MAX),
        ("list-compress-depth", 0, 0, INT_MAX),
        ("maxmemory-eviction-tenacity", 10, 0, 100),
        ("repl-backlog-ttl", 3600, 0, LONG_MAX),
        ("repl-diskless-sync-delay", 5, 0, INT_MAX),
        ("repl-diskless-sync-max-replicas", 0, 0, INT_MAX),
        ("replica-priority", 100, 0, INT_MAX),
        ("shutdown-timeout", 10, 0, INT_MAX),
        ("tls-session-cache-size", 20480, 0, INT_MAX),
        ("tls-session-cache-timeout", 300, 0, INT_MAX),
    ):
        yield Setting(name, "int", default, low=low, high=high)
    yield Setting("active-defrag-ignore-bytes", "memory", 100 << 20, low=1, high=LONG_MAX)
    yield Setting("cluster-link-sendbuf-limit", "memory", 0, high=ULONG_MAX)
    yield Setting("oom-score-adj", "oom-mode", "no")
    yield Setting("oom-score-adj-values", "oom-scores", "0 200 800")
    yield Setting("proc-title-template", "title", "{title} {listen-addr} {server-mode}")
    yield Setting("cluster-announce-hostname", "hostname", "")
    yield Setting("bind", "string", "")
    yield from _each("shutdown-on-sigint shutdown-on-sigterm", Setting("", "endings", "default"))
    for name, default_word, choices in (
        ("cluster-preferred-endpoint-type", "ip", ("ip", "hostname", "unknown-endpoint")),
        ("loglevel", "notice", ("debug", "verbose", "notice", "warning")),
        ("propagation-error-behavior", "ignore", ("ignore", "panic", "panic-on-replicas")),
        ("repl-diskless-load", "disabled", ("disabled", "on-empty-db", "swapdb")),
        ("sanitize-dump-payload", "no", ("no", "yes", "clients")),
        ("tls-auth-clients", "yes", ("no", "yes", "optional")),
    ):
        yield Setting(name, "enum", default_word, choices=choices)
    for name, default_word in (
        ("always-show-logo", "no"),
        ("aof_rewrite_cpulist", ""),
        ("bgsave_cpulist", ""),
        ("bio_cpulist", ""),
        ("cluster-config-file", "nodes.conf"),
        ("cluster-enabled", "no"),
        ("cluster-port", "0"),
        ("daemonize", "no"),
        ("disable-thp", "yes"),
        ("enable-debug-command", "no"),
        ("enable-module-command", "no"),
        ("enable-protected-configs", "no"),
        ("io-threads", "1"),
        ("io-threads-do-reads", "no"),
        ("logfile", ""),
        ("pidfile", ""),
        ("replicaof", ""),
        ("server_cpulist", ""),
        ("set-proc-title", "yes"),
        ("socket-mark-id", "0"),
        ("supervised", "no"),
        ("syslog-enabled", "no"),
        ("syslog-facility", "local0"),
        ("syslog-ident", "redis"),
        ("unixsocket", ""),
        ("unixsocketperm", "0"),
    ):
        yield Setting(name, "string", default_word, runtime=False)


SERVER_SETTINGS: dict[str, Setting] = {setting.name: setting for setting in sorted(_settings(), key=lambda s: s.name)}

# Older spellings, as CONFIG GET * shows them too.
SERVER_ALIASES = {
    alias: alias.replace("slave", "replica")
    for alias in (
        "cluster-slave-no-failover", "cluster-slave-validity-factor", "slave-announce-ip", "slave-announce-port",
        "slave-ignore-maxmemory", "slave-lazy-flush", "slave-priority", "slave-read-only", "slave-serve-stale-data",
        "slaveof",
    )
}  # fmt: skip

# Things that are not here at all: a settings file that asks for one is refused.
ABSENT = {
    "activedefrag": (
        "Active defragmentation cannot be enabled: it requires a Redis server compiled with a modified Jemalloc like "
        "the one shipped by default with the Redis source distribution"
    ),
    "cluster-enabled": "there is no cluster",
    "enable-module-command": "there are no modules",
    "replicaof": "a store is never a replica; a real server can be one of it",
    "syslog-enabled": "there is no log to syslog; logfile names a file",
    "tls-port": "there is no TLS; put a proxy in front, or serve a unix socket",
}
_NOT_SERVED = "the store is not served"
_TLS = "Unable to update TLS configuration. Check server logs."
# Why CONFIG SET gives no other value.
FIXED = {
    **ABSENT,
    "bind": _NOT_SERVED,
    "loglevel": 'only `aofnb serve` has a log of its own; elsewhere the logger "aofnb" of Python\'s logging has levels',
    "maxmemory-eviction-tenacity": "what is too much is evicted at once",
    "oom-score-adj": "only `aofnb serve` has a process of its own",
    "port": _NOT_SERVED,
    "proc-title-template": "the title of the process is not changed",
    "propagation-error-behavior": "nothing here panics",
    "protected-mode": _NOT_SERVED,
    "repl-backlog-ttl": _NOT_SERVED,
    "repl-diskless-sync": "snapshots for replicas are never written to disk first",
    "repl-diskless-sync-max-replicas": "each replica gets a snapshot of its own at once",
    "shutdown-on-sigint": "only `aofnb serve` handles signals",
    "shutdown-on-sigterm": "only `aofnb serve` handles signals",
    "shutdown-timeout": "a shutdown does not wait for replicas",
    "tls-cluster": _TLS,
    "tls-port": _TLS,
    "tls-replication": _TLS,
}
KEPT = tuple(name for name, setting in SERVER_SETTINGS.items() if setting.runtime and name not in FIXED)


def server_setting(name: str) -> Setting | None:
    """The setting of this table that is called `name`, old spellings included; None if there is none."""
    wanted = name.lower()
    return SERVER_SETTINGS.get(SERVER_ALIASES.get(wanted, wanted))
