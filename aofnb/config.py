"""The settings: one table of Redis names, types and defaults, and which of them can change at run time.

A `Config` holds current values as attributes (``config.auto_aof_rewrite_percentage``); text forms, as CONFIG
GET and a redis.conf spell them, are made and read here only.

Redis: config.c static_configs (7.0.15).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from aofnb.errors import ConfigError

__all__ = ["SETTINGS", "Config", "Setting", "split_settings"]

# Redis's level of log lines between verbose and warning.
NOTICE = 25

Kind = Literal[
    "bool", "int", "memory", "enum", "string", "save", "output-limits", "events", "percentiles", "memory-or-percent",
    "oom-mode", "oom-scores", "title", "hostname", "endings",
]  # fmt: skip
INT_MAX = 2147483647
LONG_MAX = (1 << 63) - 1
ULONG_MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `low` and `high` bound numbers, `clamp` those that are taken; `choices` are the words of an enum."""

    name: str
    kind: Kind
    default: Any
    runtime: bool = True
    low: int = 0
    high: int = INT_MAX
    choices: tuple[str, ...] = ()
    clamp: tuple[int, int] | None = None
    # Found by its exact name only: a test aid that is no business of CONFIG GET *.
    hidden: bool = False
    # CONFIG SET refuses it: whoever may send commands must not choose which files are written.
    protected: bool = False

    def called(self, name: str) -> Setting:
        """The same under another name."""
        return replace(self, name=name)

    @property
    def attribute(self) -> str:
        return self.name.replace("-", "_")

    def parse(self, given: object) -> Any:
        """The value that `given` (text, or a Python value of the right kind) stands for.

        Raises
        ------
        ConfigError
            With the words redis-server uses for such a value.
        """
        if self.kind == "bool":
            if isinstance(given, bool):
                return given
            text = str(given).lower()
            if text not in ("yes", "no"):
                raise ConfigError("argument must be 'yes' or 'no'")
            return text == "yes"
        if self.kind == "enum":
            text = str(given).lower()
            if text not in self.choices:
                raise ConfigError(f"argument(s) must be one of the following: {', '.join(self.choices)}")
            return text
        if self.kind == "string":
            return str(given)
        if self.kind == "events":
            return parse_events(str(given))
        if self.kind == "output-limits":
            return OutputLimits.parse(given)
        if self.kind == "save":
            return _parse_save(given)
        if self.kind == "percentiles":
            return _parse_percentiles(given)
        if self.kind in _TEXTS:
            return _TEXTS[self.kind](str(given))
        number = parse_memory(str(given)) if self.kind == "memory" else _parse_int(str(given))
        if not self.low <= number <= self.high:
            raise ConfigError(f"argument must be between {self.low} and {self.high} inclusive")
        return number if self.clamp is None else min(max(number, self.clamp[0]), self.clamp[1])

    def format(self, value: Any) -> str:
        """`value` as CONFIG GET shows it."""
        if self.kind == "bool":
            return "yes" if value else "no"
        if self.kind == "events":
            return format_events(value)
        if self.kind == "save":
            return " ".join(f"{seconds} {changes}" for seconds, changes in value)
        if self.kind == "percentiles":
            return " ".join(map(format_percentile, value))
        return str(value)


class OutputLimits(dict[str, tuple[int, int, int]]):
    """How many bytes of replies a client may let lie, by class of client: hard limit, soft limit, its seconds."""

    def __init__(self, changes: Mapping[str, tuple[int, int, int]] | None = None) -> None:
        super().__init__(normal=(0, 0, 0), replica=(256 << 20, 64 << 20, 60), pubsub=(32 << 20, 8 << 20, 60))
        self.update(changes or {})

    @classmethod
    def parse(cls, given: object) -> OutputLimits:
        """From ``class hard soft seconds ...``; classes that are not named keep their defaults."""
        if isinstance(given, OutputLimits):
            return given
        words = str(given).split()
        if len(words) % 4:
            raise ConfigError("Wrong number of arguments in buffer limit configuration.")
        changes = {}
        for name, hard, soft, seconds in zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True):
            known = {"slave": "replica"}.get(name.lower(), name.lower())
            if known not in ("normal", "replica", "pubsub"):
                raise ConfigError("Invalid client class specified in buffer limit configuration.")
            try:
                limits = parse_memory(hard), parse_memory(soft), _parse_int(seconds)
            except ConfigError:
                limits = (0, 0, -1)
            if limits[2] < 0:
                raise ConfigError("Error in hard, soft or soft_seconds setting in buffer limit configuration.")
            changes[known] = limits
        return cls(changes)

    def __str__(self) -> str:
        spelled = {"replica": "slave"}
        return " ".join(
            f"{spelled.get(name, name)} {hard} {soft} {seconds}" for name, (hard, soft, seconds) in self.items()
        )


