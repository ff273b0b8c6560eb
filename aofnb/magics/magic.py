"""``%redis``, ``%%redis`` and ``%aof``.

One cell, from text to display:

1. split and take the options away; nothing has run if this fails;
2. find the store; evaluate every ``{{...}}``;
3. run all commands as one turn: one write, one fsync; the first error reply ends it, unless ``--keep-going``;
4. show, store or return the replies.

So a mistake of spelling in the last line leaves nothing half done, and an error reply stops "Run All".
"""

from __future__ import annotations

import ast
import difflib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, needs_local_scope, no_var_expand
from IPython.display import display as _untyped_display
from traitlets import Bool, Enum, Int, observe

import aofnb
from aofnb.commands.blocking import timeout_of
from aofnb.commands.registry import all_commands
from aofnb.errors import AofnbError, ReplyError
from aofnb.magics import logview, show
from aofnb.magics.cells import AnyStore, Cells, is_remote
from aofnb.magics.help import Help, command_help, overview, usage
from aofnb.magics.parse import AOF_OPTIONS, Given, MagicError, Statement, bind, options, options_first, statements
from aofnb.magics.questions import at, check_log, history, log_path, top, triage
from aofnb.magics.replies import DISPLAY, CellError, Lines, Replies, command_text, plain, wrap
from aofnb.magics.stores import Stores

__all__ = ["AofnbMagics"]

display: Callable[..., Any] = _untyped_display


