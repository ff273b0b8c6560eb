"""What the shell's commands on logs share: their options, how damage and errors are told, how bytes are printed.

Rules of this file: results go to stdout, everything said about them to stderr; the exit code says how whole the log is;
bytes of a log are escaped before they reach a terminal.
"""

from __future__ import annotations

import argparse
import errno
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from aofnb.errors import AofnbError

if TYPE_CHECKING:
    from aofnb.forensics.log import Log

__all__ = [
    "add_command",
    "code_of",
    "complain",
    "examples_of",
    "how_many",
    "json_line",
    "json_of",
    "json_text",
    "judged",
    "moment",
    "next_lines",
    "open_log",
    "plain_value",
    "print_lines",
    "progress",
    "quoted",
    "safe",
    "said",
    "shell_line",
    "value_text",
]

_CODES = """\
exit code:
  0  fine
  1  damaged, but salvageable: the answer is of what is legible; also where a command that
     was asked for gives an error, a new log has a problem that is told, or two logs differ
  2  unreadable, or the command line cannot be understood
"""

_POSITIONS = """\
A position is a row (57), a place (appendonly.aof.1.incr.aof:4096), a time ('2026-11-20
14:03:05', or 14:03 if that was on one day only; UTC unless it says otherwise; with ~ in
front estimated, where the log has no times), start or end. It stands before the command it
names; a time stands behind all commands of that second.
"""

_SHOWN_BYTES = 120
_SHOWN_ARGS = 10
_SHOWN_VALUE = 160


# --- the command line ------------------------------------------------------------------------------------