def _parse_save(given: object) -> tuple[tuple[int, int], ...]:
    """Save points: pairs of seconds and changes, as text (``900 1 300 10``) or as what `Setting.parse` gave."""
    words = (
        [str(number) for pair in given for number in pair]
        if isinstance(given, tuple)
        else [word or "0" for word in _words(str(given))]
    )
    if len(words) % 2 or not all(word.isdecimal() for word in words):
        raise ConfigError("Invalid save parameters")
    numbers = [int(word) for word in words]
    pairs = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    if any(seconds < 1 or seconds > INT_MAX or changes > INT_MAX for seconds, changes in pairs):
        raise ConfigError("Invalid save parameters")
    return pairs


def _words(text: str) -> list[str]:
    """Split at each blank: two of them have an empty word between them."""
    return text.split(" ") if text else []


def _parse_percentiles(given: object) -> tuple[float, ...]:
    """Percentages, as text (``50 99.9``) or as what `Setting.parse` gave."""
    try:
        percentiles = given if isinstance(given, tuple) else tuple(map(float, _words(str(given))))
    except ValueError:
        raise ConfigError("Invalid latency-tracking-info-percentiles parameters") from None
    if not all(0 <= percentile <= 100 for percentile in percentiles):
        raise ConfigError("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")
    return percentiles


def format_percentile(percentile: float) -> str:
    """As INFO and CONFIG GET show it.

    >>> format_percentile(50.0), format_percentile(99.9)
    ('50', '99.9')
    """
    return f"{percentile:f}".rstrip("0").rstrip(".")


_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")


def _parse_int(text: str) -> int:
    if not _INTEGER.fullmatch(text) or not -LONG_MAX <= int(text) <= LONG_MAX:
        raise ConfigError("argument couldn't be parsed into an integer")
    return int(text)


def _parse_memory_or_percent(text: str) -> str:
    """Bytes, or ``5%`` of something."""
    number = text.removesuffix("%")
    try:
        size = parse_memory(number)
    except ConfigError:
        raise ConfigError("argument must be a memory or percent value") from None
    if number == text:
        return str(size)
    if size > 100:
        raise ConfigError("percentage argument must be less or equal to 100")
    return f"{size}%" if size else "0"


_OOM_MODES = ("no", "yes", "relative", "absolute")


def _parse_oom_mode(text: str) -> str:
    """``relative`` is another word for ``yes``, by which it is shown."""
    mode = text.lower()
    if mode not in _OOM_MODES:
        raise ConfigError(f"argument(s) must be one of the following: {', '.join(_OOM_MODES)}")
    return "yes" if mode == "relative" else mode


