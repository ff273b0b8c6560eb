"""May I show this log to a stranger? What looks like personal data in it (`find_pii`), and the log without it
(`anonymize`).

Rules of this file: a value is printed only where somebody asked for it; what stays in an anonymous log is structure:
commands, option words, numbers that commands work with (scores, deadlines, increments, IDs of streams), sizes, order,
transactions and annotations. Scripts stay as they are, since a changed one would not run: the report counts them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from aofnb.commands import registry
from aofnb.engine.store import open_store
from aofnb.errors import ReplyError
from aofnb.forensics.damage import survey
from aofnb.forensics.log import Log
from aofnb.forensics.newlog import Written, checked_dest, write_log
from aofnb.forensics.pseudonym import Pseudonyms
from aofnb.forensics.reading import Progress, Report, teller
from aofnb.forensics.roles import key_roles, template
from aofnb.forensics.rows import tables
from aofnb.store.snapshot import commands_of_key

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PII_KINDS", "anonymize", "find_pii", "hits"]

# --- finding ---------------------------------------------------------------------------------------------

PII_KINDS: dict[str, re.Pattern[bytes]] = {
    # What is in front is no part of it, so that a long run of letters is looked at once, not from each of them. It is
    # looked at behind the first character: `re` leaps to where that can be.
    "email": re.compile(rb"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"),
    "jwt": re.compile(rb"eyJ[A-Za-z0-9_-]{5,4096}\.eyJ[A-Za-z0-9_-]{5,4096}\.[A-Za-z0-9_-]{5,4096}"),
    "card": re.compile(rb"[3-6](?<![0-9.-].)[0-9]{3}(?:[ -]?[0-9]{4}){2}[ -]?[0-9]{1,7}(?![0-9])", re.DOTALL),
    "phone": re.compile(rb"\+(?<![0-9A-Za-z+].)[1-9](?:[ ().-]{0,2}[0-9]){7,13}(?![0-9])", re.DOTALL),
    "ip": re.compile(rb"[0-9](?<![0-9.].)[0-9]{0,2}\.(?:[0-9]{1,3}\.){2}[0-9]{1,3}(?![0-9.])", re.DOTALL),
}
# Where what is in the middle is rarer than how it begins: that, and what can be before it, of which a match has all.
_MIDDLES: dict[str, tuple[re.Pattern[bytes], bytes, int]] = {
    "email": (re.compile(rb"@"), b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-", 64),
    "ip": (re.compile(rb"\.(?<=[0-9]\.)[0-9]{1,3}\."), b"0123456789", 3),
}


def hits(kind: str, data: bytes) -> Iterator[re.Match[bytes]]:
    """What looks like `kind`, as `finditer` of its pattern gives it."""
    pattern = PII_KINDS[kind]
    if kind not in _MIDDLES:
        yield from pattern.finditer(data)
        return
    middle, before, most = _MIDDLES[kind]
    end = 0
    for found in middle.finditer(data):
        head = data[max(found.start() - most - 1, 0) : found.start()]
        begin = found.start() - len(head) + len(head.rstrip(before))
        hit = pattern.match(data, begin) if begin >= end else None
        if hit is not None:
            yield hit
            end = hit.end()


def find_pii(log: Log, kinds: Iterable[str], show: bool, progress: Progress) -> pd.DataFrame:
    """See `Log.find_pii`."""
    import pandas as pd

    chosen = [kinds] if isinstance(kinds, str) else list(kinds)
    unknown = [kind for kind in chosen if kind not in PII_KINDS]
    if unknown:
        raise ValueError(f"no kind {unknown[0]!r} of personal data: there are {', '.join(PII_KINDS)}")
    found: dict[tuple[str, str, str], list[Any]] = {}
    seq = 0
    tell = teller(progress)
    done, total = 0, sum(part.size for part in log.parts)
    for part in log.parts:
        with part.open() as file:
            for table in tables(part, file, 0, log.tolerant, Report()):
                for kind in chosen:
                    _search(kind, table, seq, found)
                seq += len(table)
                tell(done + file.stored_bytes_read, total)
        done += part.size
        tell(done, total)
    rows = [
        (
            kind,
            shape,
            cmd,
            count,
            len(commands),
            first,
            example.decode("utf-8", "backslashreplace") if show else _masked(example),
        )
        for (kind, shape, cmd), (count, commands, first, example) in found.items()
    ]
    frame = pd.DataFrame(rows, columns=["kind", "template", "cmd", "count", "commands", "first", "example"])
    return frame.sort_values(["count", "kind", "template"], ascending=[False, True, True], ignore_index=True)


def _search(kind: str, table: Any, first: int, found: dict[tuple[str, str, str], list[Any]]) -> None:
    starts = None
    for hit in hits(kind, table.data):
        if starts is None:
            starts = table.ends[table.first] + 2  # of the line with the length of the name
        row = int(starts.searchsorted(hit.start(), "right")) - 1
        if row < 0 or row >= len(table) or not _is_one(kind, hit[0]):
            continue
        argv = table.argv(row) if table.argc[row] <= 64 else [table.arg(row, 0), table.arg(row, 1)]
        keys = [key for key, _ in key_roles(argv)] or argv[1:2]
        shape = template(_without(keys[0])) if keys else ""
        name = argv[0].decode("utf-8", "backslashreplace").upper()
        entry = found.setdefault((kind, shape, name), [0, set(), first + row, hit[0]])
        entry[0] += 1
        entry[1].add(first + row)


def _without(key: bytes) -> str:
    """A key as text, with what looks personal named instead of said."""
    for kind, pattern in PII_KINDS.items():
        key = pattern.sub(b"{%s}" % kind.encode(), key)
    return key.decode("utf-8", "backslashreplace")


def _is_one(kind: str, text: bytes) -> bool:
    if kind == "ip":
        return all(int(octet) <= 255 for octet in text.split(b"."))
    if kind == "card":
        digits = [int(chr(char)) for char in text if 48 <= char <= 57]
        doubled = [digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(digits[::-1])]
        return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0
    return True


def _masked(text: bytes) -> str:
    """The shape of a value: its first character, and how long it is.

    >>> _masked(b"alice@example.com")
    'a****@*******.***'
    """
    shown = text[:40].decode("ascii", "replace")
    return shown[0] + re.sub(r"[0-9A-Za-z_]", "*", shown[1:]) + ("..." if len(text) > len(shown) else "")


# --- hiding ----------------------------------------------------------------------------------------------

_NUMBER = re.compile(rb"[+(]?-?(?:[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|inf)|[0-9]+-[0-9]+|\(?[+-]inf", re.IGNORECASE)
# Option words that commands of a log may have; data of that name stays, too.
_WORDS = frozenset(
    (
        b"EX PX EXAT PXAT NX XX GT LT CH INCR KEEPTTL GET PERSIST REPLACE ABSTTL IDLETIME FREQ BEFORE AFTER LEFT "
        b"RIGHT MAXLEN MINID NOMKSTREAM LIMIT WEIGHTS AGGREGATE SUM MIN MAX AND OR XOR NOT STORE DB COPY ASC DESC "
        b"ALPHA BY BYSCORE BYLEX REV WITHSCORES ENTRIESREAD MKSTREAM FORCE JUSTID IDLE TIME RETRYCOUNT LASTID "
        b"ENTRIESADDED MAXDELETEDID SYNC ASYNC OVERFLOW WRAP SAT FAIL INCRBY "
    ).split()
)
_SYMBOLS = frozenset((b"=", b"~", b"*", b"$", b"-", b"+", b">", b"0-0", b""))
# Places of arguments that are somebody's data whatever they look like: (first, step) from the name on.
_DATA: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("SET", "SETNX", "GETSET", "APPEND"), (2, 1 << 30)),
    **dict.fromkeys(("SETEX", "PSETEX", "SETRANGE", "LSET", "LREM", "SMOVE", "ZINCRBY"), (3, 1 << 30)),
    **dict.fromkeys(("HINCRBY", "HINCRBYFLOAT"), (2, 1 << 30)),
    **dict.fromkeys(("MSET", "MSETNX"), (2, 2)),
    **dict.fromkeys(("LPUSH", "RPUSH", "LPUSHX", "RPUSHX", "SADD", "SREM", "HDEL", "ZREM", "PFADD"), (2, 1)),
    **dict.fromkeys(("HSET", "HMSET", "HSETNX"), (2, 1)),
    **dict.fromkeys(("LINSERT",), (3, 1)),
    **dict.fromkeys(("PUBLISH", "SPUBLISH"), (1, 1)),
}
_HLL = b"HYLL"
# Of commands of so many arguments at most, and of so many of them, it is remembered where data is.
_FEW, _PLANS = 64, 4096
_SCRIPTS = {"EVAL": 1, "EVALSHA": 1, "FCALL": 1, "SCRIPT LOAD": 2, "FUNCTION LOAD": 2}
_FUNCTIONS = ("FUNCTION DELETE", "FUNCTION RESTORE", "FUNCTION FLUSH", "SELECT", "SWAPDB")


class _Disguise:
    """Commands for commands."""

    def __init__(self, names: Pseudonyms) -> None:
        self._of = names.of
        self.scripts = 0
        # Of commands whose number of arguments tells where data is: the places of it, and of what may be.
        self._plans: dict[tuple[bytes, int], tuple[list[int], list[int]]] = {}

    def __call__(self, argv: list[bytes]) -> list[bytes]:
        plan = self._plans.get((argv[0], len(argv)))
        if plan is None:
            command = registry.find(argv)
            if command is None:
                # Nobody knows which words matter here: all but the name may be data.
                return [argv[0], *map(self._of, argv[1:])]
            if command.name in _FUNCTIONS:
                return argv
            if command.name == "RESTORE":
                return self._restore(argv)
            plan = self._plan(command, argv)
        hidden, others = plan
        made = argv.copy()
        for place in hidden:
            arg = argv[place]
            # The registers of a HyperLogLog say nothing, and others would be none.
            if not arg.startswith(_HLL):
                made[place] = self._of(arg)
        for place in others:
            if not _is_syntax(argv[place]):
                made[place] = self._of(argv[place])
        return made

    def _plan(self, command: registry.Command, argv: list[bytes]) -> tuple[list[int], list[int]]:
        """Where in `argv` data is, and where it may be if it does not look like an option or a number."""
        name, start = command.name, command.words
        hidden = {*_keys(command, argv), *_data(name, argv)}
        if name in _SCRIPTS:
            self.scripts += 1
            start = _SCRIPTS[name] + 1
        plan = sorted(hidden), [place for place in range(start, len(argv)) if place not in hidden]
        is_fixed = command.words == 1 and not command.subcommands and not callable(command.keys)
        if is_fixed and name not in ("ZADD", "XADD") and len(argv) <= _FEW and len(self._plans) < _PLANS:
            self._plans[argv[0], len(argv)] = plan
        return plan

    def _restore(self, argv: list[bytes]) -> list[bytes]:
        """RESTORE of the disguised value: its payload is taken apart, said as commands, and put together again."""
        key, payload = b"k", argv[3] if len(argv) > 3 else b""
        with open_store(None, background=False, progress=False) as store:
            session, data = store.session(), store.engine.keyspace[0]
            try:
                session.execute("RESTORE", key, 0, payload)
            except ReplyError as problem:
                raise ValueError(
                    f"the value of {argv[1]!r} in a RESTORE cannot be read, so not disguised: {problem}"
                ) from None
            value = data.peek(key)
            rebuilt = [] if value is None else [self(list(each)) for each in commands_of_key(key, value)]
            session.execute("FLUSHALL")
            for each in rebuilt:
                session.execute(*each)
            made = session.execute("DUMP", self._of(key))
        return [argv[0], self._of(argv[1]), argv[2], made or payload, *argv[4:]]


def _keys(command: registry.Command, argv: Sequence[bytes]) -> list[int]:
    try:
        return [place for place in command.key_positions(argv) if 0 < place < len(argv)]
    except (ReplyError, IndexError, ValueError):
        return []


def _data(name: str, argv: Sequence[bytes]) -> Iterable[int]:
    if name == "ZADD":
        score = next((place for place in range(2, len(argv)) if _NUMBER.fullmatch(argv[place])), len(argv))
        return range(score + 1, len(argv), 2)
    if name == "XADD":
        return _stream_fields(argv)
    if name in _DATA:
        first, step = _DATA[name]
        return range(first, len(argv), step)
    return ()


def _stream_fields(argv: Sequence[bytes]) -> Iterable[int]:
    """Places of the fields and values of XADD, behind the ID."""
    place = 2
    while place < len(argv):
        word = argv[place].upper()
        if word == b"NOMKSTREAM":
            place += 1
        elif word in (b"MAXLEN", b"MINID"):
            place += 3 if argv[place + 1 : place + 2] and argv[place + 1] in (b"=", b"~") else 2
        elif word == b"LIMIT":
            place += 2
        else:
            break
    return range(place + 1, len(argv))


def _is_syntax(arg: bytes) -> bool:
    return arg.upper() in _WORDS or arg in _SYMBOLS or (len(arg) <= 40 and _NUMBER.fullmatch(arg) is not None)


def anonymize(
    log: Log, dest: str | PathLike[str], *, secret: bytes, plain: Sequence[str], verify: bool, progress: Progress = None
) -> Written:
    """See `Log.anonymize`."""
    disguise = _Disguise(Pseudonyms(secret, tuple(plain)))
    change: Callable[[list[bytes]], list[bytes]] = disguise
    path = checked_dest(log, dest)
    about: dict[str, Any] = {"made_by": "aofnb anonymize", "plain": list(plain)}
    written = write_log(
        log,
        path,
        survey(log, progress, log.tolerant),
        change=change,
        on_bad=log.tolerant,
        about=about,
        verify=verify,
    )
    if disguise.scripts:
        written.problems.append(f"{disguise.scripts} scripts stand in it as they were: read them before you show it")
    return written
