"""The command line: ``aofnb check ...``; what asks a log is in `aofnb.cli_forensics`.

Rules of this file: what is printed is made here, what is known comes from the library; results go to stdout, errors to
stderr as one line that ends with the remedy; nothing is changed unless an option asks for it by name.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

from aofnb import cli_forensics
from aofnb._version import VERSION
from aofnb.aof.check import CheckReport, FileCheck, Fixed, Outcome, check, fix
from aofnb.cli_shared import complain, examples_of, progress, shell_line
from aofnb.errors import AofError, AofnbError

if TYPE_CHECKING:
    from aofnb.forensics.damage import DamageReport

__all__ = ["main"]

_EXAMPLES = """\
  aofnb check mydata                      is it whole? if not: where, and what would each tool lose?
  aofnb serve mydata --port 7000          let redis-cli and other clients connect
"""
# In the order in which somebody asks who has had an accident.
_FIRST = (
    "triage", "check", "salvage", "history", "at", "diff", "find", "blame", "bisect", "undo", "recover", "compare",
    "waste", "top", "cat", "follow", "export", "pii", "anonymize", "serve",
)  # fmt: skip
_EPILOG = """
Where mydata is what redis-server calls dir, and what aofnb.open was given. `aofnb COMMAND --help`
has more examples. Nothing that is read is ever changed, but by `aofnb check --fix`; all that is
made goes into a new place.

exit code: 0 fine, 1 damaged but salvageable, 2 unreadable
"""

_CHECK_EXAMPLES = """\
examples:
  aofnb check mydata                      a data directory, ours or redis-server's
  aofnb check mydata/appendonlydir        the directory of the log
  aofnb check backup/appendonly.aof.manifest
  aofnb check backup/appendonly.aof.1.incr.aof
                                          one file
  aofnb check --fix mydata                copy the last file beside itself, then cut its end
  aofnb check --truncate-to-timestamp 1795185923 mydata
                                          where to cut to go back to that second
  aofnb check --truncate-to-timestamp 1795185923 --fix mydata
                                          and cut there

Three answers are given for each file: the verdict of redis-check-aof 7.0.15, what
redis-server 7.0.15 does when it starts with it, and what aofnb.open does. Where the last
two cut the file they can differ: aofnb cuts in front of a transaction that is not whole.
A snapshot (RDB) at the front of a file is read to its end, checksum and values; what is
wrong is told with its place. Cutting mends no snapshot, so --fix leaves the log alone.
One of a newer server is judged as that server's tool does; 7.0.15 itself refuses it.
Commands are not judged: an unknown one is met when the log is loaded.

--json prints one object. Its fields stay what they are; new ones may be added:
  path, directory, manifest  what was given; the directory with the log in it; its manifest
                             or null
  problem                    what is wrong with the manifest or its files, or null
  verdict, verdict_after     "valid" or "damaged"; the second after --fix
  ok_up_to, damage, cut_at   of the first file that is not valid (cut_at of the last file)
  server, aofnb              what each does with the whole: {action, offset, reason}, where
                             action is "loads", "cuts", "refuses" or "unknown"
  files                      in the order of loading: path, name, size, type ("base", "incr",
                             "single"), last, snapshot, verdict ("valid", "empty", "damaged",
                             "missing"), ok_up_to, ok_up_to_line, damage (null, or {kind,
                             offset, reason}), server, aofnb, cut_at, truncate_at,
                             line_ends_changed
  fixed                      null, or {path, cut_at, bytes_cut, copy}
  map                        null, or of a log that is not valid: verdict ("damaged", "unreadable"),
                             commands, lost, truncation_keeps, regions (part, offset, nbytes,
                             kind, reason, lost), and more, as Log.check() has it

exit code:
  0  every file is valid or empty, or was made so, and loads
  1  something is wrong: the output says what and where
  2  there is no log, nothing in it is legible, or the command line cannot be understood
