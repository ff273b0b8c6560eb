"""One command from its arguments to its reply.

1. look up: the name in any spelling, then arity;
2. check: MULTI queues, a broken disk refuses writes;
3. run: the handler changes the data and counts what it changed;
4. propagate: the argv as typed, or what the handler asked for, joins the effects of the running unit;
5. end of unit: the effects become records in aof_buf, framed by MULTI/EXEC where there are several;
6. end of turn: one write, and an fsync if the policy says so; only then does anyone see a reply.

A unit is one top-level command with all it causes (EXEC is one unit); a turn is one call from outside: a
command, a pipeline, a notebook cell, what the connections of a server had to say. Everything here runs under `lock`.
A command that must wait for data ends its turn; who waits is served in later ones: see `aofnb.engine.waiting`.

Redis: server.c processCommand, call, propagatePendingCommands, beforeSleep (7.0.15).
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha1
from typing import Any
from weakref import WeakSet

import aofnb.commands.all  # noqa: F401  # fills the table
from aofnb.aof.stats import AofStats
from aofnb.aof.writer import AofWriter
from aofnb.clock import Clock
from aofnb.commands import messages
from aofnb.commands.acl_users import Users, redacted
from aofnb.commands.blocking import MustWait
from aofnb.commands.client import Argv, Client, Effect, Persistence, Replication, ReplyMode
from aofnb.commands.pubsub import Subscriptions
from aofnb.commands.registry import ALWAYS, REWRITTEN, VERBATIM, Command, find
from aofnb.commands.script_host import BusyError, BusyGate, ScriptRun, Scripts
from aofnb.commands.timing import Timing
from aofnb.commands.tracking import Tracking
from aofnb.commands.transactions import discard_transaction
from aofnb.config import Config
from aofnb.engine import info
from aofnb.engine._turn_cy import QUICK, take
from aofnb.engine.eviction import Eviction
from aofnb.engine.hot import Hot
from aofnb.engine.loading import Loading
from aofnb.engine.no_files import NoFiles
from aofnb.engine.notifications import class_of, monitor_line
from aofnb.engine.rights import AclFile, Rights
from aofnb.engine.settings import Settings
from aofnb.engine.waiting import OnReply, Outbox, Postponed, Waiting
from aofnb.errors import AofWriteError, ReplyError, StoreClosedError
from aofnb.resp.replies import NO_REPLY
from aofnb.store.keyspace import Database, Keyspace

__all__ = ["SHORTCUT_ARGC", "Engine"]

_log = logging.getLogger("aofnb")

# These act on the transaction itself; everything else is queued inside MULTI.
_NOT_QUEUED = frozenset({"EXEC", "DISCARD", "MULTI", "WATCH", "QUIT", "RESET"})
# Commands of so many words and more take the long way; and so many spellings of a name are remembered.
SHORTCUT_ARGC = 8
_SPELLINGS = 4096
# What a client of RESP2 that listens may say: all else that it reads would be taken for messages.
_WHILE_SUBSCRIBED = frozenset(
    {"PING", "SUBSCRIBE", "SSUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "SUNSUBSCRIBE", "PUNSUBSCRIBE", "QUIT", "RESET"}
)
# They go to replicas although they change no data; COMMAND INFO does not tell.
_SENT_ON = frozenset({"EVAL", "EVALSHA", "FCALL", "PFCOUNT", "PUBLISH", "SPUBLISH"})
_SCRIPTS = frozenset({"EVAL", "EVAL_RO", "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO"})
# Exceptions that are answers: the turn came to its end.
# They look at a key without using it.
_NO_USE = {
    "EXISTS", "TYPE", "TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "MEMORY USAGE",
    "OBJECT ENCODING", "OBJECT FREQ", "OBJECT IDLETIME", "OBJECT REFCOUNT",
}  # fmt: skip
_ANSWERS = (ReplyError, StoreClosedError)


class Engine(Hot):
    """Runs commands on a keyspace and keeps its log.

    Parameters
    ----------
    config, clock, rng
        Settings, time and chance; nothing here reads any of them from elsewhere.
    """

    def __init__(self, config: Config, clock: Clock, rng: random.Random) -> None:
        self.config = config
        self.clock = clock
        self.random = rng
        self.lock = threading.RLock()
        super().__init__(self.lock)
        self.keyspace = Keyspace(config.databases, self.now_ms, self._key_expired)
        self.keyspace.on_field_expired = self._field_expired
        # Records of the running unit. One list for good: clients hold it too.
        self.effects: list[Effect] = []
        self.watched: dict[tuple[int, bytes], WeakSet[Client]] = {}
        # For sessions: by number of words, the plain commands that take so many, in every spelling met so far.
        # Empty once closed.
        self.shortcuts: list[dict[Any, Command]] = [{} for _ in range(SHORTCUT_ARGC)]
        self.writer: AofWriter | None = None
        # What `refusal` is in any case: of a store that is open read-only.
        self.standing_refusal: str | None = None
        self.closed: str | None = None
        # Set while data is loaded and clients are answered already.
        self.loading: Loading | None = None
        # Told of every change; None while nobody asks. See `look_around`, and `Server`.
        self.observe: Callable[[Client, Database, bytes, str, bool], None] | None = None
        # The periodic job does nothing but keep what was promised of the log. For tests, by DEBUG PAUSE-CRON.
        self.cron_paused = False
        self.waiting = Waiting(self)
        # What the running turn has to tell others than its caller.
        self.outbox = Outbox()
        self.subscriptions = Subscriptions(self.push)
        self.tracking = Tracking(self.push, self._client_by_id, rng)
        # Clients that are not answered: CLIENT REPLY.
        self.silent: set[Client] = set()
        self.users = Users(config, clock)
        self.rights = Rights(self, self.users)
        self.acl_file = AclFile(self)
        # Who is told of every command; in order.
        self.monitors: dict[Client, None] = {}
        # The classes of keyspace events that messages are sent of.
        self.notified = ""
        self.keyspace.on_miss, self.keyspace.on_new = self._missed, self._made
        self._turn_of: Client | None = None
        self.reload: Callable[[], None] = lambda: None
        # Called after each turn that wrote: wakes the periodic job. Set by the store.
        self.on_write: Callable[[], None] = lambda: None
        # Called when a connection waits for a limited time: has the periodic job see to it. Set by the store.
        self.on_wait: Callable[[], None] = lambda: None
        # Called with the number of each process that is begun to write files. Set by whoever serves the store.
        self.on_child: Callable[[int], None] = lambda _pid: None
        # What the store answers for, since it needs the files: start a rewrite (True: later), and the log's numbers.
        self.start_rewrite: Callable[[bool], str] = _no_log
        self.aof_stats: Callable[[], AofStats | None] = lambda: None
        # Whoever serves the store to replicas.
        self.replication: Replication | None = None
        # Counters of the sockets that the store is served on, for INFO: ``connections``, ``rejected``, bytes.
        self.socket_stats: Callable[[], dict[str, int]] = dict
        self.timing = Timing(config, clock)
        self._expiry_began_s = 0.0
        self._watch_expiry()
        self.settings = Settings(config)
        self.settings.users = self.acl_file.lines_for_settings
        # Who uses memory, and who goes when it is too much; None as long as no setting asks. See `look_around`.
        self.usage: Eviction | None = None
        self.settings.on_change["maxmemory"] = self._maxmemory_changed
        self.settings.on_change["maxmemory-policy"] = self.look_around
        for name in ("save", "stop-writes-on-bgsave-error"):
            self.settings.on_change[name] = self._save_points_changed
        for name in ("latency-monitor-threshold", "latency-tracking", "slowlog-log-slower-than", "slowlog-max-len"):
            self.settings.on_change[name] = self._timing_changed
        for name in ("min-replicas-to-write", "min-replicas-max-lag"):
            self.settings.on_change[name] = self.refresh_refusal
        self.settings.on_change["requirepass"] = self._password_changed
        # SAVE, SHUTDOWN and whatever else is done with files. Set by the store.
        self.persistence: Persistence = NoFiles(lambda: None)
        # What a command wants done when the turn is over and before its caller goes on, not under the lock.
        self.afterwards: list[Callable[[], object]] = []
        self.started_s = clock.monotonic()
        # Of this opening of the store, as INFO tells it.
        self.run_id = sha1(b"%d %d" % (os.getpid(), clock.now_ms()), usedforsecurity=False).hexdigest()
        self._frozen_ms: int | None = None
        # Open `batch` blocks: turns inside write nothing, the end of the outermost does.
        self._batches = 0
        # Inside a `turn` block: what is submitted is part of one turn.
        self._in_turn = False
        self.clients: WeakSet[Client] = WeakSet()
        self._last_client_id = 0
        self.scripts = Scripts(self)
        if Eviction.wanted(config):
            self.look_around()
        if config.min_replicas_to_write:
            self.refresh_refusal()

    # --- Server protocol: what handlers may ask ------------------------------------------------------------

    def now_ms(self) -> int:
        """The time of the running unit: it stands still inside EXEC."""
        return self._frozen_ms if self._frozen_ms is not None else self.clock.now_ms()

    def call(self, client: Client, command: Command, argv: Argv) -> Any:
        """Run one command inside the running unit; raises ReplyError."""
        self.total_commands += 1
        # What a command asked for that then changed nothing.
        client.rewritten_args.clear()
        timing = self.timing
        timed = not command.timed and (timing.times_all if command.bounded else timing.times_slow)
        started_s = self.clock.monotonic() if timed else 0.0
        try:
            reply = command.handler(client, *argv[command.words :])
        except ReplyError as problem:
            timing.failed(problem)
            if timed and (took_s := self.clock.monotonic() - started_s) >= timing.least_s:
                timing.took(command, argv, took_s, failed=True)
            if client.dirty:
                self._changed(client, command, argv)
            if isinstance(problem, messages.MisusedSubcommandError):
                raise problem.spelled(argv[1]) from None
            raise
        if timed and (took_s := self.clock.monotonic() - started_s) >= timing.least_s:
            timing.took(command, argv, took_s)
        if client.dirty or command.propagate is ALWAYS:
            self._changed(client, command, argv)
        return reply

    @contextmanager
    def script(self, run: ScriptRun) -> Iterator[None]:
        """While a script runs: time stands still, and other threads wait no longer than it may."""
        outside, self._frozen_ms = self._frozen_ms, self.now_ms()
        self.gate = BusyGate(self.lock, run, self.clock)
        try:
            yield
        finally:
            self.gate = self.lock
            self._frozen_ms = outside

    @property
    def in_exec(self) -> bool:
        """Whether a transaction is running, whose records are not in the log yet."""
        return self._frozen_ms is not None

    def sync_log(self, now: bool) -> bool:
        """Sync the log, if `now` and outside EXEC; whether all that was done so far is durable.

        Raises
        ------
        AofWriteError
            It could not be made so.
        """
        writer = self.writer
        if writer is None:
            return False
        if now and not self.in_exec:
            try:
                writer.sync()
            finally:
                self.refresh_refusal()
        return not self.effects and not writer.aof_buf and writer.fsynced_bytes == writer.written_bytes

    @property
    def in_batch(self) -> bool:
        """Whether a `batch` block is open."""
        return self._batches > 0

    def rewrite_aof(self) -> str:
        """Start a rewrite; inside EXEC, whose records are not in the log yet, have it start afterwards."""
        return self.start_rewrite(self.in_exec)

    def info(self, sections: Sequence[str]) -> str:
        return info.text(self, sections)

    def reset_stats(self) -> None:
        """Set the counters of INFO to zero."""
        self.total_commands = 0
        self.keyspace.reset_stats()
        self.timing.reset()
        self.persistence.reset_stats()
        if self.replication is not None:
            self.replication.reset_stats()
        if self.writer is not None:
            self.writer.delayed_fsync = 0

    def config_set(self, settings: Sequence[tuple[str, str]]) -> None:
        """Apply all of `settings`, names and values, or none.

        Raises
        ------
        ReplyError
            With the words of redis-server, naming the setting at fault.
        """
        self.settings.set(settings)
        self.look_around()

    def _save_points_changed(self) -> None:
        self.refresh_refusal()
        self.on_write()

    def _maxmemory_changed(self) -> None:
        self.look_around()
        if self.usage is not None and 0 < self.config.maxmemory < (used := self.usage.used_memory()):
            _log.warning(
                "WARNING: the new maxmemory value set via CONFIG SET (%d) is smaller than the current memory usage "
                "(%d). This will result in key eviction and/or the inability to accept new write commands depending on "
                "the maxmemory-policy.",
                self.config.maxmemory,
                used,
            )
            # Not here, where a transaction may be under way: in a turn of its own behind this one.
            self.outbox.push(lambda _: self._evict_now(), None)

    def _evict_now(self) -> None:
        self.begin_turn(None)
        if self.usage is not None:
            self._evict_surplus(self.usage)
        with suppress(AofWriteError):
            self.end_turn()

    def _evict_surplus(self, usage: Eviction) -> bool:
        """Evict keys until all fit, if any may go; one record for each. Whether all fit."""
        has_room = usage.make_room()
        if self.effects:
            self.end_unit(transaction=False)
        return has_room

    def _timing_changed(self) -> None:
        self.timing.refresh()
        self._watch_expiry()
        self.persistence.watch()
        # Those at hand are timed, or not, as it was.
        self.forget_shortcuts()

    def _watch_expiry(self) -> None:
        """Have deletions of overdue keys measured, if anyone wants to know."""
        measured = self.config.latency_monitor_threshold > 0
        self.keyspace.expiry_begins = self._expiry_begins if measured else None

    def _expiry_begins(self) -> None:
        self._expiry_began_s = self.clock.monotonic()

    def forget_shortcuts(self) -> None:
        """Have sessions look up every command anew."""
        for spellings in self.shortcuts:
            spellings.clear()

    def look_around(self) -> None:
        """See anew what every command must ask and every change must tell. Called by whoever changes any of it."""
        waiting = bool(self.waiting.waiters)
        events = self.config.notify_keyspace_events
        # Neither K nor E: no message would be sent.
        self.notified = events if "K" in events or "E" in events else ""
        if not Eviction.wanted(self.config):
            self.usage = None
        elif self.usage is None:
            self.usage = Eviction(self.config, self.clock, self.random, self.keyspace, self._evict)
        tracking = bool(self.tracking.clients)
        observing = self.watched or waiting or self.notified or tracking or self.usage is not None
        self.observe = self._observed if observing else None
        attended = tracking or bool(self.silent)
        self.long_way = bool(
            self.closed is not None
            or self.loading is not None
            or self.notified
            or self.monitors
            or self.usage is not None
            or attended
            or self.waiting.pause
        )
        telling = "m" in self.notified or "n" in self.notified
        self.keyspace.tell(telling)
        # Instead of questions in `call` and `process`, which would cost everyone.
        if self.monitors or telling or tracking:
            self.call = self._call_watched  # type: ignore[method-assign]
        else:
            self.__dict__.pop("call", None)
        if attended:
            self.process = self._process_attended  # type: ignore[method-assign]
        else:
            self.__dict__.pop("process", None)

    def _observed(self, client: Client, db: Database, key: bytes, event: str, modified: bool) -> None:
        """Something happened to `key`; `modified` says that its value is another now."""
        if client.loading:
            return
        place = (db.index, key)
        if self.usage is not None:
            self.usage.changed(place)
        if modified:
            for watcher in self.watched.get(place, ()):
                watcher.watch_broken = True
        # Of the events that are no change, only this one ends a wait.
        if modified or event == "xgroup-destroy":
            self.waiting.touched(place, event)
        if modified and self.tracking.clients:
            self.tracking.changed(client, key)
        if self.notified:
            self._notify(db.index, key, event)

    def _notify(self, db_index: int, key: bytes, event: str) -> None:
        """Send the messages of a keyspace event, if they are asked for."""
        if class_of(event) not in self.notified:
            return
        if "K" in self.notified:
            self.subscriptions.publish(b"__keyspace@%d__:%b" % (db_index, key), event.encode())
        if "E" in self.notified:
            self.subscriptions.publish(b"__keyevent@%d__:%b" % (db_index, event.encode()), key)

    def connected(self) -> list[Client]:
        # The one that replays a log, and those that scripts call with, are nobody's connection.
        return sorted((c for c in self.clients if not (c.loading or c.address == "lua")), key=lambda client: client.id)

    def flags_of(self, client: Client) -> str:
        flags = {
            "O": client in self.monitors,
            "S": self.replication is not None and self.replication.follows(client),
            "P": client in self.subscriptions.clients,
            "x": client.multi is not None,
            "b": self.waiting.waits(client),
            "t": client in self.tracking.clients,
            "R": client in self.tracking.clients and self.tracking.clients[client].broken,
            "B": client in self.tracking.clients and self.tracking.clients[client].bcast,
            "d": client.watch_broken,
            "e": client.no_evict,
        }
        return "".join(letter for letter, is_so in flags.items() if is_so) or "N"

    def push(self, client: Client, message: Any) -> None:
        if client.sink is not None:
            self.outbox.push(client.sink, message)

    def monitor(self, client: Client) -> None:
        self.monitors[client] = None
        self.look_around()

    def reset(self, client: Client) -> None:
        self.subscriptions.forget(client)
        self.monitors.pop(client, None)
        self.tracking.end(client)
        self.rights.begin(client)
        self.silence(client, "on")

    def log_in(self, client: Client, name: bytes, password: bytes, by: bytes) -> None:
        self.rights.log_in(client, name, password, by)

    def rights_changed(self) -> None:
        self.rights.changed(self.connected())

    def _password_changed(self) -> None:
        self.users.set_default_password()
        self.rights_changed()

    def check_again(self, client: Client, command: Command, argv: Argv) -> None:
        self.rights.check_again(client, command, argv)

    def _client_by_id(self, client_id: int) -> Client | None:
        return next((client for client in self.connected() if client.id == client_id), None)

    def kill(self, client: Client) -> bool:
        if client.end is None:
            return False
        client.end()
        return True

    def pause(self, seconds: float, *, writes_only: bool) -> None:
        self.waiting.begin_pause(seconds, writes_only=writes_only)
        self.on_wait()

    def unpause(self) -> None:
        self.waiting.end_pause()

    def resume(self) -> None:
        """Run, as a turn, what a pause put off."""
        self.begin_turn(None)
        self.waiting.take_up()
        with suppress(AofWriteError):
            self.end_turn()

    def silence(self, client: Client, mode: ReplyMode) -> None:
        client.reply_mode = mode
        if mode == "on":
            self.silent.discard(client)
        else:
            self.silent.add(client)
        self.look_around()

    def unless_silent(self, client: Client, reply: Any) -> Any:
        """`reply`, or nothing where `client` wants none; after that one reply was skipped, it wants them again."""
        if client.reply_mode == "skip":
            self.silence(client, "on")
            return NO_REPLY
        return NO_REPLY if client.reply_mode == "off" else reply

    def flushed(self) -> None:
        if self.tracking.clients:
            self.tracking.flushed()

    def _missed(self, db: Database, key: bytes) -> None:
        self._notify(db.index, key, "keymiss")

    def _made(self, db: Database, key: bytes) -> None:
        if self.keyspace.expiring:
            self._notify(db.index, key, "new")

    def _call_watched(self, client: Client, command: Command, argv: Argv) -> Any:
        """`call`, and tell of it: afterwards, as the server does, so what SELECT selects is shown selected."""
        # A script is shown before what it calls.
        if command.name in _SCRIPTS:
            self._feed_monitors(client, command, argv)
            return Engine.call(self, client, command, argv)
        try:
            return Engine.call(self, client, command, argv)
        finally:
            if command.flags.isdisjoint({"skip_monitor", "admin"}):
                self._feed_monitors(client, command, argv)
            if self.tracking.clients and "readonly" in command.flags:
                self._remember_read(client, command, argv)

    def _remember_read(self, client: Client, command: Command, argv: Argv) -> None:
        """`command` may have read its keys; if a script ran it, its caller has read those that it named."""
        run = self.scripts.running
        if run is not None:
            caller = find(run.argv)
            if self.tracking.current is None or caller is None:
                return
            client, command, argv = self.tracking.current, caller, run.argv
        elif command.name in _SCRIPTS:
            return
        self.tracking.read(client, command, argv, self.config.tracking_table_max_keys)

    def _feed_monitors(self, client: Client, command: Command, argv: Argv) -> None:
        if self.monitors:
            line = monitor_line(self.clock.now_ms(), client.db.index, client.address, command, redacted(argv))
            for listener in self.monitors:
                self.push(listener, line)

    def replaced(self, db: Database) -> None:
        if self.usage is not None:
            self.usage.replaced()
        self.waiting.reconsider(db.index)

    def unblock(self, client_id: int, *, error: bool) -> bool:
        return self.waiting.unblock(client_id, error=error)

    def new_client(self, *, trusted: bool = True) -> Client:
        """A client with its own selected database and MULTI state.

        Parameters
        ----------
        trusted
            Whether whoever uses it holds the store, and so may do everything; else it is the default user, and must
            log in if that needs a password.
        """
        self._last_client_id += 1
        client = Client(self, self._last_client_id)
        self.clients.add(client)
        if not trusted:
            client.trusted = False
            self.rights.begin(client)
        return client

    # --- one turn ----------------------------------------------------------------------------------------

    def execute(self, client: Client, argv: Argv) -> Any:
        """Run one command as one turn.

        Raises
        ------
        ReplyError
            What a server would answer with an error.
        AofWriteError
            The command ran, but its record did not reach the disk as the policy demands.
        StoreClosedError
            The store is closed, perhaps while the command waited.
        """
        if self.gate is not self.lock and (command := self.scripts.answers_while_busy(argv)):
            return command.handler(client)
        with self.gate:
            self.begin_turn(client)
            try:
                reply = self.process(client, argv)
            except MustWait as must:
                self.end_turn()
                return self._wait_here(client, argv, must)
            except _ANSWERS:
                self.end_turn()
                raise
            self.end_turn()
        if self.afterwards:
            self.do_afterwards()
        return reply

    def run(self, client: Client, batch: list[list[bytes]]) -> list[Any]:
        """Run several commands as one turn: one write, one fsync; error replies are items of the list."""
        replies: list[Any] = []
        shortcuts, effects = self.shortcuts, self.effects
        try:
            with self.gate:
                self.begin_turn(client)
                at, count = 0, len(batch)
                while at < count:
                    if batch[at][0] in QUICK:
                        at = take(self, client, batch, at, replies)
                        if at == count:
                            break
                    argv = batch[at]
                    at += 1
                    # The way of plain data commands, as a session has it: nothing but the handler is needed.
                    command = shortcuts[len(argv)].get(argv[0]) if len(argv) < SHORTCUT_ARGC else None
                    if (
                        command is not None
                        and client.multi is None
                        and not client.limited
                        and not self.long_way
                        and self.refusal is None
                        and "blocking" not in command.flags
                    ):
                        self.total_commands += 1
                        try:
                            replies.append(command.handler(client, *argv[1:]))
                        except ReplyError as problem:
                            self.timing.failed(problem)
                            replies.append(problem)
                        if client.dirty or effects or client.rewritten_args:
                            self.finish_unit(client, command, argv)
                        continue
                    try:
                        replies.append(self.process(client, argv))
                    except MustWait as must:
                        # What came before is acknowledged to the log first: others may go on while this waits.
                        self.end_turn()
                        try:
                            replies.append(self._wait_here(client, argv, must))
                        except ReplyError as problem:
                            replies.append(problem)
                        self.begin_turn(client)
                    except ReplyError as problem:
                        replies.append(problem)
                    except StoreClosedError:
                        self.torn = False
                        raise
                self.end_turn()
        except BusyError as problem:
            # It came in at the gate: nothing ran.
            return [problem for _ in batch]
        finally:
            if self.afterwards:
                self.do_afterwards()
        return replies

    def do_afterwards(self) -> None:
        """Not under the lock: what these jobs wait for may want it."""
        jobs, self.afterwards = self.afterwards, []
        for job in jobs:
            job()

    def _wait_here(self, client: Client, argv: Argv, must: MustWait) -> Any:
        if self._batches or self._in_turn:
            raise ReplyError(
                f"ERR {argv[0].decode('utf-8', 'replace').upper()} would wait, and keep everybody waiting, in a cell "
                "or a batch; give it a timeout in a cell, or use the non-blocking form"
            )
        return self.waiting.wait_here(client, must.wait)

    def submit(self, client: Client, argv: Argv, on_reply: OnReply) -> bool:
        """Run one command for a connection, without ever waiting: see `aofnb.engine.waiting`.

        Returns
        -------
        bool
            True if `on_reply` was called, or, inside `turn`, will be at its end. False if the client waits:
            `on_reply` is called later, and the client must submit nothing until then.
        """
        with self.lock:
            self.begin_turn(client)
            answered = True
            try:
                self.outbox.reply(on_reply, self.process(client, argv))
            except MustWait as must:
                self.waiting.begin(client, must.wait, on_reply)
                if must.wait.timeout_ms:
                    self.on_wait()
                answered = False
            except _ANSWERS as problem:
                self.outbox.reply(on_reply, problem)
            if not self._in_turn:
                # Whoever was to be acknowledged has been told.
                with suppress(AofWriteError):
                    self.end_turn()
        if self.afterwards and not self._in_turn:
            self.do_afterwards()
        return answered

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Make one turn of all that is submitted inside: one write, one fsync, then all replies.

        Other threads wait until the block ends.
        """
        with self.lock:
            self.begin_turn(None)
            self._in_turn = True
            try:
                yield
            finally:
                self._in_turn = False
                with suppress(AofWriteError):
                    self.end_turn()
        if self.afterwards:
            self.do_afterwards()

    def disconnect(self, client: Client) -> None:
        """Let go a client whose connection ended: it waits for nothing and watches nothing any more."""
        with self.lock:
            self.waiting.drop(client)
            self.reset(client)
            if client.sink is not None:
                self.outbox.drop(client.sink)
                client.sink = None
            discard_transaction(client)
            self.clients.discard(client)

    def time_out(self) -> float | None:
        """End the waits that are due, and give their replies; seconds to the next one, None if there is none."""
        with self.lock:
            self.waiting.time_out()
            self.deliver()
            return self.waiting.next_s()

    def deliver(self) -> None:
        """Tell what an earlier turn left untold."""
        if self.torn:
            self.mend()
        with suppress(AofWriteError):
            self.end_turn()

    def begin_turn(self, client: Client | None) -> None:
        """Before anything that may write; what an exception tore is put right first."""
        if not self._in_turn:
            if self.torn:
                self.mend()
            self.torn = True
        self._turn_of = client

    def mend(self) -> None:
        """Make the data what the log says, after a turn that did not come to its end.

        Nobody was told that its commands are done, and their effects may be half there: so they are taken out
        altogether, as a crash at that moment would have done. Costs a replay of the log.
        """
        self.effects.clear()
        self._frozen_ms = None
        for client in list(self.clients):
            client.dirty = 0
            client.in_exec = False
            client.rewritten_args.clear()
            client.watch_broken = bool(client.watching)
        if self._turn_of is not None:
            # What it was queueing is cut short.
            discard_transaction(self._turn_of)
        if self.writer is not None:
            self.writer.mend()
            self.reload()
        self.torn = False
        self.tracking.tell_held()
        # Whose key became ready in the torn turn was perhaps not served.
        self.waiting.reconsider()
        self.waiting.serve()

    def _process_attended(self, client: Client, argv: Argv) -> Any:
        """`process`, with what a client that tracks is told of its own changes, and with CLIENT REPLY obeyed."""
        self.tracking.begin_command(client)
        if client.reply_mode == "skip next":
            client.reply_mode = "skip"
        try:
            reply = Engine.process(self, client, argv)
        except MustWait:
            self.tracking.tell_held()
            raise
        except ReplyError as problem:
            if self.unless_silent(client, problem) is problem:
                raise
            return NO_REPLY
        finally:
            tracker = self.tracking.clients.get(client)
            if tracker is not None and client.multi is None and argv[0].upper() != b"CLIENT":
                tracker.caching = False
        return self.unless_silent(client, reply)

    def process(self, client: Client, argv: Argv) -> Any:
        """Run one command as one unit; its records stay in aof_buf. Raises ReplyError."""
        if self.long_way and self.closed is not None:
            raise StoreClosedError(self.closed)
        try:
            command = self._checked(client, argv)
            if self.long_way or client.limited:
                self._check_client(client, command, argv)
                if self.loading is not None and "loading" not in command.flags:
                    raise self.loading.refusal()
                if self.usage is not None:
                    self._make_room(client, command)
        except ReplyError as problem:
            self.timing.failed(problem)
            # A mistake while queueing spoils the transaction.
            client.multi_aborted = client.multi is not None
            raise
        if self.long_way and self._is_paused(client, command):
            raise MustWait(Postponed(argv))
        if client.multi is not None and command.name not in _NOT_QUEUED:
            client.multi.append((command, argv))
            return "QUEUED"
        used = [] if self.usage is None else self._touched(client, command, argv)
        if command.name == "EXEC":
            self._frozen_ms = self.clock.now_ms()
            client.in_exec = True
        try:
            reply = self.call(client, command, argv)
        except ReplyError:
            self._unit_over(client, command)
            raise
        if self.usage is not None:
            for place in used:
                self.usage.touched(place)
        # Not in a finally: a unit that was torn must not reach the log by half.
        self._unit_over(client, command)
        return reply

    def _unit_over(self, client: Client, command: Command) -> None:
        self._frozen_ms = None
        client.in_exec = False
        if self.effects:
            self.end_unit("touches_arbitrary_keys" not in command.flags)

    def finish(self, client: Client, command: Command, name: str | bytes, args: Argv) -> None:
        """End of a command that a session ran as a unit and a turn of its own: propagate, feed, flush.

        Most often that is one record, as typed, and goes straight to aof_buf.
        """
        self.finish_unit(client, command, (name.encode() if isinstance(name, str) else bytes(name), *args))
        self.end_turn()

    def finish_unit(self, client: Client, command: Command, argv: Argv) -> None:
        """`finish` inside a turn that goes on."""
        effects, writer = self.effects, self.writer
        as_typed = command.propagate is VERBATIM and not effects and not client.rewritten_args
        if client.dirty and as_typed and writer is not None and not self.waiting.ready:
            self.keyspace.dirty += client.dirty
            client.dirty = 0
            writer.feed_one(client.db.index, argv)
        else:
            if client.dirty:
                self._changed(client, command, argv)
            client.rewritten_args.clear()
            if effects:
                self.end_unit("touches_arbitrary_keys" not in command.flags)

    def end_unit(self, transaction: bool = True) -> None:
        """Turn the effects of the unit into records in aof_buf."""
        effects = self.effects
        if self.writer is not None:
            self.writer.feed(effects, transaction and len(effects) > 1)
        effects.clear()
        if self.waiting.ready:
            self.waiting.serve()

    def end_turn(self) -> None:
        """Write aof_buf and sync as the policy says.

        Raises
        ------
        AofWriteError
            That failed; from now on writes are refused until it succeeds.
        """
        writer = self.writer
        if writer is not None and writer.aof_buf and not self._batches and self.closed is None:
            if self.refusal is None:
                try:
                    self.flush()
                except AofWriteError as problem:
                    self.torn = False
                    self.outbox.deliver(problem)
                    raise
            else:
                # Nothing new is acknowledged while writes are refused: the retry is no matter of this turn.
                with suppress(AofWriteError):
                    self.flush()
            self.on_write()
        elif writer is None:
            # Deadlines and save points are there without a log, too.
            self.on_write()
        self.torn = False
        if self.tracking.clients:
            self.tracking.tell_held()
            self.tracking.tell_prefixes()
        if self.outbox.items:
            self.outbox.deliver()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Put off the write to the end of the block: replies inside come before their records are on disk."""
        with self.lock:
            self._batches += 1
            try:
                yield
            finally:
                self._batches -= 1
                if self.closed is None:
                    self.begin_turn(None)
                    self.end_turn()

    def flush(self) -> None:
        """Write and sync as the policy says, keeping `refusal` as the outcome demands."""
        writer = self.writer
        if writer is None:
            return
        try:
            writer.flush()
        except AofWriteError:
            self.refresh_refusal()
            raise
        if self.refusal is not None or writer.poisoned is not None:
            self.refresh_refusal()

    def refresh_refusal(self) -> None:
        """Refuse write commands as long as the log, or the snapshots, give reason to."""
        writer = self.writer
        problem = writer.refusal if writer is not None else None
        if writer is not None and writer.fsync_failed:
            self.persistence.mark_unsynced()
        misconf = f"MISCONF Errors writing to the AOF file: {problem.strerror}" if problem else None
        self.refusal = self.standing_refusal or misconf or self.persistence.refusal or self._replicas_missing()

    def _replicas_missing(self) -> str | None:
        """Why write commands are refused for want of replicas, or None."""
        wanted = self.config.min_replicas_to_write
        if not wanted or (self.replication is not None and self.replication.good() >= wanted):
            return None
        return "NOREPLICAS Not enough good replicas to write."

    # --- parts -------------------------------------------------------------------------------------------

    def _is_paused(self, client: Client, command: Command) -> bool:
        """Whether `command` is put off; a pause whose time is over ends here, if nobody noticed before."""
        pause = self.waiting.pause
        if pause is None:
            return False
        if pause.until_s <= self.clock.monotonic():
            self.unpause()
            return False
        if not pause.writes_only or _may_write(command):
            return True
        return command.name == "EXEC" and any(_may_write(queued) for queued, _ in client.multi or ())

    def _check_client(self, client: Client, command: Command, argv: Argv) -> None:
        """Whether `client` may run `command`, being who it is and in the state it is in."""
        try:
            if client.restricted:
                self.rights.check(client, command, argv)
            if client.resp < 3 and client in self.subscriptions.clients and command.name not in _WHILE_SUBSCRIBED:
                raise ReplyError(
                    f"ERR Can't execute '{command.wire_name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / "
                    "RESET are allowed in this context"
                )
        except ReplyError as problem:
            if command.name != "EXEC":
                raise
            discard_transaction(client)
            why = str(problem).removeprefix("ERR ")
            raise ReplyError(f"EXECABORT Transaction discarded because of: {why}") from None

    def _checked(self, client: Client, argv: Argv) -> Command:
        """The command that `argv` names, if it may run now."""
        if len(argv) < SHORTCUT_ARGC and (known := self.shortcuts[len(argv)].get(argv[0])) and self.refusal is None:
            return known
        command = self._find(argv)
        if command is None:
            raise messages.unknown_command(argv)
        if command.subcommands and len(argv) > 1:
            raise messages.unknown_subcommand(command.name, argv[1])
        if not command.min_argc <= len(argv) <= command.max_argc:
            problem = messages.wrong_arity(command.wire_name)
            if command.name == "EXEC":
                discard_transaction(client)
                problem = ReplyError(f"EXECABORT Transaction discarded because of: {str(problem).removeprefix('ERR ')}")
            raise problem
        if client.multi is not None and "no_multi" in command.flags:
            raise ReplyError("ERR Command not allowed inside a transaction")
        if self.refusal is not None:
            self._check_refusal(client, command)
        return command

    def _check_refusal(self, client: Client, command: Command) -> None:
        assert self.refusal is not None
        if command.name == "EXEC" and client.multi and any(queued.writes for queued, _ in client.multi):
            discard_transaction(client)
            raise ReplyError(f"EXECABORT Transaction discarded because of: {self.refusal}")
        if command.writes or (command.name == "PING" and self.refusal.startswith("MISCONF")):
            raise ReplyError(self.refusal)

    def _find(self, argv: Argv) -> Command | None:
        command = find(argv)
        # Sessions take a short cut for plain commands: nothing but the handler is needed to run them.
        if command is not None and command.shortcut:
            for argc in range(command.min_argc, min(command.max_argc + 1, SHORTCUT_ARGC)):
                spellings = self.shortcuts[argc]
                if len(spellings) < _SPELLINGS:
                    spellings[argv[0]] = spellings[argv[0].decode("latin-1")] = self.timing.timed(command, argv[0])
        return command

    def _changed(self, client: Client, command: Command, argv: Argv) -> None:
        """Count the change, and take up the record unless the handler made its own."""
        self.keyspace.dirty += client.dirty
        client.dirty = 0
        rule = command.propagate
        if rule is VERBATIM or rule is ALWAYS:
            if client.rewritten_args:
                argv = _rewritten(argv, client.rewritten_args)
            self.effects.append((client.db.index, argv))
        elif rule is not REWRITTEN or not self.effects:
            raise AssertionError(f"{command.name} changed data but asked for no record ({rule})")

    def _key_expired(self, db: Database, key: bytes) -> None:
        if self.keyspace.expiry_begins is not None:
            self.timing.monitor.sample("expire-del", self.clock.monotonic() - self._expiry_began_s)
        verb = b"UNLINK" if self.config.lazyfree_lazy_expire else b"DEL"
        self.effects.append((db.index, (verb, key)))
        place = (db.index, key)
        for client in self.watched.get(place, ()):
            if place in client.watching_overdue:
                client.watching_overdue.discard(place)
            else:
                client.watch_broken = True
        if self.observe is not None:
            if self.usage is not None:
                self.usage.changed(place)
            self.waiting.touched(place, "expired")
            if self.notified:
                self._notify(db.index, key, "expired")
            if self.tracking.clients:
                self.tracking.changed(None, key)

    def _evict(self, db: Database, key: bytes) -> None:
        """Delete a key for want of memory."""
        if not db.delete(key):
            return  # it was overdue, and that is told
        verb = b"UNLINK" if self.config.lazyfree_lazy_eviction else b"DEL"
        self.effects.append((db.index, (verb, key)))
        self.keyspace.evicted_keys += 1
        self.keyspace.dirty += 1
        for client in self.watched.get((db.index, key), ()):
            client.watch_broken = True
        if self.observe is not None:
            self.waiting.touched((db.index, key), "evicted")
            if self.notified:
                self._notify(db.index, key, "evicted")
            if self.tracking.clients:
                self.tracking.changed(None, key)

    def _make_room(self, client: Client, command: Command) -> None:
        """Evict keys, if there must be room; ReplyError for a command that needs memory which there is not."""
        assert self.usage is not None
        if client.loading:
            return
        # The records of the victims come before those of the command.
        if self._evict_surplus(self.usage):
            return
        queued = client.multi or ()
        denied = "denyoom" in command.flags or (
            client.multi is not None and command.name not in ("EXEC", "DISCARD", "QUIT", "RESET")
        )
        if command.name == "EXEC" and any("denyoom" in other.flags for other, _ in queued):
            discard_transaction(client)
            raise ReplyError(f"EXECABORT Transaction discarded because of: {messages.OUT_OF_MEMORY}")
        if denied:
            raise ReplyError(messages.OUT_OF_MEMORY)

    def _touched(self, client: Client, command: Command, argv: Argv) -> list[tuple[int, bytes]]:
        """The keys that a command is about to use, those of a whole transaction for EXEC."""
        run = client.multi if command.name == "EXEC" and client.multi else [(command, argv)]
        return [
            (client.db.index, used[position])
            for called, used in run
            if called.name not in _NO_USE and not (client.no_touch and called.name != "TOUCH")
            for position in called.key_positions(used)
        ]

    def _field_expired(self, db: Database, key: bytes, field: bytes) -> None:
        self.effects.append((db.index, (b"HDEL", key, field)))
        place = (db.index, key)
        for client in self.watched.get(place, ()):
            client.watch_broken = True
        if self.observe is not None:
            if self.usage is not None:
                self.usage.changed(place)
            self.waiting.touched(place, "hexpired")
            if self.notified:
                self._notify(db.index, key, "hexpired")
            if self.tracking.clients:
                self.tracking.changed(None, key)

    def forget_gone_watchers(self) -> None:
        """Drop what clients watched that are gone without a word, as sessions in a notebook are."""
        gone = [place for place, watchers in self.watched.items() if not watchers]
        for place in gone:
            del self.watched[place]
        if gone:
            self.look_around()

    @property
    def expires_actively(self) -> bool:
        """Whether overdue keys are deleted without being met."""
        return self.keyspace.active_expire and not self.cron_paused and self.waiting.pause is None

    def expire_due(self, limit: int = 1000) -> int:
        """Active expiry: delete up to `limit` overdue keys per database and log each; returns how many."""
        if not self.expires_actively:
            return 0
        started_s = self.clock.monotonic()
        expired = sum(db.expire_due(limit) for db in self.keyspace if db.volatile)
        expired += sum(db.expire_due_fields(limit) for db in self.keyspace)
        self.timing.monitor.sample("expire-cycle", self.clock.monotonic() - started_s)
        if self.effects:
            self.end_unit(transaction=False)
        return expired

    def close(self, why: str) -> None:
        """Refuse everything from now on, with `why` as the error text."""
        self.closed = why
        self.forget_shortcuts()
        self.waiting.end_all(StoreClosedError(why))
        self.look_around()
        self.outbox.deliver()


def _may_write(command: Command) -> bool:
    """Whether others may see a change: what a pause of writes puts off."""
    return command.writes or command.name in _SENT_ON


def _rewritten(argv: Argv, changes: dict[int, bytes | None]) -> Argv:
    """`argv` with the arguments that the handler wants logged otherwise, or not at all, and forget them."""
    logged = [changes.get(position, arg) for position, arg in enumerate(argv)]
    added = [changes[position] for position in sorted(changes) if position >= len(argv)]
    changes.clear()
    return [arg for arg in (*logged, *added) if arg is not None]


def _no_log(_scheduled: bool) -> str:
    raise ReplyError("ERR there is no append-only file to rewrite: this store was opened without one")
