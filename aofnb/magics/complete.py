"""Tab in ``%redis`` lines and ``%%redis`` cells: commands, subcommands, options, keys, Python names.

`candidates` is a plain function from the text before the cursor to words; `install` hooks it into IPython, by
the matcher API where there is one (IPython 8.6 and later), for ``%redis`` lines only elsewhere.
"""

from __future__ import annotations

import builtins
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aofnb.commands.registry import find, table
from aofnb.config import SETTINGS
from aofnb.magics import show
from aofnb.magics.cells import Cells
from aofnb.magics.grammar import option_words
from aofnb.magics.parse import AOF_OPTIONS, AOF_WORDS, OPTIONS, Option, Unfinished, setting_names, unfinished

if TYPE_CHECKING:
    from aofnb.magics.magic import AofnbMagics

__all__ = ["candidates", "install", "redis_text", "uninstall"]

_IDENTIFIER = "aofnb.redis_matcher"
# IPython shows no more than this.
_MOST = 500
_LINE = re.compile(r"^(?:.*=)?\s*%redis[ \t]+(?P<rest>.*)$")

# (text, kind): the kind is shown as an icon in JupyterLab.
Found = list[tuple[str, str]]


def redis_text(full_text: str, cursor_line: int, cursor_column: int) -> str | None:
    r"""The Redis text before the cursor, or None where the cursor is in Python.

    >>> redis_text("x = %redis GET us", 0, 17)
    'GET us'
    >>> redis_text("%%redis\nGET us", 1, 6)
    '\nGET us'
    """
    lines = full_text.split("\n")
    before = [*lines[:cursor_line], lines[cursor_line][:cursor_column]]
    first = next((number for number, line in enumerate(before) if line.strip()), None)
    if first is None:
        return None
    if before[first].startswith("%%"):
        head = re.match(r"%%redis(?:[ \t]+|$)", before[first])
        return "\n".join([before[first][head.end() :], *before[first + 1 :]]) if head else None
    match = _LINE.match(before[-1])
    return match["rest"] if match else None


