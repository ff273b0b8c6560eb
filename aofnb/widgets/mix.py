"""Which commands reach the log: shares of the last minute, from samples of what was appended.

Nothing is counted on the way of a command. Once a second a piece of what the file has grown by is read; for a server,
its own counters serve.
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Mapping

__all__ = ["LogTail", "WriteMix", "command_words"]

_MINUTE_S = 60
_SAMPLE_BYTES = 32 << 10
_WORD_MAX = 32
# A record from its first byte to its first word, and where the word is.
_RECORD = re.compile(rb"\*([0-9]{1,7})\r\n\$([0-9]{1,2})\r\n")
# What frames others.
_FRAMES = frozenset((b"SELECT", b"MULTI", b"EXEC"))


def command_words(data: bytes, *, whole: bool = True) -> Counter[str]:
    r"""How often each command is in a piece of a log; what frames them is left out.

    Parameters
    ----------
    data
        The piece.
    whole
        Whether `data` begins with a record. Otherwise the first thing that looks like one is looked for.

    >>> command_words(b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nincr\r\n")
    Counter({'INCR': 2})
    """
    found: Counter[str] = Counter()
    at = 0 if whole else _next_record(data, 0)
    while 0 <= at < len(data):
        if data[at : at + 1] == b"#":
            end = data.find(b"\n", at)
            at = end + 1 if end >= 0 else len(data)
            continue
        head = _RECORD.match(data, at)
        if head is None:
            at = _next_record(data, at)
            continue
        end = head.end() + int(head[2])
        word = data[head.end() : end].upper()
        whole_word = data[end : end + 2] == b"\r\n" and word.isascii()
        if whole_word and word not in _FRAMES and 0 < len(word) <= _WORD_MAX:
            found[word.decode()] += 1
        at = _behind(data, end + 2, int(head[1]) - 1)
    return found


def _behind(data: bytes, at: int, arguments: int) -> int:
    """Where the record ends that has so many arguments from `at` on; the end of `data` if that is not in it."""
    for _ in range(arguments):
        line = data.find(b"\r\n", at, at + 24)
        if line < 0 or data[at : at + 1] != b"$" or not data[at + 1 : line].isdigit():
            return len(data)
        at = line + 2 + int(data[at + 1 : line]) + 2
    return at


def _next_record(data: bytes, at: int) -> int:
    """Where a line begins that can begin a record; -1 if none does."""
    while (at := data.find(b"\r\n*", at)) >= 0:
        at += 2
        if _RECORD.match(data, at):
            return at
    return -1


class LogTail:
    """Reads what a file has grown by, a bounded piece of it at a time."""

    def __init__(self) -> None:
        self._path: str | None = None
        self._offset = 0

    def sample(self, path: str | None) -> Counter[str]:
        """The commands in the newest piece of `path` since the last look; none at the first one."""
        if path is None:
            return Counter()
        try:
            size = os.stat(path).st_size
            if path != self._path or size < self._offset:
                # All of a new file is new, unless it is the first that is seen.
                self._offset = size if self._path is None else 0
                self._path = path
            begin, self._offset = self._offset, size
            if begin == size:
                return Counter()
            from_record = size - begin <= _SAMPLE_BYTES
            begin = max(begin, size - _SAMPLE_BYTES)
            with open(path, "rb") as file:
                file.seek(begin)
                return command_words(file.read(size - begin), whole=from_record)
        except OSError:
            # Replaced by a rewrite, or not there yet.
            return Counter()


class WriteMix:
    """Shares of commands over the last minute."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, Counter[str]]] = deque()
        self._calls: Mapping[str, int] | None = None

    def due(self, now_s: float) -> bool:
        """Whether this second has no sample yet."""
        return not self._seconds or self._seconds[-1][0] != int(now_s)

    def add(self, now_s: float, counts: Counter[str]) -> None:
        """Take up a sample."""
        self._seconds.append((int(now_s), counts))
        while self._seconds[0][0] <= int(now_s) - _MINUTE_S:
            self._seconds.popleft()

    def add_calls(self, now_s: float, calls: Mapping[str, int]) -> None:
        """Take up counters that only grow."""
        before = calls if self._calls is None else self._calls
        self._calls = dict(calls)
        grown = {name: count - before.get(name, 0) for name, count in calls.items()}
        self.add(now_s, Counter({name: count for name, count in grown.items() if count > 0}))

    def shares(self, top: int = 4) -> tuple[tuple[str, float], ...]:
        """The commonest commands with their share, largest first, then ``others``."""
        total: Counter[str] = Counter()
        for _, counts in self._seconds:
            total.update(counts)
        number = total.total()
        if not number:
            return ()
        ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))
        shown = [(name, count / number) for name, count in ranked[:top]]
        rest = sum(count for _, count in ranked[top:])
        return (*shown, ("others", rest / number)) if rest else tuple(shown)
