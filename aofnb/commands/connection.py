"""Commands about the connection: who is there, which database, which protocol.

In process a connection is a session of the store. Who else is connected, and what can be done about it: see
`aofnb.commands.clients`; client-side caching: `aofnb.commands.tracking`.

Redis: networking.c clientCommand, helloCommand; db.c selectCommand; server.c pingCommand, echoCommand (7.0.15).
"""

from __future__ import annotations

from typing import Any

from aofnb.commands import messages
from aofnb.commands.args import Options, integer, value
from aofnb.commands.client import Client
from aofnb.commands.keys import database, database_index
from aofnb.commands.registry import command
from aofnb.commands.transactions import discard_transaction
from aofnb.errors import ReplyError
from aofnb.resp.replies import NO_REPLY

__all__ = ["CLIENT_FLAGS", "MODEL_VERSION"]

# The server whose behaviour is the model; clients decide by it what they may ask for.
MODEL_VERSION = b"7.0.15"


@command("PING", arity=-1, flags="fast")
def ping(client: Client, *message: bytes) -> Any:
    """Answer PONG, or the message given."""
    if len(message) > 1:
        raise messages.wrong_arity("ping")
    if client.resp < 3 and client in client.server.subscriptions.clients:
        return [b"pong", message[0] if message else b""]
    return message[0] if message else "PONG"


@command("ECHO", arity=2, flags="fast loading stale")
def echo(client: Client, message: bytes) -> bytes:
    """Answer the message."""
    return message


@command("SELECT", arity=2, flags="fast loading stale")
def select(client: Client, index: bytes) -> str:
    """Change the database that this session works on."""
    client.db = database(client, database_index(index))
    return "OK"


@command("QUIT", arity=-1, flags="allow_busy fast loading no_auth noscript stale")
def quit_(client: Client, *ignored: bytes) -> str:
    """Answer OK; whoever serves a socket closes it then."""
    discard_transaction(client)
    return "OK"


@command("RESET", arity=1, flags="allow_busy fast loading no_auth noscript stale", since="6.2.0")
def reset(client: Client) -> str:
    """Make the session as new: no transaction, no watched keys, no name, database 0, RESP2."""
    discard_transaction(client)
    client.server.reset(client)
    client.db = client.server.keyspace[0]
    client.name = b""
    client.no_evict = False
    client.resp = 2
    return "RESET"


HELLO_OPTIONS = Options(value("AUTH"), value("SETNAME"))


@command(
    "HELLO", arity=-1, flags="allow_busy fast loading no_auth noscript stale", options=HELLO_OPTIONS, since="6.0.0"
)
def hello(client: Client, *args: bytes) -> Any:
    """Choose the protocol, 2 or 3, say who this is, and be told what the server is."""
    version = integer(args[0], "ERR Protocol version is not an integer or out of range") if args else client.resp
    if version not in (2, 3):
        raise ReplyError("NOPROTO unsupported protocol version")
    name = client.name
    login: tuple[bytes, bytes] | None = None
    words = args[1:]
    while words:
        option = words[0].upper()
        if option == b"AUTH" and len(words) >= 3:
            login = words[1], words[2]
            words = words[3:]
        elif option == b"SETNAME" and len(words) >= 2:
            name = _client_name(words[1])
            words = words[2:]
        else:
            raise messages.error(f"ERR Syntax error in HELLO option '{messages.shown(words[0])}'")
    if login is not None:
        client.server.log_in(client, *login, b"HELLO")
    if not client.authenticated and client.server.users.password_needed:
        raise ReplyError(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> "
            "<pass> option can be used to authenticate the client and select the RESP protocol version at the same "
            "time"
        )
    client.name = name
    client.resp = version
    return client.map_reply(
        {
            b"server": b"redis",
            b"version": MODEL_VERSION,
            b"proto": version,
            b"id": client.id,
            b"mode": b"standalone",
            b"role": b"master",
            b"modules": [],
        }
    )


# --- CLIENT ----------------------------------------------------------------------------------------------

