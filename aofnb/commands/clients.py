"""Who is connected, and what can be done about it: CLIENT LIST, INFO, KILL, PAUSE, UNPAUSE, NO-EVICT.

A session of the process is listed as a client, but has no connection that CLIENT KILL could end: it is left out there.
It has no descriptor (-1) and no buffers; what it said last and when is not known (NULL and -1), unless it is the one
that asks.

Redis: networking.c clientCommand, catClientInfoString, clientKillCommand, pauseClients (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aofnb.commands import messages
from aofnb.commands.args import INT64_MAX, integer
from aofnb.commands.client import Argv, Client
from aofnb.commands.connection import CLIENT_FLAGS
from aofnb.commands.registry import Command, command, find
from aofnb.commands.tracking import redirection
from aofnb.errors import ReplyError

__all__ = ["described", "memory_of", "queue_bytes"]

_CLIENT_TYPES = frozenset({b"normal", b"master", b"replica", b"slave", b"pubsub"})


# What a server keeps for each queued command, beside its arguments.
_QUEUED_BYTES = 24
# About what it takes to remember a key that is watched, a channel or a prefix.
_NAME_BYTES = 100
_NO_BUFFERS = {"fd": -1} | dict.fromkeys(("qbuf", "qbuf-free", "rbs", "rbp", "obl", "oll", "omem", "memory"), 0)


def _weight(argv: Argv) -> int:
    return sum(map(len, argv))


def queue_bytes(queue: Sequence[tuple[Command, Argv]]) -> int:
    """What commands take that MULTI has put off."""
    return sum(_weight(argv) + _QUEUED_BYTES for _, argv in queue)


def memory_of(client: Client, *, queued_bytes: int | None = None) -> int:
    """About how many bytes `client` makes us hold; `queued_bytes`, if known, are those of its queue in MULTI."""
    server = client.server
    names = len(client.watching)
    if client in client.server.subscriptions.clients:
        names += sum(len(server.subscriptions.of(client, kind)) for kind in ("channels", "patterns", "shards"))
    tracker = server.tracking.clients.get(client)
    if tracker is not None:
        names += len(tracker.prefixes)
    if queued_bytes is None:
        queued_bytes = queue_bytes(client.multi or ())
    return (0 if client.buffers is None else client.buffers()["memory"]) + queued_bytes + names * _NAME_BYTES


def described(client: Client, running: Argv | None = None) -> bytes:
    """The line of CLIENT LIST about `client`; `running` is the command that it runs now, if that is known."""
    server = client.server
    listens = server.subscriptions
    queue = client.multi
    buffers = client.buffers() if client.buffers is not None else _NO_BUFFERS
    now_s = server.clock.monotonic()
    said, said_s = client.heard() if client.heard is not None else (None, now_s + 1)
    if running is not None:
        said, said_s = running, now_s
    entry = None if said is None else find(said)
    argv_bytes = _weight(running) if running is not None else 0
    queued_bytes = queue_bytes(queue or ())
    events = "" if client.buffers is None else "rw" if buffers["omem"] else "r"
    fields: dict[str, object] = {
        "id": client.id,
        "addr": client.address,
        "laddr": client.local_address,
        "fd": buffers["fd"],
        "name": client.name.decode("utf-8", "surrogateescape"),
        "age": int(now_s - client.born_s),
        "idle": int(now_s - said_s),
        "flags": server.flags_of(client),
        "db": client.db.index,
        "sub": len(listens.of(client, "channels")),
        "psub": len(listens.of(client, "patterns")),
        "ssub": len(listens.of(client, "shards")),
        "multi": -1 if queue is None else len(queue),
        "qbuf": buffers["qbuf"],
        "qbuf-free": buffers["qbuf-free"],
        "argv-mem": argv_bytes,
        "multi-mem": queued_bytes,
        "rbs": buffers["rbs"],
        "rbp": buffers["rbp"],
        "obl": buffers["obl"],
        "oll": buffers["oll"],
        "omem": buffers["omem"],
        "tot-mem": memory_of(client, queued_bytes=queued_bytes) + argv_bytes,
        "events": events,
        "cmd": "NULL" if entry is None else entry.wire_name,
        "user": (client.username or b"default").decode("utf-8", "surrogateescape"),
        "redir": redirection(client),
        "resp": client.resp,
    }
    return " ".join(f"{name}={value}" for name, value in fields.items()).encode("utf-8", "surrogateescape") + b"\n"


def _type_of(client: Client) -> bytes:
    """Whoever listens is of a type of its own, and so is a replica; masters are no clients here."""
    replication = client.server.replication
    if replication is not None and replication.follows(client):
        return b"replica"
    return b"pubsub" if client in client.server.subscriptions.clients else b"normal"


def _known_type(arg: bytes) -> bytes:
    wanted = arg.lower()
    if wanted == b"slave":
        return b"replica"
    if wanted not in _CLIENT_TYPES:
        raise ReplyError(f"ERR Unknown client type '{arg.decode('utf-8', 'surrogateescape')}'")
    return wanted


@command("CLIENT INFO", arity=2, flags=CLIENT_FLAGS, since="6.2.0")
def client_info(client: Client) -> bytes:
    """Describe this connection in the fields of CLIENT LIST that mean something here."""
    return described(client, (b"CLIENT", b"INFO"))


@command("CLIENT LIST", arity=-2, flags=f"admin {CLIENT_FLAGS}", since="2.4.0")
def client_list(client: Client, *args: bytes) -> bytes:
    """Describe all connections, or those of a TYPE, or with some ID, a line each."""
    listed = client.server.connected()
    if len(args) == 2 and args[0].upper() == b"TYPE":
        wanted = _known_type(args[1])
        listed = [each for each in listed if wanted == _type_of(each)]
    elif len(args) > 1 and args[0].upper() == b"ID":
        ids = [integer(arg, "ERR Invalid client ID") for arg in args[1:]]
        by_id = {each.id: each for each in listed}
        listed = [by_id[each] for each in ids if each in by_id]
    elif args:
        raise ReplyError(messages.SYNTAX_ERROR)
    running = (b"CLIENT", b"LIST", *args)
    return b"".join(described(each, running if each is client else None) for each in listed)


# --- KILL ------------------------------------------------------------------------------------------------


def _by_id(_client: Client, arg: bytes) -> Callable[[Client], bool]:
    message = "ERR client-id should be greater than 0"
    wanted = integer(arg, message)
    if not 1 <= wanted <= INT64_MAX:
        raise ReplyError(message)
    return lambda each: each.id == wanted


def _by_type(_client: Client, arg: bytes) -> Callable[[Client], bool]:
    wanted = _known_type(arg)
    return lambda each: _type_of(each) == wanted


def _by_address(_client: Client, arg: bytes) -> Callable[[Client], bool]:
    return lambda each: each.address.encode() == arg


def _by_local_address(_client: Client, arg: bytes) -> Callable[[Client], bool]:
    return lambda each: each.local_address.encode() == arg


def _by_user(client: Client, arg: bytes) -> Callable[[Client], bool]:
    if arg not in client.server.users.by_name:
        raise ReplyError(f"ERR No such user '{arg.decode('utf-8', 'surrogateescape')}'")
    return lambda each: (each.username or b"default") == arg


_FILTERS = {
    b"ID": _by_id, b"TYPE": _by_type, b"ADDR": _by_address, b"LADDR": _by_local_address, b"USER": _by_user,
}  # fmt: skip


def _filters(client: Client, words: Sequence[bytes]) -> tuple[list[Callable[[Client], bool]], bool]:
    """What those who are killed have in common, and whether this client is spared."""
    filters: dict[bytes, Callable[[Client], bool]] = {}
    skip_me = True
    if len(words) % 2:
        raise ReplyError(messages.SYNTAX_ERROR)
    for name, arg in zip(words[::2], words[1::2], strict=True):
        option = name.upper()
        if option in _FILTERS:
            # Of several values of an option the last holds.
            filters[option] = _FILTERS[option](client, arg)
        elif option == b"SKIPME" and arg.upper() in (b"YES", b"NO"):
            skip_me = arg.upper() == b"YES"
        else:
            raise ReplyError(messages.SYNTAX_ERROR)
    return list(filters.values()), skip_me


@command("CLIENT KILL", arity=-3, flags=f"admin {CLIENT_FLAGS}", since="2.4.0")
def client_kill(client: Client, *words: bytes) -> int | str:
    """End connections: the one from an address, or all with an ID, TYPE, ADDR, LADDR or USER; how many."""
    if len(words) == 1:
        filters, skip_me = [_by_address(client, words[0])], False
    else:
        filters, skip_me = _filters(client, words)
    killed = 0
    for each in client.server.connected():
        if all(fits(each) for fits in filters) and not (skip_me and each is client):
            killed += client.server.kill(each)
    if len(words) > 1:
        return killed
    if not killed:
        raise ReplyError("ERR No such client")
    return "OK"


# --- PAUSE -----------------------------------------------------------------------------------------------


@command("CLIENT PAUSE", arity=-3, flags=f"admin {CLIENT_FLAGS}", since="2.9.50")
def client_pause(client: Client, timeout: bytes, *mode: bytes) -> str:
    """Put off all commands (ALL), or those that write (WRITE), for some milliseconds; nothing expires meanwhile."""
    if len(mode) > 1:
        raise messages.MisusedSubcommandError("PAUSE", "CLIENT")
    reach = mode[0].upper() if mode else b"ALL"
    if reach not in (b"ALL", b"WRITE"):
        raise ReplyError("ERR CLIENT PAUSE mode must be WRITE or ALL")
    milliseconds = integer(timeout, "ERR timeout is not an integer or out of range")
    if milliseconds < 0:
        raise ReplyError("ERR timeout is negative")
    client.server.pause(milliseconds / 1000, writes_only=reach == b"WRITE")
    return "OK"


@command("CLIENT UNPAUSE", arity=2, flags=f"admin {CLIENT_FLAGS}", since="6.2.0")
def client_unpause(client: Client) -> str:
    """End the pause: what was put off is run."""
    client.server.unpause()
    return "OK"


@command("CLIENT NO-EVICT", arity=3, flags=f"admin {CLIENT_FLAGS}", since="7.0.0")
def client_no_evict(client: Client, switch: bytes) -> str:
    """Ask that this connection is kept whatever memory clients take: see ``maxmemory-clients``."""
    word = switch.upper()
    if word not in (b"ON", b"OFF"):
        raise ReplyError(messages.SYNTAX_ERROR)
    client.no_evict = word == b"ON"
    return "OK"
