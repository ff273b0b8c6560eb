"""The shell's questions to a log: ``aofnb triage|history|at|top|cat|salvage|recover|undo|export|pii|anonymize ...``.

Rules of this file: every command is one call on a `Log`, printed; nothing is ever written but into the new place that
the command line names; bytes of a log are escaped before they reach a terminal. Heavy libraries are imported when a
command runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from aofnb.errors import AofnbError

if TYPE_CHECKING:
    from aofnb.forensics.log import Log

__all__ = ["EXAMPLES", "register"]

EXAMPLES = """\
  aofnb triage mydata                     what is in it, what looks wrong, what to ask next
  aofnb history mydata cart:42            every command that touched this key, and why it went
  aofnb at mydata '#57' HGETALL cart:42   what a command would have said at that moment
  aofnb diff mydata '2026-11-20 14:03' end
                                          what changed since, key by key
  aofnb follow mydata                     new commands as they come, until Ctrl-C
  aofnb salvage mydata                    what is damaged, and what can be had of it
  aofnb salvage mydata --to fixed         write that into the new directory fixed
  aofnb undo mydata FLUSHALL              what putting back the flushed keys would change
  aofnb undo mydata FLUSHALL --to fixed   do so, in the new directory fixed
  aofnb recover mydata --stop '2026-11-20 14:03:05' --to fixed
                                          the data of that second, as a log of its own
  aofnb cat mydata --key 'cart:*' -n 20   commands as text
  aofnb top mydata                        which kinds of keys make the log large
  aofnb export mydata commands.parquet    for pandas, DuckDB, Spark
  aofnb pii mydata                        may I show this to a stranger?
  aofnb anonymize mydata safe             the same log without what it says
"""

_CODES = """\
exit code:
  0  fine
  1  damaged, but salvageable; or the new log does not load without a complaint
  2  unreadable, or the command line cannot be understood
