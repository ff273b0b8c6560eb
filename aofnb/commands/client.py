"""Who runs a command: selected database, MULTI state, and what the command caused.

`Client` is what a handler is given. `Server` is what a client may ask of the engine: a protocol, so that
BGREWRITEAOF, INFO and CONFIG live here without importing the log.

Redis: server.h struct client, server.c alsoPropagate, db.c signalModifiedKey (7.0.15).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakSet

from aofnb.clock import Clock
from aofnb.config import Config
from aofnb.resp.replies import SetReply, format_double
from aofnb.store.keyspace import Database, Keyspace

if TYPE_CHECKING:
    from aofnb.commands.acl_users import Users
    from aofnb.commands.pubsub import Subscriptions
    from aofnb.commands.registry import Command
    from aofnb.commands.script_host import ScriptRun, Scripts
    from aofnb.commands.timing import Timing
    from aofnb.commands.tracking import Tracking

__all__ = [
    "Client",
    "Effect",
    "Persistence",
    "Replication",
    "ReplyMode",
    "Server",
    "SetReply",
    "Usage",
    "UsersFile",
    "format_double",
]

Argv = Sequence[bytes]
# A record for the log: the index of the database it applies to, and its argument vector.
Effect = tuple[int, Argv]
# CLIENT REPLY: whether a client is answered; "skip next" leaves out the answer to the command that comes next.
ReplyMode = Literal["on", "off", "skip", "skip next"]


class Replication(Protocol):
    """What handlers may ask of whoever serves the store to replicas."""

    # Counters for INFO.
    full_syncs: int
    partial_syncs: int
    refused_partial_syncs: int

    def sync(self, client: Client, replication_id: bytes | None, offset: int) -> None:
        """Make `client` a replica that has the stream `replication_id` up to `offset`; raises ReplyError."""
        ...

    def follows(self, client: Client) -> bool:
        """Whether `client` is a replica that has asked for the stream."""
        ...

    def describe(self, client: Client, *, ip: bytes | None = None, port: int | None = None) -> None:
        """Where a replica says that it listens."""
        ...

    def acknowledged(self, client: Client, offset: int) -> None:
        """A replica has the stream up to `offset`."""
        ...

    def ask(self) -> int:
        """Have replicas acknowledge what was written so far; its offset."""
        ...

    def have(self, offset: int) -> int:
        """How many replicas have the stream up to `offset`."""
        ...

    def tell(self, wait: Any, offset: int, wanted: int) -> None:
        """End `wait` once `wanted` replicas have the stream up to `offset`."""
        ...

    def good(self) -> int:
        """How many replicas were heard of within ``min-replicas-max-lag``."""
        ...

    def role(self) -> list[Any]:
        """The reply of ROLE."""
        ...

    def info(self) -> dict[str, object]:
        """The fields of INFO replication."""
        ...

    def reset_stats(self) -> None:
        """Set the counters to zero, and those of the sockets."""
        ...


class Usage(Protocol):
    """When, or how often, keys were used, and what memory they take. A key is given with its database's number."""

    # Commands that need memory are refused.
    out_of_memory: bool

    @property
    def lfu(self) -> bool:
        """Whether it is counted how often keys are used; else, when they were used last."""
        ...

    def idle_s(self, place: tuple[int, bytes]) -> int:
        """Seconds since the key was used."""
        ...

    def frequency(self, place: tuple[int, bytes]) -> int:
        """How often the key is used, as a logarithm."""
        ...

    def set_idle(self, place: tuple[int, bytes], seconds: int) -> None:
        """Say that the key was not used for so long."""
        ...

    def set_frequency(self, place: tuple[int, bytes], frequency: int) -> None:
        """Say how often the key is used."""
        ...