def _parse_oom_scores(text: str) -> str:
    words = text.split()
    if len(words) != 3:
        raise ConfigError("wrong number of arguments")
    if not all(_INTEGER.fullmatch(word) and -2000 <= int(word) <= 2000 for word in words):
        raise ConfigError("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
    return " ".join(words)


_TITLE_FIELDS = ("title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file")


def _parse_title(text: str) -> str:
    rest = re.sub("{(" + "|".join(_TITLE_FIELDS) + ")}", "", text)
    if not text or "{" in rest or "}" in rest:
        raise ConfigError("template format is invalid or contains unknown variables")
    return text


def _parse_hostname(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.-]*", text):
        raise ConfigError("Hostnames may only contain alphanumeric characters, hyphens or dots")
    return text


_ENDINGS = ("default", "save", "nosave", "now", "force")


def _parse_endings(text: str) -> str:
    """How to shut down at a signal: words of SHUTDOWN, or ``default``."""
    words = text.lower().split()
    if not words or not set(words) <= set(_ENDINGS):
        raise ConfigError(f"argument(s) must be one of the following: {', '.join(_ENDINGS)}")
    if {"save", "nosave"} <= set(words):
        raise ConfigError("shutdown options SAVE and NOSAVE can't be used simultaneously")
    return " ".join(word for word in _ENDINGS[1:] if word in words) or "default"


# Settings that are kept as the text that they are, if that is well-formed.
_TEXTS: dict[str, Callable[[str], str]] = {
    "memory-or-percent": _parse_memory_or_percent,
    "oom-mode": _parse_oom_mode,
    "oom-scores": _parse_oom_scores,
    "title": _parse_title,
    "hostname": _parse_hostname,
    "endings": _parse_endings,
}


_EVENTS, _MORE_EVENTS = "g$lshzxetd", "nKEm"


def parse_events(text: str) -> str:
    """The letters of all classes of keyspace events that `text` asks for, ``A`` spelled out, in the server's order.

    >>> parse_events("EKx"), parse_events("An"), parse_events("")
    ('xKE', 'g$lshzxetdn', '')
    """
    wanted = set(text.replace("A", _EVENTS))
    letters = _EVENTS + _MORE_EVENTS
    if not wanted <= set(letters):
        raise ConfigError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    return "".join(letter for letter in letters if letter in wanted)


def format_events(letters: str) -> str:
    """As CONFIG GET shows them: ``A`` hides ``n``, which it does not include.

    >>> format_events(parse_events("KEgnx")), format_events(parse_events("KEAn"))
    ('gxnKE', 'AKE')
    """
    rest = letters.removeprefix(_EVENTS)
    return letters if rest == letters else "A" + rest.removeprefix("n")


_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}


def parse_memory(text: str) -> int:
    """Bytes from a memory value such as ``64mb``.

    >>> parse_memory("64mb"), parse_memory("1k")
    (67108864, 1000)
    """
    digits = text.rstrip("bBkKmMgG")
    unit = _UNITS.get(text[len(digits) :].lower())
    if unit is None or not (digits or "0").isdecimal():
        raise ConfigError("argument must be a memory value")
    # No text at all is 0 for the server, and what it cannot hold is the most that it can.
    return min(int(digits or 0), ULONG_MAX) * unit


_POLICIES = (
    "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "allkeys-lru", "allkeys-lfu", "allkeys-random",
    "noeviction",
)  # fmt: skip

SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("appendonly", "bool", True),
        Setting("appendfsync", "enum", "everysec", choices=("everysec", "always", "no")),
        Setting("appendfilename", "string", "appendonly.aof", runtime=False),
        Setting("appenddirname", "string", "appendonlydir", runtime=False),
        Setting("auto-aof-rewrite-percentage", "int", 100),
        Setting("auto-aof-rewrite-min-size", "memory", 64 << 20, high=LONG_MAX),
        Setting("no-appendfsync-on-rewrite", "bool", False),
        Setting("aof-rewrite-incremental-fsync", "bool", True),
        Setting("rdb-save-incremental-fsync", "bool", True),
        Setting("aof-load-truncated", "bool", True),
        # Of Redis 8.4, so that CONFIG GET with a pattern, as on 7.0, does not show it.
        Setting("aof-load-corrupt-tail-max-size", "memory", 0, high=LONG_MAX, hidden=True),
        Setting("aof-use-rdb-preamble", "bool", True),
        Setting("aof-timestamp-enabled", "bool", False),
        Setting("aof-disable-auto-gc", "bool", False),
        Setting("dir", "string", "", protected=True),
        Setting("dbfilename", "string", "dump.rdb", protected=True),
        # redis-server saves now and then unless told otherwise; here the log is what keeps the data.
        Setting("save", "save", ()),
        Setting("stop-writes-on-bgsave-error", "bool", True),
        Setting("rdbcompression", "bool", False),
        Setting("rdbchecksum", "bool", True, runtime=False),
        Setting("latency-monitor-threshold", "int", 0, high=LONG_MAX),
        # Counts every command and what it took: off unless asked for, since it costs a fifth of the speed.
        Setting("latency-tracking", "bool", False),
        Setting("latency-tracking-info-percentiles", "percentiles", (50.0, 99.0, 99.9)),
        Setting("slowlog-log-slower-than", "int", 10_000, low=-1, high=LONG_MAX),
        Setting("slowlog-max-len", "int", 128, high=LONG_MAX),
        Setting("rdb-key-save-delay", "int", 0, low=-INT_MAX, hidden=True),
        Setting("key-load-delay", "int", 0, low=-INT_MAX, hidden=True),
        Setting("databases", "int", 16, runtime=False, low=1),
        Setting("hz", "int", 10, clamp=(1, 500)),
        Setting("active-expire-effort", "int", 1, low=1, high=10),
        Setting("busy-reply-threshold", "int", 5000, high=LONG_MAX),
        Setting("lazyfree-lazy-expire", "bool", False),
        Setting("lazyfree-lazy-server-del", "bool", False),
        Setting("lazyfree-lazy-user-del", "bool", False),
        Setting("lazyfree-lazy-user-flush", "bool", False),
        Setting("notify-keyspace-events", "events", ""),
        Setting("lazyfree-lazy-eviction", "bool", False),
        Setting("maxmemory", "memory", 0, high=ULONG_MAX),
        Setting("maxmemory-policy", "enum", "noeviction", choices=_POLICIES),
        Setting("maxmemory-samples", "int", 5, low=1),
        Setting("lfu-log-factor", "int", 10),
        Setting("lfu-decay-time", "int", 1),
        Setting("hash-max-listpack-entries", "int", 512, high=LONG_MAX),
        Setting("hash-max-listpack-value", "memory", 64, high=LONG_MAX),
        Setting("list-max-listpack-size", "int", -2, low=-INT_MAX - 1),
        Setting("set-max-intset-entries", "int", 512, high=LONG_MAX),
        Setting("zset-max-listpack-entries", "int", 128, high=LONG_MAX),
        Setting("zset-max-listpack-value", "memory", 64, high=LONG_MAX),
        Setting("hll-sparse-max-bytes", "memory", 3000, high=LONG_MAX),
        Setting("stream-node-max-bytes", "memory", 4096, high=LONG_MAX),
        Setting("stream-node-max-entries", "int", 100, high=LONG_MAX),
        Setting("proto-max-bulk-len", "memory", 512 << 20, low=1 << 20, high=LONG_MAX),
        # What is below is about clients on a socket.
        Setting("client-query-buffer-limit", "memory", 1 << 30, low=1 << 20, high=LONG_MAX),
        Setting("client-output-buffer-limit", "output-limits", OutputLimits()),
        Setting("requirepass", "string", ""),
        Setting("aclfile", "string", "", runtime=False),
        Setting("acl-pubsub-default", "enum", "resetchannels", choices=("allchannels", "resetchannels")),
        Setting("acllog-max-len", "int", 128, high=LONG_MAX),
        Setting("tracking-table-max-keys", "int", 1_000_000, high=LONG_MAX),
        Setting("maxmemory-clients", "memory-or-percent", "0"),
        Setting("maxclients", "int", 10_000, low=1, high=(1 << 32) - 1),
        Setting("timeout", "int", 0),
        Setting("tcp-keepalive", "int", 300),
        Setting("repl-backlog-size", "memory", 1 << 20, low=1, high=LONG_MAX, clamp=(16 << 10, LONG_MAX)),
        Setting("repl-ping-replica-period", "int", 10, low=1),
        Setting("repl-timeout", "int", 60, low=1),
        Setting("min-replicas-to-write", "int", 0),
        Setting("min-replicas-max-lag", "int", 10),
        Setting("tcp-backlog", "int", 511, runtime=False),
    )
}

# Older spellings that redis-server still takes.
ALIASES = {
    "lua-time-limit": "busy-reply-threshold",
    "min-slaves-to-write": "min-replicas-to-write",
    "min-slaves-max-lag": "min-replicas-max-lag",
    "repl-ping-slave-period": "repl-ping-replica-period",
    "hash-max-ziplist-entries": "hash-max-listpack-entries",
    "hash-max-ziplist-value": "hash-max-listpack-value",
    "list-max-ziplist-size": "list-max-listpack-size",
    "zset-max-ziplist-entries": "zset-max-listpack-entries",
    "zset-max-ziplist-value": "zset-max-listpack-value",
}


