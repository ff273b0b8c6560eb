"""Users and what each of them may do: the model behind AUTH and the ACL commands.

A user has passwords and selectors, of which the first is the root. A selector allows commands, keys and channels;
something is allowed if one selector allows all of it. A rule is a word (``on``, ``+get``, ``~cache:*``, ``>secret``);
words are applied to a copy, so that a mistake changes nothing.

`Client.user` None is a session of the process: who holds the store may do everything, and nothing here is asked for it.
Passwords are kept as their SHA-256 only.

Redis: acl.c (7.0.15).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aofnb.clock import Clock
from aofnb.commands import messages
from aofnb.commands.client import Argv, Client
from aofnb.commands.key_uses import used_keys
from aofnb.commands.registry import Command, all_commands, find
from aofnb.commands.server import CATEGORIES, members
from aofnb.config import Config
from aofnb.errors import ReplyError
from aofnb.store.glob import matches

__all__ = ["AclError", "Denied", "LogEntry", "Selector", "User", "Users", "redacted"]

# How long entries of ACL LOG about the same are one, if the first is still among the latest so many.
_GROUPING_S = 60.0
_GROUPING_ENTRIES = 10

_SYNTAX = "Syntax error"
_UNKNOWN = "Unknown command or category name in ACL"
_NO_SUCH_PASSWORD = "The password you are trying to remove from the user does not exist"
_BAD_HASH = "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
_FIRST_ARG = "Allowing first-arg of a subcommand is not supported"
_ALL_ALREADY = (
    "Adding a pattern after the * pattern (or the 'all{0}' flag) is not valid and does not have any effect. Try "
    "'reset{0}' to start with an empty list of {1}"
)


class AclError(Exception):
    """A rule that cannot be, in the server's words."""


@dataclass(frozen=True, slots=True)
class Denied:
    """What a user lacks.

    Attributes
    ----------
    reason
        ``command``, ``key`` or ``channel``.
    object
        Which one.
    position
        Where it stands among the arguments.
    """

    reason: str
    object: bytes
    position: int = 0

    @property
    def text(self) -> str:
        """As an error reply."""
        return f"NOPERM this user has no permissions to {_LACKS[self.reason][0].format(_text(self.object))}"

    @property
    def verdict(self) -> str:
        """As ACL DRYRUN says it."""
        return f"This user has no permissions to {_LACKS[self.reason][1].format(_text(self.object))}"

    @property
    def in_script(self) -> str:
        return f"ERR The user executing the script can't {_LACKS[self.reason][2]}"

    @property
    def in_exec(self) -> str:
        return (
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This "
            f"command is no longer allowed for the following reason: {_LACKS[self.reason][3]}"
        )


# To its user, to DRYRUN, to a script, and in EXEC.
_LACKS = {
    "command": (
        "run the '{}' command", "run the '{}' command", "run this command or subcommand",
        "no permission to execute the command or subcommand",
    ),
    "key": (
        "access one of the keys used as arguments", "access the '{}' key",
        "access at least one of the keys mentioned in the command arguments",
        "no permission to touch the specified keys",
    ),
    "channel": (
        "access one of the channels used as arguments", "access the '{}' channel",
        "publish to the channel mentioned in the command",
        "no permission to access one of the channels used as arguments",
    ),
}  # fmt: skip
_SEVERITY = {"command": 1, "key": 2, "channel": 4}


def _text(arg: bytes) -> str:
    return arg.decode("utf-8", "surrogateescape")


# --- which keys and channels a command touches, and how --------------------------------------------------

# Which arguments are channels, and whether they are patterns that must be allowed literally.
_CHANNELS: dict[str, tuple[slice, bool]] = {
    "SUBSCRIBE": (slice(1, None), False),
    "SSUBSCRIBE": (slice(1, None), False),
    "PSUBSCRIBE": (slice(1, None), True),
    "PUBLISH": (slice(1, 2), False),
    "SPUBLISH": (slice(1, 2), False),
}


_WRITES = frozenset({"insert", "update", "delete"})


def _access(flags: Sequence[str]) -> str:
    """What right the use of a key needs: ``R``, ``W``, both, or none where it only matters whether it is there."""
    return "R" * ("access" in flags) + "W" * (not _WRITES.isdisjoint(flags))


