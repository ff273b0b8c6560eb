"""What the shell makes of a log: ``aofnb salvage|recover|undo|export|pii|anonymize ...``; questions are in
`aofnb.cli_questions`.

Rules of this file: every command is one call on a `Log`, printed; nothing is ever written but into the new place that
the command line names. Heavy libraries are imported when a command runs, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import json
import os
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from aofnb import cli_questions
from aofnb.cli_questions import add_filters
from aofnb.cli_shared import (
    add_command,
    json_text,
    judged,
    next_lines,
    open_log,
    plain_value,
    print_lines,
    progress,
    shell_line,
)

if TYPE_CHECKING:
    from aofnb.forensics.log import Log

__all__ = ["EXAMPLES", "register"]

_EXAMPLES = """\
  aofnb salvage mydata                    what is damaged, and what can be had of it
  aofnb salvage mydata --to fixed         write that into the new directory fixed
  aofnb undo mydata FLUSHALL              what putting back the flushed keys would change
  aofnb undo mydata FLUSHALL --to fixed   do so, in the new directory fixed
  aofnb undo mydata 1330 --mode rewind    what ending the log before row 1330 would change
  aofnb recover mydata --stop '2026-11-20 14:03:05' --to fixed
                                          the data of that second, as a log of its own
  aofnb recover mydata --drop 1330 --keep 'cart:*' --to carts
                                          the carts alone, as if row 1330 had not been
  aofnb export mydata commands.parquet    for pandas, DuckDB, Spark
  aofnb export mydata carts.csv --key 'cart:*' --columns ts,cmd,key,args
                                          for a spreadsheet
  aofnb pii mydata                        may I show this to a stranger?
  aofnb anonymize mydata safe             the same log without what it says
  aofnb anonymize mydata safe --plain cart,order --secret-file secret
                                          the same names each time, and these words as they are
"""
EXAMPLES = cli_questions.EXAMPLES + _EXAMPLES


def register(commands: Any) -> None:
    """Add the commands to argparse's subparsers, questions first; each sets `run`."""
    cli_questions.register(commands)

    salvage = _add(commands, "salvage", _salvage, "bring back all that is legible of a damaged log", resync=False)
    salvage.add_argument("--to", metavar="DIR", help="write it into this new directory; without it nothing is written")
    _verifies(salvage)

    recover = _add(
        commands,
        "recover",
        _recover,
        "make a log that ends earlier, lacks commands, or has some keys only",
        positions=True,
    )
    recover.add_argument("--to", metavar="DIR", help="write it into this new directory; without it the plan is printed")
    recover.add_argument("--stop", metavar="POSITION", help="leave out everything from here on")
    recover.add_argument(
        "--drop", metavar="WHAT", action="append", help="leave out this command: a position, or a name such as FLUSHALL"
    )
    recover.add_argument(
        "--keep", metavar="PATTERN", type=os.fsencode, action="append", help="only keys that match, as KEYS reads it"
    )
    recover.add_argument("--full", action="store_true", help="name every key that changes")
    _verifies(recover)

    undo = _add(commands, "undo", _undo, "undo commands, such as a FLUSHALL", positions=True)
    undo.add_argument("what", metavar="WHAT", help="a position, or the name of a command")
    undo.add_argument("--to", metavar="DIR", help="write it into this new directory; without it the plan is printed")
    undo.add_argument(
        "--mode",
        choices=("graft", "rewind", "excise"),
        default="graft",
        help="graft (the default): put back what is absent now; rewind: end before it; excise: run all but it",
    )
    undo.add_argument("--full", action="store_true", help="name every key that changes")
    _verifies(undo)

    export = _add(
        commands, "export", _export, "write the commands as a table: .parquet, .csv or .jsonl", positions=True
    )
    export.add_argument("dest", metavar="DEST", help="a file that does not exist, named by its format")
    export.add_argument("--columns", metavar="NAMES", help="with commas between them, as in aofnb.read_aof")
    add_filters(export)

    pii = _add(commands, "pii", _pii, "count what looks like personal data; values are masked")
    pii.add_argument("--kinds", metavar="KINDS", help="with commas between them: email,jwt,card,phone,ip")
    pii.add_argument("--show", action="store_true", help="print an example of each as it is")

    anonymize = _add(commands, "anonymize", _anonymize, "write the log without what it says, for a stranger")
    anonymize.add_argument("dest", metavar="DEST", help="a new directory")
    anonymize.add_argument(
        "--secret-file",
        metavar="FILE",
        help="the same secret makes the same names; without it one is made up and forgotten",
    )
    anonymize.add_argument("--plain", metavar="WORDS", help="words that stay as they are, with commas between them")
    _verifies(anonymize)


