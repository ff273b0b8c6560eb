"""Who waits is served in order, in units of its own, and is always told how it ended."""

from __future__ import annotations

import _thread
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from support.faults import FaultFs
from support.records import records

import aofnb
from aofnb.clock import FakeClock, SystemClock
from aofnb.errors import AofWriteError, ReplyError, StoreClosedError
from aofnb.resp.encode import encode_command


class SignallingClock(FakeClock):
    """Says when a thread has begun to wait, so that no test has to sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Semaphore(0)

    def wait(self, condition: threading.Condition, timeout_s: float | None) -> None:
        self.waits.release()
        super().wait(condition, timeout_s)


@pytest.fixture
def clock() -> SignallingClock:
    return SignallingClock()


@pytest.fixture
def store(tmp_path: Path, clock: SignallingClock):
    with aofnb.open(tmp_path / "data", clock=clock, background=False, seed=1) as store:
        yield store


def log(store: aofnb.Store) -> list[str]:
    assert store.path is not None
    path = Path(store.path) / "appendonlydir" / "appendonly.aof.1.incr.aof"
    return [b" ".join(argv).decode() for argv in records(path.read_bytes()) if argv[0] != b"SELECT"]


class Waiter:
    """A command in a thread of its own; it waits when this is made."""

    def __init__(self, session: Any, line: str, clock: SignallingClock) -> None:
        self.outcome: Any = None
        self._session, self._line = session, line
        self._thread = threading.Thread(target=self._run, name=f"waiter {line}")
        self._thread.start()
        assert clock.waits.acquire(timeout=20), f"{line} does not wait: {self.outcome!r}"

    def _run(self) -> None:
        try:
            self.outcome = self._session.execute(*self._line.split())
        except Exception as problem:
            self.outcome = problem

    def result(self) -> Any:
        self._thread.join(20)
        assert not self._thread.is_alive(), f"{self._line} still waits"
        return self.outcome


def test_threads_are_served_in_the_order_in_which_they_came(store, clock):
    waiters = [Waiter(store.session(), f"BLPOP q{i} q 0", clock) for i in range(3)]
    assert store.execute("RPUSH", "q", "a", "b") == 2
    assert [waiters[0].result(), waiters[1].result()] == [[b"q", b"a"], [b"q", b"b"]]
    store.execute("RPUSH", "q2", "c")
    assert waiters[2].result() == [b"q2", b"c"]
    assert log(store) == ["RPUSH q a b", "LPOP q", "LPOP q", "RPUSH q2 c", "LPOP q2"]


def test_a_value_that_takes_the_place_of_another_is_served_too(store, clock):
    """redis-server 7.0 lets BZPOPMIN wait on here: what overwrites a key makes nobody look at it."""
    store.execute("ZADD", "z", 1, "a")
    waiter = Waiter(store.session(), "BZPOPMIN k 0", clock)
    store.execute("SADD", "k", "x")
    store.execute("ZUNIONSTORE", "k", 1, "z")
    assert waiter.result() == [b"k", b"a", b"1"]
    assert log(store)[-2:] == ["ZUNIONSTORE k 1 z", "ZPOPMIN k"]


def test_one_session_may_wait_in_one_thread_and_push_in_another(store, clock):
    waiter = Waiter(store, "BLPOP q 0", clock)
    store.execute("SELECT", 3)
    store.execute("RPUSH", "q", "in 3")
    store.execute("SELECT", 0)
    store.execute("RPUSH", "q", "in 0")
    assert waiter.result() == [b"q", b"in 0"]
    assert store.execute("LLEN", "q") == 0


def test_a_wait_ends_by_the_clock(store, clock):
    waiter = Waiter(store, "BLPOP q 2.5", clock)
    assert store.tick() == pytest.approx(2.5, abs=0.01)
    clock.advance(2)
    store.tick()
    assert waiter.outcome is None
    assert store.engine.waiting.waiters
    clock.advance(0.6)
    store.tick()
    assert waiter.result() is None
    assert not store.engine.waiting.waiters
    assert not store.engine.long_way


def test_a_thread_needs_nobody_to_end_its_wait(tmp_path):
    with aofnb.open(tmp_path / "data", clock=SystemClock(), background=False) as store:
        assert store.execute("BLPOP", "q", 0.001) is None
        assert store.run([("BZPOPMIN", "q", "0.001"), ("WAIT", 1, 1), ("PING",)]) == [None, 0, "PONG"]


def test_a_pipeline_that_waits_writes_what_came_before_and_goes_on_afterwards(store, clock):
    outcome: list[Any] = []
    batch = [("SET", "a", 1), ("BLPOP", "q", 0), ("SET", "b", 2)]
    thread = threading.Thread(target=lambda: outcome.extend(store.session().run(batch)))
    thread.start()
    assert clock.waits.acquire(timeout=20)
    assert log(store) == ["SET a 1"]
    store.execute("RPUSH", "q", "x")
    thread.join(20)
    assert outcome == ["OK", [b"q", b"x"], "OK"]
    assert log(store) == ["SET a 1", "RPUSH q x", "LPOP q", "SET b 2"]


def test_closing_the_store_wakes_everyone(store, clock):
    waiters = [Waiter(store.session(), line, clock) for line in ("BLPOP q 0", "XREAD BLOCK 0 STREAMS x $", "WAIT 1 0")]
    store.close()
    assert all(isinstance(waiter.result(), StoreClosedError) for waiter in waiters)


def test_ctrl_c_ends_a_wait_and_takes_nothing(store, clock):
    class Interrupting(SignallingClock):
        def wait(self, condition, timeout_s):
            _thread.interrupt_main()
            super().wait(condition, timeout_s)

    store.engine.clock = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        store.execute("BLPOP", "q", 0)
    assert not store.engine.waiting.waiters
    store.execute("RPUSH", "q", "a")
    assert store.execute("LRANGE", "q", 0, -1) == [b"a"]


def test_what_was_served_before_ctrl_c_is_given(store, clock):
    class Interrupting(SignallingClock):
        def wait(self, condition, timeout_s):
            store.engine.submit(store.engine.new_client(), [b"RPUSH", b"q", b"a"], lambda reply: None)
            raise KeyboardInterrupt

    store.engine.clock = Interrupting()
    assert store.execute("BLPOP", "q", 0) == [b"q", b"a"]


def test_a_reply_waits_for_the_disk_and_is_an_error_where_that_fails(tmp_path, clock):
    fs = FaultFs(only={"write"})
    store = aofnb.open(tmp_path / "data", clock=clock, background=False, fs=fs, appendfsync="always")
    waiter = Waiter(store.session(), "BLPOP q 0", clock)
    fs.fail_at = fs.done
    with pytest.raises(AofWriteError):
        store.execute("RPUSH", "q", "a")
    assert isinstance(waiter.result(), AofWriteError)
    with pytest.raises(AofWriteError):
        store.close()


# --- connections -----------------------------------------------------------------------------------------------


class Connection:
    def __init__(self, store: aofnb.Store) -> None:
        self.engine = store.engine
        self.client = store.engine.new_client()
        self.replies: list[Any] = []

    def send(self, line: str) -> bool:
        return self.engine.submit(self.client, line.encode().split(), self.replies.append)


def test_a_connection_never_waits_and_is_called_back(store):
    a, b = Connection(store), Connection(store)
    assert a.send("BLPOP q 0") is False
    assert a.replies == []
    assert b.send("RPUSH q x") is True
    assert (a.replies, b.replies) == ([[b"q", b"x"]], [1])
    assert b.send("NOSUCH") is True
    assert isinstance(b.replies[-1], ReplyError)


def test_what_is_submitted_in_a_turn_is_one_write_and_replies_come_behind_it(tmp_path, clock):
    fs = FaultFs(only={"write"})
    with aofnb.open(tmp_path / "data", clock=clock, background=False, fs=fs) as store:
        a, b = Connection(store), Connection(store)
        before = fs.done
        with store.engine.turn():
            a.send("SET k 1")
            b.send("INCR k")
            assert a.replies == b.replies == []
        assert (a.replies, b.replies, fs.done) == (["OK"], [2], before + 1)


def test_a_timeout_of_a_connection_is_seen_to_by_whoever_asks(store, clock):
    a, b = Connection(store), Connection(store)
    a.send("BLMOVE q r LEFT LEFT 1")
    b.send("XREAD BLOCK 2000 STREAMS x 0")
    assert store.engine.time_out() == pytest.approx(1)
    clock.advance(1.5)
    assert store.engine.time_out() == pytest.approx(0.5)
    clock.advance(1)
    store.tick()
    assert (a.replies, b.replies) == ([None], [None])
    assert store.engine.time_out() is None


def test_a_connection_that_ended_is_not_served(store):
    a, b = Connection(store), Connection(store)
    a.send("BLPOP q 0")
    b.send("BLPOP q 0")
    store.engine.disconnect(a.client)
    store.execute("RPUSH", "q", "x", "y")
    assert (a.replies, b.replies) == ([], [[b"q", b"x"]])


def test_a_callback_that_fails_does_not_harm_the_others(store, caplog):
    def fails(reply):
        raise ValueError("cannot take it")

    other = Connection(store)
    store.engine.submit(store.engine.new_client(), [b"BLPOP", b"q", b"0"], fails)
    other.send("BLPOP q 0")
    assert store.execute("RPUSH", "q", "x", "y") == 2
    assert other.replies == [[b"q", b"y"]]
    assert "could not be handed over" in caplog.text


def test_a_callback_may_submit_the_next_command(store):
    connection = Connection(store)

    def first(reply):
        connection.replies.append(reply)
        connection.send("LLEN q")

    store.engine.submit(connection.client, [b"BLPOP", b"q", b"0"], first)
    store.execute("RPUSH", "q", "x", "y")
    assert connection.replies == [[b"q", b"x"], 1]


def test_who_was_served_in_a_torn_turn_is_told_when_the_records_are_on_disk(store, monkeypatch):
    """The records of the push and of the pop were whole in aof_buf: both stand."""
    a = Connection(store)
    a.send("BLPOP q 0")

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(store.engine, "flush", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.execute("RPUSH", "q", "x")
    monkeypatch.undo()
    assert a.replies == []
    store.execute("PING")
    assert a.replies == [[b"q", b"x"]]
    assert log(store) == ["RPUSH q x", "LPOP q"]


def test_who_was_being_served_when_a_turn_was_torn_waits_on(store, monkeypatch):
    """The record of the push was in aof_buf, that of the pop was not: so the pop is done anew."""
    a, b = Connection(store), Connection(store)
    a.send("BLPOP q 0")
    b.send("BLPOP q 0")
    feed, calls = store.engine.writer.feed, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        feed(*args)

    monkeypatch.setattr(store.engine.writer, "feed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.execute("RPUSH", "q", "x")
    monkeypatch.undo()
    store.execute("PING")
    assert (a.replies, b.replies) == ([[b"q", b"x"]], [])
    assert log(store) == ["RPUSH q x", "LPOP q"]
    assert store.execute("EXISTS", "q") == 0


@pytest.mark.parametrize(
    ("how", "outcome"), [("TIMEOUT", None), ("ERROR", "UNBLOCKED client unblocked via CLIENT UNBLOCK")]
)
def test_unblocking_ends_a_wait(store, how, outcome):
    a = Connection(store)
    a.send("BLPOP q 0")
    assert store.execute("CLIENT", "UNBLOCK", a.client.id, how) == 1
    assert [reply if reply is None else str(reply) for reply in a.replies] == [outcome]
    assert store.execute("CLIENT", "UNBLOCK", a.client.id) == 0


def test_what_nobody_waits_for_costs_nothing(store):
    engine = store.engine
    assert (engine.observe, engine.long_way) == (None, False)
    a = Connection(store)
    a.send("BLPOP q 0")
    assert engine.observe is not None
    assert not engine.long_way, "what others ask does not concern who waits"
    store.execute("RPUSH", "q", "x")
    assert (engine.observe, engine.long_way) == (None, False)


@pytest.mark.parametrize("way", ["execute", "pipeline", "socket"])
def test_who_waits_is_served_between_the_commands_of_a_batch(tmp_path, way):
    """In each short way that plain commands take, the list is empty again when the next command comes."""
    commands = [["GET", "k"], ["RPUSH", "q", "x"], ["LLEN", "q"], ["SET", "k", "v"], ["RPUSH", "q", "y"], ["LLEN", "q"]]
    with aofnb.open(tmp_path / "data", background=False) as store, store.serve() as server:
        # The short ways are for commands that were looked up before.
        store.run([["RPUSH", "r", "x"], ["LLEN", "r"]])
        a = Connection(store)
        a.send("BLPOP q 0")
        if way == "socket":
            with socket.create_connection(server.address) as client:
                client.sendall(b"".join(encode_command([word.encode() for word in argv]) for argv in commands))
                expected = b"$-1\r\n:1\r\n:0\r\n+OK\r\n:1\r\n:1\r\n"
                assert client.recv(len(expected), socket.MSG_WAITALL) == expected
        else:
            replies = store.run(commands) if way == "pipeline" else [store.execute(*argv) for argv in commands]
            assert replies == [None, 1, 0, "OK", 1, 1]
        assert a.replies == [[b"q", b"x"]]
        assert log(store) == ["RPUSH r x", "RPUSH q x", "LPOP q", "SET k v", "RPUSH q y"]