CLIENT_FLAGS = "loading noscript stale"
"""Of those that concern this connection alone; whoever looks at others needs ``admin`` too."""


@command("CLIENT", arity=-2, since="2.4.0")
def client_(client: Client, *args: bytes) -> Any:
    """A container for commands about this and other connections."""
    raise messages.wrong_arity("client")


def _client_name(name: bytes) -> bytes:
    if any(not 0x21 <= char <= 0x7E for char in name):
        raise ReplyError("ERR Client names cannot contain spaces, newlines or special characters.")
    return name


@command("CLIENT ID", arity=2, flags=CLIENT_FLAGS, since="5.0.0")
def client_id(client: Client) -> int:
    """Return the number of this connection."""
    return client.id


@command("CLIENT GETNAME", arity=2, flags=CLIENT_FLAGS, since="2.6.9")
def client_getname(client: Client) -> bytes | None:
    """Return the name of this connection."""
    return client.name or None


@command("CLIENT SETNAME", arity=3, flags=CLIENT_FLAGS, since="2.6.9")
def client_setname(client: Client, name: bytes) -> str:
    """Give this connection a name; an empty one takes it away."""
    client.name = _client_name(name)
    return "OK"


@command("CLIENT UNBLOCK", arity=-3, flags=f"admin {CLIENT_FLAGS}", since="5.0.0")
def client_unblock(client: Client, id_arg: bytes, *reason: bytes) -> int:
    """End the waiting of a client as after its timeout, or with an ERROR; 0 if it does not wait."""
    if len(reason) > 1:
        raise messages.MisusedSubcommandError("UNBLOCK", "CLIENT")
    how = reason[0].upper() if reason else b"TIMEOUT"
    if how not in (b"TIMEOUT", b"ERROR"):
        raise ReplyError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
    return int(client.server.unblock(integer(id_arg), error=how == b"ERROR"))


@command("CLIENT REPLY", arity=3, flags=CLIENT_FLAGS, since="3.2.0")
def client_reply(client: Client, mode: bytes) -> Any:
    """Ask for no replies (OFF), for none to this and the next command (SKIP), or for all (ON)."""
    word = mode.upper()
    if word == b"ON":
        client.server.silence(client, "on")
        return "OK"
    if word == b"OFF":
        client.server.silence(client, "off")
    elif word != b"SKIP":
        raise ReplyError(messages.SYNTAX_ERROR)
    elif client.reply_mode != "off":
        client.server.silence(client, "skip next")
    return NO_REPLY


@command("CLIENT HELP", arity=2, flags="loading stale", since="5.0.0")
def client_help(client: Client) -> list[str]:
    """List the subcommands."""
    return messages.help_lines(
        "CLIENT",
        "CACHING (YES|NO)",
        "    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
        "GETREDIR",
        "    Return the client ID we are redirecting to when tracking is enabled.",
        "GETNAME",
        "    Return the name of the current connection.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>",
        "    Kill connection made from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Kill connections. Options are:",
        "    * ADDR (<ip:port>|<unixsocket>:0)",
        "      Kill connections made from the specified address",
        "    * LADDR (<ip:port>|<unixsocket>:0)",
        "      Kill connections made to specified local address",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Kill connections by type.",
        "    * USER <username>",
        "      Kill connections authenticated by <username>.",
        "    * SKIPME (YES|NO)",
        "      Skip killing current connection (default: yes).",
        "LIST [options ...]",
        "    Return information about client connections. Options:",
        "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "      Return clients of specified type.",
        "UNPAUSE",
        "    Stop the current client pause, resuming traffic.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Suspend all, or just write, clients for <timeout> milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    Unblock the specified blocked client.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
        "         [OPTIN] [OPTOUT] [NOLOOP]",
        "    Control server assisted client side caching.",
        "TRACKINGINFO",
        "    Report tracking status for the current connection.",
        "NO-EVICT (ON|OFF)",
        "    Protect current client connection from eviction.",
    )
