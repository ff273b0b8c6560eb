"""LATENCY and SLOWLOG: what was slow, and when.

Redis: latency.c latencyCommand; slowlog.c slowlogCommand (7.0.15).
"""

from __future__ import annotations

from typing import Any

from aofnb.commands import messages
from aofnb.commands.args import integer
from aofnb.commands.client import Client
from aofnb.commands.registry import command, find
from aofnb.errors import ReplyError

__all__: list[str] = []

_ADMIN = "admin loading noscript stale"


@command("LATENCY", arity=-2, since="2.8.13")
def latency(client: Client, *args: bytes) -> Any:
    """A container for commands on what was slow."""
    raise messages.wrong_arity("latency")


@command("LATENCY LATEST", arity=2, flags=_ADMIN, since="2.8.13")
def latency_latest(client: Client) -> list[list[Any]]:
    """Return, per event, its name, when it was last slow, how slow in milliseconds, and the worst ever."""
    return [[event.encode(), *numbers] for event, *numbers in client.server.timing.monitor.latest()]


@command("LATENCY HISTORY", arity=3, flags=_ADMIN, since="2.8.13")
def latency_history(client: Client, event: bytes) -> list[list[int]]:
    """Return when an event was slow, and how slow in milliseconds, oldest first."""
    return [list(sample) for sample in client.server.timing.monitor.history(_text(event))]


@command("LATENCY RESET", arity=-2, flags=_ADMIN, since="2.8.13")
def latency_reset(client: Client, *events: bytes) -> int:
    """Forget the samples of some events, or of all; return of how many there were any."""
    return client.server.timing.monitor.reset(map(_text, events))


@command("LATENCY GRAPH", arity=3, flags=_ADMIN, since="2.8.13")
def latency_graph(client: Client, event: bytes) -> bytes:
    """Draw the samples of an event in characters."""
    picture = client.server.timing.monitor.graph(_text(event))
    if picture is None:
        raise ReplyError(f"ERR No samples available for event '{_text(event)}'")
    return picture.encode()


@command("LATENCY DOCTOR", arity=2, flags=_ADMIN, since="2.8.13")
def latency_doctor(client: Client) -> bytes:
    """Report in words what was slow, and what may help."""
    return client.server.timing.monitor.doctor().encode()


@command("LATENCY HISTOGRAM", arity=-2, flags=_ADMIN, since="7.0.0")
def latency_histogram(client: Client, *names: bytes) -> Any:
    """Return how many calls of each command took at most how many microseconds; counted with latency-tracking yes."""
    commands = client.server.timing.commands
    wanted = list(commands)
    if names:
        wanted = []
        for name in names:
            entry = find([name])
            if entry is not None:
                wanted += [entry.wire_name, *(sub.wire_name for sub in entry.subcommands.values())]
    found = {}
    for wire_name in wanted:
        stats = commands.get(wire_name)
        if stats is not None:
            histogram = client.map_reply(dict(stats.cumulative()))
            found[wire_name.encode()] = client.map_reply({b"calls": stats.calls, b"histogram_usec": histogram})
    return client.map_reply(found)


@command("LATENCY HELP", arity=2, flags="loading stale", since="2.8.13")
def latency_help(client: Client) -> list[str]:
    """List the subcommands."""
    return messages.help_lines(
        "LATENCY",
        "DOCTOR",
        "    Return a human readable latency analysis report.",
        "GRAPH <event>",
        "    Return an ASCII latency graph for the <event> class.",
        "HISTORY <event>",
        "    Return time-latency samples for the <event> class.",
        "LATEST",
        "    Return the latest latency samples for all events.",
        "RESET [<event> ...]",
        "    Reset latency data of one or more <event> classes.",
        "    (default: reset all data for all event classes)",
        "HISTOGRAM [COMMAND ...]",
        "    Return a cumulative distribution of latencies in the format of a histogram "
        "for the specified command names.",
        "    If no commands are specified then all histograms are replied.",
    )


@command("SLOWLOG", arity=-2, since="2.2.12")
def slowlog(client: Client, *args: bytes) -> Any:
    """A container for commands on the log of slow commands."""
    raise messages.wrong_arity("slowlog")


@command("SLOWLOG GET", arity=-2, flags="admin loading stale", since="2.2.12")
def slowlog_get(client: Client, *words: bytes) -> list[list[Any]]:
    """Return slow commands, latest first: number, time, microseconds, arguments; 10 unless told, -1 means all."""
    if len(words) > 1:
        raise messages.MisusedSubcommandError("GET", "SLOWLOG")
    count = 10
    if words:
        refusal = "ERR count should be greater than or equal to -1"
        count = integer(words[0], refusal)
        if count < -1:
            raise ReplyError(refusal)
    # Nobody here has an address or a name.
    return [
        [entry.id, entry.time_s, entry.microseconds, list(entry.argv), b"", b""]
        for entry in client.server.timing.slow_log.get(count)
    ]


@command("SLOWLOG LEN", arity=2, flags="admin loading stale", since="2.2.12")
def slowlog_len(client: Client) -> int:
    """Count the slow commands that are kept."""
    return len(client.server.timing.slow_log)


@command("SLOWLOG RESET", arity=2, flags="admin loading stale", since="2.2.12")
def slowlog_reset(client: Client) -> str:
    """Forget the slow commands."""
    client.server.timing.slow_log.reset()
    return "OK"


@command("SLOWLOG HELP", arity=2, flags="loading stale", since="6.2.0")
def slowlog_help(client: Client) -> list[str]:
    """List the subcommands."""
    return messages.help_lines(
        "SLOWLOG",
        "GET [<count>]",
        "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
        "    Entries are made of:",
        "    id, timestamp, time in microseconds, arguments array, client IP and port,",
        "    client name",
        "LEN",
        "    Return the length of the slowlog.",
        "RESET",
        "    Reset the slowlog.",
    )


def _text(arg: bytes) -> str:
    return arg.decode("utf-8", "surrogateescape")