def redacted(argv: Argv) -> Argv:
    """`argv` without the passwords in it, for all who are shown commands."""
    name = argv[0].upper()
    hidden: Iterable[int] = ()
    if name == b"AUTH":
        hidden = range(1, len(argv))
    elif name == b"ACL" and len(argv) > 2 and argv[1].upper() == b"SETUSER":
        hidden = range(2, len(argv))
    elif name == b"HELLO":
        hidden = [at + part for at, word in enumerate(argv) if word.upper() == b"AUTH" for part in (1, 2) if at >= 2]
    elif name == b"CONFIG" and len(argv) > 3 and argv[1].upper() == b"SET":
        hidden = [at + 1 for at in range(2, len(argv), 2) if argv[at].lower() == b"requirepass"]
    return [b"(redacted)" if at in hidden else arg for at, arg in enumerate(argv)] if hidden else argv


# --- selectors -------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Selector:
    """A set of permissions that hold together."""

    # Those that come with later versions too: +@all was the last word on everything.
    future: bool = False
    all_commands: bool = False
    commands: set[str] = field(default_factory=set)
    # Command -> the first arguments with which it is allowed although it is not.
    first_args: dict[str, list[bytes]] = field(default_factory=dict)
    all_keys: bool = False
    # Pattern -> R, W or both.
    keys: dict[bytes, str] = field(default_factory=dict)
    all_channels: bool = False
    channels: dict[bytes, None] = field(default_factory=dict)

    def copy(self) -> Selector:
        return Selector(
            self.future, self.all_commands, set(self.commands), {n: list(a) for n, a in self.first_args.items()},
            self.all_keys, dict(self.keys), self.all_channels, dict(self.channels),
        )  # fmt: skip

    # --- rules ---

    def apply(self, rule: bytes) -> None:
        """Apply one word; raises AclError."""
        word = rule.lower()
        if word in _PLAIN_RULES:
            _PLAIN_RULES[word](self)
        elif rule[:1] in (b"~", b"%"):
            self._add_key_pattern(rule)
        elif rule[:1] == b"&":
            self._add_channel_pattern(rule[1:])
        elif rule[:1] in (b"+", b"-") and rule[1:2] == b"@":
            self._change_category(_text(rule[2:]).lower(), allow=rule[:1] == b"+")
        elif rule[:1] == b"+":
            self._allow(rule[1:])
        elif rule[:1] == b"-":
            self._change(_known(rule[1:]), allow=False)
        else:
            raise AclError(_SYNTAX)

    def _add_key_pattern(self, rule: bytes) -> None:
        if self.all_keys:
            raise AclError(_ALL_ALREADY.format("keys", "patterns"))
        access, pattern = "RW", rule[1:]
        if rule[:1] == b"%":
            access, tilde, pattern = _access_of(rule[1:])
            if not access or (not tilde and pattern):
                raise AclError(_SYNTAX)
        _check_pattern(pattern)
        held = self.keys.get(pattern, "")
        self.keys[pattern] = "".join(letter for letter in "RW" if letter in held + access)

    def _add_channel_pattern(self, pattern: bytes) -> None:
        if self.all_channels:
            raise AclError(_ALL_ALREADY.format("channels", "channels"))
        _check_pattern(pattern)
        self.channels[pattern] = None

    def _allow(self, name: bytes) -> None:
        """``+command``, ``+command|subcommand`` or ``+command|first-argument``."""
        if b"|" not in name:
            self._change(_known(name), allow=True)
            return
        container, _, sub = name.rpartition(b"|")
        entry = _known(container)
        if entry.words > 1:
            raise AclError(_FIRST_ARG)
        if not sub:
            raise AclError(_SYNTAX)
        if entry.subcommands:
            self._change(_known(name), allow=True)
        elif sub.lower() not in self.first_args.setdefault(entry.name, []):
            self.first_args[entry.name].append(sub.lower())

    def _change(self, entry: Command, *, allow: bool) -> None:
        for each in (entry, *entry.subcommands.values()):
            self.first_args.pop(each.name, None)
            if allow:
                self.commands.add(each.name)
            else:
                self.commands.discard(each.name)
                self.all_commands = False

    def _change_category(self, name: str, *, allow: bool) -> None:
        if name not in CATEGORIES:
            raise AclError(_UNKNOWN)
        for entry in members(name):
            self._change(entry, allow=allow)

    def set_all_commands(self, allowed: bool) -> None:
        self.future = self.all_commands = allowed
        self.commands = {entry.name for entry in all_commands()} if allowed else set()
        self.first_args.clear()

    def set_all_keys(self, allowed: bool) -> None:
        self.all_keys = allowed
        self.keys.clear()

    def set_all_channels(self, allowed: bool) -> None:
        self.all_channels = allowed
        self.channels.clear()

    # --- questions ---

    def denies(self, command: Command, argv: Argv) -> Denied | None:
        """What this selector does not allow, if `argv` is to be run."""
        allowed = self.all_commands or "no_auth" in command.flags or command.name in self.commands
        if not allowed and not self._allows_first_arg(command, argv):
            return Denied("command", command.wire_name.encode())
        if not self.all_keys:
            for position, flags in used_keys(command, argv):
                if not self.allows_key(argv[position], _access(flags)):
                    return Denied("key", argv[position], position)
        if not self.all_channels and command.name in _CHANNELS:
            places, literally = _CHANNELS[command.name]
            for position in range(len(argv))[places]:
                if not self.allows_channel(argv[position], literally=literally):
                    return Denied("channel", argv[position], position)
        return None

    def _allows_first_arg(self, command: Command, argv: Argv) -> bool:
        listed = self.first_args.get(command.name)
        return listed is not None and len(argv) > command.words and argv[command.words].lower() in listed

    def allows_key(self, key: bytes, access: str) -> bool:
        return any(set(access) <= set(held) and matches(pattern, key) for pattern, held in self.keys.items())

    def allows_channel(self, channel: bytes, *, literally: bool) -> bool:
        if self.all_channels:
            return True
        return any(pattern == channel if literally else matches(pattern, channel) for pattern in self.channels)

    # --- as text ---

    @property
    def key_rules(self) -> str:
        if self.all_keys:
            return "~*"
        return " ".join(("~" if held == "RW" else f"%{held}~") + _text(pattern) for pattern, held in self.keys.items())

    @property
    def channel_rules(self) -> str:
        return "&*" if self.all_channels else " ".join(f"&{_text(pattern)}" for pattern in self.channels)

    @property
    def command_rules(self) -> str:
        """Few words that allow the same commands: categories that fit, then what differs."""
        shown = Selector()
        shown.set_all_commands(self.future)
        rules = ["+@all" if self.future else "-@all"]
        # What is still to be said; by commands, since categories overlap.
        left, add = self.copy(), not self.future
        remaining = dict.fromkeys(CATEGORIES)
        while (best := _best_category(left, remaining, add)) is not None:
            del remaining[best]
            shown._change_category(best, allow=add)
            left._change_category(best, allow=not add)
            rules.append(f"{'+' if add else '-'}@{best}")
        for entry in all_commands():
            allowed = entry.name in self.commands
            if allowed != (entry.name in shown.commands):
                rules.append(f"{'+' if allowed else '-'}{entry.wire_name}")
                shown._change(entry, allow=allowed)
            if not allowed:
                rules += [f"+{entry.wire_name}|{_text(arg)}" for arg in self.first_args.get(entry.name, ())]
        return " ".join(rules)

    @property
    def rules(self) -> str:
        """The whole selector as words that make it."""
        channels = self.channel_rules if self.all_channels else f"resetchannels {self.channel_rules}".strip()
        return " ".join(filter(None, (self.key_rules, channels, self.command_rules)))


