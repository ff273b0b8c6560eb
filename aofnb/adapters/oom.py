"""``oom-score-adj``: how soon the system ends this process and its children where memory runs out.

For ``aofnb serve``, whose process is the server's; that of a notebook is not the store's to adjust.

Redis: server.c setOOMScoreAdj (7.0.15).
"""

from __future__ import annotations

import logging
from contextlib import suppress

from aofnb.engine.settings import Settings
from aofnb.errors import ConfigError

__all__ = ["OomScore"]

_MOST = 1000
# Places in ``oom-score-adj-values``; the one between them is of a replica.
_SERVER, _CHILD = 0, 2


class OomScore:
    """Keeps the score of this process, and of each child that is begun, as the settings say.

    Parameters
    ----------
    settings
        Where the settings are found; CONFIG SET changes them from now on.
    path
        The system's file for a process; ``{}`` is its number, or ``self``.
    """

    def __init__(self, settings: Settings, log: logging.Logger, path: str = "/proc/{}/oom_score_adj") -> None:
        self._settings = settings
        self._log = log
        self._path = path
        # The score of the process before it was touched; None: it is as it was.
        self._before: int | None = None
        settings.on_change |= dict.fromkeys(("oom-score-adj", "oom-score-adj-values"), self._changed)
        # As redis-server, which starts all the same.
        with suppress(ConfigError):
            self._changed()

    def _changed(self) -> None:
        """Set the score of this process. ConfigError if the system does not let us."""
        on = self._settings.server["oom-score-adj"] != "no"
        if not on and self._before is None:
            return
        doing = "read"
        try:
            if self._before is None:
                with open(self._path.format("self")) as file:
                    self._before = int(file.read())
            doing = "write"
            self._write("self", self._score(_SERVER) if on else self._before)
        except OSError as problem:
            self._log.warning("Unable to %s oom_score_adj: %s", doing, problem.strerror)
            raise ConfigError("Failed to set current oom_score_adj. Check server logs.") from problem
        if not on:
            self._before = None

    def child(self, pid: int) -> None:
        """A process was begun for the store: set its score."""
        if self._settings.server["oom-score-adj"] != "no":
            try:
                self._write(str(pid), self._score(_CHILD))
            except OSError as problem:
                self._log.warning("Unable to write oom_score_adj: %s", problem.strerror)

    def _score(self, place: int) -> int:
        score = int(self._settings.server["oom-score-adj-values"].split()[place])
        if self._settings.server["oom-score-adj"] != "absolute":
            score += self._before or 0
        return max(-_MOST, min(_MOST, score))

    def _write(self, process: str, score: int) -> None:
        with open(self._path.format(process), "w") as file:
            file.write(f"{score}\n")
