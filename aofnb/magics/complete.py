"""Tab in ``%redis`` lines and ``%%redis`` cells: commands, subcommands, options, keys, Python names.

`candidates` is a plain function from the text before the cursor to words; `install` hooks it into IPython, by
the matcher API where there is one (IPython 8.6 and later), for ``%redis`` lines only elsewhere.
"""

from __future__ import annotations

import builtins
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aofnb.commands.registry import Command, find, table
from aofnb.config import SETTINGS
from aofnb.engine import Session
from aofnb.magics import show
from aofnb.magics.parse import OPTIONS, Unfinished, setting_names, unfinished

if TYPE_CHECKING:
    from aofnb.magics.magic import AofnbMagics

__all__ = ["candidates", "install", "redis_text", "uninstall"]

_IDENTIFIER = "aofnb.redis_matcher"
# IPython shows no more than this.
_MOST = 500
_SCAN_STEP = 1000
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
    session: Session | None,
    namespace: Mapping[str, Any],
    *,
    keys: bool = True,
    budget_s: float = 0.05,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[str, Found]:
    """What may stand at the end of `text`.

    Parameters
    ----------
    text
        From `redis_text`: the option line, then the commands.
    session
        Whose keys to offer, if any.
    namespace
        Whose names to offer inside ``{{``.
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
    if "\n" not in text:
        while words and words[0].startswith(b"-"):
            takes_value = _takes_value(words.pop(0))
            if takes_value and not words:
                return fragment, []
            if takes_value:
                words.pop(0)
        if not words and fragment.startswith("-"):
            names = [name for option in OPTIONS for name in option.names] + setting_names()
            return fragment, [(name, "option") for name in names if name.startswith(fragment)]
    if not words:
        return fragment, _follow_case(fragment, sorted(table), "command")
    argv = [*words, typed.prefix]
    command = find(words)
    if command is None:
        return fragment, []
    if command.subcommands and len(words) == 1:
        names = sorted(sub.decode() for sub in command.subcommands)
        return fragment, _follow_case(fragment, names, "subcommand")
    if len(words) in command.key_positions(argv):
        if session is None or not keys:
            return fragment, []
        return fragment, _keys(typed, session, clock() + budget_s, clock)
    return fragment, _follow_case(fragment, _option_words(command, words), "option")


def _takes_value(word: bytes) -> bool:
    name = word.decode("utf-8", "replace")
    if "=" in name:
        return False
    option = next((option for option in OPTIONS if name in option.names), None)
    return option.metavar is not None if option else name.replace("_", "-") in setting_names()


def _follow_case(fragment: str, names: Iterable[str], kind: str) -> Found:
    """Names that begin with `fragment`, in its case."""
    lower = bool(fragment) and fragment == fragment.lower() and fragment != fragment.upper()
    wanted = fragment.upper()
    return [(name.lower() if lower else name, kind) for name in names if name.startswith(wanted)]


def _option_words(command: Command, words: Iterable[bytes]) -> list[str]:
    """Options that are not there yet and exclude none that is."""
    if command.options is None:
        return []
    used = {word.upper() for word in words}
    groups = {option.group for option in command.options.options if option.name.encode() in used}
    return [
        option.name
        for option in command.options.options
        if option.name.encode() not in used and (option.group is None or option.group not in groups)
    ]


def _keys(typed: Unfinished, session: Session, deadline_s: float, clock: Callable[[], float]) -> Found:
    """Keys that begin with what was typed, quoted where they must be; never long, however many there are."""
    db, lock = session.client.db, session.engine.lock
    found: list[bytes] = []
    cursor = 0
    while len(found) < _MOST and clock() < deadline_s:
        # A cell in another thread may be running: without the lock at once, there are no keys this time.
        if not lock.acquire(timeout=0.01):
            break
        try:
            cursor, keys = db.scan(cursor, _SCAN_STEP)
            found += [key for key in keys if key.startswith(typed.prefix) and not db.overdue(key)]
        finally:
            lock.release()
        if cursor == 0:
            break
    return [(_spelled(key, typed.quote), "key") for key in sorted(found)[:_MOST]]


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
            fragment, found = _aof_candidates(aof)
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
_AOF_WORDS = ("status", "tail", "rewrite", "config")


def _aof_text(full_text: str, cursor_line: int, cursor_column: int) -> str | None:
    """What stands between ``%aof`` and the cursor, or None where there is none."""
    if full_text.lstrip().startswith("%%"):
        return None
    match = _AOF_LINE.match(full_text.split("\n")[cursor_line][:cursor_column])
    return match["rest"] if match else None


def _aof_candidates(text: str) -> tuple[str, Found]:
    words = text.split()
    fragment = words.pop() if words and not text[-1].isspace() else ""
    if words[:1] == ["--store"]:
        if len(words) == 1:
            return fragment, []
        words = words[2:]
    if not words:
        return fragment, [(word, "subcommand") for word in _AOF_WORDS if word.startswith(fragment.lower())]
    if len(words) == 1 and words[0].lower() == "config":
        return fragment, [(name, "option") for name in SETTINGS if name.startswith(fragment.lower())]
    return fragment, []


def _look(magics: AofnbMagics, text: str) -> tuple[str, Found]:
    namespace = magics.shell.user_ns
    return candidates(
        text,
        magics.stores.peek(namespace),
        namespace,
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
            fragment, found = _aof_candidates(aof)
        else:
            return []
        # IPython replaces its own idea of a word, which may be only the end of ours: it splits at ":" and quotes.
        cut = len(fragment) - len(completer.splitter.split_line(line))
        return [word[cut:] for word, _ in found] if cut >= 0 else []

    # These come before all others, and end the search where they find something.
    completer.magic_arg_matchers.append(redis_line_matcher)
    return redis_line_matcher
