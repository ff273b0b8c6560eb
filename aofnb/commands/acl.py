"""AUTH and the ACL commands: who may log in, and what each user may do.

The model is in `aofnb.commands.acl_users`; who is asked, and when, is the engine's work (`Engine._check_client`).

Redis: acl.c aclCommand, authCommand (7.0.15).
"""

from __future__ import annotations

import secrets
from typing import Any

from aofnb.commands import messages
from aofnb.commands.acl_users import AclError, check_name, merged, reply_of, selector_map
from aofnb.commands.args import integer
from aofnb.commands.client import Client
from aofnb.commands.registry import command, find
from aofnb.commands.server import CATEGORIES, members
from aofnb.errors import ReplyError

__all__: list[str] = []

_FLAGS = "loading noscript stale"
_ADMIN = "admin loading noscript stale"


def _text(arg: bytes) -> str:
    return arg.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@command("AUTH", arity=-2, flags="allow_busy fast loading no_auth noscript stale")
def auth(client: Client, *words: bytes) -> str:
    """Say who this connection is: a user and its password, or only the password of the default user."""
    if len(words) > 2:
        raise ReplyError(messages.SYNTAX_ERROR)
    if len(words) == 1 and client.server.users.default.nopass:
        raise ReplyError(
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your "
            "configuration is correct?"
        )
    name, password = words if len(words) == 2 else (b"default", words[0])
    client.server.log_in(client, name, password, b"AUTH")
    return "OK"


@command("ACL", arity=-2, since="6.0.0")
def acl(client: Client, *args: bytes) -> Any:
    """A container for commands on users and their rights."""
    raise messages.wrong_arity("acl")


@command("ACL WHOAMI", arity=2, flags=_FLAGS, since="6.0.0")
def acl_whoami(client: Client) -> bytes:
    """Return the user that this connection is."""
    return client.username or b"default"


@command("ACL USERS", arity=2, flags=_ADMIN, since="6.0.0")
def acl_users(client: Client) -> list[bytes]:
    """Name all users."""
    return sorted(client.server.users.by_name)


@command("ACL LIST", arity=2, flags=_ADMIN, since="6.0.0")
def acl_list(client: Client) -> list[bytes]:
    """Describe all users, a line each, as in an ACL file."""
    return [_bytes(line) for line in client.server.users.lines]


@command("ACL GETUSER", arity=3, flags=_ADMIN, since="6.0.0")
def acl_getuser(client: Client, name: bytes) -> Any:
    """Describe a user; nil where there is none."""
    user = client.server.users.by_name.get(name)
    if user is None:
        return None
    root, *others = user.selectors
    return client.map_reply(
        {
            b"flags": client.set_reply([flag.encode() for flag in user.flags]),
            b"passwords": [hashed.encode() for hashed in user.passwords],
            **selector_map(client, root),
            b"selectors": [client.map_reply(selector_map(client, selector)) for selector in others],
        }
    )


@command("ACL SETUSER", arity=-3, flags=_ADMIN, since="6.0.0")
def acl_setuser(client: Client, name: bytes, *rules: bytes) -> str:
    """Make a user, or change it, rule by rule; if one of them cannot be, nothing changes."""
    if not check_name(name):
        raise ReplyError("ERR Usernames can't contain spaces or null characters")
    try:
        client.server.users.set(name, merged(rules))
    except AclError as problem:
        raise reply_of(problem) from None
    client.server.rights_changed()
    return "OK"


@command("ACL DELUSER", arity=-3, flags=_ADMIN, since="6.0.0")
def acl_deluser(client: Client, *names: bytes) -> int:
    """Delete users, and end their connections; how many there were."""
    if b"default" in names:
        raise ReplyError("ERR The 'default' user cannot be removed")
    users = client.server.users.by_name
    deleted = [name for name in dict.fromkeys(names) if users.pop(name, None) is not None]
    client.server.rights_changed()
    return len(deleted)


@command("ACL CAT", arity=-2, flags=_FLAGS, since="6.0.0")
def acl_cat(client: Client, *category: bytes) -> list[bytes]:
    """Name the categories of commands, or the commands in one of them."""
    if len(category) > 1:
        raise messages.MisusedSubcommandError("CAT", "ACL")
    if not category:
        return [name.encode() for name in CATEGORIES]
    name = _text(category[0]).lower()
    if name not in CATEGORIES:
        raise ReplyError(f"ERR Unknown category '{_text(category[0])}'")
    return [entry.wire_name.encode() for entry in members(name)]


