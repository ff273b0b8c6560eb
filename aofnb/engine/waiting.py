"""Those who wait: for data (BLPOP and its kin), for time to pass, for a pause to end, for an answer on a connection.

How a command waits:

1. its handler raises `MustWait`, which says for which keys, how long, and how to serve it (`aofnb.commands.blocking`);
2. a `Waiter` stands in the queue of each key; nothing was changed, nothing is logged, the turn ends;
3. a unit that changes a key with a queue marks it ready (`touched`). At the end of the unit the ready keys are
   served, in the order in which they became ready, and the waiters of a key in the order in which they came. Each is
   a unit of its own, and may make other keys ready;
4. the replies are given at the end of the turn, after the write and fsync that the policy asks for.

Two ways to wait:

- **a thread of this process**: `Session.execute` (and `run`) waits on a condition of the engine's lock, which others
  can take meanwhile; Ctrl-C ends the wait and leaves the data as it is;
- **a connection of a server**: ``engine.submit(client, argv, on_reply)`` never waits. It gives True if `on_reply` was
  or will be called by the end of the turn, False if the client waits: then `on_reply` is called later, in whatever
  turn served it. Until then the server gives no more commands of that client. Many commands, of many
  clients, are one turn (one write, one fsync) inside ``with engine.turn():``.

`on_reply` gets the reply, or the exception (`ReplyError`, `AofWriteError`, `StoreClosedError`) that takes its place. It
is called with the engine's lock held, by any thread: it hands over and returns; it may submit, but must not wait. A
client whose connection ends is let go with ``engine.disconnect(client)``, after which nothing is called for it.

While the store is paused (CLIENT PAUSE) a command that is put off waits too, as `Postponed`, and is looked at for the
first time when the pause is over: at its end by whoever calls `time_out`, or behind the turn of CLIENT UNPAUSE.

Timeouts are due by the clock's monotonic time. The periodic job ends them; a server whose own loop is finer calls
``engine.time_out()``, which gives the seconds to the next one.

A value that takes the place of another (SORT STORE, ZUNIONSTORE) makes its key ready here, and not on a server.

Redis: blocked.c, timeout.c, t_list.c serveClientBlockedOnList (7.0.15).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import TYPE_CHECKING, Any

from aofnb.commands.blocking import NOT_YET, MustWait, Wait
from aofnb.commands.client import Argv, Client
from aofnb.errors import ReplyError

if TYPE_CHECKING:
    from aofnb.engine.core import Engine

__all__ = ["OnReply", "Outbox", "Pause", "Postponed", "Waiter", "Waiting"]

OnReply = Callable[[Any], None]
Place = tuple[int, bytes]

# What changes a stream and brings no entry. After an XSETID there would seem to be one.
_WAKE_NOBODY = frozenset({"xtrim", "xdel"})

_log = logging.getLogger("aofnb")


class Postponed(Wait):
    """Waits for the end of a pause, to be looked at then."""

    __slots__ = ("argv",)

    def __init__(self, argv: Argv) -> None:
        super().__init__((), NoneType, 0, lambda _key: NOT_YET)
        object.__setattr__(self, "argv", argv)

    argv: Argv


@dataclass(slots=True)
class Pause:
    """Until when commands are put off, and whether those that only read go on."""

    until_s: float
    writes_only: bool


class Waiter:
    """One command that waits. `answer` is called once, when its reply may be seen."""

    __slots__ = ("arrival", "client", "db", "deadline_s", "done", "on_reply", "wait")

    def __init__(self, client: Client, wait: Wait, arrival: int, deadline_s: float | None, on_reply: OnReply) -> None:
        self.client = client
        # As selected now: a client that several threads share may select another meanwhile.
        self.db = client.db
        self.wait = wait
        self.arrival = arrival
        self.deadline_s = deadline_s
        self.on_reply = on_reply
        self.done = False

    def answer(self, reply: Any) -> None:
        if not self.done:
            self.done = True
            self.on_reply(reply)

    @property
    def places(self) -> list[Place]:
        return [(self.db.index, key) for key in self.wait.keys]


class Outbox:
    """What the turn has to tell, in order, once its records are where the policy wants them."""

    __slots__ = ("_delivering", "items")

    def __init__(self) -> None:
        # Whom to call with what, and whether it acknowledges something.
        self.items: deque[tuple[OnReply, Any, bool]] = deque()
        self._delivering = False

    def __bool__(self) -> bool:
        return bool(self.items)

    def reply(self, on_reply: OnReply, reply: Any) -> None:
        """Add the reply of a command whose unit is over: a torn turn keeps it, as it keeps the unit's records."""
        self.items.append((on_reply, reply, True))

    def push(self, sink: OnReply, message: Any) -> None:
        """Add a message that nobody asked for just now."""
        self.items.append((sink, message, False))

    def deliver(self, problem: Exception | None = None) -> None:
        """Call everyone; with a `problem`, replies are that: the log does not hold what they would acknowledge."""
        if self._delivering:
            # Somebody who is called submits: the loop that called comes to it.
            return
        items = self.items
        if problem is not None:
            self.items = items = deque(
                (call, problem if acknowledges else message, acknowledges) for call, message, acknowledges in items
            )
        self._delivering = True
        try:
            while items:
                call, message, _acknowledges = items[0]
                try:
                    call(message)
                except Exception:
                    # One that cannot take its message is no reason to keep the others waiting.
                    _log.exception("a reply could not be handed over")
                # Not before: Ctrl-C in between may call twice, but never not at all.
                items.popleft()
        finally:
            self._delivering = False

    def drop(self, sink: OnReply) -> None:
        """Forget what was to be said to `sink`."""
        kept = [item for item in self.items if item[0] != sink]
        self.items.clear()
        self.items.extend(kept)


