"""The shell's questions to a log: ``aofnb triage|history|find|at|diff|blame|bisect|top|waste|compare|cat|follow ...``.

Rules of this file: every command is one call on a `Log`, printed; nothing is ever written. Heavy libraries are imported
when a command runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import operator
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from aofnb.cli_shared import (
    add_command,
    code_of,
    how_many,
    json_line,
    json_of,
    json_text,
    judged,
    moment,
    next_lines,
    open_log,
    print_lines,
    progress,
    quoted,
    safe,
    said,
    shell_line,
    value_text,
)

if TYPE_CHECKING:
    from aofnb.engine.store import Store
    from aofnb.forensics.columns import Selection
    from aofnb.forensics.log import Log
    from aofnb.forensics.reading import Report

__all__ = ["EXAMPLES", "add_filters", "register"]

EXAMPLES = """\
  aofnb triage mydata                     what is in it, what looks wrong, what to ask next
  aofnb history mydata cart:42            every command that touched this key, and why it went
  aofnb history mydata cart:42 --values --start 14:00
                                          since then, with what it held after each
  aofnb find mydata alice@example.org     every command that says this, in keys or values
  aofnb at mydata 57 HGETALL cart:42      what a command would have said just before row 57
  aofnb at mydata 14:03                   how many keys there were
  aofnb diff mydata '2026-11-20 14:03' end
                                          what changed since, key by key
  aofnb diff mydata 57 58 --by template   what row 57 changed, kind of key by kind of key
  aofnb blame mydata cart:42              which command each field of it is of
  aofnb bisect mydata '< 0' GET stock:7   the first command after which GET stock:7 is below 0
  aofnb bisect --lo 14:00 mydata nil GET stock:7
                                          since 14:00, the first after which it is gone
  aofnb waste mydata                      what a rewrite would save, and how long a restart takes
  aofnb top mydata                        which kinds of keys make the log large
  aofnb top mydata --by key -n 5          and which keys
  aofnb compare mydata backup             where two logs part; --level state: which keys differ
  aofnb cat mydata --key 'cart:*' -n 20   commands as text
  aofnb cat mydata --start 14:03 --stop 14:05 --cmd DEL
                                          only what was deleted in those minutes
  aofnb follow mydata                     new commands as they come, until Ctrl-C
