"""What HSCAN, SSCAN and ZSCAN share: their options, and one step through a dict.

Redis: db.c scanGenericCommand (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aofnb.commands import messages
from aofnb.commands.args import Options, integer, value
from aofnb.commands.client import Client
from aofnb.errors import ReplyError
from aofnb.store.glob import matcher

__all__ = ["ELEMENT_SCAN_OPTIONS", "scan_elements"]


def _count(arg: bytes) -> int:
    count = integer(arg)
    if count < 1:
        raise ReplyError(messages.SYNTAX_ERROR)
    return count


ELEMENT_SCAN_OPTIONS = Options(value("MATCH"), value("COUNT", _count))


def scan_elements(
    client: Client, cursor: int, words: Sequence[bytes], members: Mapping[bytes, Any], compact: Iterable[bytes] | None
) -> tuple[bytes, list[bytes]]:
    """One step: the next cursor, as its text, and the members found.

    `compact` is given for the small encodings, whose members all come at once, in that order, whatever the cursor.
    """
    options = ELEMENT_SCAN_OPTIONS.parse(words)
    if compact is None:
        following, found = client.server.keyspace.cursors.step(members, cursor, options.get("count", 10))
    else:
        following, found = 0, list(compact)
    if options.get("match", b"*") != b"*":
        found = list(filter(matcher(options["match"]), found))
    return b"%d" % following, found
