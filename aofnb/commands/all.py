"""Imports every family, so that their commands are in the table."""

from aofnb.commands import (
    bitmaps,
    connection,
    expiry,
    geo,
    hashes,
    hyperloglogs,
    keys,
    lists,
    scripting,
    server,
    sets,
    sorting,
    streams,
    strings,
    transactions,
    zsets,
)

__all__ = [
    "bitmaps",
    "connection",
    "expiry",
    "geo",
    "hashes",
    "hyperloglogs",
    "keys",
    "lists",
    "scripting",
    "server",
    "sets",
    "sorting",
    "streams",
    "strings",
    "transactions",
    "zsets",
]
