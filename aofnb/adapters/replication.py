"""Replicas of a served store: a real redis-server follows it, and may take over.

1. PSYNC: aof_buf is written, so that the stream stands where the data does, and the data is encoded as a snapshot;
   both under the engine's lock. The replica gets the snapshot, and behind it the stream from there on;
2. the stream is, byte for byte, what goes to the log, tapped where it is written: a replica never has what the log of
   the store does not hold. A PING now and then (``repl-ping-replica-period``) says that we live;
3. replicas acknowledge once a second, and when WAIT asks; one that has its snapshot and says nothing for
   ``repl-timeout`` is let go. A connection that broke goes on from the backlog, which stays for ``repl-backlog-ttl``
   after the last replica left; then the stream ends, and the next begins with a snapshot.

The snapshot is held in memory until the replica has taken it, and other commands wait while it is made: about a
second per million keys.

Redis: replication.c masterTryPartialResynchronization, replicationFeedSlaves, replicationCron, waitCommand (7.0.15).
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aofnb.commands.blocking import Wait
from aofnb.commands.client import Client
from aofnb.config import NOTICE
from aofnb.engine import Store
from aofnb.errors import ReplyError
from aofnb.rdb.writer import base_aux, rdb_pieces
from aofnb.resp.encode import encode_command
from aofnb.resp.reader import CommandReader

if TYPE_CHECKING:
    from aofnb.adapters.connection import Connection

__all__ = ["Replica", "Replication"]

_log = logging.getLogger("aofnb")

_GETACK = encode_command([b"REPLCONF", b"GETACK", b"*"])
_PING = encode_command([b"PING"])


@dataclass
class Replica:
    """What is known of one replica. `online` once the snapshot is on its way out."""

    ip: str = ""
    port: int = 0
    following: bool = False
    online: bool = False
    acked_offset: int = 0
    acked_at_s: float = 0.0


class Replication:
    """The master's side. Everything here runs under the engine's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._engine = store.engine
        self.id = self._new_id()
        # Bytes of the stream so far, and the last of them.
        self.offset = 0
        self.backlog = bytearray()
        self.connections: dict[int, Connection] = {}
        self._replicas: dict[Connection, Replica] = {}
        self._last_ping_s = 0.0
        self._last_replica_s = 0.0
        # What WAIT waits for: an offset, and how many are to have it.
        self._waits: dict[Wait, tuple[int, int]] = {}
        self.full_syncs = 0
        self.partial_syncs = 0
        self.refused_partial_syncs = 0
        # Sets what the server counts to 0.
        self.reset_server: Callable[[], None] = lambda: None

    def _new_id(self) -> str:
        return f"{self._engine.random.getrandbits(160):040x}"

    # --- what the commands ask ---------------------------------------------------------------------------

    def _connection(self, client: Client) -> Connection:
        connection = self.connections.get(client.id)
        if connection is None:
            raise ReplyError("ERR only a connection on a socket can be a replica")
        return connection

    def replica(self, connection: Connection) -> Replica | None:
        return self._replicas.get(connection)

    def follows(self, client: Client) -> bool:
        """Whether `client` is a replica that has asked for the stream."""
        connection = self.connections.get(client.id)
        replica = None if connection is None else self._replicas.get(connection)
        return replica is not None and replica.following

    def describe(self, client: Client, *, ip: bytes | None = None, port: int | None = None) -> None:
        replica = self._replicas.setdefault(self._connection(client), Replica())
        if ip is not None:
            replica.ip = ip.decode("utf-8", "replace")
        if port is not None:
            replica.port = port

    def sync(self, client: Client, replication_id: bytes | None, offset: int) -> None:
        """Make `client` a replica: go on behind `offset` if its stream is ours and the backlog has the rest."""
        connection = self._connection(client)
        writer = self._engine.writer
        if writer is None or writer.held:
            raise ReplyError("ERR this store keeps no log, and so has no stream that a replica could follow")
        # What is in aof_buf is in the data already: it must not come again in the stream.
        writer.flush(force=True)
        writer.tap = self._feed
        replica = self._replicas.setdefault(connection, Replica())
        replica.ip = replica.ip or connection.address.rpartition(":")[0].strip("[]")
        replica.following = True
        replica.acked_at_s = self._engine.clock.monotonic()
        first = self.offset - len(self.backlog) + 1
        if replication_id == self.id.encode() and first <= offset <= self.offset + 1:
            self.partial_syncs += 1
            replica.online = True
            connection.add(b"+CONTINUE %b\r\n" % self.id.encode())
            missing = self.offset + 1 - offset
            connection.add(bytes(self.backlog[len(self.backlog) - missing :]))
            return
        self.full_syncs += 1
        self.refused_partial_syncs += replication_id not in (None, b"?")
        # The stream begins with a SELECT, whatever the log's last one was.
        writer.selected_db = -1
        pieces = [piece for _, piece in rdb_pieces(self._engine.keyspace, aux=self._aux(), config=self._store.config)]
        header = b"" if replication_id is None else b"+FULLRESYNC %b %d\r\n" % (self.id.encode(), self.offset)
        connection.send_first([header + b"$%d\r\n" % sum(map(len, pieces)), *pieces])
        replica.acked_offset = self.offset

    def _aux(self) -> list[tuple[bytes, bytes]]:
        aux = base_aux(self._engine.clock.now_ms() // 1000, 0)
        return [(name, value) for name, value in aux if name != b"aof-base"]

    def acknowledged(self, client: Client, offset: int) -> None:
        replica = self._replicas.get(self._connection(client))
        if replica is None or not replica.following:
            return
        replica.online = True
        replica.acked_offset = offset
        replica.acked_at_s = self._engine.clock.monotonic()
        self._tell_who_waits()
        self._engine.refresh_refusal()

    def good(self) -> int:
        """How many replicas were heard of within ``min-replicas-max-lag``."""
        lag_s = self._store.config.min_replicas_max_lag
        now_s = self._engine.clock.monotonic()
        return sum(replica.online and (not lag_s or now_s - replica.acked_at_s <= lag_s) for replica in self._shown())

    def tell(self, wait: Wait, offset: int, wanted: int) -> None:
        """End `wait` (of WAIT) once `wanted` replicas have the stream up to `offset`."""
        self._waits[wait] = offset, wanted

    def _tell_who_waits(self) -> None:
        waiting = self._engine.waiting
        still: dict[Wait, tuple[int, int]] = {}
        for waiter in list(waiting.waiters):
            if waiter.wait not in self._waits:
                continue
            offset, wanted = self._waits[waiter.wait]
            have = self.have(offset)
            if have >= wanted:
                waiting.settle(waiter, have)
            else:
                waiter.wait = replace(waiter.wait, timed_out=have)
                still[waiter.wait] = offset, wanted
        self._waits = still

    def have(self, offset: int) -> int:
        """How many replicas acknowledged the stream up to `offset`."""
        return sum(replica.following and replica.acked_offset >= offset for replica in self._replicas.values())

    def ask(self) -> int:
        """Have replicas acknowledge what was written so far; its offset."""
        writer = self._engine.writer
        if writer is not None:
            writer.flush(force=True)
        offset = self.offset
        if any(replica.following for replica in self._replicas.values()):
            self._append(_GETACK)
        return offset

    def role(self) -> list[Any]:
        rows = [
            [replica.ip.encode(), b"%d" % replica.port, b"%d" % replica.acked_offset]
            for replica in self._shown()
            if replica.online
        ]
        return [b"master", self.offset, rows]

    def info(self) -> dict[str, object]:
        """The fields of INFO replication."""
        shown = self._shown()
        now_s = self._engine.clock.monotonic()
        config = self._store.config
        fields: dict[str, object] = {"role": "master", "connected_slaves": len(shown)}
        if config.min_replicas_to_write and config.min_replicas_max_lag:
            fields["min_slaves_good_slaves"] = self.good()
        for number, replica in enumerate(shown):
            state = "online" if replica.online else "send_bulk"
            fields[f"slave{number}"] = (
                f"ip={replica.ip},port={replica.port},state={state},offset={replica.acked_offset},"
                f"lag={int(now_s - replica.acked_at_s)}"
            )
        return fields | {
            "master_failover_state": "no-failover",
            "master_replid": self.id,
            "master_replid2": "0" * 40,
            "master_repl_offset": self.offset,
            "second_repl_offset": -1,
            "repl_backlog_active": int(bool(self.backlog)),
            "repl_backlog_size": self._store.config.repl_backlog_size,
            "repl_backlog_first_byte_offset": self.offset - len(self.backlog) + 1 if self.backlog else 0,
            "repl_backlog_histlen": len(self.backlog),
        }

    def _shown(self) -> list[Replica]:
        return [replica for replica in self._replicas.values() if replica.following]

    # --- the stream --------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        """What was just written to the log."""
        if b"#TS:" in data:
            data = _without_annotations(data)
        self._append(data)

    def _append(self, data: bytes) -> None:
        self.offset += len(data)
        self.backlog += data
        surplus = len(self.backlog) - self._store.config.repl_backlog_size
        if surplus > 0:
            del self.backlog[:surplus]
        for connection, replica in self._replicas.items():
            if replica.following:
                connection.add(data)

    # --- the server's side -------------------------------------------------------------------------------

    def joined(self, connection: Connection) -> None:
        self.connections[connection.client.id] = connection

    def left(self, connection: Connection) -> None:
        self.connections.pop(connection.client.id, None)
        self._replicas.pop(connection, None)
        self._engine.refresh_refusal()

    def cron(self) -> None:
        """Say now and then that we live, and let go who does not."""
        now_s = self._engine.clock.monotonic()
        config = self._store.config
        if self._shown() and now_s - self._last_ping_s >= config.repl_ping_replica_period:
            self._last_ping_s = now_s
            self._append(_PING)
        for connection, replica in list(self._replicas.items()):
            if connection.sends_first:
                # As long as it takes the snapshot, it has nothing to say.
                replica.acked_at_s = now_s
            # One that loads a snapshot sends a newline now and then, which acknowledges nothing.
            heard_s = max(replica.acked_at_s, connection.last_heard_s)
            if replica.following and now_s - heard_s > config.repl_timeout:
                _log.warning("Disconnecting timedout replica (streaming sync): %s:%d", replica.ip, replica.port)
                self._engine.kill(connection.client)
        if config.min_replicas_to_write:
            self._engine.refresh_refusal()
        if self._shown():
            self._last_replica_s = now_s
        elif self.backlog:
            self._forget_stream(now_s - self._last_replica_s)

    def _forget_stream(self, alone_s: float) -> None:
        """Nobody has followed for so long: is that long enough, the stream is over."""
        ttl_s: int = self._engine.settings.server["repl-backlog-ttl"]
        if ttl_s and alone_s > ttl_s:
            if self._engine.writer is not None:
                self._engine.writer.tap = None
            self.backlog.clear()
            self.id = self._new_id()
            _log.log(NOTICE, "Replication backlog freed after %d seconds without connected replicas.", ttl_s)

    def reset_stats(self) -> None:
        """CONFIG RESETSTAT."""
        self.full_syncs = self.partial_syncs = self.refused_partial_syncs = 0
        self.reset_server()

    def end(self) -> None:
        """No replicas any more."""
        if self._engine.writer is not None:
            self._engine.writer.tap = None
        self._replicas.clear()


def _without_annotations(data: bytes) -> bytes:
    """`data`, which is whole records, without ``#TS:`` lines: a replica takes them for commands."""
    argvs = [argv for block in CommandReader(io.BytesIO(data), len(data)) for argv in block.argvs]
    return b"".join(map(encode_command, argvs))
