"""CLUSTER, MODULE, FAILOVER and their kin: what a server says that has no cluster, no modules and no rivals.

They are there since clients ask with them what they talk to. Nothing can be switched on.

Redis: cluster.c, module.c moduleCommand, replication.c failoverCommand (7.0.15).
"""

from __future__ import annotations

from typing import Any

from aofnb.commands import messages
from aofnb.commands.client import Client
from aofnb.commands.registry import command
from aofnb.errors import ReplyError

__all__: list[str] = []

_NO_CLUSTER = "ERR This instance has cluster support disabled"
_NO_MODULES = (
    'ERR MODULE command not allowed. If the enable-module-command option is set to "local", you can run it from a '
    "local connection, otherwise you need to set this option in the configuration file, and then restart the server."
)


# --- cluster -----------------------------------------------------------------------------------------------------


@command("CLUSTER", arity=-2, since="3.0.0")
def cluster(client: Client, *args: bytes) -> Any:
    """A container for commands on a cluster, of which there is none here."""
    raise messages.wrong_arity("cluster")


_CHANGES = "admin no_async_loading stale"
_LOOKS = "stale"
# Arity, flags, and since when.
_CLUSTER = {
    "ADDSLOTS": (-3, _CHANGES, "3.0.0"),
    "ADDSLOTSRANGE": (-4, _CHANGES, "7.0.0"),
    "BUMPEPOCH": (2, _CHANGES, "3.0.0"),
    "COUNT-FAILURE-REPORTS": (3, "admin stale", "3.0.0"),
    "COUNTKEYSINSLOT": (3, _LOOKS, "3.0.0"),
    "DELSLOTS": (-3, _CHANGES, "3.0.0"),
    "DELSLOTSRANGE": (-4, _CHANGES, "7.0.0"),
    "FAILOVER": (-2, _CHANGES, "3.0.0"),
    "FLUSHSLOTS": (2, _CHANGES, "3.0.0"),
    "FORGET": (3, _CHANGES, "3.0.0"),
    "GETKEYSINSLOT": (4, _LOOKS, "3.0.0"),
    "HELP": (2, "loading stale", "5.0.0"),
    "INFO": (2, _LOOKS, "3.0.0"),
    "KEYSLOT": (3, _LOOKS, "3.0.0"),
    "LINKS": (2, _LOOKS, "7.0.0"),
    "MEET": (-4, _CHANGES, "3.0.0"),
    "MYID": (2, _LOOKS, "3.0.0"),
    "NODES": (2, _LOOKS, "3.0.0"),
    "REPLICAS": (3, "admin stale", "5.0.0"),
    "REPLICATE": (3, _CHANGES, "3.0.0"),
    "RESET": (-2, "admin noscript stale", "3.0.0"),
    "SAVECONFIG": (2, _CHANGES, "3.0.0"),
    "SET-CONFIG-EPOCH": (3, _CHANGES, "3.0.0"),
    "SETSLOT": (-4, _CHANGES, "3.0.0"),
    "SHARDS": (2, _LOOKS, "7.0.0"),
    "SLAVES": (3, "admin stale", "3.0.0"),
    "SLOTS": (2, _LOOKS, "3.0.0"),
}


def _refuse(client: Client, *args: bytes) -> Any:
    """Refuse, since there is no cluster."""
    raise ReplyError(_NO_CLUSTER)


for _name, (_arity, _flags, _since) in _CLUSTER.items():
    command(f"CLUSTER {_name}", arity=_arity, flags=_flags, since=_since)(_refuse)
command("READONLY", arity=1, flags="fast loading stale", since="3.0.0")(_refuse)
command("READWRITE", arity=1, flags="fast loading stale", since="3.0.0")(_refuse)
command("ASKING", arity=1, flags="fast", since="3.0.0")(_refuse)


@command("FAILOVER", arity=-1, flags="admin noscript stale", since="6.2.0")
def failover(client: Client, *args: bytes) -> Any:
    """Refuse to hand over to a replica: who owns the directory stays its owner."""
    if len(args) == 1 and args[0].upper() == b"ABORT":
        raise ReplyError("ERR No failover in progress.")
    raise ReplyError("ERR FAILOVER requires connected replicas.")


# --- modules -----------------------------------------------------------------------------------------------------


@command("MODULE", arity=-2, since="4.0.0")
def module(client: Client, *args: bytes) -> Any:
    """A container for commands on modules, of which there are none here."""
    raise messages.wrong_arity("module")


@command("MODULE LIST", arity=2, flags="admin noscript", since="4.0.0")
def module_list(client: Client) -> list[Any]:
    """List the modules: none."""
    return []


def _refuse_module(client: Client, *args: bytes) -> Any:
    """Refuse, since no module can be loaded."""
    raise ReplyError(_NO_MODULES)


for _name, _arity, _since in (("LOAD", -3, "4.0.0"), ("LOADEX", -3, "7.0.0"), ("UNLOAD", 3, "4.0.0")):
    command(f"MODULE {_name}", arity=_arity, flags="admin no_async_loading noscript", since=_since)(_refuse_module)


@command("MODULE HELP", arity=2, flags="loading stale", since="5.0.0")
def module_help(client: Client) -> list[str]:
    """List the subcommands."""
    return messages.help_lines(
        "MODULE",
        "LIST",
        "    Return a list of loaded modules.",
        "LOAD <path> [<arg> ...]",
        "    Load a module library from <path>, passing to it any optional arguments.",
        "LOADEX <path> [[CONFIG NAME VALUE] [CONFIG NAME VALUE]] [ARGS ...]",
        "    Load a module library from <path>, while passing it module configurations and optional arguments.",
        "UNLOAD <name>",
        "    Unload a module.",
    )