def _best_category(selector: Selector, remaining: Iterable[str], add: bool) -> str | None:
    """Of the `remaining` categories the one that fits `selector` best; None if each says more wrong than right."""
    best, fewest_wrong, most_right = None, 1 << 31, 0
    for name in remaining:
        on = sum(entry.name in selector.commands for entry in members(name))
        off = len(members(name)) - on
        right, wrong = (on, off) if add else (off, on)
        if right > wrong and (wrong < fewest_wrong or (wrong == fewest_wrong and right > most_right)):
            best, fewest_wrong, most_right = name, wrong, right
    return best


_PLAIN_RULES: dict[bytes, Callable[[Selector], None]] = {
    b"allkeys": lambda selector: selector.set_all_keys(True),
    b"~*": lambda selector: selector.set_all_keys(True),
    b"resetkeys": lambda selector: selector.set_all_keys(False),
    b"allchannels": lambda selector: selector.set_all_channels(True),
    b"&*": lambda selector: selector.set_all_channels(True),
    b"resetchannels": lambda selector: selector.set_all_channels(False),
    b"allcommands": lambda selector: selector.set_all_commands(True),
    b"+@all": lambda selector: selector.set_all_commands(True),
    b"nocommands": lambda selector: selector.set_all_commands(False),
    b"-@all": lambda selector: selector.set_all_commands(False),
}