"""

# How a value is looked at, by what TYPE says.
_LOOK = {
    "string": ("GET", ()),
    "hash": ("HGETALL", ()),
    "list": ("LRANGE", ("0", "-1")),
    "set": ("SMEMBERS", ()),
    "zset": ("ZRANGE", ("0", "-1", "WITHSCORES")),
    "stream": ("XRANGE", ("-", "+")),
}
_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "==": operator.eq,
    "!=": operator.ne,
}  # fmt: skip
_CAT = ("part", "offset", "ts", "db", "args", "status")


def register(commands: Any) -> None:
    """Add the commands to argparse's subparsers; each sets `run`."""
    _add(commands, "triage", _triage, "tell what is in a log, what looks wrong, and what to ask next")

    history = _add(
        commands, "history", _history, "tell every command that touched a key, and why the key went", positions=True
    )
    _key(history)
    history.add_argument("--db", type=int, default=0, metavar="N", help="its database (0)")
    history.add_argument("--start", metavar="POSITION", default="start", help="from here on")
    history.add_argument("--stop", metavar="POSITION", default="end", help="before this")
    history.add_argument("--values", action="store_true", help="also what it held after each")
    _full(history)

    find = _add(
        commands, "find", _find, "find every command with an argument in which some text occurs", positions=True
    )
    find.add_argument("text", metavar="TEXT", type=os.fsencode, help="what to look for, in names, keys and values")
    find.add_argument("--start", metavar="POSITION", default="start", help="from here on")
    find.add_argument("--stop", metavar="POSITION", default="end", help="before this")
    find.add_argument("-n", type=how_many, default=1000, metavar="N", help="end after so many (1000)")

    at = _add(commands, "at", _at, "run a command on the data as they were", positions=True)
    at.add_argument("position", metavar="POSITION", help="the command there has not run yet")
    _argv(at, "a command; without it keys are counted")
    at.add_argument("--db", type=int, default=0, metavar="N", help="the database (0); before POSITION")

    diff = _add(commands, "diff", _diff, "tell what changed between two positions, key by key", positions=True)
    diff.add_argument("a", metavar="A", help="the earlier position")
    diff.add_argument("b", metavar="B", help="the later one")
    diff.add_argument("--key", metavar="KEY", type=os.fsencode, help="only this key")
    diff.add_argument("--db", type=int, metavar="N", help="only this database")
    diff.add_argument("--by", choices=("key", "template"), default="key", help="each key (key), or how many of a kind")
    _full(diff)

    blame = _add(commands, "blame", _blame, "tell of which command each element of a key is", positions=True)
    _key(blame)
    blame.add_argument("--db", type=int, default=0, metavar="N", help="its database (0)")
    blame.add_argument("--at", metavar="POSITION", default="end", help="as it was there (end)")
    _full(blame)

    bisect = _add(
        commands, "bisect", _bisect, "find the first command after which a reply passes a test", positions=True
    )
    bisect.add_argument(
        "test", metavar="TEST", help="'< 0', '<= 5', '> 9', '>= 1', '= text', '!= text', nil, or 'not nil'"
    )
    _argv(bisect, "the command whose reply is tested")
    bisect.add_argument("--db", type=int, default=0, metavar="N", help="the database (0); before TEST")
    bisect.add_argument("--lo", metavar="POSITION", default="start", help="where it is not so (start); before TEST")
    bisect.add_argument("--hi", metavar="POSITION", default="end", help="where it is so (end); before TEST")

    waste = _add(commands, "waste", _waste, "tell what a rewrite would save, and how long a restart takes")
    waste.add_argument("--by", choices=("template", "key", "cmd"), default="template", help="lines of what (template)")
    waste.add_argument("-n", type=how_many, default=20, metavar="N", help="lines to print (20)")

    top = _add(commands, "top", _top, "tell what makes the log large: kinds of keys, keys, or commands")
    top.add_argument("--by", choices=("template", "key", "cmd"), default="template", help="what to count (template)")
    top.add_argument("-n", type=how_many, default=20, metavar="N", help="lines to print (20)")

    compare = _add(commands, "compare", _compare, "tell where two logs part, or which keys differ", paths=("A", "B"))
    compare.add_argument(
        "--level",
        choices=("bytes", "commands", "state"),
        default="commands",
        help="the files, what was run, or the data in the end (commands)",
    )

    cat = _add(commands, "cat", _cat, "print commands, escaped; with --json one object on each line", positions=True)
    add_filters(cat)
    _full(cat)

    follow = _add(commands, "follow", _follow, "print new commands as they come, over rewrites, until Ctrl-C")
    follow.add_argument("-n", type=how_many, metavar="N", help="end after so many")
    follow.add_argument("--poll", type=float, default=0.2, metavar="SECONDS", help="between two looks (0.2)")
    _full(follow)


def _add(commands: Any, name: str, run: Any, help_: str, **more: Any) -> argparse.ArgumentParser:
    return add_command(commands, name, run, help_, examples=EXAMPLES, **more)


def _key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", type=os.fsencode, help="the key; any bytes, as $'\\xff' in most shells")


def _argv(parser: argparse.ArgumentParser, help_: str) -> None:
    parser.add_argument("argv", metavar="WORD", type=os.fsencode, nargs=argparse.REMAINDER, help=help_)