class Config:
    """Current values of all settings.

    Parameters
    ----------
    settings
        Initial values by Redis name, with ``-`` or ``_``; text or Python values.

    Raises
    ------
    ConfigError
        For an unknown name or a bad value, naming it.
    """

    appendonly: bool
    appendfsync: Literal["everysec", "always", "no"]
    appendfilename: str
    appenddirname: str
    auto_aof_rewrite_percentage: int
    auto_aof_rewrite_min_size: int
    no_appendfsync_on_rewrite: bool
    aof_rewrite_incremental_fsync: bool
    rdb_save_incremental_fsync: bool
    aof_load_truncated: bool
    aof_load_corrupt_tail_max_size: int
    aof_use_rdb_preamble: bool
    aof_timestamp_enabled: bool
    aof_disable_auto_gc: bool
    dir: str
    dbfilename: str
    save: tuple[tuple[int, int], ...]
    stop_writes_on_bgsave_error: bool
    rdbcompression: bool
    rdbchecksum: bool
    latency_monitor_threshold: int
    latency_tracking: bool
    latency_tracking_info_percentiles: tuple[float, ...]
    slowlog_log_slower_than: int
    slowlog_max_len: int
    rdb_key_save_delay: int
    key_load_delay: int
    databases: int
    hz: int
    active_expire_effort: int
    busy_reply_threshold: int
    lazyfree_lazy_expire: bool
    lazyfree_lazy_server_del: bool
    lazyfree_lazy_user_del: bool
    lazyfree_lazy_user_flush: bool
    notify_keyspace_events: str
    lazyfree_lazy_eviction: bool
    maxmemory: int
    maxmemory_policy: str
    maxmemory_samples: int
    lfu_log_factor: int
    lfu_decay_time: int
    hash_max_listpack_entries: int
    hash_max_listpack_value: int
    list_max_listpack_size: int
    set_max_intset_entries: int
    zset_max_listpack_entries: int
    zset_max_listpack_value: int
    hll_sparse_max_bytes: int
    stream_node_max_bytes: int
    stream_node_max_entries: int
    proto_max_bulk_len: int
    client_query_buffer_limit: int
    client_output_buffer_limit: OutputLimits
    requirepass: str
    aclfile: str
    acl_pubsub_default: Literal["allchannels", "resetchannels"]
    acllog_max_len: int
    tracking_table_max_keys: int
    maxmemory_clients: str
    maxclients: int
    timeout: int
    tcp_keepalive: int
    tcp_backlog: int
    repl_backlog_size: int
    repl_ping_replica_period: int
    repl_timeout: int
    min_replicas_to_write: int
    min_replicas_max_lag: int

    def __init__(self, settings: Mapping[str, object] | None = None) -> None:
        for setting in SETTINGS.values():
            setattr(self, setting.attribute, setting.default)
        for name, given in (settings or {}).items():
            setting = self.setting(name)
            try:
                setattr(self, setting.attribute, setting.parse(given))
            except ConfigError as problem:
                raise ConfigError(f"{setting.name}: {problem} (given: {given!r})") from None
        for name in ("appendfilename", "appenddirname", "dbfilename"):
            given_name = self.text(name)
            if not given_name or "/" in given_name or "\\" in given_name:
                raise ConfigError(f"{name}: can't be empty or a path, just a name (given: {given_name!r})")

    @staticmethod
    def setting(name: str) -> Setting:
        """The setting called `name`, with ``-`` or ``_``, in any case, old spellings included."""
        wanted = name.lower().replace("_", "-")
        setting = SETTINGS.get(ALIASES.get(wanted, wanted))
        if setting is None:
            raise ConfigError(f"unknown setting {name!r}; CONFIG GET * lists those there are")
        return setting

    def text(self, name: str) -> str:
        """Current value of `name` as CONFIG GET shows it."""
        setting = self.setting(name)
        return setting.format(getattr(self, setting.attribute))

    def matching(self, pattern: str) -> dict[str, str]:
        """Name and text of each setting that the glob `pattern` matches, or that it names."""
        wanted = pattern.lower()
        if not any(special in wanted for special in "*?["):
            # As it was typed.
            return {pattern: self.text(wanted)} if wanted in SETTINGS or wanted in ALIASES else {}
        listed = [name for name, setting in SETTINGS.items() if not setting.hidden]
        glob = wanted.replace("[^", "[!")
        found = [name for name in (*listed, *ALIASES) if fnmatch.fnmatchcase(name, glob)]
        return {name: self.text(name) for name in found}


def split_settings(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Which of `given` are settings, in any spelling, and which are for somebody else."""
    settings: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in given.items():
        try:
            Config.setting(name)
        except ConfigError:
            others[name] = value
        else:
            settings[name] = value
    return settings, others