"""

_POSITIONS = """\
A position is a row ('#57'), a place ('appendonly.aof.1.incr.aof:4096'), a time
('2026-11-20 14:03:05', UTC unless it says otherwise), 'start' or 'end'. It stands before
the command it names.
"""

_SHOWN_BYTES = 120


def register(commands: Any) -> None:
    """Add the commands to argparse's subparsers; each sets `run`."""
    salvage = _command(commands, "salvage", _salvage, "bring back all that is legible of a damaged log")
    salvage.add_argument("--to", metavar="DIR", help="write it into this new directory; without it nothing is written")
    _verifies(salvage)

    recover = _command(
        commands, "recover", _recover, "make a log that ends earlier, lacks commands, or has some keys only"
    )
    recover.add_argument("--to", metavar="DIR", help="write it into this new directory; without it the plan is printed")
    recover.add_argument("--stop", metavar="POSITION", help="leave out everything from here on")
    recover.add_argument(
        "--drop", metavar="WHAT", action="append", help="leave out this command: a position, or a name such as FLUSHALL"
    )
    recover.add_argument("--keep", metavar="PATTERN", action="append", help="only keys that match, as KEYS reads it")
    _verifies(recover)

    undo = _command(commands, "undo", _undo, "undo commands, such as a FLUSHALL")
    undo.add_argument("what", metavar="WHAT", help="a position, or the name of a command")
    undo.add_argument("--to", metavar="DIR", help="write it into this new directory; without it the plan is printed")
    undo.add_argument(
        "--mode",
        choices=("graft", "rewind", "excise"),
        default="graft",
        help="graft (the default): put back what is absent now; rewind: end before it; excise: run all but it",
    )
    _verifies(undo)

    _command(commands, "triage", _triage, "what is in a log, what looks wrong, and what to ask next")

    history = _command(commands, "history", _history, "every command that touched a key, and why the key went")
    history.add_argument("key", metavar="KEY", help="the key")
    history.add_argument("--db", type=int, default=0, metavar="N", help="its database (0)")
    history.add_argument("--start", metavar="POSITION", default="start", help="from here on")
    history.add_argument("--stop", metavar="POSITION", default="end", help="before this")
    history.add_argument("--values", action="store_true", help="also what it held after each")

    at = _command(commands, "at", _at, "run a command on the data as they were")
    at.add_argument("position", metavar="POSITION", help="the command there has not run yet")
    at.add_argument("argv", metavar="WORD", nargs=argparse.REMAINDER, help="a command; without it keys are counted")
    at.add_argument("--db", type=int, default=0, metavar="N", help="the database (0); before POSITION")

    diff = _command(commands, "diff", _diff, "what changed between two positions, key by key")
    diff.add_argument("a", metavar="A", help="the earlier position")
    diff.add_argument("b", metavar="B", help="the later one")
    diff.add_argument("--key", metavar="KEY", help="only this key")
    diff.add_argument("--db", type=int, metavar="N", help="only this database")

    follow = _command(commands, "follow", _follow, "print new commands as they come, over rewrites, until Ctrl-C")
    follow.add_argument("-n", type=int, metavar="N", help="end after so many")
    follow.add_argument("--full", action="store_true", help="print long arguments whole")
    follow.add_argument("--poll", type=float, default=0.2, metavar="SECONDS", help="between two looks (0.2)")

    cat = _command(commands, "cat", _cat, "print commands, escaped; with --json one object on each line")
    _chooses(cat)
    cat.add_argument("--full", action="store_true", help="print long arguments whole")
    cat.add_argument("--resync", action="store_true", help="read on behind damage")

    top = _command(commands, "top", _top, "what makes the log large: kinds of keys, keys, or commands")
    top.add_argument("--by", choices=("template", "key", "cmd"), default="template", help="what to count (template)")
    top.add_argument("-n", type=int, default=20, metavar="N", help="lines to print (20)")

    export = _command(commands, "export", _export, "write the commands as a table: .parquet, .csv or .jsonl")
    export.add_argument("dest", metavar="DEST", help="a file that does not exist, named by its format")
    export.add_argument("--columns", metavar="NAMES", help="with commas between them, as in aofnb.read_aof")
    _chooses(export)

    pii = _command(commands, "pii", _pii, "count what looks like personal data; values are masked")
    pii.add_argument("--kinds", metavar="KINDS", help="with commas between them: email,jwt,card,phone,ip")
    pii.add_argument("--show", action="store_true", help="print an example of each as it is")

    anonymize = _command(commands, "anonymize", _anonymize, "write the log without what it says, for a stranger")
    anonymize.add_argument("dest", metavar="DEST", help="a new directory")
    anonymize.add_argument(
        "--secret-file",
        metavar="FILE",
        help="the same secret makes the same names; without it one is made up and forgotten",
    )
    anonymize.add_argument("--plain", metavar="WORDS", help="words that stay as they are, with commas between them")
    _verifies(anonymize)


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], help_: str) -> argparse.ArgumentParser:
    examples = [line for line in EXAMPLES.splitlines() if line.startswith(f"  aofnb {name} ")]
    epilog = "examples:\n" + "\n".join(examples) + f"\n\n{_POSITIONS}\n{_CODES}"
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help_,
        description=help_[0].upper() + help_[1:] + ". What is read is never written.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", help="a data directory, its appendonlydir, a manifest, or one file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=lambda options: _guarded(run, options))
    return parser


def _verifies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-verify", action="store_true", help="do not load the new log to see that it is right")