def _full(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--full", action="store_true", help="print long values and many arguments whole")


def add_filters(parser: argparse.ArgumentParser) -> None:
    """The options that choose rows."""
    parser.add_argument("--start", metavar="POSITION", help="from here on")
    parser.add_argument("--stop", metavar="POSITION", help="before this")
    parser.add_argument("--cmd", metavar="NAME", action="append", help="only this command")
    parser.add_argument(
        "--key", metavar="PATTERN", type=os.fsencode, action="append", help="only keys that match, as KEYS reads it"
    )
    parser.add_argument("--db", metavar="N", type=int, action="append", help="only this database")
    parser.add_argument("-n", type=how_many, metavar="N", help="at most so many")


# --- the whole -------------------------------------------------------------------------------------------


def _triage(options: argparse.Namespace) -> int:
    log = open_log(options)
    found = log.triage(progress=progress())
    code = code_of(log, found.damage, found.commands - found.statuses.get("truncated", 0), options)
    if options.json:
        json_text({**found.to_dict(), "exit_code": max(code, int(not found.valid))})
    elif code != 2:
        print_lines(found.lines(shell=options.path))
    return max(code, int(not found.valid))


def _top(options: argparse.Namespace) -> int:
    from aofnb.forensics.top import top
    from aofnb.forensics.words import printable

    log = open_log(options)
    if (code := judged(log, options)) == 2:
        return code
    frame = top(log, by=options.by, n=options.n, progress=progress())
    if options.json:
        json_text(frame.reset_index().to_dict("records"))
    elif len(frame):
        shown = frame.assign(share=[f"{share:.1%}" for share in frame["share"]])
        shown.index = [printable(name) or '""' for name in frame.index]
        asks = [_ask(options, "waste", why="how much of it is dead")]
        print_lines([*shown.to_string().splitlines(), *next_lines(asks)])
    else:
        print("no commands")
    return code


def _waste(options: argparse.Namespace) -> int:
    from aofnb.forensics.words import size

    log = open_log(options)
    if (code := judged(log, options)) == 2:
        return code
    frame = log.waste(by=options.by, progress=progress())
    sums = frame.attrs["waste"]
    if options.json:
        # A log without a live byte has no ratio that JSON knows.
        ratio = sums["amplification"] if sums["live_bytes"] or not sums["bytes"] else None
        json_text({**sums, "amplification": ratio, "rows": _rows_of(frame)})
        return code
    shown = frame.head(options.n)
    shown = shown.assign(dead=[f"{share:.0%}" if share == share else "" for share in shown["dead"]])
    shown.index = [quoted(each) if isinstance(each, bytes) else each for each in shown.index]
    dead = f" ({sums['dead_bytes'] / sums['bytes']:.0%})" if sums["bytes"] else ""
    lines = [
        f"{size(sums['bytes'])} of commands, of which {size(sums['dead_bytes'])}{dead} no longer count: "
        f"a rewrite (BGREWRITEAOF) saves at least that"
    ]
    if sums["replay_s"] is not None:
        lines.append(f"a restart replays all of it in about {_duration(sums['replay_s'])} here")
    if len(frame) > len(shown):
        lines.append(f"the first {len(shown)} of {len(frame)} lines:")
    asks = [
        _ask(options, "waste", "--by", "key", why="the same, key by key"),
        _ask(options, "top", why="what the bytes are of"),
    ]
    print_lines([*lines, *shown.to_string().splitlines(), *next_lines(asks)])
    return code


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{max(seconds, 0.001) * 1000:.0f} ms"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _compare(options: argparse.Namespace) -> int:
    from aofnb.forensics.compare import compare

    one, other = (open_log(options, path) for path in (options.a, options.b))
    codes = [judged(log, options) for log in (one, other)]
    if 2 in codes:
        return 2
    found = compare(one, other, level=options.level, progress=progress())
    if options.json:
        rows = _rows_of(found.differences)
        told = {"level": found.level, "equal": found.equal, "common": found.common, "prefix": found.prefix}
        json_text({**told, "differences": [{k: v for k, v in row.items() if k != "index"} for row in rows]})
    else:
        print_lines(_compared(found))
        if not found.equal and options.level != "state":
            ask = shell_line("compare", options.a, options.b, "--level", "state")
            print_lines(next_lines([(ask, "which keys differ in the end")]))
    return max(*codes, 0 if found.equal else 1)


def _compared(found: Any) -> list[str]:
    """What `compare` found: the keys that differ, or the place where the logs part, a line for each of them."""
    lines = repr(found).splitlines()[:1]
    if found.equal:
        return lines
    if found.level == "state":
        keys = [f"[{row['db']}] {quoted(row['key'])}  {row['change']}" for row in _rows_of(found.differences)]
        return [*lines, *keys, _totals(found.differences["change"])]
    (row,) = _rows_of(found.differences)
    for side in "ab":
        if found.level == "bytes":
            part, offset = row[f"part_{side}"], row[f"offset_{side}"]
            place = "its end" if part is None or part != part else f"{part}:{offset}"
        else:
            argv = row[f"args_{side}"]
            place = f"#{row[f'seq_{side}']} [{row[f'db_{side}']}] {said(argv)}" if isinstance(argv, list) else "its end"
        lines.append(f"  {side}: {place}")
    return lines


def _rows_of(frame: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = frame.reset_index().to_dict("records")
    return rows


def _ask(options: argparse.Namespace, command: str, *words: object, why: str) -> tuple[str, str]:
    return shell_line(command, options.path, *words), why


# --- one key ---------------------------------------------------------------------------------------------


def _history(options: argparse.Namespace) -> int:
    log = open_log(options)
    log.postings(progress=progress())
    if (code := judged(log, options)) == 2:
        return code
    frame = log.history(
        options.key, db=options.db, start=options.start, stop=options.stop, values=options.values, progress=progress()
    )
    for row in _rows_of(frame):
        if options.json:
            about = _about(row)
            more = {"value": row["value"]} if options.values else {}
            args = row["args"]
            json_line({**about, "args": args, "cause": row["cause"], "role": row["role"], **more})
            continue
        value = f"  -> {value_text(row['value'], options.full)}" if options.values else ""
        print_lines([f"{_place(row)} {said(row['args'], options.full)}  ({row['cause']}){value}"])
    if not len(frame):
        print(
            f"aofnb: no command {_between(options)} touches {quoted(options.key)} in database {options.db}; "
            f"{safe(shell_line('find', options.path, options.key))}   # looks everywhere",
            file=sys.stderr,
        )
    elif not options.json:
        print_lines(next_lines(_about_history(log, options, frame)))
    return code


def _between(options: argparse.Namespace) -> str:
    whole = (options.start, options.stop) == ("start", "end")
    return "of this log" if whole else f"from {safe(options.start)} to {safe(options.stop)}"


def _key_words(key: str | bytes, db: int) -> list[object]:
    """A key and its database as words of a command line."""
    from aofnb.forensics.slicing import as_bytes

    options: list[object] = ["--db", db] if db else []
    return [*options, *(["--"] if as_bytes(key).startswith(b"-") else []), key]


def _about(row: Any) -> dict[str, Any]:
    """Where a row is, for JSON."""
    return {"seq": row["seq"], "part": row["part"], "offset": row["offset"], "time": moment(row["ts"]) or None}


def _place(row: Any) -> str:
    when = moment(row["ts"])
    return f"#{row['seq']} {row['part']}:{row['offset']}" + (f" {when}" if when else "")


def _about_history(log: Log, options: argparse.Namespace, frame: Any) -> list[tuple[str, str]]:
    """What to ask behind a history: what the key held before it went, or who wrote what it holds."""
    gone = frame[frame["role"] == "RM"]
    asks = []
    if len(gone):
        seq, name = int(gone.index[-1]), str(gone["cmd"].iloc[-1])
        look = _look(log, options, seq)
        if look:
            db = ("--db", options.db) if options.db else ()
            asks.append(_ask(options, "at", *db, seq, *look, why=f"what was in it before this {name}"))
        if str(gone["cause"].iloc[-1]) in ("delete", "flush"):
            asks.append(_ask(options, "undo", seq, why="what putting back all that it took would change"))
    else:
        asks.append(_ask(options, "blame", *_key_words(options.key, options.db), why="who wrote what"))
    return asks


def _look(log: Log, options: argparse.Namespace, seq: int) -> list[str]:
    """The command that shows the key as it was before row `seq`; empty if it was not there."""
    from aofnb.forensics.slicing import as_bytes, store_of
    from aofnb.store.values import type_name

    place = (options.db, as_bytes(options.key))
    value = store_of(log, [place], log.position(seq)).engine.keyspace[place[0]].peek(place[1])
    if value is None:
        return []
    command, rest = _LOOK[type_name(value)]
    return [command, options.key, *rest]


def _find(options: argparse.Namespace) -> int:
    from aofnb.forensics.slicing import as_bytes
    from aofnb.forensics.words import named

    log = open_log(options)
    if (code := judged(log, options)) == 2:
        return code
    frame = log.find(options.text, start=options.start, stop=options.stop, limit=options.n, progress=progress())
    for row in _rows_of(frame):
        if options.json:
            about = _about(row)
            what = {"cmd": row["cmd"], "key": row["key"], "arg": row["arg"], "excerpt": row["excerpt"]}
            json_line({**about, "db": row["db"], **what})
        else:
            key = f" {said([as_bytes(named(row['key']))])}" if isinstance(row["key"], str) else ""
            print_lines(
                [f"{_place(row)} [{row['db']}] {row['cmd']}{key}  argument {row['arg']}: {quoted(row['excerpt'])}"]
            )
    if not len(frame):
        print(f"aofnb: {quoted(options.text)} is in no command of this log", file=sys.stderr)
    elif not options.json:
        keys = [_key_words(named(row["key"]), row["db"]) for row in _rows_of(frame) if isinstance(row["key"], str)]
        asks = (
            [_ask(options, "history", *keys[0], why="everything that happened to the first of these keys")]
            if keys
            else []
        )
        print_lines(next_lines(asks))
    return code


def _blame(options: argparse.Namespace) -> int:
    log = open_log(options)
    log.postings(progress=progress())
    if (code := judged(log, options)) == 2:
        return code
    frame = log.blame(options.key, db=options.db, at=options.at, progress=progress())
    for row in _rows_of(frame):
        if options.json:
            about = _about(row)
            held = {"element": row["element"], "value": row["value"]}
            json_line({**held, **about, "args": row["args"]})
        else:
            element = value_text(row["element"], options.full)
            value = "" if row["value"] is None else f" = {value_text(row['value'], options.full)}"
            print_lines([f"{element}{value}  {_place(row)} {said(row['args'], options.full)}"])
    if not len(frame):
        print(
            f"aofnb: there is no {quoted(options.key)} in database {options.db} there; "
            f"{safe(shell_line('history', options.path, *_key_words(options.key, options.db)))}   # what became of it",
            file=sys.stderr,
        )
    return code


# --- moments ---------------------------------------------------------------------------------------------


def _at(options: argparse.Namespace) -> int:
    from aofnb.errors import ReplyError
    from aofnb.forensics.words import count
    from aofnb.magics.replies import plain
    from aofnb.magics.show import is_raw, text

    if options.argv and options.argv[0].startswith(b"--"):
        raise ValueError(
            f"{os.fsdecode(options.argv[0])} stands behind POSITION, where a command begins: give it before"
        )
    log = open_log(options)
    if (code := judged(log, options)) == 2:
        return code
    position = log.position(options.position)
    with log.at(position, progress=progress()) as store:
        if not options.argv:
            counts = {db.index: len(db) for db in store.engine.keyspace if len(db)}
            if options.json:
                about = {"seq": position.seq, "position": str(position), "time": moment(position.time) or None}
                json_text({**about, "keys": counts})
            else:
                when = f", {moment(position.time)} UTC" if position.time else ""
                ask = _ask(options, "at", position.seq, "KEYS", "*", why="or any other command that reads")
                keys = [f"db{index}: {count(number, 'key')}" for index, number in counts.items()] or ["no keys"]
                print_lines([f"before row {position.seq} ({position}{when}):", *keys, *next_lines([ask])])
            return code
        try:
            reply = _reply(store, options)
        except ReplyError as problem:
            if options.json:
                json_line({"error": str(problem)})
            else:
                print(safe(f"(error) {problem}"))
            return 1
        if options.json:
            json_line(plain(reply))
        else:
            raw = isinstance(reply, bytes) and is_raw(options.argv)
            print_lines((reply.decode("utf-8", "backslashreplace") if raw else text(reply)).splitlines())
    return code


def _reply(store: Store, options: argparse.Namespace) -> Any:
    session = store.session()
    if options.db:
        session.execute("SELECT", options.db)
    return session.execute(*options.argv)


def _diff(options: argparse.Namespace) -> int:
    log = open_log(options)
    log.postings(progress=progress())
    if (code := judged(log, options)) == 2:
        return code
    frame = log.diff(options.a, options.b, key=options.key, db=options.db, progress=progress())
    if options.by == "template":
        _print_kinds(frame, options)
    for row in _rows_of(frame) if options.by == "key" else ():
        key = quoted(row["key"])
        if options.json:
            held = {side: row[side] for side in ("before", "after", "detail")}
            deadlines = {name: moment(row[name]) or None for name in ("deadline_before", "deadline_after")}
            named = {name: row[name] for name in ("db", "key", "change", "type")}
            json_line({**named, **held, **deadlines})
            continue
        print_lines([f"[{row['db']}] {key}  {row['change']} ({row['type']})  {_changed(row, options.full)}"])
    if not len(frame):
        print("aofnb: nothing changed between these positions", file=sys.stderr)
    elif not options.json:
        first = _key_words(frame["key"].iloc[0], int(frame["db"].iloc[0]))
        ask = _ask(options, "history", *first, why="who did that to the first of these keys")
        print_lines([_totals(frame["change"]), *next_lines([ask])])
    return code


def _totals(changes: Any) -> str:
    """How many there are of each change."""
    return ", ".join(f"{number:,} {change}" for change, number in changes.value_counts().items() if number)


def _print_kinds(frame: Any, options: argparse.Namespace) -> None:
    """How many keys of each kind changed, and how."""
    from aofnb.forensics.roles import template

    kinds = Counter(
        (row["db"], template(row["key"].decode("utf-8", "backslashreplace")), row["change"]) for row in _rows_of(frame)
    )
    for (db, kind, change), number in sorted(kinds.items(), key=lambda each: (-each[1], each[0])):
        if options.json:
            json_line({"db": db, "template": kind, "change": change, "keys": number})
        else:
            print_lines([f"[{db}] {kind}  {change}: {number:,}"])


def _changed(row: dict[str, Any], full: bool) -> str:
    """Before and after; of a collection only the elements that differ."""
    if row["change"] == "ttl-changed":
        old, new = (moment(row[name]) or "no deadline" for name in ("deadline_before", "deadline_after"))
        return f"{old} -> {new}"
    if row["detail"]:
        shown = row["detail"] if full else row["detail"][:5]
        more = "" if len(shown) == len(row["detail"]) else f", and {len(row['detail']) - len(shown)} elements more"
        return ", ".join(_element(*each, full=full) for each in shown) + more
    return f"{value_text(row['before'], full)} -> {value_text(row['after'], full)}"


def _element(element: Any, before: Any, after: Any, *, full: bool) -> str:
    name = value_text(element, full)
    if before is True or after is True:
        return f"{'+' if after else '-'}{name}"
    return f"{name}: {value_text(before, full)} -> {value_text(after, full)}"


def _bisect(options: argparse.Namespace) -> int:
    test = _test(options.test)
    if not options.argv:
        raise ValueError("give the command whose reply is tested: aofnb bisect PATH '< 0' GET stock:7")
    log = open_log(options)
    log.postings(progress=progress())
    if (code := judged(log, options)) == 2:
        return code
    found = log.bisect(lambda store: test(_reply(store, options)), lo=options.lo, hi=options.hi, progress=progress())
    if found is None:
        print(f"aofnb: it is not so at {safe(options.hi)}; name a position at which it is: --hi", file=sys.stderr)
        return 1
    # Numbers of numpy are none for JSON.
    row = {str(name): value.item() if hasattr(value, "item") else value for name, value in found.items()}
    row["seq"] = int(str(found.name))
    if options.json:
        about = _about(row)
        json_text({**about, "args": row["args"]})
        return code
    asks = [
        _ask(options, "cat", "--start", max(row["seq"] - 9, 0), "-n", "12", why="what stands around it"),
        _ask(options, "at", row["seq"], *options.argv, why="the last reply that did not pass"),
    ]
    print_lines([*_unit(log, row), *next_lines(asks)])
    return code


def _unit(log: Log, row: dict[str, Any]) -> list[str]:
    """The command, or all of the transaction whose EXEC it is."""
    from aofnb.forensics.history import frame_of
    from aofnb.forensics.slicing import unit_start

    rows = range(unit_start(log, row["seq"]), row["seq"] + 1)
    frame = frame_of(log, log.postings().events(rows))
    return [f"{_place(each)} [{each['db']}] {said(each['args'])}" for each in _rows_of(frame)]


def _test(text: str) -> Callable[[Any], bool]:
    """What a reply must pass: a comparison, or whether there is one at all."""
    words = text.split(None, 1)
    if text.strip() == "nil":
        return lambda reply: reply is None
    if words == ["not", "nil"]:
        return lambda reply: reply is not None
    if len(words) != 2 or words[0] not in _TESTS:
        raise ValueError(
            f"{text!r} is no test: give '< 0', '<= 5', '> 9', '>= 1', '= text', '!= text', nil or 'not nil'"
        )
    compares, wanted = _TESTS[words[0]], words[1]
    if words[0] in ("=", "==", "!="):
        return lambda reply: reply is not None and compares(_as_word(reply), wanted.encode())
    try:
        bound = float(wanted)
    except ValueError:
        raise ValueError(
            f"{wanted!r} is no number: with {words[0]} numbers are compared; '= text' compares text"
        ) from None

    def passes(reply: Any) -> bool:
        try:
            # A key that is not there, or no number, is neither above nor below.
            return compares(float(reply), bound)
        except (TypeError, ValueError):
            return False

    return passes


def _as_word(reply: Any) -> bytes:
    return reply if isinstance(reply, bytes) else str(reply).encode()


# --- commands as they are --------------------------------------------------------------------------------


def _cat(options: argparse.Namespace) -> int:
    from aofnb.forensics.columns import Selection
    from aofnb.forensics.reading import Report

    log = open_log(options)
    selection = Selection.of(_CAT, options.cmd, options.key, options.db)
    report = Report()
    legible = 0
    for row in islice(_read(log, selection, report, options), options.n):
        legible += row["status"] != "truncated"
        # Of what is no log at all not even a name is legible.
        if row["args"]:
            print(_line(row, options))
    chosen = any(getattr(options, name) is not None for name in ("start", "stop", "cmd", "key", "db"))
    # Where rows were chosen, none says nothing about the log.
    return code_of(log, report.damage, max(legible, int(chosen)), options)


def _read(log: Log, selection: Selection, report: Report, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for batch in log.read(selection, log.tolerant, progress(), report, options.start, options.stop):
        yield from batch.to_pylist()


def _line(row: dict[str, Any], options: argparse.Namespace) -> str:
    """One command, for a person or for a program."""
    if options.json:
        when = None if row["ts"] is None else row["ts"].isoformat()
        return json_of({**row, "ts": when})
    status = "" if row["status"] == "ok" else f"  ({row['status']})"
    return safe(f"{_place(row)} [{row['db']}] {said(row['args'], options.full)}{status}")


def _follow(options: argparse.Namespace) -> int:
    log = open_log(options)
    with log.follow(columns=list(_CAT), poll=options.poll) as frames:
        try:
            for row in _new_rows(frames, options.n):
                print(_line(row, options), flush=True)
        except KeyboardInterrupt:
            # How a person ends it.
            return 0
    return 0


def _new_rows(frames: Any, left: int | None) -> Iterator[dict[str, Any]]:
    for frame in frames:
        for row in _rows_of(frame):
            if left is not None:
                if left <= 0:
                    return
                left -= 1
            yield {**row, "ts": None if row["ts"] != row["ts"] else row["ts"]}
        if left == 0:
            return