def _add(commands: Any, name: str, run: Any, help_: str, **more: Any) -> argparse.ArgumentParser:
    return add_command(commands, name, run, help_, examples=_EXAMPLES, **more)


def _verifies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-verify", action="store_true", help="do not load the new log to see that it is right")


# --- damage and repair -----------------------------------------------------------------------------------


def _salvage(options: argparse.Namespace) -> int:
    log = open_log(options)
    report = log.salvage(options.to, dry_run=options.to is None, verify=not options.no_verify, progress=progress())
    if options.json:
        json_text(report.to_dict())
    elif report.written is None:
        todo = _not_yet(options, "salvage", why=f"writes {report.kept:,} commands there")
        print_lines([*report.lines()[:-1], *(todo if report.kept else todo[:1])])
    else:
        print_lines([*report.lines(), *_what_now(options, report.written)])
    if report.damage.exit_code == 2 or report.written is None:
        return report.damage.exit_code
    return 1 if report.written.problems else 0


def _recover(options: argparse.Namespace) -> int:
    from aofnb.forensics.recover import commands_of

    if options.drop is None and options.stop is None and options.keep is None:
        raise ValueError(
            "say what to leave out: --stop POSITION, --drop WHAT, or --keep PATTERN for all but these keys"
        )
    log = open_log(options)
    if (code := judged(log, options)) == 2:
        return code
    drop = None if options.drop is None else commands_of(log, options.drop, progress())
    plan = log.recover(drop=drop, stop=options.stop, keep=options.keep, progress=progress())
    words: list[object] = [word for each in options.drop or () for word in ("--drop", each)]
    words += ["--stop", options.stop] if options.stop is not None else []
    words += [word for each in options.keep or () for word in ("--keep", each)]
    return max(code, _planned(options, plan, "recover", *words))


def _undo(options: argparse.Namespace) -> int:
    log = open_log(options)
    if (code := judged(log, options)) == 2:
        return code
    plan = log.undo(options.what, options.mode, progress=progress())
    return max(code, _planned(options, plan, "undo", options.what, "--mode", options.mode))


def _planned(options: argparse.Namespace, plan: Any, command: str, *words: object) -> int:
    if options.to is None:
        if options.json:
            json_text(plan.to_dict(keys=options.full))
        else:
            print_lines(
                [
                    *plan.lines(full=options.full)[:-1],
                    *_not_yet(options, command, *words, why="writes it into a new directory"),
                ]
            )
        return 0
    written = plan.write(options.to, verify=not options.no_verify, progress=progress())
    if options.json:
        json_text({**plan.to_dict(keys=options.full), "written": written.to_dict()})
    else:
        print_lines([*plan.lines(full=options.full)[:-1], *written.lines(), *_what_now(options, written)])
    return 1 if written.problems else 0


def _not_yet(options: argparse.Namespace, command: str, *words: object, why: str) -> list[str]:
    return ["nothing was written", *next_lines([(shell_line(command, options.path, *words, "--to", "DIR"), why)])]


def _what_now(options: argparse.Namespace, written: Any) -> list[str]:
    """What to do with a new log."""
    compared = shell_line("compare", options.path, written.path, "--level", "state")
    return next_lines(
        [(compared, "which keys differ"), (f"redis-server --appendonly yes --dir {written.path}", "serves it")]
    )


# --- out ---------------------------------------------------------------------------------------------------