def _access_of(rule: bytes) -> tuple[str, bytes, bytes]:
    """Of ``R~pattern``, ``RW~pattern``, ...: what is allowed, nothing by a wrong one; the tilde; the pattern."""
    letters, tilde, pattern = rule.partition(b"~")
    access = letters.upper().decode("latin-1")
    if not set(access) <= {"R", "W"} or len(set(access)) != len(access):
        return "", tilde, pattern
    return "".join(letter for letter in "RW" if letter in access), tilde, pattern


def _check_pattern(pattern: bytes) -> None:
    if any(char in b" \t\n\v\f\r\0" for char in pattern):
        raise AclError(_SYNTAX)


def _known(name: bytes) -> Command:
    words = name.split(b"|")
    entry = find(words) if name else None
    if entry is None or len(words) != entry.words:
        raise AclError(_UNKNOWN)
    return entry


# --- users -----------------------------------------------------------------------------------------------


class User:
    """One user: may it log in, with which passwords, and what may it do."""

    __slots__ = ("enabled", "name", "nopass", "passwords", "sanitizes", "selectors", "unrestricted")

    def __init__(self, name: bytes, *, all_channels: bool) -> None:
        self.name = name
        # Derived: one selector allows everything.
        self.unrestricted = False
        self._reset(all_channels)

    def _reset(self, all_channels: bool) -> None:
        self.enabled = False
        self.nopass = False
        # SHA-256, hexadecimal, in the order in which they were given.
        self.passwords: dict[str, None] = {}
        # Whether what it gives to RESTORE is checked, where that was said. Here it always is.
        self.sanitizes: bool | None = None
        self.selectors = [Selector(all_channels=all_channels)]

    def changed(self, rules: Iterable[bytes], *, all_channels: bool) -> User:
        """Give the user that this one is after `rules`.

        Raises
        ------
        AclError
            With the rule at fault in `args`, behind the text.
        """
        new = User(self.name, all_channels=False)
        new.enabled, new.nopass, new.sanitizes = self.enabled, self.nopass, self.sanitizes
        new.passwords, new.selectors = dict(self.passwords), [selector.copy() for selector in self.selectors]
        for rule in rules:
            try:
                new._apply(rule, all_channels)
            except AclError as problem:
                raise AclError(str(problem), rule) from None
        new.unrestricted = any(s.all_commands and s.all_keys and s.all_channels for s in new.selectors)
        return new

    def _apply(self, rule: bytes, all_channels: bool) -> None:
        word = rule.lower()
        if word in (b"on", b"off"):
            self.enabled = word == b"on"
        elif word in (b"sanitize-payload", b"skip-sanitize-payload"):
            self.sanitizes = word == b"sanitize-payload"
        elif word in (b"nopass", b"resetpass"):
            self.nopass = word == b"nopass"
            self.passwords.clear()
        elif rule[:1] in (b">", b"#"):
            self.passwords[_hash_of(rule)] = None
            self.nopass = False
        elif rule[:1] in (b"<", b"!"):
            hashed = _hash_of(rule)
            if hashed not in self.passwords:
                raise AclError(_NO_SUCH_PASSWORD)
            del self.passwords[hashed]
        elif rule[:1] == b"(" and rule[-1:] == b")":
            selector = Selector(all_channels=all_channels)
            for part in rule[1:-1].split():
                selector.apply(part)
            self.selectors.append(selector)
        elif word == b"clearselectors":
            del self.selectors[1:]
        elif word == b"reset":
            self._reset(all_channels)
            self.sanitizes = True
        elif rule:
            self.selectors[0].apply(rule)

    def accepts(self, password: bytes) -> bool:
        """Whether one may log in as this user with `password`."""
        if not self.enabled:
            return False
        given = hashlib.sha256(password).hexdigest()
        # All are compared, and each in the same time, so that nothing is told by the time it takes.
        return sum(hmac.compare_digest(given, hashed) for hashed in self.passwords) > 0 or self.nopass

    def denies(self, command: Command, argv: Argv) -> Denied | None:
        """What `argv` would need and no selector gives; of several things the gravest."""
        gravest = Denied("command", command.wire_name.encode())
        for selector in self.selectors:
            denied = selector.denies(command, argv)
            if denied is None:
                return None
            before, now = _SEVERITY[gravest.reason], _SEVERITY[denied.reason]
            if now > before or (now == before and denied.position > gravest.position):
                gravest = denied
        return gravest

    def reads_all_keys(self, command: Command, argv: Argv) -> bool:
        """Whether it may read any key at all when it runs `argv`: for SORT, whose patterns name keys."""
        return any(
            (selector.all_keys or "R" in selector.keys.get(b"*", "")) and selector.denies(command, argv) is None
            for selector in self.selectors
        )

    def allows_channel(self, channel: bytes, *, literally: bool) -> bool:
        return any(selector.allows_channel(channel, literally=literally) for selector in self.selectors)

    @property
    def flags(self) -> list[str]:
        named = {
            "on": self.enabled,
            "off": not self.enabled,
            "nopass": self.nopass,
            "skip-sanitize-payload": self.sanitizes is False,
            "sanitize-payload": self.sanitizes is True,
        }
        return [name for name, is_so in named.items() if is_so]

    @property
    def rules(self) -> str:
        """All of it as words that make it again."""
        root, *others = self.selectors
        passwords = [f"#{hashed}" for hashed in self.passwords]
        return " ".join([*self.flags, *passwords, root.rules, *(f"({selector.rules})" for selector in others)])