class Server(Protocol):
    """What handlers may ask of the engine."""

    config: Config
    clock: Clock
    random: random.Random
    keyspace: Keyspace
    effects: list[Effect]
    # (database index, key) -> clients that WATCH it. Whoever makes it empty, or not, calls `look_around`.
    watched: dict[tuple[int, bytes], WeakSet[Client]]
    # Told of every change and event: client, database, key, event, and whether the value changed. None while nobody
    # watches, waits or listens, which is most of the time: `Client.changed` asks only that.
    observe: Callable[[Client, Database, bytes, str, bool], None] | None

    @property
    def usage(self) -> Usage | None:
        """None while no setting asks for it: see ``maxmemory`` and ``maxmemory-policy``."""
        ...

    # Set while the store is served on a socket.
    replication: Replication | None

    # Why write commands are refused, or None.
    refusal: str | None
    scripts: Scripts
    # DEBUG PAUSE-CRON.
    cron_paused: bool

    def script(self, run: ScriptRun) -> AbstractContextManager[None]:
        """While a script runs: time stands still, and other threads wait no longer than it may."""
        ...

    def new_client(self) -> Client:
        """A client with its own selected database and MULTI state."""
        ...

    def now_ms(self) -> int:
        """The time of the running unit: it stands still inside EXEC and scripts."""
        ...

    def call(self, client: Client, command: Command, argv: Argv) -> Any:
        """Run one command inside the running unit (for EXEC); raises ReplyError."""
        ...

    def rewrite_aof(self) -> str:
        """Start or schedule a rewrite; returns the status text; raises ReplyError."""
        ...

    # What was slow, for LATENCY and SLOWLOG.
    timing: Timing

    @property
    def settings(self) -> SettingsFile:
        """CONFIG REWRITE."""
        ...

    @property
    def persistence(self) -> Persistence:
        """SAVE, SHUTDOWN and what DEBUG does with files."""
        ...

    def sync_log(self, now: bool) -> bool:
        """Sync the log, if `now`; whether all that was done so far is durable."""
        ...

    @property
    def in_batch(self) -> bool:
        """Whether someone has put off the write to the end of a block."""
        ...

    def info(self, sections: Sequence[str]) -> str:
        """The text of INFO for `sections` (lower case; empty means the default ones)."""
        ...

    def reset_stats(self) -> None:
        """Set the counters of INFO to zero."""
        ...

    def config_set(self, settings: Sequence[tuple[str, str]]) -> None:
        """Apply all of `settings`, names and values, or none; raises ReplyError."""
        ...

    def look_around(self) -> None:
        """See anew who must be told of changes: somebody began or ceased to watch, wait or listen."""
        ...

    def replaced(self, db: Database) -> None:
        """All of `db` was emptied or replaced: no key of it is told one by one."""
        ...

    def flushed(self) -> None:
        """FLUSHDB or FLUSHALL was run."""
        ...

    # Who listens to which channels.
    subscriptions: Subscriptions

    def connected(self) -> list[Client]:
        """All clients, in the order in which they came."""
        ...

    def flags_of(self, client: Client) -> str:
        """The state of `client` in the letters of CLIENT LIST."""
        ...

    def push(self, client: Client, message: Any) -> None:
        """Hand `message` to the sink of `client` when the turn ends."""
        ...

    def monitor(self, client: Client) -> None:
        """Have `client` told of every command."""
        ...

    def reset(self, client: Client) -> None:
        """Have `client` told of nothing any more: no channel, no command."""
        ...

    def unblock(self, client_id: int, *, error: bool) -> bool:
        """End the waiting of a client as after a timeout or with an error; False if it does not wait."""
        ...

    # Who keeps copies of what they read.
    tracking: Tracking

    users: Users

    @property
    def acl_file(self) -> UsersFile:
        """ACL LOAD and ACL SAVE."""
        ...

    def log_in(self, client: Client, name: bytes, password: bytes, by: bytes) -> None:
        """Make `client` a user, as the command `by` asks; raises ReplyError if that is not its password."""
        ...

    def rights_changed(self) -> None:
        """Users were made, changed or deleted."""
        ...

    def check_again(self, client: Client, command: Command, argv: Argv) -> None:
        """Refuse what a restricted client may not run any more; raises ReplyError."""
        ...

    def kill(self, client: Client) -> bool:
        """End the connection of `client`; False if it has none that could be ended."""
        ...

    def pause(self, seconds: float, *, writes_only: bool) -> None:
        """Put off all commands, or those that write, for so long."""
        ...

    def unpause(self) -> None:
        """Put off commands no more; those that were are run."""
        ...

    def silence(self, client: Client, mode: ReplyMode) -> None:
        """CLIENT REPLY."""
        ...


