"""Publish and subscribe, and MONITOR: who listens to what, and the commands for it.

A message goes to the client's push sink (`Client.sink`), which whoever made the client provides: a session by
`Session.on_push`, a server by writing to the socket. It is given at the end of the turn, in order with the replies
that are submitted (`aofnb.engine.waiting`); that is why SUBSCRIBE and its kin answer `NO_REPLY`: their answers
are messages, one for each channel. A client without a sink cannot subscribe.

Redis: pubsub.c, replication.c monitorCommand (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from aofnb.commands import messages
from aofnb.commands.client import Client
from aofnb.commands.registry import command
from aofnb.errors import ReplyError
from aofnb.resp.replies import NO_REPLY, Push
from aofnb.store.glob import matcher

__all__ = ["Subscriptions"]

Kind = Literal["channels", "patterns", "shards"]
_SUBSCRIBED: dict[Kind, bytes] = {"channels": b"subscribe", "patterns": b"psubscribe", "shards": b"ssubscribe"}
_UNSUBSCRIBED: dict[Kind, bytes] = {"channels": b"unsubscribe", "patterns": b"punsubscribe", "shards": b"sunsubscribe"}


class Subscriptions:
    """Who listens to which channels, patterns and shard channels, in the order in which they came."""

    def __init__(self, push: Callable[[Client, Push], None]) -> None:
        self._push = push
        self.channels: dict[bytes, dict[Client, None]] = {}
        self.patterns: dict[bytes, dict[Client, None]] = {}
        self.shards: dict[bytes, dict[Client, None]] = {}
        self._matchers: dict[bytes, Callable[[bytes], object]] = {}
        self.clients: dict[Client, dict[Kind, dict[bytes, None]]] = {}

    def _table(self, kind: Kind) -> dict[bytes, dict[Client, None]]:
        return {"channels": self.channels, "patterns": self.patterns, "shards": self.shards}[kind]

    def of(self, client: Client, kind: Kind) -> list[bytes]:
        """What `client` listens to, in the order in which it asked."""
        return list(self.clients.get(client, {}).get(kind, ()))

    def count(self, client: Client, kind: Kind) -> int:
        """What the server counts in the answers: channels and patterns together, shard channels by themselves."""
        own = self.clients.get(client, {})
        kinds: tuple[Kind, ...] = ("shards",) if kind == "shards" else ("channels", "patterns")
        return sum(len(own.get(each, ())) for each in kinds)

    def add(self, client: Client, kind: Kind, name: bytes) -> None:
        self._table(kind).setdefault(name, {})[client] = None
        self.clients.setdefault(client, {}).setdefault(kind, {})[name] = None
        client.limit()
        if kind == "patterns" and name not in self._matchers:
            self._matchers[name] = matcher(name)

    def remove(self, client: Client, kind: Kind, name: bytes) -> None:
        own = self.clients.get(client, {})
        if name not in own.get(kind, {}):
            return
        del own[kind][name]
        table = self._table(kind)
        del table[name][client]
        if not table[name]:
            del table[name]
            if kind == "patterns":
                del self._matchers[name]
        if not any(own.values()):
            del self.clients[client]
            client.limit()

    def forget(self, client: Client) -> None:
        """`client` listens to nothing any more, and is not told so."""
        for kind in _SUBSCRIBED:
            for name in self.of(client, kind):
                self.remove(client, kind, name)

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send `message` to who listens to `channel`, by its name first, then by patterns; to how many."""
        receivers = 0
        for client in self.channels.get(channel, ()):
            self._push(client, Push([b"message", channel, message]))
            receivers += 1
        for pattern, matches in self._matchers.items():
            if matches(channel):
                for client in self.patterns[pattern]:
                    self._push(client, Push([b"pmessage", pattern, channel, message]))
                    receivers += 1
        return receivers

    def publish_shard(self, channel: bytes, message: bytes) -> int:
        receivers = self.shards.get(channel, {})
        for client in receivers:
            self._push(client, Push([b"smessage", channel, message]))
        return len(receivers)


def _answer(client: Client, answers: list[Push]) -> Any:
    """The answers as messages; inside EXEC, as the server nests them, the first is the reply."""
    if client.in_exec:
        first, *answers = answers
    for answer in answers:
        client.server.push(client, answer)
    return list(first) if client.in_exec else NO_REPLY


def _subscribe(client: Client, kind: Kind, names: tuple[bytes, ...]) -> Any:
    if client.sink is None:
        raise ReplyError(
            "ERR nobody would be given the messages: set `on_push` of the session to a function that takes them"
        )
    subscriptions = client.server.subscriptions
    answers = []
    for name in names:
        subscriptions.add(client, kind, name)
        answers.append(Push([_SUBSCRIBED[kind], name, subscriptions.count(client, kind)]))
    return _answer(client, answers)


def _unsubscribe(client: Client, kind: Kind, names: tuple[bytes, ...]) -> Any:
    subscriptions = client.server.subscriptions
    answers = []
    listed: Sequence[bytes | None] = names or subscriptions.of(client, kind) or [None]
    for name in listed:
        if name is not None:
            subscriptions.remove(client, kind, name)
        answers.append(Push([_UNSUBSCRIBED[kind], name, subscriptions.count(client, kind)]))
    if client.sink is None:
        # It listens to nothing; whoever asks is answered all the same.
        return list(answers[-1])
    return _answer(client, answers)


_FLAGS = "loading noscript pubsub stale"


@command("SUBSCRIBE", arity=-2, flags=_FLAGS, since="2.0.0")
def subscribe(client: Client, *channels: bytes) -> Any:
    """Listen to channels."""
    return _subscribe(client, "channels", channels)


