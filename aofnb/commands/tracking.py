"""Client-side caching: who keeps copies of what it read, and is told when they are out of date.

Two ways to track: by default the table remembers who read which key, and forgets it with the first change; in
broadcast mode a client names prefixes and is told of every change under them. A key is its name, whatever the database.
Messages go to the client's push sink; under RESP2, to another client that listens to ``__redis__:invalidate``.

When: at once, but a client whose command is running behind its reply; prefixes when the turn ends, each key once. While
nobody tracks nothing here is called: see `Engine.look_around`.

Redis: tracking.c, networking.c clientCommand (7.0.15).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aofnb.commands import messages
from aofnb.commands.args import integer
from aofnb.commands.client import Argv, Client
from aofnb.commands.connection import CLIENT_FLAGS
from aofnb.commands.registry import Command, command
from aofnb.errors import ReplyError
from aofnb.resp.replies import Push

__all__ = ["Tracker", "Tracking"]

_CHANNEL = b"__redis__:invalidate"


@dataclass(slots=True, eq=False)
class Tracker:
    """How one client tracks."""

    redirect: int = 0
    bcast: bool = False
    optin: bool = False
    optout: bool = False
    noloop: bool = False
    # CLIENT CACHING was said, for the command that comes next.
    caching: bool = False
    broken: bool = False
    # In the order in which they were named.
    prefixes: list[bytes] = field(default_factory=list)


class Tracking:
    """Who tracks what.

    Parameters
    ----------
    push
        Hands a message to a client when the turn ends.
    client_by_id
        The client with a number, or None.
    rng
        Chooses what is forgotten when the table is full.
    """

    def __init__(
        self,
        push: Callable[[Client, Push], None],
        client_by_id: Callable[[int], Client | None],
        rng: random.Random,
    ) -> None:
        self._push = push
        self._client_by_id = client_by_id
        self._random = rng
        self.clients: dict[Client, Tracker] = {}
        # Key -> who read it and was not told of a change since.
        self.table: dict[bytes, dict[Client, None]] = {}
        # Prefix -> who is told of changes under it; and the keys that changed in this turn, with who changed them.
        self.prefixes: dict[bytes, dict[Client, None]] = {}
        self._changed: dict[bytes, dict[bytes, Client | None]] = {}
        # Whose command runs, behind the one whose command set it off by serving it.
        self.running: list[Client] = []
        # What they are told behind their replies; None in the place of a key is all of them.
        self._held: list[tuple[Client, bytes | None]] = []

    # --- who ---------------------------------------------------------------------------------------------

    def begin(self, client: Client, tracker: Tracker) -> None:
        """Have `client` track so from now on; prefixes that it named before stay."""
        before = self.clients.get(client)
        known = before.prefixes if before is not None else []
        self.clients[client] = tracker
        if tracker.bcast:
            for prefix in tracker.prefixes or [b""]:
                if prefix not in known:
                    known.append(prefix)
                    self.prefixes.setdefault(prefix, {})[client] = None
        tracker.prefixes = known

    def end(self, client: Client) -> None:
        """`client` tracks no more. What is remembered of it goes with the keys."""
        tracker = self.clients.pop(client, None)
        if tracker is None:
            return
        for prefix in tracker.prefixes:
            del self.prefixes[prefix][client]
            if not self.prefixes[prefix]:
                del self.prefixes[prefix]
                self._changed.pop(prefix, None)
        self._held = [(held, key) for held, key in self._held if held is not client]
        if not self.clients:
            self.table.clear()

    # --- what it read ------------------------------------------------------------------------------------

    def read(self, client: Client, command: Command, argv: Argv, most_keys: int) -> None:
        """`client` read the keys of `command`: remember them."""
        tracker = self.clients.get(client)
        if (
            tracker is None
            or tracker.bcast
            or (tracker.optin and not tracker.caching)
            or (tracker.optout and tracker.caching)
        ):
            return
        for position in command.key_positions(argv):
            self.table.setdefault(argv[position], {})[client] = None
        if most_keys and len(self.table) > most_keys:
            for key in self._random.sample(list(self.table), len(self.table) - most_keys):
                self._invalidate(key)

    # --- what changed ------------------------------------------------------------------------------------

    @property
    def current(self) -> Client | None:
        """Whose command runs."""
        return self.running[-1] if self.running else None

    def changed(self, client: Client | None, key: bytes) -> None:
        """The value at `key` changed, by a command of `client`, who may be that of a script; None: it expired or so."""
        for prefix in self.prefixes:
            if key.startswith(prefix):
                self._changed.setdefault(prefix, {}).setdefault(key, client)
        if key in self.table:
            self._invalidate(key)

    def _invalidate(self, key: bytes) -> None:
        for target in self.table.pop(key):
            tracker = self.clients.get(target)
            if tracker is not None and not tracker.bcast and not (tracker.noloop and target is self.current):
                self._tell_or_hold(target, key)

    def flushed(self) -> None:
        """All keys of a database are gone: nothing that was read holds."""
        self.table.clear()
        for target in self.clients:
            self._tell_or_hold(target, None)

    def _tell_or_hold(self, client: Client, key: bytes | None) -> None:
        if client in self.running:
            self._held.append((client, key))
        else:
            self._tell(client, None if key is None else [key])

    # --- telling -----------------------------------------------------------------------------------------

    def begin_command(self, client: Client) -> None:
        """`client` runs a command; whatever ran before has its reply by now."""
        self.tell_held()
        self.running.append(client)

    def begin_serving(self, client: Client) -> None:
        """The command of a client that waited is run, while the one that set it off has no reply yet."""
        self.running.append(client)

    def served(self, client: Client) -> None:
        """The command that was begun last is over, and its reply given."""
        self.running.pop()
        held, self._held = self._held, []
        for target, key in held:
            if target is client:
                self._tell_or_hold(client, key)
            else:
                self._held.append((target, key))

    def tell_held(self) -> None:
        """Tell what was held back: all replies are given."""
        self.running.clear()
        if self._held:
            held, self._held = self._held, []
            for client, key in held:
                self._tell(client, None if key is None else [key])

    def tell_prefixes(self) -> None:
        """Tell what changed under prefixes: the turn is over."""
        if self._changed:
            changed, self._changed = self._changed, {}
            for prefix in sorted(changed):
                by_key = dict(sorted(changed[prefix].items()))
                for client in self.prefixes.get(prefix, ()):
                    noloop = self.clients[client].noloop
                    keys = [key for key, changer in by_key.items() if not (noloop and changer is client)]
                    if keys:
                        self._tell(client, keys)

    def _tell(self, client: Client, keys: list[bytes] | None) -> None:
        """Say that copies of `keys`, or all of them, are out of date."""
        tracker = self.clients.get(client)
        if tracker is None:
            return
        target = client
        if tracker.redirect:
            found = self._client_by_id(tracker.redirect)
            if found is None:
                tracker.broken = True
                if client.resp >= 3:
                    self._push(client, Push([b"tracking-redir-broken", tracker.redirect]))
                return
            target = found
        if target.resp >= 3:
            self._push(target, Push([b"invalidate", keys]))
        elif tracker.redirect and target in target.server.subscriptions.clients:
            self._push(target, Push([b"message", _CHANNEL, keys]))


# --- commands --------------------------------------------------------------------------------------------


def _options(client: Client, words: Sequence[bytes]) -> Tracker:
    tracker = Tracker()
    rest = list(words)
    while rest:
        word = rest.pop(0).upper()
        if word == b"REDIRECT" and rest:
            if tracker.redirect:
                raise ReplyError("ERR A client can only redirect to a single other client")
            tracker.redirect = integer(rest.pop(0))
            if all(other.id != tracker.redirect for other in client.server.connected()):
                raise ReplyError("ERR The client ID you want redirect to does not exist")
        elif word == b"PREFIX" and rest:
            tracker.prefixes.append(rest.pop(0))
        elif word in (b"BCAST", b"OPTIN", b"OPTOUT", b"NOLOOP"):
            setattr(tracker, word.decode().lower(), True)
        else:
            raise ReplyError(messages.SYNTAX_ERROR)
    return tracker


def _check_modes(asked: Tracker, before: Tracker | None) -> None:
    """Refuse modes that do not go together, or not with those that hold."""
    if asked.prefixes and not asked.bcast:
        raise ReplyError("ERR PREFIX option requires BCAST mode to be enabled")
    if before is not None and before.bcast != asked.bcast:
        raise ReplyError(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling "
            "it with a different mode."
        )
    if asked.bcast and (asked.optin or asked.optout):
        raise ReplyError("ERR OPTIN and OPTOUT are not compatible with BCAST")
    if asked.optin and asked.optout:
        raise ReplyError("ERR You can't specify both OPTIN mode and OPTOUT mode")
    if before is not None and ((asked.optin and before.optout) or (asked.optout and before.optin)):
        raise ReplyError(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling "
            "it with a different mode."
        )


def _check_prefixes(asked: Sequence[bytes], known: Sequence[bytes]) -> None:
    """Refuse prefixes of which one begins with the other: their changes would be told twice."""

    def shown(prefix: bytes) -> str:
        return prefix.decode("utf-8", "surrogateescape")

    def overlap(one: bytes, other: bytes) -> bool:
        return one.startswith(other) or other.startswith(one)

    for number, prefix in enumerate(asked):
        for other in known:
            if overlap(prefix, other):
                raise ReplyError(
                    f"ERR Prefix '{shown(prefix)}' overlaps with an existing prefix '{shown(other)}'. "
                    "Prefixes for a single client must not overlap."
                )
        for other in asked[number + 1 :]:
            if overlap(prefix, other):
                raise ReplyError(
                    f"ERR Prefix '{shown(prefix)}' overlaps with another provided prefix '{shown(other)}'. "
                    "Prefixes for a single client must not overlap."
                )


@command("CLIENT TRACKING", arity=-3, flags=CLIENT_FLAGS, since="6.0.0")
def client_tracking(client: Client, switch: bytes, *words: bytes) -> str:
    """Be told when what was read changes: ON or OFF, for all that is read, what is chosen, or prefixes of keys."""
    tracking = client.server.tracking
    asked = _options(client, words)
    if switch.upper() == b"ON":
        before = tracking.clients.get(client)
        _check_modes(asked, before)
        if asked.bcast:
            _check_prefixes(asked.prefixes, before.prefixes if before is not None else ())
        tracking.begin(client, asked)
    elif switch.upper() == b"OFF":
        tracking.end(client)
    else:
        raise ReplyError(messages.SYNTAX_ERROR)
    client.server.look_around()
    return "OK"


@command("CLIENT CACHING", arity=3, flags=CLIENT_FLAGS, since="6.0.0")
def client_caching(client: Client, answer: bytes) -> str:
    """Say whether what the next command reads is tracked, where that is to be said each time."""
    tracker = client.server.tracking.clients.get(client)
    if tracker is None:
        raise ReplyError(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode "
            "enabled"
        )
    word = answer.upper()
    if word not in (b"YES", b"NO"):
        raise ReplyError(messages.SYNTAX_ERROR)
    if word == b"YES" and not tracker.optin:
        raise ReplyError("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
    if word == b"NO" and not tracker.optout:
        raise ReplyError("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
    tracker.caching = True
    return "OK"


def redirection(client: Client) -> int:
    """Whom the invalidations of `client` go to: 0 itself, -1 where it does not track."""
    tracker = client.server.tracking.clients.get(client)
    return -1 if tracker is None else tracker.redirect


@command("CLIENT GETREDIR", arity=2, flags=CLIENT_FLAGS, since="6.0.0")
def client_getredir(client: Client) -> int:
    """Return the number of the connection that is told instead of this one; 0 for none, -1 without tracking."""
    return redirection(client)


@command("CLIENT TRACKINGINFO", arity=2, flags=CLIENT_FLAGS, since="6.2.0")
def client_trackinginfo(client: Client) -> Any:
    """Describe how this connection tracks."""
    tracker = client.server.tracking.clients.get(client)
    told = tracker or Tracker()
    flags = {
        b"off": tracker is None,
        b"on": tracker is not None,
        b"bcast": told.bcast,
        b"optin": told.optin,
        b"caching-yes": told.optin and told.caching,
        b"optout": told.optout,
        b"caching-no": told.optout and told.caching,
        b"noloop": told.noloop,
        b"broken_redirect": told.broken,
    }
    return client.map_reply(
        {
            b"flags": client.set_reply([flag for flag, is_so in flags.items() if is_so]),
            b"redirect": redirection(client),
            b"prefixes": sorted(told.prefixes),
        }
    )