class UsersFile(Protocol):
    """The users as a file. Both raise ReplyError if it cannot be done."""

    def load(self) -> None:
        """Take the users from the file."""
        ...

    def save(self) -> None:
        """Write the users to the file."""
        ...


class SettingsFile(Protocol):
    """The settings as CONFIG shows them, and as a file."""

    def matching(self, pattern: str) -> dict[str, str]:
        """Name and text of each setting that the glob `pattern` matches, or that it names."""
        ...

    def rewrite(self) -> None:
        """Bring the file up to date; raises ReplyError."""
        ...

    def rewrite_everything(self) -> None:
        """The same, with all settings in it, defaults too; raises ReplyError."""
        ...


class Persistence(Protocol):
    """What commands may ask of the files. Everything raises ReplyError if it cannot be done."""

    @property
    def refusal(self) -> str | None:
        """Why write commands are refused, as an error text, or None."""
        ...

    def save(self) -> None:
        """Write a snapshot, now."""
        ...

    def bgsave(self, schedule: bool) -> str:
        """Write a snapshot in the background, or, with `schedule`, as soon as that can be; the status text."""
        ...

    def flushed(self) -> bool:
        """FLUSHALL was run: a snapshot that is being written is of the past; whether one of nothing was written."""
        ...

    def last_save_s(self) -> int:
        """When the last snapshot was written, in seconds since the epoch; before the first, the start."""
        ...

    def reload(self, *, save: bool, flush: bool, merge: bool) -> None:
        """Read the snapshot, after writing it if `save`, in the place of all data or beside it."""
        ...

    def load_aof(self) -> None:
        """Read the log in the place of all data."""
        ...

    def sleep_before_flush(self, seconds: float) -> None:
        """Have every flush take so much longer."""
        ...

    def shutdown(self, save: bool | None, force: bool) -> None:
        """Make everything durable and have the store closed; with a snapshot, or as the save points say (None)."""
        ...

    def watch(self) -> None:
        """Whether writes are to be measured has changed."""
        ...

    def mark_unsynced(self) -> None:
        """An fsync failed: leave word for whoever opens the directory next."""
        ...

    def info(self) -> dict[str, object]:
        """What INFO says of snapshots."""
        ...

    def reset_stats(self) -> None:
        """What CONFIG RESETSTAT sets to zero."""
        ...