def _export(options: argparse.Namespace) -> int:
    log = open_log(options)
    if (code := judged(log, options)) == 2:
        return code
    columns = None if options.columns is None else options.columns.split(",")
    kind = os.path.splitext(options.dest)[1]
    if os.path.exists(options.dest):
        raise ValueError(f"{options.dest} is there already; give the name of a new file")
    directory = os.path.dirname(options.dest) or "."
    if not os.access(directory, os.W_OK):
        raise ValueError(f"{options.dest}: {directory} is no directory that may be written; name a file in another")
    chosen = {name: getattr(options, name) for name in ("start", "stop", "cmd", "key", "db")}
    if kind == ".parquet":
        if options.n is not None:
            raise ValueError("-n is for .csv and .jsonl; use --stop with .parquet")
        rows = log.to_parquet(options.dest, columns=columns, progress=progress(), **chosen)
    elif kind in (".csv", ".jsonl"):
        rows = _export_text(log, options, columns, chosen, csv=kind == ".csv")
    else:
        raise ValueError(f"{options.dest}: give a name that ends in .parquet, .csv or .jsonl")
    if options.json:
        json_text({"path": options.dest, "rows": rows})
    else:
        print(f"{options.dest}: {rows:,} commands")
    return code


def _export_text(
    log: Log, options: argparse.Namespace, columns: list[str] | None, chosen: dict[str, Any], *, csv: bool
) -> int:
    unfinished = f"{options.dest}.{os.getpid()}.tmp"
    try:
        with open(unfinished, "x", encoding="utf-8", newline="") as file:
            rows = _write_text(log, options, columns, chosen, file, csv=csv)
        os.replace(unfinished, options.dest)
    except BaseException:
        # Half a table must not look like a whole one.
        with suppress(OSError):
            os.unlink(unfinished)
        raise
    return rows


def _write_text(
    log: Log,
    options: argparse.Namespace,
    columns: list[str] | None,
    chosen: dict[str, Any],
    file: IO[str],
    *,
    csv: bool,
) -> int:
    rows = 0
    frames: Any = log.to_pandas(columns=columns, chunksize=1 << 16, nrows=options.n, progress=progress(), **chosen)
    for frame in frames:
        for name in frame.columns:
            if str(frame[name].dtype).startswith(("binary", "list")):
                plain = [_plain(value) for value in frame[name]]
                # A cell of a spreadsheet is one text.
                frame[name] = [_cell(value) for value in plain] if csv else plain
        if csv:
            frame.to_csv(file, header=rows == 0)
        else:
            frame.reset_index().to_json(file, orient="records", lines=True, date_format="iso")
        rows += len(frame)
    return rows


def _plain(value: Any) -> Any:
    """Bytes, or a list of them, as text; None for what is not there."""
    if isinstance(value, bytes):
        return plain_value(value)
    return [_plain(each) for each in value] if hasattr(value, "__iter__") else None


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


# --- strangers -------------------------------------------------------------------------------------------


def _pii(options: argparse.Namespace) -> int:
    kinds = {} if options.kinds is None else {"kinds": options.kinds.split(",")}
    log = open_log(options)
    if (code := judged(log, options)) == 2:
        return code
    found = log.find_pii(show=options.show, progress=progress(), **kinds)
    if options.json:
        json_text(found.to_dict("records"))
        return code
    if len(found):
        print_lines(found.to_string(index=False).splitlines())
        print("names and free text are not looked for: there may be more")
    else:
        print("nothing was found that looks like personal data; names and free text are not looked for")
    print_lines(next_lines([(shell_line("anonymize", options.path, "DIR"), "the same log without what it says")]))
    return code


def _anonymize(options: argparse.Namespace) -> int:
    if options.secret_file is None:
        secret = os.urandom(32)
    else:
        with open(options.secret_file, "rb") as file:
            secret = file.read().strip()
    plain = () if options.plain is None else tuple(options.plain.split(","))
    log = open_log(options)
    if (code := judged(log, options)) == 2:
        return code
    written = log.anonymize(options.dest, secret=secret, plain=plain, verify=not options.no_verify, progress=progress())
    if options.json:
        json_text(written.to_dict())
    else:
        ask = (shell_line("cat", written.path, "-n", "20"), "look before you show it")
        print_lines([*written.lines(), *next_lines([ask, (shell_line("pii", written.path), "and count again")])])
    return max(code, 1 if written.problems else 0)