@command("ACL DRYRUN", arity=-4, flags=_ADMIN, since="7.0.0")
def acl_dryrun(client: Client, name: bytes, *argv: bytes) -> str | bytes:
    """Tell whether a user could run a command, without running it."""
    user = client.server.users.by_name.get(name)
    if user is None:
        raise messages.error(f"ERR User '{messages.shown(name)}' not found")
    entry = find(argv)
    if entry is None or (entry.subcommands and len(argv) > 1):
        raise messages.error(f"ERR Command '{messages.shown(argv[0])}' not found")
    if not entry.min_argc <= len(argv) <= entry.max_argc:
        raise messages.wrong_arity(entry.wire_name)
    denied = user.denies(entry, argv)
    return "OK" if denied is None else _bytes(denied.verdict)


@command("ACL GENPASS", arity=-2, flags=_FLAGS, since="6.0.0")
def acl_genpass(client: Client, *bits: bytes) -> bytes:
    """Make up a password of so many bits, 256 unless told otherwise."""
    if len(bits) > 1:
        raise messages.MisusedSubcommandError("GENPASS", "ACL")
    wanted = integer(bits[0]) if bits else 256
    if not 0 < wanted <= 4096:
        raise ReplyError(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096"
        )
    digits = (wanted + 3) // 4
    # Not the seeded generator of the store: nobody may be able to guess it.
    return secrets.token_hex(digits)[:digits].encode()


@command("ACL LOG", arity=-2, flags=_ADMIN, since="6.0.0")
def acl_log(client: Client, *count: bytes) -> Any:
    """Tell what was denied lately, the latest first: ten entries, or so many; RESET forgets them."""
    if len(count) > 1:
        raise messages.MisusedSubcommandError("LOG", "ACL")
    users = client.server.users
    if count and count[0].upper() == b"RESET":
        users.log.clear()
        return "OK"
    wanted = max(integer(count[0]), 0) if count else 10
    now_s = client.server.clock.monotonic()
    return [
        client.map_reply(
            {
                b"count": entry.count,
                b"reason": entry.reason.encode(),
                b"context": entry.context.encode(),
                b"object": entry.object,
                b"username": entry.username,
                b"age-seconds": client.double_reply(round(now_s - entry.at_s, 3)),
                b"client-info": entry.client_info,
            }
        )
        for entry in users.log[:wanted]
    ]


@command("ACL LOAD", arity=2, flags=_ADMIN, since="6.0.0")
def acl_load(client: Client) -> str:
    """Read the users anew from the ACL file; if a line of it cannot be, nothing changes."""
    client.server.acl_file.load()
    client.server.rights_changed()
    return "OK"


@command("ACL SAVE", arity=2, flags=_ADMIN, since="6.0.0")
def acl_save(client: Client) -> str:
    """Write the users to the ACL file."""
    client.server.acl_file.save()
    return "OK"


@command("ACL HELP", arity=2, flags="loading stale", since="6.0.0")
def acl_help(client: Client) -> list[str]:
    """List the subcommands."""
    return messages.help_lines(
        "ACL",
        "CAT [<category>]",
        "    List all commands that belong to <category>, or all command categories",
        "    when no category is specified.",
        "DELUSER <username> [<username> ...]",
        "    Delete a list of users.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Returns whether the user can execute the given command without executing the command.",
        "GETUSER <username>",
        "    Get the user's details.",
        "GENPASS [<bits>]",
        "    Generate a secure 256-bit user password. The optional `bits` argument can",
        "    be used to specify a different size.",
        "LIST",
        "    Show users details in config file format.",
        "LOAD",
        "    Reload users from the ACL file.",
        "LOG [<count> | RESET]",
        "    Show the ACL log entries.",
        "SAVE",
        "    Save the current config to the ACL file.",
        "SETUSER <username> <attribute> [<attribute> ...]",
        "    Create or modify a user with the specified attributes.",
        "USERS",
        "    List all the registered usernames.",
        "WHOAMI",
        "    Return the current connection username.",
    )
