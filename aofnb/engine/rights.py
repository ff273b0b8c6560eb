"""Whose rights hold for which client: logging in, and what happens to clients when users change; the ACL file.

Nothing here is asked for clients that may do everything: `Client.restricted` is derived whenever it may have changed,
and only commands of those that are restricted take the long way, where it is looked at.

Redis: acl.c ACLAuthenticateUser, ACLKillPubsubClientsIfNeeded, ACLLoadFromFile, ACLSaveToFile (7.0.15).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from aofnb.commands.acl_users import AclError, Users
from aofnb.commands.client import Argv, Client
from aofnb.commands.registry import Command
from aofnb.errors import ConfigError, ReplyError

if TYPE_CHECKING:
    from aofnb.engine.core import Engine

__all__ = ["AclFile", "Rights"]

_NO_FILE = (
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER "
    "command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store "
    "users in the Redis configuration."
)


class Rights:
    """Who is who. Everything here runs under the engine's lock."""

    def __init__(self, engine: Engine, users: Users) -> None:
        self._engine = engine
        self.users = users

    def _derive(self, client: Client) -> None:
        user = self.users.of(client)
        client.restricted = user is not None and (self._must_log_in(client) or not user.unrestricted)
        client.limit()

    def _must_log_in(self, client: Client) -> bool:
        return not client.authenticated and self.users.password_needed

    def begin(self, client: Client) -> None:
        """`client` is whom it is without saying so: everybody, or, if it is not trusted, the default user."""
        client.username = None if client.trusted else b"default"
        client.authenticated = client.trusted or not self.users.password_needed
        self._derive(client)

    def log_in(self, client: Client, name: bytes, password: bytes, by: bytes) -> None:
        """Make `client` a user; raises ReplyError if that is not its password."""
        user = self.users.authenticated(name, password)
        if user is None:
            self.users.note(client, _context(client), "auth", by, name)
            raise ReplyError("WRONGPASS invalid username-password pair or user is disabled.")
        client.username = name
        client.authenticated = True
        self._derive(client)

    def changed(self, clients: Sequence[Client]) -> None:
        """Users were changed: end the connections of those that are gone, or listen to what they may no more."""
        for client in clients:
            if client.username is not None and client.username not in self.users.by_name:
                self._engine.kill(client)
                # Also of a session that cannot be ended: it has lost its rights.
                client.username, client.authenticated = b"default", False
            elif self._listens_unallowed(client):
                self._engine.kill(client)
            self._derive(client)

    def _listens_unallowed(self, client: Client) -> bool:
        user = self.users.of(client)
        subscriptions = self._engine.subscriptions
        if user is None or user.unrestricted or client not in subscriptions.clients:
            return False
        names = [*subscriptions.of(client, "channels"), *subscriptions.of(client, "shards")]
        return not (
            all(user.allows_channel(name, literally=False) for name in names)
            and all(user.allows_channel(name, literally=True) for name in subscriptions.of(client, "patterns"))
        )

    def check(self, client: Client, command: Command, argv: Argv) -> None:
        """Refuse what a restricted `client` may not run; raises ReplyError."""
        if self._must_log_in(client) and "no_auth" not in command.flags:
            raise ReplyError("NOAUTH Authentication required.")
        denied = self.users.denies(client, command, argv)
        if denied is not None:
            self.users.note(client, _context(client), denied.reason, denied.object)
            raise ReplyError(denied.text)

    def check_again(self, client: Client, command: Command, argv: Argv) -> None:
        """The same when EXEC comes to it: rights may have changed since it was queued."""
        denied = self.users.denies(client, command, argv)
        if denied is not None:
            self.users.note(client, "multi", denied.reason, denied.object)
            raise ReplyError(denied.in_exec)


def _context(client: Client) -> str:
    return "toplevel" if client.multi is None else "multi"


class AclFile:
    """The file that ``aclfile`` names."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def _path(self) -> str:
        config = self._engine.config
        path = os.path.expanduser(config.aclfile)
        return os.path.join(config.dir, path) if path else ""

    def load(self) -> None:
        """Take the users from the file.

        Raises
        ------
        ReplyError
            There is no such setting or no such file, or something in it cannot be; then all users are as before.
        """
        if not self._path:
            raise ReplyError(_NO_FILE)
        shown = self._engine.config.aclfile
        try:
            with open(self._path, "rb") as file:
                text = file.read()
        except OSError as problem:
            raise ReplyError(f"ERR Error loading ACLs, opening file '{shown}': {problem.strerror}") from problem
        users = self._engine.users
        try:
            loaded = users.parsed(text, shown)
        except AclError as problem:
            raise ReplyError(f"ERR {problem}") from problem
        before = set(users.by_name)
        users.by_name = loaded
        for client in self._engine.connected():
            # Whoever logged in has to do so again; only the default user is what it was.
            if client.username not in (None, b"default") and client.username in before:
                self._engine.kill(client)

    def load_first(self, listed: Sequence[Sequence[str]] = ()) -> None:
        """At the start of a store; `listed` are the users that its settings file has.

        Raises
        ------
        ConfigError
            The file cannot be used, or what the settings file says of users.
        """
        if listed:
            self._take(listed)
        elif self._path:
            try:
                self.load()
            except ReplyError as problem:
                raise ConfigError(f"aclfile: {str(problem).removeprefix('ERR ')}") from problem

    def _take(self, listed: Sequence[Sequence[str]]) -> None:
        if self._path:
            raise ConfigError("users are listed in the settings file, which names an aclfile as well: keep one of them")
        # Other than in an ACL file, what is not said of the default user is not granted.
        lines = [" ".join(["user", name, *(["reset"] if name == "default" else []), *rules]) for name, *rules in listed]
        users = self._engine.users
        try:
            users.by_name = users.parsed("\n".join(lines).encode("utf-8", "surrogateescape"), "user")
        except AclError as problem:
            raise ConfigError(f"the users of the settings file: {problem}") from problem

    def lines_for_settings(self) -> list[str]:
        """The lines of users that CONFIG REWRITE writes: none where an ACL file has them."""
        return [] if self._path else self._engine.users.lines

    def save(self) -> None:
        """Write the users to the file, in one step or not at all; raises ReplyError."""
        if not self._path:
            raise ReplyError(_NO_FILE)
        temp = f"{self._path}.tmp-{os.getpid()}"
        text = "".join(f"{line}\n" for line in self._engine.users.lines)
        try:
            with open(temp, "wb") as file:
                file.write(text.encode("utf-8", "surrogateescape"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temp, self._path)
        except OSError as problem:
            with suppress(OSError):
                os.unlink(temp)
            raise ReplyError(
                "ERR There was an error trying to save the ACLs. Please check the server logs for more information"
            ) from problem