@magics_class
class AofnbMagics(Magics):
    """The magics, and what ``%config AofnbMagics`` sets."""

    on_error = Enum(
        ["raise", "continue"], default_value="raise", help="What an error reply does: stop the cell, or be shown."
    ).tag(config=True)
    expand = Bool(True, help="Whether {{expr}} in unquoted text is a Python expression.").tag(config=True)
    html = Bool(True, help="Whether arrays and cells are shown as tables where the front-end can.").tag(config=True)
    max_bytes = Int(show.LIMITS.bytes, min=0, help="Bytes shown of one string; 0 for all.").tag(config=True)
    max_items = Int(show.LIMITS.items, min=0, help="Items shown of one array; 0 for all.").tag(config=True)
    max_rows = Int(show.LIMITS.rows, min=0, help="Replies shown of one cell; 0 for all.").tag(config=True)
    complete_keys = Bool(True, help="Whether Tab offers the keys of the store.").tag(config=True)
    complete_ms = Int(50, min=1, help="For how many milliseconds Tab looks for keys.").tag(config=True)

    shell: Any  # an InteractiveShell, with parts that its stubs do not tell of

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.stores = Stores()
        # The last %redis of the running cell gave nil, which IPython does not display; `after_cell` does.
        self._nil = False
        self._show_as_configured()

    @observe("html", "max_bytes", "max_items", "max_rows")
    def _show_as_configured(self, _change: object = None) -> None:
        leaves = show.LIMITS.leaves if self.max_items else 0
        DISPLAY.limits = show.Limits(self.max_bytes, self.max_items, self.max_rows, leaves)
        DISPLAY.html = self.html

    # --- %redis ------------------------------------------------------------------------------------------

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    def redis(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        r"""Run Redis commands on the open store.

        %redis [options] COMMAND [argument ...]     one command; x = %redis GET k gives its reply

        %%redis [options]                           one command a line, all as one turn: one write, one fsync

        Words are split as redis-cli splits them: "two words", 'literal', "\x00\n". A line that begins with
        # is a comment. {{expr}} in unquoted text is one argument, whatever is in it; {{*items}} is one for each
        item, {{**mapping}} gives fields and values. %redis SET? is help on a command.

        Options:

        """
        self._nil = False
        namespace = self._namespace(local_ns)
        given, commands = self._parse(line, cell, namespace)
        if cell is None and commands and _is_help(commands[0]):
            return _help(bind(commands[0], namespace)[1:])
        store = self._store(given, commands, namespace)
        if store is None or not commands:
            return None
        single = cell is None and len(commands) == 1
        argvs = [bind(command, namespace) for command in commands]
        try:
            replies = self._run(store, given, commands, argvs, single)
        except AofnbError as problem:
            raise _compact(problem) from None
        return self._give(given, replies, single)

    def _namespace(self, local_ns: dict[str, Any] | None) -> Mapping[str, Any]:
        user_ns: dict[str, Any] = self.shell.user_ns
        return user_ns if local_ns is None or local_ns is user_ns else {**user_ns, **local_ns}

    def _parse(self, line: str, cell: str | None, namespace: Mapping[str, Any]) -> tuple[Given, list[Statement]]:
        """Options, and the commands of the line and of the cell below it."""
        given = Given()
        commands: list[Statement] = []
        bindings = self.expand and not _no_vars(line, namespace)
        for first in statements(line, bindings=bindings):
            given, rest = options(first, namespace)
            if rest is not None:
                commands.append(rest)
        if cell is not None:
            commands += statements(cell, first_line=2, bindings=bindings)
        if (
            not commands
            and given.open is given.connect is None
            and not given.close
            and (cell is None or not cell.strip())
        ):
            raise MagicError("a command is missing: %redis SET greeting hello; %redis? says more")
        return given, commands

    def _store(self, given: Given, commands: Sequence[Statement], namespace: Mapping[str, Any]) -> AnyStore | None:
        """The store or server that is meant; None where one was just closed."""
        if given.close:
            if commands:
                raise MagicError(
                    "--close takes nothing behind it; to close a store by its name: "
                    f"%redis --store {commands[0].source} --close"
                )
            self._close(self.stores.find(given.store, namespace), quiet=given.quiet)
            return None
        if given.open is None and given.connect is None:
            return self.stores.find(given.store, namespace)
        try:
            if given.connect is not None:
                store = self.stores.connect(given.connect, given.store)
            else:
                assert given.open is not None
                store = self.stores.open(given.open, given.store, given.settings, namespace, readonly=given.readonly)
        except AofnbError as problem:
            raise _compact(problem) from None
        if given.out is not None and not commands:
            self.shell.user_ns[given.out] = store
        elif not given.quiet and not commands:
            display({"text/plain": self._opened(store)}, raw=True)
        return store

    def _opened(self, store: AnyStore) -> str:
        if is_remote(store):
            return f"{self.stores.name_of(store)}: connected; commands run on that server from now on"
        keys = store.engine.keyspace.key_count()
        if store.readonly:
            mode = "read-only"
        elif store.engine.writer is None:
            mode = "no log: nothing is kept"
        else:
            mode = f"appendfsync {store.config_get('appendfsync')}"
        head = f"{self.stores.name_of(store)}: {show.counted(keys, 'key')}, {mode}"
        return "\n".join([head, *_oddities(store)])

    def _close(self, store: AnyStore, *, quiet: bool) -> None:
        """Close `store`; say what was lost by it and which store is meant from now on, if there is such news."""
        said = [f"{self.stores.name_of(store)} is closed"]
        multi = self.stores.cells(store).multi
        if multi is not None:
            dropped = show.counted(len(multi), "queued command")
            said.append(f"MULTI was open: {dropped} {'was' if len(multi) == 1 else 'were'} dropped")
        try:
            self.stores.close(store)
        except AofnbError as problem:
            raise _compact(problem) from None
        current = self.stores.current
        if current is not None:
            said.append(f"{self.stores.name_of(current)} is in use now")
        if len(said) > 1 and not quiet:
            display({"text/plain": "; ".join(said)}, raw=True)

    def _run(
        self, store: AnyStore, given: Given, commands: Sequence[Statement], argvs: Sequence[list[bytes]], single: bool
    ) -> Replies:
        """Run `argvs` as one turn, and show what ``--log`` and ``--time`` ask for."""
        cells = self.stores.cells(store)
        multi = cells.multi
        replies = Replies()
        failed: CellError | None = None
        with ExitStack() as stack:
            mark = logview.LogMark(store, stack) if given.log else None
            started_s = cells.monotonic()
            # One turn for all; but where one waits, each is its own, so that others can bring what it waits for. What
            # would wait for ever is inside a batch even then, where it is refused.
            waits = any(map(timeout_of, argvs))
            with nullcontext() if waits else cells.turn(), cells.selected(given.db):
                for command, argv in zip(commands, argvs, strict=True):
                    try:
                        with cells.turn() if waits and not timeout_of(argv) else nullcontext():
                            reply = cells.execute(argv)
                    except ReplyError as problem:
                        if not given.keep_going and self.on_error == "raise":
                            failed = CellError(problem, argv, None if single else command.line, replies)
                            failed.hints += _meant(problem, argv)
                            failed.hints += _misplaced(argv, single)
                            if is_remote(store):
                                failed.hints.append(f"on {self.stores.name_of(store)}")
                            if cells.multi is not None:
                                failed.hints.append(_settle_multi(cells, cells.multi is multi))
                            break
                        reply = problem
                    replies.append(wrap(reply, argv))
                    replies.commands.append(argv)
                    replies.lines.append(command.line)
            elapsed_s = cells.monotonic() - started_s
            if failed is not None and replies and not given.quiet:
                display(replies)
            if mark is not None:
                display(mark.appended())
            if given.time:
                display(
                    {"text/plain": f"{elapsed_s * 1000:.3f} ms, {show.counted(len(replies), 'reply', 'replies')}"},
                    raw=True,
                )
        if failed is not None:
            raise failed
        return replies

    def _give(self, given: Given, replies: Replies, single: bool) -> Any:
        """The value of the magic: what IPython displays, or the user assigns."""
        value: Any = replies[0] if single else replies
        if given.df:
            value = value.df() if hasattr(value, "df") else replies.df()
        elif given.bytes:
            value = plain(value)
        if given.out is not None:
            self.shell.user_ns[given.out] = value
            return None
        if given.quiet:
            return None
        self._nil = value is None
        return value

    def after_cell(self, result: Any) -> None:
        """Show ``(nil)`` where a cell ends in a bare ``%redis`` that gave nil: IPython displays no None.

        Registered as a `post_run_cell` hook.
        """
        nil, self._nil = self._nil, False
        info = getattr(result, "info", None)
        if not nil or info is None or not result.success or result.result is not None:
            return
        if _ends_in_redis(self.shell.transform_cell(info.raw_cell)):
            display({"text/plain": "(nil)"}, raw=True)

    # --- %aof --------------------------------------------------------------------------------------------

    @no_var_expand
    @needs_local_scope
    @line_magic
    def aof(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Look at the log of the open store.

        %aof status                     what is written, what is synced, which files

        %aof tail [N]                   the last N records of the live file (10)

        %aof check                      whether every file is whole, as redis-check-aof would tell

        %aof at WHERE [COMMAND ...]     what COMMAND would have answered then; WHERE is a row, a moment or FILE:BYTE

        %aof history KEY [DB]           what happened to KEY, and its value after each command, as a DataFrame

        %aof triage                     the first look: is it whole, what is in it, what looks wrong

        %aof top [N]                    the N keys that most bytes of the log are about (10), as a DataFrame

        %aof rewrite                    start a rewrite; commands go on meanwhile

        %aof crash [power|kill]         what a power cut, or kill -9, would take now; nothing happens to the store

        %aof config [NAME [VALUE]]      settings that match NAME (a pattern), or change one

        Options before the word: --store NAME says which store; with --path DIRECTORY, check, at, history, triage and
        top look at the log there, or at one file, and need no store. On a server (%redis --connect) status, rewrite and
        config ask it.
        """
        namespace = self._namespace(local_ns)
        found = statements(line, bindings=self.expand)
        given, rest = options(found[0], namespace, AOF_OPTIONS) if found else (Given(), None)
        argv = bind(rest, namespace) if rest else [b"status"]
        word = argv[0].decode("utf-8", "surrogateescape")
        action = _AOF.get(word.lower())
        if action is None:
            raise MagicError(f"%aof {word} is not there; it knows {', '.join(_AOF)}")
        action.fits(word, argv[1:])
        try:
            if action.of_log is not None:
                path = given.path if given.path is not None else log_path(self.stores.find(given.store, namespace))
                return action.of_log(os.path.expanduser(path), argv[1:])
            if given.path is not None:
                raise MagicError(f"%aof {word} is about an open store, not a path; --path goes with check, at, ...")
            assert action.of_store is not None
            return action.of_store(self, self.stores.find(given.store, namespace), argv[1:])
        except ReplyError as problem:
            raise CellError(problem, [], None, Replies()) from None
        except AofnbError as problem:
            raise _compact(problem) from None

    def _aof_status(self, store: AnyStore, _words: list[bytes]) -> logview.Status | Lines:
        name = self.stores.name_of(store)
        if is_remote(store):
            return logview.remote_status(name, self.stores.cells(store).execute([b"INFO", b"persistence"]))
        return logview.Status(name, store.stats())

    def _aof_tail(self, store: AnyStore, words: list[bytes]) -> logview.Tail:
        log_path(store)
        return logview.tail(store, _count("tail", words))

    def _aof_rewrite(self, store: AnyStore, _words: list[bytes]) -> Any:
        return wrap(self.stores.cells(store).execute([b"BGREWRITEAOF"]))

    def _aof_crash(self, store: AnyStore, words: list[bytes]) -> Any:
        log_path(store)
        kind = words[0].decode("utf-8", "surrogateescape").lower() if words else "power"
        if kind not in ("kill", "power"):
            raise MagicError(f"%aof crash knows power and kill, not {kind}")
        return aofnb.lab.what_if(store, kind)

    def _aof_config(self, store: AnyStore, words: list[bytes]) -> Any:
        cells = self.stores.cells(store)
        if len(words) == 2:
            return wrap(cells.execute([b"CONFIG", b"SET", *words]))
        argv = [b"CONFIG", b"GET", (words[0] if words else b"*").replace(b"_", b"-")]
        return wrap(cells.execute(argv), argv)

    # --- life --------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Take everything back that registering did, and close the stores that were opened here."""
        shell = self.shell
        if self in shell.configurables:
            shell.configurables.remove(self)
        registered = shell.magics_manager.magics
        for kind, name in (("line", "redis"), ("cell", "redis"), ("line", "aof")):
            if getattr(registered[kind].get(name), "__self__", None) is self:
                del registered[kind][name]
        self.stores.close_all()


AofnbMagics.redis.__doc__ = f"{inspect.cleandoc(AofnbMagics.redis.__doc__ or '')}\n\n{usage()}\n"
AofnbMagics.aof.__doc__ = inspect.cleandoc(AofnbMagics.aof.__doc__ or "")


@dataclass(frozen=True, slots=True)
class _Action:
    """What a word of ``%aof`` does, to a store or to the log at a path; and how many arguments it takes."""

    least: int
    most: int
    of_store: Callable[[AofnbMagics, AnyStore, list[bytes]], Any] | None = None
    of_log: Callable[[str, list[bytes]], Any] | None = None

    def fits(self, word: str, args: Sequence[bytes]) -> None:
        if len(args) < self.least:
            raise MagicError(f"%aof {word} needs an argument; see %aof?")
        if len(args) > self.most:
            raise MagicError(f"%aof {word} takes at most {show.counted(self.most, 'argument')}; see %aof?")


def _count(word: str, args: Sequence[bytes]) -> int:
    if not args:
        return 10
    if not (args[0].isdigit() and len(args[0]) < 10 and int(args[0]) > 0):
        raise MagicError(f"%aof {word} needs a number, not {show.readable(args[0])!r}")
    return int(args[0])


_AOF = {
    "status": _Action(0, 0, of_store=AofnbMagics._aof_status),
    "tail": _Action(0, 1, of_store=AofnbMagics._aof_tail),
    "check": _Action(0, 0, of_log=lambda path, _args: check_log(path)),
    "at": _Action(1, 1 << 20, of_log=at),
    "history": _Action(1, 2, of_log=history),
    "triage": _Action(0, 0, of_log=lambda path, _args: triage(path)),
    "top": _Action(0, 1, of_log=lambda path, args: top(path, _count("top", args))),
    "rewrite": _Action(0, 0, of_store=AofnbMagics._aof_rewrite),
    "crash": _Action(0, 1, of_store=AofnbMagics._aof_crash),
    "config": _Action(0, 2, of_store=AofnbMagics._aof_config),
}


def _no_vars(line: str, namespace: Mapping[str, Any]) -> bool:
    """Whether ``--no-vars`` is among the options: asked before braces in the line are looked at."""
    if "--no-vars" not in line:
        return False
    try:
        found = statements(line, bindings=False)
        return bool(found) and options(found[0], namespace)[0].no_vars
    except MagicError:
        # Quotes inside braces look wrong in this reading; the other one decides.
        return False


def _meant(problem: ReplyError, argv: Sequence[bytes]) -> list[str]:
    """The hint for a command that is not there but for a letter or two."""
    if not str(problem).startswith("ERR unknown command"):
        return []
    name = argv[0].decode("utf-8", "replace").upper()
    close = difflib.get_close_matches(name, {known.name.split(" ")[0] for known in all_commands()}, n=2)
    return [f"did you mean {' or '.join(close)}?"] if close else []


def _misplaced(argv: Sequence[bytes], single: bool) -> list[str]:
    """The hint for options of the magic that stand behind the command, where they are arguments."""
    moved = options_first(argv)
    if moved is None:
        return []
    taken, command = moved
    example = f"%redis {command_text([*taken, *command])}" if single else f"%%redis {command_text(taken)}"
    return [f"options come before the command{'s' * (not single)}: {example}"]


def _settle_multi(cells: Cells, opened_before: bool) -> str:
    """What becomes of an open MULTI when a cell stops at an error.

    One that the cell opened itself is discarded, or the next cell would be queued unawares.
    """
    if opened_before:
        return "MULTI is open: EXEC or DISCARD"
    cells.execute([b"DISCARD"])
    return "the transaction was discarded"


def _compact(problem: AofnbError) -> AofnbError:
    """`problem` itself, shown as its message, which ends with the remedy; our frames would say nothing more."""
    if not isinstance(problem, MagicError):
        problem._render_traceback_ = lambda: [f"{type(problem).__name__}: {problem}"]  # type: ignore[attr-defined]
    return problem


def _oddities(store: AnyStore) -> list[str]:
    """What loading met that its owner should know, a line each."""
    report = store.load_report
    if report is None:
        return []
    lines = []
    cut = report.files.truncated
    if cut is not None:
        one = cut.bytes_cut == 1
        done = ("was cut" if one else "were cut") if cut.applied else ("is left out" if one else "are left out")
        size = show.counted(cut.bytes_cut, "byte")
        lines.append(f"{os.path.basename(cut.file)}: {size} {done} at byte {cut.offset:,}: {cut.reason}")
    if report.failed:
        first = report.failed[0]
        lines.append(
            f"{show.counted(len(report.failed), 'command')} of the log gave an error, the first at byte "
            f"{first.offset:,} of {os.path.basename(first.file)}: {first.command}: {first.error}"
        )
    return lines


def _is_help(command: Statement) -> bool:
    return (command.words[0].literal or b"").upper() == b"HELP"


def _help(words: Sequence[bytes]) -> Help:
    return command_help([word.decode("utf-8", "replace") for word in words]) if words else overview()


def _ends_in_redis(source: str) -> bool:
    """Whether the last statement of a transformed cell is a bare ``%redis``, not one inside an expression."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return False
    last = body[-1] if body else None
    call = last.value if isinstance(last, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return False
    name = call.args[0] if call.args else None
    return call.func.attr == "run_line_magic" and isinstance(name, ast.Constant) and name.value == "redis"