def _chooses(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", metavar="POSITION", help="from here on")
    parser.add_argument("--stop", metavar="POSITION", help="before this")
    parser.add_argument("--cmd", metavar="NAME", action="append", help="only this command")
    parser.add_argument("--key", metavar="PATTERN", action="append", help="only keys that match, as KEYS reads it")
    parser.add_argument("--db", metavar="N", type=int, action="append", help="only this database")
    parser.add_argument("-n", type=int, metavar="N", help="at most so many")


def _guarded(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    try:
        return run(options)
    except BrokenPipeError:
        raise
    except OSError as problem:
        place = f"{problem.filename}: " if problem.filename else ""
        print(
            f"aofnb: {_safe(place)}{problem.strerror or problem}; give a data directory, a manifest or a file",
            file=sys.stderr,
        )
        return 2
    except (AofnbError, ValueError, TypeError, LookupError) as problem:
        print(f"aofnb: {_safe(str(problem))}", file=sys.stderr)
        return 2


def _log(options: argparse.Namespace, *, resync: bool = False) -> Log:
    from aofnb.forensics.log import scan

    return scan(options.path, on_bad="resync" if resync else "error")


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(_safe(line))


def _json(content: Any) -> None:
    print(json.dumps(content, indent=2, default=str))


def _safe(text: str) -> str:
    """`text` with what could drive a terminal, or cannot be printed, spelled out."""
    plain = "".join(
        char if char.isprintable() or char in "\t" else char.encode("unicode_escape").decode() for char in text
    )
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return plain.encode(encoding, "backslashreplace").decode(encoding)


def _progress() -> bool:
    return sys.stderr.isatty()


# --- damage and repair -----------------------------------------------------------------------------------


def _salvage(options: argparse.Namespace) -> int:
    report = _log(options).salvage(
        options.to, dry_run=options.to is None, verify=not options.no_verify, progress=_progress()
    )
    if options.json:
        _json(report.to_dict())
    else:
        hint = "nothing was written; --to DIR writes it into a new directory"
        _print(report.lines() if report.written is not None else [*report.lines()[:-1], hint])
    if report.damage.exit_code == 2 or report.written is None:
        return report.damage.exit_code
    return 1 if report.written.problems else 0


def _recover(options: argparse.Namespace) -> int:
    from aofnb.forensics.recover import commands_of

    log = _log(options)
    drop = None if options.drop is None else commands_of(log, options.drop)
    return _planned(options, log.recover(drop=drop, stop=options.stop, keep=options.keep))


def _undo(options: argparse.Namespace) -> int:
    return _planned(options, _log(options).undo(options.what, options.mode))


def _planned(options: argparse.Namespace, plan: Any) -> int:
    if options.to is None:
        if options.json:
            _json(plan.to_dict())
        else:
            _print([*plan.lines()[:-1], "nothing was written; --to DIR writes it into a new directory"])
        return 0
    written = plan.write(options.to, verify=not options.no_verify)
    if options.json:
        _json({**plan.to_dict(), "written": written.to_dict()})
    else:
        _print([*plan.lines()[:-1], *written.lines()])
    return 1 if written.problems else 0


# --- questions -------------------------------------------------------------------------------------------


def _triage(options: argparse.Namespace) -> int:
    found = _log(options).triage(progress=_progress())
    if options.json:
        _json(found.to_dict())
    else:
        _print(repr(found).splitlines())
    return 0 if found.valid else 1


def _history(options: argparse.Namespace) -> int:
    log = _log(options)
    frame = log.history(
        options.key, db=options.db, start=options.start, stop=options.stop, values=options.values, progress=_progress()
    )
    for seq, row in zip(frame.index.tolist(), frame.to_dict("records"), strict=True):
        when = "" if row["ts"] is None or row["ts"] != row["ts"] else f"{row['ts']:%Y-%m-%d %H:%M:%S}"
        words = [_quoted(arg, False) for arg in row["args"]]
        held = row.get("value")
        if options.json:
            shown = {"seq": seq, "part": row["part"], "offset": row["offset"], "time": when or None, "args": words}
            more = {"value": _plain(held)} if options.values else {}
            print(json.dumps({**shown, "cause": row["cause"], "role": row["role"], **more}, default=str))
            continue
        value = f"  -> {held!r}" if options.values else ""
        print(_safe(f"#{seq} {row['part']}:{row['offset']} {when} {' '.join(words)}  ({row['cause']}){value}"))
    if not len(frame):
        print(f"aofnb: no command of this log touches {_safe(options.key)!r} in database {options.db}", file=sys.stderr)
    return 0


def _at(options: argparse.Namespace) -> int:
    from aofnb.errors import ReplyError
    from aofnb.forensics.words import count
    from aofnb.magics.replies import plain
    from aofnb.magics.show import text

    with _log(options).at(options.position) as store:
        if not options.argv:
            counts = {db.index: len(db) for db in store.engine.keyspace if len(db)}
            if options.json:
                _json({"keys": counts})
            else:
                _print([f"db{index}: {count(keys, 'key')}" for index, keys in counts.items()] or ["no keys"])
            return 0
        session = store.session()
        try:
            if options.db:
                session.execute("SELECT", options.db)
            reply = session.execute(*options.argv)
        except ReplyError as problem:
            print(_safe(f"(error) {problem}"))
            return 1
        if options.json:
            print(json.dumps(_plain(plain(reply)), default=str))
        else:
            _print(text(reply).splitlines())
    return 0


# --- looking ---------------------------------------------------------------------------------------------


def _rows(options: argparse.Namespace, log: Log, columns: list[str]) -> Iterator[dict[str, Any]]:
    left = options.n
    for batch in log.batches(
        columns=columns,
        start=options.start,
        stop=options.stop,
        cmd=options.cmd,
        key=options.key,
        db=options.db,
        on_bad="resync" if log.tolerant == "resync" else "truncate",
    ):
        for row in batch.to_pylist():
            if left is not None:
                if left <= 0:
                    return
                left -= 1
            yield row


def _cat(options: argparse.Namespace) -> int:
    log = _log(options, resync=options.resync)
    bad = False
    for row in _rows(options, log, ["part", "offset", "ts", "db", "args", "status"]):
        bad = bad or row["status"] in ("truncated", "resynced")
        print(_line(row, options))
    return int(bad)


def _line(row: dict[str, Any], options: argparse.Namespace) -> str:
    """One command, for a person or for a program."""
    if options.json:
        when = None if row["ts"] is None else row["ts"].isoformat()
        args = [arg.decode("utf-8", "backslashreplace") for arg in row["args"]]
        return json.dumps({**row, "ts": when, "args": args})
    when = "" if row["ts"] is None else f"{row['ts']:%Y-%m-%d %H:%M:%S} "
    status = "" if row["status"] == "ok" else f"  ({row['status']})"
    said = " ".join(_quoted(arg, options.full) for arg in row["args"])
    return _safe(f"#{row['seq']} {row['part']}:{row['offset']} {when}[{row['db']}] {said}{status}")


def _diff(options: argparse.Namespace) -> int:
    frame = _log(options).diff(options.a, options.b, key=options.key, db=options.db, progress=_progress())
    for row in frame.to_dict("records"):
        key = _quoted(row["key"], False)
        if options.json:
            held = {side: _plain(row[side]) for side in ("before", "after")}
            print(json.dumps({"db": row["db"], "key": key, "change": row["change"], "type": row["type"], **held}))
            continue
        print(_safe(f"[{row['db']}] {key}  {row['change']} ({row['type']})  {row['before']!r} -> {row['after']!r}"))
    if not len(frame):
        print("aofnb: nothing changed between these positions", file=sys.stderr)
    return 0


def _follow(options: argparse.Namespace) -> int:
    left = options.n
    with _log(options).follow(columns=["part", "offset", "ts", "db", "args", "status"], poll=options.poll) as frames:
        try:
            for frame in frames:
                for seq, row in zip(frame.index.tolist(), frame.to_dict("records"), strict=True):
                    if left is not None:
                        if left <= 0:
                            return 0
                        left -= 1
                    known: Any = row
                    when = None if row["ts"] != row["ts"] else row["ts"]
                    print(_line({"seq": seq, **known, "ts": when}, options), flush=True)
                if left == 0:
                    return 0
        except KeyboardInterrupt:
            # How a person ends it.
            return 0
    return 0


def _quoted(arg: bytes, full: bool) -> str:
    """An argument as a person would type it for redis-cli."""
    from aofnb.forensics.words import size

    more = "" if full or len(arg) <= _SHOWN_BYTES else f" (+{size(len(arg) - _SHOWN_BYTES)})"
    shown = arg if full else arg[:_SHOWN_BYTES]
    text = shown.decode("utf-8", "backslashreplace")
    if shown and all(char.isalnum() or char in "_-.:/@*{}[]" for char in text):
        return text + more
    return '"' + repr(shown)[2:-1].replace('"', '\\"').replace("\\'", "'") + '"' + more


def _top(options: argparse.Namespace) -> int:
    from aofnb.forensics.top import top

    frame = top(_log(options), by=options.by, n=options.n, progress=_progress())
    if options.json:
        _json(frame.reset_index().to_dict("records"))
    else:
        _print(frame.to_string().splitlines())
    return 0


def _export(options: argparse.Namespace) -> int:
    log = _log(options)
    columns = None if options.columns is None else options.columns.split(",")
    kind = os.path.splitext(options.dest)[1]
    if os.path.exists(options.dest):
        raise ValueError(f"{options.dest} is there already; give the name of a new file")
    chosen = {name: getattr(options, name) for name in ("start", "stop", "cmd", "key", "db")}
    if kind == ".parquet":
        if options.n is not None:
            raise ValueError("-n is for .csv and .jsonl; use --stop with .parquet")
        rows = log.to_parquet(options.dest, columns=columns, progress=_progress(), **chosen)
    elif kind in (".csv", ".jsonl"):
        rows = _export_text(log, options, columns, chosen, csv=kind == ".csv")
    else:
        raise ValueError(f"{options.dest}: give a name that ends in .parquet, .csv or .jsonl")
    if options.json:
        _json({"path": options.dest, "rows": rows})
    else:
        print(f"{options.dest}: {rows:,} commands")
    return 0


def _export_text(
    log: Log, options: argparse.Namespace, columns: list[str] | None, chosen: dict[str, Any], *, csv: bool
) -> int:
    rows = 0
    with open(options.dest, "x", encoding="utf-8", newline="") as file:
        frames: Any = log.to_pandas(columns=columns, chunksize=1 << 16, nrows=options.n, progress=_progress(), **chosen)
        for frame in frames:
            for name in frame.columns:
                if str(frame[name].dtype).startswith(("binary", "list")):
                    frame[name] = [_as_text(value) for value in frame[name]]
            if csv:
                frame.to_csv(file, header=rows == 0)
            else:
                frame.reset_index().to_json(file, orient="records", lines=True, date_format="iso")
            rows += len(frame)
    return rows


def _plain(value: Any) -> Any:
    """Values of a store for JSON: bytes become text, also those that are keys."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(each) for each in value), key=str)
    return value


def _as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if hasattr(value, "__iter__"):
        return json.dumps([_as_text(each) for each in value])
    return None


# --- strangers -------------------------------------------------------------------------------------------


def _pii(options: argparse.Namespace) -> int:
    kinds = {} if options.kinds is None else {"kinds": options.kinds.split(",")}
    found = _log(options).find_pii(show=options.show, **kinds)
    if options.json:
        _json(found.to_dict("records"))
    elif len(found):
        _print(found.to_string(index=False).splitlines())
    else:
        print("nothing was found that looks like personal data; names and free text are not looked for")
    return 0


def _anonymize(options: argparse.Namespace) -> int:
    if options.secret_file is None:
        secret = os.urandom(32)
    else:
        with open(options.secret_file, "rb") as file:
            secret = file.read().strip()
    plain = () if options.plain is None else tuple(options.plain.split(","))
    written = _log(options).anonymize(options.dest, secret=secret, plain=plain, verify=not options.no_verify)
    if options.json:
        _json(written.to_dict())
    else:
        _print(written.lines())
    return 1 if written.problems else 0