class Waiting:
    """Who waits for what. Everything here runs under the engine's lock."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # In order of arrival, both.
        self.waiters: dict[Waiter, None] = {}
        self._queues: dict[Place, dict[Waiter, None]] = {}
        # Places that changed in the running unit, in order.
        self.ready: dict[Place, None] = {}
        self.pause: Pause | None = None
        self._serving = False
        self._arrivals = 0

    # --- come and go -------------------------------------------------------------------------------------

    def begin(self, client: Client, wait: Wait, on_reply: OnReply) -> Waiter:
        """Let `client` wait; `on_reply` is called when it is over."""
        self._arrivals += 1
        waiter = Waiter(client, wait, self._arrivals, self._deadline_s(wait), on_reply)
        self._enqueue(waiter)
        self._engine.look_around()
        return waiter

    def _deadline_s(self, wait: Wait) -> float | None:
        if isinstance(wait, Postponed):
            return None if self.pause is None else self.pause.until_s
        return None if wait.timeout_ms == 0 else self._engine.clock.monotonic() + wait.timeout_ms / 1000

    def _enqueue(self, waiter: Waiter) -> None:
        self.waiters[waiter] = None
        for place in waiter.places:
            self._queues.setdefault(place, {})[waiter] = None

    def _remove(self, waiter: Waiter) -> None:
        del self.waiters[waiter]
        for place in waiter.places:
            queue = self._queues.get(place)
            # A key that is named twice is in the queue once.
            if queue is not None and queue.pop(waiter, 0) is None and not queue:
                del self._queues[place]
        if not self.waiters:
            self._engine.look_around()

    def settle(self, waiter: Waiter, reply: Any) -> None:
        """The wait is over; its reply is given when the turn ends."""
        self._remove(waiter)
        if waiter.client.reply_mode != "on":
            reply = self._engine.unless_silent(waiter.client, reply)
        self._engine.outbox.reply(waiter.answer, reply)

    def wait_here(self, client: Client, wait: Wait) -> Any:
        """Let the calling thread, which holds the engine's lock once, wait without it; the reply.

        Raises
        ------
        ReplyError, AofWriteError, StoreClosedError
            What takes the place of the reply.
        KeyboardInterrupt
            Ctrl-C: nothing was taken. A reply that was there at that moment is given instead, since its data
            is taken already.
        """
        engine = self._engine
        condition = threading.Condition(engine.lock)
        replies: list[Any] = []

        def take(reply: Any) -> None:
            replies.append(reply)
            condition.notify()

        waiter = self.begin(client, wait, take)
        try:
            while not replies:
                left_s = None if waiter.deadline_s is None else waiter.deadline_s - engine.clock.monotonic()
                if left_s is not None and left_s <= 0:
                    self.time_out()
                elif not engine.outbox.items:
                    engine.clock.wait(condition, left_s)
                # What was left to deliver, too, when Ctrl-C stopped the thread that did it.
                engine.deliver()
        except BaseException:
            if waiter in self.waiters:
                self._remove(waiter)
                raise
            engine.deliver()
            if not replies:
                raise
        if isinstance(replies[0], Exception):
            raise replies[0]
        return replies[0]

    # --- keys become ready -------------------------------------------------------------------------------

    def touched(self, place: Place, event: str) -> None:
        """The value at `place` changed; if somebody waits for it, see to that when the unit is over."""
        if place in self._queues and event not in _WAKE_NOBODY:
            self.ready[place] = None

    def reconsider(self, db_index: int | None = None) -> None:
        """Any key that somebody waits for (of one database) may have changed."""
        for place in self._queues:
            if db_index is None or place[0] == db_index:
                self.ready[place] = None

    def serve(self) -> None:
        """Serve the ready keys, and those that this makes ready. The unit that made them ready is over."""
        if self._serving:
            return
        self._serving = True
        try:
            while self.ready:
                places, self.ready = self.ready, {}
                for place in places:
                    self._serve_key(place)
        finally:
            self._serving = False

    def _serve_key(self, place: Place) -> None:
        engine = self._engine
        db, key = engine.keyspace[place[0]], place[1]
        for waiter in list(self._queues.get(place, ())):
            reply: Any = NOT_YET
            engine.tracking.begin_serving(waiter.client)
            if isinstance(db.lookup(key), waiter.wait.kind):
                reply = self._serve_one(waiter, key)
            elif waiter.wait.gone is not None:
                reply = waiter.wait.gone
            if engine.effects:
                engine.end_unit()
            # Not before its records are in the log: who is still in the queue after a torn turn was not served.
            if reply is not NOT_YET:
                self.settle(waiter, reply)
            engine.tracking.served(waiter.client)

    def _serve_one(self, waiter: Waiter, key: bytes) -> Any:
        client = waiter.client
        selected, client.db = client.db, waiter.db
        try:
            reply = waiter.wait.serve(key)
        except ReplyError as problem:
            reply = problem
        self._engine.keyspace.dirty += client.dirty
        client.dirty = 0
        client.db = selected
        return reply

    # --- a pause -----------------------------------------------------------------------------------------

    def begin_pause(self, seconds: float, *, writes_only: bool) -> None:
        """Put commands off; of two pauses at once the later end and the wider reach hold."""
        until_s = self._engine.clock.monotonic() + seconds
        pause = self.pause
        if pause is None:
            self.pause = Pause(until_s, writes_only)
        else:
            pause.until_s = max(pause.until_s, until_s)
            pause.writes_only = pause.writes_only and writes_only
            for waiter in self.waiters:
                if isinstance(waiter.wait, Postponed):
                    waiter.deadline_s = pause.until_s
        self._engine.look_around()

    def end_pause(self) -> None:
        """What was put off is looked at in a turn of its own, behind the one that runs."""
        if self.pause is not None:
            self.pause = None
            self._engine.look_around()
            self._engine.outbox.push(lambda _: self._engine.resume(), None)

    def take_up(self) -> None:
        """Run what was put off, in the order in which it came, as part of the running turn."""
        for waiter in list(self.waiters):
            if not isinstance(waiter.wait, Postponed) or self.pause is not None:
                continue
            try:
                reply = self._engine.process(waiter.client, waiter.wait.argv)
            except MustWait as must:
                self._wait_again(waiter, must.wait)
            except ReplyError as problem:
                self.settle(waiter, problem)
            else:
                self.settle(waiter, reply)

    def _wait_again(self, waiter: Waiter, wait: Wait) -> None:
        """`waiter` has been put off, and now waits for something else."""
        del self.waiters[waiter]
        waiter.wait, waiter.db, waiter.deadline_s = wait, waiter.client.db, self._deadline_s(wait)
        self._enqueue(waiter)

    # --- other ends --------------------------------------------------------------------------------------

    def time_out(self) -> None:
        """End the waits whose time has come."""
        now_s = self._engine.clock.monotonic()
        if self.pause is not None and self.pause.until_s <= now_s:
            self.pause = None
            self._engine.look_around()
            self._engine.resume()
        for waiter in list(self.waiters):
            if waiter.deadline_s is not None and waiter.deadline_s <= now_s:
                self.settle(waiter, waiter.wait.timed_out)

    def next_s(self) -> float | None:
        """Seconds to the next timeout, None if there is none to come."""
        deadlines = [waiter.deadline_s for waiter in self.waiters if waiter.deadline_s is not None]
        if self.pause is not None:
            deadlines.append(self.pause.until_s)
        return max(0.0, min(deadlines) - self._engine.clock.monotonic()) if deadlines else None

    def unblock(self, client_id: int, *, error: bool) -> bool:
        found = [waiter for waiter in self.waiters if waiter.client.id == client_id]
        for waiter in found:
            problem = ReplyError("UNBLOCKED client unblocked via CLIENT UNBLOCK")
            self.settle(waiter, problem if error else waiter.wait.timed_out)
        return bool(found)

    def waits(self, client: Client) -> bool:
        return any(waiter.client is client for waiter in self.waiters)

    def drop(self, client: Client) -> None:
        """Nobody is there any more to be answered: the wait ends without a word."""
        for waiter in [waiter for waiter in self.waiters if waiter.client is client]:
            self._remove(waiter)
            waiter.done = True

    def end_all(self, problem: Exception) -> None:
        """Wake everyone with `problem`."""
        for waiter in list(self.waiters):
            self.settle(waiter, problem)

    def forget_all(self) -> None:
        """As if nobody had waited: in a forked child, where those threads are not."""
        self.waiters.clear()
        self._queues.clear()
        self.ready.clear()
