"""Several clients who speak in turn, with us and with a real server: all that each of them is sent, in its order.

A script is lines: ``a SET k v`` has client a say something and read up to its answer, ``a! SET k v`` has it say
something that is not answered yet, or never, ``a? SET k v`` the same and waits until it is blocked, ``a.`` has it read
all that was sent to it. ``{a}`` is the number of client a, ``{a.addr}`` its address.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import Any

from support.server import Connection
from support.transcripts import split

import aofnb
from aofnb.errors import ReplyError
from aofnb.resp.replies import NO_REPLY, Push

__all__ = ["Ours", "Theirs", "play"]

CLOSED = "closed"
# Numbers of clients are such as no reply has otherwise.
FIRST = 100
_LINE = re.compile(r"(\w)([!?.]?) ?(.*)")
# What of a line of CLIENT LIST is the same on both sides.
_FIELDS = ["name", "flags", "db", "sub", "psub", "ssub", "multi", "cmd", "user", "redir", "resp"]


class _ClosedError(Exception):
    """The connection was closed, and all that was sent has been read."""


class Ours:
    """A client of a store, as a server in front of it would have it."""

    def __init__(self, store: aofnb.Store, name: str) -> None:
        self.engine = store.engine
        self.client = store.engine.new_client(trusted=False)
        while self.client.id < FIRST:
            self.client = store.engine.new_client(trusted=False)
        self.number = self.client.id
        self.address = self.client.address = f"ours:{name}"
        self.received: list[Any] = []
        self.client.sink = self.received.append
        self.client.end = self._end
        self.closed = False

    def _answered(self, item: Any) -> None:
        if item is not NO_REPLY:
            self.received.append(item)

    def _end(self) -> None:
        self.closed = True
        self.engine.outbox.push(lambda _: self.engine.disconnect(self.client), None)

    def send(self, argv: list[bytes]) -> None:
        if self.closed:
            return
        now_s = self.engine.clock.monotonic()
        self.client.heard = lambda: (argv, now_s)
        self.engine.submit(self.client, argv, self._answered)

    def block(self, argv: list[bytes]) -> None:
        self.send(argv)
        assert self.engine.waiting.waits(self.client), f"{argv} does not wait here"

    def next(self) -> Any:
        if self.received:
            item = self.received.pop(0)
            return list(item) if isinstance(item, Push) and self.client.resp < 3 else item
        if self.closed:
            raise _ClosedError
        raise AssertionError("nothing was sent")

    def close(self) -> None:
        self.engine.disconnect(self.client)


class Theirs:
    """A connection to a real server."""

    def __init__(self, server: Any, name: str) -> None:
        self.server = server
        self._connect()
        while self.number < FIRST:
            self.connection.close()
            self._connect()

    def _connect(self) -> None:
        self.connection: Connection = self.server.connect()
        self.address = self.connection.address
        # Its own CLIENT ID may be refused; and the server may need a moment to take it up.
        found: list[str] = []
        for _ in range(2000):
            lines = self.server.execute("CLIENT", "LIST").decode().splitlines()
            found = [line for line in lines if f" addr={self.address} " in line]
            if found:
                break
        assert found, "the server does not know the connection"
        self.number = int(found[0].split()[0][3:])

    def send(self, argv: list[bytes]) -> None:
        self.connection.send(*argv)

    def block(self, argv: list[bytes]) -> None:
        self.send(argv)
        for _ in range(2000):
            if re.search(rb" flags=\w*b", self.server.execute("CLIENT", "LIST", "ID", self.number)):
                return
            time.sleep(0.001)  # the server has no fake clock
        raise AssertionError(f"the server does not have {argv} wait")

    def next(self) -> Any:
        try:
            return self.connection.read()
        except ConnectionError:
            raise _ClosedError from None

    def close(self) -> None:
        self.connection.close()


def _read(peer: Any, until: Any) -> list[Any]:
    """What `peer` was sent, up to the first item that is `until`, or no push if that is None."""
    items = []
    try:
        while True:
            item = peer.next()
            if until is not None and item in (until, [b"pong", until]):
                return items
            items.append(item)
            if until is None and not isinstance(item, Push):
                return items
    except _ClosedError:
        return [*items, CLOSED]


def play(script: str, connect: Any) -> list[tuple[str, list[Any]]]:
    """Each line of `script` with what its client read; `connect` makes the client of a name."""
    peers: dict[str, Any] = {}
    outcome = []
    for line in filter(None, map(str.strip, script.splitlines())):
        match = _LINE.fullmatch(line)
        assert match, line
        who, how, words = match.groups()
        for name in sorted({who, *re.findall(r"\{(\w)", words)} - set(peers)):
            peers[name] = connect(name)
        for name, peer in peers.items():
            words = words.replace(f"{{{name}}}", str(peer.number)).replace(f"{{{name}.addr}}", peer.address)
        peer, argv = peers[who], split(words)
        items: list[Any] = []
        if how == ".":
            with suppress(OSError):
                peer.send([b"PING", b"end of it"])
            items = _read(peer, b"end of it")
        elif how == "?":
            peer.block(argv)
        else:
            peer.send(argv)
            items = [] if how == "!" else _read(peer, None)
        outcome.append((line, items))
    names = {peer.number: name for name, peer in peers.items()}
    for peer in peers.values():
        peer.close()
    return [(line, [_sorted_if_listed(line, _shown(item, names)) for item in items]) for line, items in outcome]


def _sorted_if_listed(line: str, item: Any) -> Any:
    """The commands of a category come in the order of a hash table."""
    if "ACL CAT" in line and isinstance(item, list):
        return sorted(item)
    if "ACL LOG" in line and isinstance(item, list):
        return [_without_moment(dict(zip(entry[::2], entry[1::2], strict=True))) for entry in item]
    return item


def _without_moment(entry: dict[bytes, Any]) -> dict[bytes, Any]:
    """An entry of ACL LOG without its age, and without how far an EXEC had come."""
    [client] = entry[b"client-info"]
    return {**entry, b"age-seconds": "any", b"client-info": {**client, "flags": "any", "multi": "any"}}


def _shown(item: Any, names: dict[int, str]) -> Any:
    """`item` with what may differ made the same."""
    if isinstance(item, ReplyError):
        return f"({item})"
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes):
        if re.match(rb"id=\d+ addr=", item):
            return [_described(line, names) for line in item.decode().splitlines()]
        # Rules on commands come in the order of a hash table.
        return sorted(item.split()) if re.search(rb"[-+]@all", item) else item
    if isinstance(item, dict):
        return {_shown(key, names): _shown(value, names) for key, value in item.items()}
    if isinstance(item, list | tuple):
        shown = [_shown(part, names) for part in item]
        return ("push", *shown) if isinstance(item, Push) else shown
    return names.get(item, item) if type(item) is int else item


def _described(line: str, names: dict[int, str]) -> dict[str, str]:
    fields = dict(part.split("=", 1) for part in line.split())
    shown = {name: fields[name] for name in _FIELDS}
    shown["redir"] = names.get(int(shown["redir"]), shown["redir"])
    return {"client": names.get(int(fields["id"]), "?"), **shown}
