"""May I show this log to a stranger? What looks like personal data in it (`find_pii`), and the log without it
(`anonymize`).

Rules of this file: a value is printed only where somebody asked for it; what stays in an anonymous log is structure:
commands, option words, numbers that commands work with (scores, deadlines, increments, IDs of streams), sizes, order,
transactions and annotations. Scripts stay as they are, since a changed one would not run: the report counts them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aofnb.commands import registry
from aofnb.engine.store import open_store
from aofnb.errors import ReplyError
from aofnb.forensics.damage import PartSurvey
from aofnb.forensics.log import Log
from aofnb.forensics.newlog import Written, checked_dest, write_log
from aofnb.forensics.pseudonym import Pseudonyms
from aofnb.forensics.reading import Progress, Report, teller
from aofnb.forensics.roles import key_roles, template
from aofnb.forensics.rows import tables
from aofnb.forensics.scan import Records
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
# Digits and what may be between those of a card as the same byte, of which a card has 13 at least. For a pattern that
# begins with so many letters `re` looks several times as fast as for their number.
_OF_CARDS = bytes(48 if byte in b"0123456789 -" else 0 for byte in range(256))
_CARDS = re.compile(b"0" * 12 + b"0+")


def hits(kind: str, data: bytes) -> Iterator[re.Match[bytes]]:
    """What looks like `kind`, as `finditer` of its pattern gives it."""
    pattern = PII_KINDS[kind]
    if kind == "card":
        # Where so many of its bytes stand together is found at once. Only there, or behind a blank, a card may begin.
        for found in _CARDS.finditer(data.translate(_OF_CARDS)):
            begin, end = found.span()
            if data[begin] in b"3456" or data.find(b" ", begin, end) >= 0:
                # It sees what is before that, too.
                yield from pattern.finditer(data, begin, end)
        return
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
_NUMBER_BYTES = 40
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
_SCRIPTS = {"EVAL": 1, "EVALSHA": 1, "FCALL": 1, "SCRIPT LOAD": 2, "FUNCTION LOAD": 2}
_FUNCTIONS = ("FUNCTION DELETE", "FUNCTION RESTORE", "FUNCTION FLUSH", "SELECT", "SWAPDB")
# Options in front of data, and how many arguments each takes; behind one that takes two may be = or ~.
_OPTIONS: dict[bytes, dict[bytes, int]] = {
    b"ZADD": dict.fromkeys((b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"), 1),
    b"XADD": {b"NOMKSTREAM": 1, b"MAXLEN": 2, b"MINID": 2, b"LIMIT": 2},
}
# No command has more options in order. Of commands of so many arguments at most, and of so many kinds of them, it is
# remembered where data is.
_FEW, _PLANS = 64, 4096

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_NOWHERE = np.zeros(0, np.int64)
# Places in a command that are data, and those that are if they do not look like an option or a number.
Plan = tuple[Ints, Ints]


class _Lines:
    """The lines of a table as Arrow has them; no copy."""

    def __init__(self, found: Records) -> None:
        self.begins = np.empty_like(found.ends)
        self.begins[:1], self.begins[1:] = found.begin, found.ends[:-1] + 2
        # A line, and what is between it and the next, in turn.
        bounds = np.empty(2 * len(found.ends), np.int64)
        bounds[::2], bounds[1::2] = self.begins, found.ends
        buffers = [None, pa.py_buffer(bounds), pa.py_buffer(found.data)]
        self._array = pa.Array.from_buffers(pa.large_binary(), max(len(bounds) - 1, 0), buffers)

    def of(self, lines: Ints) -> pa.Array:
        """The text of these lines."""
        return self._array.take(pa.array(2 * lines))


class _Disguise:
    """Tables of commands for others of as many rows."""

    def __init__(self, names: Pseudonyms) -> None:
        self._names = names
        self.scripts = 0
        # By name, how many arguments there are, and which is the first behind the options. None where these do not
        # tell.
        self._plans: dict[tuple[bytes, int, int], Plan | None] = {}

    def __call__(self, found: Records) -> Records:
        lines = _Lines(found)
        hidden, perhaps = np.zeros(len(found.ends), bool), np.zeros(len(found.ends), bool)
        restores: list[int] = []
        for rows, (places, others) in self._plans_of(found, lines, restores):
            names = found.first[rows, None] + 2
            hidden[names + 2 * places] = True
            perhaps[names + 2 * others] = True
        data = np.frombuffer(found.data, np.uint8)
        # The registers of a HyperLogLog say nothing, and others would be none.
        chosen = np.flatnonzero(hidden)
        chosen = chosen[data[lines.begins[chosen]] == _HLL[0]]
        hidden[chosen] = pc.invert(pc.starts_with(lines.of(chosen), _HLL)).to_numpy(zero_copy_only=False)
        chosen = np.flatnonzero(perhaps)
        words = lines.of(chosen).dictionary_encode()
        hidden[chosen] = _are_data(words.dictionary)[words.indices.to_numpy()]

        chosen = np.flatnonzero(hidden)
        changed = replace(found, data=self._names.hidden(found.data, lines.begins[chosen], found.ends[chosen]))
        if not restores:
            return changed
        argvs = changed.argvs(len(changed))
        for row in restores:
            argvs[row][3] = self._payload(*found.argv(row)[1:4])
        return Records.of(argvs, found.offset, found.nbytes, ts=found.ts)

    def _plans_of(self, found: Records, lines: _Lines, restores: list[int]) -> Iterator[tuple[Ints, Plan]]:
        """Rows, and where in each of them data is. Those of RESTORE are told to `restores`, too."""
        names = lines.of(found.first + 2).dictionary_encode()
        codes, argc = names.indices.to_numpy().astype(np.int64), found.argc
        spelled = names.dictionary.to_pylist()
        behind = np.zeros(len(found), np.int64)
        for code, name in enumerate(spelled):
            if (options := _OPTIONS.get(name.upper())) is not None:
                rows = np.flatnonzero(codes == code)
                behind[rows] = _behind(options, lines, found.first[rows], argc[rows])
        kinds = (codes * (argc.max(initial=0) + 1) + argc) * (_FEW + 1) + np.minimum(behind, _FEW)
        numbered = pa.array(kinds).dictionary_encode()
        # Small numbers are sorted in a fraction of the time.
        kinds = numbered.indices.to_numpy().astype(np.min_scalar_type(len(numbered.dictionary)))
        order = np.argsort(kinds, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(kinds[order])) + 1):
            some = int(rows[0])
            plan = self._known_plan(found, some, int(behind[some])) if behind[some] < _FEW else None
            if plan is not None:
                yield rows, plan
                continue
            for row in rows.tolist():
                argv = found.argv(row)
                command = registry.find(argv)
                if command is not None and command.name == "RESTORE" and len(argv) > 3:
                    restores.append(row)
                yield np.array([row]), self._plan(command, argv, int(behind[row]))

    def _known_plan(self, found: Records, row: int, behind: int) -> Plan | None:
        """Where data is in all commands of that name and number of arguments; None if that cannot be said."""
        name, argc = found.arg(row, 0), int(found.argc[row])
        key = name, argc, behind
        if key in self._plans:
            return self._plans[key]
        argv = found.argv(row)
        command = registry.find(argv)
        is_fixed = command is None or (
            command.words == 1 and not command.subcommands and not callable(command.keys) and command.name != "RESTORE"
        )
        plan = self._plan(command, argv, behind) if is_fixed else None
        if argc < _FEW and len(self._plans) < _PLANS:
            self._plans[key] = plan
        return plan

    def _plan(self, command: registry.Command | None, argv: Sequence[bytes], behind: int) -> Plan:
        if command is None:
            # Nobody knows which words matter here: all but the name may be data.
            return np.arange(1, len(argv)), _NOWHERE
        name, start = command.name, command.words
        if name in _FUNCTIONS:
            return _NOWHERE, _NOWHERE
        if name == "RESTORE":
            return np.arange(1, min(len(argv), 2)), _NOWHERE
        data = {*_keys(command, argv), *_data(name, argv, behind)}
        if name in _SCRIPTS:
            self.scripts += 1
            start = _SCRIPTS[name] + 1
        others = [place for place in range(start, len(argv)) if place not in data]
        return np.array(sorted(data), np.int64), np.array(others, np.int64)

    def _payload(self, key: bytes, _ttl: bytes, payload: bytes) -> bytes:
        """What RESTORE gets for the disguised value: `payload` is taken apart, said as commands, and put together
        again.
        """
        with open_store(None, background=False, progress=False) as store:
            session, data = store.session(), store.engine.keyspace[0]
            try:
                session.execute("RESTORE", "k", 0, payload)
            except ReplyError as problem:
                raise ValueError(
                    f"the value of {key!r} in a RESTORE cannot be read, so not disguised: {problem}"
                ) from None
            value = data.peek(b"k")
            said = [] if value is None else [list(argv) for argv in commands_of_key(b"k", value)]
            session.execute("FLUSHALL")
            if not said:
                return payload
            for argv in self(Records.of(said, [0] * len(said), [0] * len(said))).argvs(len(said)):
                session.execute(*argv)
            made: bytes | None = session.execute("DUMP", self._names.of(b"k"))
        return made or payload


def _behind(options: dict[bytes, int], lines: _Lines, first: Ints, argc: Ints) -> Ints:
    """Which argument of each row, whose lines begin at `first`, is the first behind its options."""
    names, takes = pa.array(options, pa.large_string()), np.array([*options.values(), 0])
    place = np.full(len(first), 2, np.int64)
    going = np.flatnonzero(place < argc)
    for _ in range(_FEW):
        if not len(going):
            break
        words = pc.ascii_upper(_as_text(lines.of(first[going] + 2 + 2 * place[going])))
        steps = takes[pc.index_in(words, names).fill_null(len(options)).to_numpy()]
        going, steps = going[steps > 0], steps[steps > 0]
        two = np.flatnonzero((steps == 2) & (place[going] + 1 < argc[going]))
        told = lines.of(first[going[two]] + 4 + 2 * place[going[two]])
        steps[two] += pc.is_in(told, pa.array([b"=", b"~"], told.type)).to_numpy(zero_copy_only=False)
        place[going] += steps
        going = going[place[going] < argc[going]]
    return place


def _keys(command: registry.Command, argv: Sequence[bytes]) -> list[int]:
    try:
        return [place for place in command.key_positions(argv) if 0 < place < len(argv)]
    except (ReplyError, IndexError, ValueError):
        return []


def _data(name: str, argv: Sequence[bytes], behind: int) -> Iterable[int]:
    if name == "ZADD":
        return range(behind + 1, len(argv), 2)
    if name == "XADD":
        return range(behind + 1, len(argv))
    if name in _DATA:
        first, step = _DATA[name]
        return range(first, len(argv), step)
    return ()


def _are_data(words: pa.Array) -> Bools:
    """Which words look neither like an option nor like a number."""
    # Most are digits alone, or two numbers as in the ID of a stream.
    text = _as_text(words)
    are_digits = pc.ascii_is_decimal(pc.replace_substring(text, "-", "0", max_replacements=1))
    are_numbers = pc.and_(are_digits, pc.invert(pc.ends_with(text, "-")))
    are_short = pc.less_equal(pc.binary_length(words), _NUMBER_BYTES)
    are_syntax = pc.and_(are_numbers, are_short).to_numpy(zero_copy_only=False)
    others = np.flatnonzero(~are_syntax)
    are_syntax[others] = [_is_syntax(word) for word in words.take(pa.array(others)).to_pylist()]
    return ~are_syntax


def _as_text(words: pa.Array) -> pa.Array:
    """The same bytes, for what looks at ASCII alone and so need not know that they are no text."""
    return words.view(pa.large_string())


def _is_syntax(arg: bytes) -> bool:
    return (
        arg.upper() in _WORDS or arg in _SYMBOLS or (len(arg) <= _NUMBER_BYTES and _NUMBER.fullmatch(arg) is not None)
    )


def anonymize(
    log: Log, dest: str | PathLike[str], *, secret: bytes, plain: Sequence[str], verify: bool, progress: Progress = None
) -> Written:
    """See `Log.anonymize`."""
    disguise = _Disguise(Pseudonyms(secret, tuple(plain)))
    path = checked_dest(log, dest)
    about: dict[str, Any] = {"made_by": "aofnb anonymize", "plain": list(plain)}
    written = write_log(
        log,
        path,
        [PartSurvey(part, 0) for part in log.parts],
        change=disguise,
        on_bad=log.tolerant,
        about=about,
        verify=verify,
        progress=progress,
    )
    if disguise.scripts:
        written.problems.append(f"{disguise.scripts} scripts stand in it as they were: read them before you show it")
    return written