def _hash_of(rule: bytes) -> str:
    """What is kept of a password that is given (``>``, ``<``), or given as what is kept (``#``, ``!``)."""
    if rule[:1] in (b">", b"<"):
        return hashlib.sha256(rule[1:]).hexdigest()
    if not re.fullmatch(rb"[0-9a-f]{64}", rule[1:]):
        raise AclError(_BAD_HASH)
    return rule[1:].decode()


def merged(words: Sequence[bytes]) -> list[bytes]:
    """`words` with those between parentheses made one each.

    Raises
    ------
    AclError
        With the beginning of one that is not closed.
    """
    rules: list[bytes] = []
    opened: bytes | None = None
    for word in words:
        if opened is None and word[:1] == b"(" and word[-1:] != b")":
            opened = word
        elif opened is not None:
            opened += b" " + word
            if word[-1:] == b")":
                rules.append(opened)
                opened = None
        else:
            rules.append(word)
    if opened is not None:
        raise AclError(opened.split(b" ")[0].decode("utf-8", "surrogateescape"))
    return rules


def check_name(name: bytes) -> bool:
    return not any(char in b" \t\n\v\f\r\0" for char in name)


# --- all of them -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class LogEntry:
    """Something that was denied, once or several times in a minute."""

    reason: str
    context: str
    object: bytes
    username: bytes
    client_info: bytes
    at_s: float
    count: int = 1