class Client:
    """State of one connection, or of one user of the store in process.

    A handler reads and writes ``db``, reports every change with ``changed``, asks for log records with
    ``propagate`` (commands declared REWRITTEN), and shapes replies that differ between RESP2 and RESP3
    with ``map_reply``, ``set_reply`` and ``double_reply``.
    """

    __slots__ = (
        "__weakref__",
        "address",
        "authenticated",
        "born_s",
        "buffers",
        "db",
        "dirty",
        "effects",
        "end",
        "heard",
        "id",
        "in_exec",
        "limited",
        "loading",
        "local_address",
        "multi",
        "multi_aborted",
        "name",
        "no_evict",
        "no_touch",
        "reply_mode",
        "resp",
        "restricted",
        "rewritten_args",
        "server",
        "sink",
        "trusted",
        "username",
        "watch_broken",
        "watching",
        "watching_overdue",
    )

    def __init__(self, server: Server, client_id: int = 0) -> None:
        self.server = server
        self.id = client_id
        self.db: Database = server.keyspace[0]
        self.effects = server.effects
        self.dirty = 0
        self.resp = 2
        # The client that replays a log: it may do what others may not, and never waits.
        self.loading = False
        # Position -> value: arguments that reach the log otherwise than as typed, or not at all (None).
        self.rewritten_args: dict[int, bytes | None] = {}
        self.name = b""
        # CLIENT NO-TOUCH: its commands do not count as use of a key.
        self.no_touch = False
        # Where it calls from; a client of the same process has no socket.
        self.address = "?:0"
        self.local_address = "?:0"
        self.born_s = server.clock.monotonic()
        # What it said last (None: nothing yet) and when, by the server's monotonic clock: asked of whoever reads the
        # connection. Of a session of the process it is not known: to note it would cost every command.
        self.heard: Callable[[], tuple[Argv | None, float]] | None = None
        # Closes the connection when what was answered is sent; None for a session of the process, which has none.
        # Called with the engine's lock held, in any thread.
        self.end: Callable[[], None] | None = None
        # What CLIENT LIST says of its descriptor and of memory that waits for it; None where there is no socket.
        self.buffers: Callable[[], dict[str, int]] | None = None
        # Who it is; None: whoever holds the store, who may do everything, and to whom a trusted client returns.
        self.username: bytes | None = None
        self.trusted = True
        self.authenticated = True
        # Whether its rights must be asked for. Derived by the engine.
        self.restricted = False
        # Whether more than usual is to be asked before each of its commands: it is restricted, or subscribes to
        # something. Derived by whoever changes either, see `limit`.
        self.limited = False
        self.no_evict = False
        self.reply_mode: ReplyMode = "on"
        # Takes messages that answer nothing: of channels, of MONITOR. None: there is nobody to take them.
        self.sink: Callable[[Any], None] | None = None
        # MULTI: the queued commands, or None outside.
        self.multi: list[tuple[Command, Argv]] | None = None
        self.multi_aborted = False
        # EXEC is running the queue: nothing may block, and a rewrite waits for its end.
        self.in_exec = False
        self.watching: set[tuple[int, bytes]] = set()
        # Those that were overdue when WATCH was called.
        self.watching_overdue: set[tuple[int, bytes]] = set()
        self.watch_broken = False

    def limit(self) -> None:
        """Derive `limited` anew."""
        self.limited = self.restricted or self in self.server.subscriptions.clients

    def changed(self, key: bytes, event: str, dirty: int = 1, db: Database | None = None) -> None:
        """Report that the value at `key` changed.

        Counts `dirty` towards logging, breaks the WATCH of other clients, and names the keyspace
        `event` (``set``, ``lpush``, ``del``, ``expire``, ...). Redis: signalModifiedKey, notifyKeyspaceEvent,
        server.dirty, which always come together.
        """
        self.dirty += dirty
        observe = self.server.observe
        if observe is not None:
            observe(self, db or self.db, key, event, True)

    def notify(self, key: bytes, event: str, db: Database | None = None) -> None:
        """Name a keyspace `event` that is no change to those who WATCH or track `key`. Redis: notifyKeyspaceEvent."""
        observe = self.server.observe
        if observe is not None:
            observe(self, db or self.db, key, event, False)

    def propagate(self, *argv: bytes, db: Database | None = None) -> None:
        """Ask for one record in the log, in the selected database or in `db`."""
        self.effects.append(((db or self.db).index, argv))

    def rewrite_argument(self, position: int, value: bytes | None) -> None:
        """Have argument `position` of the running command (0 is its name) logged as `value`; the rest as typed.

        None leaves the argument out.

        For commands declared VERBATIM, and only where the command also reports a change.
        """
        if not self.loading:
            self.rewritten_args[position] = value

    def map_reply(self, pairs: dict[Any, Any]) -> Any:
        """A map: a dict under RESP3, keys and values in turn under RESP2."""
        if self.resp >= 3:
            return pairs
        return [item for pair in pairs.items() for item in pair]

    def set_reply(self, members: Sequence[Any]) -> Any:
        """A set: members in the order given; RESP3 marks it as a set, see `SetReply`."""
        return SetReply(members) if self.resp >= 3 else list(members)

    def double_reply(self, number: float) -> Any:
        """A double: a float under RESP3, its text under RESP2."""
        return number if self.resp >= 3 else format_double(number)