@command("UNSUBSCRIBE", arity=-1, flags=_FLAGS, since="2.0.0")
def unsubscribe(client: Client, *channels: bytes) -> Any:
    """Listen to channels no more; to none of them, if none is named."""
    return _unsubscribe(client, "channels", channels)


@command("PSUBSCRIBE", arity=-2, flags=_FLAGS, since="2.0.0")
def psubscribe(client: Client, *patterns: bytes) -> Any:
    """Listen to all channels that match patterns."""
    return _subscribe(client, "patterns", patterns)


@command("PUNSUBSCRIBE", arity=-1, flags=_FLAGS, since="2.0.0")
def punsubscribe(client: Client, *patterns: bytes) -> Any:
    """Listen to patterns no more; to none of them, if none is named."""
    return _unsubscribe(client, "patterns", patterns)


@command("SSUBSCRIBE", arity=-2, flags=_FLAGS, keys=(1, -1, 1), since="7.0.0")
def ssubscribe(client: Client, *channels: bytes) -> Any:
    """Listen to shard channels."""
    return _subscribe(client, "shards", channels)


@command("SUNSUBSCRIBE", arity=-1, flags=_FLAGS, keys=(1, -1, 1), since="7.0.0")
def sunsubscribe(client: Client, *channels: bytes) -> Any:
    """Listen to shard channels no more; to none of them, if none is named."""
    return _unsubscribe(client, "shards", channels)


_PUBLISH_FLAGS = "fast loading pubsub stale"


@command("PUBLISH", arity=3, flags=_PUBLISH_FLAGS, since="2.0.0")
def publish(client: Client, channel: bytes, message: bytes) -> int:
    """Send a message to who listens to a channel; to how many."""
    return client.server.subscriptions.publish(channel, message)


@command("SPUBLISH", arity=3, flags=_PUBLISH_FLAGS, keys=(1, 1, 1), since="7.0.0")
def spublish(client: Client, channel: bytes, message: bytes) -> int:
    """Send a message to who listens to a shard channel; to how many."""
    return client.server.subscriptions.publish_shard(channel, message)


@command("PUBSUB", arity=-2, since="2.8.0")
def pubsub(client: Client, *args: bytes) -> Any:
    """A container for commands on who listens."""
    raise messages.wrong_arity("pubsub")


def _matching(table: dict[bytes, dict[Client, None]], pattern: tuple[bytes, ...], sub: str) -> list[bytes]:
    if len(pattern) > 1:
        raise messages.MisusedSubcommandError(sub, "PUBSUB")
    return list(filter(matcher(pattern[0]), table)) if pattern else list(table)


def _numbers(client: Client, table: dict[bytes, dict[Client, None]], channels: tuple[bytes, ...]) -> Any:
    return [item for channel in channels for item in (channel, len(table.get(channel, ())))]


_PUBSUB_FLAGS = "loading pubsub stale"


@command("PUBSUB CHANNELS", arity=-2, flags=_PUBSUB_FLAGS, since="2.8.0")
def pubsub_channels(client: Client, *pattern: bytes) -> list[bytes]:
    """The channels that somebody listens to, all or those that match."""
    return _matching(client.server.subscriptions.channels, pattern, "CHANNELS")


@command("PUBSUB SHARDCHANNELS", arity=-2, flags=_PUBSUB_FLAGS, since="7.0.0")
def pubsub_shardchannels(client: Client, *pattern: bytes) -> list[bytes]:
    """The shard channels that somebody listens to, all or those that match."""
    return _matching(client.server.subscriptions.shards, pattern, "SHARDCHANNELS")


@command("PUBSUB NUMSUB", arity=-2, flags=_PUBSUB_FLAGS, since="2.8.0")
def pubsub_numsub(client: Client, *channels: bytes) -> Any:
    """How many listen to each of some channels, patterns not counted."""
    return _numbers(client, client.server.subscriptions.channels, channels)


@command("PUBSUB SHARDNUMSUB", arity=-2, flags=_PUBSUB_FLAGS, since="7.0.0")
def pubsub_shardnumsub(client: Client, *channels: bytes) -> Any:
    """How many listen to each of some shard channels."""
    return _numbers(client, client.server.subscriptions.shards, channels)


@command("PUBSUB NUMPAT", arity=2, flags=_PUBSUB_FLAGS, since="2.8.0")
def pubsub_numpat(client: Client) -> int:
    """How many patterns somebody listens to."""
    return len(client.server.subscriptions.patterns)


@command("PUBSUB HELP", arity=2, flags="loading stale", since="6.2.0")
def pubsub_help(client: Client) -> list[str]:
    """List the subcommands."""
    return messages.help_lines(
        "PUBSUB",
        "CHANNELS [<pattern>]",
        "    Return the currently active channels matching a <pattern> (default: '*').",
        "NUMPAT",
        "    Return number of subscriptions to patterns.",
        "NUMSUB [<channel> ...]",
        "    Return the number of subscribers for the specified channels, excluding",
        "    pattern subscriptions(default: no channels).",
        "SHARDCHANNELS [<pattern>]",
        "    Return the currently active shard level channels matching a <pattern> (default: '*').",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Return the number of subscribers for the specified shard level channel(s)",
    )


@command("MONITOR", arity=1, flags="admin loading noscript stale")
def monitor(client: Client) -> str:
    """Be told every command that anyone runs, administrative ones left out."""
    if client.in_exec:
        raise ReplyError("ERR MONITOR isn't allowed for DENY BLOCKING client")
    if client.sink is None:
        raise ReplyError(
            "ERR nobody would be given the commands: set `on_push` of the session to a function that takes them"
        )
    client.server.monitor(client)
    return "OK"