class Users:
    """The users of a store, and what was denied to them."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self.by_name: dict[bytes, User] = {b"default": self._unlimited()}
        # The latest first.
        self.log: list[LogEntry] = []
        if config.requirepass:
            self.set_default_password()

    def _all_channels(self) -> bool:
        return self._config.acl_pubsub_default == "allchannels"

    def _unlimited(self) -> User:
        return self.new(b"default").changed([b"+@all", b"~*", b"&*", b"on", b"nopass"], all_channels=True)

    def new(self, name: bytes) -> User:
        """A user as SETUSER makes it, not yet one of ours."""
        return User(name, all_channels=self._all_channels())

    @property
    def default(self) -> User:
        """Whom a connection belongs to before it says who it is."""
        return self.by_name[b"default"]

    @property
    def password_needed(self) -> bool:
        """Whether a new connection has to say who it is."""
        return not (self.default.nopass and self.default.enabled)

    def set(self, name: bytes, rules: Sequence[bytes]) -> None:
        """Make or change a user; raises AclError as `User.changed` does."""
        user = self.by_name.get(name) or self.new(name)
        self.by_name[name] = user.changed(rules, all_channels=self._all_channels())

    def set_default_password(self) -> None:
        """What ``requirepass`` says."""
        password = self._config.requirepass.encode("utf-8", "surrogateescape")
        self.set(b"default", [b"resetpass", b">" + password] if password else [b"nopass"])

    def authenticated(self, name: bytes, password: bytes) -> User | None:
        """The user, if that is its password."""
        user = self.by_name.get(name)
        return user if user is not None and user.accepts(password) else None

    def of(self, client: Client) -> User | None:
        """Whose rights `client` has; None: all rights."""
        return None if client.username is None else self.by_name.get(client.username, self.default)

    def denies(self, client: Client, command: Command, argv: Argv) -> Denied | None:
        """What `client` lacks to run `argv`."""
        user = self.of(client)
        return None if user is None else user.denies(command, argv)

    def note(self, client: Client, context: str, reason: str, object_: bytes, username: bytes | None = None) -> None:
        """Enter a refusal in the log of ACL LOG."""
        from aofnb.commands.clients import described  # it asks for users in its turn

        name = username if username is not None else client.username or b"default"
        now_s = self._clock.monotonic()
        entry = LogEntry(reason, context, object_, name, described(client).rstrip(b"\n"), now_s)
        for known in self.log[:_GROUPING_ENTRIES]:
            same = (known.reason, known.context, known.object, known.username) == (reason, context, object_, name)
            if same and now_s - known.at_s <= _GROUPING_S:
                entry.count = known.count + 1
                self.log.remove(known)
                break
        self.log.insert(0, entry)
        del self.log[self._config.acllog_max_len :]

    # --- as text ---

    @property
    def lines(self) -> list[str]:
        """A line for each user, as in an ACL file."""
        return [f"user {_text(name)} {user.rules}" for name, user in sorted(self.by_name.items())]

    def parsed(self, text: bytes, file: str) -> dict[bytes, User]:
        """The users that the lines of an ACL file make; `default` is among them in any case.

        Raises
        ------
        AclError
            All that is wrong, with file and line, in the server's words.
        """
        users: dict[bytes, User] = {}
        problems = ""
        for number, line in enumerate(text.split(b"\n"), 1):
            words = line.split()
            if not words or words[0][:1] == b"#":
                continue
            if words[0] != b"user" or len(words) < 2:
                problems += f"{file}:{number}: line should start with user keyword followed by the username. "
                continue
            name = words[1]
            if name in users:
                problems += f"WARNING: Duplicate user '{_text(name)}' found on line {number}. "
                continue
            user = self._unlimited() if name == b"default" else self.new(name)
            try:
                users[name] = user.changed(merged(words[2:]), all_channels=self._all_channels())
            except AclError as problem:
                if len(problem.args) < 2:
                    problems += f"{file}:{number}: Unmatched parenthesis in selector definition."
                elif problem.args[0] == _UNKNOWN:
                    rule = _text(problem.args[1])
                    problems += f"{file}:{number}: Error in applying operation '{rule}': {problem.args[0]}. "
                else:
                    problems += f"{file}:{number}: {problem.args[0]}. "
        if problems:
            raise AclError(
                f"{problems}WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
            )
        users.setdefault(b"default", self._unlimited())
        return users


def reply_of(problem: AclError) -> ReplyError:
    """A mistake in the rules of ACL SETUSER as an error reply."""
    if len(problem.args) < 2:
        return ReplyError(f"ERR Unmatched parenthesis in acl selector starting at '{problem.args[0]}'.")
    text, rule = problem.args
    return messages.error(f"ERR Error in ACL SETUSER modifier '{messages.shown(rule)}': {text}")


def selector_map(client: Client, selector: Selector) -> dict[bytes, Any]:
    """What ACL GETUSER says of a selector."""
    return {
        b"commands": selector.command_rules.encode(),
        b"keys": selector.key_rules.encode("utf-8", "surrogateescape"),
        b"channels": selector.channel_rules.encode("utf-8", "surrogateescape"),
    }