def add_command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    help_: str,
    *,
    examples: str,
    paths: Sequence[str] = ("PATH",),
    positions: bool = False,
    resync: bool = True,
) -> argparse.ArgumentParser:
    """A command that asks a log; `examples` is where lines about it are found.

    `positions` says that it takes some, and so explains them; without `resync` it reads on behind damage anyway.
    """
    shown = [line for each in examples_of(examples, name) for line in each]
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help_,
        description=help_[0].upper() + help_[1:] + ". What is read is never written.",
        epilog="\n".join(["examples:", *shown, "", *([_POSITIONS] if positions else []), _CODES]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for path in paths:
        parser.add_argument(
            path.lower(),
            metavar=path,
            help="a data directory, its appendonlydir, a manifest, one file, an address such as s3://..., or -",
        )
    parser.add_argument("--json", action="store_true", help="print JSON")
    if resync:
        parser.add_argument("--resync", action="store_true", help="read on behind damage")
    parser.set_defaults(resync=not resync, run=lambda options: _guarded(run, options), parser=parser)
    return parser


def how_many(text: str) -> int:
    """What ``-n`` takes."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return number


def examples_of(examples: str, name: str) -> list[list[str]]:
    """The examples of one command: the lines of each, since a long one has its explanation in a second line."""
    found: list[list[str]] = []
    follows = False
    for line in examples.splitlines():
        if line.startswith(" " * 20):
            if follows:
                found[-1].append(line)
            continue
        follows = line.startswith(f"  aofnb {name} ")
        if follows:
            found.append([line])
    return found


def _guarded(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    try:
        return run(options)
    except BrokenPipeError:
        raise
    except OSError as problem:
        place = f"{problem.filename}: " if problem.filename else ""
        complain(f"{place}{problem.strerror or problem}{_remedy(problem)}")
        return 2
    except (AofnbError, ValueError, TypeError, LookupError) as problem:
        complain(str(problem))
        return 2


def complain(text: str) -> None:
    """Say on stderr why there is no answer, in place of the progress that a terminal may still show."""
    cleared = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{cleared}aofnb: {safe(text)}", file=sys.stderr)


def _remedy(problem: OSError) -> str:
    if isinstance(problem, PermissionError):
        return "; ask as a user who may do that, or name another place"
    if isinstance(problem, FileNotFoundError | NotADirectoryError):
        return "; give a data directory, a manifest or a file"
    return "; nothing was left half written" if problem.errno == errno.ENOSPC else ""


def open_log(options: argparse.Namespace, path: str | None = None) -> Log:
    """The log that the command line names; ``-`` is what comes in on standard input."""
    from aofnb.forensics.log import scan

    path = options.path if path is None else path
    source = sys.stdin.buffer if path == "-" else path
    return scan(source, on_bad="resync" if options.resync else "truncate")


def progress() -> bool:
    """Whether somebody looks at a terminal."""
    return sys.stderr.isatty()


# --- damage ----------------------------------------------------------------------------------------------


def judged(log: Log, options: argparse.Namespace) -> int:
    """The exit code of the log itself; what is wrong is told. The first call reads the log once, if nothing is kept."""
    index = log.index(progress=progress())
    # What is legible of a cut command is a row, too.
    cut = sum(each["kind"] in ("truncated", "format") for each in index.damage)
    return code_of(log, index.damage, index.rows - cut, options)


def code_of(log: Log, damage: Iterable[dict[str, Any]], legible: int, options: argparse.Namespace) -> int:
    """The exit code for what reading met, if so many commands are legible; tells it."""
    from aofnb.forensics.reading import HARMLESS

    harm = [each for each in damage if each["kind"] not in HARMLESS]
    if not harm:
        return 0
    first = harm[0]
    where = f"{first['part']}, byte {first['offset']}: {first['reason']}"
    if legible <= 0:
        print(f"aofnb: {safe(where)}", file=sys.stderr)
        return 2
    check = shell_line("check", str(log.source) if not hasattr(options, "path") else options.path)
    if log.tolerant == "resync":
        more = f" and {len(harm) - 1} places more" if len(harm) > 1 else ""
        told = f"damaged: {where}{more}; what is behind is read, too, and may be wrong; {check}   # says more"
    elif first["kind"] == "checksum":
        told = f"damaged: {where}; it was read all the same, and no server does; {check}   # says more"
    elif first["kind"] in ("open_multi", "truncated"):
        told = f"cut short: {where}; {check}   # says more"
    else:
        told = f"damaged: {where}; this answer knows only what is before; --resync reads on; {check}   # says more"
    print(f"aofnb: {safe(told)}", file=sys.stderr)
    return 1


# --- printing --------------------------------------------------------------------------------------------


def print_lines(lines: Iterable[str]) -> None:
    """Lines on stdout, escaped."""
    for line in lines:
        print(safe(line))


def json_text(content: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(plain_value(content), indent=2, default=str, allow_nan=False))


def json_line(content: Any) -> None:
    """One JSON document on a line of its own."""
    print(json_of(content), flush=True)


def json_of(content: Any) -> str:
    """JSON that every reader takes: it has neither NaN, which becomes null, nor infinite numbers, which become text."""
    return json.dumps(plain_value(content), default=str, allow_nan=False)


def shell_line(command: str, path: str, *words: object) -> str:
    """A command line to copy: `aofnb.forensics.words.shell_line`, which is imported when it is needed."""
    from aofnb.forensics import words as texts

    return texts.shell_line(command, path, *words)


def next_lines(lines: Sequence[tuple[str, str]]) -> list[str]:
    """What to type next, and why."""
    return ["next:", *(f"  {line}   # {why}" for line, why in lines)] if lines else []


def safe(text: str) -> str:
    """`text` with what could drive a terminal, or cannot be printed, spelled out."""
    plain = "".join(
        char if char.isprintable() or char in "\t" else char.encode("unicode_escape").decode() for char in text
    )
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return plain.encode(encoding, "backslashreplace").decode(encoding)


def moment(ts: Any) -> str:
    """A time of a column, as positions take it; empty where there is none."""
    return "" if ts is None or ts != ts else f"{ts:%Y-%m-%d %H:%M:%S}"


def quoted(arg: bytes, full: bool = False) -> str:
    """An argument as a person would type it for redis-cli; letters are not spelled out."""
    from aofnb.forensics.words import size

    more = "" if full or len(arg) <= _SHOWN_BYTES else f" (+{size(len(arg) - _SHOWN_BYTES)})"
    shown = arg if full else arg[:_SHOWN_BYTES]
    text = shown.decode("utf-8", "surrogateescape")
    if shown and all(char.isalnum() or char in "_-.:/@*{}[]=~+," for char in text):
        return text + more
    return '"' + "".join(_spelled(char) for char in text) + '"' + more


def _spelled(char: str) -> str:
    """A character inside double quotes."""
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    return repr(char.encode("utf-8", "surrogateescape"))[2:-1]


def said(argv: Sequence[bytes], full: bool = False) -> str:
    """A command as a person would type it; many arguments are cut."""
    shown = argv if full or len(argv) <= _SHOWN_ARGS + 2 else argv[:_SHOWN_ARGS]
    more = "" if len(shown) == len(argv) else f" ... (+{len(argv) - len(shown)} arguments)"
    return " ".join(quoted(arg, full) for arg in shown) + more


def value_text(value: Any, full: bool = False) -> str:
    """A value of Python as text, shortened."""
    text = _value_text(value, full)
    return text if full or len(text) <= _SHOWN_VALUE else text[: _SHOWN_VALUE - 3] + "..."


def _value_text(value: Any, full: bool) -> str:
    if value is None:
        return "(nothing)"
    if isinstance(value, bytes):
        return quoted(value, full)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_value_text(k, full)}: {_value_text(v, full)}" for k, v in value.items()) + "}"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(_value_text(each, full) for each in value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value_text(each, full) for each in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def plain_value(value: Any) -> Any:
    """Values of a store for JSON: bytes become text, also those that are keys; so do infinite scores."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else f"{value:g}"
    if isinstance(value, dict):
        return {str(plain_value(key)): plain_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((plain_value(each) for each in value), key=str)
    return value