def candidates(
    text: str,
    cells_of: Callable[[str | None], Cells | None],
    namespace: Mapping[str, Any],
    *,
    stores: Callable[[], Iterable[str]] = tuple,
    keys: bool = True,
    budget_s: float = 0.05,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[str, Found]:
    """What may stand at the end of `text`.

    Parameters
    ----------
    text
        From `redis_text`: the option line, then the commands.
    cells_of
        Gives what has the keys to offer, if anything, from the value of ``--store``.
    namespace
        Whose names to offer inside ``{{``.
    stores
        Gives what ``--store`` can name.
    keys
        Whether to look for keys at all.
    budget_s, clock
        For how long to look for keys, and what measures it.

    Returns
    -------
    str, list of (text, kind)
        The end of `text` that a candidate replaces, and the candidates, best first.
    """
    typed = unfinished(text)
    if typed.quote == "{{":
        return _python_names(typed.fragment, namespace)
    words, fragment = list(typed.words), typed.fragment
    given = (
        _OptionLine.of(words) if "\n" not in text else _OptionLine.of(unfinished(text.split("\n", 1)[0] + " ").words)
    )
    if "\n" not in text:
        words = words[given.taken :]
        if given.open_option is not None:
            return fragment, _values(given.open_option, typed, stores)
        if not words and fragment.startswith("--") and "=" in fragment:
            name, _, begun = fragment.partition("=")
            option = Unfinished((), begun, begun.encode("utf-8", "surrogatepass"), "")
            return begun, _values(name, option, stores)
        if not words and fragment.startswith("-"):
            names = [name for option in OPTIONS for name in option.names]
            names += setting_names() if given.opens else []
            return fragment, [(name, "option") for name in names if name.startswith(fragment)]
    if not words:
        return fragment, _follow_case(fragment, [*sorted(table), *_OWN], "command")
    if words[0].upper() == b"HELP":
        return fragment, _help_words(words[1:], fragment)
    argv = [*words, typed.prefix]
    command = find(words)
    if command is None:
        return fragment, []
    if command.subcommands and len(words) == 1:
        names = sorted(sub.decode() for sub in command.subcommands)
        return fragment, _follow_case(fragment, names, "subcommand")
    if len(words) in command.key_positions(argv):
        cells = cells_of(given.store) if keys else None
        found = [] if cells is None else _keys(typed, cells, clock() + budget_s, clock)
        return fragment, found
    if command.name in ("CONFIG GET", "CONFIG SET") and len(words) % 2 == 0:
        return fragment, [(name, "option") for name in SETTINGS if name.startswith(fragment.lower())]
    if typed.quote:
        return fragment, []
    return fragment, _follow_case(fragment, option_words(command.name, words[command.words :]), "option")


# What cells know besides the commands of the table.
_OWN = ("HELP",)


def _help_words(words: Sequence[bytes], fragment: str) -> Found:
    if not words:
        groups = sorted({command.group for command in table.values()})
        return _follow_case(fragment, sorted(table), "command") + [
            (group, "family") for group in groups if fragment and group.startswith(fragment)
        ]
    container = table.get(words[0].decode("latin-1").upper())
    subs = sorted(sub.decode() for sub in container.subcommands) if container and len(words) == 1 else []
    return _follow_case(fragment, subs, "subcommand")


@dataclass(frozen=True, slots=True)
class _OptionLine:
    """The options that words begin with: how many words they are, the one whose value is next, what they say."""

    taken: int
    open_option: str | None
    store: str | None
    opens: bool

    @classmethod
    def of(cls, words: Sequence[bytes], known: Sequence[Option] = OPTIONS) -> _OptionLine:
        store, opens, i = None, False, 0
        while i < len(words) and words[i].startswith(b"-"):
            name, equals, value = words[i].decode("utf-8", "replace").partition("=")
            i += 1
            opens = opens or name == "--open"
            if not equals and _takes_value(name, known):
                if i == len(words):
                    return cls(i, name, store, opens)
                value = words[i].decode("utf-8", "replace")
                i += 1
            if name == "--store":
                store = value
        return cls(i, None, store, opens)


def _takes_value(name: str, known: Sequence[Option]) -> bool:
    option = next((option for option in known if name in option.names), None)
    return option.metavar is not None if option else name.replace("_", "-") in setting_names()


def _values(option: str, typed: Unfinished, stores: Callable[[], Iterable[str]]) -> Found:
    """What may stand behind `option`: names of stores, directories, the words of a setting."""
    begun = typed.prefix.decode("utf-8", "replace")
    if option == "--store":
        words = [(name, "store") for name in stores() if name.startswith(begun)]
    elif option in ("--open", "--path"):
        return _paths(begun, typed.quote, files=option == "--path")
    elif option == "--connect":
        words = [(scheme, "text") for scheme in _SCHEMES if scheme.startswith(begun)]
    else:
        words = [(word, "option") for word in _setting_words(option) if word.startswith(begun.lower())]
    return [(_spelled(word.encode("utf-8", "surrogatepass"), typed.quote), kind) for word, kind in words]


_SCHEMES = ("redis://127.0.0.1:6379/0", "redis+cluster://", "rediss://", "unix://")


def _setting_words(option: str) -> Sequence[str]:
    setting = SETTINGS.get(option.removeprefix("--").replace("_", "-"))
    if setting is None:
        return ()
    return ("yes", "no") if setting.kind == "bool" else setting.choices


def _paths(begun: str, quote: str, *, files: bool) -> Found:
    """Directories (with `files`, files too) that begin with `begun`, up to as many as are shown."""
    head, tail = os.path.split(begun)
    found: Found = []
    try:
        with os.scandir(os.path.expanduser(head) or ".") as entries:
            for entry in entries:
                if not entry.name.startswith(tail) or (entry.name.startswith(".") and not tail):
                    continue
                is_directory = entry.is_dir()
                if is_directory or files:
                    path = os.path.join(head, entry.name) + "/" * is_directory
                    found.append((_spelled(os.fsencode(path), quote), "path"))
                if len(found) == _MOST:
                    break
    except OSError:
        return []
    return sorted(found)


def _follow_case(fragment: str, names: Iterable[str], kind: str) -> Found:
    """Names that begin with `fragment`, in its case."""
    lower = bool(fragment) and fragment == fragment.lower() and fragment != fragment.upper()
    wanted = fragment.upper()
    return [(name.lower() if lower else name, kind) for name in names if name.startswith(wanted)]


def _keys(typed: Unfinished, cells: Cells, deadline_s: float, clock: Callable[[], float]) -> Found:
    """Keys that begin with what was typed, quoted where they must be; never long, however many there are."""
    return [(_spelled(key, typed.quote), "key") for key in cells.keys(typed.prefix, _MOST, deadline_s, clock)]


_BARE = re.compile(rb"[\x21-\x7e]+")


def _spelled(key: bytes, quote: str) -> str:
    """`key` as it can be typed: bare where that means the same, else in the double quotes of redis-cli."""
    if quote == "'" and key.isascii() and key.decode("ascii").isprintable() and b"\\" not in key:
        return "'" + key.decode("ascii").replace("'", "\\'") + "'"
    if quote or not _BARE.fullmatch(key) or b'"' in key or b"'" in key or b"{{" in key or key[:1] == b"#":
        try:
            text = key.decode()
        except UnicodeDecodeError:
            return show.quoted(key)
        bare = text.isprintable() and not set(text) & set(" \"'") and "{{" not in text and text[:1] not in ("", "#")
        return text if bare and not quote else show.quoted(key) if key.isascii() else show.quoted_text(text)
    return key.decode("ascii")


def _python_names(fragment: str, namespace: Mapping[str, Any]) -> tuple[str, Found]:
    match = re.search(r"[^\W\d]\w*$", fragment)
    begun = match.group() if match else ""
    if fragment.removesuffix(begun).endswith("."):
        # An attribute: only running the expression would tell.
        return begun, []
    names = {*namespace, *dir(builtins)}
    fitting = sorted(name for name in names if name.startswith(begun) and (begun or not name.startswith("_")))
    return begun, [(name, "variable") for name in fitting]


# --- IPython ---------------------------------------------------------------------------------------------------


def install(shell: Any, magics: AofnbMagics) -> Any:
    """Hook completion into `shell`; returns what `uninstall` needs."""
    try:
        from IPython.core.completer import SimpleCompletion, context_matcher
    except ImportError:
        return _install_line_matcher(shell, magics)

    @context_matcher(identifier=_IDENTIFIER, priority=100)
    def redis_matcher(context: Any) -> Any:
        place = (context.full_text, context.cursor_line, context.cursor_position)
        text, aof = redis_text(*place), _aof_text(*place)
        if text is not None:
            fragment, found = _look(magics, text)
        elif aof is not None:
            fragment, found = _aof_candidates(aof, lambda: magics.stores.names(magics.shell.user_ns))
        else:
            return {"completions": []}
        if not found:
            # Suppression counts only where there is a completion; the fragment itself changes nothing.
            found = [(fragment, "text")]
        return {
            "completions": [SimpleCompletion(text=word, type=kind) for word, kind in found],
            "suppress": True,
            "matched_fragment": fragment,
            "ordered": True,
        }

    shell.Completer.custom_matchers.append(redis_matcher)
    return redis_matcher


def uninstall(shell: Any, installed: Any) -> None:
    """Take back what `install` did."""
    for name in ("custom_matchers", "magic_arg_matchers"):
        matchers = getattr(shell.Completer, name, [])
        if installed in matchers:
            matchers.remove(installed)


_AOF_LINE = re.compile(r"^(?:.*=)?\s*%aof[ \t]+(?P<rest>.*)$")


def _aof_text(full_text: str, cursor_line: int, cursor_column: int) -> str | None:
    """What stands between ``%aof`` and the cursor, or None where there is none."""
    if full_text.lstrip().startswith("%%"):
        return None
    match = _AOF_LINE.match(full_text.split("\n")[cursor_line][:cursor_column])
    return match["rest"] if match else None


def _aof_candidates(text: str, stores: Callable[[], Iterable[str]] = tuple) -> tuple[str, Found]:
    """What may stand at the end of `text`, which follows ``%aof``."""
    typed = unfinished(text)
    given = _OptionLine.of(typed.words, AOF_OPTIONS)
    fragment, words = typed.fragment, typed.words[given.taken :]
    if given.open_option is not None:
        return fragment, _values(given.open_option, typed, stores)
    if not words and fragment.startswith("-"):
        names = (name for option in AOF_OPTIONS for name in option.names)
        return fragment, [(name, "option") for name in names if name.startswith(fragment)]
    if not words:
        return fragment, [(word, "subcommand") for word in AOF_WORDS if word.startswith(fragment.lower())]
    first = words[0].lower()
    if first == b"config" and len(words) == 1:
        return fragment, [(name, "option") for name in SETTINGS if name.startswith(fragment.lower())]
    if first == b"config" and len(words) == 2:
        return fragment, _values(f"--{words[1].decode('utf-8', 'replace')}", typed, stores)
    if first == b"at" and len(words) == 1:
        return fragment, [(word, "option") for word in ("start", "end") if word.startswith(fragment)]
    if first == b"at" and len(words) == 2:
        return fragment, _follow_case(fragment, sorted(table), "command")
    return fragment, []


def _look(magics: AofnbMagics, text: str) -> tuple[str, Found]:
    namespace = magics.shell.user_ns
    return candidates(
        text,
        lambda name: magics.stores.peek(name, namespace),
        namespace,
        stores=lambda: magics.stores.names(namespace),
        keys=magics.complete_keys,
        budget_s=magics.complete_ms / 1000,
    )


def _install_line_matcher(shell: Any, magics: AofnbMagics) -> Any:
    """For IPython before 8.6, which shows a matcher only the line: ``%%redis`` cells are left out there."""
    completer = shell.Completer

    def redis_line_matcher(_line: str) -> list[str]:
        line = completer.text_until_cursor
        text, aof = redis_text(line, 0, len(line)), _aof_text(line, 0, len(line))
        if text is not None:
            fragment, found = _look(magics, text)
        elif aof is not None:
            fragment, found = _aof_candidates(aof, lambda: magics.stores.names(magics.shell.user_ns))
        else:
            return []
        # IPython replaces its own idea of a word, which may be only the end of ours: it splits at ":" and quotes.
        cut = len(fragment) - len(completer.splitter.split_line(line))
        return [word[cut:] for word, _ in found] if cut >= 0 else []

    # These come before all others, and end the search where they find something.
    completer.magic_arg_matchers.append(redis_line_matcher)
    return redis_line_matcher