"""

_SERVE_EXAMPLES = """\
examples:
  aofnb serve mydata                      on 127.0.0.1, port 6379
  aofnb serve mydata --port 7000 --appendfsync always
  aofnb serve mydata --port 0 --unixsocket /tmp/redis.sock
  aofnb serve /etc/redis/redis.conf --daemonize no
  aofnb-server redis.conf                 the same, for rigs that want the path of one program

Settings are those of redis.conf, with the values it takes; an unknown one is refused by
name. What a redis.conf does not say is as redis-server has it: no log without
"appendonly yes" in it, but snapshots. A directory has a log. It listens on this machine
alone unless --bind says otherwise, and turns away whoever comes from elsewhere as long as
there is no password (--requirepass), as redis-server does.

exit code:
  0  ended by SIGTERM, SIGINT or SHUTDOWN, with everything durable
  1  the settings cannot be, the data cannot be loaded, or the port is taken: the log says which
"""

_WIDTH = 18
# What shells say of a program that a signal ended.
_BY_SIGNAL = 128


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    parser = _parser()
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["serve"] and not {"-h", "--help"} & set(words[1:2]):
        # Settings are given as redis-server takes them, which argparse cannot know.
        return _serve(words[1:])
    options, rest = parser.parse_known_args(words)
    if rest:
        _refuse(rest, options, parser)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        return int(options.run(options))
    except AofnbError as problem:
        complain(str(problem))
        return 2
    except BrokenPipeError:
        # Whoever reads has seen enough; there is nobody left to tell, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BY_SIGNAL + getattr(signal, "SIGPIPE", 13)
    except KeyboardInterrupt:
        complain("interrupted")
        return _BY_SIGNAL + signal.SIGINT


def _refuse(rest: Sequence[str], options: argparse.Namespace, parser: argparse.ArgumentParser) -> NoReturn:
    """Say what the command does not take, with its own usage, and exit with 2."""
    remedy = ""
    if len(rest) == 1 and not rest[0].startswith("-") and getattr(options, "to", "") is None:
        remedy = f"; a new directory is given as --to {shlex.quote(rest[0])}"
    named: argparse.ArgumentParser = getattr(options, "parser", parser)
    named.error(f"unrecognized arguments: {' '.join(rest)}{remedy}")


def _examples() -> str:
    """The first example of each command."""
    found = [examples_of(_EXAMPLES + cli_forensics.EXAMPLES, name)[0] for name in _FIRST]
    return "examples:\n" + "\n".join(line for each in found for line in each) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aofnb",
        description="Look after append-only files: those of aofnb, of redis-server and of its kin.",
        epilog=_examples() + _EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"aofnb {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    checking = commands.add_parser(
        "check",
        help="tell whether a log is whole, what a server would do with it, and repair its end",
        description="Tell whether a log is whole. Changes nothing without --fix.",
        epilog=_CHECK_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    checking.add_argument("path", metavar="PATH", help="a data directory, its appendonlydir, a manifest, or one file")
    checking.add_argument("--fix", action="store_true", help="copy the last file, then cut it at its last whole unit")
    checking.add_argument(
        "--truncate-to-timestamp",
        metavar="T",
        type=_seconds,
        help="find where what is newer than T begins (seconds since the epoch); with --fix cut there",
    )
    checking.add_argument("--json", action="store_true", help="print the report as JSON")
    checking.set_defaults(run=_check, parser=checking)
    cli_forensics.register(commands)
    commands.add_parser(
        "serve",
        help="serve a directory on a socket, in the foreground, where a redis-server would run",
        description="Serve a data directory to clients of Redis, until SIGTERM or SHUTDOWN.",
        usage="aofnb serve [DIR | redis.conf] [--port PORT] [--setting value ...]",
        epilog=_SERVE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _serve(words: Sequence[str]) -> int:
    from aofnb.adapters.serve import main as serve

    return serve(words)


def _seconds(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is no time; give whole seconds since the epoch, as in #TS: lines"
        )
    return int(text)


# --- check -----------------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    from aofnb.forensics.reading import teller
    from aofnb.forensics.sources import is_address

    if options.path == "-" or is_address(options.path):
        raise AofError(
            f"check judges files as a server finds them, so copy {options.path} here first; "
            f"{shell_line('triage', options.path)} reads it as it is"
        )
    timestamp_s: int | None = options.truncate_to_timestamp
    report = check(options.path, timestamp_s=timestamp_s, progress=teller(progress()))
    fixed = None
    # A log that is damaged in front of that time is not cut to it: what would be left is damaged still.
    if options.fix and (timestamp_s is None or report.verdict == "valid"):
        try:
            fixed = fix(report, truncate=timestamp_s is not None)
        except AofnbError as problem:
            print(f"aofnb: {_shown(str(problem))}", file=sys.stderr)
            return 1
    after = check(options.path, progress=teller(progress())) if fixed is not None else report
    damage = None if _is_fine(after) else _damage_map(options.path)
    if options.json:
        print(json.dumps(_as_json(report, fixed, after, damage), indent=2))
    else:
        for line in _lines(report, fixed, after, timestamp_s, damage):
            print(_shown(line))
    return 0 if _is_fine(after) else 2 if damage is not None and damage.verdict == "unreadable" else 1


def _is_fine(report: CheckReport) -> bool:
    """Whether the log is whole: redis-check-aof lets pass what no server loads, such as ``*-1``."""
    return report.verdict == "valid" and report.aofnb.action != "refuses"


def _damage_map(path: str) -> DamageReport | None:
    """What is legible over all damage; None where the files cannot be found for that."""
    from aofnb.forensics.log import scan

    try:
        return scan(path, on_bad="resync").check(progress=progress())
    except (AofnbError, OSError):
        return None


def _as_json(
    report: CheckReport, fixed: Fixed | None, after: CheckReport, damage: DamageReport | None
) -> dict[str, Any]:
    """The report as plain values: the fields of `CheckReport`, and what follows from them."""
    return {
        **asdict(report),
        "verdict": report.verdict,
        "ok_up_to": report.ok_up_to,
        "damage": None if report.damage is None else asdict(report.damage),
        "cut_at": report.cut_at,
        "server": asdict(report.server),
        "aofnb": asdict(report.aofnb),
        "fixed": None if fixed is None else asdict(fixed),
        "verdict_after": after.verdict,
        "map": None if damage is None else damage.to_dict(),
    }


def _lines(
    report: CheckReport, fixed: Fixed | None, after: CheckReport, timestamp_s: int | None, damage: DamageReport | None
) -> Iterator[str]:
    """The report for a person."""
    if report.manifest is not None:
        yield report.manifest
        yield f"    {report.problem}" if report.problem else f"    lists {_count(len(report.files), 'file')} to load"
    else:
        yield f"{report.files[0].path}, by itself"
    yield ""
    for file in report.files:
        yield from _file_lines(file, timestamp_s)
        yield ""
    if fixed is not None:
        yield f"Fixed: {fixed.path} was cut at byte {fixed.cut_at}; {_count(fixed.bytes_cut, 'byte')} went."
        yield f"Its old content is in {fixed.copy}; delete that once you are sure."
        if after.verdict == "valid":
            yield "The log is valid now."
            return
    if damage is not None and damage.verdict == "unreadable":
        # Cutting what is no log leaves nothing of it.
        yield "The log is not valid."
    else:
        yield from _advice(after, timestamp_s)
    if damage is not None:
        yield ""
        yield from _map_lines(damage, after)


def _map_lines(damage: DamageReport, report: CheckReport) -> Iterator[str]:
    """Each damaged place, what is lost there, and what each way out keeps."""
    yield from damage.places()
    if damage.verdict == "unreadable":
        yield "Nothing in it is legible."
        return
    yield f"{damage.told_legible()}."
    cutting = f"Cutting keeps {damage.truncation_keeps:,}. " if report.cut_at is not None else ""
    yield f"{cutting}Salvage keeps {damage.kept:,}:"
    yield f"  {shell_line('salvage', report.path)}   # says what it would write; --to DIR writes it"


def _file_lines(file: FileCheck, timestamp_s: int | None) -> Iterator[str]:
    snapshot = ", begins with a snapshot" if file.snapshot else ""
    yield f"{file.name}  ({file.type}, {_count(file.size, 'byte')}{snapshot})"
    verdict: str = file.verdict
    if file.damage is not None and file.damage.kind == "snapshot":
        verdict = f"not valid: its snapshot, byte {file.damage.offset}: {file.damage.reason}"
    elif file.verdict == "damaged":
        verdict = f"not valid: ok up to byte {file.ok_up_to}, line {file.ok_up_to_line}"
        if file.damage is not None:
            verdict += f"; byte {file.damage.offset}: {file.damage.reason}"
    yield _labelled("redis-check-aof", verdict)
    yield _labelled("redis-server", _told(file.server, file, "starts"))
    yield _labelled("aofnb", _told(file.aofnb, file, "opens"))
    if timestamp_s is not None and file.truncate_at is not None:
        newer = _count(file.size - file.truncate_at, "byte")
        yield _labelled("since then", f"what is newer than {timestamp_s} begins at byte {file.truncate_at}: {newer}")


def _told(outcome: Outcome, file: FileCheck, starts: str) -> str:
    """One outcome in words."""
    if outcome.action == "loads":
        return f"loads it; but {outcome.reason}" if outcome.reason else "loads it"
    if outcome.action == "cuts":
        assert outcome.offset is not None
        gone = _count(file.size - outcome.offset, "byte")
        return f"{starts}, having cut it at byte {outcome.offset} ({gone} gone): {outcome.reason}"
    return f"{'cannot be told' if outcome.action == 'unknown' else 'refuses it'}: {outcome.reason}"


def _advice(report: CheckReport, timestamp_s: int | None) -> Iterator[str]:
    """The verdict on the whole, and what to do."""
    last = report.files[-1] if report.files else None
    if report.verdict == "valid" and not _is_fine(report):
        yield "The log is not valid: redis-check-aof lets it pass, and no server loads it."
    else:
        yield {"valid": "The log is valid.", "damaged": "The log is not valid."}[report.verdict]
    if last is not None and last.truncate_at is not None:
        if report.verdict == "valid":
            yield "`aofnb check --truncate-to-timestamp T --fix` copies the last file, then cuts what is newer."
    elif timestamp_s is not None and report.verdict == "damaged":
        yield f"So it cannot be truncated to {timestamp_s}: mend what is told above first."
    elif timestamp_s is not None:
        yield f"Nothing in it is known to be newer than {timestamp_s}: there is nothing to truncate."
    elif report.problem is None:
        yield from _remedy(report)


def _remedy(report: CheckReport) -> Iterator[str]:
    last = report.files[-1] if report.files else None
    stopped = any(file.aofnb.action == "refuses" for file in report.files[:-1])
    if last is not None and last.line_ends_changed:
        yield (
            "The line ends were changed, as git does with text; every byte else is there, so do not cut. "
            "`aofnb.read_aof` reads the file as it is; bring it back from where its line ends are whole, "
            "and put `*.aof -text` into .gitattributes."
        )
    elif last is not None and last.cut_at is not None and last.last and not stopped:
        gone = _count(last.size - last.cut_at, "byte")
        fixing = f"`aofnb check --fix` copies the last file, then cuts it at byte {last.cut_at}"
        if last.aofnb.action == "cuts":
            yield f"{fixing}; so does opening it, without the copy. {gone} go."
        else:
            yield f"{fixing}. {gone} would go, with every command behind the damage; the copy keeps them."
    elif stopped or report.aofnb.action == "refuses":
        yield "Cutting does not mend this: bring the file back from a backup or from a replica."
    elif report.verdict == "damaged" and report.aofnb.action == "loads":
        yield (
            "Servers and aofnb load it all the same, whole: do not let redis-check-aof --fix cut it. "
            "BGREWRITEAOF, here or there, writes a log that everyone accepts."
        )


def _labelled(label: str, text: str) -> str:
    return f"    {label:<{_WIDTH}}{text}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def _shown(text: str) -> str:
    """`text` with what cannot be printed, such as bytes of a file name, spelled out."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
